"""Areas in every format, read back by other programs; QGIS with the style applied."""

import json
import sqlite3
import subprocess
from contextlib import closing

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geohash_rs.concepts.regions import regions_of
from geohash_rs.errors import ExportError
from geohash_rs.export import ENDINGS
from tests.concepts.places import chosen, record_of, tiles_of
from tests.concepts.test_areas import mapped
from tests.export.test_export import ogrinfo

PICK = [(0, 0), (1, 0), (6, 5), (8, 2), (8, 3)]


def areas_of_tiles(pick=PICK, **options):
    """Map some tiles of one scene, each with its own score."""
    record = record_of()
    tiles = chosen(tiles_of(record), pick)
    tiles["score"] = np.linspace(0.6, 0.95, len(tiles)) if len(tiles) else []
    return mapped(tiles, [record], **options)


@pytest.fixture
def districts():
    """Two regions, of which one has a name that could do harm."""
    west, south, east, north = tiles_of(record_of()).total_bounds
    middle = (west + east) / 2
    boxes = [shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)]
    names = ["=1+1", "<script>alert(1)</script>"]
    return gpd.GeoDataFrame({"name": names}, geometry=boxes, crs="EPSG:4326")


@pytest.mark.parametrize("ending", [".geojson", ".json", ".gpkg", ".parquet"])
def test_areas_are_read_back(tmp_path, ending):
    areas = areas_of_tiles()
    path = tmp_path / f"areas{ending}"
    areas.to_file(path)
    layer = {"layer": "areas"} if ending == ".gpkg" else {}
    read = gpd.read_parquet(path) if ending == ".parquet" else gpd.read_file(path, **layer)
    assert len(read) == 3
    assert read["area_km2"].tolist() == pytest.approx(areas["area_km2"].tolist())
    assert read["tiles"].tolist() == [2, 2, 1]
    assert pd.to_datetime(read["date"]).dt.strftime("%Y-%m-%d").tolist() == ["2023-05-14"] * 3
    whole = shapely.union_all(areas.geometry)
    assert shapely.union_all(read.geometry).symmetric_difference(whole).area < 1e-15


def test_csv_has_outlines_as_text_and_no_formulas(tmp_path, districts):
    areas = areas_of_tiles(by=regions_of(districts, column="name"))
    areas.to_file(tmp_path / "a.csv")
    table = pd.read_csv(tmp_path / "a.csv")
    assert table["region"].iloc[0] == "'=1+1"
    assert shapely.from_wkt(table["WKT"].iloc[0]).equals(areas.geometry.iloc[0])


@ogrinfo
@pytest.mark.parametrize("with_regions", [True, False])
def test_a_geopackage_has_styled_layers_of_areas_and_totals(tmp_path, districts, with_regions):
    by = regions_of(districts, column="name") if with_regions else None
    areas = areas_of_tiles(by=by)
    path = tmp_path / "map.gpkg"
    for _ in range(2):  # the second replaces the first
        areas.to_file(path)
    said = subprocess.run(
        ["ogrinfo", "-so", "-al", path], capture_output=True, text=True, check=True
    ).stdout
    assert "Layer name: areas" in said
    assert "Layer name: totals" in said
    totals = gpd.read_file(path, layer="totals")
    assert totals["area_km2"].sum() == pytest.approx(areas["area_km2"].sum())
    assert totals["tiles"].sum() == areas["tiles"].sum() == 5
    assert isinstance(totals, gpd.GeoDataFrame) == with_regions
    with closing(sqlite3.connect(path)) as file:
        styles = dict(file.execute("SELECT f_table_name, styleQML FROM layer_styles").fetchall())
    assert set(styles) == ({"areas", "totals"} if with_regions else {"areas"})


def test_a_geopackage_with_other_layers_is_kept(tmp_path, districts):
    districts.to_file(tmp_path / "a.gpkg", layer="mine")
    with pytest.raises(ExportError, match="also holds the layers mine, which would be lost"):
        areas_of_tiles().to_file(tmp_path / "a.gpkg")


def test_the_page_shows_map_and_tables_without_scripts(tmp_path, districts, chromium):
    areas_of_tiles(by=regions_of(districts, column="name")).to_file(tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "default-src 'none'" in text
    page = chromium.new_page()
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.goto((tmp_path / "a.html").as_uri())
    assert page.locator("path.area").count() == 3
    assert page.locator("path.region").count() == 2
    assert page.locator("table").count() == 2
    assert page.locator("tbody").last.locator("tr").count() == 3
    page.locator("svg a").first.click()
    assert page.url.endswith("#t1")
    assert said == []
    page.close()


def test_the_page_is_called_like_the_concept_and_small_areas_are_spots(tmp_path, chromium):
    near, far = record_of(), record_of("b.tif", crs="EPSG:32634")  # 6 degrees further east
    tiles = pd.concat([chosen(tiles_of(one), PICK) for one in (near, far)], ignore_index=True)
    areas = mapped(tiles, [near, far])
    areas.to_file(tmp_path / "a.html")
    areas.concept = "gravel <pits>"
    areas[areas["tiles"] > 1].to_file(tmp_path / "b.html")
    page = chromium.new_page()
    page.goto((tmp_path / "a.html").as_uri())
    assert page.title() == "a"
    assert page.locator("circle.spot").count() == page.locator("path.area").count() == 6
    boxes = [page.locator("circle.spot").nth(row).bounding_box() for row in range(6)]
    assert min(box["width"] for box in boxes) > 5
    page.goto((tmp_path / "b.html").as_uri())
    assert page.title() == "gravel <pits>"
    page.close()
    areas_of_tiles().to_file(tmp_path / "c.html")  # large ones are drawn as they are
    assert '<circle class="spot' not in (tmp_path / "c.html").read_text(encoding="utf-8")


def test_a_page_of_too_many_areas_is_refused(tmp_path):
    areas = areas_of_tiles()
    many = areas.iloc[np.zeros(20_001, int)]
    with pytest.raises(ExportError, match="at most 20,000 areas, and these are 20,001"):
        many.to_file(tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


@pytest.mark.filterwarnings("ignore:the map is empty")
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("with_regions", [True, False])
def test_an_empty_map_is_written_without_a_second_warning(
    tmp_path, ending, districts, with_regions
):
    areas = areas_of_tiles([], by=regions_of(districts) if with_regions else None)
    path = tmp_path / f"a{ending}"
    areas.to_file(path)
    if ending == ".gpkg":
        assert len(gpd.read_file(path, layer="areas")) == 0
        assert "area_km2" in gpd.read_file(path, layer="areas").columns
        assert len(gpd.read_file(path, layer="totals")) == 0
    elif ending in (".geojson", ".json"):
        assert json.loads(path.read_text())["features"] == []
    elif ending == ".parquet":
        assert list(gpd.read_parquet(path).columns[:2]) == ["area", "area_km2"]
    else:
        assert "area" in path.read_text()
