"""Compare codes with compiled kernels that scan the mapped codes at memory speed."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from geohash_rs.codes import code_words
from geohash_rs.store.search import kernels, row_filters
from geohash_rs.store.search.asked import Asked, num_queries
from geohash_rs.store.search.keys import NO_KEY, Keys
from geohash_rs.store.search.placement import region_tests
from geohash_rs.store.search.row_filters import NO_BYTES, NO_TESTS, RowTests, frozen
from geohash_rs.store.search.selection import Selection, Task
from geohash_rs.store.search.weighing import NOT_WEIGHED, Weighing, weighing_of
from geohash_rs.store.search.weights import BitWeights
from geohash_rs.store.segment.layout import BLOCK

__all__ = ["NumbaScanner"]

Array = npt.NDArray[Any]

NO_IDS = frozen(np.empty(0, np.uint32))
NO_KEYS = np.empty(0, np.uint64)


class NumbaScanner:
    """Compare codes with Numba; the contract is in `scan.Scanner`."""

    def top(self, tasks: Iterable[Task], asked: Asked, *, k: int, limit: int) -> Keys:
        """Find the k smallest keys of each query; see `scan.Scanner.top`."""
        question = Question.of(asked)
        heaps = np.full((num_queries(asked), k), NO_KEY, np.uint64)
        limits = np.full(num_queries(asked), limit + 1, np.int64)
        highest = -1
        for task in tasks:
            entry = task.selection.segment.entry
            first = entry.first_id + int(task.selection.blocks[task.first]) * BLOCK
            ordered = entry.sequential and first > highest
            _scan(task, question, limits, heaps=heaps, any_order=not ordered)
            highest = max(highest, entry.last_id)
        return np.sort(heaps, axis=1)

    def count(self, tasks: Iterable[Task], asked: Asked, *, limits: Array) -> Array:
        """Count the rows within each query's limit; see `scan.Scanner.count`."""
        return _counted(tasks, Question.of(asked), limits)

    def within(self, tasks: Iterable[Task], asked: Asked, *, limits: Array) -> list[Keys]:
        """Collect every key within each query's limit; see `scan.Scanner.within`."""
        question = Question.of(asked)
        found: list[list[Keys]] = [[NO_KEYS] for _ in range(num_queries(asked))]
        for task in tasks:
            counts = _counted([task], question, limits)
            ends = np.cumsum(counts)
            keys = np.empty(int(ends[-1]), np.uint64)
            if len(keys):
                _scan(task, question, limits + 1, keys=keys, ends=ends - counts)
            for query, (begin, end) in enumerate(zip(ends - counts, ends, strict=True)):
                found[query].append(keys[begin:end])
        return [np.sort(np.concatenate(pieces)) for pieces in found]


class Question(NamedTuple):
    """What is asked, as the kernel takes it.

    Attributes:
        codes: Packed codes, writable and aligned, uint8, shape (queries, bits / 8).
        weighing: The weights of the one query, or `NOT_WEIGHED`.
    """

    codes: npt.NDArray[np.uint8]
    weighing: Weighing

    @classmethod
    def of(cls, asked: Asked) -> "Question":
        """Prepare queries."""
        if isinstance(asked, BitWeights):
            return cls(asked.code[None].copy(), weighing_of(asked))
        return cls(asked.copy(), NOT_WEIGHED)


def _counted(tasks: Iterable[Task], question: Question, limits: Array) -> Array:
    """Count the rows within each query's limit."""
    counts = np.zeros(len(question.codes), np.int64)
    for task in tasks:
        _scan(task, question, limits + 1, ends=counts)
    return counts


def _scan(
    task: Task,
    question: Question,
    limits: Array,
    *,
    heaps: Array | None = None,
    any_order: bool = False,
    keys: Array = NO_KEYS,
    ends: Array | None = None,
) -> None:
    """Run the kernel over a task; see `kernels.scan` for what it changes."""
    segment = task.selection.segment
    words = code_words(segment.codes)
    kernels.scan(
        words.reshape(-1),
        (0,) * words.shape[1],
        code_words(question.codes).reshape(-1),
        question.weighing,
        task.selection.blocks[task.first : task.last],
        _tests(task.selection, task.first, task.last),
        NO_IDS if segment.entry.sequential else segment.index["ids"],
        np.uint64(segment.entry.first_id),
        limits,
        np.empty((len(question.codes), 0), np.uint64) if heaps is None else heaps,
        any_order,
        keys,
        np.zeros(len(question.codes), np.int64) if ends is None else ends,
    )


def _tests(selection: Selection, first: int, last: int) -> RowTests:
    """Return the row tests for some of the selected blocks."""
    partial = selection.partial[first:last]
    tests = NO_TESTS._replace(partial=frozen(partial.astype(np.uint8)))
    if not partial.any():
        return tests._replace(edge=tests.partial)
    index = selection.segment.index
    edge = selection.edge[first:last]
    if edge.any() and (region := selection.where.region) is not None:
        within = selection.where.within
        placed = region_tests(row_filters, region, selection.segment, within=within)
        tests = placed._replace(partial=tests.partial)
    rules = np.zeros((len(selection.rules), 5), np.int64)
    for place, rule in enumerate(selection.rules):
        numbers = index[f"{rule.column}_rows"]
        table = 0 if rule.wanted is None else rule.wanted.ctypes.data
        rules[place] = numbers.ctypes.data, numbers.itemsize, rule.low, rule.high - rule.low, table
    removed = NO_BYTES if selection.removed is None else frozen(selection.removed.view())
    return tests._replace(edge=frozen(edge.astype(np.uint8)), removed=removed, rules=frozen(rules))
