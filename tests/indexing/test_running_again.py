"""Running ``index`` again skips unchanged scenes, and replaces those that have changed."""

import datetime as dt
import multiprocessing
import os
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil

from geohash_rs import Archive, Scenes, TileGrid
from geohash_rs.errors import ArchiveWriteError, GeoHashRSWarning, SceneError, TileSizeError
from geohash_rs.indexing import plan as scene_plan
from geohash_rs.indexing.plan import ScenePlan
from geohash_rs.scenes.grid import GridSettings
from geohash_rs.scenes.grids import TileGrids
from tests.ground import TILE, ground, mosaic

Writer = Callable[..., Path]


@pytest.fixture
def scene(tmp_path: Path, write_scene: Writer) -> Path:
    """Make a scene of four tiles."""
    return write_scene(tmp_path / "s" / "0.tif", mosaic(2, 2, 1), nodata=0)


def settings(**changes: object) -> TileGrids:
    values = {"tile_size": 32, "stride": 20, "edges": "shift", "max_nodata": 1, "resolution": None}
    return TileGrids(grids=(GridSettings(**{**values, **changes}),))  # type: ignore[arg-type]


def test_a_scene_without_valid_tiles_is_named_once_and_not_read_again(
    quick: Archive, scene: Path, write_scene: Writer
) -> None:
    blank = write_scene(scene.with_name("blank.tif"), np.zeros((3, 64, 64), np.uint8), nodata=0)
    first = quick.add(Scenes(scene.parent))
    assert [Path(name).name for name, _ in first.skipped] == ["blank.tif"]
    again = quick.add(Scenes(scene.parent))
    assert (again.skipped, sorted(again.unchanged)) == ([], [str(scene), str(blank)])
    assert {record.scene: record.num_tiles for record in quick.scenes()} == {
        str(scene): 4,
        str(blank): 0,
    }


def test_tiles_of_a_scene_that_became_empty_are_removed(
    quick: Archive, scene: Path, write_scene: Writer
) -> None:
    quick.add(Scenes(scene))
    write_scene(scene, np.zeros((3, 128, 128), np.uint8), nodata=0)
    report = quick.add(Scenes(scene))
    assert "so it has none to add; its 4 earlier tiles are removed" in report.skipped[0][1]
    assert (report.num_scenes, report.replaced) == (0, [])
    assert quick.num_tiles == 0


def test_strict_keeps_the_tiles_of_a_scene_that_became_empty_and_says_so(
    quick: Archive, scene: Path, write_scene: Writer
) -> None:
    quick.add(Scenes(scene))
    write_scene(scene, np.zeros((3, 128, 128), np.uint8), nodata=0)
    with pytest.raises(SceneError, match="none to add; its 4 earlier tiles stay until"):
        quick.add(Scenes(scene), strict=True)
    assert quick.num_tiles == 4


def test_tiles_of_a_scene_that_can_no_longer_be_added_stay_and_are_reported(
    quick: Archive, scene: Path, write_scene: Writer
) -> None:
    write_scene(scene.with_name("1.tif"), mosaic(2, 2, 2))
    quick.add(Scenes(scene.parent))
    write_scene(scene, ground(0, 40, 1))
    (small,) = quick.add(Scenes(scene.parent)).skipped
    scene.write_bytes(b"")
    (unreadable,) = quick.add(Scenes(scene.parent)).skipped
    for _, reason in (small, unreadable):
        assert "; its 4 earlier tiles stay until it can be added, or 'geohash-rs remove'" in reason
    assert quick.num_tiles == 8


def test_another_date_replaces_the_tiles(quick: Archive, scene: Path) -> None:
    quick.add(Scenes(scene))
    report = quick.add(Scenes(scene, datetime="2023-06-01"))
    assert report.replaced == [str(scene)]
    assert set(quick.tiles(np.arange(4, 8))["datetime"].dt.date) == {dt.date(2023, 6, 1)}
    assert quick.add(Scenes(scene, datetime="2023-06-01")).unchanged == [str(scene)]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_corrected_world_file_moves_the_footprints(quick: Archive, tmp_path: Path) -> None:
    path = tmp_path / "s" / "0.tif"
    path.parent.mkdir()
    profile = {"driver": "GTiff", "count": 3, "height": 128, "width": 128, "dtype": "uint8"}
    with rasterio.open(path, "w", crs="EPSG:32633", **profile) as target:
        target.write(mosaic(2, 2, 1))
    world = path.with_suffix(".tfw")
    world.write_text("10\n0\n0\n-10\n500005\n5399995\n")
    assert quick.add(Scenes(path)).num_tiles == 4
    assert quick.add(Scenes(path)).unchanged == [str(path)]
    world.write_text("10\n0\n0\n-10\n600005\n5399995\n")
    assert quick.add(Scenes(path)).replaced == [str(path)]
    frame = next(iter(quick.iter_tiles())).to_crs("EPSG:32633")
    assert frame.total_bounds[0] == pytest.approx(600_000, abs=1e-3)


def test_a_nodata_of_nan_is_the_same_the_next_time(quick: Archive, scene: Path) -> None:
    quick.add(Scenes(scene, nodata=float("nan")))
    assert quick.add(Scenes(scene, nodata=float("nan"))).unchanged == [str(scene)]
    assert quick.add(Scenes(scene, nodata=7)).replaced == [str(scene)]


def test_a_checksum_is_added_to_a_scene_that_has_none(quick: Archive, scene: Path) -> None:
    quick.add(Scenes(scene))
    assert quick.add(Scenes(scene), checksum=True).unchanged == [str(scene)]
    (record,) = quick.scenes()
    assert (record.checksum or "").startswith("sha256:")
    assert quick.num_tiles == record.num_tiles == 4
    generation = quick.manifest.generation
    os.utime(scene, ns=(1, 1))
    assert quick.add(Scenes(scene), checksum=True).unchanged == [str(scene)]
    assert quick.manifest.generation == generation


def in_archive(scene: Path) -> tuple[str, Path]:
    path = scene.with_name("s.zip")
    with zipfile.ZipFile(path, "w") as file:
        file.write(scene, "in.tif")
    return f"/vsizip/{path}/in.tif", path


def in_nested_mosaics(scene: Path) -> tuple[str, Path]:
    for name in ("inner.vrt", "outer.vrt"):
        rasterio.shutil.copy(scene, scene.with_name(name), driver="VRT")
    outer = scene.with_name("outer.vrt")
    outer.write_text(outer.read_text().replace(">0.tif<", ">inner.vrt<"))
    return str(outer), scene


def in_subdataset(scene: Path) -> tuple[str, Path]:
    return f"GTIFF_DIR:1:{scene}", scene


@pytest.mark.parametrize("checksum", [False, True])
@pytest.mark.parametrize("lie", [in_archive, in_nested_mosaics, in_subdataset])
def test_a_change_is_noticed_in_an_archive_mosaic_or_subdataset(
    quick: Archive,
    scene: Path,
    lie: Callable[[Path], tuple[str, Path]],
    write_scene: Writer,
    *,
    checksum: bool,
) -> None:
    name, file = lie(scene)
    quick.add(Scenes(name), checksum=checksum)
    assert quick.add(Scenes(name), checksum=checksum).unchanged == [name]
    earlier = file.stat()
    write_scene(scene, mosaic(2, 2, 7), nodata=0)
    lie(scene)
    if checksum:  # which reveals what size and time hide
        os.utime(file, ns=(earlier.st_atime_ns, earlier.st_mtime_ns))
    assert quick.add(Scenes(name), checksum=checksum).replaced == [name]


def test_a_new_mask_next_to_a_scene_counts_as_a_change(quick: Archive, scene: Path) -> None:
    quick.add(Scenes(scene))
    with rasterio.open(
        f"{scene}.msk", "w", driver="GTiff", count=1, height=128, width=128, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.Affine.scale(10)
    ) as mask:  # fmt: skip
        mask.update_tags(INTERNAL_MASK_FLAGS_1="2")
        mask.write(np.zeros((128, 128), np.uint8), 1)
    report = quick.add(Scenes(scene))
    assert "its 4 earlier tiles are removed" in report.skipped[0][1]


def test_scenes_whose_changes_cannot_be_detected_are_reported_once(
    quick: Archive, scene: Path
) -> None:
    names = []
    for number in range(2):
        names.append(f"/vsimem/unseen{number}.tif")
        rasterio.shutil.copy(scene, names[-1], driver="GTiff")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            quick.add(Scenes(names))
        with pytest.warns(
            GeoHashRSWarning, match=r"unseen0.tif and 1 more skipped as indexed before"
        ) as seen:
            assert quick.add(Scenes(names)).unchanged == names
        assert len(seen) == 1
    finally:
        for name in names:
            rasterio.shutil.delete(name)


def test_a_vrt_has_changed_if_its_oldest_source_has(
    quick: Archive, tmp_path: Path, write_scene: Writer
) -> None:
    image = mosaic(2, 2, 1)
    sources = [write_scene(tmp_path / f"{n}.tif", image[n : n + 1]) for n in range(3)]
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><SimpleSource><SourceFilename>{source}'
        "</SourceFilename></SimpleSource></VRTRasterBand>"
        for n, source in enumerate(sources, 1)
    )
    vrt = tmp_path / "stack.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000,10,0,5400000,0,-10</GeoTransform>{bands}</VRTDataset>"
    )
    os.utime(sources[0], ns=(1, 10**18))
    quick.add(Scenes(vrt))
    assert quick.add(Scenes(vrt)).unchanged == [str(vrt)]
    write_scene(sources[0], image[2:3])
    os.utime(sources[0], ns=(1, 10**18 + 10**9))  # still older than the others, with the same size
    assert quick.add(Scenes(vrt)).replaced == [str(vrt)]


def test_a_plan_lays_the_grid_part_by_part(
    tmp_path: Path, write_scene: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        write_scene(tmp_path / "s" / f"{number}.tif", mosaic(1 + number % 3, 2, number))
    scenes = Scenes(tmp_path / "s")
    grid = TileGrid(scenes, tile_size=32, stride=20).tiles
    plan = ScenePlan(scenes, settings())
    assert plan.num_tiles == 0
    for number in range(5):
        plan.add(number)
    monkeypatch.setattr(scene_plan, "PART_TILES", 100)
    parts = list(plan.parts())
    assert len(parts) > 1
    assert all(len(part) <= 100 for part in parts)
    assert np.array_equal(np.concatenate(parts), grid)
    positions = np.array([0, 1, 40, len(grid) - 1])
    assert np.array_equal(plan.take(positions), grid[positions])
    plan.leave_out(1)
    rest = grid[grid[:, 0] != 1]
    assert plan.numbers == [0, 2, 3, 4]
    assert np.array_equal(plan.take(np.arange(len(rest))), rest)
    with pytest.raises(TileSizeError, match="stride 0 px"):
        ScenePlan(scenes, settings(stride=0))


def test_an_archive_made_in_parts_is_the_same(
    quick: Archive, tmp_path: Path, write_scene: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        write_scene(tmp_path / "s" / f"{number}.tif", mosaic(2, 2, number))
    whole = Archive.create(tmp_path / "whole", hasher=quick.hasher())
    whole.add(Scenes(tmp_path / "s"), tile_size=TILE)
    monkeypatch.setattr(scene_plan, "PART_TILES", 1)
    assert quick.add(Scenes(tmp_path / "s"), tile_size=TILE).num_tiles == 16
    ids = np.arange(16)
    assert (quick.codes(ids) == whole.codes(ids)).all()
    assert quick.tiles(ids).equals(whole.tiles(ids))


def test_no_reading_process_outlives_a_failed_run(
    quick: Archive, scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise ArchiveWriteError(28, "no space left")

    monkeypatch.setattr(quick, "add_codes", full)
    monkeypatch.setattr("geohash_rs.indexing.writer.COMMIT_SECONDS", 0.0)
    with pytest.raises(ArchiveWriteError, match="no space left"):
        quick.add(Scenes(scene), workers=1)
    assert not multiprocessing.active_children()


def test_a_scene_reached_by_a_link_or_a_uri_is_not_added_again(
    scene: Path, tmp_path: Path, quick: Archive
) -> None:
    quick.add(Scenes(scene))
    count = quick.num_tiles
    (tmp_path / "linked").symlink_to(scene.parent, target_is_directory=True)
    for again in (tmp_path / "linked" / scene.name, f"file://{scene}", f"GTIFF_DIR:1:{scene}"):
        report = quick.add(Scenes(again))
        assert (report.num_tiles, quick.num_tiles) == (0, count)
        assert report.unchanged == [str(scene)]
