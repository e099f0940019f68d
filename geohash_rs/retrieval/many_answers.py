"""Answer what a user passes as many queries, and say which were left out."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from geohash_rs.errors import GeoHashRSWarning, QueryError, UnansweredError
from geohash_rs.retrieval.each import retrieve_each, retrieve_union
from geohash_rs.retrieval.many import Patches, Shapes, explain_left_out
from geohash_rs.retrieval.many_places import place_rows, queries_of_places
from geohash_rs.retrieval.matches import Matches
from geohash_rs.retrieval.precision import check_one_example, fitting, insert_precision
from geohash_rs.retrieval.query import Query, check_hasher, join_queries
from geohash_rs.retrieval.unmet import explain_unmet
from geohash_rs.trust.calibration import Calibration

if TYPE_CHECKING:
    from geohash_rs.retrieval.patch_reading import Hashing

__all__ = ["answer_many"]


def answer_many(
    archive: "Hashing",
    many: Shapes | Patches,
    *,
    union: bool,
    calibration: Calibration | None,
    precision: float | None,
    reading: dict[str, Any],
    options: dict[str, Any],
) -> Matches:
    """Answer many queries.

    Args:
        archive: The archive.
        many: The queries.
        union: Whether all are examples of one query.
        calibration: The archive's calibration, if any.
        precision: The precision that was asked for, if any.
        reading: Settings of `hash_patches`.
        options: Arguments of `retrieve`.

    Returns:
        The matches; a warning says which queries are left out.

    Raises:
        UnansweredError: If all are left out.
        QueryError: If it is said how to read patches, but the queries are not patches.
        GeoHashRSError: As `ImageQueries.query_each` raises.
    """
    where, with_vectors = options["where"], options["ranking"] == "vectors"
    hashed: list[Query | None] = []
    reasons: dict[int, str] = {}
    _check_reading(many, reading)
    if isinstance(many, Patches):  # before the state is held: hashing takes long
        hashed, reasons = _hashed(archive, many, with_vectors=with_vectors, **reading)
    with archive.one_state() as still:
        check_hasher(still, filter(None, hashed))
        if isinstance(many, Shapes):
            places = place_rows(many)
            hashed = queries_of_places(still, places, where=where, with_vectors=with_vectors)
            reasons = places.reasons
        if precision is not None and not union:
            _leave_out_several(hashed, reasons)
        rows = np.array([row for row, query in enumerate(hashed) if query is not None], np.int64)
        if reasons:
            msg = explain_left_out(many, reasons, num_left=len(rows))
            if not len(rows):
                raise UnansweredError(msg)
            warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
        queries = [query for query in hashed if query is not None]
        calibration = fitting(calibration, still, needed=precision is not None)
        names = many.ids.iloc[rows]
        several = np.array([len(query.codes) > 1 for query in queries])
        if union:
            if precision is not None:
                check_one_example(join_queries(queries))
            matches = retrieve_union(still, queries, names, **options)
            several = np.full(len(matches), several.any() or len(queries) > 1)
        else:
            matches, owners = retrieve_each(still, queries, names, **options)
            several = several[owners]
        insert_precision(matches, calibration, where, several=several)
        unmet = explain_unmet(still, where, scenes=matches["scene"].unique(), found=len(matches))
        if unmet:
            warnings.warn(unmet, GeoHashRSWarning, stacklevel=3)
        return matches


def _check_reading(many: Shapes | Patches, reading: dict[str, Any]) -> None:
    """Check that only patches are said to be read in some way.

    Raises:
        QueryError: If the queries are the rows of a layer.
    """
    for option in ("bands", "value_range", "extractor"):
        if isinstance(many, Shapes) and reading[option] is not None:
            msg = f"{option} is for patches, but {many.name} is a layer of places; leave it out."
            raise QueryError(msg)


def _hashed(
    archive: "Hashing",
    many: Patches,
    **settings: Any,  # noqa: ANN401 - those of `hash_patches`
) -> tuple[list[Query | None], dict[int, str]]:
    """Hash patches; only then are the network and what reads rasters imported."""
    from geohash_rs.retrieval.patch_query import hash_patches  # noqa: PLC0415 - slow to import

    found = hash_patches(archive, many.paths, **settings)
    queries = [one if isinstance(one, Query) else None for one in found]
    reasons = {
        row: str(one).rstrip(".") for row, one in enumerate(found) if not isinstance(one, Query)
    }
    return queries, reasons


def _leave_out_several(queries: list[Query | None], reasons: dict[int, str]) -> None:
    """Leave out queries of several tiles, for which no precision can be promised."""
    for row, query in enumerate(queries):
        if query is not None and len(query.codes) > 1:
            queries[row] = None
            reasons[row] = "a precision is promised for one tile, but it has several"
