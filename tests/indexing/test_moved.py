"""Scenes that moved, were renamed or are gone, against the files themselves."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from geohash_rs import Archive, Scenes
from geohash_rs.errors import QueryError, SceneError, TilesReplacedError
from tests.ground import mosaic, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two dated scenes in a folder, and one in a folder below."""
    made = tmp_path / "disk"
    for number, name in enumerate(("a_20230601.tif", "b_20230602.tif", "deep/c_20230603.tif")):
        write(made / name, mosaic(2, 2, number + 1))
    return made


@pytest.fixture
def archive(tmp_path: Path, folder: Path) -> Archive:
    """An archive of twelve tiles."""
    made = Archive.create(tmp_path / "archive", hasher="lsh-16")
    made.add(Scenes(folder), tile_size=64)
    return made


def tiles(archive: Archive) -> pd.DataFrame:
    frame = pd.concat(list(archive.iter_tiles()))
    return frame.sort_values("tile_id", ignore_index=True)


def test_relocated_scenes_keep_all_but_their_paths(archive, folder, tmp_path):
    before, codes = tiles(archive), archive.codes(range(12))
    new = tmp_path / "other" / "place"
    new.parent.mkdir()
    folder.rename(new)
    assert archive.relocate(folder, new, dry_run=True).num_tiles == 12
    assert tiles(archive)["scene"].equals(before["scene"])
    report = archive.relocate(f"{folder}/", os.path.relpath(new))  # as a user may write them
    assert (report.num_scenes, report.num_tiles) == (3, 12)
    assert report.missing == report.differing == report.unproven == report.left == []
    after = tiles(archive)
    expected = before["scene"].str.replace(str(folder), str(new))
    assert after["scene"].tolist() == expected.tolist()
    assert after.drop(columns="scene").equals(before.drop(columns="scene"))
    assert (archive.codes(range(12)) == codes).all()
    assert all(Path(name).is_file() for name in after["scene"])
    again = archive.add(Scenes(new), tile_size=64)
    assert (len(again.unchanged), again.num_tiles, again.moved) == (3, 0, [])
    assert archive.refit("lsh-32").num_tiles == 12  # which compares every file


def test_relocating_one_file_and_paths_that_only_look_alike(archive, folder):
    (folder / "a_20230601.tif").rename(folder / "deep" / "a.tif")
    with pytest.raises(SceneError, match=r"no scene under .*/dis; its scenes lie in .*/disk"):
        archive.relocate(folder.with_name("dis"), folder)
    report = archive.relocate(folder / "a_20230601.tif", folder / "deep" / "a.tif")
    assert (report.num_scenes, report.num_tiles) == (1, 4)
    again = archive.add(Scenes(folder), tile_size=64)  # the date came from the former name
    assert (len(again.unchanged), again.num_tiles) == (3, 0)
    assert tiles(archive)["datetime"].nunique() == 3


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_name_that_another_scene_has_is_refused_even_by_a_dry_run(archive, folder, dry_run):
    old, new = folder / "a_20230601.tif", folder / "b_20230602.tif"
    with pytest.raises(SceneError, match=rf"already has a scene named {new} \(from {old}\)"):
        archive.relocate(old, new, problems="relocate", dry_run=dry_run)
    assert str(old) in archive.scene_names()


def test_missing_and_other_files_are_refused_unless_told_otherwise(archive, folder, tmp_path):
    new = tmp_path / "new"
    shutil.copytree(folder, new)  # keeps times
    (new / "a_20230601.tif").unlink()
    write(new / "b_20230602.tif", mosaic(2, 2, 77))
    (new / "b_20230602.tif").write_bytes((new / "b_20230602.tif").read_bytes() + b"\0")
    with pytest.raises(SceneError, match=r"of 3 scenes, 1 are missing .* and 1 are other files"):
        archive.relocate(folder, new)
    assert set(archive.scene_names()) == {str(path) for path in folder.rglob("*.tif")}
    with pytest.raises(QueryError, match="problems is 'skip'"):
        archive.relocate(folder, new, problems="skip")
    report = archive.relocate(folder, new, problems="leave")
    assert (report.num_tiles, len(report.left)) == (4, 2)
    report = archive.relocate(folder, new, problems="relocate")
    assert (report.num_tiles, report.left) == (8, [])
    again = archive.add(Scenes(new), tile_size=64)
    assert again.replaced == [str(new / "b_20230602.tif")]  # the other file was hashed again


def test_a_copy_without_its_time_is_taken_unless_a_checksum_differs(archive, folder, tmp_path):
    archive.add(Scenes(folder / "deep"), tile_size=64, checksum=True)
    new = tmp_path / "new"
    shutil.copytree(folder, new, copy_function=shutil.copyfile)
    changed = bytearray((new / "deep/c_20230603.tif").read_bytes())
    changed[-1] ^= 1
    (new / "deep/c_20230603.tif").write_bytes(changed)
    report = archive.relocate(folder, new, problems="leave")
    assert sorted(report.unproven) == [f"{new}/a_20230601.tif", f"{new}/b_20230602.tif"]
    assert report.differing == [(f"{new}/deep/c_20230603.tif", "its checksum is another")]
    assert len(archive.add(Scenes(new / "a_20230601.tif"), tile_size=64).unchanged) == 1


def test_addresses_are_relocated_without_asking_for_them(archive, folder):
    report = archive.relocate(folder, "s3://bucket/scenes/")
    assert len(report.unchecked) == 3
    assert "s3://bucket/scenes/deep/c_20230603.tif" in archive.scene_names()
    assert archive.prune().unchecked == sorted(archive.scene_names())
    report = archive.relocate("s3://bucket/scenes", folder)
    assert report.num_tiles == 12
    assert len(archive.add(Scenes(folder), tile_size=64).unchanged) == 3


def test_pruning_removes_what_was_deleted_but_not_what_a_missing_disk_held(archive, folder):
    (folder / "a_20230601.tif").unlink()
    shutil.rmtree(folder / "deep")
    report = archive.prune(dry_run=True)
    assert report.gone == {str(folder / "a_20230601.tif"): 4}
    assert report.withheld == {str(folder / "deep"): {str(folder / "deep/c_20230603.tif"): 4}}
    assert (archive.num_tiles, report.num_there) == (12, 1)
    archive.prune()
    assert archive.num_tiles == 8
    with pytest.raises(QueryError, match="must be a list of folders"):
        archive.prune(gone=str(folder))
    assert archive.prune(gone=[folder]).num_tiles == 4  # a folder above will do
    assert {record.scene for record in archive.scenes()} == {str(folder / "b_20230602.tif")}
    folder.rename(folder.with_name("unmounted"))
    assert archive.prune().withheld.keys() == {str(folder)}
    assert archive.num_tiles == 4


@pytest.mark.parametrize("checksum", [False, True])
def test_pruning_keeps_what_was_renamed_or_moved_below(archive, folder, checksum):
    archive.add(Scenes(folder), tile_size=64, checksum=checksum)
    first, second = folder / "a_20230601.tif", folder / "b_20230602.tif"
    first.rename(folder / "renamed.tif")
    (folder / "new" / "deeper").mkdir(parents=True)
    now = second.rename(folder / "new" / "deeper" / "other.tif")
    (folder / "deep/c_20230603.tif").unlink()
    write(folder / "deep/x.tif", mosaic(2, 2, 9))  # another file
    if checksum:
        os.utime(now)
    report = archive.prune(gone=[folder])
    assert report.moved == {str(first): str(folder / "renamed.tif"), str(second): str(now)}
    assert report.gone == {str(folder / "deep/c_20230603.tif"): 4}
    assert archive.num_tiles == 8
    added = archive.add(Scenes(folder), tile_size=64, checksum=checksum)
    assert (len(added.moved), added.num_tiles) == (2, 4)
    assert archive.prune().moved == {}


@pytest.mark.parametrize("checksum", [False, True])
def test_a_renamed_file_is_recognised_and_not_hashed_again(archive, folder, checksum):
    archive.add(Scenes(folder), tile_size=64, checksum=checksum)
    old, new = folder / "a_20230601.tif", folder / "deep" / "renamed.tif"
    if checksum:  # then its time does not matter
        shutil.copyfile(old, new)
        old.unlink()
    else:
        old.rename(new)
    before = tiles(archive)
    report = archive.add(Scenes(folder), tile_size=64, checksum=checksum)
    assert report.moved == [(str(old), str(new))]
    assert (report.num_tiles, len(report.unchanged)) == (0, 3)
    assert f"{new}, formerly {old}; 4 tiles are kept" in report.notes[0]
    assert tiles(archive).drop(columns="scene").equals(before.drop(columns="scene"))
    again = archive.add(Scenes(folder), tile_size=64)
    assert (again.num_tiles, again.moved, len(again.unchanged)) == (0, [], 3)


def test_nothing_is_renamed_before_it_is_clear_that_tiles_may_be_replaced(archive, folder):
    old, new = folder / "a_20230601.tif", folder / "a_renamed.tif"
    old.rename(new)
    with pytest.raises(TilesReplacedError, match="12 tiles of 64 px, which would be replaced"):
        archive.add(Scenes(folder), tile_size=32, replace=False)
    assert str(old) in archive.scene_names()
    report = archive.add(Scenes(folder), tile_size=32)
    assert (report.moved, len(report.replaced)) == ([(str(old), str(new))], 3)
    assert str(old) not in archive.scene_names()


def test_a_renamed_scene_that_another_process_removes_is_indexed_anew(archive, folder, monkeypatch):
    old, new = folder / "a_20230601.tif", folder / "a_renamed.tif"
    old.rename(new)
    rename = Archive.rename_scenes

    def too_late(*given: object, **options: object) -> int:
        with Archive.open(archive.path) as other:
            other.remove_scenes([str(old)])
        return rename(*given, **options)

    monkeypatch.setattr(Archive, "rename_scenes", too_late)
    report = archive.add(Scenes(folder), tile_size=64, checksum=True)
    assert (report.moved, report.num_tiles, len(report.unchanged)) == ([], 4, 2)
    assert str(new) in archive.scene_names()
    assert archive.num_tiles == 12


def dates(archive: Archive, path: Path) -> list[object]:
    frame = tiles(archive)
    return frame.loc[frame["scene"] == str(path), "datetime"].dt.strftime("%Y-%m-%d").to_list()


def test_a_date_from_a_former_name_goes_with_the_image_that_had_it(archive, folder):
    plain = folder / "plain.tif"
    (folder / "a_20230601.tif").rename(plain)
    archive.add(Scenes(plain), tile_size=64, checksum=True)
    assert dates(archive, plain) == ["2023-06-01"] * 4
    os.utime(plain, (0, 0))  # its checksum says that it is the same
    assert archive.add(Scenes(plain), tile_size=64).replaced == [str(plain)]
    assert dates(archive, plain) == ["2023-06-01"] * 4
    write(plain, mosaic(2, 2, 9))
    assert archive.add(Scenes(plain), tile_size=64).replaced == [str(plain)]
    assert pd.isna(dates(archive, plain)).tolist() == [True] * 4
    assert len(archive.add(Scenes(plain), tile_size=64).unchanged) == 1


def test_a_file_that_was_relocated_although_it_is_another_gets_no_former_date(archive, folder):
    old, plain = folder / "a_20230601.tif", folder / "plain.tif"
    write(plain, mosaic(2, 2, 9))
    plain.write_bytes(plain.read_bytes() + b"\0")  # a file of another size is another file
    old.unlink()
    archive.relocate(old, plain, problems="relocate")
    assert dates(archive, plain) == ["2023-06-01"] * 4  # of the image that was indexed
    assert archive.add(Scenes(plain), tile_size=64).replaced == [str(plain)]
    assert pd.isna(dates(archive, plain)).tolist() == [True] * 4


def test_a_copy_is_a_scene_of_its_own_while_the_first_is_there(archive, folder):
    shutil.copy2(folder / "a_20230601.tif", folder / "copy_20230601.tif")
    report = archive.add(Scenes(folder), tile_size=64)
    assert (report.moved, report.num_tiles) == ([], 4)


def test_another_file_of_the_same_size_is_not_taken_for_the_former(archive, folder):
    old, new = folder / "a_20230601.tif", folder / "x_20230601.tif"
    old.unlink()
    write(new, mosaic(2, 2, 9))
    report = archive.add(Scenes(folder), tile_size=64)
    assert (report.moved, report.num_tiles) == ([], 4)


def test_another_tile_size_replaces_only_if_it_may(archive, folder):
    with pytest.raises(
        TilesReplacedError,
        match=r"3 scenes of the archive \(such as .*\) have 12 tiles of 64 px, which would be "
        r"replaced by tiles of 32 px \(stride 16\)\. Pass replace=True to replace them; to have "
        r"both, use tile_size=\(32, 64\)\.",
    ):
        archive.add(Scenes(folder), tile_size=32, stride=16, replace=False)
    assert archive.num_tiles == 12
    with pytest.raises(TilesReplacedError, match="use another archive for the other stride"):
        archive.add(Scenes(folder), tile_size=64, stride=32, replace=False)
    write(folder / "b_20230602.tif", mosaic(2, 2, 5))
    report = archive.add(Scenes(folder), tile_size=64, replace=False)  # a changed file is
    assert report.replaced == [str(folder / "b_20230602.tif")]
    assert len(archive.add(Scenes(folder), tile_size=32).replaced) == 3
