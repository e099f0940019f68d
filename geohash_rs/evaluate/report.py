"""Summarise an evaluation as a Markdown table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["deviation", "grouped", "summary_table"]


def summary_table(result: Mapping[str, Any], *, measure: str = "map@20") -> str:
    """Format mean and sample standard deviation over seeds as a Markdown table.

    Args:
        result: Result of `evaluate`.
        measure: Column of its rows.

    Returns:
        One row per method and archive, one column per code length, and how AP was computed.
    """
    groups = grouped(result, measure)
    lengths = sorted({bits for _, _, bits in groups if bits})
    lines = [
        "| method | archive | " + " | ".join(f"{n} bits" for n in lengths) + " | passes |",
        "|---|---|" + "---|" * (len(lengths) + 1),
    ]
    passes = {row["method"]: row["passes"] for row in result["rows"]}
    for method, archive in dict.fromkeys((m, a) for m, a, _ in groups):
        cells = [
            _cell(groups.get((method, archive, n), groups.get((method, archive, 0), [])))
            for n in lengths or [0]
        ]
        lines.append(f"| {method} | {archive} | {' | '.join(cells)} | {passes[method]} |")
    settings = result["settings"]
    lines += [
        "",
        f"{measure}, mean and sample standard deviation over seeds; protocol "
        f"{settings['protocol']}, {settings['tiles']} tiles, {len(settings['classes'])} classes of "
        f"{settings['root']}. AP divides by the {settings['denominator']}; ties: "
        f"{settings['ties']}; a query never finds itself.",
    ]
    return "\n".join(lines) + "\n" + _several_labels(result)


def _several_labels(result: Mapping[str, Any]) -> str:
    """Add measures of graded relevance, as means over seeds, if tiles have several labels."""
    measures = [m for m in ("ndcg@20", "acg@20", "weighted_map@20") if m in result["rows"][0]]
    if not measures:
        return ""
    lines = [f"| method | archive | bits | {' | '.join(measures)} |", "|---|---|---|---|---|---|"]
    columns = [grouped(result, measure) for measure in measures]
    for method, archive, bits in columns[0]:
        cells = " | ".join(_cell(column[method, archive, bits]) for column in columns)
        lines.append(f"| {method} | {archive} | {bits or ''} | {cells} |")
    lines += [
        "",
        "ndcg@20 lies between 0 and 1. acg@20 and weighted_map@20 count the labels that a query "
        "and a tile share: they lie between 0 and the most labels of a tile, and may exceed 1.",
    ]
    return "\n" + "\n".join(lines) + "\n"


def grouped(result: Mapping[str, Any], measure: str) -> dict[tuple[str, str, int], list[float]]:
    """Gather a measure over the seeds.

    Args:
        result: Result of `evaluate`.
        measure: Column of its rows.

    Returns:
        Values by method, archive and bits, in the order of the rows.
    """
    groups: dict[tuple[str, str, int], list[float]] = {}
    for row in result["rows"]:
        if measure in row:
            key = (row["method"], row["archive"], row["bits"])
            groups.setdefault(key, []).append(row[measure])
    return groups


def deviation(values: list[float]) -> float:
    """Compute the sample standard deviation, with n - 1: the seeds are a small sample.

    Args:
        values: One value per seed.

    Returns:
        The deviation; 0 for a single value.
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {deviation(values):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
