"""Search compared with a plain loop over GEOHASH_RS_SEARCH_ARCHIVES random archives."""

import datetime as dt
import os
import shutil
import tempfile
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geohash_rs.store.code_store import CodeStore
from tests.store.plain import in_region, in_time, overlaps

ARCHIVES = int(os.environ.get("GEOHASH_RS_SEARCH_ARCHIVES", "40"))
DAY = dt.datetime(2020, 1, 1)
ZERO = np.zeros((1, 1), np.uint8)


def make_tiles(rng: np.random.Generator, count: int) -> gpd.GeoDataFrame:
    """Draw tilted tiles anywhere, some across the antimeridian, some without footprint or time."""
    x, y = rng.uniform(-179, 179, count), rng.uniform(-80, 80, count)
    size, tilt = rng.uniform(0.1, 8, count), rng.uniform(0, 1, count)
    shapes = []
    for cx, cy, s, t in zip(x, y, size, tilt, strict=True):
        angles = t + np.arange(4) * np.pi / 2
        ring = np.stack([cx + s * np.cos(angles), np.clip(cy + s * np.sin(angles), -90, 90)], 1)
        shape = shapely.Polygon(ring)
        if abs(ring[:, 0]).max() > 180:
            turn = 360.0 * np.sign(cx)
            parts = [
                shapely.intersection(shape, shapely.box(-180, -90, 180, 90)),
                shapely.intersection(
                    shapely.Polygon(ring - [turn, 0]), shapely.box(-180, -90, 180, 90)
                ),
            ]
            shape = shapely.union_all(parts)
        shapes.append(None if rng.random() < 0.03 else shape)
    start = [DAY + dt.timedelta(hours=int(h)) for h in rng.integers(0, 2000, count)]
    end = [
        s + dt.timedelta(hours=int(h))
        for s, h in zip(start, rng.integers(0, 9, count), strict=True)
    ]
    start = [None if rng.random() < 0.05 else s for s in start]
    end = [None if s is None or rng.random() < 0.3 else e for s, e in zip(start, end, strict=True)]
    frame = {
        "scene": rng.choice(["a", "b", "c"], count),
        "datetime": start,
        "label": rng.choice(np.array(["farm", "sea", None], dtype=object), count),
        "width": rng.choice([64, 128, 256] if rng.random() < 0.7 else [64], count),
        "height": 64,
    }
    if rng.random() < 0.3:
        frame["tile_size"] = rng.choice([64, 32], count)
    if rng.random() < 0.5:
        frame["datetime_end"] = end
    return gpd.GeoDataFrame(frame, geometry=shapes, crs=4326)


class PlainArchive:
    """An archive as lists, searched by a loop."""

    def __init__(self):
        self.rows = {}

    def add(self, ids, codes, frame):
        for place, number in enumerate(ids.tolist()):
            self.rows[number] = (codes[place], frame.iloc[place])

    def search(self, query, *, k, radius, keep):
        found = []
        for number, (code, row) in self.rows.items():
            distance = sum((int(a) ^ int(b)).bit_count() for a, b in zip(query, code, strict=True))
            if (radius is None or distance <= radius) and keep(number, row):
                found.append((distance, number))
        return sorted(found)[:k]


def expected_keep(options, region, excluded):
    """Apply every filter again, as plainly as possible."""

    def keep(number, row):
        shape = np.array([row["geometry"]], dtype=object)
        if not in_region(region, shape, within=options.get("within", False))[0]:
            return False
        if overlaps(excluded, shape)[0]:
            return False
        if "time" in options and not in_time(options["time"], row):
            return False
        if "scenes" in options and row["scene"] not in options["scenes"]:
            return False
        if "labels" in options and row["label"] not in options["labels"]:
            return False
        if "tile_size" in options:
            size = row["tile_size"] if "tile_size" in row else max(row["width"], row["height"])
            if size not in options["tile_size"]:
                return False
        return number not in options.get("exclude_ids", [])

    return keep


def draw_region(rng: np.random.Generator):
    """Draw a region and return it also as plain shapely, or None."""
    kind = rng.integers(0, 5)
    x, y = rng.uniform(-180, 180), rng.uniform(-85, 80)
    w, h = rng.uniform(1, 120), rng.uniform(1, 60)
    if kind == 1:
        x1, y1 = x + w, min(y + h, 90.0)
        if x1 > 180:
            parts = shapely.box(x, y, 180, y1), shapely.box(-180, y, x1 - 360, y1)
            return (x, y, x1 - 360, y1), shapely.union(*parts)
        return (x, y, x1, y1), shapely.box(x, y, x1, y1)
    if kind == 2:
        region = shapely.Point(x, y).buffer(w / 4)
        region = shapely.intersection(region, shapely.box(-180, -90, 180, 90))
        return region, region
    if kind == 3:
        region = shapely.MultiPolygon(
            [shapely.box(-180, -90, -170, 90), shapely.box(x / 2, y, x / 2 + 20, y + 5)]
        )
        return region, region
    return None, None


def draw_options(rng: np.random.Generator, ids: np.ndarray):
    """Draw filters; return the region and the excluded region also as plain shapely."""
    options = {}
    given, region = draw_region(rng)
    if given is not None:
        options["region"] = given
    given, excluded = draw_region(rng) if rng.random() < 0.3 else (None, None)
    if given is not None:
        options["exclude_region"] = given
    if region is not None and rng.random() < 0.4:
        options["within"] = True
    if rng.random() < 0.4:
        first = DAY + dt.timedelta(hours=int(rng.integers(0, 1900)))
        last = first + dt.timedelta(hours=int(rng.integers(0, 600)))
        options["time"] = [(first, last), (first, None), (None, last)][rng.integers(0, 3)]
    if rng.random() < 0.3:
        options["scenes"] = ["a", "nowhere"]
    if rng.random() < 0.3:
        options["labels"] = ["sea"]
    if rng.random() < 0.3:
        options["tile_size"] = [(64,), (128, 32), (256, 64), (999,)][rng.integers(0, 4)]
    if rng.random() < 0.3:
        options["exclude_ids"] = rng.choice(ids, min(5, len(ids)), replace=False).tolist()
    return options, region, excluded


@settings(
    max_examples=ARCHIVES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32 - 1), num_bytes=st.sampled_from([1, 2, 3, 4, 8, 12, 16, 33, 64]))
def test_search_equals_a_plain_loop(scanner, seed, num_bytes):
    rng = np.random.default_rng(seed)
    folder = Path(tempfile.mkdtemp())
    try:
        archive = CodeStore.create(folder / "a", num_bits=num_bytes * 8)
        plain = PlainArchive()
        centres = rng.integers(0, 256, (3, num_bytes), dtype=np.uint8)
        for _ in range(rng.integers(1, 4)):
            count = int(rng.integers(1, 50))
            codes = centres[rng.integers(0, 3, count)]
            codes = codes ^ (1 << rng.integers(0, 9, codes.shape)).astype(np.uint8)
            frame = make_tiles(rng, count)
            plain.add(archive.add_codes(codes, frame), codes, frame)
            if rng.random() < 0.4:
                gone = rng.choice(list(plain.rows), len(plain.rows) // 3, replace=False)
                assert archive.remove_tiles(gone) == len(gone)
                for number in gone.tolist():
                    del plain.rows[number]
            if rng.random() < 0.3:
                archive.compact()
        ids = np.array(list(plain.rows))
        for _ in range(6):
            options, region, excluded = draw_options(rng, ids)
            k = [1, 5, 20, 300, None][rng.integers(0, 5)]
            radius = (
                int(rng.integers(0, num_bytes * 8)) if k is None or rng.random() < 0.3 else None
            )
            queries = centres[:2]
            found = archive.search(queries, k=k, max_distance=radius, num_threads=2, **options)
            keep = expected_keep(options, region, excluded)
            for query, code in enumerate(queries):
                wanted = plain.search(code, k=k, radius=radius, keep=keep)
                real = found.ids[query] >= 0
                got = zip(found.distances[query][real], found.ids[query][real], strict=True)
                assert [(int(d), int(i)) for d, i in got] == wanted
                assert not real[len(wanted) :].any()
    finally:
        shutil.rmtree(folder)


def test_k_larger_than_the_archive_returns_all(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    assert archive.search(np.zeros((2, 1), np.uint8), k=5).ids.shape == (2, 0)
    frame = make_tiles(np.random.default_rng(1), 9)
    ids = archive.add_codes(np.arange(9, dtype=np.uint8)[:, None], frame)
    found = archive.search(ZERO, k=10**9)
    assert sorted(found.ids[0].tolist()) == sorted(ids.tolist())


def test_no_queries_return_no_rows(tmp_path, scanner):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    ids = archive.add_codes(np.zeros((9, 1), np.uint8), make_tiles(np.random.default_rng(1), 9))
    assert len(ids) == 9
    for options in ({}, {"k": 5000}, {"k": None, "max_distance": 8}, {"region": (0, 0, 90, 90)}):
        found = archive.search(ZERO[:0], **options)
        assert found.ids.shape == found.distances.shape == (0, 0)
        assert (found.ids.dtype, found.distances.dtype) == (np.int64, np.int32)


def test_tiles_without_a_footprint_are_in_no_region(tmp_path, scanner):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    shapes = [None, shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3), None]
    frame = gpd.GeoDataFrame({"scene": "s"}, index=range(4), geometry=shapes, crs=4326)
    first = archive.add_codes(np.zeros((4, 1), np.uint8), frame)
    second = archive.add_codes(np.zeros((4, 1), np.uint8), frame)
    placed = sorted([*first[1:3].tolist(), *second[1:3].tolist()])
    everything = sorted([*first.tolist(), *second.tolist()])
    around = shapely.Point(0, 0).buffer(20)
    for merged in (False, True):
        for region in ((-10.0, -10.0, 10.0, 10.0), around):
            for within in (False, True):
                found = archive.search(ZERO, k=9, region=region, within=within)
                assert found.ids[0].tolist() == placed
            left = archive.search(ZERO, k=9, exclude_region=region).ids[0].tolist()
            assert left == sorted(set(everything) - set(placed))
        assert merged == (len(archive.segments) == 1)
        archive.compact()


def test_excluding_a_region_keeps_tiles_that_only_touch_it(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    shapes = [shapely.box(x, 0, x + 1, 1) for x in range(4)]
    frame = gpd.GeoDataFrame({"scene": "s"}, index=range(4), geometry=shapes, crs=4326)
    ids = archive.add_codes(np.zeros((4, 1), np.uint8), frame)
    found = archive.search(ZERO, exclude_region=shapes[1])
    assert sorted(found.ids[0].tolist()) == sorted(ids[[0, 2, 3]].tolist())
