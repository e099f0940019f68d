"""Judgements come back from QGIS and spreadsheets."""

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest

from geohash_rs import Archive
from geohash_rs.concepts.judgements import read_judgements, to_judge
from geohash_rs.errors import ConceptError
from geohash_rs.export.formats import write


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "parquet", "csv"])
def test_what_was_filled_in_is_read_back(archive: Archive, tmp_path: Path, ending: str) -> None:
    table = to_judge(archive.tiles([3, 5, 8]))
    assert list(table.columns)[-2:] == ["right", "geometry"]
    table["right"] = pd.array([True, None, False], dtype="boolean")
    path = tmp_path / f"tiles.{ending}"
    write(table, path)
    assert read_judgements(path) == ([3], [8])


def test_words_of_a_spreadsheet_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "tiles.csv"
    path.write_text("tile_id,right\n1,yes\n2,No\n3,\n4,1\n5,wrong\n")
    assert read_judgements(path) == ([1, 4], [2, 5])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tile_id,right\n1,\n", "no tile of .* is judged"),
        ("tile_id,good\n1,1\n", "has no column right"),
        ("tile_id,right\n1,maybe\n", "judgement 'maybe'"),
        ("tile_id,right\nx,true\n", "not a whole number"),
        ("", "tiles.csv"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "tiles.csv"
    path.write_text(text)
    with pytest.raises(ConceptError, match=words):
        read_judgements(path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    for name in ("none.csv", "none.gpkg"):
        with pytest.raises(ConceptError, match="none"):
            read_judgements(tmp_path / name)


def test_a_page_cannot_be_read_and_the_formats_that_can_are_named(
    archive: Archive, tmp_path: Path
) -> None:
    path = tmp_path / "tiles.html"
    write(to_judge(archive.tiles([3])), path)
    with pytest.raises(ConceptError, match=r"are read from \.gpkg, \.geojson, \.parquet, \.csv"):
        read_judgements(path)


def test_the_column_is_a_checkbox_in_a_geopackage(archive: Archive, tmp_path: Path) -> None:
    import pyogrio

    path = tmp_path / "tiles.gpkg"
    write(to_judge(archive.tiles([3])), path)
    info = pyogrio.read_info(path)
    kinds = dict(zip(info["fields"], info["ogr_subtypes"], strict=True))
    assert kinds["right"] == "OFSTBoolean"
    assert gpd.read_file(path)["right"].isna().all()
