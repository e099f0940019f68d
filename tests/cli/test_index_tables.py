"""`geohash-rs index` for tables of vectors: options, dry runs, reports and exit codes."""

import json

import numpy as np
import pytest

from geohash_rs import Archive
from tests.embeddings import published
from tests.ground import mosaic, write


@pytest.fixture
def clay(tmp_path):
    return published.clay(tmp_path / "clay.parquet", published.chips(60, 16))


def test_a_table_is_indexed_and_then_unchanged(run, clay, tmp_path):
    words = [
        "index",
        clay,
        "--archive",
        tmp_path / "a",
        "--hasher",
        "general-16",
        "--keep-vectors",
        "int8",
    ]
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "60 tiles of 1 table added" in out
    assert "with int8 vectors of 20 bytes each" in out
    assert "no model is named (--model NAME does)" in out
    code, out, _ = run(*words)
    assert code == 0
    assert "1 table unchanged" in out


def test_columns_are_chosen_by_options(run, clay, tmp_path):
    options = [
        "--vector-column",
        "embeddings",
        "--time-column",
        "date",
        "--source-column",
        "source_url",
    ]
    options += ["--geometry-column", "geometry", "--crs", "EPSG:4326", "--model", "clay-v0.1"]
    code, out, _ = run("index", clay, "--archive", tmp_path / "a", "--hasher", "lsh-16", *options)
    assert code == 0
    assert "their model is clay-v0.1" in out
    assert Archive.open(tmp_path / "a").hasher().embedding.model == "clay-v0.1"
    assert run("index", clay, "--archive", tmp_path / "a")[1].count("unchanged") == 1


def test_a_dry_run_lists_tables_and_writes_nothing(run, clay, tmp_path):
    centres = published.earth_embeddings(tmp_path / "centres.parquet", published.chips(70, 16))
    code, out, _ = run("index", clay, centres, "--dry-run", "--keep-vectors", "int8")
    assert code == 1
    assert "60 rows of 1 table would be read" in out
    assert "pass --footprint-m METRES" in out
    assert "20 bytes a tile" in out
    code, out, _ = run("index", clay, centres, "--dry-run", "--footprint-m", 3840, "--json")
    found = json.loads(out)
    assert code == 0
    assert [table["rows"] for table in found["tables"]] == [60, 70]
    assert [table["dimensions"] for table in found["tables"]] == [16, 16]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["centres.parquet", "clay.parquet"]


def test_rows_left_out_are_counted_and_a_bad_file_is_an_error(run, tmp_path):
    made = published.chips(60, 16)
    made.vectors[7] = np.nan
    folder = tmp_path / "tables"
    folder.mkdir()
    published.clay(folder / "a.parquet", made)
    (folder / "b.parquet").write_bytes(b"PAR1")
    code, out, err = run("index", folder, "--archive", tmp_path / "a", "--hasher", "lsh-16")
    assert code == 1
    assert "1 rows left out" in out
    assert "(first: row 7 (row group 0))" in out
    assert "b.parquet cannot be read as Parquet" in err


@pytest.mark.parametrize("option", [("--tile-size", 64), ("--bands", "1"), ("--max-nodata", 0.1)])
def test_options_of_scenes_are_refused_with_tables(option, run, clay, tmp_path):
    code, _, err = run("index", clay, "--archive", tmp_path / "a", *option)
    assert code == 2
    assert f"{option[0]} is for scenes" in err
    assert not (tmp_path / "a").exists()


def test_options_of_tables_are_refused_with_scenes_and_both_together(run, clay, tmp_path):
    scene = write(tmp_path / "s" / "0.tif", mosaic(2, 2, 1))
    code, _, err = run("index", scene, "--archive", tmp_path / "a", "--vector-column", "v")
    assert code == 2
    assert "--vector-column is for tables of vectors" in err
    code, _, err = run("index", scene, clay, "--archive", tmp_path / "a")
    assert code == 2
    assert "index them in two runs" in err


def test_a_folder_of_scenes_with_a_table_in_it_is_one_of_scenes(run, clay, tmp_path):
    write(tmp_path / "s" / "0.tif", mosaic(2, 2, 1))
    published.clay(tmp_path / "s" / "clay.parquet", published.chips(60, 16))
    code, out, err = run("index", tmp_path / "s", "--dry-run")
    assert code == 0
    assert "tiles of 1 scenes would be read" in out
    assert f"{tmp_path / 's'} holds scenes, so its Parquet files are not read" in err
    assert f"({tmp_path / 's' / 'clay.parquet'})" in err
    assert "in another run" in err
