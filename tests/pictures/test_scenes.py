"""Scenes are placed on the web map, and those that cannot be are left out without a word."""

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import from_bounds

from geohash_rs.pictures.scenes import draw_scene, place_scene, scenes_in_view
from geohash_rs.pictures.tiles import Thumbnails

PLACE = {"transform": (10.0, 0, 500_000, 0, -10, 5_000_000), "size": (64, 64), "date": None}


def test_a_scene_is_placed_where_pyproj_says():
    placed = place_scene("a.tif", crs="EPSG:32632", **PLACE)
    lonlat = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    corner = lonlat.transform(500_000, 5_000_000)
    web = Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(*corner)
    assert (placed.box[0], placed.box[3]) == pytest.approx(web, abs=5)


def test_gdal_prints_nothing_about_an_unknown_projection(capfd):
    assert place_scene("a.tif", crs="EPSG:999999", **PLACE) is None
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("crs", "lon", "west", "east"),  # the last two as far from the meridian, in units of the CRS
    [
        ("EPSG:4326", 180, 0.9, 1),
        ("EPSG:4326", 180, 1, 0.9),
        ("EPSG:4326", -180, 1, 0.9),
        ("EPSG:3832", 180, 900, 1000),
        ("EPSG:32701", 180, 1000, 900),
    ],
)
def test_a_scene_across_180_degrees_is_one_picture_of_both_halves(tmp_path, crs, lon, west, east):
    x, y = Transformer.from_crs(4326, crs, always_xy=True).transform(lon, -17)
    x = lon if crs == "EPSG:4326" else x
    transform = from_bounds(x - west, y - east, x + east, y + east, 100, 100)
    pixels = np.zeros((3, 100, 100), np.uint8)
    pixels[0, :, :50], pixels[2, :, 50:] = 255, 255
    path = tmp_path / "scene.tif"
    kind = {"driver": "GTiff", "width": 100, "height": 100, "count": 3, "dtype": "uint8"}
    with rasterio.open(path, "w", **kind, crs=crs, transform=transform) as target:
        target.write(pixels)
    placed = place_scene(str(path), crs=crs, transform=transform, size=(100, 100), date=None)
    west, _, east, _ = placed.bounds
    assert (west < -180 < east) or (west < 180 < east)
    assert -180 <= (west + east) / 2 <= 180
    drawn = draw_scene(placed, Thumbnails(), size=64)
    middle = drawn[len(drawn) // 2]
    assert (middle[4:28, 0] > 200).all()
    assert (middle[36:60, 2] > 200).all()
    for view in [(179.9, -17.1, 180.1, -16.9), (-180.1, -17.1, -179.9, -16.9)]:
        assert [number for number, _ in scenes_in_view({7: placed}, view)] == [7]
