"""Scenes behind HTTP: correct pixels, few requests, and retries if a source fails."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window

from geohash_rs import Archive, Scenes, TileGrid
from geohash_rs.errors import GeoHashRSWarning, SceneError
from geohash_rs.scenes import remote
from tests.ground import TILE, mosaic, write
from tests.scenes.range_server import Remote, serving

SIDE = 8  # tiles per side of the large scene
BLOCK = 128


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make two cloud-optimised scenes, one large, and a VRT that names a scene at a URL."""
    folder = tmp_path_factory.mktemp("served")
    for name, tiles in (("large", SIDE), ("small", 2)):
        plain = write(folder / f"{name}_20230601.plain.tif", mosaic(tiles, tiles, 1))
        target = folder / f"{name}_20230601.tif"
        copy_raster(plain, target, driver="COG", compress="deflate", blocksize=BLOCK)
        plain.unlink()
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Remote]:
    with serving(folder) as remote:
        yield remote


@pytest.fixture(autouse=True)
def impatient(server: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait one second where users wait twenty."""
    monkeypatch.setenv("GDAL_HTTP_LOW_SPEED_TIME", "1")
    monkeypatch.setattr(remote, "PAUSES", (0.05, 0.1))
    server.forget()


def test_tiles_behind_http_are_the_pixels_of_the_file(server: Remote, folder: Path) -> None:
    scenes = Scenes([f"{server.url}/large_20230601.tif"])
    with rasterio.open(folder / "large_20230601.tif") as source:
        for tile in list(TileGrid(scenes, tile_size=TILE))[::17]:
            expected = source.read(window=Window(*tile[1:]))
            np.testing.assert_array_equal(scenes.read(tile).image, expected)
    assert scenes.scene_files[0].dates is not None


def test_a_large_scene_is_read_with_few_requests(server: Remote, quick: Archive) -> None:
    scenes = Scenes([f"/vsicurl/{server.url}/large_20230601.tif"])
    assert len(server.requests()) <= 3
    server.forget()
    assert quick.add(scenes).num_tiles == SIDE**2
    asked = [request for request in server.requests() if request[0] == "GET"]
    # One for the header, and one for each row of blocks.
    assert len(asked) <= 1 + SIDE * TILE // BLOCK
    assert not [path for _, path, _ in server.requests() if not path.endswith(".tif")]


@pytest.mark.parametrize("kind", ["error_500", "close_early", "stall"])
@pytest.mark.parametrize("skip", [0, 1, 4])
def test_a_source_that_fails_once_is_retried(
    server: Remote, quick: Archive, kind: str, skip: int
) -> None:
    url = f"{server.url}/small_20230601.tif"
    server.fault(kind, name="small", times=1, skip=skip)
    report = quick.add(Scenes([url]))
    assert (report.num_tiles, report.skipped) == (4, [])
    codes = quick.codes(range(4))
    server.forget()
    quick.remove_scenes([url])
    quick.add(Scenes([url]))
    np.testing.assert_array_equal(codes, quick.codes(range(4, 8)))


@pytest.mark.parametrize("kind", ["error_500", "close_early", "stall"])
def test_a_source_that_keeps_failing_is_named_and_the_others_are_indexed(
    server: Remote, quick: Archive, kind: str
) -> None:
    urls = [f"{server.url}/{name}_20230601.tif" for name in ("large", "small")]
    scenes = Scenes(urls)
    server.fault(kind, name="large")
    report = quick.add(scenes)
    assert [scene for scene, _ in report.skipped] == [urls[0]]
    assert "large_20230601.tif cannot be" in report.skipped[0][1]
    assert len(server.requests()) < 30
    assert report.num_tiles == quick.num_tiles == 4
    server.forget()
    with pytest.warns(GeoHashRSWarning, match="small_20230601.tif skipped as indexed before"):
        assert quick.add(Scenes(urls)).num_tiles == SIDE**2


def test_a_missing_scene_is_not_retried(server: Remote) -> None:
    url = f"{server.url}/missing.tif"
    with pytest.raises(SceneError, match="missing.tif cannot be opened: HTTP response code: 404"):
        Scenes([url], strict=True)
    assert len(server.requests()) <= 2


def test_a_vrt_of_remote_sources_is_read_patiently(
    server: Remote, folder: Path, tmp_path: Path, quick: Archive
) -> None:
    with rasterio.open(folder / "small_20230601.tif") as source:
        grid = ",".join(map(str, source.transform.to_gdal()))
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><SimpleSource><SourceFilename '
        f'relativeToVRT="0">/vsicurl/{server.url}/small_20230601.tif</SourceFilename>'
        f"<SourceBand>{n}</SourceBand></SimpleSource></VRTRasterBand>"
        for n in (1, 2, 3)
    )
    path = tmp_path / "remote_20230601.vrt"
    path.write_text(
        '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>{grid}</GeoTransform>{bands}</VRTDataset>"
    )
    scenes = Scenes(path)
    server.fault("error_500", name="small", times=1, skip=1)
    report = quick.add(scenes)
    assert (report.num_tiles, report.skipped) == (4, [])


def test_settings_last_only_for_the_read_and_keep_those_of_the_user(
    server: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {}

    def look() -> None:
        inside.update(rasterio.env.getenv())

    monkeypatch.setenv("GDAL_HTTP_CONNECTTIMEOUT", "7")
    with rasterio.Env(VSI_CACHE_SIZE="1000"):
        remote.read_patiently(f"{server.url}/a.tif", look, forget=lambda: None)
        assert "GDAL_DISABLE_READDIR_ON_OPEN" not in rasterio.env.getenv()
    assert inside["GDAL_DISABLE_READDIR_ON_OPEN"] == "EMPTY_DIR"
    assert inside["VSI_CACHE_SIZE"] == "1000"
    assert "GDAL_HTTP_CONNECTTIMEOUT" not in inside
    assert "GDAL_DISABLE_READDIR_ON_OPEN" not in os.environ


def test_a_checksum_behind_http_is_the_tag_or_date_from_the_server(server: Remote) -> None:
    from geohash_rs.scenes.state import checksum_of

    assert checksum_of([f"{server.url}/small_20230601.tif"]) is None  # a server that states neither
    with pytest.raises(SceneError, match="the entity tag of missing.tif cannot be read"):
        checksum_of([f"{server.url}/missing.tif"])


def test_no_scene_is_lost_if_a_server_fails_once_or_refuses_head(server: Remote) -> None:
    from geohash_rs.scenes.state import checksum_of

    url = f"{server.url}/small_20230601.tif"
    server.fault("error_500", name="small", times=2)
    assert checksum_of([url]) is None
    assert [method for method, *_ in server.requests()] == ["HEAD"] * 3
    server.fault("error_403", name="small")  # like a URL signed only for GET
    assert checksum_of([url]) is None
    assert len(server.requests()) == 1
    server.fault("error_500", name="small")
    with pytest.raises(SceneError, match="tag of small_20230601.tif cannot be read.* 500"):
        checksum_of([url])
