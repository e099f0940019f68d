"""Say what was measured: a Markdown table and the pictures of the paper."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["summary_table", "write_plots"]


def summary_table(result: Mapping[str, Any], *, measure: str = "map@20") -> str:
    """Write mean and standard deviation over seeds as a Markdown table.

    Args:
        result: What `evaluate` returned.
        measure: Column of its rows.

    Returns:
        One row a method and archive, one column a code length, and how AP was computed.
    """
    groups = _grouped(result, measure)
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
        f"{measure}, mean and standard deviation over seeds; protocol {settings['protocol']}, "
        f"{settings['tiles']} tiles, {len(settings['classes'])} classes of {settings['root']}. AP "
        f"divides by the {settings['denominator']}; ties: {settings['ties']}; a query never finds "
        "itself.",
    ]
    return "\n".join(lines) + "\n"


def write_plots(result: Mapping[str, Any], folder: str | Path) -> list[Path]:
    """Draw mAP against bits, and the losses of every training.

    Args:
        result: What `evaluate` returned.
        folder: Folder for the PNG files; made if absent.

    Returns:
        The files.
    """
    from matplotlib.figure import Figure  # no pyplot: no global state, no window

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    groups = _grouped(result, "map@20")
    for method, archive in dict.fromkeys((m, a) for m, a, _ in groups):
        points = sorted((b, v) for (m, a, b), v in groups.items() if (m, a) == (method, archive))
        means = [float(np.mean(values)) for _, values in points]
        if points[0][0] == 0:
            axes.axhline(means[0], linestyle=":", label=f"{method}, {archive}")
            continue
        deviations = [float(np.std(values)) for _, values in points]
        lengths = [bits for bits, _ in points]
        axes.errorbar(lengths, means, deviations, marker="o", label=f"{method}, {archive}")
    axes.set(xlabel="bits", ylabel="mAP@20")
    axes.legend(fontsize="small")
    written = [target / "map_by_bits.png"]
    figure.savefig(written[0], dpi=120)
    if result["histories"]:
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        for name, history in result["histories"].items():
            if name.endswith("-0"):
                axes.plot(history["steps"], history["loss"], label=name.removesuffix("-0"))
        axes.set(xlabel="iteration", ylabel="loss")
        axes.legend(fontsize="small")
        written.append(target / "losses.png")
        figure.savefig(written[1], dpi=120)
    return written


def _grouped(result: Mapping[str, Any], measure: str) -> dict[tuple[str, str, int], list[float]]:
    groups: dict[tuple[str, str, int], list[float]] = {}
    for row in result["rows"]:
        if measure in row:
            key = (row["method"], row["archive"], row["bits"])
            groups.setdefault(key, []).append(row[measure])
    return groups


def _cell(values: list[float]) -> str:
    if not values:
        return ""
    spread = f" ± {np.std(values):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"
