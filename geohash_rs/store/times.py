"""Read moments and ranges of time from ISO 8601 text."""

import datetime as dt
import re
from calendar import monthrange

__all__ = ["EXAMPLE", "parse_iso"]

EXAMPLE = "write it like 2023-06-30, 2023-06, 2023 or 2023-06-30T12:00Z (ISO 8601)"

DATE = (
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d))?|(?P<month2>\d\d)(?P<day2>\d\d)"
    r"|-?(?P<ordinal>\d{3})|-?W(?P<week>\d\d)(?:-?(?P<weekday>[1-7]))?)?"
)
TIME = (
    r"[Tt ](?P<hour>\d\d)(?::?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,](?P<part>\d+))?)?)?"
    r" ?(?P<zone>[Zz]|[+-]\d\d(?::?\d\d)?)?"
)
ISO = re.compile(f"{DATE}(?:{TIME})?", re.ASCII)
DAY = dt.timedelta(days=1)
LAST = dt.timedelta(microseconds=1)  # before the next day begins


def parse_iso(text: str) -> tuple[dt.datetime, dt.datetime]:
    """Read a moment, day, week, month or year.

    Args:
        text: ISO 8601, basic or extended: ``2023``, ``2023-06``, ``2023-06-30``, ``20230630``,
            ``2023-181`` (day of the year), ``2023-W26``, and for days also a time, with or without
            a zone. A time without zone is UTC.

    Returns:
        Its first and last moment in UTC; they are the same where a time of day is given.

    Raises:
        ValueError: If it is anything else.

    >>> parse_iso("2023-02")[1].isoformat()
    '2023-02-28T23:59:59.999999+00:00'
    >>> parse_iso("20230630T0130+0200")[0].isoformat()
    '2023-06-29T23:30:00+00:00'
    """
    found = ISO.fullmatch(text.strip())
    if found is None:
        msg = f"{text!r} is not a date; {EXAMPLE}"
        raise ValueError(msg)
    parts = found.groupdict()
    try:
        first, last = _days(parts)
        if parts["hour"] is None:
            return first, last + (DAY - LAST)
        if last != first:
            msg = "a time of day needs a day"
            raise ValueError(msg)
        moment = first + _time_of_day(parts)
        return moment, moment
    except (ValueError, OverflowError) as error:
        msg = f"{text!r} is not a date ({error}); {EXAMPLE}"
        raise ValueError(msg) from error


def _days(parts: dict[str, str | None]) -> tuple[dt.datetime, dt.datetime]:
    """Return the first and last day.

    Raises:
        ValueError: If there is no such day.
    """
    year = int(parts["year"] or 0)
    if parts["week"]:
        monday = dt.date.fromisocalendar(year, int(parts["week"]), int(parts["weekday"] or 1))
        return _midnight(monday), _midnight(monday) + (0 if parts["weekday"] else 6) * DAY
    if parts["ordinal"]:
        day = _midnight(dt.date(year, 1, 1)) + (int(parts["ordinal"]) - 1) * DAY
        if day.year != year:
            msg = f"{year} has no day {parts['ordinal']}"
            raise ValueError(msg)
        return day, day
    month, day_text = parts["month"] or parts["month2"], parts["day"] or parts["day2"]
    if month is None:
        return _midnight(dt.date(year, 1, 1)), _midnight(dt.date(year, 12, 31))
    if day_text is None:
        first = dt.date(year, int(month), 1)
        return _midnight(first), _midnight(first.replace(day=monthrange(year, int(month))[1]))
    day = _midnight(dt.date(year, int(month), int(day_text)))
    return day, day


def _time_of_day(parts: dict[str, str | None]) -> dt.timedelta:
    """Return the time since midnight UTC."""
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    micro = int(f"{parts['part'] or ''}000000"[:6])
    if hour == 24 and not (minute or second or micro):  # the end of the day
        since = DAY
    else:
        time = dt.time(hour, minute, second, micro)
        since = dt.datetime.combine(dt.date.min, time) - dt.datetime.min
    zone = parts["zone"] or "Z"
    if zone in "Zz":
        return since
    digits = zone[1:].replace(":", "").ljust(4, "0")
    offset = dt.time(int(digits[:2]), int(digits[2:]))
    away = dt.timedelta(hours=offset.hour, minutes=offset.minute)
    return since - away if zone[0] == "+" else since + away


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time.min, tzinfo=dt.UTC)
