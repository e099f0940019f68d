"""The command ``geohash-rs map``: areas, totals and rasters of a concept."""

import shlex

import geopandas as gpd
import pytest
import rasterio
import shapely

from geohash_rs import Archive, Scenes
from geohash_rs.concepts.judgements import read_judgements
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
    warning, written = err.splitlines()
    assert "the map is empty: no tile passes" in warning
    assert written == f"0 areas written to {tmp_path / 'a.csv'}."
    assert (tmp_path / "a.csv").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--by-column", "name"], 2, "--by-column needs --by"),
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


@pytest.mark.parametrize("precision", ["1", "0", "1.5"])
def test_the_promise_says_which_precision_can_be_asked_for(taught, run, precision):
    archive, concept, tiles, _ = taught
    loaded = Archive.open(archive, mode="r").concept(concept)
    drawn = [int(tile) for tile in loaded.check(30, min_score=0)["tile_id"]]
    loaded.checked(right=drawn, wrong=[], k=30, min_score=0).save(concept)
    code, _, err = run("map", archive, concept, "--precision", precision)
    assert (code, "use a share above 0 and below 1, such as 0.9" in err) == (1, True), err


@pytest.mark.filterwarnings("ignore:squares is not calibrated")
def test_regions_without_crs_are_refused(taught, run, tmp_path):
    archive, concept, *_ = taught
    box = shapely.box(400_000, 5_390_000, 600_000, 5_410_000)
    path = tmp_path / "by.csv"
    path.write_text(f'name,WKT\nnorth,"{box.wkt}"\n')
    code, _, err = run("map", archive, concept, "--by", path)
    assert code == 2
    assert "by.csv has no CRS, so its polygons cannot be placed; set one, such as" in err


@pytest.mark.filterwarnings("ignore:squares is not calibrated")
def test_advice_names_options_of_the_command(taught, run, tmp_path):
    archive, concept, tiles, _ = taught
    code, _, err = run("map", archive, concept, "--min-area", 1e6)
    assert code == 0
    assert err.endswith("choose a smaller --min-area.\n")
    elsewhere = gpd.GeoDataFrame(geometry=[shapely.box(0, 0, 1, 1)], crs="EPSG:4326")
    elsewhere.to_file(tmp_path / "by.gpkg")
    code, _, err = run("map", archive, concept, "--by", tmp_path / "by.gpkg")
    assert code == 0
    assert err.endswith("outside all regions; draw the map without regions to see them.\n")


@pytest.mark.filterwarnings("ignore:squares is not calibrated")
def test_sizes_that_are_left_out_are_said(quick, scene_folder, run, tmp_path):
    quick.add(Scenes(scene_folder), tile_size=(TILE, 2 * TILE))
    quick.learn(right=[0, 1]).save(tmp_path / "a.concept")
    sizes = quick.tiles(range(len(quick)))["width"]
    words = ["map", quick.path, tmp_path / "a.concept", "--min-score", 0]
    code, _, err = run(*words)
    assert code == 0
    assert f"{(sizes == 2 * TILE).sum()} larger tiles that pass are left out, of 128 px" in err
    assert "choose them with --tile-size 128." in err
    code, said, err = run(*words, "--tile-size", "128")
    assert (code, err) == (0, "")
    assert int(said.splitlines()[1].split()[-1]) > 0


def test_the_way_to_pass_judgements_on_is_complete(taught, run, tmp_path):
    archive, concept, tiles, _ = taught
    out = tmp_path / "to judge.csv"
    limits = [
        "--bbox",
        "-10.5,40.0,30.0,60.0",
        "--time",
        "2000/..",
        "--scene",
        tiles["scene"].iloc[-1],
    ]
    limits += ["--tile-size", "64", "--within"]
    code, _, err = run("judge", archive, concept, "--random", "--min-score", 0, *limits, "-o", out)
    assert code == 0, err
    said, _, command = err.strip().partition("; fill in the column right, then: ")
    assert said.endswith(f"to judge written to {out}")
    words = shlex.split(command)
    expected = ["geohash-rs", "calibrate", archive, "--concept", concept, "--judged", out]
    expected += ["-k", 60, "--min-score", 0.0, "--seed", 0]
    assert words[: len(expected)] == [str(word) for word in expected]
    rest = words[len(expected) :]
    assert sorted(rest) == sorted(map(str, limits))
    assert rest[rest.index("--bbox") + 1] == "-10.5,40.0,30.0,60.0"
    out.write_text(out.read_text().replace(",,", ",true,"))
    if read_judgements(out) == ([], []):
        pytest.fail("nothing was filled in")


@pytest.mark.parametrize("drawn", [["--random", "--min-score", "0"], []])
def test_a_page_to_judge_is_no_dead_end(taught, run, tmp_path, drawn):
    archive, concept, *_ = taught
    code, _, err = run("judge", archive, concept, *drawn, "-k", 3, "-o", tmp_path / "next.html")
    assert code == 0, err
    assert "--judged" not in err
    assert "write .gpkg or .csv as well, to fill in the column right" in err
    code, _, err = run("judge", archive, concept, *drawn, "-k", 3, "-o", tmp_path / "next.gpkg")
    verb = "calibrate" if drawn else "learn"
    assert f"then: geohash-rs {verb} {archive} --concept {concept} --judged" in err
