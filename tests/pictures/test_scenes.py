"""Scenes are placed on the web map, and those that cannot be are left out without a word."""

import pytest
from pyproj import Transformer

from geohash_rs.pictures.scenes import place_scene

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
