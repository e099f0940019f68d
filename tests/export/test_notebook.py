"""Matches and archives in a notebook."""

import re

import geopandas as gpd
import numpy as np
import pytest
import shapely

from geohash_rs import Archive, Matches
from geohash_rs.errors import GeoHashRSWarning, QueryError


@pytest.fixture
def archive(tmp_path):
    made = Archive.create(tmp_path / "<b>archive", num_bits=64)
    tiles = gpd.GeoDataFrame(
        {
            "scene": ["/gone/a.tif"] * 15,
            "col": np.arange(15) * 64,
            "row": 0,
            "width": 64,
            "height": 64,
            "datetime": np.datetime64("2023-05-14"),
        },
        geometry=[shapely.box(i, 0, i + 1, 1) for i in range(15)],
        crs="EPSG:4326",
    )
    made.add_codes(np.random.default_rng(0).integers(0, 256, (15, 8), dtype=np.uint8), tiles)
    return made


def test_an_archive_shows_its_contents_and_a_map(archive):
    page = archive._repr_html_()
    assert "15" in page
    assert "64 bits" in page
    assert "2023-05-14" in page
    assert "<b>archive" not in page
    assert len(re.findall("<rect", page)) == 15


def test_an_archive_across_the_antimeridian_is_drawn_narrow_and_one_segment_at_a_time(tmp_path):
    made = Archive.create(tmp_path / "archive", num_bits=64)
    for west in (178.0, -179.0):
        tiles = gpd.GeoDataFrame(
            {"scene": ["a"] * 500},
            geometry=shapely.box(west, np.arange(500) / 500, west + 1, np.arange(1, 501) / 500),
            crs="EPSG:4326",
        )
        made.add_codes(np.zeros((500, 8), np.uint8), tiles)
    page = made._repr_html_()
    assert "1,000 tiles, lon/lat 178.000, 0.000 to 182.000, 1.000" in page
    places = {int(x) for x in re.findall('<rect x="([0-9]+)"', page)}
    assert len(places) == 2, "two columns of dots"
    assert max(places) < 150
    assert len(re.findall("<rect", page)) < 40


def test_a_concept_shows_its_marks_notes_and_a_histogram_and_escapes_its_name(archive):
    concept = archive.learn(right=[1, 2, 3], wrong=[4], name="<script>pits")
    page = concept._repr_html_()
    assert "3 right, 1 wrong" in page
    assert "<th style='text-align:left'>calibrated</th><td style='text-align:left'>no<" in page
    assert "&lt;script&gt;pits" in page
    assert "<script" not in page
    assert "15 tiles of the archive by score" in page
    filled = np.count_nonzero(concept.histogram(bins=40).counts)
    assert len(re.findall("<rect", page)) == filled > 0
    assert "no mark is wrong" in archive.learn(right=[1])._repr_html_()


def test_matches_show_the_first_twelve_even_if_the_scenes_are_gone(archive):
    matches = archive.query(tile=3, k=15)
    page = matches._repr_html_()
    assert "15 matches in 1 scene" in page
    assert len(re.findall("bits?<br>", page)) == 12
    assert "the first 12 shown" in page
    assert "15 pictures are missing" not in page, "of those that are shown"
    assert "12 pictures are missing: no picture of a.tif: it does not exist" in page
    assert page.index("Searched with") < page.index("tile 3<") < page.index("15 matches")
    assert "data:image/svg+xml" in page
    assert "<table" in Matches(matches[["rank", "geometry"]])._repr_html_()


def test_the_grid_has_one_cell_per_match(archive):
    matches = archive.query(tile=3, negatives=[5], k=7)
    with pytest.warns(GeoHashRSWarning, match="9 pictures are missing: no picture of a.tif"):
        figure = matches.plot_grid(columns=3)
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles[0] == "searched with\ntile 3\n2023-05-14\na.tif"
    assert titles[1] == "unlike\ntile 5\n2023-05-14\na.tif"
    assert titles[2].startswith("around 0.50° N")
    assert len(titles[3:]) == 7
    assert titles[3] == "1: 0 bits\n2023-05-14\na.tif"
    plain = Matches(gpd.GeoDataFrame(matches))
    with pytest.warns(GeoHashRSWarning, match="7 pictures"):
        titles = [axes.get_title() for axes in plain.plot_grid(columns=3).axes]
    assert titles[0] == "1: 0 bits\n2023-05-14\na.tif"
    with pytest.raises(QueryError, match="columns is 0"):
        matches.plot_grid(columns=0)
    with pytest.raises(QueryError, match="no column scene"):
        Matches(matches[["rank", "geometry"]]).plot_grid()


def test_explore_returns_a_map_of_every_match(archive):
    for name in ("folium", "mapclassify"):
        pytest.importorskip(name, reason="the extra 'notebook' is not installed")
    matches = archive.query(tile=3, k=7)
    text = matches.explore().get_root().render()
    assert text.count('"distance"') >= 7
    assert "searched with" in text
    assert '"example": "tile 3"' in text
    assert "Natural Earth" in text
    assert '"LineString"' in text
    assert "Natural Earth" not in matches.explore(tiles="OpenStreetMap").get_root().render()
