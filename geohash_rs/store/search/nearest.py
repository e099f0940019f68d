"""Search the segments of a snapshot exactly."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import QueryError
from geohash_rs.store.search.asked import Asked, num_queries, worst_distance
from geohash_rs.store.search.keys import ID_BITS, NO_KEY, Keys
from geohash_rs.store.search.scan import scan_count, scan_top, scan_within
from geohash_rs.store.search.selection import Selection, select
from geohash_rs.store.search.weights import BitWeights
from geohash_rs.store.search.where import Where
from geohash_rs.store.segment.read import Segment

__all__ = ["Limits", "SearchResult", "result_of_keys", "search_segments"]

Array = npt.NDArray[Any]
HEAP_K = 4096  # for larger k, finding the k-th distance by counting is faster than a heap
WEIGHED_HEAP_K = 1 << 17  # the same if bits have weights: a cost takes two to three times the scans
TRIES = 4  # scans before every uncertain footprint on the region's edge is read


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The result of a search, nearest first, ties by lowest tile id.

    Attributes:
        ids: Tile ids, int64, shape (queries, found); -1 where a query has fewer.
        distances: Hamming distances or, if bits have weights, costs, int32, shape (queries, found);
            -1 where a query has fewer.
    """

    ids: npt.NDArray[np.int64]
    distances: npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The number of matches, their largest distance, and the number of threads.

    Attributes:
        k: Matches per query, or None for all within `max_distance`.
        max_distance: The largest distance or, of a search by weights, cost that counts; or None.
        num_threads: Number of threads, or None to choose automatically.

    Raises:
        QueryError: If one of them is too small or not a whole number, or k and `max_distance` are
            both None.
    """

    k: int | None
    max_distance: int | None = None
    num_threads: int | None = None

    def __post_init__(self) -> None:
        if self.k is None and self.max_distance is None:
            msg = "k and max_distance are both None; pass one of them, or both."
            raise QueryError(msg)
        for name, least, hint in (
            ("k", 1, "it counts matches"),
            ("max_distance", 0, "0 finds equal codes"),
            ("num_threads", 1, "None chooses"),
        ):
            value = getattr(self, name)
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            if value is not None and not (whole and value >= least):
                msg = f"{name} is {value!r}, but it must be at least {least} ({hint})."
                raise QueryError(msg)


def search_segments(
    segments: Sequence[Segment],
    asked: Asked,
    *,
    limits: Limits,
    where: Where,
    dropped: Mapping[str, npt.NDArray[np.int64]],
) -> SearchResult:
    """Find the nearest tiles of each query.

    Args:
        segments: The snapshot.
        asked: Packed codes, uint8, shape (queries, bits / 8), or the weights of one query.
        limits: How many matches, and how near.
        where: The filters; rows that it excludes are in `dropped`.
        dropped: Rows that do not count, by segment name.

    Returns:
        The result; as wide as the most matches of any query, at most k.
    """
    if not num_queries(asked):
        return result_of_keys([])
    k = limits.k
    attempt = 0
    while True:
        selections = _select(segments, where, dropped)
        if attempt == TRIES or (k is not None and k > HEAP_K):
            wrong = _outside(selections, [s.all_placed()[1] for s in selections])
            if wrong:
                selections = _select(segments, where, _joined(dropped, wrong))
            return result_of_keys(_scan(selections, asked, limits))
        found = _scan(selections, asked, limits)
        wrong = _outside(selections, _doubtful(selections, found))
        if not wrong:
            return result_of_keys(found)
        if k is None:
            ids = np.concatenate([_ids_of(selections, name, rows) for name, rows in wrong])
            return result_of_keys([keys[~np.isin(_ids(keys), ids)] for keys in found])
        dropped = _joined(dropped, wrong)
        attempt += 1


def _select(
    segments: Sequence[Segment], where: Where, dropped: Mapping[str, npt.NDArray[np.int64]]
) -> list[Selection]:
    selections = (select(item, where, dropped=dropped.get(item.entry.name)) for item in segments)
    return [selection for selection in selections if selection]


def _scan(selections: Sequence[Selection], asked: Asked, limits: Limits) -> list[Keys]:
    """Scan without reading footprints and return each query's keys, ascending."""
    count = num_queries(asked)
    if not selections:
        return [np.empty(0, np.uint64) for _ in range(count)]
    k, num_threads, limit = limits.k, limits.num_threads, worst_distance(asked)
    if limits.max_distance is not None:
        limit = min(limits.max_distance, limit)
    if k is None:
        far = np.full(count, limit)
        return scan_within(selections, asked, limits=far, num_threads=num_threads)
    if k <= (WEIGHED_HEAP_K if isinstance(asked, BitWeights) else HEAP_K):
        keys = scan_top(selections, asked, k=k, limit=limit, num_threads=num_threads)
        return [row[row != NO_KEY] for row in keys]
    low, high = np.zeros(count, np.int64), np.full(count, limit, np.int64)
    while (low < high).any():
        middle = (low + high) // 2
        counts = scan_count(selections, asked, limits=middle, num_threads=num_threads)
        low, high = np.where(counts < k, middle + 1, low), np.where(counts < k, high, middle)
    found = scan_within(selections, asked, limits=high, num_threads=num_threads)
    return [keys[:k] for keys in found]


def _ids(keys: Keys) -> npt.NDArray[np.int64]:
    return (keys & np.uint64((1 << ID_BITS) - 1)).astype(np.int64)


def _doubtful(
    selections: Sequence[Selection], found: Sequence[Keys]
) -> list[npt.NDArray[np.int64]]:
    """Return the rows found whose footprints must be compared with the region."""
    if not any(selection.edge.any() for selection in selections):
        return [np.empty(0, np.int64) for _ in selections]
    ids = np.unique(_ids(np.concatenate(found)))
    doubtful = []
    for selection in selections:
        entry = selection.segment.entry
        inside = ids[(ids >= entry.first_id) & (ids <= entry.last_id)]
        rows = selection.segment.rows_of(inside)
        doubtful.append(selection.uncertain(rows[rows >= 0]))
    return doubtful


def _outside(
    selections: Sequence[Selection], rows: Sequence[npt.NDArray[np.int64]]
) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Return the uncertain rows that turn out not to match the region."""
    wrong = []
    for selection, doubtful in zip(selections, rows, strict=True):
        outside = selection.outside(doubtful)
        if len(outside):
            wrong.append((selection.segment.entry.name, outside))
    return wrong


def _ids_of(
    selections: Sequence[Selection], name: str, rows: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    segment = next(s.segment for s in selections if s.segment.entry.name == name)
    return segment.ids_of(rows)


def _joined(
    dropped: Mapping[str, npt.NDArray[np.int64]],
    more: Sequence[tuple[str, npt.NDArray[np.int64]]],
) -> dict[str, npt.NDArray[np.int64]]:
    joined = dict(dropped)
    for name, rows in more:
        joined[name] = np.concatenate([joined.get(name, np.empty(0, np.int64)), rows])
    return joined


def result_of_keys(found: Sequence[Keys]) -> SearchResult:
    """Unpack keys.

    Args:
        found: The keys of each query, ascending, without `NO_KEY`.

    Returns:
        The result.
    """
    width = max((len(keys) for keys in found), default=0)
    ids = np.full((len(found), width), -1, np.int64)
    distances = np.full((len(found), width), -1, np.int32)
    for query, keys in enumerate(found):
        ids[query, : len(keys)] = _ids(keys)
        distances[query, : len(keys)] = keys >> np.uint64(ID_BITS)
    return SearchResult(ids=ids, distances=distances)
