"""Find the tiles of an archive that are nearest to a query, and rank them."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import geopandas as gpd
import numpy as np
import numpy.typing as npt
from pyproj import CRS
from pyproj.exceptions import CRSError

from geohash_rs.errors import QueryError
from geohash_rs.retrieval.examples import examples_frame
from geohash_rs.retrieval.matches import Matches, rank_matches
from geohash_rs.retrieval.query import Query
from geohash_rs.retrieval.ranking import (
    asymmetric_similarity,
    cosine_similarity,
    distinct_rows,
    feedback_scores,
)
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable

__all__ = [
    "DEEPER",
    "Found",
    "Ranking",
    "best",
    "depth_of",
    "known_crs",
    "merged",
    "nearest_to",
    "reordered",
    "retrieve",
    "similarity_of",
]

Ranking = Literal["hamming", "asymmetric", "vectors"]

# Number of tiles nearest by Hamming distance to reorder: at least, and per match.
CANDIDATES, CANDIDATES_PER_MATCH = 1000, 10
AT_ONCE = 1 << 22  # pairs of query code and match in memory
NONE = np.empty(0, np.int64)
DEEPER = 4  # factor by which a search is widened when too many of its tiles overlap


@dataclass(frozen=True, kw_only=True)
class Found:
    """Tiles in the order of a ranking.

    Attributes:
        ids: Tile ids, int64, shape (tiles,).
        distances: Hamming distances to the nearest code of the query, int32, shape (tiles,).
        similarity: What they are ranked by; higher is more similar, shape (tiles,).
    """

    ids: npt.NDArray[np.int64]
    distances: npt.NDArray[np.int32]
    similarity: npt.NDArray[np.float64]

    def take(self, rows: npt.NDArray[np.int64]) -> "Found":
        """Choose some of them, in the order given."""
        return Found(
            ids=self.ids[rows], distances=self.distances[rows], similarity=self.similarity[rows]
        )


def retrieve(
    archive: Searchable,
    query: Query,
    *,
    limits: Limits,
    where: Where,
    exclude_overlap: bool = False,
    ranking: Ranking = "hamming",
    distinct: bool = False,
    crs: object = None,
) -> Matches:
    """Find the tiles nearest to a query.

    Args:
        archive: The archive; if others may write to it, a fixed state of it.
        query: What to find. A tile is compared with the nearest of its codes.
        limits: Number of matches, and largest distance.
        where: Limits on place, time, scenes, labels and tile sizes.
        exclude_overlap: Leave out tiles that overlap the query.
        ranking: As in `ImageQueries.query`.
        distinct: Leave out tiles that overlap a better match.
        crs: CRS of the result.

    Returns:
        Matches by ascending distance, ties by lowest tile id; if reordered, by descending
        similarity, then distance and tile id.

    Raises:
        QueryError: If the ranking is not possible, the CRS is unknown, or ``exclude_overlap`` is
            set for a query without a place.
    """
    target = known_crs(crs)
    found, tiles = best(
        archive,
        query,
        limits=limits,
        where=where,
        exclude_overlap=exclude_overlap,
        ranking=ranking,
        distinct=distinct,
    )
    matches = _frame(tiles, found, crs=target)
    matches.examples = examples_frame(query.examples, query.wrong)
    matches.archive_folder = archive.path if isinstance(archive.path, Path) else None
    return matches


def best(
    archive: Searchable,
    query: Query,
    *,
    limits: Limits,
    where: Where,
    exclude_overlap: bool,
    ranking: Ranking,
    distinct: bool,
) -> tuple[Found, gpd.GeoDataFrame]:
    """Find the tiles nearest to a query, and read them.

    Args:
        archive: As in `retrieve`.
        query: As in `retrieve`.
        limits: As in `retrieve`.
        where: As in `retrieve`.
        exclude_overlap: As in `retrieve`.
        ranking: As in `retrieve`.
        distinct: As in `retrieve`.

    Returns:
        The tiles in the order of the ranking, and their rows.

    Raises:
        QueryError: If the ranking is not possible, or ``exclude_overlap`` is set for a query
            without a place.
    """
    k, compare = limits.k, similarity_of(archive, query, ranking)
    where = _without(where, query, overlapping=exclude_overlap)
    depth = depth_of(k, reordered=compare is not None, distinct=distinct)
    while True:
        found = nearest_to(archive, query, limits=dataclasses.replace(limits, k=depth), where=where)
        ranked = found if compare is None else reordered(found, compare(found.ids))
        tiles = archive.tiles(ranked.ids if distinct else ranked.ids[:k])
        rows = _distinct(tiles, most=k) if distinct else np.arange(len(tiles))
        if not distinct or len(rows) == k or depth is None or len(found.ids) < depth:
            return ranked.take(rows), tiles.iloc[rows]
        depth *= DEEPER


def _without(where: Where, query: Query, *, overlapping: bool) -> Where:
    """Exclude the query's negative tiles and, if asked, the tiles that overlap it.

    Raises:
        QueryError: If the query has no place on the Earth.
    """
    if query.left_out:
        where = dataclasses.replace(where, exclude_ids=np.unique(query.left_out))
    if not overlapping:
        return where
    if query.footprint is None:
        msg = "the query has no place on the Earth, so no tile overlaps it; drop exclude_overlap."
        raise QueryError(msg)
    return dataclasses.replace(where, exclude_region=parse_region(query.footprint))


def depth_of(k: int | None, *, reordered: bool, distinct: bool) -> int | None:
    """Choose how many tiles to search for, to end up with some number of matches.

    Args:
        k: The number of matches; None means all.
        reordered: Whether they are ordered by more than their distance.
        distinct: Whether those that overlap a better one are left out.

    Returns:
        How many of the nearest to search for.
    """
    if k is None:
        return None
    if reordered:
        return max(CANDIDATES, CANDIDATES_PER_MATCH * k)
    return DEEPER * k if distinct else k


def nearest_to(archive: Searchable, query: Query, *, limits: Limits, where: Where) -> Found:
    """Search for all codes of a query, a few at a time so that memory stays bounded.

    Args:
        archive: As in `retrieve`.
        query: As in `retrieve`.
        limits: As in `retrieve`.
        where: As in `retrieve`.

    Returns:
        The tiles nearest first, each once, ties by lowest id.
    """
    num_bits = 8 * query.codes.shape[1]
    width = min(len(archive), limits.k or len(archive))
    step = max(1, AT_ONCE // max(width, 1))
    nearest = Found(ids=NONE, distances=NONE.astype(np.int32), similarity=NONE.astype(np.float64))
    for start in range(0, len(query.codes), step):
        found = archive.find(query.codes[start : start + step], limits=limits, where=where)
        real = found.ids >= 0
        nearest = merged(
            np.concatenate([nearest.ids, found.ids[real]]),
            np.concatenate([nearest.distances, found.distances[real]]),
            k=limits.k,
            num_bits=num_bits,
        )
    return nearest


def merged(
    ids: npt.NDArray[np.int64], distances: npt.NDArray[np.int32], *, k: int | None, num_bits: int
) -> Found:
    """Order tiles by distance, each once, at its smallest distance.

    Args:
        ids: Tile ids, perhaps several times, shape (n,).
        distances: Their distances to codes of a query, shape (n,).
        k: How many to keep; None keeps all.
        num_bits: Bits per code.

    Returns:
        The tiles nearest first, ties by lowest id.
    """
    order = np.lexsort((ids, distances))
    _, first = np.unique(ids[order], return_index=True)
    kept = order[np.sort(first)][:k]
    return Found(
        ids=ids[kept], distances=distances[kept], similarity=1 - distances[kept] / num_bits
    )


def reordered(found: Found, similarity: npt.NDArray[np.float64]) -> Found:
    """Reorder tiles by similarity.

    Args:
        found: The tiles.
        similarity: Their similarities, shape (tiles,).

    Returns:
        The tiles by descending similarity, then distance and id.
    """
    order = np.lexsort((found.ids, found.distances, -similarity))
    return dataclasses.replace(found, similarity=similarity).take(order)


def _distinct(tiles: gpd.GeoDataFrame, *, most: int | None) -> npt.NDArray[np.int64]:
    """Choose the rows that do not overlap a better one."""
    return distinct_rows(tiles.geometry.to_numpy(), most=most)


def _frame(tiles: gpd.GeoDataFrame, found: Found, *, crs: CRS | None) -> Matches:
    """Make a table of matches."""
    matches = rank_matches(tiles, found.distances, similarity=found.similarity)
    return matches if crs is None else matches.to_crs(crs)


def similarity_of(
    archive: Searchable, query: Query, ranking: str
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]] | None:
    """Return the function that computes similarities to reorder by, or None to keep the order.

    Args:
        archive: The archive.
        query: What to find.
        ranking: As in `ImageQueries.query`.

    Returns:
        A function of tile ids, or None.

    Raises:
        QueryError: If the ranking is unknown, or the query lacks what it needs.
    """
    if ranking not in get_args(Ranking):
        msg = f"ranking is {ranking!r}; use 'hamming', 'asymmetric' or 'vectors'."
        raise QueryError(msg)
    negatives, activations, vectors = query.negatives, query.activations, query.vectors
    if ranking == "hamming":
        if negatives is None:
            return None
        return lambda ids: feedback_scores(archive.codes(ids), query.codes, negatives)
    if negatives is not None:
        msg = (
            f"ranking is {ranking!r}, but negative examples have their own ranking; leave one of "
            "the two out."
        )
        raise QueryError(msg)
    if ranking == "vectors":
        if vectors is None:
            msg = "ranking is 'vectors', but the query has none; make it with their features."
            raise QueryError(msg)
        return lambda ids: cosine_similarity(archive.vectors(ids), vectors)
    if activations is None:
        msg = (
            "ranking is 'asymmetric', but the archive stores only bits of its tiles, not "
            "activations; search with patches or vectors only, such as the scene and window of "
            "the tile."
        )
        raise QueryError(msg)
    return lambda ids: asymmetric_similarity(archive.codes(ids), activations)


def known_crs(crs: object) -> CRS | None:
    """Return the CRS of a result; None means that of the archive.

    Raises:
        QueryError: If it is not known.
    """
    if crs is None:
        return None
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        msg = f"crs {crs!r} is not known; use a form such as 'EPSG:32633'."
        raise QueryError(msg) from error
