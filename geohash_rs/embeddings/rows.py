"""Turn the rows of a table into vectors and tiles, and name those that cannot be used."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from geohash_rs.embeddings.columns import Columns
from geohash_rs.embeddings.faults import Faults
from geohash_rs.embeddings.moments import read_moments
from geohash_rs.embeddings.numbers import plain, read_vectors
from geohash_rs.embeddings.places import Placing
from geohash_rs.embeddings.repeats import Repeats, row_digests
from geohash_rs.embeddings.source import VectorBatch, Vectors
from geohash_rs.hashing.feature_arrays import LEAST
from geohash_rs.scenes.dates import DateRange
from geohash_rs.store.segment.layout import MOST_TEXT
from geohash_rs.store.segment.shapes import lonlat_crs

__all__ = ["RowReader", "decoded"]


@dataclass(frozen=True, kw_only=True)
class RowReader:
    """How the rows of one table are read.

    Attributes:
        key: Name of its scene in an archive.
        columns: The columns.
        length: Numbers of a vector.
        placing: How rows get their footprints.
        dates: Dates of rows where no column has them, or None.
        quantization: What vectors of integers are multiplied by, and what is added, or None.
    """

    key: str
    columns: Columns
    length: int
    placing: Placing
    dates: DateRange | None = None
    quantization: tuple[Any, Any] | None = None

    def read(
        self, batch: pa.RecordBatch, *, start: int, place: Callable[[int], str], seen: Repeats
    ) -> VectorBatch:
        """Read a batch.

        Args:
            batch: n rows of the columns.
            start: Number of its first row in the table.
            place: Describes where a row of the table is.
            seen: The rows before it; it receives these.

        Returns:
            The vectors and tiles of the rows that can be used.
        """
        faults = Faults(batch.num_rows, lambda row: place(start + row))
        vectors = self.vectors(batch, faults)
        shapes = self.placing.footprints(batch, faults)
        first, last = self._moments(batch, faults)
        sources = self._sources(batch, faults)
        times = np.stack([first, last], axis=1).view(np.int64)
        bounds = np.asarray(shapely.bounds(shapes))
        marks: list[npt.NDArray[Any]] = [vectors, bounds, times, _marks_of(sources)]
        digests = row_digests(marks)
        faults.leave_out(seen.find(digests, ~faults.bad), "there twice")
        good = np.flatnonzero(~faults.bad)
        columns: dict[str, Any] = {"scene": np.full(len(good), self.key, dtype=object)}
        if self.columns.time or self.dates is not None:
            columns |= {"datetime": first[good], "datetime_end": last[good]}
        if self.columns.source is not None:
            columns["source"] = sources[good]
        tiles = gpd.GeoDataFrame(columns, geometry=shapes[good], crs=lonlat_crs())
        return VectorBatch(
            vectors=vectors[good] if len(good) < len(vectors) else vectors,
            tiles=tiles,
            stop=start + batch.num_rows,
            left_out=faults.left_out,
            mended=faults.mended,
            digests=digests[good],
        )

    def vectors(self, batch: pa.RecordBatch, faults: Faults) -> Vectors:
        """Read and decode the vectors of a batch.

        Args:
            batch: n rows.
            faults: Receives the rows whose vectors cannot be used.

        Returns:
            float32, shape (n, length).
        """
        return decoded(batch, self.columns, self.quantization, length=self.length, faults=faults)

    def _moments(self, batch: pa.RecordBatch, faults: Faults) -> tuple[Any, Any]:
        """Read first and last moments, datetime64[us], shape (n,)."""
        names = self.columns.time
        if not names:
            ends = self.dates or ("NaT", "NaT")
            plain_ends = [end if isinstance(end, str) else end.replace(tzinfo=None) for end in ends]
            first, last = (np.full(batch.num_rows, end, "datetime64[us]") for end in plain_ends)
            return first, last
        first, last = read_moments(batch.column(names[0]))
        if len(names) > 1:
            last = read_moments(batch.column(names[1]))[1]
        wrong = np.isnat(first) | np.isnat(last)
        with np.errstate(invalid="ignore"):
            turned = ~wrong & (last < first)
        named = " and ".join(map(repr, names))
        faults.mend(wrong, f"without a date that can be read in {named}")
        faults.mend(turned, f"without a date, since that in {named} ends before it starts")
        first[wrong | turned] = last[wrong | turned] = np.datetime64("NaT", "us")
        return first, last

    def _sources(self, batch: pa.RecordBatch, faults: Faults) -> npt.NDArray[np.object_]:
        """Read the names of images; a missing or unusable one is None."""
        if self.columns.source is None:
            return np.full(batch.num_rows, None, dtype=object)
        name = self.columns.source
        values = plain(batch.column(name))
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        texts = np.array(values.cast(pa.string()).to_pylist(), dtype=object)
        wrong = np.array(
            [t is not None and ("\0" in t or len(t.encode()) > MOST_TEXT) for t in texts], np.bool_
        )
        faults.mend(wrong, f"without the text in {name!r}, which is too long or has a zero byte")
        texts[wrong] = None
        return texts


def decoded(
    batch: pa.RecordBatch,
    columns: Columns,
    quantization: tuple[Any, Any] | None,
    *,
    length: int,
    faults: Faults,
) -> Vectors:
    """Read and decode the vectors of a batch.

    Args:
        batch: n rows.
        columns: The columns.
        quantization: As in `RowReader`.
        length: Numbers of a vector.
        faults: Receives the rows whose vectors cannot be used.

    Returns:
        float32, shape (n, length).
    """
    name = columns.vector
    found = read_vectors(batch.column(name), length=length, faults=faults, name=name)
    if columns.scale is not None:
        scale = plain(batch.column(columns.scale)).cast(pa.float32())
        factors = scale.to_numpy(zero_copy_only=False)
        unusable = ~np.isfinite(factors) | (factors == 0)
        faults.leave_out(unusable, f"without a finite scale in {columns.scale!r}")
        found = found * factors[:, None]
    elif quantization is not None:
        scales, offsets = (np.asarray(part, np.float32) for part in quantization)
        found = found * scales + offsets
    sizes = np.maximum(found.max(axis=1, initial=0), -found.min(axis=1, initial=0))
    faults.leave_out(~np.isfinite(sizes), f"with NaN or infinite numbers in {name!r}")
    faults.leave_out(sizes < LEAST, f"with a vector of zeros in {name!r}")
    return np.require(found, np.float32, ["C", "W"])  # torch takes no read-only memory


def _marks_of(texts: npt.NDArray[np.object_]) -> npt.NDArray[np.uint64]:
    """Return a number for each text that differs where the text does, shape (n, 1)."""
    known: dict[Any, int] = {None: 0}
    for text in set(texts.tolist()) - {None}:
        known[text] = int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
    return np.array([known[text] for text in texts.tolist()], np.uint64)[:, None]
