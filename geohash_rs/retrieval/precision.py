"""Promise the precision of a query's matches, with an archive's calibration."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import (
    CalibrationError,
    GeoHashRSWarning,
    HasherMismatchError,
    QueryError,
)
from geohash_rs.retrieval.matches import Matches
from geohash_rs.retrieval.query import Query
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable

if TYPE_CHECKING:
    from geohash_rs.trust.calibration import Calibration

__all__ = [
    "add_precision",
    "check_one_example",
    "fitting",
    "insert_precision",
    "nearest_allowed",
]


def nearest_allowed(
    calibration: "Calibration | None",
    precision: float,
    *,
    max_distance: int | None,
    in_order: bool,
    place: Path,
    other_kinds: bool,
) -> int:
    """Return the distance up to which a precision can be promised, or a smaller limit.

    Args:
        calibration: The archive's calibration.
        precision: Share of matches that must be right, above 0 and below 1.
        max_distance: A further limit.
        in_order: Whether matches are ranked by distance, without negative examples.
        place: The archive, for messages.
        other_kinds: Whether tiles are limited to some labels or sizes.

    Returns:
        The largest distance, inclusive.

    Raises:
        QueryError: If the ranking is another, or tiles are limited to some labels or sizes.
        CalibrationError: If there is no calibration, or the precision cannot be promised.
    """
    if not in_order:
        msg = (
            "a precision can only be promised for matches in the order of their distance; leave "
            "out negatives and ranking, or learn a concept, which takes both."
        )
        raise QueryError(msg)
    if calibration is None:
        msg = (
            f"{place} is not calibrated, so no precision can be promised; call calibrate with "
            "labels, or assign a Calibration that was loaded."
        )
        raise CalibrationError(msg)
    if other_kinds:
        msg = (
            "no precision can be promised for some labels or tile sizes: the calibration is of "
            "the mixture of all; leave out labels and tile_size."
        )
        raise QueryError(msg)
    limit = calibration.promise.limit(precision)
    return limit if max_distance is None else min(limit, max_distance)


def check_one_example(query: Query) -> None:
    """Check that a precision can be promised for a query.

    Args:
        query: The query.

    Raises:
        QueryError: If it has several codes: the nearest of several is less often right.
    """
    if len(query.codes) > 1:
        msg = (
            f"a precision is promised for one tile, but the examples are {len(query.codes)}; pass "
            "one tile, or learn a concept from all of them."
        )
        raise QueryError(msg)


def fitting(
    calibration: "Calibration | None", archive: Searchable, *, needed: bool
) -> "Calibration | None":
    """Return a calibration if it holds for the codes; one that is not needed is only warned of.

    Args:
        calibration: The calibration.
        archive: One state of the archive.
        needed: Whether a precision was asked for.

    Returns:
        The calibration, or None.

    Raises:
        HasherMismatchError: If it does not hold, and is needed.
    """
    try:
        if calibration is not None:
            calibration.check(archive)
    except HasherMismatchError as error:
        if needed:
            raise
        warnings.warn(f"{error} The column precision is left out.", GeoHashRSWarning, stacklevel=3)
        return None
    return calibration


def add_precision(
    matches: Matches,
    calibration: "Calibration | None",
    query: Query,
    where: Where,
    *,
    asked: float | None,
    max_distance: int | None,
) -> None:
    """Add the column precision, and say why there are no matches.

    Args:
        matches: The matches, which are changed.
        calibration: The calibration; None adds nothing.
        query: What was searched for.
        where: What the search was limited to.
        asked: The precision that was asked for, if any.
        max_distance: Largest distance that was searched.
    """
    if asked is not None and matches.empty:
        msg = (
            f"no tile lies within {max_distance} bits, up to which a precision of {asked:g} can be "
            "promised; ask for less, or pass another example."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
    insert_precision(matches, calibration, where, several=len(query.codes) > 1)


def insert_precision(
    matches: Matches,
    calibration: "Calibration | None",
    where: Where,
    *,
    several: bool | npt.NDArray[np.bool_],
) -> None:
    """Add the column precision.

    Args:
        matches: The matches, which are changed.
        calibration: The calibration; None adds nothing.
        where: What the search was limited to.
        several: Whether a match has several examples, of which nothing is promised; of all, or of
            each, shape (matches,).
    """
    if calibration is None:
        return
    nothing = several | (where.labels is not None or where.tile_sizes is not None)
    promised = calibration.promise.precision_of(matches["distance"])
    matches.insert(len(matches.columns) - 1, "precision", np.where(nothing, np.nan, promised))
