"""Damaged and odd files are reported in the package's own words, not in those of GDAL."""

import json
import re
import struct

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning

from geohash_rs import Archive, Scenes
from tests.ground import mosaic, write

RAW = re.compile(
    "CPLE_|TIFF(Read|Fetch|Fill)|IReadBlock|opj_|JPEGLib|NotGeoreferenced|Warning:|ERROR \\d|"
    "sqlite3_|OGR_|Traceback|Exception|supported file format"
)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def spoil(path, byte):
    """Overwrite a fifth of the compressed pixels."""
    data = bytearray(path.read_bytes())
    length = len(data) // 5
    data[2 * length : 3 * length] = byte * length
    path.write_bytes(data)


def without_tag(path, number):
    """Rename a tag of a TIFF to one that nobody knows."""
    data = bytearray(path.read_bytes())
    start = struct.unpack_from("<I", data, 4)[0]
    for at in range(start + 2, start + 2 + 12 * struct.unpack_from("<H", data, start)[0], 12):
        if struct.unpack_from("<H", data, at)[0] == number:
            struct.pack_into("<H", data, at, 65001)
            path.write_bytes(data)
            return
    raise AssertionError(number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that cannot be read, and files that can although something is odd about them."""
    place = tmp_path_factory.mktemp("odd")
    image = mosaic(2, 2, 1)
    for name in ("cut.tif", "header.tif", "aux.tif", "mask.tif", "good.tif"):
        write(place / name, image)
    cut(place / "cut.tif", 0.5)
    (place / "header.tif").write_bytes((place / "header.tif").read_bytes()[:100])
    (place / "aux.tif.aux.xml").write_text("<PAMDataset><PAMRaster")
    (place / "mask.tif.msk").write_bytes(b"II*\0\x08\0\0\0junk")
    (place / "empty.tif").write_bytes(b"")
    (place / "text.tif").write_bytes(b"no raster")
    spoil(write(place / "deflate.tif", image, compress="deflate"), b"\xa7")
    jpeg = {"compress": "jpeg", "tiled": True, "blockxsize": 64, "blockysize": 64}
    spoil(write(place / "jpeg.tif", image, photometric="ycbcr", **jpeg), b"\0")
    cut(write(place / "half.jp2", image, driver="JP2OpenJPEG"), 0.5)
    without_tag(write(place / "extra.tif", np.concatenate([image, image[:1]])), 338)
    with pytest.warns(NotGeoreferencedWarning):
        write(place / "nowhere.tif", image, crs=None, transform=Affine.identity())
    write(place / "no_crs.tif", image, crs=None)
    write(place / "nodata.tif", image.astype(np.int16), nodata=-9999)
    (place / "sources.vrt").write_text(
        "<VRTDataset rasterXSize='128' rasterYSize='128'><SRS>EPSG:32633</SRS><GeoTransform>500000,"
        "10,0,5400000,0,-10</GeoTransform><VRTRasterBand dataType='Byte' band='1'>"
        "<SimpleSource><SourceFilename relativeToVRT='1'>gone.tif</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    return place


def words(capfd):
    """Return what a command said, from C libraries too, and check that it is not GDAL's."""
    seen = capfd.readouterr()
    said = seen.out + seen.err
    assert not RAW.search(said), said
    return said


@pytest.fixture
def call(capfd):
    """Run a command in this process; return its exit code and all that it said."""
    from geohash_rs.cli import main

    def run(*given):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in given])
        return left.value.code or 0, words(capfd)

    return run


def test_indexing_names_each_file_in_plain_words(folder, call, tmp_path):
    options = ("--tile-size", 64, "--hasher", "lsh-16", "--workers", 2)
    code, said = call("index", folder, "--archive", tmp_path / "archive", *options)
    assert code == 1
    damaged = "it is damaged or incomplete; copy or download it again."
    for name in ("cut.tif", "deflate.tif", "jpeg.tif", "half.jp2"):
        assert re.search(rf"skipped \S*/{name}: {name} cannot be read at .*: {damaged}", said), name
    assert f"header.tif cannot be opened: {damaged}" in said
    for name in ("empty.tif", "text.tif"):
        assert f"{name} cannot be opened: it is empty or damaged, or GDAL does not read" in said
    for name in ("nowhere.tif", "no_crs.tif"):
        assert f"{name} has no CRS" in said
    assert "sources.vrt is a mosaic of" in said
    records = Archive.open(tmp_path / "archive").scenes()
    kept = {record.scene.rsplit("/", 1)[-1] for record in records}
    assert kept == {"aux.tif", "mask.tif", "good.tif", "extra.tif", "nodata.tif"}
    code, said = call("index", folder, "--dry-run", "--tile-size", 64)
    assert code == 1  # files are left out
    assert f"header.tif cannot be opened: {damaged}" in said


@pytest.mark.parametrize("name", ["cut.tif", "header.tif", "jpeg.tif", "half.jp2", "text.tif"])
def test_a_damaged_patch_is_reported_in_plain_words(folder, archive_folder, call, name):
    code, said = call("query", archive_folder, folder / name, "-k", 3)
    assert code == 1
    assert re.search(f"{name} cannot be (read at .*|opened): it is (empty or )?damaged", said)


@pytest.mark.parametrize("name", ["aux.tif", "mask.tif", "extra.tif", "nodata.tif"])
def test_an_odd_patch_is_searched(folder, archive_folder, call, name):
    code, _ = call("query", archive_folder, folder / name, "-k", 3)
    assert code == 0


@pytest.fixture(scope="module")
def outdated(tmp_path_factory):
    """An archive of three scenes, of which two were damaged after it was made."""
    place = tmp_path_factory.mktemp("outdated")
    for name, seed in (("a.tif", 1), ("b.tif", 2), ("c.tif", 3)):
        write(place / "scenes" / name, mosaic(2, 2, seed), compress="deflate")
    made = Archive.create(place / "archive", hasher="lsh-16")
    made.add(Scenes(place / "scenes"), tile_size=64)
    spoil(place / "scenes" / "a.tif", b"\xa7")
    cut(place / "scenes" / "c.tif", 0.6)
    return place / "archive"


@pytest.mark.parametrize("output", ["found.html", "found.gpkg", "site/"])
def test_files_with_pictures_are_written_although_scenes_are_damaged(
    outdated, call, tmp_path, output
):
    path = f"{tmp_path}/{output}"
    if output == "site/":
        code, _ = call("export", outdated, "-o", path, "--pictures")
        pictures = (tmp_path / "site" / "data" / "pictures.bin").read_bytes().count(b"WEBP")
    else:
        code, _ = call("query", outdated, "--tile", 0, "-k", 12, "-o", path)
        text = (tmp_path / output).read_bytes()
        pictures = text.count(b"data:image/webp") if output == "found.html" else None
    assert code == 0
    assert pictures is None or pictures >= 4  # those of the scene that is whole


def test_a_region_that_is_damaged_is_reported_in_plain_words(archive_folder, call, tmp_path):
    ring = {"type": "Polygon", "coordinates": [[[7, 46], [8, 46], [8, 47]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": ring}
    (tmp_path / "open.geojson").write_text(json.dumps(feature))
    code, said = call("query", archive_folder, "--tile", 0, "--region", tmp_path / "open.geojson")
    assert code == 2
    assert "a ring of a polygon is not closed; repeat its first corner as its last." in said
    whole = tmp_path / "whole.gpkg"
    gpd.GeoDataFrame(geometry=[shapely.box(7, 46, 8, 47)], crs="EPSG:4326").to_file(whole)
    cut(whole, 0.5)
    code, said = call("query", archive_folder, "--tile", 0, "--region", whole)
    assert code == 2
    assert "whole.gpkg cannot be read as a region: it is damaged or incomplete" in said


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ("325,46,330,47", "longitude 325 is read as -35 and 330 as -30; the box runs 5 degrees"),
        ("14,40,325,50", "longitude 325 is read as -35; the box runs 311 degrees east from 14."),
        ("16,40,14,50", "the box runs 358 degrees east, across 180, to 14; swap the two"),
    ],
)
def test_a_box_that_can_be_read_in_two_ways_is_explained(archive_folder, call, box, said):
    code, told = call("query", archive_folder, "--tile", 0, "-k", 1, "--bbox", box)
    assert code == 0
    assert said in told


def test_swapped_coordinates_are_offered_as_options(archive_folder, call):
    (west, south, east, north) = Archive.open(archive_folder).tiles([0]).total_bounds
    lon, lat = (west + east) / 2, (south + north) / 2
    code, said = call("query", archive_folder, "--point", f"{lat},{lon}")
    assert code == 2
    offered = re.search(r"pass --point (\S+)\.$", said.strip())[1]
    assert call("query", archive_folder, "--point", offered, "-k", 1)[0] == 0
    box = f"{south},{west},{north},{east}"
    code, said = call("query", archive_folder, "--tile", 0, "--bbox", box)
    offered = re.search(r"tiles lie in --bbox (\S+); pass that\.", said)[1]
    code, said = call("query", archive_folder, "--tile", 0, "-k", 1, "--bbox", offered)
    assert (code, "warning" in said) == (0, False)
