"""Archives with all the difficult cases, and a plain loop that searches them."""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.search.filters import parse_region, parse_time

LABELS = np.array(["field", "forest", 'it\'s "odd", \n; DROP TABLE x; --', ""], dtype=object)


@dataclass(frozen=True, kw_only=True)
class RandomArchive:
    """An archive, and everything that it must hold.

    Attributes:
        folder: The archive.
        codes: Packed codes of the live tiles, in the order of `tiles`.
        tiles: The live tiles, by tile id.
    """

    folder: Path
    codes: np.ndarray
    tiles: gpd.GeoDataFrame

    def loop(
        self,
        query: np.ndarray,
        *,
        weights: np.ndarray | int = 1,
        k: int | None = 20,
        max_distance: int | None = None,
        region: object = None,
        within: bool = False,
        time: object = None,
        scenes: object = None,
        labels: object = None,
        tile_size: object = None,
        exclude_region: object = None,
        exclude_ids: object = None,
    ) -> list[tuple[int, int]]:
        """Search by comparing everything with everything, without any index or shortcut."""
        tiles = self.tiles
        bits = np.unpackbits(self.codes ^ query, axis=1)
        distance = (bits * np.asarray(weights, int)).sum(axis=1)
        passes = np.ones(len(tiles), bool)
        shapes = tiles.geometry.to_numpy()
        if max_distance is not None:
            passes &= distance <= max_distance
        if region is not None:
            place = parse_region(region).geometry
            passes &= shapely.covers(place, shapes) if within else shapely.intersects(place, shapes)
        if time is not None:
            span = parse_time(time)
            first = tiles["datetime"]
            last = tiles["datetime_end"].fillna(first)
            passes &= first.notna().to_numpy()
            if span.start is not None:
                passes &= (last >= pd.Timestamp(span.start, unit="us", tz="UTC")).to_numpy()
            if span.end is not None:
                passes &= (first <= pd.Timestamp(span.end, unit="us", tz="UTC")).to_numpy()
        sizes = None if tile_size is None else np.atleast_1d(tile_size).tolist()
        for wanted, column in (
            (scenes, tiles["scene"]),
            (labels, tiles["label"]),
            (sizes, sizes_of(tiles)),
        ):
            if wanted is not None:
                passes &= np.array([value in wanted for value in column], bool)
        if exclude_region is not None:
            taboo = parse_region(exclude_region).geometry
            shared = shapely.area(shapely.intersection(taboo, shapes))
            passes &= ~(shared > 1e-9 * np.minimum(taboo.area, shapely.area(shapes)))
        if exclude_ids is not None:
            passes &= ~tiles["tile_id"].isin(list(exclude_ids)).to_numpy()
        pairs = zip(distance[passes], tiles["tile_id"][passes], strict=True)
        return sorted(pairs)[:k]


def sizes_of(tiles: gpd.GeoDataFrame) -> pd.Series:
    """Return the tile size of each tile: its own, or the longer side of its window."""
    return tiles["tile_size"].fillna(tiles[["width", "height"]].max(axis=1).astype("Int32"))


def make_tiles(rng: np.random.Generator, count: int, *, scene: str) -> gpd.GeoDataFrame:
    """Scatter tiles: many in one place, some across the antimeridian, some with gaps."""
    size = rng.choice([0.05, 0.1, 0.1, 2.0], count)
    lon = rng.choice([10.0, 11.0, 179.95, -179.97, -60.0], count) + rng.integers(0, 8, count) * 0.1
    lat = rng.choice([50.0, -16.0, 0.0], count) + rng.integers(0, 8, count) * 0.1
    geometry = np.array(shapely.box(lon, lat, lon + size, lat + size), dtype=object)
    for row in np.flatnonzero(lon + size > 180):
        west = (
            shapely.box(lon[row], lat[row], 180, lat[row] + size[row]) if lon[row] < 180 else None
        )
        start = max(lon[row] - 360, -180)
        east = shapely.box(start, lat[row], lon[row] + size[row] - 360, lat[row] + size[row])
        geometry[row] = east if west is None else shapely.MultiPolygon([west, east])
    geometry[rng.random(count) < 0.03] = None
    day = rng.integers(0, 700, count).astype("timedelta64[D]")
    start = np.datetime64("2022-06-01T10:30:00.123456", "us") + day
    end = start + rng.integers(0, 30, count).astype("timedelta64[D]")
    start[rng.random(count) < 0.1] = np.datetime64("NaT", "us")
    end[(rng.random(count) < 0.5) | np.isnat(start)] = np.datetime64("NaT", "us")
    col = pd.array(rng.integers(-5, 900, count), dtype="Int32")
    col[rng.random(count) < 0.05] = pd.NA
    label = rng.choice(LABELS, count)
    label[rng.random(count) < 0.3] = None
    own = np.random.default_rng(count)
    size = pd.array(own.choice([64, 128], count), dtype="Int32")  # of windows that were resampled
    size[own.random(count) < 0.5] = pd.NA
    source = np.array([f's3://ti\'les/"{scene}"/{n},\n.tif' for n in range(count)], dtype=object)
    source[own.random(count) < 0.1] = None
    source[own.random(count) < 0.1] = ""
    return gpd.GeoDataFrame(
        {
            "scene": [f"{scene}_{part}.tif" for part in rng.integers(0, 3, count)],
            "col": col,
            "row": rng.integers(0, 900, count),
            "width": own.choice([64, 100], count),
            "height": own.choice([64, 90], count),
            "datetime": pd.DatetimeIndex(start).tz_localize("UTC"),
            "datetime_end": pd.DatetimeIndex(end).tz_localize("UTC"),
            "label": label,
            "tile_size": size,
            "source": source,
        },
        geometry=geometry,
        crs="EPSG:4326",
    )


def make_codes(rng: np.random.Generator, count: int, num_bits: int) -> np.ndarray:
    """Draw codes around a few centres, so that many distances are equal."""
    centres = rng.integers(0, 256, (5, num_bits // 8), dtype=np.uint8)
    codes = centres[rng.integers(0, 5, count)]
    flips = rng.integers(0, num_bits, count)
    codes[np.arange(count), flips >> 3] ^= (128 >> (flips & 7)).astype(np.uint8)
    return codes


def make_archive(
    folder: Path, *, seed: int, num_bits: int = 64, sizes: tuple[int, ...] = (300, 5000, 700)
) -> RandomArchive:
    """Make an archive of several segments, each with tombstones."""
    rng = np.random.default_rng(seed)
    archive = CodeStore.create(folder, num_bits=num_bits)
    all_codes, all_tiles = [], []
    for number, size in enumerate(sizes):
        name = f"/data/sc'en\"e, {number}"
        tiles, codes = make_tiles(rng, size, scene=name), make_codes(rng, size, num_bits)
        names = sorted(set(tiles["scene"]))
        records = [SceneRecord(scene=scene, width=number, num_tiles=size) for scene in names]
        ids = archive.add_codes(codes, tiles, scenes=records)
        all_tiles.append(tiles.assign(tile_id=ids))
        all_codes.append(codes)
    tiles = gpd.GeoDataFrame(pd.concat(all_tiles, ignore_index=True))
    codes = np.concatenate(all_codes)
    gone = rng.choice(tiles["tile_id"], len(tiles) // 20, replace=False)
    archive.remove_tiles(gone)
    whole = tiles["scene"].iloc[-1]
    archive.remove_scenes([whole])
    kept = ~tiles["tile_id"].isin(gone) & (tiles["scene"] != whole)
    order = np.argsort(tiles["tile_id"][kept].to_numpy())
    archive.close()
    return RandomArchive(
        folder=folder,
        codes=codes[kept.to_numpy()][order],
        tiles=tiles[kept].iloc[order].reset_index(drop=True),
    )
