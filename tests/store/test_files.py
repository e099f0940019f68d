"""Files of an archive, opened by other programs and from other installations."""

import ast
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from numba.core import caching, config

from geohash_rs.errors import ArchiveWriteError
from geohash_rs.footprints.bounds import total_bounds
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.search import kernel_cache
from geohash_rs.store.summary import summarise
from geohash_rs.store.verification import verify_archive
from tests.store.helpers import make_grid

# with or without an underscore, depending on Numba's version
LOCATORS = [
    getattr(caching, name)
    for name in dir(caching)
    if "InTreeCacheLocator" in name or "UserWideCacheLocator" in name
]


def zeros(count: int) -> np.ndarray:
    """Return codes of 64 bits."""
    return np.zeros((count, 8), np.uint8)


def test_geopandas_and_duckdb_open_the_tiles(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    frame = make_grid(300)
    ids = archive.add_codes(zeros(300), frame)
    path = next(archive.path.glob("segments/*/tiles.parquet"))
    read = gpd.read_parquet(path).set_index("tile_id").loc[ids]
    assert read.crs == "EPSG:4326"
    assert (read.geometry.to_wkb().to_numpy() == frame.geometry.to_wkb().to_numpy()).all()
    query = f"SELECT count(*), sum(col), count(DISTINCT scene) FROM '{path}'"
    assert duckdb.sql(query).fetchall() == [(300, int(frame["col"].sum()), 1)]


@pytest.mark.parametrize(
    ("boxes", "around"),
    [
        ([(10, 0, 20, 5), (-30, 1, -20, 9)], (-30, 0, 20, 9)),
        ([(175, 0, 176, 1), (-176, 0, -175, 1)], (175, 0, 185, 1)),
        ([(179, 0, 181, 1), (-176, 0, -175, 1), (100, 0, 101, 1)], (100, 0, 185, 1)),
        ([(-180, -1, 180, 1)], (-180, -1, 180, 1)),
        ([(west, 0, west + 91, 1) for west in (-180, -90, 0, 90)], (-180, 0, 180, 1)),
        ([(np.nan,) * 4], None),
    ],
)
def test_the_box_around_boxes_is_the_smallest_on_the_globe(boxes, around):
    assert total_bounds(np.array(boxes, float)) == around


def test_an_archive_on_both_sides_of_the_antimeridian_has_a_narrow_box(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    for west in (-179.0, 178.0):
        shapes = [shapely.box(west, 0, west + 1, 1)]
        frame = gpd.GeoDataFrame({"scene": [f"at {west}"]}, geometry=shapes, crs=4326)
        archive.add_codes(zeros(1), frame)
    both = gpd.GeoDataFrame(
        {"scene": ["east", "west"]},
        geometry=[shapely.box(-178, 2, -177, 3), shapely.box(177, 2, 178, 3)],
        crs=4326,
    )
    archive.add_codes(zeros(2), both)
    assert summarise(archive)["bbox"] == [177.0, 0.0, 183.0, 3.0]
    for region, count in (((-178, 2, -177, 3), 1), ((177, -1, -177, 9), 4), ((0, 0, 9, 9), 0)):
        assert archive.search(zeros(1), region=region).ids.shape[1] == count
    path = archive.path / "segments" / archive.manifest.segments[-1].name / "tiles.parquet"
    geo = json.loads(pq.read_schema(path).metadata[b"geo"])
    assert geo["columns"]["geometry"]["bbox"] == [177.0, 2.0, -177.0, 3.0]


def test_many_small_additions_leave_few_segments(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=64)
    for number in range(70):
        archive.add_codes(zeros(20), make_grid(20, scene=f"scene {number}"))
    assert len(archive) == 1400
    assert len(archive.manifest.segments) < 16
    assert archive.search(zeros(1), k=2000).ids[0].tolist() == list(range(1400))
    assert verify_archive(archive.path).ok


def test_kernels_are_cached_in_a_temporary_folder_if_nothing_else_can_be_written(
    tmp_path, monkeypatch
):
    def refuse(locator):
        raise PermissionError(locator.get_cache_path())

    for locator in LOCATORS:
        monkeypatch.setattr(locator, "ensure_cache_path", refuse)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(config, "CACHE_DIR", "")  # NUMBA_CACHE_DIR would come first
    compiled = kernel_cache.cached_njit(double)
    assert compiled(4) == 8
    folder = Path(compiled.stats.cache_path)
    assert folder.is_relative_to(tmp_path)
    assert list(folder.glob("*.nbc"))
    folder.parent.chmod(0o777)  # anybody could put code there, so it is not trusted
    assert kernel_cache.cached_njit(double).stats.cache_path is None


def test_kernels_are_recompiled_if_any_source_has_changed():
    folder = Path(kernel_cache.__file__).parents[1]
    for name in kernel_cache.SOURCES[:3]:
        tree = ast.parse((folder / f"{name}.py").read_text())
        used = {item.module for item in ast.walk(tree) if isinstance(item, ast.ImportFrom)}
        ours = {"/".join(module.split(".")[2:]) for module in used if "geohash_rs" in module}
        assert ours <= {*kernel_cache.SOURCES, "search/kernel_cache"}


def double(number):
    """A function to compile."""
    return 2 * number


def test_a_full_disk_leaves_the_archive_unchanged(tmp_path):
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("mounting a small file system takes root on Linux")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        archive = CodeStore.create(disk / "a", num_bits=64)
        archive.add_codes(zeros(100), make_grid(100))
        with pytest.raises(ArchiveWriteError, match=r"No space left on device.*make room"):
            archive.add_codes(zeros(20_000), make_grid(20_000))
        assert len(archive) == 100
        report = verify_archive(archive.path)
        assert (report.ok, report.num_tiles, report.orphans) == (True, 100, ())
        archive.add_codes(zeros(50), make_grid(50, scene="small"))
        assert len(CodeStore.open(archive.path, mode="r")) == 150
        archive.close()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
