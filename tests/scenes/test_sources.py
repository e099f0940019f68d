"""The files that decide a scene's pixels."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import rasterio.shutil
from rasterio.vrt import WarpedVRT

from geohash_rs import Scenes
from geohash_rs.errors import SceneError
from geohash_rs.scenes.file import read_scene_file
from geohash_rs.scenes.sources import watched_file
from tests.ground import mosaic

Writer = Callable[..., Path]


@pytest.fixture
def scene(tmp_path: Path, write_scene: Writer) -> Path:
    return write_scene(tmp_path / "0.tif", mosaic(1, 1, 1))


@pytest.fixture
def archive(scene: Path) -> Path:
    path = scene.with_name("old: scenes.zip")
    with zipfile.ZipFile(path, "w") as file:
        file.write(scene, "deep/in.tif")
    return path


def files_of(path: object) -> tuple[str, ...]:
    return Scenes(str(path)).scene_files[0].files


def vrt(path: Path, source: Path) -> Path:
    """Write a mosaic of one scene, with a relative path."""
    rasterio.shutil.copy(source, path, driver="VRT")
    return path


@pytest.mark.parametrize(
    "name",
    [
        "/vsizip/{path}/deep/in.tif",
        "/vsizip/{{{path}}}/deep/in.tif",
        "zip://{path}!deep/in.tif",
        "zip://{path}!/deep/in.tif",
    ],
)
def test_a_file_in_an_archive_is_watched_through_the_archive(archive: Path, name: str) -> None:
    assert files_of(name.format(path=archive)) == (str(archive),)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("/vsizip//vsicurl/https://example.org/a.zip/b.tif", "https://example.org/a.zip"),
        ("zip+https://example.org/a.zip!b.tif", "https://example.org/a.zip"),
        ("/vsicurl/https://example.org/b.tif", "https://example.org/b.tif"),
        ("https://example.org/a.zip.d/b.tif?sig=1/2", "https://example.org/a.zip.d/b.tif?sig=1/2"),
        ("/vsis3/bucket/b.tif", "/vsis3/bucket/b.tif"),
        ("/vsizip//gone.zip/b.tif", "/vsizip//gone.zip/b.tif"),
    ],
)
def test_remote_files_are_listed_by_their_address(name: str, file: str) -> None:
    assert watched_file(name) == file


@pytest.mark.parametrize(
    "name",
    [
        "GTIFF_DIR:1:{path}",
        'NETCDF:"{path}":height',
        "HDF5:{path}://grid/height",
        "SENTINEL2_L1C:{path}:10m:EPSG_32633",
        "file://{path}",
        "/vsisubfile/0_4096,{path}",
        "/vsigzip/{path}",
    ],
)
def test_a_subdataset_is_watched_through_its_file(scene: Path, name: str) -> None:
    assert watched_file(name.format(path=scene)) == str(scene)


def test_side_files_count_for_a_scene_a_subdataset_and_the_sources_of_a_mosaic(
    scene: Path,
) -> None:
    near = {Path(f"{scene}{ending}") for ending in (".msk", ".aux.xml", ".ovr")}
    for path in near - {Path(f"{scene}.aux.xml")}:
        rasterio.shutil.copy(scene, path, driver="GTiff")
    Path(f"{scene}.aux.xml").write_text("<PAMDataset></PAMDataset>")
    mosaic_path = vrt(scene.with_name("m.vrt"), scene)
    expected = {str(path) for path in {scene, *near}}
    assert set(files_of(scene)) == expected
    assert set(files_of(f"GTIFF_DIR:1:{scene}")) == expected
    assert set(files_of(mosaic_path)) == expected | {str(mosaic_path)}


def test_a_mosaic_is_followed_through_mosaics_into_an_archive(archive: Path, scene: Path) -> None:
    inner = vrt(scene.with_name("inner.vrt"), scene)
    inner.write_text(
        inner.read_text()
        .replace('relativeToVRT="1"', 'relativeToVRT="0"')
        .replace(">0.tif<", f">/vsizip/{archive}/deep/in.tif<")
    )
    outer = scene.with_name("outer.vrt")
    outer.write_text(vrt(outer, scene).read_text().replace(">0.tif<", ">inner.vrt<"))
    assert set(files_of(outer)) == {str(outer), str(inner), str(archive)}


def test_a_mosaic_names_the_source_that_is_missing(scene: Path) -> None:
    inner = vrt(scene.with_name("inner.vrt"), scene)
    outer = scene.with_name("outer.vrt")
    outer.write_text(vrt(outer, scene).read_text().replace(">0.tif<", ">inner.vrt<"))
    scene.unlink()
    with pytest.raises(
        SceneError, match=r"outer.vrt is a mosaic of .*0\.tif, which does not exist"
    ):
        Scenes(outer)
    inner.write_text("<VRTDataset")
    with pytest.raises(SceneError, match=r"outer.vrt is a mosaic of .*inner\.vrt, which cannot be"):
        Scenes(outer)


def test_a_file_that_is_replaced_while_its_header_is_read_is_named(
    scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geohash_rs.scenes import file

    def replaced_while_listed(path: str, source: object) -> tuple[str, ...]:
        scene.write_bytes(scene.read_bytes() + b"0")
        return (path,)

    monkeypatch.setattr(file, "deciding_files", replaced_while_listed)
    with pytest.raises(SceneError, match=r"0\.tif changed while its header was read"):
        Scenes(scene)


def test_a_warped_mosaic_names_the_source_that_is_missing(scene: Path) -> None:
    warped = scene.with_name("warped.vrt")
    with rasterio.open(scene) as source, WarpedVRT(source, crs="EPSG:3857") as view:
        rasterio.shutil.copy(view, warped, driver="VRT")
    assert read_scene_file(warped).count == read_scene_file(scene).count
    scene.unlink()
    with pytest.raises(SceneError, match=r"warped.vrt is made of .*0\.tif, which does not exist"):
        read_scene_file(warped)
