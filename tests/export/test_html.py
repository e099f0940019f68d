"""The page of matches: self-contained, without scripts, safe for any scene name."""

import base64
import re
from io import BytesIO

import numpy as np
import pytest
import rasterio
from PIL import Image

from geohash_rs.errors import ExportError
from geohash_rs.export import write


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


def test_the_page_is_self_contained_and_has_no_script(matches, tmp_path):
    write(matches, tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert re.findall(r"(?:https?:)?//\S+", re.sub(r"data:[^\"]*", "", page)) == []
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
    write(matches, tmp_path / "found.html")
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
    write(matches.set_geometry(shapes, crs="EPSG:4326"), tmp_path / "found.html")
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
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

    write(matches, tmp_path / "found.gpkg")
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
