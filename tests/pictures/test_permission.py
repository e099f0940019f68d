"""Pictures are read from plain raster files of this machine, whatever an archive names."""

import contextlib
import os
import select
import socket
import struct
import time
import zlib

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import pytest
import rasterio
import rasterio.shutil
import shapely
from affine import Affine

from geohash_rs.cli import main
from geohash_rs.errors import GeoHashRSWarning, SceneError
from geohash_rs.pictures.permission import Permission, RefusedSceneError
from geohash_rs.pictures.scenes import draw_scene, place_scene
from geohash_rs.pictures.tiles import Thumbnails
from geohash_rs.retrieval.matches import rank_matches
from geohash_rs.scenes import remote

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
SIZE = 128
NOISE = np.random.default_rng(0).integers(20, 220, (1, SIZE, SIZE)).astype(np.uint8)
WINDOW = (0, 0, SIZE, SIZE)
PLACE = {"crs": "EPSG:32632", "transform": tuple(UTM), "size": (SIZE, SIZE), "date": None}
TRUSTED = Permission(remote_scenes=True)


@pytest.fixture
def beacon():
    """A local port, and a function that counts connections to it; they need no answer to count."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def count():
            calls = 0
            while select.select([listening], [], [], 0)[0]:
                listening.accept()[0].close()
                calls += 1
            return calls

        yield f"http://127.0.0.1:{listening.getsockname()[1]}", count


def scene(path, *, driver="GTiff", tags=None, **options):
    with rasterio.open(
        path, "w", driver=driver, width=SIZE, height=SIZE, count=1, dtype="uint8",
        crs="EPSG:32632", transform=UTM, **options
    ) as target:  # fmt: skip
        target.write(NOISE)
        for domain, values in (tags or {}).items():
            target.update_tags(ns=domain, **values)
    return path


def mosaic(path, source, *, attributes="", more="", relative=0, band="<SimpleSource>"):
    path.write_text(
        f'<VRTDataset rasterXSize="{SIZE}" rasterYSize="{SIZE}" {attributes}><SRS>EPSG:32632</SRS>'
        f"<GeoTransform>{','.join(map(str, UTM.to_gdal()))}</GeoTransform>{more}"
        f'<VRTRasterBand dataType="Byte" band="1">{band}<SourceFilename relativeToVRT="{relative}">'
        f"{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        "</VRTDataset>",
        encoding="utf-8",
    )
    return path


def overviews(url):
    return f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/{url}</MDI></Metadata>'


WMS = (
    '<GDAL_WMS><Service name="TMS"><ServerUrl>{url}/${{z}}.png</ServerUrl></Service><DataWindow>'
    "<UpperLeftX>0</UpperLeftX><UpperLeftY>9</UpperLeftY><LowerRightX>9</LowerRightX><LowerRightY>0"
    "</LowerRightY><SizeX>128</SizeX><SizeY>128</SizeY><TileLevel>0</TileLevel></DataWindow>"
    "<Projection>EPSG:4326</Projection><BandsCount>1</BandsCount></GDAL_WMS>"
)
RAW = (
    '<VRTDataset rasterXSize="4" rasterYSize="4"><VRTRasterBand dataType="Byte" band="1" '
    'subClass="VRTRawRasterBand"><SourceFilename relativeToVRT="1">secret.txt</SourceFilename>'
    "<ImageOffset>0</ImageOffset></VRTRasterBand></VRTDataset>"
)

NAMES = {
    "a URL": "{url}/a.tif?key=SECRET",
    "a URL of GDAL": "/vsicurl/{url}/a.tif",
    "an inline mosaic": '<VRTDataset rasterXSize="4" rasterYSize="4"/>',
    "a service": "WMS:{url}/wms?",
    "a database": "PG:host=127.0.0.1 dbname=x",
    "standard input": "/vsistdin/",
    "a file in an archive": "zip:///tmp/a.zip!a.tif",
    "a page": "GTIFF_DIR:1:/tmp/a.tif",
    "a share of Windows": "\\\\127.0.0.1\\share\\a.tif",
    "another share": "//127.0.0.1/share/a.tif",
    "a connection of VRT": "vrt:///tmp/a.tif",
    "a file in an archive of the web": "zip+https:/127.0.0.1/a.zip",
    "an address after a space": " http:/127.0.0.1/a.tif",
    "an address in two lines": "ht\ntp:/127.0.0.1/a.tif",
    "a description": '{{"type": "gdal_streamed_alg"}}',
    "a device": "/dev/zero",
    "a catalogue": "{url}/items.json#one",
}


if os.name == "nt":
    del NAMES["a device"]  # which does not exist there


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_name_that_is_not_a_plain_path_is_refused_unopened(name, beacon):
    url, calls = beacon
    with pytest.raises(RefusedSceneError, match=r"pass remote_scenes=True") as refused:
        Thumbnails().read(name.format(url=url), WINDOW, size=64)
    assert "SECRET" not in str(refused.value)
    assert calls() == 0


def beside(text, ending):
    """Return a function that writes a scene with a file next to it."""

    def make(folder, url):
        path = scene(folder / "a.tif")
        (folder / f"a{ending}").write_text(text.format(url=url), encoding="utf-8")
        return path

    return make


def pipe_beside(folder, _url):
    os.mkfifo(folder / "a.tif.aux.xml")
    return scene(folder / "a.tif")


def pipe(folder, _url):
    os.mkfifo(folder / "a.tif")
    return folder / "a.tif"


def zarr(folder, _url):
    (folder / "a.zarr").mkdir()
    (folder / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}', encoding="utf-8")
    return folder / "a.zarr"


def written(text, name="a.tif"):
    def make(folder, url):
        (folder / "secret.txt").write_text("secret" * 9, encoding="utf-8")
        (folder / name).write_text(text.format(url=url), encoding="utf-8")
        return folder / name

    return make


def nested(folder, url):
    mosaic(folder / "inner.vrt", f"/vsicurl/{url}/a.tif")
    return mosaic(folder / "outer.vrt", "inner.vrt", relative=1)


def polyglot(folder, url):
    (folder / "a.jpg").write_bytes(b"\xff\xd8\xff\xfe\x41\x41" + WMS.format(url=url).encode())
    return folder / "a.jpg"


def imagine(folder, _url):
    return scene(folder / "a.img", driver="HFA")  # pixels may lie in a file that it names


def long_side_file(folder, _url):
    (folder / "a.tif.aux.xml").write_bytes(b" " * (8 * 2**20 + 1))
    return scene(folder / "a.tif")


def many_bands(folder, _url):
    path = mosaic(folder / "a.vrt", scene(folder / "b.tif"))
    text = path.read_text(encoding="utf-8")
    band = text[text.index("<VRTRasterBand") : text.index("</VRTDataset>")]
    path.write_text(text.replace(band, band * 1001), encoding="utf-8")
    return path


def beside_a_file_of_its_name(folder, url):
    """Make a stack, and a plain file that is named like the stack on another grid."""
    inside = folder / "product"
    inside.mkdir()
    for number in (2, 3, 4):
        mosaic(inside / f"S2A_T32ULE_20230601_B0{number}.vrt", f"/vsicurl/{url}/b.tif")
    return scene(inside / "S2A_T32ULE_20230601#20m")


def with_a_space(folder, url):
    scene(folder / "b.tif")
    mosaic(folder / "b.tif ", f"/vsicurl/{url}/b.tif")
    return mosaic(folder / "a.vrt", "b.tif ", relative=1)


def written_twice(folder, _url):
    path = mosaic(folder / "a.vrt", scene(folder / "b.tif").name)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("relativeTo", 'RELATIVETOVRT="1" relativeTo'), encoding="utf-8")
    return path


REMOTE = (
    '<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand dataType="Byte" band="1">'
    "<SimpleSource><SourceFilename>/vsicurl/{url}/b.tif</SourceFilename></SimpleSource>"
    "</VRTRasterBand></VRTDataset>"
)
PAM = f"<PAMDataset>{overviews('{url}/o.tif')}</PAMDataset>"
FILES = {
    "overviews named in a side file": beside(PAM, ".tif.aux.xml"),
    "overviews named with an escape": beside(PAM.replace("W_F", "W&#95;F"), ".tif.aux.xml"),
    "overviews named in the file": lambda folder, url: scene(
        folder / "a.tif", tags={"OVERVIEWS": {"OVERVIEW_FILE": f"/vsicurl/{url}/o.tif"}}
    ),
    "overviews that are a mosaic": beside(REMOTE, ".tif.ovr"),
    "overviews in capitals": beside(REMOTE, ".tif.OVR"),
    "a mask that is a mosaic": beside(REMOTE, ".tif.msk"),
    "a mask that is a service": beside(WMS, ".tif.msk"),
    "an old side file that is a mosaic": beside(REMOTE, ".aux"),
    "a pipe as a side file": pipe_beside,
    "a pipe": pipe,
    "a folder": zarr,
    "a service": written(WMS),
    "text that mentions a service in a JPEG": polyglot,
    "a mosaic of raw bytes": written(RAW, "a.vrt"),
    "a mosaic of a URL": lambda folder, url: mosaic(folder / "a.vrt", f"/vsicurl/{url}/b.tif"),
    "a mosaic of such a mosaic": nested,
    "a mosaic of a path without a place": lambda folder, _url: mosaic(folder / "a.vrt", "b.tif"),
    "a mosaic of a service": lambda folder, url: mosaic(folder / "a.vrt", f"WMS:{url}", relative=1),
    "a mosaic that warps": lambda folder, url: mosaic(
        folder / "a.vrt", scene(folder / "b.tif"), attributes='subClass="VRTWarpedDataset"'
    ),
    "a mosaic that names a driver's options": lambda folder, url: mosaic(
        folder / "a.vrt", scene(folder / "b.tif"), more="<OpenOptions/>"
    ),
    "a mosaic with overviews elsewhere": lambda folder, url: mosaic(
        folder / "a.vrt", scene(folder / "b.tif"), more=overviews(f"{url}/o.tif")
    ),
    "a mosaic of a raster with overviews elsewhere": lambda folder, url: mosaic(
        folder / "a.vrt",
        scene(folder / "b.tif", tags={"OVERVIEWS": {"OVERVIEW_FILE": f"/vsicurl/{url}/o.tif"}}),
    ),
    "an Erdas file": imagine,
    "a long side file": long_side_file,
    "many bands": many_bands,
    "a stack that is named like a file": beside_a_file_of_its_name,
    "a mosaic of a name that ends in a space": with_a_space,
    "a mosaic with an attribute twice": written_twice,
    "a mosaic with an instruction": written(
        "<VRTDataset><?a ></?a><b/><?c ?></VRTDataset>", "a.vrt"
    ),
    "entities": written('<VRTDataset><!DOCTYPE a [<!ENTITY b "c">]></VRTDataset>', "a.vrt"),
}


if os.name == "nt":  # which has no pipes, and no names that differ in case
    names = ("a pipe", "a pipe as a side file", "overviews in capitals")
    for case in (*names, "a mosaic of a name that ends in a space"):
        del FILES[case]


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_a_file_that_leads_elsewhere_is_refused_unopened(make, beacon, tmp_path):
    url, calls = beacon
    path = make(tmp_path, url)
    with pytest.raises(RefusedSceneError, match=r"pass remote_scenes=True"):
        Thumbnails().read(str(path), WINDOW, size=64)
    with pytest.raises(RefusedSceneError):
        draw_scene(place_scene(str(path), **PLACE), Thumbnails())
    assert calls() == 0


def test_without_the_check_such_files_do_call(beacon, tmp_path, monkeypatch):
    url, calls = beacon
    monkeypatch.setattr(remote, "PAUSES", ())
    path = FILES["overviews that are a mosaic"](tmp_path, url)
    # whether GDAL gives up or reads without the overviews depends on its version
    with rasterio.Env(GDAL_HTTP_TIMEOUT="1"), contextlib.suppress(SceneError):
        Thumbnails(TRUSTED).read(str(path), WINDOW, size=32)
    assert calls() > 0


def test_a_projection_that_is_an_address_is_not_fetched(beacon):
    url, calls = beacon
    assert place_scene("a.tif", **{**PLACE, "crs": f"{url}/crs"}) is None
    assert calls() == 0


def test_a_projection_that_nests_deeply_places_no_scene():
    deep = '{"a":' * 5000 + "1" + "}" * 5000
    assert place_scene("a.tif", **{**PLACE, "crs": deep}) is None


def plain(folder):
    return scene(folder / "a.tif")


def with_own_side_files(folder):
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK="NO", TIFF_USE_OVR="YES"):
        path = scene(folder / "a.tif")
        with rasterio.open(path, "r+") as target:
            target.build_overviews([2, 4])
            target.write_mask(NOISE[0] > 100)
    assert {"a.tif.ovr", "a.tif.msk"} <= {file.name for file in folder.iterdir()}
    return path


def gdals_mosaic(folder):
    scene(folder / "a.tif")
    rasterio.shutil.copy(folder / "a.tif", folder / "b.vrt", driver="VRT")
    return mosaic(folder / "c.vrt", "b.vrt", relative=1)


def bands(folder):
    for number in (2, 3, 4):
        scene(folder / f"S2A_T32ULE_20230601_B0{number}.tif")
    return folder / "S2A_T32ULE_20230601"


def png(folder):
    return scene(folder / "a.png", driver="PNG")


def link(folder):
    if os.name == "nt":
        pytest.skip("links need a privilege")
    scene(folder / "a.tif")
    (folder / "b.tif").symlink_to(folder / "a.tif")
    return folder / "b.tif"


@pytest.mark.parametrize("make", [plain, with_own_side_files, gdals_mosaic, bands, png, link])
def test_plain_rasters_are_drawn_as_without_the_check(make, tmp_path):
    path = str(make(tmp_path))
    np.testing.assert_array_equal(
        Thumbnails().read(path, WINDOW, size=32), Thumbnails(TRUSTED).read(path, WINDOW, size=32)
    )
    placed = place_scene(path, **PLACE)
    np.testing.assert_array_equal(
        draw_scene(placed, Thumbnails()), draw_scene(placed, Thumbnails(TRUSTED))
    )


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_only_scenes_below_the_given_folders_are_drawn(tmp_path):
    for name in ("in", "out"):
        (tmp_path / name).mkdir()
    inside, outside = scene(tmp_path / "in" / "a.tif"), scene(tmp_path / "out" / "b.tif")
    (tmp_path / "in" / "link.tif").symlink_to(outside)
    thumbnails = Thumbnails(Permission(folders=(tmp_path / "in",)))
    assert thumbnails.read(str(inside), WINDOW, size=32).shape == (32, 32, 4)
    reaching = [
        outside,
        tmp_path / "in" / "link.tif",
        tmp_path / "in" / ".." / "out" / "b.tif",
        mosaic(tmp_path / "in" / "m.vrt", "../out/b.tif", relative=1),
    ]
    for path in reaching:
        with pytest.raises(RefusedSceneError, match="outside the folders of scenes"):
            thumbnails.read(str(path), WINDOW, size=32)
    with pytest.raises(RefusedSceneError):
        Thumbnails(Permission(folders=())).read(str(inside), WINDOW, size=32)


def test_mosaics_of_mosaics_that_multiply_are_refused_soon(tmp_path):
    inner = scene(tmp_path / "a.tif").name
    for level in range(6):
        path = mosaic(tmp_path / f"{level}.vrt", inner, relative=1)
        once = path.read_text(encoding="utf-8")
        source = once[once.index("<SimpleSource>") : once.index("</VRTRasterBand>")]
        path.write_text(once.replace(source, source * 10), encoding="utf-8")
        inner = path.name
    began = time.monotonic()
    with pytest.raises(RefusedSceneError, match="more than 5,000 files"):
        Permission().check(str(path))
    assert time.monotonic() - began < 60  # without a limit it would take days


def test_a_mosaic_of_itself_is_refused(tmp_path):
    path = mosaic(tmp_path / "a.vrt", "a.vrt", relative=1)
    with pytest.raises(RefusedSceneError, match="more than 5,000 files"):
        Permission().check(str(path))


def test_a_block_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=40_000, height=40_000, count=1, dtype="uint8",
        tiled=True, blockxsize=32_768, blockysize=32_768, compress="deflate", sparse_ok=True,
        crs="EPSG:32632", transform=UTM,
    ):  # fmt: skip
        pass
    with pytest.raises(
        RefusedSceneError, match="blocks of 1,024 MB, but a picture may need 256 MB"
    ):
        Thumbnails().read(str(path), WINDOW, size=32)


def test_bands_that_are_stored_together_count_together(tmp_path):
    path = tmp_path / "a.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=2048, height=2048, count=100, dtype="uint8", tiled=True,
        blockxsize=2048, blockysize=2048, interleave="pixel", compress="deflate", sparse_ok=True,
        crs="EPSG:32632", transform=UTM,
    ):  # fmt: skip
        pass
    with pytest.raises(RefusedSceneError, match="blocks of 400 MB"):
        Thumbnails().read(str(path), WINDOW, size=32)


@pytest.mark.parametrize("interlaced", [0, 1])
def test_an_interlaced_picture_counts_as_one_block(tmp_path, interlaced):
    def part(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    path = tmp_path / "a.png"
    head = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, interlaced)
    start = b"\x89PNG\r\n\x1a\n"
    path.write_bytes(start + part(b"IHDR", head) + part(b"IDAT", b"") + part(b"IEND", b""))
    refused = "blocks of 381 MB" if interlaced else "has no CRS"
    with pytest.raises(SceneError, match=refused):
        Thumbnails().read(str(path), WINDOW, size=32)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("place", ["a mosaic", "a side file", "escaped"])
def test_a_projection_that_names_a_file_is_not_read(tmp_path, place):
    (tmp_path / "scenes").mkdir()
    pipe = tmp_path / "grid"
    os.mkfifo(pipe)
    crs = f"+proj=utm +zone=32 +ellps=bessel +nadgrids={pipe}"
    if place == "escaped":
        crs = crs.replace("nad", "n&#97;d").replace("/", "&#47;")
    path = scene(tmp_path / "scenes" / "b.tif")
    if place == "a side file":
        side = path.with_name("b.tif.aux.xml")
        side.write_text(f"<PAMDataset><SRS>{crs}</SRS></PAMDataset>", encoding="utf-8")
    else:
        path = mosaic(tmp_path / "scenes" / "a.vrt", path)
        text = path.read_text(encoding="utf-8").replace("EPSG:32632", crs)
        path.write_text(text, encoding="utf-8")
    with pytest.raises(RefusedSceneError, match="whose projection is read from a file"):
        Thumbnails().read(str(path), WINDOW, size=32)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("form", ["PROJ", "WKT", "PROJJSON"])
def test_a_recorded_projection_that_names_a_file_is_not_read(tmp_path, form):
    crs = "+proj=utm +zone=32 +ellps=bessel +nadgrids=grid"
    known = pyproj.CRS.from_user_input(crs)
    text = {"PROJ": crs, "WKT": known.to_wkt(), "PROJJSON": known.to_json()}[form]
    os.mkfifo(tmp_path / "grid")
    for quote in ('"grid"', "=grid"):
        text = text.replace(quote, quote.replace("grid", str(tmp_path / "grid")))
    assert str(tmp_path) in text
    assert place_scene("a.tif", **{**PLACE, "crs": text}) is None


def test_a_window_too_large_to_read_is_refused(tmp_path):
    with pytest.raises(SceneError, match="too large to draw"):
        Thumbnails().read(str(scene(tmp_path / "a.tif")), (0, 0, 10**6, 10**6), size=32)


def test_a_scene_that_is_gone_is_no_matter_of_trust(tmp_path):
    with pytest.raises(SceneError, match="does not exist") as gone:
        Thumbnails().read(str(tmp_path / "a.tif"), WINDOW, size=32)
    assert not isinstance(gone.value, RefusedSceneError)


SHOWN = {
    "html": lambda matches, folder, **ask: matches.to_file(folder / "m.html", **ask),
    "gpkg": lambda matches, folder, **ask: matches.to_file(folder / "m.gpkg", **ask),
    "grid": lambda matches, _folder, **ask: matches.plot_grid(**ask),
}


def matches_of(name, count=3):
    tiles = gpd.GeoDataFrame(
        {
            "tile_id": range(count), "scene": name, "col": 0, "row": 0, "width": 64, "height": 64,
            "datetime": pd.Timestamp("2023-06-01", tz="UTC"),
        },
        geometry=[shapely.box(9, 45, 9.01, 45.01)] * count,
        crs="EPSG:4326",
    )  # fmt: skip
    return rank_matches(tiles, np.arange(count, dtype=np.int32), similarity=np.ones(count))


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_every_way_to_show_matches_refuses_a_remote_scene_with_one_warning(show, beacon, tmp_path):
    url, calls = beacon
    with pytest.warns(GeoHashRSWarning, match=r"no picture of a\.tif.*remote_scenes=True") as told:
        show(matches_of(f"{url}/a.tif"), tmp_path)
    assert len(told) == 1
    assert calls() == 0


def test_a_notebook_cell_refuses_a_remote_scene_and_says_so_itself(beacon):
    url, calls = beacon
    cell = matches_of(f"{url}/a.tif")._repr_html_()
    assert "3 pictures are missing: no picture of a.tif" in cell
    assert "remote_scenes=True" in cell
    assert calls() == 0


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_every_way_that_can_be_told_to_reads_a_remote_scene(show, beacon, tmp_path, monkeypatch):
    url, calls = beacon
    monkeypatch.setattr(remote, "PAUSES", ())
    with (
        rasterio.Env(GDAL_HTTP_TIMEOUT="1"),
        pytest.warns(GeoHashRSWarning, match=r"a\.tif cannot be opened"),
    ):
        show(matches_of(f"{url}/a.tif", 1), tmp_path, remote_scenes=True)
    assert calls() > 0


@pytest.mark.parametrize("words", [["query", "a", "--tile", "0"], ["export", "a", "-o", "a.csv"]])
def test_an_option_for_pictures_needs_a_file_with_pictures(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--remote-scenes"])
    assert "--remote-scenes needs -o with" in capsys.readouterr().err
