"""Ask an archive for the tiles that are nearest to a query, in the order of a ranking."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import QueryError
from geohash_rs.retrieval.matches import Matches, rank_matches
from geohash_rs.retrieval.query import Query, bits_of
from geohash_rs.retrieval.ranking import asymmetric_similarity, distinct_rows, feedback_scores
from geohash_rs.retrieval.searchable import Searchable
from geohash_rs.store.search.filters import RegionLike, TimeLike

__all__ = [
    "Ranking",
    "retrieve",
]

Ranking = Literal["hamming", "asymmetric"]

# Tiles nearest by Hamming distance that another ranking orders anew, at least; and per match.
CANDIDATES, CANDIDATES_PER_MATCH = 1000, 10
DEEPER = 4  # times as many tiles are looked at when too few of them lie apart


def retrieve(
    archive: Searchable,
    query: Query,
    *,
    k: int | None = 20,
    max_distance: int | None = None,
    region: RegionLike | None = None,
    time: TimeLike | None = None,
    within: bool = False,
    scenes: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    exclude_overlap: bool = False,
    ranking: Ranking = "hamming",
    distinct: bool = False,
    crs: object = None,
) -> Matches:
    """Find the tiles nearest to a query.

    Args:
        archive: The archive.
        query: What is searched for. With several codes a tile counts by the nearest of them.
        k: Matches asked for; None gives all within ``max_distance``.
        max_distance: Largest distance, bits, inclusive.
        region: Only tiles that meet this: a geometry in lon/lat or (minlon, minlat, maxlon,
            maxlat).
        time: Only tiles of this range: first and last moment, inclusive, None for open.
        within: Only tiles that lie in the region altogether.
        scenes: Only tiles of these scenes.
        labels: Only tiles with these labels.
        exclude_overlap: Leave out tiles that overlap the query.
        ranking: "hamming", or "asymmetric", which orders the nearest tiles by the query's
            activations. Negative examples order the nearest tiles by `feedback_scores`.
        distinct: Leave out tiles that overlap a match of a better rank.
        crs: CRS of the result; EPSG:4326 if None.

    Returns:
        Matches by ascending distance, ties by lowest tile id; where they are ordered anew, by
        descending similarity, then distance and tile id.

    Raises:
        QueryError: If k, max_distance or ranking make no sense, the CRS is unknown, or there is
            nothing to leave out.
        RegionError: If the region is empty, invalid or out of range.
        TimeRangeError: If the time range cannot be read or is turned round.
    """
    archive = archive.snapshot()  # which other threads do not move on
    num_bits = bits_of(archive)
    _check_query(k, max_distance, num_bits)
    similarity_of = _similarity_of(archive, query, ranking)
    target = _known_crs(crs)
    excluded = _place_of(query) if exclude_overlap else None
    depth = k
    if k is not None and similarity_of is not None:
        depth = max(CANDIDATES, CANDIDATES_PER_MATCH * k)
    elif k is not None and distinct:
        depth = DEEPER * k
    while True:
        found = archive.search(
            query.codes,
            k=depth,
            max_distance=max_distance,
            region=region,
            time=time,
            within=within,
            scenes=scenes,
            labels=labels,
            exclude_region=excluded,
            exclude_ids=query.left_out or None,
        )
        ids, distances = _merge(found.ids, found.distances)
        ids, distances = ids[:depth], distances[:depth]
        similarity = 1 - distances / num_bits
        if similarity_of is not None:
            similarity = similarity_of(ids)
            order = np.lexsort((ids, distances, -similarity))
            ids, distances, similarity = ids[order], distances[order], similarity[order]
        if not distinct:
            tiles = archive.tiles(ids[:k])
            break
        tiles = archive.tiles(ids)
        rows = distinct_rows(tiles.geometry.to_numpy(), most=k)
        if len(rows) == k or depth is None or len(ids) < depth:
            tiles, distances, similarity = tiles.iloc[rows], distances[rows], similarity[rows]
            break
        depth *= DEEPER
    matches = rank_matches(tiles, distances[:k], similarity=similarity[:k])
    return matches if target is None else matches.to_crs(target)


def _similarity_of(
    archive: Searchable, query: Query, ranking: str
) -> Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]] | None:
    """Choose what orders the nearest tiles anew, or None if their distance does.

    Raises:
        QueryError: If there is no such ranking, or the query does not have what it needs.
    """
    if ranking not in {"hamming", "asymmetric"}:
        msg = f"ranking is {ranking!r}; use 'hamming' or 'asymmetric'."
        raise QueryError(msg)
    negatives, activations = query.negatives, query.activations
    if ranking == "hamming":
        if negatives is None:
            return None
        return lambda ids: feedback_scores(archive.codes(ids), query.codes, negatives)
    if negatives is not None:
        msg = (
            "ranking is 'asymmetric' and there are negative examples, which have a ranking of "
            "their own; leave one of them out."
        )
        raise QueryError(msg)
    if activations is None:
        msg = (
            "ranking is 'asymmetric' but the archive keeps the bits of its tiles and no "
            "activations; search with patches alone, such as the scene and window of the tile."
        )
        raise QueryError(msg)
    return lambda ids: asymmetric_similarity(archive.codes(ids), activations)


def _check_query(k: int | None, max_distance: int | None, num_bits: int) -> None:
    if k is not None and k < 1:
        msg = f"k is {k}; ask for 1 match or more."
        raise QueryError(msg)
    if k is None and max_distance is None:
        msg = "k and max_distance are both None; give one of them, or the whole archive matches."
        raise QueryError(msg)
    if max_distance is not None and max_distance < 0:
        msg = f"max_distance is {max_distance}; it counts bits, from 0 to {num_bits}."
        raise QueryError(msg)


def _known_crs(crs: object) -> CRS | None:
    if crs is None:
        return None
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        msg = f"crs {crs!r} is not known; use a form such as 'EPSG:32633'."
        raise QueryError(msg) from error


def _place_of(query: Query) -> BaseGeometry:
    if query.footprint is None:
        msg = "the query has no place on the Earth, so no tile overlaps it; drop exclude_overlap."
        raise QueryError(msg)
    return query.footprint


def _merge(
    ids: npt.NDArray[np.int64], distances: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Keep every tile once, at its least distance, in the order of matches."""
    real = ids >= 0
    flat_ids, flat_distances = ids[real], distances[real]
    order = np.lexsort((flat_ids, flat_distances))
    _, first = np.unique(flat_ids[order], return_index=True)
    kept = order[np.sort(first)]
    return flat_ids[kept], flat_distances[kept]
