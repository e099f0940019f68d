"""Answer many queries at once: all are searched together, and each has its own ranking."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from geohash_rs.codes import hamming_distances
from geohash_rs.errors import QueryError
from geohash_rs.retrieval.examples import examples_frame
from geohash_rs.retrieval.matches import Matches, rank_matches
from geohash_rs.retrieval.query import Query, join_queries
from geohash_rs.retrieval.ranking import distinct_rows
from geohash_rs.retrieval.search import (
    AT_ONCE,
    DEEPER,
    Found,
    Ranking,
    best,
    depth_of,
    known_crs,
    merged,
    nearest_to,
    reordered,
    retrieve,
    similarity_of,
)
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.placement import overlapping
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable

__all__ = ["QUERY", "retrieve_each", "retrieve_union"]

QUERY = "query"  # the column
MOST_CODES = 1024  # searched together
MOST_MATCHES = 5_000_000  # in one table

Ids = npt.NDArray[np.int64]


def retrieve_each(
    archive: Searchable,
    queries: Sequence[Query],
    names: "pd.Series[Any]",
    *,
    limits: Limits,
    where: Where,
    exclude_overlap: bool = False,
    ranking: Ranking = "hamming",
    distinct: bool = False,
    crs: object = None,
) -> tuple[Matches, Ids]:
    """Find the tiles nearest to each of many queries.

    Args:
        archive: The archive; if others may write to it, a fixed state of it.
        queries: What to find, at least one.
        names: What each is called, shape (queries,).
        limits: As in `retrieve`, for each query.
        where: As in `retrieve`.
        exclude_overlap: Leave out tiles that overlap the query that they match.
        ranking: As in `retrieve`.
        distinct: Leave out tiles that overlap a better match of the same query.
        crs: CRS of the result.

    Returns:
        The matches of `retrieve` for each query, one query after another, with its name in the
        first column, ``query``; and the number of the query of each match.

    Raises:
        QueryError: As `retrieve`, and if there are more than `MOST_MATCHES` matches.
    """
    target = known_crs(crs)
    found: list[Found] = []
    total = 0
    for batch in _batches(archive, queries, limits.k):
        found += _found(
            archive,
            batch,
            limits=limits,
            where=where,
            exclude_overlap=exclude_overlap,
            ranking=ranking,
            distinct=distinct,
        )
        total += sum(len(one.ids) for one in found[-len(batch) :])
        if total > MOST_MATCHES:
            msg = (
                f"{len(found):,} of {len(queries):,} queries have {total:,} matches, but a table "
                f"takes at most {MOST_MATCHES:,}; use a smaller k or max_distance, or pass fewer "
                "queries."
            )
            raise QueryError(msg)
    counts = np.array([len(one.ids) for one in found])
    owners = np.repeat(np.arange(len(found)), counts)
    ids, rows = np.unique(np.concatenate([one.ids for one in found]), return_inverse=True)
    tiles = archive.tiles(ids).iloc[rows]  # each is read once
    matches = rank_matches(
        tiles,
        np.concatenate([one.distances for one in found]),
        similarity=np.concatenate([one.similarity for one in found]),
    )
    matches["rank"] = np.concatenate([np.arange(1, count + 1) for count in counts])
    matches = matches if target is None else matches.to_crs(target)
    return _named(matches, names, owners, queries), owners


def retrieve_union(
    archive: Searchable,
    queries: Sequence[Query],
    names: "pd.Series[Any]",
    **options: Any,  # noqa: ANN401 - those of `retrieve`
) -> Matches:
    """Find the tiles nearest to any of many queries.

    Args:
        archive: As in `retrieve_each`.
        queries: As in `retrieve_each`.
        names: As in `retrieve_each`.
        **options: As in `retrieve`.

    Returns:
        The matches of one query made of all, with the name of the query that is nearest, of several
        the first, in the first column.
    """
    joined = join_queries(queries)
    matches = retrieve(archive, joined, **options)
    owner = np.repeat(np.arange(len(queries)), [len(query.codes) for query in queries])
    codes = archive.codes(matches["tile_id"].to_numpy())
    step = max(1, AT_ONCE // len(owner))
    nearest = [
        hamming_distances(codes[start : start + step], joined.codes).argmin(axis=1)
        for start in range(0, len(codes), step)
    ]
    owners = owner[np.concatenate([np.empty(0, np.int64), *nearest])]
    return _named(matches, names, owners, queries)


def _named(
    matches: Matches, names: "pd.Series[Any]", owners: Ids, queries: Sequence[Query]
) -> Matches:
    """Insert the names of queries, into the matches and into what they were made of."""
    matches.insert(0, QUERY, names.iloc[owners].array)
    matches.examples = examples_frame([one for query in queries for one in query.examples])
    counts = [len(query.examples) for query in queries]
    matches.examples.insert(0, QUERY, names.iloc[np.repeat(np.arange(len(queries)), counts)].array)
    return matches


def _batches(archive: Searchable, queries: Sequence[Query], k: int | None) -> Iterator[list[Query]]:
    """Divide queries into those searched together, so that memory stays bounded."""
    most = max(1, len(archive))
    width = most if k is None else min(most, DEEPER * DEEPER * k)
    step = min(MOST_CODES, max(1, AT_ONCE // width))
    batch: list[Query] = []
    count = 0
    for query in queries:
        if batch and count + len(query.codes) > step:
            yield batch
            batch, count = [], 0
        batch.append(query)
        count += len(query.codes)
    if batch:
        yield batch


def _found(
    archive: Searchable,
    queries: Sequence[Query],
    *,
    limits: Limits,
    where: Where,
    exclude_overlap: bool,
    ranking: Ranking,
    distinct: bool,
) -> list[Found]:
    """Find the tiles nearest to each query; those that need a wider search are searched alone."""
    k = limits.k
    compare = [similarity_of(archive, query, ranking) for query in queries]
    depth = depth_of(k, reordered=compare[0] is not None, distinct=distinct)
    wide = DEEPER * depth if exclude_overlap and depth is not None else depth
    nearest = _nearest(archive, queries, dataclasses.replace(limits, k=wide), where)
    footprints = {}
    if exclude_overlap or distinct:
        ids = np.unique(np.concatenate([one.ids for one in nearest]))
        footprints = dict(zip(ids.tolist(), archive.tiles(ids).geometry.to_numpy(), strict=True))
    found = []
    for query, similarity, all_near in zip(queries, compare, nearest, strict=True):
        cut_short = wide is not None and len(all_near.ids) >= wide
        near = _apart(all_near, query, footprints) if exclude_overlap else all_near
        enough = depth is None or len(near.ids) >= depth or not cut_short
        near = near.take(np.arange(len(near.ids))[:depth])
        near = near if similarity is None else reordered(near, similarity(near.ids))
        rows = np.arange(len(near.ids))[:k]
        if distinct:
            shapes = np.array([footprints[one] for one in near.ids.tolist()], dtype=object)
            rows = distinct_rows(shapes, most=k)
            enough = enough and (len(rows) == k or not cut_short)
        if enough:
            found.append(near.take(rows))
            continue
        deeper, _ = best(
            archive,
            query,
            limits=limits,
            where=where,
            exclude_overlap=exclude_overlap,
            ranking=ranking,
            distinct=distinct,
        )
        found.append(deeper)
    return found


def _nearest(
    archive: Searchable, queries: Sequence[Query], limits: Limits, where: Where
) -> list[Found]:
    """Search for all codes of all queries, each distinct code once; those of one, in parts."""
    if len(queries) == 1:  # it may have more codes than are searched together
        return [nearest_to(archive, queries[0], limits=limits, where=where)]
    codes = np.concatenate([query.codes for query in queries])
    unique, places = np.unique(codes, axis=0, return_inverse=True)
    result = archive.find(unique, limits=limits, where=where)
    places = places.reshape(-1)
    found = []
    start = 0
    for query in queries:
        mine = places[start : start + len(query.codes)]
        start += len(query.codes)
        ids, distances = result.ids[mine], result.distances[mine]
        real = ids >= 0
        num_bits = 8 * codes.shape[1]
        found.append(merged(ids[real], distances[real], k=limits.k, num_bits=num_bits))
    return found


def _apart(near: Found, query: Query, footprints: dict[int, Any]) -> Found:
    """Leave out the tiles that overlap a query.

    Raises:
        QueryError: If the query has no place on the Earth.
    """
    if query.footprint is None:
        msg = "a query has no place on the Earth, so no tile overlaps it; drop exclude_overlap."
        raise QueryError(msg)
    shapes = np.array([footprints[one] for one in near.ids.tolist()], dtype=object)
    close = np.flatnonzero(shapely.intersects(query.footprint, shapes))
    shared = overlapping(parse_region(query.footprint), shapes[close])
    return near.take(np.setdiff1d(np.arange(len(shapes)), close[shared]))
