"""Search in archives with several blocks of rows, compared with a plain loop and with FAISS.

A tenth of GEOHASH_RS_SEARCH_ARCHIVES are drawn.
"""

import datetime as dt
import os
import shutil
import tempfile
from pathlib import Path

import faiss
import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.segment.layout import BLOCK
from tests.store.plain import in_region, in_time, overlaps

ARCHIVES = int(os.environ.get("GEOHASH_RS_SEARCH_ARCHIVES", "40"))
DAY = dt.datetime(2020, 1, 1)
CLUSTERS = np.array([[10.0, 50.0], [-70.0, -10.0], [179.2, 0.0], [-178.8, 1.0]])


def make_clusters(rng: np.random.Generator, count: int) -> gpd.GeoDataFrame:
    """Draw small tiles in clusters, in random order, some without a footprint or a time."""
    middle = CLUSTERS[rng.integers(0, len(CLUSTERS), count)] + rng.uniform(-0.7, 0.7, (count, 2))
    size = rng.uniform(0.001, 0.02, count)
    shapes = shapely.box(*(middle - size[:, None]).T, *(middle + size[:, None]).T)
    shapes[rng.random(count) < rng.choice([0, 0.001, 0.3])] = None
    hours = rng.integers(0, 2000, count)
    start = np.array([DAY + dt.timedelta(hours=int(hour)) for hour in hours], dtype=object)
    start[rng.random(count) < 0.05] = None
    frame = {"scene": rng.choice(["a", "b", "c"], count, p=[0.9, 0.09, 0.01]), "datetime": start}
    return gpd.GeoDataFrame(frame, geometry=shapes, crs=4326)


def draw_place(rng: np.random.Generator):
    """Draw a region around, in or next to a cluster."""
    x, y = CLUSTERS[rng.integers(0, len(CLUSTERS))] + rng.uniform(-0.5, 0.5, 2)
    size = rng.choice([0.05, 0.4, 1.3])
    box = shapely.box(max(x - size, -180), y - size, min(x + size, 180), y + size)
    disc = shapely.Point(x, y).buffer(size).intersection(shapely.box(-180, -90, 180, 90))
    return [None, box, disc, shapely.box(-180, -90, 180, 90)][rng.integers(0, 4)]


@settings(
    max_examples=max(1, ARCHIVES // 10),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32 - 1), num_bytes=st.sampled_from([2, 8, 9, 16]))
def test_search_of_several_blocks_equals_a_plain_loop(scanner, seed, num_bytes):
    rng = np.random.default_rng(seed)
    folder = Path(tempfile.mkdtemp())
    try:
        archive = CodeStore.create(folder / "a", num_bits=num_bytes * 8)
        frames, codes, ids = [], [], []
        for count in (int(rng.integers(2 * BLOCK, 4 * BLOCK)), int(rng.integers(1, BLOCK))):
            frames.append(make_clusters(rng, count))
            codes.append(rng.integers(0, 256, (count, num_bytes), dtype=np.uint8))
            ids.append(archive.add_codes(codes[-1], frames[-1]))
        frame, code, ids = pd.concat(frames), np.concatenate(codes), np.concatenate(ids)
        live = rng.random(len(ids)) < rng.choice([1, 0.999, 0.6])
        if not live.all():
            archive.remove_tiles(ids[~live])
        if rng.random() < 0.5:
            archive.compact()
        assert len(archive) == live.sum()
        shapes = frame.geometry.to_numpy()
        for _ in range(6):
            region, excluded = draw_place(rng), draw_place(rng) if rng.random() < 0.3 else None
            within, options = bool(rng.random() < 0.3), {}
            keep = live & in_region(region, shapes, within=within) & ~overlaps(excluded, shapes)
            if rng.random() < 0.4:
                first = DAY + dt.timedelta(hours=int(rng.integers(0, 1900)))
                last = first + dt.timedelta(hours=int(rng.integers(0, 600)))
                time = [(first, last), (first, None), (None, last)][rng.integers(0, 3)]
                options["time"] = time
                keep &= [in_time(time, {"datetime": one}) for one in frame["datetime"]]
            if rng.random() < 0.3:
                options["scenes"] = ["b", "c"]
                keep &= frame["scene"].isin(["b", "c"]).to_numpy()
            k = [1, 20, 5000, None][rng.integers(0, 4)]
            radius = int(rng.integers(0, num_bytes * 4)) if k is None else None
            found = archive.search(
                code[:2],
                k=k,
                max_distance=radius,
                region=region,
                within=within,
                exclude_region=excluded,
                num_threads=2,
                **options,
            )
            for query in range(2):
                far = np.unpackbits(code ^ code[query], axis=1).sum(axis=1)
                near = np.flatnonzero(keep & (far <= (num_bytes * 8 if radius is None else radius)))
                wanted = near[np.lexsort((ids[near], far[near]))][:k]
                real = found.ids[query] >= 0
                assert found.ids[query][real].tolist() == ids[wanted].tolist()
                assert found.distances[query][real].tolist() == far[wanted].tolist()
    finally:
        shutil.rmtree(folder)


def test_many_blocks_agree_with_faiss(tmp_path, scanner):
    rng = np.random.default_rng(5)
    count = 3 * BLOCK + 77
    codes = rng.integers(0, 256, (count, 8), dtype=np.uint8)
    x, y = rng.uniform(-10, 10, count), rng.uniform(40, 60, count)
    frame = gpd.GeoDataFrame(
        {"scene": "s"}, index=range(count), geometry=shapely.box(x, y, x + 0.1, y + 0.1), crs=4326
    )
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    ids = archive.add_codes(codes, frame)
    region = (-4.0, 45.0, 3.0, 52.0)
    inside = shapely.intersects(frame.geometry.to_numpy(), shapely.box(*region))
    for keep, options in ((np.ones(count, bool), {}), (inside, {"region": region})):
        index = faiss.IndexBinaryFlat(64)
        index.add(codes[keep])
        for k in (1, 20, 400):
            distances, _ = index.search(codes[:10], k)
            found = archive.search(codes[:10], k=k, **options)
            assert (found.distances == distances).all()
            kept = set(ids[keep].tolist())
            assert all(set(row.tolist()) <= kept for row in found.ids)
