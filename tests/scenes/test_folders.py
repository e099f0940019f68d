"""Folders of scenes as people leave them: links, hidden files, litter and old encodings."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio
import rasterio.shutil
from scipy.io import netcdf_file

from geohash_rs import Scenes
from geohash_rs.errors import SceneError
from tests.ground import mosaic

Writer = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, write_scene: Writer) -> Path:
    """Make a folder with one scene, next to another folder with one."""
    write_scene(tmp_path / "disk" / "far.tif", mosaic(1, 1, 1))
    write_scene(tmp_path / "scenes" / "near.tif", mosaic(1, 1, 2))
    return tmp_path / "scenes"


def names(scenes: Scenes, folder: Path) -> list[str]:
    return [Path(scene.key).relative_to(folder).as_posix() for scene in scenes.scene_files]


def reasons(scenes: Scenes) -> dict[str, str]:
    return {Path(path).name: reason for path, reason in scenes.passed_over}


def test_a_linked_folder_is_followed(folder: Path) -> None:
    (folder / "nas").symlink_to(folder.parent / "disk", target_is_directory=True)
    assert names(Scenes(folder), folder) == ["nas/far.tif", "near.tif"]


def test_a_loop_is_named_and_ends(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self.tif").symlink_to("self.tif")
    scenes = Scenes(folder)
    assert names(scenes, folder) == ["near.tif"]
    assert reasons(scenes)["up"] == f"a loop: it links to {folder}, in which it lies"
    assert [Path(path).name for path, _ in scenes.unreadable] == ["self.tif"]


def test_a_folder_with_two_paths_is_searched_once_under_its_real_name(folder: Path) -> None:
    (folder / "z").mkdir()
    shutil.move(folder / "near.tif", folder / "z" / "near.tif")
    (folder / "a").symlink_to("z", target_is_directory=True)
    scenes = Scenes([folder, folder / "z"])
    assert names(scenes, folder) == ["z/near.tif"]
    assert reasons(scenes)["a"] == f"the same folder as {folder / 'z'}"


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_file_with_two_names_is_one_scene(folder: Path, link: Callable[..., None]) -> None:
    link(folder / "near.tif", folder / "copy.tif")
    scenes = Scenes(folder)
    assert len(scenes.scene_files) == 1
    assert len(scenes.passed_over) == 1
    if link is os.symlink:
        assert names(scenes, folder) == ["near.tif"]
        assert reasons(scenes) == {"copy.tif": f"the same file as {folder / 'near.tif'}"}


def test_hidden_files_and_litter_are_not_scenes(folder: Path) -> None:
    (folder / "._near.tif").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    for name in (".ipynb_checkpoints", "__MACOSX", ".trash/deep", "@eaDir"):
        (folder / name).mkdir(parents=True)
        shutil.copy(folder / "near.tif", folder / name / "near-checkpoint.tif")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    scenes = Scenes(folder)
    assert names(scenes, folder) == ["near.tif"]
    assert scenes.unreadable == []
    assert set(reasons(scenes)) == {
        "._near.tif", ".ipynb_checkpoints", "__MACOSX", ".trash", "@eaDir",
    }  # fmt: skip


def test_a_hidden_folder_or_file_is_read_if_it_is_named_directly(folder: Path) -> None:
    hidden = folder / ".scenes"
    hidden.mkdir()
    shutil.copy(folder / "near.tif", hidden / "in.tif")
    shutil.copy(folder / "near.tif", folder / ".hidden.tif")
    assert names(Scenes([hidden, folder / ".hidden.tif"]), folder) == [
        ".hidden.tif", ".scenes/in.tif",
    ]  # fmt: skip


def test_a_folder_named_like_a_scene_is_searched(folder: Path) -> None:
    (folder / "tiles.tif").mkdir()
    shutil.copy(folder / "near.tif", folder / "tiles.tif" / "in.tif")
    scenes = Scenes(folder)
    assert names(scenes, folder) == ["near.tif", "tiles.tif/in.tif"]
    assert scenes.unreadable == []


def test_a_pipe_is_named_without_waiting_for_it(folder: Path) -> None:
    os.mkfifo(folder / "pipe.tif")
    scenes = Scenes(folder)
    assert scenes.unreadable == [
        (f"{folder}/pipe.tif", f"{folder}/pipe.tif is a pipe or device, not a file")
    ]
    with pytest.raises(SceneError, match="pipe.tif is a pipe or device, not a file"):
        Scenes(folder, strict=True)


def test_a_folder_that_cannot_be_searched_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "closed").mkdir()
    scan = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    scenes = Scenes(folder)
    assert names(scenes, folder) == ["near.tif"]
    assert scenes.unreadable == [
        (f"{folder}/closed", f"{folder}/closed cannot be searched: Permission denied")
    ]


def test_a_name_that_is_not_utf8_is_named_and_the_others_are_read(folder: Path) -> None:
    shutil.copy(folder / "near.tif", os.fsencode(folder) + b"/M\xfcnchen.tif")
    scenes = Scenes(folder)
    assert names(scenes, folder) == ["near.tif"]
    ((path, reason),) = scenes.unreadable
    assert path == f"{folder}/M\\xfcnchen.tif"
    assert "M\\xfcnchen.tif has a name that is not UTF-8, which GDAL cannot open" in reason
    path.encode("utf-8")


def test_a_broken_link_is_named(folder: Path) -> None:
    (folder / "gone.tif").symlink_to("nowhere.tif")
    assert [Path(path).name for path, _ in Scenes(folder).unreadable] == ["gone.tif"]


def test_files_that_hold_other_files_are_named_with_what_to_do(folder: Path) -> None:
    for name in ("a.zip", "b.nc", "c.hdf", "d.zarr.zip", "e.tar.gz"):
        (folder / name).write_bytes(b"whatever it holds")
    (folder / "f.zarr").mkdir()
    (folder / "unpacked.zip").mkdir()
    shutil.copy(folder / "near.tif", folder / "unpacked.zip" / "inside.tif")
    scenes = Scenes(folder)
    assert names(scenes, folder) == ["near.tif", "unpacked.zip/inside.tif"]
    advice = {Path(path).name: text for path, text in scenes.containers}
    assert advice["a.zip"].endswith(
        f"unpack it, or name a file in it, such as /vsizip/{folder}/a.zip/SCENE.tif"
    )
    assert 'such as NETCDF:"b.nc":VARIABLE' in advice["b.nc"]
    assert "'gdalinfo c.hdf' lists them" in advice["c.hdf"]
    assert "unpack it, and convert" in advice["d.zarr.zip"]
    assert f"/vsitar/{folder}/e.tar.gz/" in advice["e.tar.gz"]
    assert "gdal_translate ZARR" in advice["f.zarr"]
    for name, text in advice.items():
        with pytest.raises(SceneError, match=re.escape(text)):
            Scenes(folder / name)


def test_a_file_of_several_variables_names_its_subdatasets(tmp_path: Path) -> None:
    path = tmp_path / "weather.nc"
    with netcdf_file(path, "w") as file:
        for axis in ("lat", "lon"):
            file.createDimension(axis, 4)
        for name in ("wind", "rain"):
            file.createVariable(name, "f4", ("lat", "lon"))[:] = 1
    with pytest.raises(SceneError, match=r"2 subdatasets; name one .*weather\.nc\W?:wind"):
        Scenes(path)


def test_a_link_to_itself_that_is_named_like_an_archive_stops_nothing(folder: Path) -> None:
    (folder / "z.zip").symlink_to("z.zip")
    assert names(Scenes(folder), folder) == ["near.tif"]


def test_a_tag_of_a_camera_without_a_clock_is_not_a_date(
    tmp_path: Path, write_scene: Writer
) -> None:
    for name in ("a.tif", "b.tif"):
        path = write_scene(tmp_path / name, mosaic(1, 1, 1))
    with rasterio.open(path, "r+") as target:
        target.update_tags(TIFFTAG_DATETIME="0001:01:01 00:00:00")
    assert [scene.dates for scene in Scenes(tmp_path).scene_files] == [None, None]
    with pytest.raises(SceneError, match="b.tif: datetime 0001.* is not a date between"):
        Scenes(path, datetime="0001-01-01")


def test_a_mosaic_of_scenes_is_left_out_and_named(folder: Path, write_scene: Writer) -> None:
    write_scene(folder / "far.tif", mosaic(1, 1, 3))
    rasterio.shutil.copy(folder / "near.tif", folder / "all.vrt", driver="VRT")
    shutil.copy(folder / "all.vrt", folder.parent / "alone.vrt")
    scenes = Scenes(folder)
    assert names(scenes, folder) == ["far.tif", "near.tif"]
    reason = "a mosaic of scenes that are read themselves (near.tif)"
    assert scenes.containers == [(str(folder / "all.vrt"), reason)]
    assert names(Scenes(folder / "all.vrt"), folder) == ["all.vrt"]


@pytest.mark.parametrize("start", ["file://", "GTIFF_DIR:1:"])
def test_a_file_that_a_uri_names_again_is_one_scene(folder: Path, start: str) -> None:
    scenes = Scenes([folder, f"{start}{folder / 'near.tif'}"])
    assert len(scenes.scene_files) == len(scenes.passed_over) == 1
    assert "the same file as" in scenes.passed_over[0][1]


def test_rasters_that_must_be_named_are_listed(folder: Path) -> None:
    for name, driver in (("a.dat", "ENVI"), ("b.gtiff", "GTiff")):
        rasterio.shutil.copy(folder / "near.tif", folder / name, driver=driver)
    (folder / "c.png").write_bytes(b"")
    (folder / "c.pgw").write_text("1")
    (folder / "logo.png").write_bytes(b"")
    scenes = Scenes(folder)
    assert [Path(path).name for path, _ in scenes.containers] == ["a.dat", "b.gtiff", "c.png"]
    assert len(Scenes(folder / "a.dat").scene_files) == 1
