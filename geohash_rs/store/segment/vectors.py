"""Keep the feature vectors from which codes were made, as float16 or as int8 with scales.

A file of float16 is row after row. A file of int8 starts with one float32 scale per row; the rows
follow, each to be multiplied by its scale and, if the archive says so, rotated back. All are
little-endian, without a header.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import ArchiveCorruptError, VectorError
from geohash_rs.store.disk.manifest import VectorsEntry
from geohash_rs.store.segment.layout import MOST_NUMBERS
from geohash_rs.store.segment.rotation import rotated, rotated_back

__all__ = ["StoredVectors", "check_vectors", "encoded", "merged", "parts_of"]

Array = npt.NDArray[Any]

HALF, SCALE = np.dtype("<f2"), np.dtype("<f4")
LARGEST = {"float16": 65504.0, "int8": 1e38}
LEAST = {"float16": 2.0**-14, "int8": 1e-38}  # below, numbers lose their digits
STEPS = 127  # of an int8 on each side of zero
PART_BYTES = 1 << 24  # of the float32 numbers that are in memory at once


@dataclass(frozen=True, kw_only=True)
class StoredVectors:
    """The vectors of one segment, mapped.

    Attributes:
        path: Their file, for messages.
        values: float16 or int8, shape (n, length).
        scales: What to multiply each row by, float32, shape (n,); None for float16.
        rotated: Whether the rows are to be rotated back.
    """

    path: Path
    values: Array
    scales: npt.NDArray[np.float32] | None
    rotated: bool = False

    @classmethod
    def of(cls, data: Array, form: VectorsEntry, *, path: Path) -> "StoredVectors":
        """Interpret the bytes of a file.

        Args:
            data: The bytes, uint8, as many as the rows need.
            form: Their form, with the length.
            path: The file.

        Returns:
            The vectors.
        """
        length = form.length or 0
        if form.kind == "float16":
            return cls(path=path, values=data.view(HALF).reshape(-1, length), scales=None)
        edge = SCALE.itemsize * (len(data) // form.row_bytes)
        values = data[edge:].view(np.int8).reshape(-1, length)
        scales = data[:edge].view(SCALE)
        return cls(path=path, values=values, scales=scales, rotated=form.rotated)

    def decoded(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return some vectors.

        Args:
            rows: Row numbers, shape (m,).

        Returns:
            Vectors, float32, shape (m, length).

        Raises:
            ArchiveCorruptError: If a number is not finite; none of the numbers kept is.
        """
        vectors = self.values[rows].astype(np.float32)
        if self.scales is not None:
            with np.errstate(over="ignore", invalid="ignore"):  # seen below
                scaled = vectors * self.scales[rows, None].astype(np.float64)
                turned = rotated_back(scaled) if self.rotated else scaled
                vectors = turned.astype(np.float32)
        if not np.isfinite(vectors).all():
            msg = (
                f"{self.path} holds vectors with NaN or infinite numbers, which are never kept; it "
                "was not written by geohash_rs or was changed. Restore it from a copy."
            )
            raise ArchiveCorruptError(msg)
        return vectors


def check_vectors(vectors: Array, form: VectorsEntry, *, count: int) -> None:
    """Check that an archive can keep vectors.

    Args:
        vectors: The vectors, float, shape (count, length).
        form: The form in which it keeps them; any length if none is known.
        count: Number of tiles.

    Raises:
        VectorError: If they have another type, shape or length, or hold numbers that are not finite
            or too large for this form.
    """
    if vectors.dtype.kind != "f" or vectors.ndim != 2 or len(vectors) != count:
        msg = (
            f"vectors are {vectors.dtype} of shape {vectors.shape}; pass one vector of floats for "
            f"each of the {count} tiles, shape ({count}, length)."
        )
        raise VectorError(msg)
    length = vectors.shape[1]
    if not 1 <= length <= MOST_NUMBERS or form.length not in (None, length):
        fits = f"from 1 to {MOST_NUMBERS:,}" if form.length is None else f"{form.length}"
        msg = f"vectors have {length} numbers each but the archive takes {fits}; pass such vectors."
        raise VectorError(msg)
    most = min(LARGEST[form.kind], float(np.finfo(vectors.dtype).max))
    for part in parts_of(count, length):
        wrong = ~(np.abs(vectors[part]) <= most).all(axis=1)
        if wrong.any():
            row = part.start + int(np.flatnonzero(wrong)[0])
            msg = (
                f"vector {row} holds {_first_wrong(vectors[row], most)}, but an archive with "
                f'keep_vectors="{form.kind}" keeps numbers from {-most:g} to {most:g}; leave the '
                "tile out or scale all vectors."
            )
            raise VectorError(msg)
        largest = np.abs(vectors[part]).max(axis=1)
        small = (largest > 0) & (largest < LEAST[form.kind])
        if small.any():
            row = int(np.flatnonzero(small)[0])
            msg = (
                f"no number of vector {part.start + row} exceeds {largest[row]:g}, but an archive "
                f'with keep_vectors="{form.kind}" keeps no vectors whose largest number is below '
                f"{LEAST[form.kind]:g}; scale all vectors."
            )
            raise VectorError(msg)


def _first_wrong(vector: Array, most: float) -> float:
    return float(vector[~(np.abs(vector) <= most)][0])


def encoded(
    vectors: Array, rows: npt.NDArray[np.int64], *, form: VectorsEntry
) -> Iterator[memoryview]:
    """Lay out vectors as a file, a part at a time.

    Args:
        vectors: Checked vectors, float, shape (n, length).
        rows: Rows to write, in this order, shape (m,).
        form: Their form.

    Yields:
        The file's content in pieces.
    """
    parts = list(parts_of(len(rows), vectors.shape[1]))
    if form.kind == "float16":
        for part in parts:
            yield _bytes(vectors[rows[part]].astype(HALF, copy=False))
        return
    scales = np.empty(len(rows), SCALE)
    values = np.empty((len(rows), vectors.shape[1]), np.int8)
    for part in parts:
        own = vectors[rows[part]]
        turned = rotated(own) if form.rotated else own.astype(np.float64)
        scales[part] = np.abs(turned).max(axis=1) / STEPS
        used = np.where(scales[part] > 0, scales[part], 1)  # 0 of vectors of zeros
        values[part] = np.clip(np.rint(turned / used[:, None]), -STEPS, STEPS)
    yield _bytes(scales)
    yield _bytes(values)


def merged(
    stored: Sequence[StoredVectors],
    sources: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
) -> Iterator[memoryview]:
    """Lay out rows of several files as one file, bit for bit, a part at a time.

    Args:
        stored: The vectors of the segments, all of one form.
        sources: The position in `stored` of each row, in the order of the new file, shape (m,).
        rows: Its row number there, shape (m,).

    Yields:
        The new file's content in pieces.
    """
    columns = [one.scales for one in stored if one.scales is not None]
    if columns:
        yield _bytes(_gathered(columns, sources, rows))
    values = [one.values for one in stored]
    for part in parts_of(len(rows), values[0].shape[1]):
        yield _bytes(_gathered(values, sources[part], rows[part]))


def _gathered(arrays: Sequence[Array], sources: Array, rows: Array) -> Array:
    found = np.empty((len(rows), *arrays[0].shape[1:]), arrays[0].dtype)
    for number in np.unique(sources):
        mine = sources == number
        found[mine] = arrays[number][rows[mine]]
    return found


def parts_of(count: int, length: int) -> Iterator[slice]:
    """Divide rows into parts that take little memory.

    Args:
        count: Number of rows.
        length: Numbers of a row.

    Yields:
        Slices of consecutive rows.
    """
    step = max(1, PART_BYTES // (4 * length))
    yield from (slice(start, start + step) for start in range(0, count, step))


def _bytes(array: Array) -> memoryview:
    return np.ascontiguousarray(array).data.cast("B")
