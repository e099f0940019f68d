"""The small map that shows where on the Earth something lies."""

import re

import numpy as np
import pytest
import shapely

from geohash_rs.export.locator import Locator, locator_svg

NONE = np.empty(0, dtype=object)


def boxes(*places, size=0.05):
    return np.array([shapely.box(x, y, x + size, y + size) for x, y in places], dtype=object)


@pytest.mark.parametrize(
    ("lon", "lat"),
    [(-74.7, -8.5), (-99.2, 47), (-140, -30), (179.98, -17), (20, 84), (0, -88), (95, 62)],
    ids=["Peru", "prairie", "Pacific", "Fiji", "Arctic", "Antarctic", "Siberia"],
)
def test_the_map_is_never_empty(lon, lat):
    chosen = Locator.around(boxes((lon, lat)))
    points = np.concatenate(chosen.lines)
    width, height = chosen.view.width, chosen.view.height
    inside = ((points >= -1) & (points <= (width + 1, height + 1))).all(axis=1)
    assert inside.all(), "lines are cut at the edges"
    assert sum(shapely.LineString(line).length for line in chosen.lines) > 0.8 * width
    ((x, y),) = chosen.dots(boxes((lon, lat)))
    assert x == pytest.approx(width / 2, abs=1)
    assert 0 <= y <= height + 1e-6


def test_the_map_zooms_out_only_as_far_as_it_must():
    coast, ocean = (Locator.around(boxes(at)) for at in ((12.5, 41.9), (-140, -30)))
    west, _, east, _ = coast.view.box()
    assert east - west == pytest.approx(24)
    west, _, east, _ = ocean.view.box()
    assert 24 < east - west < 200


def test_places_on_two_continents_are_on_one_map_and_nearby_ones_get_a_ring():
    here, far = boxes((-99.2, 47), (-99.1, 47)), boxes((100, 0))
    svg, caption = locator_svg(here, right=far, wrong=NONE)
    assert len(re.findall('<circle class="found"', svg)) == 1, "they nearly coincide"
    assert len(re.findall('<rect class="asked"', svg)) == 1
    assert 'class="ring"' not in svg
    assert "squares are what was searched with" in caption
    svg, caption = locator_svg(here, right=NONE, wrong=NONE)
    assert len(re.findall('class="ring"', svg)) == 1
    assert caption.startswith("Around 47.02° N, 99.12° W. Coastlines and borders: Natural Earth")
    assert len(re.findall('class="deg"', svg)) >= 4


def test_a_map_across_180_degrees_is_narrow():
    chosen = Locator.around(boxes((179.9, -17), (-179.9, -17)))
    dots = chosen.dots(boxes((179.9, -17), (-179.9, -17)))
    assert np.ptp(dots[:, 0]) < 10
    assert chosen.place == "16.98° S, 179.98° W"


def test_without_footprints_there_is_no_map():
    assert locator_svg(np.array([None], dtype=object), right=NONE, wrong=NONE) is None
