"""What people read about a match: its rank, distance, date and scene."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from geohash_rs.export.plain_text import plain_text

__all__ = ["bits_text", "facts_of", "markers_of", "moment_text", "query_text"]


def facts_of(row: dict[str, Any], number: int) -> tuple[str, str, str]:
    """Return rank, distance and date of a match as text.

    Args:
        row: Its columns.
        number: Used as the rank if it has none.

    Returns:
        Rank, distance and date; the distance is empty if it has none.
    """
    bits = row.get("distance")
    far = "" if bits is None else bits_text(int(bits))
    return str(row.get("rank", number)), far, moment_text(row.get("datetime"))


def markers_of(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """Return what matches are numbered with, on a map and in a list.

    Args:
        rows: Their columns.

    Returns:
        Their ranks; if many queries have a ranking each, after the number of the query.

    >>> markers_of([{"rank": 1}, {"rank": 2}])
    ['1', '2']
    >>> markers_of([{"query": "a", "rank": 1}, {"query": "b", "rank": 1}])
    ['1.1', '2.1']
    """
    ranks = [str(row.get("rank", number)) for number, row in enumerate(rows, 1)]
    if len(set(ranks)) == len(ranks) or "query" not in rows[0]:
        return ranks
    numbers: dict[object, int] = {}
    for row in rows:
        numbers.setdefault(row["query"], len(numbers) + 1)
    return [f"{numbers[row['query']]}.{rank}" for row, rank in zip(rows, ranks, strict=True)]


def query_text(row: Mapping[str, object]) -> str:
    """Return which of many queries a match or an example belongs to.

    Args:
        row: Its columns.

    Returns:
        Text such as "query 17"; empty if there is one query only.

    >>> query_text({"query": 17, "rank": 1}), query_text({"rank": 1})
    ('query 17', '')
    """
    name = row.get("query")
    return "" if name is None else plain_text(f"query {name}")


def bits_text(distance: int) -> str:
    """Return a Hamming distance as text."""
    return f"{distance} bit{'s' * (distance != 1)}"


def moment_text(moment: object) -> str:
    """Return a date as text, with its time unless that is midnight.

    Args:
        moment: A time in UTC, or a missing value.

    Returns:
        Text such as "2023-05-14" or "2023-05-14 10:31 UTC"; "no date" if it is missing.

    >>> moment_text(dt.datetime(2023, 5, 14, 10, 31, tzinfo=dt.UTC)), moment_text(None)
    ('2023-05-14 10:31 UTC', 'no date')
    """
    if not isinstance(moment, dt.datetime) or moment != moment:  # NaT is a datetime
        return "no date"
    at_midnight = moment.time() == dt.time()
    return f"{moment:%Y-%m-%d}" if at_midnight else f"{moment:%Y-%m-%d %H:%M} UTC"
