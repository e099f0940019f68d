"""Refitting: what stays and what changes, resuming, refusing, and who sees which state."""

import os
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from geohash_rs import Archive, Hasher, Scenes, fit_hasher
from geohash_rs.errors import (
    ArchiveLockedError,
    ArchiveReadOnlyError,
    ArchiveWriteError,
    HasherError,
    HasherMismatchError,
    SceneError,
)
from geohash_rs.indexing import tile_sources
from geohash_rs.opening import open_or_create
from geohash_rs.retrieval.patch_query import hash_patch
from geohash_rs.retrieval.query import check_hasher
from geohash_rs.store.disk.locks import write_lock
from geohash_rs.store.disk.records import SceneRecord
from tests.ground import KINDS, TILE, ground, mosaic, write
from tests.store.helpers import everything, make_grid
from tests.store.power_cut import Disk, write_tree

Key = tuple[str, int, int, int, int]
EAST = Affine(10, 0, 300_000, 0, -10, 5_400_000)


@pytest.fixture(scope="session")
def other_hasher() -> Hasher:
    """Return a hasher with other codes and more bits than `quick_hasher`."""
    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, 50 + i) for i in range(24)]))
    return fit_hasher([tiles], num_bits=24, input_size=32, seed=3)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Write three scenes that a test may change."""
    folder = tmp_path / "scenes"
    write(folder / "a_20230601.tif", mosaic(5, 4, 1))
    write(folder / "a_20230901.tif", mosaic(5, 4, 2))
    write(folder / "b_20230601.tif", mosaic(4, 4, 3), crs="EPSG:32634", transform=EAST)
    return folder


@pytest.fixture
def filled(quick: Archive, scenes: Path) -> Archive:
    """Return an archive of the three scenes."""
    assert quick.add(Scenes(scenes), tile_size=TILE).num_tiles == 56
    return quick


def codes_by_window(archive: Archive) -> dict[Key, bytes]:
    """Read every code, by scene and window."""
    found = {}
    for frame in archive.iter_tiles():
        columns = (frame[name].tolist() for name in ("scene", "col", "row", "width", "height"))
        codes = map(bytes, archive.codes(frame["tile_id"].to_numpy()))
        found.update(zip(zip(*columns, strict=True), codes, strict=True))
    return found


def tiles_of(archive: Archive) -> list[tuple[object, ...]]:
    """Read everything about the tiles but their codes."""
    rows = []
    for frame in archive.iter_tiles():
        shapes = frame.geometry.to_wkb()
        rows += list(zip(*(frame[n].astype(str) for n in frame.columns[:-1]), shapes, strict=True))
    return sorted(rows)


def count_hashed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the size of every batch that is hashed from now on."""
    hashed: list[int] = []
    real = Hasher.codes

    def codes(self: Hasher, tiles: torch.Tensor) -> np.ndarray:
        hashed.append(len(tiles))
        return real(self, tiles)

    monkeypatch.setattr(Hasher, "codes", codes)
    return hashed


def interrupt_after(monkeypatch: pytest.MonkeyPatch, batches: int) -> None:
    """Interrupt hashing after some batches, once."""
    real, left = Hasher.codes, [batches]

    def codes(self: Hasher, tiles: torch.Tensor) -> np.ndarray:
        if not left[0]:
            monkeypatch.setattr(Hasher, "codes", real)
            raise KeyboardInterrupt
        left[0] -= 1
        return real(self, tiles)

    monkeypatch.setattr(Hasher, "codes", codes)


# --- what stays and what changes ---


def test_tiles_stay_and_codes_are_those_of_a_new_archive(filled, scenes, other_hasher, tmp_path):
    filled.remove_tiles([3, 17])
    write(scenes / "c.tif", mosaic(3, 3, 9))
    filled.add(Scenes(scenes), tile_size=TILE)
    filled.remove_scenes([str(scenes / "b_20230601.tif")])
    before, records, next_id = tiles_of(filled), filled.scenes(), filled.manifest.next_id
    report = filled.refit(other_hasher)
    assert (report.num_tiles, report.num_hashed, report.num_scenes) == (len(before),) * 2 + (3,)
    assert (report.num_bits, filled.num_bits) == (24, 24)
    assert tiles_of(filled) == before
    assert (filled.scenes(), filled.manifest.next_id) == (records, next_id)
    assert filled.hasher_fingerprint == filled.hasher().fingerprint == other_hasher.fingerprint
    fresh = Archive.create(tmp_path / "fresh", hasher=other_hasher)
    fresh.add(Scenes(scenes), tile_size=TILE)
    expected = codes_by_window(fresh)
    found = codes_by_window(filled)
    assert len(found) == len(before) > 46
    assert found == {key: expected[key] for key in found}
    assert filled.verify().ok
    found = filled.query(scenes / "a_20230901.tif", window=(64, 64, 64, 64), k=5)
    same = found[found["distance"] == 0]  # other tiles may have this code of 24 bits
    assert [64, 64] in same[["col", "row"]].values.tolist()


def test_scenes_of_all_settings_are_read_as_they_were_indexed(tmp_path, other_hasher, quick):
    folder = tmp_path / "mixed"
    rng = np.random.default_rng(5)
    holes = mosaic(3, 3, 4)
    holes[:, 70:150, 10:90] = 7
    fine = Affine(5, 0, 500_000, 0, -5, 5_400_000)
    south = Affine(10, 0, 500_000, 0, 10, 5_400_000)
    wide = rng.integers(0, 9000, (3, 200, 200)).astype(np.uint16)
    settings = [
        (write(folder / "holes.tif", holes), {"nodata": 7}, {}),
        (write(folder / "fine.tif", mosaic(4, 4, 6), transform=fine), {}, {"resolution": 10}),
        (write(folder / "south.tif", mosaic(2, 2, 7), transform=south), {}, {"edges": "pad"}),
        (write(folder / "wide.tif", wide), {"value_range": (0, 9000)}, {"stride": 40}),
        (write(folder / "bgr.tif", mosaic(2, 2, 8)), {"bands": [3, 2, 1]}, {"tile_size": 50}),
    ]
    fresh = Archive.create(tmp_path / "fresh", hasher=other_hasher)
    for archive in (quick, fresh):
        for path, reading, cutting in settings:
            archive.add(Scenes(path, **reading), **{"tile_size": TILE, **cutting})
    assert quick.refit(other_hasher, workers=1).num_tiles == len(fresh)
    assert codes_by_window(quick) == codes_by_window(fresh)
    for path, reading, cutting in settings:  # and index finds them unchanged
        report = quick.add(Scenes(path, **reading), **{"tile_size": TILE, **cutting})
        assert (report.num_tiles, len(report.unchanged)) == (0, 1)


def test_a_hasher_of_other_bands_reads_those(quick, tmp_path):
    folder = tmp_path / "four"
    for seed in (1, 2):
        image = np.concatenate([mosaic(3, 2, seed), mosaic(3, 2, 10 + seed)[:1]])
        with rasterio.open(write(folder / f"{seed}.tif", image), "r+") as target:
            target.descriptions = ("red", "green", "blue", "nir")
    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, i) for i in range(20)]))
    names = ["nir", "red", "green"]
    infrared = fit_hasher([tiles], num_bits=16, input_size=32, bands=names)
    fresh = Archive.create(tmp_path / "fresh", hasher=infrared)
    for archive in (quick, fresh):
        archive.add(Scenes(folder), tile_size=TILE)
    assert quick.scenes()[0].settings["reading"]["indexes"] == [1, 2, 3]
    quick.refit(infrared)
    assert codes_by_window(quick) == codes_by_window(fresh)
    assert quick.scenes() == fresh.scenes()
    assert quick.scenes()[0].settings["reading"]["indexes"] == [4, 1, 2]
    assert len(quick.add(Scenes(folder), tile_size=TILE).unchanged) == 2


def test_the_hasher_is_fitted_on_all_scenes_with_the_same_backbone(filled, scenes, tmp_path):
    plans = []
    old = filled.hasher()
    report = filled.refit(announce=plans.append)
    new = filled.hasher()
    assert (new.name, new.num_bits, new.input_size, new.tile_size) == ("itq-16", 16, 32, TILE)
    assert new.fingerprint != old.fingerprint
    assert report.fitted_on == new.notes["fitted_on"]
    assert report.fitted_on.startswith("56 unlabelled tiles")
    assert (report.former, report.fingerprint) == (old.fingerprint, new.fingerprint)
    assert (plans[0].num_tiles, plans[0].num_done, plans[0].fits) == (56, 0, True)
    assert "56 tiles of 3 scenes" in str(plans[0])
    assert "the pixels of the scenes" in str(plans[0])
    assert "itq-16 (16 bits)" in str(plans[0])
    fresh = Archive.create(tmp_path / "fresh", hasher=new)
    fresh.add(Scenes(scenes), tile_size=TILE)
    assert codes_by_window(filled) == codes_by_window(fresh)


@pytest.mark.usefixtures("small_input")
def test_a_name_with_other_bits_is_fitted(filled):
    report = filled.refit("general-32")
    assert (report.hasher, filled.num_bits) == ("general-32", 32)
    assert filled.codes([0]).shape == (1, 4)
    assert open_or_create(filled.path, hasher="general-32").num_tiles == 56
    filled.refit("itq-8")
    assert filled.num_bits == 8
    assert len(filled.manifest.former) == 2


def test_a_file_is_used_as_it_is(filled, other_hasher, tmp_path):
    other_hasher.save(tmp_path / "other.safetensors")
    assert filled.refit(tmp_path / "other.safetensors").fingerprint == other_hasher.fingerprint


def test_nothing_happens_with_the_hasher_that_the_archive_has(filled, quick_hasher):
    before = filled.manifest
    report = filled.refit(quick_hasher)
    assert (report.num_hashed, report.former) == (0, report.fingerprint)
    assert Archive.open(filled.path).manifest == before


def test_tables_are_shared_and_copied_where_the_disk_has_no_links(
    filled, other_hasher, quick_hasher, monkeypatch
):
    def table() -> Path:
        return filled.path / "segments" / filled.segments[0].entry.name / "tiles.parquet"

    inode, content = table().stat().st_ino, table().read_bytes()
    filled.refit(other_hasher)
    assert (table().stat().st_ino, table().stat().st_nlink) == (inode, 1)  # the former is deleted

    def refuse(*_: object) -> None:
        raise OSError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    plans = []
    filled.refit(quick_hasher, announce=plans.append)
    assert table().stat().st_ino != inode
    assert table().read_bytes() == content
    assert filled.verify().ok


# --- who sees which state ---


def test_a_reader_keeps_the_former_state_until_it_refreshes(filled, scenes, other_hasher):
    reader = Archive.open(filled.path, mode="r")
    still = reader.snapshot()
    before = codes_by_window(reader)
    patch = scenes / "b_20230601.tif"
    answer = reader.query(patch, window=(0, 0, 64, 64), k=5)["tile_id"].tolist()
    filled.refit(other_hasher)
    assert codes_by_window(reader) == before
    assert reader.query(patch, window=(0, 0, 64, 64), k=5)["tile_id"].tolist() == answer
    assert reader.hasher().num_bits == 16
    reader.refresh()
    assert codes_by_window(reader) == codes_by_window(filled) != before
    assert reader.hasher().num_bits == 24
    assert still.num_bits == 16
    del still
    reader.close()
    filled.compact()
    assert not filled.verify().orphans
    assert len(list(filled.path.glob("hasher-*"))) == 1


def test_codes_and_files_of_the_former_hasher_are_refused(filled, quick_hasher, other_hasher):
    filled.refit(other_hasher)
    old, new = quick_hasher.fingerprint[:16], other_hasher.fingerprint[:16]
    codes = np.zeros((1, 3), np.uint8)
    with pytest.raises(HasherMismatchError, match=f"{old}, before .* was refitted to {new}"):
        filled.add_codes(codes, make_grid(1), fingerprint=quick_hasher.fingerprint)
    with pytest.raises(HasherMismatchError, match="unknown but .* holds codes"):
        filled.add_codes(codes, make_grid(1), fingerprint="unknown")
    with pytest.raises(HasherMismatchError, match=r"itq-16 \(.*\) before it was refitted to itq"):
        open_or_create(filled.path, hasher=quick_hasher)


def test_a_patch_hashed_before_is_not_compared_with_codes_made_after(filled, scenes, other_hasher):
    patch = hash_patch(filled, scenes / "b_20230601.tif", window=(0, 0, 64, 64))
    check_hasher(filled, [patch])
    filled.refit(other_hasher)
    with pytest.raises(HasherMismatchError, match="hash the patch again"):
        check_hasher(filled, [patch])


def test_tiles_that_are_added_meanwhile_get_new_codes_too(filled, scenes, other_hasher, tmp_path):
    second = Archive.open(filled.path)

    def add_more(_: object) -> None:
        write(scenes / "late.tif", mosaic(2, 2, 11))
        second.add(Scenes(scenes), tile_size=TILE)

    report = filled.refit(other_hasher, announce=add_more)
    assert (report.num_tiles, report.num_hashed) == (60, 60)
    fresh = Archive.create(tmp_path / "fresh", hasher=other_hasher)
    fresh.add(Scenes(scenes), tile_size=TILE)
    assert codes_by_window(filled) == codes_by_window(fresh)
    write(scenes / "later.tif", mosaic(2, 2, 12))
    with pytest.raises(HasherMismatchError, match="before .* was refitted"):  # it began before
        second.add(Scenes(scenes), tile_size=TILE)


def test_of_two_refits_the_later_does_not_undo_the_other(filled, other_hasher, tmp_path):
    def refit_first(_: object) -> None:
        Archive.open(filled.path).refit(other_hasher)

    with pytest.raises(HasherMismatchError, match="another process has refitted .* meanwhile"):
        filled.refit(announce=refit_first)
    assert Archive.open(filled.path).hasher_fingerprint == other_hasher.fingerprint
    assert filled.verify().ok


# --- interruptions ---


def test_an_interrupted_refit_resumes(filled, monkeypatch):
    interrupt_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        filled.refit(batch_size=10)
    assert filled.verify().ok
    assert len(filled.verify().unfinished) == 1
    assert not filled.verify().orphans
    assert filled.num_bits == 16
    filled.compact()
    (folder,) = filled.path.glob("refit-*")
    hashed, plans = count_hashed(monkeypatch), []
    monkeypatch.setattr(tile_sources, "fit_again", None)  # the hasher is not fitted again
    report = Archive.open(filled.path).refit(batch_size=10, announce=plans.append)
    assert (plans[0].num_done, plans[0].fits) == (20, False)
    assert "20 of them are done" in str(plans[0])
    assert sum(hashed) == report.num_hashed == 36
    assert report.num_tiles == 56
    assert folder.name == f"refit-{report.fingerprint[:16]}"
    assert not folder.exists()


def test_an_archive_that_changed_meanwhile_is_fitted_anew(filled, scenes, monkeypatch):
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        filled.refit(batch_size=10)
    (left,) = filled.path.glob("refit-*")
    write(scenes / "c.tif", mosaic(3, 3, 9))
    filled.add(Scenes(scenes), tile_size=TILE)
    report = filled.refit()
    assert report.fitted_on.startswith("65 unlabelled tiles")
    assert report.num_hashed == report.num_tiles == 65
    assert not left.exists()


def test_a_given_hasher_resumes_whatever_changed(filled, scenes, other_hasher, monkeypatch):
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        filled.refit(other_hasher, batch_size=10)
    (folder,) = filled.path.glob("refit-*")
    changed = scenes / "a_20230601.tif"
    write(changed, mosaic(5, 4, 77))  # its tiles get other ids
    os.utime(changed, ns=(1, 1))
    filled.add(Scenes(scenes), tile_size=TILE)
    report = filled.refit(other_hasher)
    assert report.num_tiles == 56
    assert 20 <= report.num_hashed < 56
    assert not folder.exists()


def test_a_damaged_part_is_hashed_again(filled, other_hasher, monkeypatch, tmp_path, scenes):
    interrupt_after(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        filled.refit(other_hasher, batch_size=10)
    (part,) = filled.path.glob("refit-*/0*")
    content = bytearray(part.read_bytes())
    content[-3] ^= 255
    part.write_bytes(content)
    assert filled.refit(other_hasher).num_hashed == 56
    fresh = Archive.create(tmp_path / "fresh", hasher=other_hasher)
    fresh.add(Scenes(scenes), tile_size=TILE)
    assert codes_by_window(filled) == codes_by_window(fresh)


def test_a_scene_that_changes_while_it_is_read_gets_no_codes(
    filled, scenes, other_hasher, monkeypatch
):
    before, real = everything(filled.path), Hasher.codes

    def codes(self: Hasher, tiles: torch.Tensor) -> np.ndarray:
        os.utime(scenes / "b_20230601.tif", ns=(1, 1))
        return real(self, tiles)

    monkeypatch.setattr(Hasher, "codes", codes)
    with pytest.raises(SceneError, match="b_20230601.tif was changed or deleted while it was read"):
        filled.refit(other_hasher)
    assert everything(filled.path) == before
    assert not list(filled.path.glob("refit-*/0*"))


def test_two_refits_at_once_are_refused(filled, other_hasher, monkeypatch):
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        filled.refit(other_hasher, batch_size=10)
    (folder,) = filled.path.glob("refit-*")
    with write_lock(folder), pytest.raises(ArchiveLockedError, match="refit-"):
        filled.refit()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fsync of folders")
def test_a_kill_at_any_moment_leaves_a_state_from_which_it_resumes(filled, other_hasher, tmp_path):
    filled.remove_tiles([5])
    filled.close()
    root = tmp_path / "disk"
    root.mkdir()
    shutil.copytree(filled.path, root / "a")
    old = everything(root / "a")
    disk = Disk(root, every=False)
    with disk.watched():
        Archive.open(root / "a").refit(other_hasher)
    disk.close()
    new = everything(root / "a")
    assert new != old
    seen = set()
    for moment in disk.moments[:: max(1, len(disk.moments) // 12)]:
        shutil.rmtree(root)
        root.mkdir()
        write_tree({path: content for path, (content, *_) in moment.items()}, root)
        left = everything(root / "a")
        assert left in (old, new)
        kept = any(root.glob("a/refit-*/0*-*[0-9a-f]"))
        report = Archive.open(root / "a").refit(other_hasher)
        assert everything(root / "a") == new
        assert report.num_hashed == (0 if kept or left == new else 55)
        Archive.open(root / "a").compact()
        assert not list(root.glob("a/refit-*"))
        assert not Archive.open(root / "a").verify().orphans
        seen.add((left == new, kept))
    assert {(False, False), (False, True)} <= seen


# --- refusals, before anything is done ---


def untouched(archive: Archive) -> tuple[object, ...]:
    return everything(archive.path), sorted(str(path) for path in archive.path.rglob("*"))


def test_missing_and_changed_scenes_are_named(filled, scenes, other_hasher):
    before = untouched(filled)
    (scenes / "b_20230601.tif").unlink()
    write(scenes / "a_20230901.tif", mosaic(5, 4, 8))
    os.utime(scenes / "a_20230901.tif", ns=(1, 1))
    with pytest.raises(SceneError, match="36 tiles of 2 scenes cannot be read again") as told:
        filled.refit(other_hasher)
    assert "b_20230601.tif cannot be opened" in str(told.value)
    assert "a_20230901.tif: it has changed since it was indexed" in str(told.value)
    assert "'geohash-rs index' again" in str(told.value)
    assert "a_20230601.tif" not in str(told.value)
    assert untouched(filled) == before
    filled.add(Scenes(scenes), tile_size=TILE)
    filled.remove_scenes([str(scenes / "b_20230601.tif")])
    assert filled.refit(other_hasher).num_tiles == 40


def test_scenes_are_not_read_from_wherever_an_archive_says(quick, scenes, other_hasher):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        name = f"http://127.0.0.1:{server.getsockname()[1]}/scene.tif"
        settings = {"tile_size": TILE, "resolution": None}
        quick.add_codes(
            np.zeros((1, 2), np.uint8),
            make_grid(1, scene=name),
            scenes=[SceneRecord(scene=name, num_tiles=1, settings=settings)],
        )
        with pytest.raises(SceneError, match=r"cannot be read again .*; pass remote_scenes=True"):
            quick.refit(other_hasher)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_tiles_that_a_dataset_made_are_refused(quick, scenes, other_hasher):
    codes = np.zeros((3, 2), np.uint8)
    quick.add_codes(codes, make_grid(3, scene="made.tif"))
    quick.add(Scenes(scenes), tile_size=TILE)
    with pytest.raises(SceneError, match=r"3 tiles of 1 scenes .*made.tif: its tiles were read by"):
        quick.refit(other_hasher)


def test_a_full_disk_is_refused(filled, other_hasher, monkeypatch):
    before = untouched(filled)
    usage = shutil.disk_usage(filled.path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ArchiveWriteError, match="1,000 free. Nothing was changed"):
        filled.refit(other_hasher, announce=pytest.fail)
    assert untouched(filled) == before


def test_a_hasher_of_other_bands_or_ground_size_is_refused(filled, quick_hasher):
    tiles = torch.rand(20, 4, 32, 32)
    four = fit_hasher([tiles], num_bits=8, input_size=32, bands=["red", "green", "blue", "nir"])
    with pytest.raises(SceneError, match=r"56 tiles of 3 scenes .*bands"):
        filled.refit(four)
    tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, i) for i in range(20)]))
    coarse = fit_hasher([tiles], num_bits=8, input_size=32, resolution=20.0)
    with pytest.raises(SceneError, match="its own resolution, but the hasher is made for 20 m"):
        filled.refit(coarse)


def test_values_that_do_not_fit_a_given_hasher_are_refused(filled):
    tiles = torch.from_numpy(np.random.default_rng(0).integers(0, 9000, (20, 3, 32, 32)))
    numbers = fit_hasher([tiles.to(torch.int32)], num_bits=8, input_size=32)
    before = untouched(filled)[0]
    with pytest.raises(SceneError, match=r"56 tiles of 3 scenes .*a_20230601.tif"):
        filled.refit(numbers)
    assert untouched(filled)[0] == before


def test_archives_without_a_hasher_to_fit_are_refused(tmp_path, filled):
    with pytest.raises(HasherError, match="has no hasher yet"):
        Archive.create(tmp_path / "empty").refit()
    made = Archive.create(tmp_path / "codes", num_bits=8)
    with pytest.raises(HasherError, match="no hasher to fit again"):
        made.refit()
    with pytest.raises(HasherError, match="made elsewhere"):
        made.refit("itq-8")
    trained = Archive.create(tmp_path / "trained", hasher="ucmerced-64")
    with pytest.raises(HasherError, match="no tiles"):
        trained.refit("itq-8")
    with pytest.raises(ArchiveReadOnlyError, match="mode='r'"):
        Archive.open(filled.path, mode="r").refit()


def test_a_trained_hasher_is_not_fitted_again(tmp_path, scenes):
    trained = Archive.create(tmp_path / "trained", hasher="ucmerced-64")
    trained.add_codes(np.zeros((1, 8), np.uint8), make_grid(1))
    with pytest.raises(HasherError, match="ucmerced-64 was trained, .* name a hasher"):
        trained.refit()
