"""``geohash-rs query --each``: many queries from a layer or a folder."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from geohash_rs import Archive, Hasher, Scenes
from tests.ground import TILE, mosaic


@pytest.fixture(scope="module")
def archive(tmp_path_factory, quick_hasher: Hasher, write_scene: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("each")
    scene = write_scene(folder / "scene_20230601.tif", mosaic(5, 4, 1))
    made = Archive.create(folder / "archive", hasher=quick_hasher)
    made.add(Scenes(scene), tile_size=TILE)
    return folder / "archive"


@pytest.fixture
def layer(archive: Path, tmp_path: Path) -> Path:
    tiles = Archive.open(archive, mode="r").tiles([3, 8, 12])
    shapes = [*shapely.centroid(tiles.geometry.to_numpy()), shapely.Point(3, 3)]
    frame = gpd.GeoDataFrame({"site": ["Ä 1", "b", "c", "far"]}, geometry=shapes, crs=4326)
    frame.to_file(tmp_path / "sites.gpkg", layer="sites")
    frame.head(0).to_file(tmp_path / "sites.gpkg", layer="none")
    lines = gpd.GeoSeries([shapely.LineString([(15, 48), (16, 49)])], crs=4326)
    lines.to_frame("geometry").to_file(tmp_path / "sites.gpkg", layer="lines")
    return tmp_path / "sites.gpkg"


def test_each_point_of_a_layer_has_matches(run, archive: Path, layer: Path) -> None:
    asked = ["query", archive, "--each", layer, "--layer", "sites"]
    code, out, err = run(*asked, "--id-column", "site", "-k", 2)
    assert code == 0
    assert err == (
        f"geohash-rs: warning: 1 of 4 queries of {layer} are left out: far: no tile of the archive "
        "lies there.\n"
    )
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:4] == ["query", "rank", "distance", "tile_id"]
    assert [line[:2] for line in lines[1:3]] == [["Ä", "1"]] * 2
    assert [line[:2] for line in lines[3:]] == [["b", "1"], ["b", "2"], ["c", "1"], ["c", "2"]]
    code, out, _ = run(*asked, "-k", 1)
    assert [line.split()[:3] for line in out.splitlines()[1:]] == [
        ["1", "1", "0"],
        ["2", "1", "0"],
        ["3", "1", "0"],
    ]


def test_each_is_written_to_a_file_and_the_union_is_one_query(
    run, archive: Path, layer: Path, tmp_path: Path
) -> None:
    asked = ["query", archive, "--each", layer, "--layer", "sites", "--id-column", "site"]
    code, out, err = run(*asked, "-k", 3, "-o", tmp_path / "a.csv")
    assert (code, out) == (0, "")
    assert err.endswith(f"9 matches of 3 queries written to {tmp_path / 'a.csv'}.\n")
    table = pd.read_csv(tmp_path / "a.csv")
    assert table.columns[0] == "query"
    assert table["query"].tolist() == ["Ä 1"] * 3 + ["b"] * 3 + ["c"] * 3
    code, _, err = run(*asked, "-k", 3, "--union", "-o", tmp_path / "b.csv")
    assert code == 0
    assert err.endswith(f"3 matches written to {tmp_path / 'b.csv'}.\n")
    assert sorted(pd.read_csv(tmp_path / "b.csv")["rank"]) == [1, 2, 3]


def test_each_patch_of_a_folder_has_matches(
    run, archive: Path, tmp_path: Path, write_scene: Callable[..., Path]
) -> None:
    for number in range(2):
        write_scene(tmp_path / "patches" / f"{number}.tif", mosaic(1, 1, number))
    (tmp_path / "patches" / "2.tif").write_bytes(b"no raster")
    asked = ["query", archive, "--each", tmp_path / "patches", "-k", 1, "--bands", "1,2,3"]
    code, out, err = run(*asked)
    assert code == 0
    assert "1 of 3 queries of" in err
    assert "2.tif: " in err
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["0.tif", "1.tif"]


def test_a_file_of_several_layers_is_refused_with_the_option_that_helps(
    run, archive: Path, layer: Path
) -> None:
    code, _, err = run("query", archive, "--each", layer)
    assert code == 2
    assert "has 3 layers (sites, none, lines); choose one with --layer" in err


@pytest.mark.parametrize("name", ["none", "lines"])
def test_a_layer_in_which_nothing_can_be_used_ends_with_1(
    run, archive: Path, layer: Path, name: str
) -> None:
    code, out, err = run("query", archive, "--each", layer, "--layer", name)
    assert (code, out) == (1, "")
    assert "is empty" in err if name == "none" else "1: it is a LineString" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--each", "a.gpkg", "--tile", "3"], "leave out --tile"),
        (["--each", "a.gpkg", "patch.tif"], "leave out PATCH"),
        (["--each", "a.gpkg", "--negative", "3"], "leave out --negative"),
        (["--each", "a.gpkg", "--concept", "a.concept"], "leave out --concept"),
        (["--tile", "3", "--id-column", "site"], "--id-column needs --each"),
        (["--tile", "3", "--union"], "--union needs --each"),
        (["--each", "a.gpkg", "-o", "a.gpkg"], "is an input of this search"),
        (["--each", "a.gpkg", "--region", "b.gpkg", "--layer", "x"], "of --each or of --region"),
        (["--tile", "3", "--layer", "x"], "--layer needs --region"),
        (["--each", "a.gpkg"], "a.gpkg cannot be read as a layer of queries"),
    ],
)
def test_what_does_not_go_with_each_is_wrong_use(
    run, archive: Path, words: list[str], said: str
) -> None:
    code, out, err = run("query", archive, *words)
    assert (code, out) == (2, "")
    assert said in err


def test_points_are_searched_without_a_network(archive: Path, layer: Path) -> None:
    code = (
        "import sys\nfrom geohash_rs.cli import main\ntry:\n    main(sys.argv[1:])\n"
        "finally:\n    print(sorted({'torch', 'torchgeo', 'timm'} & sys.modules.keys()))"
    )
    words = ["query", str(archive), "--each", str(layer), "--layer", "sites", "-k", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=120
    )
    assert done.stdout.endswith("\n[]\n"), done.stderr
    assert len(done.stdout.splitlines()) == 5
