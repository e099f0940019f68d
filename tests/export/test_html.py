"""The page of matches: self-contained, without scripts, safe for any scene name."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
import rasterio
from PIL import Image

from geohash_rs import Matches
from geohash_rs.errors import ExportError, GeoHashRSWarning
from geohash_rs.export import write

GONE = r"no picture of <script>alert\(1\)\.tif: it does not exist"
NO_PATCH = r"^no picture of patch\.tif: it does not exist; restore it\.$"


@pytest.fixture(scope="module")
def matches(tmp_path_factory):
    """Matches in a small scene, and one in a scene that does not exist."""
    import geopandas as gpd
    import pandas as pd
    import shapely

    scene = tmp_path_factory.mktemp("scene") / "a.tif"
    pixels = np.random.default_rng(0).integers(0, 255, (3, 64, 128), dtype=np.uint8)
    settings = {"driver": "GTiff", "count": 3, "width": 128, "height": 64, "dtype": "uint8"}
    grid = rasterio.Affine(0.001, 0, 10, 0, -0.001, 50)
    with rasterio.open(scene, "w", crs="EPSG:4326", transform=grid, **settings) as target:
        target.write(pixels)
    return gpd.GeoDataFrame(
        {
            "rank": [1, 2, 3],
            "distance": [0, 3, 9],
            "similarity": [1.0, 0.95, 0.86],
            "tile_id": [4, 5, 6],
            "scene": [str(scene), str(scene), "/gone/<script>alert(1).tif"],
            "col": [0, 64, 0],
            "row": 0,
            "width": 64,
            "height": 64,
            "datetime": pd.to_datetime(["2023-05-14", None, "2023-09-18"], utc=True),
        },
        geometry=[shapely.box(10 + i / 20, 49.95, 10.05 + i / 20, 50) for i in range(3)],
        crs="EPSG:4326",
    )


def warned(matches, path):
    """Write matches, one of whose scenes is gone."""
    with pytest.warns(GeoHashRSWarning, match=GONE):
        write(matches, path)


@pytest.fixture
def asked(matches):
    """The same matches of a query with a tile and a patch that is gone, unlike a vector."""
    import geopandas as gpd
    import pandas as pd
    import shapely

    found = Matches(matches.iloc[:2])
    found.examples = gpd.GeoDataFrame(
        {
            "example": ["<i>tile 12", "patch.tif", "the vector"],
            "positive": [True, True, False],
            "tile_id": pd.array([12, None, None], dtype="Int64"),
            "scene": [matches["scene"][0], "/gone/patch.tif", None],
            "col": pd.array([64, 0, None], dtype="Int64"),
            "row": pd.array([0, 0, None], dtype="Int64"),
            "width": pd.array([64, 64, None], dtype="Int64"),
            "height": pd.array([64, 64, None], dtype="Int64"),
            "datetime": pd.to_datetime(["2023-05-14T10:31", None, None], utc=True),
        },
        geometry=[shapely.box(10.064, 49.936, 10.128, 50), shapely.box(5, 45, 5.01, 45.01), None],
        crs="EPSG:4326",
    )
    return found


def test_the_page_is_self_contained_and_has_no_script(matches, tmp_path):
    warned(matches, tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "default-src 'none'" in page
    links = re.findall(r"(?:https?:)?//\S+", re.sub(r"data:[^\"]*", "", page))
    assert {link.strip('"') for link in links} <= {"http://www.w3.org/2000/svg"}
    assert "&lt;script&gt;" in page
    assert page.count('<li id="c') == 3
    assert page.count('<a id="f') == 3
    pictures = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', page)
    assert len(pictures) == 2
    assert "no picture" in page
    with rasterio.open(matches["scene"][0]) as source:
        asked = np.moveaxis(source.read()[:, :, :64], 0, -1).astype(float)
    shown = np.asarray(Image.open(BytesIO(base64.b64decode(pictures[0]))), float)
    assert shown.shape == asked.shape
    assert abs(shown.mean() - asked.mean()) < 4


def test_the_page_opens_in_a_browser_without_console_messages(matches, tmp_path, chromium):
    warned(matches, tmp_path / "found.html")
    page = chromium.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "found.html").as_uri())
    assert page.locator("li").count() == 3
    page.click("#c2 a")
    assert page.url.endswith("#f2")
    assert said == []
    page.close()


@pytest.mark.parametrize("east", [-179.95, 179.8])
def test_the_map_is_narrow_across_the_antimeridian(matches, tmp_path, east):
    import shapely

    split = shapely.MultiPolygon(
        [shapely.box(179.97, 49.95, 180, 50), shapely.box(-180, 49.95, -179.98, 50)]
    )
    shapes = [
        shapely.box(179.9, 49.95, 179.95, 50),
        split,
        shapely.box(east, 49.95, east + 0.05, 50),
    ]
    warned(matches.set_geometry(shapes, crs="EPSG:4326"), tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text(encoding="utf-8").split("<main>")[1]
    across = []
    for outline in re.findall(r'<path class="tile" d="([^"]+)"', page):
        xs = [float(x) for x in re.findall(r"([-\d.]+) [-\d.]+", outline)]
        assert 0 <= min(xs) < max(xs) <= 1000
        across.append(max(xs) - min(xs))
    assert len(across) == 3
    assert max(across) / min(across) < 1.01  # each is 0.05 degrees wide
    assert min(across) > 100
    labels = [float(text) for text in re.findall(r">([-\d.]+)°</text>", page)]
    assert all(abs(value) <= 180 for value in labels)
    assert any(value < 0 for value in labels) == (east < 0)


def test_a_page_begins_with_the_query_and_says_why_a_picture_is_missing(asked, tmp_path):
    with pytest.warns(GeoHashRSWarning, match=NO_PATCH) as told:
        write(asked, tmp_path / "found.html")
    assert sum(warning.category is GeoHashRSWarning for warning in told) == 1
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    top, matches = page.split("<main>")
    right, wrong = top.split("<h2>Unlike</h2>")
    assert "<h2>Searched with</h2>" in right
    assert "<b>&lt;i&gt;tile 12</b><span>2023-05-14 10:31 UTC</span><span>a.tif</span>" in right
    assert "no picture of patch.tif: it does not exist; restore it." in right
    assert "<b>the vector</b>" in wrong
    pictures = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', top)
    assert len(pictures) == 1
    with rasterio.open(asked["scene"][0]) as source:
        asked_with = np.moveaxis(source.read()[:, :, 64:], 0, -1).astype(float)
    shown = np.asarray(Image.open(BytesIO(base64.b64decode(pictures[0]))), float)
    assert np.corrcoef(shown.ravel(), asked_with.ravel())[0, 1] > 0.5, "it is that window"
    assert matches.count('<li id="c') == 2
    assert len(re.findall('<path class="asked"', matches)) == 2
    assert "no date" in matches


def test_a_long_list_of_examples_is_counted(asked, tmp_path):
    import pandas as pd

    asked.examples = pd.concat([asked.examples.head(1)] * 15)
    write(asked, tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert "<h2>Searched with and 3 more</h2>" in page
    assert page.count("<b>&lt;i&gt;tile 12</b>") == 12


def test_a_query_without_matches_is_shown(asked, tmp_path):
    with pytest.warns(GeoHashRSWarning, match=NO_PATCH):
        write(asked.iloc[:0], tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert "No matches." in page
    assert "no picture of patch.tif" in page
    assert '<path class="coast" d="M' in page


def test_a_column_named_examples_is_no_query(matches, tmp_path):
    write(matches.iloc[:2].assign(examples=["a", "b"]), tmp_path / "found.html")
    assert "Searched with" not in (tmp_path / "found.html").read_text(encoding="utf-8")


def test_a_page_without_matches_says_so(matches, tmp_path):
    write(matches.iloc[:0], tmp_path / "none.html")
    assert "No matches." in (tmp_path / "none.html").read_text(encoding="utf-8")


def test_too_many_rows_for_a_page_are_refused(matches, tmp_path):
    import pandas as pd

    with pytest.raises(ExportError, match="at most 2000 rows"):
        write(pd.concat([matches] * 700), tmp_path / "many.html")


def test_a_geopackage_of_matches_carries_its_style_and_pictures(matches, tmp_path):
    import sqlite3
    from contextlib import closing
    from xml.etree import ElementTree as Xml

    warned(matches, tmp_path / "found.gpkg")
    with closing(sqlite3.connect(tmp_path / "found.gpkg")) as file:
        rows = file.execute(
            "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
        ).fetchall()
        pictures = [row[0] for row in file.execute("SELECT picture FROM found ORDER BY rank")]
    assert [row[:3] for row in rows] == [("found", "geom", 1)]
    style = Xml.fromstring(rows[0][3].split("\n", 1)[1])
    ranges = [(float(r.get("lower")), float(r.get("upper"))) for r in style.iter("range")]
    for distance in matches["distance"]:
        assert sum(low < distance <= high for low, high in ranges) == 1
    assert pictures[0].startswith("data:image/jpeg;base64,")
    assert pictures[2] is None


def test_a_geopackage_has_the_query_as_a_second_layer(asked, tmp_path):
    import geopandas as gpd

    path = tmp_path / "found.gpkg"
    for _ in range(2):  # both layers are replaced
        with pytest.warns(GeoHashRSWarning, match=NO_PATCH):
            write(asked.to_crs(32632), path)
    layers = gpd.list_layers(path)
    assert layers[layers["geometry_type"].notna()]["name"].to_list() == ["found", "found_query"]
    matches, query = (gpd.read_file(path, layer=name) for name in ("found", "found_query"))
    assert matches.crs == "EPSG:32632"
    assert query.crs == "EPSG:4326"
    assert query["example"].to_list() == asked.examples["example"].to_list()
    assert query["positive"].to_list() == [True, True, False]
    assert query["picture"].notna().to_list() == [True, False, False]
    assert query["no_picture"][1].startswith("no picture of patch.tif: it does not exist")
    assert query.geometry.isna().to_list() == [False, False, True]
    assert query.geometry[0].equals(asked.examples.geometry[0])


def test_a_layer_that_is_named_like_a_query_is_not_replaced(asked, matches, tmp_path):
    path = tmp_path / "found.gpkg"
    with pytest.warns(GeoHashRSWarning, match=NO_PATCH):
        write(asked, path)
    matches.to_file(path, layer="found_query", mode="w")
    with pytest.raises(ExportError, match="also holds the layers found_query, which would be"):
        write(asked, path)


def test_a_file_with_its_query_is_read_as_its_matches(asked, tmp_path):
    from geohash_rs.store.search.regions import read_region

    with pytest.warns(GeoHashRSWarning, match=NO_PATCH):
        write(asked, tmp_path / "found.gpkg")
    found = read_region(tmp_path / "found.gpkg")
    assert found.equals_exact(asked.union_all(), 1e-9)
    query = read_region(tmp_path / "found.gpkg", layer="found_query")
    assert query.equals_exact(asked.examples.union_all(), 1e-9)
