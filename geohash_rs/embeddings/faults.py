"""Collect what is wrong with the rows of a batch, each with its reason and place."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from geohash_rs.embeddings.source import Flaw

__all__ = ["Faults"]

Mask = npt.NDArray[np.bool_]


class Faults:
    """The rows of a batch that cannot be used, and those that need a remark.

    Attributes:
        bad: Rows that are left out, bool, shape (n,).
        left_out: The same by reason.
        mended: Rows that are kept although something is wrong, by what.
    """

    def __init__(self, count: int, place: Callable[[int], str]) -> None:
        """Start without any.

        Args:
            count: Number of rows.
            place: Describes where a row is.
        """
        self._place = place
        self.bad: Mask = np.zeros(count, dtype=np.bool_)
        self.left_out: list[Flaw] = []
        self.mended: list[Flaw] = []

    def leave_out(self, rows: Mask, reason: str) -> None:
        """Leave rows out, unless they are already.

        Args:
            rows: The rows, bool, shape (n,).
            reason: Why, such as "with NaN in 'embedding'".
        """
        fresh = np.flatnonzero(rows & ~self.bad)
        self._add(self.left_out, fresh, reason)
        self.bad[fresh] = True

    def mend(self, rows: Mask, reason: str) -> None:
        """Remark on rows that are kept.

        Args:
            rows: The rows, bool, shape (n,).
            reason: What is wrong, such as "without a date in 'date'".
        """
        self._add(self.mended, np.flatnonzero(rows & ~self.bad), reason)

    def _add(self, flaws: list[Flaw], rows: npt.NDArray[np.int64], reason: str) -> None:
        if len(rows):
            flaws.append(Flaw(reason=reason, count=len(rows), first=self._place(int(rows[0]))))
