"""Several tile sizes on the command line."""

import json

import pytest

from tests.ground import mosaic, write

pytestmark = pytest.mark.filterwarnings("ignore:the hasher does not fit")


@pytest.fixture
def scenes(tmp_path):
    """Write a scene of 320 x 256 px and one of 128 x 128 px."""
    write(tmp_path / "s" / "a.tif", mosaic(5, 4, 1))
    write(tmp_path / "s" / "b.tif", mosaic(2, 2, 2))
    return tmp_path / "s"


def index(run, scenes, *words):
    archive = scenes.parent / "archive"
    return run("index", scenes, "--archive", archive, "--hasher", "lsh-16", *words)


def test_scenes_are_indexed_searched_and_exported_by_size(run, scenes, tmp_path):
    code, out, err = index(run, scenes, "--tile-size", "64,128,256")
    assert code == 0, err
    assert "33 tiles of 2 scenes added" in out  # 20 + 6 + 2 and 4 + 1
    assert (
        "1 of 2 scenes have tiles of other sizes, but none of 256 px (such as b.tif: --tile-size"
        in out
    )
    archive = tmp_path / "archive"
    code, out, _ = run("info", archive)
    assert "24 of 64 px, 7 of 128 px, 2 of 256 px" in out
    assert json.loads(run("info", archive, "--json")[1])["tile_sizes"] == {
        "64": 24,
        "128": 7,
        "256": 2,
    }
    code, out, _ = run("query", archive, "--tile", "0", "-k", "33")
    head, *rows = out.splitlines()
    assert head.split()[4:] == ["col", "row", "tile_size", "datetime"]
    assert sorted(row.split()[6] for row in rows) == ["128"] * 7 + ["256"] * 2 + ["64"] * 24
    found = tmp_path / "found.geojson"
    words = ("query", archive, "--tile", "0", "-k", "33", "-o", found)
    for sizes, count in (("128", 7), ("64, 256", 26)):
        code, _, err = run(*words, "--tile-size", sizes)
        assert (code, err) == (0, f"{count} matches written to {found}.\n")
        widths = {one["properties"]["width"] for one in json.loads(found.read_text())["features"]}
        assert widths == set(map(int, sizes.split(",")))
    code, out, _ = run("query", archive, "--tile", "0", "--tile-size", "128")
    assert "tile_size" not in out  # all the same


def test_a_second_run_skips_the_scenes_and_a_dry_run_counts_all_sizes(run, scenes):
    code, out, _ = index(run, scenes, "--tile-size", "64,128", "--dry-run")
    assert (code, "31 tiles of 2 scenes would be read" in out) == (0, True)
    index(run, scenes, "--tile-size", "64,128")
    for words in (("--tile-size", "128,64"), ()):
        assert "2 scenes unchanged" in index(run, scenes, *words)[1]
        assert "0 tiles of 0 scenes would be read" in index(run, scenes, *words, "--dry-run")[1]
    assert "2 of them replaced" in index(run, scenes, "--tile-size", "64", "--replace")[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tile-size", "64,0"), "'64,0' is not a whole number of pixels from 1 on, or several"),
        (("--tile-size", "-64"), "'-64' is not a whole number of pixels"),
        (("--tile-size", "64,"), "'64,' is not a whole number of pixels"),
        (("--tile-size", "64.5"), "'64.5' is not a whole number of pixels"),
        (("--stride", "0"), "'0' is not a whole number of pixels"),
    ],
)
def test_words_that_are_not_sizes_are_wrong_use(run, scenes, words, message):
    code, _, err = index(run, scenes, *words)
    assert (code, message in err) == (2, True), err


def test_sizes_named_twice_and_too_many_strides_are_refused(run, scenes):
    code, _, err = index(run, scenes, "--tile-size", "64,64")
    assert (code, "names 64 px twice" in err) == (1, True)
    code, _, err = index(run, scenes, "--tile-size", "64,128", "--stride", "1,2,3")
    assert (code, "stride names 3 steps for 2 tile sizes" in err) == (1, True)
    assert not (scenes.parent / "archive").exists()
