"""Judgements that a person filled into a table of tiles, in QGIS or in a spreadsheet."""

from pathlib import Path

import pandas as pd

from geohash_rs.errors import ConceptError, RegionError, one_line
from geohash_rs.store.search.regions import read_shapes

__all__ = ["JUDGEMENT", "read_judgements", "to_judge"]

JUDGEMENT = "right"  # column to fill in
YES = frozenset(["true", "yes", "right", "1", "1.0"])
NO = frozenset(["false", "no", "wrong", "0", "0.0"])
READABLE = (".gpkg", ".geojson", ".parquet", ".csv")  # that are written, too


def to_judge(tiles: pd.DataFrame) -> pd.DataFrame:
    """Add an empty column for judgements to a table of tiles.

    Args:
        tiles: Tiles, such as `Concept.suggest` returns.

    Returns:
        The same with the column "right" in front of the geometry, which QGIS shows as a checkbox.
    """
    empty = pd.array([None] * len(tiles), dtype="boolean")
    named = tiles.assign(**{JUDGEMENT: empty})
    last = tiles.columns[-1]
    return named[[*(name for name in named.columns if name != last), last]]


def read_judgements(path: str | Path) -> tuple[list[int], list[int]]:
    """Read which tiles of a table are right and which are wrong.

    Args:
        path: A vector file or CSV with the columns tile_id and right; rows without a judgement are
            passed over.

    Returns:
        Ids of the tiles that are right, and of those that are wrong.

    Raises:
        ConceptError: If it cannot be read, a column is missing, a judgement is not yes or no, or
            nothing was judged.
    """
    table = _read(Path(path))
    if missing := [name for name in ("tile_id", JUDGEMENT) if name not in table.columns]:
        msg = (
            f"{path} has no column {missing[0]}; pass a table that 'geohash-rs judge' wrote, with "
            f"the column {JUDGEMENT} filled in."
        )
        raise ConceptError(msg)
    given = table[table[JUDGEMENT].notna()]
    words = given[JUDGEMENT].astype(str).str.strip().str.lower()
    given, words = given[words != ""], words[words != ""]
    if unclear := words[~words.isin(YES | NO)].tolist():
        msg = f"{path} has the judgement {unclear[0]!r}; use true or false."
        raise ConceptError(msg)
    if given.empty:
        msg = f"no tile of {path} is judged; fill in the column {JUDGEMENT} with true or false."
        raise ConceptError(msg)
    try:
        ids = [int(tile) for tile in given["tile_id"]]
    except (TypeError, ValueError) as error:
        msg = f"{path} has a tile_id that is not a whole number: {one_line(error)}."
        raise ConceptError(msg) from error
    right = [tile for tile, word in zip(ids, words, strict=True) if word in YES]
    wrong = [tile for tile, word in zip(ids, words, strict=True) if word in NO]
    return right, wrong


def _read(path: Path) -> pd.DataFrame:
    """Read the table.

    Raises:
        ConceptError: If it cannot be read.
    """
    try:
        if path.suffix.lower() == ".csv":
            return pd.read_csv(path)
        return pd.DataFrame(read_shapes(path, layer=None, what="judgements"))
    except (OSError, ValueError, RegionError) as error:
        msg = str(error) if isinstance(error, RegionError) else f"{path}: {one_line(error)}"
        if path.suffix.lower() not in READABLE:
            msg = f"{msg.rstrip('.')}; judgements are read from {', '.join(READABLE)}."
        raise ConceptError(msg) from error
