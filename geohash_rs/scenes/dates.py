"""Find when a scene was taken, from an argument, its file name or its tags."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from geohash_rs.errors import SceneError
from geohash_rs.scenes.yearly import dates_by_convention
from geohash_rs.store.times import EXAMPLE, parse_iso

__all__ = ["DATE_TAGS", "DateArgument", "DateRange", "DateRule"]

DateRange = tuple[datetime, datetime]
DateArgument = str | date | datetime | tuple[str | date, str | date] | Callable[[str], object]

# A date of eight digits, with or without separators, as in the names of Sentinel-2, Landsat,
# PlanetScope and NAIP files.
COMMON_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<sep>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=sep)"
    r"(?P<day>0[1-9]|[12]\d|3[01])(?!\d)"
)
# Year and day of the year, only in these naming conventions: elsewhere seven digits are a number.
# HLS; MODIS and VIIRS; AppEEARS; Landsat before its collections.
YEAR_DAY = re.compile(
    r"(?:^HLS\.[LS]30\.T\w{5}\.|\.A|_doy|^L[CEOTM]\d{7})(?P<text>(?:19|20)\d\d[0-3]\d\d)"
    r"(?=T\d{6}|[A-Z]{3}\d\d|[._]|$)"
)
# Sentinel-2 before December 2016: the first date of a name is that of processing, and only names of
# products and data strips state when they were sensed.
OLD_SENTINEL_2 = re.compile(r"S2[A-D]_OPER_")
SENSED = re.compile(r"S2[A-D]_OPER_[^/]*?_[VS](?P<text>20\d{6})T\d{6}")
# A table of scenes cannot hold other moments: https://pandas.pydata.org/docs/user_guide/timeseries.html
EARLIEST, LATEST = datetime(1678, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
DATE_TAGS = ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME")
TAG_DATE = re.compile(r"^(\d{4}):(\d\d):(\d\d)")  # the form in TIFF tags


@dataclass(frozen=True, kw_only=True)
class DateRule:
    """Sources for the date of a scene; the first that has a date is used.

    Attributes:
        argument: A date, a pair of first and last date, or a function of the scene's path.
        filename_regex: Pattern with a group ``date``, or groups ``start`` and ``stop``, matched at
            the start of the file name, as in TorchGeo. None looks for common date formats.
        date_format: Format of those groups, as in TorchGeo.
    """

    argument: DateArgument | None = None
    filename_regex: str | None = None
    date_format: str = "%Y%m%d"

    def dates(self, path: str, tags: dict[str, str]) -> DateRange | None:
        """Date a scene from the argument, its file name or its tags.

        Args:
            path: Path or URI of the scene.
            tags: TIFF tags of the scene.

        Returns:
            First and last moment in UTC, or None if no date is found.

        Raises:
            SceneError: If the argument or the text matched by the pattern is not a date, or is
                outside the years that a table can hold.
        """
        if self.argument is not None:
            given = self.argument(path) if callable(self.argument) else self.argument
            if given is not None and given == given:  # NaT, as in tables, is not a date either
                return _argument_dates(given, path)
        # The signature of a signed URL contains the date of signing.
        path = path.partition("?")[0].replace("\\", "/")
        known = dates_by_convention(path) if self.filename_regex is None else None
        return known or self._from_name(path) or _tag_dates(tags)

    def _from_name(self, path: str) -> DateRange | None:
        name = path.rsplit("/", 1)[-1]
        if self.filename_regex is None:
            if OLD_SENTINEL_2.match(name):
                for found in SENSED.finditer(path):
                    with suppress(ValueError):
                        return parse_iso(found["text"])
                return None
            for found in YEAR_DAY.finditer(name):
                with suppress(ValueError):
                    return parse_iso(found["text"])
            for found in COMMON_DATE.finditer(name):
                year, month, day = (int(found[part]) for part in ("year", "month", "day"))
                try:
                    return _whole_day(datetime(year, month, day, tzinfo=UTC))
                except ValueError:
                    continue
            return None
        try:
            found_name = re.match(self.filename_regex, name, re.VERBOSE)
        except re.error as error:
            msg = (
                f"filename_regex {self.filename_regex!r} is not a valid pattern: {error}; correct "
                "it."
            )
            raise SceneError(msg) from error
        groups = found_name.groupdict() if found_name else {}
        if groups.get("date"):
            return _in_order(*self._parse(groups["date"], name), name)
        if groups.get("start") and groups.get("stop"):
            first, last = (
                self._parse(groups["start"], name)[0],
                self._parse(groups["stop"], name)[1],
            )
            return _in_order(first, last, name)
        return None

    def _parse(self, text: str, name: str) -> DateRange:
        from torchgeo.datasets.utils import disambiguate_timestamp

        try:
            first, last = disambiguate_timestamp(text, self.date_format)
        except ValueError as error:
            msg = (
                f"{name}: {text!r} is not a date of the form {self.date_format!r}; pass "
                "filename_regex=... and date_format=... that match the file names."
            )
            raise SceneError(msg) from error
        return _utc(first), _utc(last)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _whole_day(first: datetime) -> DateRange:
    return first, first.replace(hour=23, minute=59, second=59, microsecond=999999)


def _argument_dates(given: object, path: str) -> DateRange:
    name = Path(path).name
    if isinstance(given, str) and "/" in given:
        given = given.split("/")
    pair = tuple(given) if isinstance(given, tuple | list) else (given, given)
    if len(pair) != 2:
        msg = f"{name}: datetime {given!r} is not a pair; pass the first and last moment."
        raise SceneError(msg)
    first, last = (_argument_date(value, name) for value in pair)
    return _in_order(first[0], last[1], name)


def _argument_date(value: object, name: str) -> DateRange:
    if isinstance(value, datetime):
        return _utc(value), _utc(value)
    try:
        if not isinstance(value, str | date):
            msg = f"a {type(value).__name__} is not a date; {EXAMPLE}"
            raise TypeError(msg)
        return parse_iso(str(value))
    except (TypeError, ValueError) as error:
        msg = f"{name}: datetime {value!r} is not a date: {error}."
        raise SceneError(msg) from error


def _in_order(first: datetime, last: datetime, name: str) -> DateRange:
    if first > last:
        msg = (
            f"{name}: datetime ends ({last.isoformat()}) before it starts ({first.isoformat()}); "
            "pass the earlier moment first."
        )
        raise SceneError(msg)
    if last < EARLIEST or first > LATEST:
        msg = (
            f"{name}: datetime {first.isoformat()} is not a date between the years "
            f"{EARLIEST.year} and {LATEST.year}; correct it."
        )
        raise SceneError(msg)
    return max(first, EARLIEST), min(last, LATEST)  # 9999-12-31 marks an open end


def _tag_dates(tags: dict[str, str]) -> DateRange | None:
    for tag in DATE_TAGS:
        with suppress(ValueError):
            first, last = parse_iso(TAG_DATE.sub(r"\1-\2-\3", tags.get(tag, "").strip()))
            if EARLIEST <= first <= last <= LATEST:  # a camera without a clock writes 0001:01:01
                return first, last
    return None
