"""Answer what the page asks of an archive; knows nothing of the web."""

import datetime as dt
import json
import threading
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.archive import SceneRecord
from geohash_rs.errors import GeoHashRSError, PatchError, QueryError, RegionError
from geohash_rs.examples import Query, join_queries, query_of_tile
from geohash_rs.export import geojson_features
from geohash_rs.image_archive import Archive
from geohash_rs.matches import Matches, rank_matches
from geohash_rs.previews import PlacedScene, draw_scene, place_scene, scenes_in_view
from geohash_rs.retrieval import retrieve
from geohash_rs.serve.messages import (
    ArchiveAnswer,
    KeptTile,
    PatchAnswer,
    SceneAnswer,
    SearchRequest,
)
from geohash_rs.serve.uploads import clean_patch
from geohash_rs.serve.view import parse_view, tiles_in_view
from geohash_rs.thumbnails import Thumbnails, data_uri, encode_webp

__all__ = ["Searcher"]

MOST_CORNERS = 5000  # of a region
SIZES = (96, 192, 384)  # px of pictures of tiles


class Searcher:
    """An archive as the page sees it; safe to use from several threads."""

    def __init__(self, archive: Archive, *, device: str = "cpu") -> None:
        """Keep the archive.

        Args:
            archive: Open for reading.
            device: Where the network runs.
        """
        self.archive = archive
        self.device = device
        self.thumbnails = Thumbnails()
        self._lock = threading.Lock()  # what is known of this state of the archive
        self._hashing = threading.Lock()  # one patch at a time
        self._placed: tuple[int, dict[int, PlacedScene]] | None = None
        self._changed = self._manifest_time()

    def _manifest_time(self) -> int:
        return (self.archive.path / "manifest.json").stat().st_mtime_ns

    def refresh(self) -> None:
        """Move on to what others have added to the archive since."""
        with self._lock:
            changed = self._manifest_time()
            if changed != self._changed:
                self.archive.refresh()
                self._changed = changed

    def warm(self) -> None:
        """Compile and load what the first search needs."""
        if self.archive.num_bits and len(self.archive):
            nothing = np.zeros((1, self.archive.num_bits // 8), np.uint8)
            self.archive.search(nothing, k=1, max_distance=0, region=(0, 0, 1, 1))
            self.archive.tiles(self.archive.search(nothing, k=1).ids[0])
        if self.archive.hasher_file is not None:
            with self._hashing:
                self.archive.hasher(device=self.device)

    @property
    def key(self) -> str:
        """Names this archive and its state."""
        state = self.archive.manifest
        text = f"{self.archive.path.resolve()} {state.next_id} {self.archive.hasher_fingerprint}"
        return f"{zlib.crc32(text.encode()):08x}-{state.generation}"

    def describe(
        self, base_map: str | None = None, attribution: str | None = None
    ) -> ArchiveAnswer:
        """Tell what the archive is."""
        archive = self.archive
        entries = archive.manifest.segments
        boxes = np.array([entry.bounds for entry in entries if entry.bounds], float).reshape(-1, 4)
        times = [entry.times for entry in entries if entry.times]
        low, high = boxes.min(0, initial=np.inf), boxes.max(0, initial=-np.inf)
        has_hasher = archive.hasher_file is not None
        return ArchiveAnswer(
            name=archive.path.resolve().name,
            key=self.key,
            num_tiles=len(archive),
            num_scenes=len(archive.scenes()),
            num_bits=archive.num_bits,
            bounds=(low[0], low[1], high[2], high[3]) if len(boxes) else None,
            time=(_day(min(t[0] for t in times)), _day(max(t[1] for t in times)))
            if times
            else None,
            takes_patches=has_hasher,
            bands=list(archive.hasher(device=self.device).bands) if has_hasher else [],
            base_map=base_map,
            attribution=attribution,
        )

    def view(self, bbox: str) -> str:
        """Describe the tiles in view as GeoJSON, see `tiles_in_view`."""
        return tiles_in_view(self.archive, parse_view(bbox))

    def scenes(self, bbox: str) -> list[SceneAnswer]:
        """List the scenes in view whose pictures are worth showing."""
        return [
            SceneAnswer(
                number=number,
                name=Path(scene.scene).name,
                date=_date(scene.date),
                bounds=scene.bounds,
            )
            for number, scene in scenes_in_view(self._scenes(), parse_view(bbox))
        ]

    def scene_picture(self, number: int) -> bytes:
        """Draw a scene on the grid of web maps, as WebP.

        Raises:
            QueryError: If the archive has no such scene, or it has no place on the map.
            SceneError: If it cannot be read.
        """
        scene = self._scenes().get(number)
        if scene is None:
            msg = f"the archive has no scene number {number} on the map; see /api/scenes."
            raise QueryError(msg)
        return encode_webp(draw_scene(scene, self.thumbnails), quality=75)

    def _scenes(self) -> dict[int, PlacedScene]:
        state = self.archive.manifest.generation
        with self._lock:
            if self._placed is None or self._placed[0] != state:
                self._placed = (state, _place(self.archive.scenes()))
            return self._placed[1]

    def tile(self, tile_id: int) -> str:
        """Describe one tile as a GeoJSON feature."""
        return next(geojson_features(_shown(self._tiles([tile_id]))))

    def tile_at(self, point: Sequence[float]) -> str:
        """Describe the tile at a place, the one whose centre is nearest; the latest of several.

        Raises:
            QueryError: If no tile is there.
        """
        lon, lat = (float(value) for value in point)
        lon = (lon + 180) % 360 - 180
        if not -90 <= lat <= 90 or not np.isfinite(lon):
            msg = f"place is {lon}, {lat}; give longitude, latitude in degrees."
            raise QueryError(msg)
        found = [ids for ids, _ in self.archive.boxes((lon, lat, lon, lat))]
        tiles = self.archive.tiles(np.concatenate([np.empty(0, np.int64), *found]))
        here = shapely.Point(lon, lat)
        tiles = tiles[shapely.intersects(tiles.geometry.to_numpy(), here)]
        if tiles.empty:
            msg = f"no tile of the archive lies at {lon:.5f}, {lat:.5f}."
            raise QueryError(msg)
        away = shapely.distance(shapely.centroid(tiles.geometry.to_numpy()), here).round(9)
        ranked = tiles.assign(away=away).sort_values(
            ["away", "datetime", "tile_id"], ascending=[True, False, True]
        )
        return next(geojson_features(_shown(ranked.head(1).drop(columns="away"))))

    def _tiles(self, ids: Sequence[int]) -> gpd.GeoDataFrame:
        return self.archive.tiles(np.asarray(ids, dtype=np.int64))

    def thumbnail(self, tile_id: int, size: int) -> bytes:
        """Give a picture of a tile, WebP.

        Raises:
            TileNotFoundError: If the archive has no such tile.
            SceneError: If its scene is gone.
            QueryError: If there is no picture of such tiles.
        """
        tile = self._tiles([tile_id]).iloc[0]
        if pd.isna(tile["width"]):
            msg = f"tile {tile_id} has no window in its scene, so there is no picture of it."
            raise QueryError(msg)
        window = [int(tile[name]) for name in ("col", "row", "width", "height")]
        nearest = min((s for s in SIZES if s >= size), default=SIZES[-1])
        return encode_webp(self.thumbnails.read(str(tile["scene"]), window, size=nearest))

    def patch(self, content: bytes, *, name: str) -> PatchAnswer:
        """Hash an uploaded GeoTIFF.

        Raises:
            PatchError: If it is no GeoTIFF, too large, has no CRS or other bands.
        """
        with clean_patch(content, name=name) as path:
            try:
                with self._hashing:
                    query = self.archive._patch_query(
                        path, window=None, bands=None, device=self.device
                    )
            except GeoHashRSError as error:  # speaks of the copy
                raise PatchError(str(error).replace(Path(path).name, name)) from error
            picture = self._picture_of(path)
        return PatchAnswer(
            name=name,
            codes=list(dict.fromkeys(bytes(code).hex() for code in query.codes)),
            place=shapely.geometry.mapping(query.footprint) if query.footprint else {},
            picture=picture,
        )

    def _picture_of(self, path: str) -> str:
        import rasterio

        with rasterio.open(path) as source:
            window = (0, 0, source.width, source.height)
        return data_uri(encode_webp(Thumbnails().read(path, window, size=192)))

    def search(self, request: SearchRequest) -> Matches:
        """Find matches.

        Args:
            request: What to search for.

        Returns:
            Matches, best first.

        Raises:
            GeoHashRSError: If something asked for has no meaning.
        """
        positives = [query_of_tile(self.archive, tile_id) for tile_id in request.tiles]
        if request.codes:
            place = None if request.place is None else _geometry(request.place, "place")
            positives.append(Query(codes=self._codes(request.codes), footprint=place))
        negatives = [query_of_tile(self.archive, tile_id) for tile_id in request.negatives]
        return retrieve(
            self.archive,
            join_queries(positives, negatives),
            k=request.k,
            max_distance=request.max_distance,
            region=None if request.region is None else _geometry(request.region, "region"),
            time=request.time,
            exclude_overlap=request.exclude_overlap,
            distinct=request.distinct,
        )

    def _codes(self, texts: Sequence[str]) -> npt.NDArray[np.uint8]:
        """Read codes.

        Raises:
            QueryError: If they have another number of bits than the archive.
        """
        num_bits = self.archive.num_bits or 0
        for text in texts:
            if len(text) * 4 != num_bits:
                msg = f"a code of {len(text) * 4} bits, but the archive's have {num_bits}."
                raise QueryError(msg)
        return np.array([list(bytes.fromhex(text)) for text in texts], dtype=np.uint8)

    def kept(self, tiles: Sequence[KeptTile]) -> gpd.GeoDataFrame:
        """Give kept matches as a table that can be written.

        Args:
            tiles: Ids, and distance and similarity where they come from a search.

        Returns:
            The columns of matches where all come from a search, else those of tiles.
        """
        frame = self._tiles([tile.tile_id for tile in tiles])
        if any(tile.distance is None or tile.similarity is None for tile in tiles):
            return frame
        return rank_matches(
            frame,
            np.array([tile.distance for tile in tiles], dtype=np.int32),
            similarity=np.array([tile.similarity for tile in tiles], dtype=np.float64),
        )


def feature_collection(frame: gpd.GeoDataFrame, **members: object) -> str:
    """Write a table as GeoJSON with further members.

    Args:
        frame: Tiles or matches.
        **members: Whatever JSON can hold.

    Returns:
        A feature collection in EPSG:4326.
    """
    features = ",\n".join(geojson_features(_shown(frame)))
    more = "".join(f"{json.dumps(name)}: {json.dumps(value)}, " for name, value in members.items())
    return f'{{"type": "FeatureCollection", {more}"features": [\n{features}\n]}}'


def _place(records: Sequence[SceneRecord]) -> dict[int, PlacedScene]:
    placed = {}
    for number, record in enumerate(records):
        size = (record.width, record.height)
        scene = place_scene(
            record.scene,
            crs=record.crs,
            transform=record.transform,
            size=size,
            date=record.datetime,
        )
        if scene is not None:
            placed[number] = scene
    return placed


def _shown(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    names = [Path(scene).name for scene in frame["scene"]]
    return frame.assign(scene_name=names)


def _geometry(value: Mapping[str, Any], name: str) -> BaseGeometry:
    """Read a GeoJSON polygon.

    Raises:
        RegionError: If it is none, or has too many corners.
    """
    kind = value.get("type")
    if kind not in {"Polygon", "MultiPolygon"}:
        msg = f"{name} is a {kind!r}; give a GeoJSON geometry of type Polygon or MultiPolygon."
        raise RegionError(msg)
    try:
        geometry: BaseGeometry = shapely.from_geojson(json.dumps(dict(value)))
    except (shapely.GEOSException, ValueError) as error:
        msg = f"{name} is no GeoJSON geometry: {error}"
        raise RegionError(msg) from error
    if shapely.get_num_coordinates(geometry) > MOST_CORNERS:
        msg = f"{name} has more than {MOST_CORNERS} corners; simplify it."
        raise RegionError(msg)
    return geometry


def _date(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.date().isoformat()


def _day(micros: int) -> str:
    return str(np.datetime64(micros, "us").astype("datetime64[D]"))
