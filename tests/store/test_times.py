"""ISO 8601 as people write it, against the standard library and days counted by hand."""

import datetime as dt

import numpy as np
import pytest

from geohash_rs.errors import TimeRangeError
from geohash_rs.store.search.filters import parse_time
from geohash_rs.store.times import parse_iso

LAST = "T23:59:59.999999+00:00"


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2023", "2023-01-01", "2023-12-31"),
        ("2024-02", "2024-02-01", "2024-02-29"),
        ("2023-06-30", "2023-06-30", "2023-06-30"),
        ("20230630", "2023-06-30", "2023-06-30"),
        (" 2023-181 ", "2023-06-30", "2023-06-30"),
        ("2024060", "2024-02-29", "2024-02-29"),
        ("2023-W01", "2023-01-02", "2023-01-08"),
        ("2020W537", "2021-01-03", "2021-01-03"),
        ("9999-12-31", "9999-12-31", "9999-12-31"),
    ],
)
def test_a_period_has_a_first_and_last_moment(text: str, first: str, last: str) -> None:
    assert [m.isoformat() for m in parse_iso(text)] == [f"{first}T00:00:00+00:00", f"{last}{LAST}"]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2023-06-30T12", "2023-06-30T12:00:00"),
        ("20230630T123045Z", "2023-06-30T12:30:45"),
        ("2023-06-30 12:30:45,5", "2023-06-30T12:30:45.500000"),
        ("2023-06-30T12:30:45.123456789z", "2023-06-30T12:30:45.123456"),
        ("2023-06-30T01:30+05:45", "2023-06-29T19:45:00"),
        ("2023-06-30T23:30:00-0330", "2023-07-01T03:00:00"),
        ("2023-181T06-07", "2023-06-30T13:00:00"),
        ("2023-06-30T24:00", "2023-07-01T00:00:00"),
    ],
)
def test_a_moment_is_brought_to_utc(text: str, moment: str) -> None:
    assert [m.isoformat() for m in parse_iso(text)] == [f"{moment}+00:00"] * 2


def test_what_python_reads_as_a_moment_is_read_alike() -> None:
    for text in ("2023-06-30T12:30:45.25+02:00", "20230630T1230-0500", "2023-W26-5T08:15Z"):
        assert parse_iso(text)[0] == dt.datetime.fromisoformat(text)


@pytest.mark.parametrize(
    "text",
    [
        "07.08.2023", "08/07/2023", "7 August 2023", "202306", "2023-6-3", "2023-13", "2023-02-30",
        "2023-366", "2023-W54", "2023-06T12:00", "2023-06-30T25:00", "2023-06-30T12:60", "0000",
        "2023-06-30T12:00+25:00", "yesterday", "P1M", "", "1688083200", "２０２３",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a date.*write it like 2023-06-30"):
        parse_iso(text)


@pytest.mark.parametrize(
    ("time", "start", "end"),
    [
        ("2023-06", "2023-06-01T00:00", "2023-06-30T23:59:59.999999"),
        ("2023-06-01/2023-06-30", "2023-06-01T00:00", "2023-06-30T23:59:59.999999"),
        ("2023-06-01T02:00+02:00/..", "2023-06-01T00:00", None),
        (" .. /2023", None, "2023-12-31T23:59:59.999999"),
        ("/2023-001", None, "2023-01-01T23:59:59.999999"),
    ],
)
def test_a_range_can_be_one_text(time: str, start: str | None, end: str | None) -> None:
    found = parse_time(time)
    for have, want in ((found.start, start), (found.end, end)):
        assert have == (None if want is None else int(np.datetime64(want, "us").astype(np.int64)))


@pytest.mark.parametrize(
    "time",
    ["07.08.2023/09.08.2023", "2023-01-01/P1M", "a/b/c", (2023, 2024), (1.7e9, None), ("2023",)],
)
def test_a_range_that_is_not_iso_8601_is_refused(time: object) -> None:
    with pytest.raises(TimeRangeError, match=r"write it like 2023-06-30|must be a pair"):
        parse_time(time)  # type: ignore[arg-type]


def test_an_empty_text_is_not_all_of_time() -> None:
    with pytest.raises(TimeRangeError, match=r"time is empty; write a period, such as 2023-06"):
        parse_time(" ")


@pytest.mark.parametrize("unit", ["W", "7D", "10Y"])
def test_units_whose_end_is_in_doubt_are_refused(unit: str) -> None:
    moment = np.datetime64("2023-06-30").astype(f"datetime64[{unit}]")
    with pytest.raises(TimeRangeError, match="neither a year, a month nor a day; write it like"):
        parse_time((None, moment))
