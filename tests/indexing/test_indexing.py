"""Adding imagery to an archive."""

import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from geohash_rs import Archive, Scenes, load_hasher
from geohash_rs.errors import (
    ArchiveExistsError,
    ArchiveNotFoundError,
    BandMismatchError,
    HasherError,
    HasherMismatchError,
    HasherNotFoundError,
    SceneError,
    TileSizeError,
)
from geohash_rs.hashing.fit.training_free import fit_hasher
from geohash_rs.indexing import scene_imagery
from geohash_rs.opening import open_or_create
from tests.ground import TILE, ground, mosaic

Writer = Callable[..., Path]


@pytest.fixture
def copy(archive_folder: Path, tmp_path: Path) -> Archive:
    """Make an empty archive with the hasher of the shared one."""
    source = Archive.open(archive_folder, mode="r")
    return Archive.create(tmp_path / "copy", hasher=source.hasher())


def test_footprints_are_those_of_rasterio(archive: Archive, scene_folder: Path) -> None:
    for scene in sorted(scene_folder.glob("*.tif")):
        tiles = archive.query(tile=0, k=56, scenes=[str(scene)])
        with rasterio.open(scene) as source:
            native = tiles.to_crs(source.crs)
            for row in native.itertuples():
                window = rasterio.windows.Window(row.col, row.row, row.width, row.height)
                bounds = source.window_bounds(window)
                assert np.abs(np.subtract(row.geometry.bounds, bounds)).max() < 1e-5  # 1e-6 px


def test_the_same_scene_twice_is_indexed_once(copy: Archive, scene_folder: Path) -> None:
    first = copy.add(Scenes(scene_folder))
    again = copy.add(Scenes(scene_folder))
    assert (first.num_tiles, again.num_tiles, len(again.unchanged)) == (56, 0, 3)
    assert copy.num_tiles == 56


def test_a_changed_scene_replaces_its_tiles(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    path = write_scene(tmp_path / "s" / "x.tif", mosaic(2, 2, 1))
    copy.add(Scenes(tmp_path / "s"))
    write_scene(path, mosaic(3, 2, 5))
    report = copy.add(Scenes(tmp_path / "s"))
    assert report.replaced == [str(path)]
    assert copy.num_tiles == 6
    assert copy.query(path, window=(128, 0, 64, 64), k=1)["distance"].tolist() == [0]


def test_another_grid_replaces_the_tiles_too(copy: Archive, scene_folder: Path) -> None:
    copy.add(Scenes(scene_folder / "a_20230601.tif"))
    copy.add(Scenes(scene_folder / "a_20230601.tif"), stride=32)
    assert copy.num_tiles == 9 * 7


def test_a_removed_scene_is_not_found(copy: Archive, scene_folder: Path) -> None:
    copy.add(Scenes(scene_folder))
    scene = str(scene_folder / "a_20230601.tif")
    assert copy.remove_scenes([scene]) == 20
    matches = copy.query(scene, window=(0, 0, 64, 64), k=56)
    assert len(matches) == 36
    assert scene not in set(matches["scene"])
    assert copy.add(Scenes(scene_folder)).num_tiles == 20


def test_bad_files_are_named_and_the_others_indexed(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    good = write_scene(folder / "good.tif", mosaic(2, 2, 1))
    (folder / "empty.tif").write_bytes(b"")
    (folder / "cut.tif").write_bytes(good.read_bytes()[:9000])
    write_scene(folder / "nowhere.tif", mosaic(1, 1, 1), crs=None)
    write_scene(folder / "small.tif", ground(0, 40, 1))
    write_scene(folder / "blank.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    write_scene(folder / "many.tif", np.ones((13, 64, 64), np.uint16))
    write_scene(folder / "complex.tif", np.ones((3, 64, 64), np.complex64))
    report = copy.add(Scenes(folder))
    reasons = {Path(scene).name: reason for scene, reason in report.skipped}
    assert (report.num_tiles, report.num_scenes) == (4, 1)
    assert set(reasons) == {
        *("empty.tif", "cut.tif", "nowhere.tif", "small.tif", "blank.tif", "many.tif"),
        "complex.tif",
    }
    assert "cannot be opened" in reasons["empty.tif"]
    assert "cannot be" in reasons["cut.tif"]
    assert "has no CRS" in reasons["nowhere.tif"]
    assert "tile_size 64 px is larger than small.tif (40 x 40 px)" in reasons["small.tif"]
    assert "nodata" in reasons["blank.tif"]
    assert "has 13 bands but the hasher expects 3" in reasons["many.tif"]
    assert "complex" in reasons["complex.tif"]


def test_strict_stops_at_the_first_bad_file(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    good = write_scene(tmp_path / "s" / "good.tif", mosaic(2, 2, 1))
    (tmp_path / "s" / "cut.tif").write_bytes(good.read_bytes()[:9000])
    with pytest.raises(SceneError, match="cannot be"):
        copy.add(Scenes(tmp_path / "s"), strict=True)
    assert copy.num_tiles == 0


def test_nan_and_inf_pixels_do_not_reach_the_codes(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    clean = ground(1, 64, 3).astype(np.float32)
    clean[:, 0, 0] = 255  # so that these are known to be the values of 8 bits
    holed = clean.copy()
    holed[:, 5, 5] = np.nan
    holed[0, 9, 9] = np.inf
    holed[:, 20, 20] = -9999
    write_scene(tmp_path / "s" / "a.tif", clean)
    write_scene(tmp_path / "s" / "b.tif", holed, nodata=-9999)
    assert copy.add(Scenes(tmp_path / "s")).num_tiles == 2
    assert copy.query(tile=0, k=2)["distance"].max() <= 6


def test_a_sentinel_in_one_band_of_integers_does_not_outweigh_the_rest(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    clean = ground(1, 64, 3).astype(np.int16)
    clean[:, 0, 0] = 255  # so that these are known to be the values of 8 bits
    holed = clean.copy()
    holed[0, 10:14, 10:14] = -9999
    write_scene(tmp_path / "s" / "a.tif", clean, nodata=-9999)
    write_scene(tmp_path / "s" / "b.tif", holed, nodata=-9999)
    assert copy.add(Scenes(tmp_path / "s")).num_tiles == 2
    assert copy.query(tile=0, k=2)["distance"].max() <= 6


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64", "uint32", "int32"])
def test_scenes_of_other_pixel_types_are_hashed_and_found(
    write_scene: Writer, tmp_path: Path, dtype: str
) -> None:
    image = mosaic(3, 3, 1).astype(dtype) * 20
    path = write_scene(tmp_path / "s" / "x.tif", image)
    archive = Archive.create(tmp_path / "archive", hasher="itq-8")
    assert archive.add(Scenes(path)).num_tiles == 9
    assert archive.query(path, window=(64, 64, 64, 64), k=1)["distance"].tolist() == [0]


def test_thirteen_bands_and_one_band_are_hashed(write_scene: Writer, tmp_path: Path) -> None:
    for count in (1, 13):
        image = np.concatenate([mosaic(3, 2, i)[:1] for i in range(count)])
        path = write_scene(tmp_path / f"{count}.tif", image)
        archive = Archive.create(tmp_path / f"archive-{count}", hasher="itq-16")
        assert archive.add(Scenes(path)).num_tiles == 6
        assert len(archive.hasher().bands) == count


def test_bands_are_chosen_by_index_for_scene_and_patch(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    image = mosaic(2, 2, 1)
    extra = np.concatenate([np.full_like(image[:1], 9), image[::-1]])
    path = write_scene(tmp_path / "s" / "bgr.tif", extra, photometric="minisblack")
    copy.add(Scenes(path, bands=[4, 3, 2]))
    plain = write_scene(tmp_path / "plain.tif", image)
    assert copy.query(plain, window=(0, 0, 64, 64), k=1, bands=[1, 2, 3])["distance"][0] == 0
    assert copy.query(path, window=(0, 0, 64, 64), k=1)["distance"][0] == 0


def test_south_up_and_north_up_give_the_same_codes(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    image = mosaic(2, 2, 4)
    write_scene(tmp_path / "s" / "north.tif", image)
    south = Affine(10, 0, 500_000, 0, 10, 5_400_000 - 128 * 10)
    write_scene(tmp_path / "s" / "south.tif", image[:, ::-1], transform=south)
    copy.add(Scenes(tmp_path / "s"))
    tiles = copy.tiles(np.arange(8))
    codes = copy.codes(np.arange(8))
    for i in range(8):
        twins = [j for j in range(8) if tiles.geometry[j].equals(tiles.geometry[i])]
        assert len(twins) == 2
        assert (codes[twins] == codes[i]).all()


def test_tiles_of_two_resolutions_cover_the_same_ground(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    image = mosaic(2, 2, 1)
    fine = image.repeat(2, axis=1).repeat(2, axis=2)
    write_scene(tmp_path / "s" / "coarse.tif", image)
    write_scene(
        tmp_path / "s" / "fine.tif", fine, transform=Affine(5, 0, 500_000, 0, -5, 5_400_000)
    )
    copy.add(Scenes(tmp_path / "s"), resolution=10)
    tiles = copy.tiles(np.arange(copy.num_tiles))
    sizes = tiles.groupby("scene")["width"].unique().tolist()
    assert sorted(int(size[0]) for size in sizes) == [64, 128]
    assert copy.num_tiles == 8


def test_tiles_have_the_ground_size_of_the_hasher(write_scene: Writer, tmp_path: Path) -> None:
    fine = mosaic(2, 2, 1).repeat(2, axis=1).repeat(2, axis=2)
    at = Affine(5, 0, 500_000, 0, -5, 5_400_000)
    scenes = Scenes(write_scene(tmp_path / "s" / "fine.tif", fine, transform=at))
    tiles = torch.from_numpy(np.stack([ground(i % 4, TILE, i) for i in range(16)]))
    hasher = fit_hasher([tiles], num_bits=16, method="lsh", input_size=32, resolution=10.0)
    archive = Archive.create(tmp_path / "archive", hasher=hasher)
    assert archive.add(scenes).num_tiles == 4
    assert set(archive.tiles(np.arange(4))["width"]) == {128}
    (record,) = archive.scenes()
    assert record.settings["ground_size"] == 10  # patches are resampled to it
    assert archive.add(scenes, resolution=5).num_tiles == 16  # an explicit one takes precedence


def test_workers_read_the_same_tiles(copy: Archive, archive: Archive, scene_folder: Path) -> None:
    copy.add(Scenes(scene_folder), workers=2)
    ids = np.arange(56)
    assert (copy.codes(ids) == archive.codes(ids)).all()


def test_an_archive_refuses_other_hashers_and_other_folders(
    archive_folder: Path, tmp_path: Path, archive: Archive
) -> None:
    with pytest.raises(HasherMismatchError, match="not lsh-64; leave out"):
        open_or_create(archive_folder, hasher="lsh-64")
    assert open_or_create(archive_folder, hasher="itq-64").num_tiles == 56
    known = archive.hasher()
    other = replace(known, extractor=replace(known.extractor, bands=known.bands[::-1]))
    names = rf"itq-64 \({known.fingerprint[:8]}\), not itq-64 \({other.fingerprint[:8]}\);"
    with pytest.raises(HasherMismatchError, match=names):
        open_or_create(archive_folder, hasher=other)
    with pytest.raises(ArchiveExistsError, match="not empty"):
        Archive.create(archive_folder, hasher="itq-64")
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(ArchiveNotFoundError, match="is not an archive"):
        Archive.open(tmp_path)
    with pytest.raises(HasherNotFoundError, match="nothing-like-it"):
        Archive.create(tmp_path / "new", hasher="nothing-like-it")
    with pytest.raises(HasherError, match="num_bits is 32"):
        Archive.create(tmp_path / "new", hasher="itq-64", num_bits=32)


def test_an_archive_is_made_with_its_hasher_in_one_commit(quick: Archive, tmp_path: Path) -> None:
    assert quick.manifest.generation == 0
    assert quick.hasher_fingerprint == quick.hasher().fingerprint
    half = tmp_path / "half"  # as left by a creation that was interrupted after its locks
    half.mkdir()
    (half / "write.lock").touch()
    (half / "readers.lock").touch()
    assert open_or_create(half, hasher=quick.hasher()).num_bits == 16


def test_errors_about_an_empty_archive_say_what_to_do(tmp_path: Path, scene_folder: Path) -> None:
    pending = Archive.create(tmp_path / "pending", hasher="itq-64")
    with pytest.raises(HasherError, match="add some first"):
        pending.query(scene_folder / "a_20230601.tif")
    bare = Archive.create(tmp_path / "bare", num_bits=64)
    with pytest.raises(HasherError, match="codes made elsewhere"):
        bare.add(Scenes(scene_folder))


def test_the_stored_hasher_is_one_file_that_loads_again(archive: Archive) -> None:
    assert archive.hasher_file is not None
    loaded = load_hasher(archive.hasher_file)
    assert loaded.fingerprint == archive.hasher_fingerprint


def test_scenes_that_are_all_too_small_or_of_other_bands_raise(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    small = write_scene(tmp_path / "small.tif", ground(0, 40, 1))
    with pytest.raises(TileSizeError, match=r"larger than small.tif"):
        copy.add(Scenes(small))
    assert copy.add(Scenes(small), edges="pad", max_nodata=0.7).num_tiles == 1
    gray = write_scene(tmp_path / "gray.tif", ground(0, 64, 1)[:1])
    with pytest.raises(BandMismatchError, match="has 1 band"):
        copy.add(Scenes(gray))


def test_padded_edges_overhang_the_scene(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    path = write_scene(tmp_path / "odd.tif", mosaic(2, 2, 1)[:, :100, :100])
    copy.add(Scenes(path), edges="pad", max_nodata=0.9)
    frame = copy.tiles(np.arange(copy.num_tiles))
    assert sorted(zip(frame["col"], frame["row"], strict=True)) == [
        (0, 0),
        (0, 64),
        (64, 0),
        (64, 64),
    ]
    assert (frame["width"] == TILE).all()


def test_an_interrupted_run_keeps_the_scenes_it_finished(
    copy: Archive, scene_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Scenes.read

    def stop_at_third(self: Scenes, tile: object, **options: object) -> object:
        if tile.scene == 2:
            raise KeyboardInterrupt
        return real(self, tile, **options)

    monkeypatch.setattr(Scenes, "read", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        copy.add(Scenes(scene_folder), batch_size=4)
    monkeypatch.undo()
    kept = copy.num_tiles
    assert kept in {20, 40}
    report = copy.add(Scenes(scene_folder))
    assert copy.num_tiles == 56
    assert report.num_tiles == 56 - kept


def test_a_scene_off_the_earth_is_named_and_the_others_indexed(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    folder = tmp_path / "s"
    write_scene(folder / "good.tif", mosaic(2, 2, 1))
    off = Affine(10, 0, 1e9, 0, -10, 1e9)
    write_scene(folder / "off.tif", mosaic(1, 1, 1), transform=off)
    report = copy.add(Scenes(folder))
    assert report.num_tiles == 4
    assert [Path(scene).name for scene, _ in report.skipped] == ["off.tif"]
    assert "no longitude and latitude" in report.skipped[0][1]


def test_bands_of_one_scene_are_not_applied_to_other_patches(
    copy: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    image = mosaic(2, 2, 1)
    plain = write_scene(tmp_path / "plain.tif", image)
    many = np.concatenate([np.full_like(image[:1], 9), image[::-1]])
    chosen = write_scene(tmp_path / "many.tif", many, photometric="minisblack")
    copy.add(Scenes(plain))
    copy.add(Scenes(chosen, bands=[4, 3, 2]))
    for path in (plain, chosen):
        assert copy.query(path, window=(0, 0, 64, 64), k=2)["distance"].tolist() == [0, 0]


def test_a_first_scene_without_valid_tiles_is_named(write_scene: Writer, tmp_path: Path) -> None:
    blank = write_scene(tmp_path / "blank.tif", np.zeros((3, 64, 64), np.uint8), nodata=0)
    archive = Archive.create(tmp_path / "archive", hasher="itq-64")
    report = archive.add(Scenes(blank))
    assert report.num_tiles == 0
    assert "blank.tif has no tile" in report.skipped[0][1]


def test_a_large_scene_that_cannot_be_read_does_not_keep_a_hasher_from_being_fitted(
    write_scene: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_imagery, "fit_tiles", lambda _: 4)
    write_scene(tmp_path / "s" / "good.tif", mosaic(2, 2, 3))
    large = write_scene(tmp_path / "s" / "a_large.tif", mosaic(20, 20, 3))
    content = large.read_bytes()
    large.write_bytes(content[: len(content) // 8])
    archive = Archive.create(tmp_path / "a", hasher="lsh-16")
    report = archive.add(Scenes(tmp_path / "s"), tile_size=TILE)
    assert (report.num_tiles, report.num_scenes) == (4, 1)
    ((scene, reason),) = report.skipped
    assert scene == str(large)
    assert "cannot be read" in reason


def test_a_resolution_that_makes_tiles_smaller_than_a_pixel_is_refused(
    copy: Archive, scene_folder: Path
) -> None:
    with pytest.raises(TileSizeError, match="smaller than a pixel"):
        copy.add(Scenes(scene_folder), resolution=1e-9)


class Terminal(io.StringIO):
    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_shows_speed_and_time_left_only_on_a_terminal(
    scene_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    screen = Terminal(is_terminal=is_terminal)
    monkeypatch.setattr("sys.stderr", screen)
    archive = Archive.create(tmp_path / "archive", hasher="itq-16")
    archive.add(Scenes(scene_folder), batch_size=8, progress=True)
    shown = screen.getvalue()
    if not is_terminal:
        assert shown == ""
        return
    assert "fit:" in shown
    assert re.search(
        r"index: +\d+%.*\d+/56 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ ?(?: tiles/s|s/ tiles)", shown
    )
