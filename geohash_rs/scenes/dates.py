"""Tell when a scene was taken, from an argument, its file name or its tags."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path

from geohash_rs.errors import SceneError

__all__ = ["DateArgument", "DateRange", "DateRule"]

DateRange = tuple[datetime, datetime]
DateArgument = str | date | datetime | tuple[str | date, str | date] | Callable[[str], object]

# Eight digits that are a date, alone or with one kind of separator, as in the names of Sentinel-2,
# Landsat, PlanetScope and NAIP files.
COMMON_DATE = re.compile(
    r"(?<!\d)(?P<year>(?:19|20)\d\d)(?P<sep>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=sep)"
    r"(?P<day>0[1-9]|[12]\d|3[01])(?!\d)"
)


@dataclass(frozen=True, kw_only=True)
class DateRule:
    """Where the date of a scene comes from; the first of these that gives one.

    Attributes:
        argument: A date, a pair of first and last, or a function of the scene's path.
        filename_regex: Pattern with a group ``date``, or groups ``start`` and ``stop``, matched at
            the start of the file name, as in TorchGeo. None looks for a common form of date.
        date_format: Form of those groups, as in TorchGeo.
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
            First and last moment in UTC, or None if nothing tells.

        Raises:
            SceneError: If the argument or the part that the pattern found is no date.
        """
        if self.argument is not None:
            given = self.argument(path) if callable(self.argument) else self.argument
            if given is not None and given == given:  # NaT, as tables have it, is no date either
                return _argument_dates(given, path)
        # The signature of a signed address holds the date of signing.
        name = path.partition("?")[0].rsplit("/", 1)[-1]
        return self._from_name(name) or _tag_dates(tags)

    def _from_name(self, name: str) -> DateRange | None:
        if self.filename_regex is None:
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
            msg = f"filename_regex {self.filename_regex!r} is no pattern: {error}; correct it."
            raise SceneError(msg) from error
        groups = found_name.groupdict() if found_name else {}
        if groups.get("date"):
            return self._parse(groups["date"], name)
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
                f"{name}: {text!r} is no date of the form {self.date_format!r}; "
                "pass filename_regex=... and date_format=... that fit the file names."
            )
            raise SceneError(msg) from error
        return _utc(first), _utc(last)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _whole_day(first: datetime) -> DateRange:
    return first, first.replace(hour=23, minute=59, second=59, microsecond=999999)


def _argument_dates(given: object, path: str) -> DateRange:
    pair = tuple(given) if isinstance(given, tuple | list) else (given, given)
    if len(pair) != 2:
        msg = f"{Path(path).name}: datetime {given!r} is no pair; give the first and last moment."
        raise SceneError(msg)
    moments = []
    for end, value in enumerate(pair):
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else _moment(value)
        except ValueError:
            moment = None
        if not isinstance(moment, datetime):
            msg = (
                f"{Path(path).name}: datetime {value!r} is no date; pass an ISO 8601 string such "
                "as '2023-06-01', a datetime, or a pair of them."
            )
            raise SceneError(msg)
        whole_day = not isinstance(value, datetime) and len(str(value)) <= 10
        moments.append(_whole_day(_utc(moment))[end] if whole_day else _utc(moment))
    return _in_order(moments[0], moments[1], Path(path).name)


def _moment(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime.combine(value, time.min)
    return value


def _in_order(first: datetime, last: datetime, name: str) -> DateRange:
    if first > last:
        msg = (
            f"{name}: datetime ends ({last.isoformat()}) before it starts ({first.isoformat()}); "
            "give the earlier moment first."
        )
        raise SceneError(msg)
    return first, last


def _tag_dates(tags: dict[str, str]) -> DateRange | None:
    forms = ("%Y:%m:%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S")
    for tag in ("ACQUISITIONDATETIME", "TIFFTAG_DATETIME"):
        for form in forms:
            try:
                moment = datetime.strptime(tags.get(tag, "").rstrip("Z").strip()[:19], form)
            except ValueError:
                continue
            return moment.replace(tzinfo=UTC), moment.replace(tzinfo=UTC)
    return None
