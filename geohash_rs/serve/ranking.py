"""The cost of every tile for one concept, kept so that a slider needs no further scan."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from geohash_rs.store.snapshot import Answers

__all__ = ["InView", "Ranking"]

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class InView:
    """The tiles of a ranking in a view.

    Attributes:
        ids: Tile ids, int64, shape (tiles,).
        boxes: (xmin, ymin, xmax, ymax) in degrees, shape (tiles, 4).
        costs: Their costs, uint16, shape (tiles,).
    """

    ids: Ids
    boxes: npt.NDArray[np.float64]
    costs: npt.NDArray[np.uint16]

    @property
    def num_bytes(self) -> int:
        """Bytes that it takes."""
        return self.ids.nbytes + self.boxes.nbytes + self.costs.nbytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """All tiles that pass the filters, with their costs.

    Attributes:
        ids: Tile ids, ascending, int64, shape (tiles,).
        costs: Their costs, uint16, shape (tiles,).
    """

    ids: Ids
    costs: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, ids: Ids, costs: npt.NDArray[np.int32]) -> Self:
        """Sort tiles by id.

        Args:
            ids: Tile ids, in any order.
            costs: Their costs, 0 to 65535.

        Returns:
            The ranking.
        """
        order = np.argsort(ids)
        return cls(ids=ids[order], costs=costs[order].astype(np.uint16))

    @property
    def num_bytes(self) -> int:
        """Bytes that it takes."""
        return self.ids.nbytes + self.costs.nbytes + self.by_cost.nbytes

    @cached_property
    def by_cost(self) -> Ids:
        """Number of tiles of each cost, shape (largest cost + 1,)."""
        return np.bincount(self.costs, minlength=1)

    def count(self, most: int) -> int:
        """Count the tiles up to a cost.

        Args:
            most: The cost, inclusive.

        Returns:
            Their number.
        """
        return int(self.by_cost[: most + 1].sum())

    def count_of(self, ids: Ids, most: int) -> int:
        """Count those of some tiles that are ranked up to a cost.

        Args:
            ids: Tile ids, each once, shape (m,).
            most: The cost, inclusive.

        Returns:
            Their number.
        """
        if not len(self.ids):
            return 0
        rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return int(np.count_nonzero((self.ids[rows] == ids) & (self.costs[rows] <= most)))

    def best(self, most: int) -> tuple[Ids, npt.NDArray[np.int32]]:
        """Return the tiles up to a cost.

        Args:
            most: The cost, inclusive.

        Returns:
            Ids, ascending, and costs.
        """
        chosen = self.costs <= most
        return self.ids[chosen], self.costs[chosen].astype(np.int32)

    def bars(self, count: int) -> tuple[int, int, Ids]:
        """Count tiles by cost.

        Args:
            count: Number of bars.

        Returns:
            Smallest and largest cost, and the number of tiles in each of `count` equal steps from
            the smallest to above the largest.
        """
        held = np.flatnonzero(self.by_cost)
        if not len(held):
            return 0, 0, np.zeros(count, np.int64)
        low, high = int(held[0]), int(held[-1])
        step = (held - low) * count // (high + 1 - low)
        sums = np.bincount(step, self.by_cost[held], minlength=count)
        return low, high, sums.astype(np.int64)

    def in_view(self, archive: Answers, view: Sequence[float]) -> InView:
        """Find the tiles in a view.

        Args:
            archive: The archive whose tiles were ranked, in the same state.
            view: (minlon, minlat, maxlon, maxlat) as from `parse_view`.

        Returns:
            Those that passed the filters.
        """
        parts = list(archive.boxes(view))
        ids = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in parts)])
        boxes = np.concatenate([np.empty((0, 4)), *(boxes for _, boxes in parts)])
        if not len(self.ids):
            return InView(ids=self.ids, boxes=boxes[:0], costs=self.costs)
        rows = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        ranked = self.ids[rows] == ids
        return InView(ids=ids[ranked], boxes=boxes[ranked], costs=self.costs[rows[ranked]])
