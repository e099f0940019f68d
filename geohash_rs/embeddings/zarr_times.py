"""The dates along the axis of time of a Zarr group."""

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from zarr import Group

__all__ = ["Span", "read_times"]

Span = tuple[np.datetime64, np.datetime64]
YEARS = (1900, 2200)  # whole numbers that are years
SINCE = re.compile(r"(?P<unit>[a-z]+?)s?\s+since\s+(?P<start>\d{4}-\d\d-\d\d(?:[T ][\d:.]+)?)Z?")
UNITS = {"day": "D", "hour": "h", "minute": "m", "second": "s", "millisecond": "ms"}
UNITS |= {"microsecond": "us", "nanosecond": "ns"}


def read_times(group: "Group", name: str | None, steps: int) -> tuple[Span | None, ...]:
    """Read the moments of an axis.

    Args:
        group: The group, with an array of the axis' name: years, dates of NumPy, or numbers with
            the attribute `units` of CF, such as "days since 2000-01-01".
        name: Name of the axis, or None without one.
        steps: Its length.

    Returns:
        First and last moment of each step, UTC, datetime64[us]: the whole year of a year. None
        where there is no date that can be read.
    """
    nothing = (None,) * steps
    if name is None or name not in group:
        return nothing
    array = group[name]
    values: Any = np.asarray(array[...])  # type: ignore[index]
    if values.shape != (steps,):
        return nothing
    units = SINCE.match(str(array.attrs.get("units", "")))
    if values.dtype.kind == "M":
        return tuple(_moment(value) for value in values)
    if units and units["unit"] in UNITS and values.dtype.kind in "iu":
        start = np.datetime64(units["start"].replace(" ", "T"), "us")
        unit: Any = UNITS[units["unit"]]
        return tuple(_moment(start + np.timedelta64(int(value), unit)) for value in values)
    if values.dtype.kind in "iu" and ((YEARS[0] <= values) & (values <= YEARS[1])).all():
        return tuple(_year(int(value)) for value in values)
    return nothing


def _moment(value: np.datetime64) -> Span | None:
    moment = value.astype("datetime64[us]")
    return None if np.isnat(moment) else (moment, moment)


def _year(year: int) -> Span:
    last = dt.datetime(year, 12, 31, 23, 59, 59, 999_999)  # noqa: DTZ001 - NumPy's have no zone
    return np.datetime64(dt.datetime(year, 1, 1), "us"), np.datetime64(last, "us")  # noqa: DTZ001
