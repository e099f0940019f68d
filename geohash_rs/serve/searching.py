"""Answer the page's requests about an archive, independent of HTTP."""

import threading
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, Unpack

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geohash_rs.archive import Archive
from geohash_rs.errors import (
    ArchiveNotFoundError,
    BandMismatchError,
    GeoHashRSError,
    PatchError,
    QueryError,
    TileNotFoundError,
    ValueMismatchError,
)
from geohash_rs.export.plain_text import scene_name
from geohash_rs.export.qgis_style import REASON_COLUMN
from geohash_rs.pictures.permission import Permission
from geohash_rs.pictures.tiles import Thumbnails, data_uri, encode_webp
from geohash_rs.retrieval.examples import Example, examples_frame, tile_examples
from geohash_rs.retrieval.matches import Matches, rank_matches
from geohash_rs.retrieval.patch_query import hash_patch
from geohash_rs.retrieval.query import Query, join_queries, query_of_point, query_of_tile
from geohash_rs.retrieval.search import retrieve
from geohash_rs.retrieval.unmet import explain_unmet
from geohash_rs.serve.addresses import place_of
from geohash_rs.serve.codes import check_count, codes_of, on_page
from geohash_rs.serve.description import describe_archive
from geohash_rs.serve.geojson import feature, feature_collection, read_polygon, short_names
from geohash_rs.serve.messages import (
    ArchiveAnswer,
    ExportRequest,
    KeptQuery,
    NamedPatch,
    PatchAnswer,
    PatchExample,
    SceneAnswer,
    SceneListAnswer,
    SearchRequest,
)
from geohash_rs.serve.scene_pictures import ScenePictures
from geohash_rs.serve.shown import Asked, Shown
from geohash_rs.serve.uploads import clean_patch
from geohash_rs.serve.view import LOOK, parse_view, tiles_at_click, tiles_in_view
from geohash_rs.store.disk.files import FolderFiles
from geohash_rs.store.disk.manifest import Manifest
from geohash_rs.store.disk.manifest_file import MANIFEST, read_manifest
from geohash_rs.store.search.compiled import numba_works
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import where_in
from geohash_rs.store.snapshot import Snapshot

__all__ = ["Searcher", "State", "picture_size"]

F = TypeVar("F", bound=gpd.GeoDataFrame)

COMPILED = 100_000  # tiles from which a few concepts pay for compiling their loops
MOST_AT_A_POINT = 200
SIZES = (96, 192, 384)  # px of pictures of tiles
ADVICE = (
    (ValueMismatchError, "; drop a patch that holds the values of the archive's scenes"),
    (BandMismatchError, "; drop a patch that has the bands of the archive's scenes"),
)


def picture_size(wanted: int) -> int:
    """Round a tile picture's size up to one of a few, so that the cache holds few sizes.

    Args:
        wanted: Pixels of the longer side.

    Returns:
        The size to draw, px.
    """
    return min((size for size in SIZES if size >= wanted), default=SIZES[-1])


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """One state of the archive, which never changes.

    Attributes:
        key: Identifies it.
        archive: Answers from it.
    """

    key: str
    archive: Snapshot


class Searcher:
    """An archive as the page sees it; thread-safe."""

    def __init__(
        self, archive: Archive, *, permission: Permission | None = None, device: str = "cpu"
    ) -> None:
        """Store the archive.

        Args:
            archive: Open for reading.
            permission: What pictures may be read from; None allows plain raster files of this
                machine.
            device: Device that runs the network.
        """
        self.archive = archive
        self.permission = permission
        self.device = device
        self.thumbnails = Thumbnails(self.permission)
        self._lock = threading.Lock()  # for refreshing to another state of the archive
        self._hashing = threading.Lock()  # one patch at a time
        self._scenes = ScenePictures(archive)
        self._key: tuple[Manifest, str] | None = None
        self._seen = self._checked = self._stamp()

    def _stamp(self) -> tuple[int, int, int]:
        """Return what changes with every commit, and with another archive in the same place.

        Zeros for an archive in object storage, which would be asked with every request.

        Raises:
            ArchiveNotFoundError: If the archive is not there any more.
        """
        if not isinstance(self.archive.snapshot().files, FolderFiles):
            return 0, 0, 0
        try:
            found = (self.archive.path / MANIFEST).stat()
        except OSError as error:
            msg = (
                f"the archive {self.archive.path.name} is no longer where the server opened it; "
                "it was moved or deleted. Put it back, or start the server where it is now."
            )
            raise ArchiveNotFoundError(msg) from error
        return found.st_mtime_ns, found.st_ino, found.st_size

    def check(self) -> None:
        """Check that the archive is still there, and still the one that was opened.

        Raises:
            ArchiveNotFoundError: If it was moved, deleted or replaced by another.
        """
        with self._lock:
            stamp = self._stamp()
            if stamp == self._checked:
                return
            known = self.archive.manifest
            now = read_manifest(self.archive.path)
            if now.comes_from(known.generation, known.commit) is False:
                msg = (
                    f"another archive or an older copy has taken the place of "
                    f"{self.archive.path.name} since the page was loaded; load the page again."
                )
                raise ArchiveNotFoundError(msg)
            self._checked = stamp

    def refresh(self) -> None:
        """Move to the archive's newest state, or to another archive in its place.

        Raises:
            ArchiveNotFoundError: If it was moved or deleted.
        """
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen or stamp == (0, 0, 0):
                self.archive.refresh()
                self._seen = self._checked = stamp
                self.thumbnails = Thumbnails(self.permission)  # scene files may have been replaced

    def warm(self) -> None:
        """Compile and load what the first search needs; what is damaged is reported when used."""
        with suppress(GeoHashRSError):
            if self.archive.num_bits and len(self.archive):
                nothing = np.zeros((1, self.archive.num_bits // 8), np.uint8)
                self.archive.search(nothing, k=1, max_distance=0, region=(0, 0, 1, 1))
                self.archive.tiles(self.archive.search(nothing, k=1).ids[0])
                if len(self.archive) >= COMPILED:  # concepts weigh every bit of every tile
                    numba_works(nothing.shape[1], weighed=True)
        hasher = self.archive.manifest.hasher
        if hasher and hasher.file:
            with self._hashing, suppress(GeoHashRSError):
                self.archive.hasher(device=self.device)

    @property
    def place(self) -> str:
        """Identifies where the archive lies, whatever its state."""
        return place_of(self.archive.path)

    @property
    def key(self) -> str:
        """Identifies this archive and its state, including the checksums of its files."""
        return self._key_of(self.archive.manifest)

    def _key_of(self, manifest: Manifest) -> str:
        known = self._key
        if known is None or known[0] is not manifest:
            text = f"{self.archive.path.resolve()} {manifest}"
            known = manifest, f"{zlib.crc32(text.encode()):08x}-{manifest.generation}"
            self._key = known
        return known[1]

    def state(self) -> State:
        """Return the state that is served now, unaffected by a later refresh.

        Raises:
            ArchiveNotFoundError: If the archive was moved, deleted or replaced by another.
        """
        self.check()
        archive = self.archive.snapshot()
        return State(key=self._key_of(archive.manifest), archive=archive)

    def describe(
        self, base_map: str | None = None, attribution: str | None = None
    ) -> ArchiveAnswer:
        """Describe the archive, see `describe_archive`."""
        return describe_archive(
            self.archive, place=self.place, key=self.key, base_map=base_map, attribution=attribution
        )

    def view(self, bbox: str, **asked: Unpack[Asked]) -> str:
        """Describe the tiles in view as GeoJSON, see `tiles_in_view` and `Shown.parse`."""
        archive = self.state().archive
        return tiles_in_view(archive, parse_view(bbox), shown=Shown.parse(archive, **asked))

    def scenes(self, bbox: str, **asked: Unpack[Asked]) -> list[SceneAnswer]:
        """List the scenes in view that are shown and large enough."""
        shown = Shown.parse(self.state().archive, **asked)
        return self._scenes.in_view(bbox, shown=shown)

    def scene_list(self, text: str, *, start: int = 0) -> SceneListAnswer:
        """List scenes by name and date, see `ScenePictures.find`."""
        self.check()
        return self._scenes.find(text, start=start)

    def scene_picture(self, number: int) -> bytes:
        """Draw a scene in web map projection as WebP, see `ScenePictures.draw`."""
        self.check()
        return self._scenes.draw(number, self.thumbnails)

    def tile(self, tile_id: int) -> str:
        """Describe one tile as a GeoJSON feature.

        Raises:
            TileNotFoundError: If the archive has no such tile.
        """
        try:
            return feature(self.shown(self._tiles([tile_id])))
        except TileNotFoundError as error:
            msg = f"the archive has no tile {tile_id}; click one on the map, or {LOOK}."
            raise TileNotFoundError(msg, missing=[tile_id]) from error

    def tile_at(self, point: Sequence[float], **asked: Unpack[Asked]) -> str:
        """Describe the tile on top at a point as a GeoJSON feature, see `tiles_at_click`."""
        return feature(self.shown(self._tiles_at(point, asked)))

    def tiles_at(self, point: Sequence[float], **asked: Unpack[Asked]) -> str:
        """Describe up to `MOST_AT_A_POINT` tiles at a point as GeoJSON, that on top first."""
        return feature_collection(self.shown(self._tiles_at(point, asked).head(MOST_AT_A_POINT)))

    def _tiles_at(self, point: Sequence[float], asked: Asked) -> gpd.GeoDataFrame:
        archive = self.state().archive  # one state, unaffected by a concurrent refresh
        return tiles_at_click(archive, point, shown=Shown.parse(archive, **asked))

    @property
    def hides_folders(self) -> bool:
        """Whether scenes are named without their folders, because others may be asking."""
        return self.permission is not None and self.permission.folders is not None

    def shown(self, frame: F) -> F:
        """Name scenes without their folders on this machine, if others may be asking.

        Args:
            frame: Tiles, matches or the examples of a query.

        Returns:
            The table to show, and the examples of matches likewise.
        """
        if not self.hides_folders:
            return frame
        named = [name if isinstance(name, str) else None for name in frame["scene"]]
        columns = {"scene": [None if name is None else scene_name(name) for name in named]}
        if REASON_COLUMN in frame.columns:
            reasons = zip(frame[REASON_COLUMN], named, strict=True)
            columns[REASON_COLUMN] = [_without_folder(why, name) for why, name in reasons]
        shown: F = frame.assign(**columns)
        if isinstance(shown, Matches) and shown.examples is not None:
            shown.examples = self.shown(shown.examples)
        return shown

    def _tiles(self, ids: Sequence[int]) -> gpd.GeoDataFrame:
        self.check()
        return self.archive.tiles(np.asarray(ids, dtype=np.int64))

    def thumbnail(self, tile_id: int, size: int) -> bytes:
        """Return a picture of a tile as WebP, in a size of `picture_size`.

        Raises:
            TileNotFoundError: If the archive has no such tile.
            SceneError: If its scene is gone or may not be read.
            QueryError: If the tile has no window in a scene.
        """
        tile = self._tiles([tile_id]).iloc[0]
        if pd.isna(tile["width"]):
            msg = f"tile {tile_id} has no window in its scene, so it has no picture."
            raise QueryError(msg)
        window = [int(tile[name]) for name in ("col", "row", "width", "height")]
        with short_names(str(tile["scene"])):
            return encode_webp(
                self.thumbnails.read(str(tile["scene"]), window, size=picture_size(size))
            )

    def patch(
        self,
        content: bytes,
        *,
        name: str,
        tile_size: int | None = None,
        bands: Sequence[int | str] | None = None,
    ) -> PatchAnswer:
        """Hash an uploaded GeoTIFF; in tiles of the given size, if the archive has such.

        Args:
            content: The file.
            name: Its name in messages.
            tile_size: Columns and rows of the tiles, px.
            bands: As in `hash_patch`.

        Returns:
            Codes, footprint and picture.

        Raises:
            PatchError: If it is not a GeoTIFF, is too large, has no CRS or has the wrong bands.
        """
        self.check()
        with clean_patch(content, name=name) as path:
            try:
                with self._hashing:
                    sizes = None if tile_size is None else frozenset([tile_size])
                    query = hash_patch(
                        self.archive, path, bands=bands, device=self.device, tile_sizes=sizes
                    )
            except GeoHashRSError as error:
                why = on_page(str(error), Path(path).name, name).removesuffix(".")
                asked = bands is not None and isinstance(error, BandMismatchError)
                advice = "" if asked else _advice(error)
                raise PatchError(f"{why}{advice}.") from error
            picture = self._picture_of(path)
        return PatchAnswer(
            name=name,
            codes=list(dict.fromkeys(bytes(code).hex() for code in query.codes)),
            hasher=query.hasher or "",
            place=shapely.geometry.mapping(query.footprint) if query.footprint else {},
            picture=picture,
            notes=[on_page(note, Path(path).name, name) for note in query.notes],
        )

    def _picture_of(self, path: str) -> str:
        import rasterio

        with rasterio.open(path) as source:
            window = (0, 0, source.width, source.height)
        own = Thumbnails(Permission(remote_scenes=True))  # the copy in memory is ours
        return data_uri(encode_webp(own.read(path, window, size=192)))

    def search(self, request: SearchRequest) -> Matches:
        """Find matches.

        Args:
            request: The examples and filters.

        Returns:
            Matches, best first; to be passed through `shown` before anyone sees them.

        Raises:
            GeoHashRSError: If the request is invalid.
        """
        check_count(request)
        self.check()
        archive = self.archive.snapshot()  # unaffected by a concurrent refresh
        where = _where(archive, request)
        _check_apart(request)
        positives = [_query_of(archive, patch) for patch in request.patches]
        positives += [query_of_tile(archive, tile_id) for tile_id in request.tiles]
        if request.point is not None:
            positives.append(query_of_point(archive, request.point, where=where))
        if request.codes:
            place = None if request.place is None else read_polygon(request.place, "place")
            positives.append(Query(codes=codes_of(archive, request), footprint=place))
        negatives = [_query_of(archive, patch) for patch in request.negative_patches]
        negatives += [query_of_tile(archive, tile_id) for tile_id in request.negatives]
        return retrieve(
            archive,
            join_queries(positives, negatives),
            limits=Limits(k=request.k, max_distance=request.max_distance),
            where=where,
            exclude_overlap=request.exclude_overlap,
            distinct=request.distinct,
        )

    def unmet(self, request: SearchRequest, found: Matches) -> str:
        """Explain which limits of a search nothing meets, see `explain_unmet`."""
        archive = self.archive.snapshot()
        where = _where(archive, request)
        return explain_unmet(archive, where, scenes=found["scene"], found=len(found))

    def kept(self, request: ExportRequest) -> Matches:
        """Return kept matches as a table for export.

        Args:
            request: Ids, with distance and similarity if they come from one search.

        Returns:
            The columns of matches if all have a distance and similarity, otherwise those of tiles;
            to be passed through `shown` before anyone sees them.

        Raises:
            RegionError: If the place of a patch is not a polygon.
            TileNotFoundError: If the archive has no such tile.
        """
        self.check()
        archive = self.archive.snapshot()
        tiles = request.tiles
        frame = archive.tiles(np.array([tile.tile_id for tile in tiles], dtype=np.int64))
        if any(tile.distance is None or tile.similarity is None for tile in tiles):
            matches = Matches(frame)
        else:
            matches = rank_matches(
                frame,
                np.array([tile.distance for tile in tiles], dtype=np.int32),
                similarity=np.array([tile.similarity for tile in tiles], dtype=np.float64),
            )
        if request.query is not None and request.format == "gpkg":
            matches.examples = _examples(archive, request.query)
        return matches


def _without_folder(reason: object, scene: str | None) -> str | None:
    """Name a scene without its folder in the reason why it has no picture, if there is one."""
    text = reason if isinstance(reason, str) else None
    return text and text.replace(scene, scene_name(scene)) if scene else text


def _advice(error: GeoHashRSError) -> str:
    return next((say for kind, say in ADVICE if isinstance(error, kind)), "")


def _check_apart(request: SearchRequest) -> None:
    """Check that no patch is a positive and a negative example.

    Raises:
        QueryError: If one is.
    """
    for patch in request.negative_patches:
        if patch in request.patches:
            msg = f"{patch.name} is both a positive and a negative example; leave one of them out."
            raise QueryError(msg)


def _where(archive: Snapshot, request: SearchRequest) -> Where:
    """Parse the limits of a search.

    Raises:
        QueryError: If a region and a box are given, or a limit is not valid.
    """
    region = None if request.region is None else read_polygon(request.region, "region")
    if region is not None and request.bbox is not None:
        msg = "the request has a region and a bbox; pass one of them."
        raise QueryError(msg)
    return where_in(
        archive,
        region=region or request.bbox,
        within=request.within,
        time=request.time,
        scenes=request.scenes,
        labels=request.labels,
        tile_size=request.tile_sizes,
    )


def _examples(archive: Snapshot, asked: KeptQuery) -> gpd.GeoDataFrame:
    """Describe what kept tiles were found with, as `Matches.examples`."""
    right, wrong = (
        tile_examples(archive.tiles(np.array(ids, dtype=np.int64)))
        for ids in (asked.tiles, asked.negatives)
    )
    return examples_frame([*map(_example_of, asked.patches), *right], wrong)


def _example_of(patch: NamedPatch) -> Example:
    place = None if patch.place is None else read_polygon(patch.place, f"place of {patch.name}")
    return Example(name=patch.name, footprint=place)


def _query_of(archive: Snapshot, patch: PatchExample) -> Query:
    """Make a query of a patch that was hashed before."""
    example = _example_of(patch)
    codes = codes_of(archive, patch)
    return Query(codes=codes, footprint=example.footprint, examples=(example,))
