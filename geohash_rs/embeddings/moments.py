"""Read moments out of a column of dates, whatever its type, to the microsecond."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.embeddings.numbers import plain
from geohash_rs.store.times import parse_iso

__all__ = ["holds_times", "read_moments"]

Moments = npt.NDArray[np.datetime64]

MICROS = {"s": 1_000_000, "ms": 1_000, "us": 1}
DAY = np.timedelta64(86_400_000_000, "us")
LAST = np.timedelta64(1, "us")  # before the next day begins
EARLIEST, LATEST = np.datetime64("1678-01-01", "us"), np.datetime64("2262-01-01", "us")


def holds_times(kind: pa.DataType, name: str) -> bool:
    """Return whether a column can hold dates: times, texts, or whole numbers named "year".

    Args:
        kind: Its type.
        name: Its name.
    """
    kind = plain(kind)
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return name.lower() == "year"
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind) or _is_text(kind)


def read_moments(array: pa.Array) -> tuple[Moments, Moments]:
    """Read the first and last moment of each row.

    Args:
        array: Dates, timestamps with or without zone (without means UTC), texts in ISO 8601, or
            whole years. Nanoseconds are cut to microseconds.

    Returns:
        First and last moment in UTC, datetime64[us], shape (n,); NaT where there is none, where a
        text is not a date, or outside the years 1678 to 2261. They are the same where the time of
        day is known.
    """
    values = plain(array)
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if pa.types.is_timestamp(values.type):
        first = last = _instants(values)
    elif pa.types.is_date(values.type):
        days = values.cast(pa.date32()).cast(pa.int32())
        first = _filled(days).astype("datetime64[D]").astype("datetime64[us]")
        first[days.is_null().to_numpy(zero_copy_only=False)] = np.datetime64("NaT", "us")
        last = first + (DAY - LAST)
    else:
        first, last = _parsed(values.cast(pa.string()))
    off = ~((first >= EARLIEST) & (last < LATEST))
    first, last = first.copy(), last.copy()
    first[off] = last[off] = np.datetime64("NaT", "us")
    return first, last


def _instants(values: pa.Array) -> Moments:
    """Convert timestamps of any unit."""
    numbers = _filled(values.cast(pa.timestamp(values.type.unit)).cast(pa.int64()))
    missing = values.is_null().to_numpy(zero_copy_only=False)
    if values.type.unit == "ns":
        micros = np.floor_divide(numbers, 1000)
    else:
        factor = MICROS[values.type.unit]
        missing = missing | (np.abs(numbers) > np.iinfo(np.int64).max // factor)
        micros = np.where(missing, 0, numbers) * factor
    found = micros.astype("datetime64[us]")
    found[missing] = np.datetime64("NaT", "us")
    return found


def _filled(values: pa.Array) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = values.fill_null(0).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)


def _parsed(texts: pa.Array) -> tuple[Moments, Moments]:
    """Parse texts, each different one once."""
    encoded = texts.dictionary_encode()
    ends = [_ends(text) for text in encoded.dictionary.to_pylist()]
    table = np.array([*ends, ("NaT", "NaT")], dtype="datetime64[us]")
    rows = encoded.indices.fill_null(len(ends)).to_numpy(zero_copy_only=False)
    return table[rows, 0], table[rows, 1]


def _ends(text: str) -> tuple[Any, Any]:
    try:
        first, last = parse_iso(text)
    except ValueError:
        return "NaT", "NaT"
    return first.replace(tzinfo=None), last.replace(tzinfo=None)


def _is_text(kind: pa.DataType) -> bool:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in texts)
