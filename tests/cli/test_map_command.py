"""The command ``geohash-rs map``: areas, totals and rasters of a concept."""

import geopandas as gpd
import pytest
import rasterio
import shapely

from geohash_rs import Archive, Scenes
from tests.ground import TILE, kind_at


@pytest.fixture
def taught(quick, scene_folder, tmp_path):
    """A concept of one of the four kinds of ground, and its archive."""
    quick.add(Scenes(scene_folder), tile_size=TILE)
    tiles = quick.tiles(range(len(quick)))
    kinds = [
        kind_at(int(col), int(row)) for col, row in zip(tiles["col"], tiles["row"], strict=True)
    ]
    right = [number for number, kind in enumerate(kinds) if kind == 1]
    wrong = [number for number, kind in enumerate(kinds) if kind != 1]
    path = tmp_path / "squares.concept"
    quick.learn(right=right[:6], wrong=wrong[:12], name="squares").save(path)
    return quick.path, path, tiles, right


@pytest.mark.filterwarnings("ignore:squares is not calibrated")
def test_a_concept_is_mapped_with_totals_of_each_day(taught, run, tmp_path):
    archive, concept, tiles, right = taught
    out = tmp_path / "areas.gpkg"
    code, said, err = run("map", archive, concept, "--min-score", 0.5, "-o", out)
    assert code == 0, err
    assert err.splitlines() == [f"{len(gpd.read_file(out, layer='areas'))} areas written to {out}."]
    areas = gpd.read_file(out, layer="areas")
    assert areas["score"].min() >= 0.5
    head, *rows = said.splitlines()
    assert head.split() == ["date", "area_km2", "areas", "tiles"]
    assert [row.split()[0] for row in rows] == sorted(set(areas["date"].dt.strftime("%Y-%m-%d")))
    assert sum(int(row.split()[-1]) for row in rows) == areas["tiles"].sum()
    found = Archive.open(archive, mode="r").concept(concept).query(k=None, min_score=0.5)
    assert areas["tiles"].sum() == len(found)
    ground = shapely.union_all(found.geometry)
    assert shapely.union_all(areas.geometry).symmetric_difference(ground).area < 1e-3 * ground.area


def test_regions_dates_sizes_and_rasters(taught, run, tmp_path):
    archive, concept, tiles, _ = taught
    west, south, east, north = tiles.total_bounds
    middle = (west + east) / 2
    halves = [shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)]
    layer = gpd.GeoDataFrame({"name": ["left", "right"]}, geometry=halves, crs="EPSG:4326")
    layer.to_file(tmp_path / "by.gpkg", layer="halves")
    words = ["map", archive, concept, "--min-score", 0, "--dates", "merged", "--min-area", 0.01]
    words += ["--by", tmp_path / "by.gpkg", "--by-column", "name", "--by-layer", "halves"]
    code, said, err = run(*words, "--raster", tmp_path / "scores", "-o", tmp_path / "a.geojson")
    assert code == 0, err
    assert [row.split()[0] for row in said.splitlines()] == ["region", "left", "right"]
    areas = gpd.read_file(tmp_path / "a.geojson")
    assert set(areas["region"]) == {"left", "right"}
    assert "date" not in areas.columns
    rasters = sorted((tmp_path / "scores").iterdir())
    assert f"{len(rasters)} score rasters written" in err
    assert len(rasters) == tiles["scene"].nunique()
    with rasterio.open(rasters[0]) as raster:
        assert raster.tags()["TIFFTAG_IMAGEDESCRIPTION"] == "score of squares, one pixel a tile"


def test_filters_limit_the_map(taught, run):
    archive, concept, tiles, _ = taught
    scene = tiles["scene"].iloc[0]
    code, said, err = run("map", archive, concept, "--min-score", 0, "--scene", scene)
    assert code == 0, err
    assert int(said.splitlines()[1].split()[-1]) == (tiles["scene"] == scene).sum()


def test_an_empty_map_is_said_and_no_error(taught, run, tmp_path):
    archive, concept, *_ = taught
    words = ["map", archive, concept, "--min-score", 0, "--time", "1990/1991"]
    code, said, err = run(*words, "-o", tmp_path / "a.csv")
    assert code == 0
    assert said == ""
    assert "the map is empty: no tile passes" in err
    assert "no areas." in err
    assert (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--by-column", "name"], 2, "--by-column needs --by"),
        (["--precision", "1"], 2, "1.0 is not in the range 0<x<1"),
        (["--precision", "0.9"], 1, "squares is not calibrated, so no precision can be promised"),
        (["--min-area", "-1"], 2, "-1.0 is not in the range"),
        (["-o", "a.xyz"], 2, "cannot tell a format from the ending '.xyz'"),
        (["--by", "nowhere.gpkg"], 2, "nowhere.gpkg cannot be read as regions"),
    ],
)
@pytest.mark.filterwarnings("ignore:squares is not calibrated")
def test_wrong_use_is_explained(taught, run, words, code, message):
    archive, concept, *_ = taught
    found, _, err = run("map", archive, concept, *words)
    assert (found, message in err) == (code, True), err
