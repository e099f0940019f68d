"""Weighted Hamming distance: a code, and what each bit that differs from it costs."""

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geohash_rs.codes import MAX_BITS, unpack_codes
from geohash_rs.errors import CodeLengthError, QueryError

__all__ = ["MOST_COST", "BitWeights"]

MOST_COST = 65_535  # a cost takes 16 bits


@dataclass(frozen=True, kw_only=True, eq=False)
class BitWeights:
    """A code and a whole-number weight for each of its bits.

    The cost of another code is the sum of the weights of the bits in which the two differ. With
    every weight 1, it is the Hamming distance.

    Attributes:
        code: The packed code whose cost is 0, uint8, shape (bits / 8,).
        weights: Cost of each bit that differs, uint16, shape (bits,), in the order of
            `geohash_rs.codes.unpack_codes`; together at most `MOST_COST`.

    Raises:
        QueryError: If code or weights have another type or shape, or the sum is larger.
    """

    code: npt.NDArray[np.uint8]
    weights: npt.NDArray[np.uint16]

    def __post_init__(self) -> None:
        code, weights = np.asarray(self.code), np.asarray(self.weights)
        packed = code.dtype == np.uint8 and code.ndim == 1 and 1 <= len(code) <= MAX_BITS // 8
        if not packed:
            msg = (
                f"the code of the weights has dtype {code.dtype} and shape {code.shape}, but must "
                f"be uint8 with shape (bits / 8,), of 8 to {MAX_BITS} bits."
            )
            raise QueryError(msg)
        if weights.dtype != np.uint16 or weights.shape != (8 * len(code),):
            msg = (
                f"weights have dtype {weights.dtype} and shape {weights.shape}, but the code of "
                f"{8 * len(code)} bits needs uint16 with shape ({8 * len(code)},)."
            )
            raise QueryError(msg)
        if (total := int(weights.sum(dtype=np.int64))) > MOST_COST:
            msg = f"the weights sum to {total:,}, over {MOST_COST:,}; scale them down."
            raise QueryError(msg)
        for name, array in (("code", code), ("weights", weights)):
            kept = np.array(array)  # a copy, so that nobody changes it later
            kept.setflags(write=False)
            object.__setattr__(self, name, kept)

    @property
    def num_bits(self) -> int:
        """Bits of the code."""
        return len(self.weights)

    @functools.cached_property
    def most(self) -> int:
        """The cost of the code that differs in every bit: the sum of the weights."""
        return int(self.weights.sum(dtype=np.int64))

    @functools.cached_property
    def tables(self) -> npt.NDArray[np.uint16]:
        """What each value of each byte of a code costs, uint16, shape (bits / 8, 256)."""
        values = np.arange(256, dtype=np.uint8)
        differs = unpack_codes((values ^ self.code[:, None])[..., None])
        costs = (differs * self.weights.reshape(-1, 1, 8)).sum(axis=2, dtype=np.uint16)
        return np.asarray(costs, np.uint16)

    def costs(self, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
        """Compute the cost of each code, byte by byte.

        Args:
            codes: Packed codes, uint8, shape (n, bits / 8).

        Returns:
            Costs, int32, shape (n,).

        Raises:
            CodeLengthError: If the codes have another number of bits.

        >>> near = BitWeights(
        ...     code=np.array([0b1000_0000], np.uint8),
        ...     weights=np.array([900, 1, 2, 4, 8, 16, 32, 64], np.uint16),
        ... )
        >>> near.costs(np.array([[0b1000_0000], [0b0000_0011]], np.uint8))
        array([  0, 996], dtype=int32)
        """
        self.check_bits(8 * codes.shape[-1], what="the codes to weigh")
        costs = np.zeros(len(codes), np.int32)
        for place, table in enumerate(self.tables.astype(np.int32)):
            costs += table[codes[:, place]]
        return costs

    def check_bits(self, num_bits: int, *, what: str) -> None:
        """Check that codes are as long as these weights.

        Args:
            num_bits: Bits of the codes.
            what: Their name in the error message.

        Raises:
            CodeLengthError: If they are not.
        """
        if num_bits != self.num_bits:
            msg = (
                f"the weights are for {self.num_bits} bits, but {what} have {num_bits}; use "
                "weights learned with the same hasher."
            )
            raise CodeLengthError(msg)
