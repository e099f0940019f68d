"""Write the archives that `test_fixture` opens: python -m tests.store.write_fixture [FORMAT].

Codes and footprints are invented. Do not rewrite it unless the format changes: the committed
files come from an earlier version, and every later version must read them.
"""

import datetime as dt
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.records import SceneRecord

FOLDER = Path(__file__).parent / "data" / "format_1"
WITH_VECTORS = Path(__file__).parent / "data" / "format_2"
VECTORS = np.array([[0.0, 1.0, -2.5, 63.5], [0.0] * 4, [-127.0, 64.0, 0.5, 1.0]] * 4, np.float32)


def tiles(scene: str, west: float, *, ends: bool = False, labels: bool = False) -> gpd.GeoDataFrame:
    """Make three tiles of one degree from west to east, the last without window, time and label."""
    xmin = west + np.arange(3.0)
    shapes = shapely.box(xmin, 10.0, xmin + 1, 11.0)
    across = xmin + 1 > 180
    for place in np.flatnonzero(across):
        parts = [
            shapely.box(xmin[place], 10, 180, 11),
            shapely.box(-180, 10, xmin[place] - 359, 11),
        ]
        shapes[place] = shapely.MultiPolygon(parts)
    data: dict[str, object] = {
        "scene": scene,
        "col": pd.array([0, 64, None], "Int32"),
        "row": pd.array([128, 128, None], "Int32"),
        "width": 64,
        "height": 64,
        "datetime": ["2021-03-04T05:06:07.000008Z", "2022-01-01T00:00:00.000000Z", None],
    }
    if ends:
        data["datetime_end"] = ["2021-03-05T00:00Z", None, None]
    if labels:
        data["label"] = ["Äcker", "", None]
    return gpd.GeoDataFrame(data, geometry=shapes, crs=4326)


def write_vectors() -> None:
    """Write an archive with a merged segment and a second one, in each form of vectors."""
    codes = np.arange(1, 25, dtype=np.uint8).reshape(12, 2)
    for kind in ("float16", "int8"):
        with CodeStore.create(WITH_VECTORS / kind, num_bits=16, keep_vectors=kind) as archive:
            for start, scene in enumerate(("a.tif", "b.tif", "gone.tif", "c.tif")):
                rows = slice(3 * start, 3 * start + 3)
                frame = tiles(scene, 7.0 * start)
                archive.add_codes(codes[rows], frame, vectors=VECTORS[rows])
                if scene == "gone.tif":
                    archive.remove_scenes([scene])
                    archive.compact()
        (WITH_VECTORS / kind / "write.lock").write_bytes(b"")  # named this process


def main() -> None:
    """Write a merged segment with tombstones, a second segment, attrs and a mock hasher."""
    hasher = HasherFile(data=b"no real hasher", fingerprint="0123456789abcdef", num_bits=16)
    attrs = {"made": "for tests", "pair": [1, 2.5]}
    archive = CodeStore.create(FOLDER, hasher=hasher, attrs=attrs)
    codes = np.arange(1, 25, dtype=np.uint8).reshape(12, 2)
    record = SceneRecord(
        scene="b.tif",
        width=256,
        height=192,
        crs="EPSG:4326",
        transform=(1.0, 0.0, 5.0, 0.0, -1.0, 11.0),
        dtype="uint16",
        count=4,
        size=1234,
        mtime_ns=1_600_000_000_000_000_001,
        datetime=dt.datetime(2021, 3, 4, 5, 6, 7, 8, tzinfo=dt.UTC),
        num_tiles=3,
        settings={"tile_size": 64},
    )
    archive.add_codes(codes[:3], tiles("a.tif", 177.5))
    archive.add_codes(codes[3:6], tiles("b.tif", 5, ends=True, labels=True), scenes=[record])
    archive.add_codes(codes[6:9], tiles("gone.tif", -20), scenes=[SceneRecord(scene="gone.tif")])
    archive.compact()
    archive.add_codes(codes[9:], tiles("c.tif", 30))
    archive.remove_scenes(["gone.tif"])
    archive.close()
    (FOLDER / "write.lock").write_bytes(b"")  # named this process


if __name__ == "__main__":
    write_vectors() if sys.argv[1:] == ["2"] else main()
