"""Plots of an evaluation: mAP by bits, curves, a projection, and matches."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # no pyplot: no global state, no window

from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.report import deviation, grouped
from geohash_rs.hashing.data.bigearthnet import read_patch
from geohash_rs.hashing.data.class_folders import read_picture, read_tile

__all__ = ["write_plots"]

RIGHT, WRONG, QUERY = "#2a9d4a", "#d62828", "#222222"
MARKERS = "osD^vPX*"
LINES = ("-", "--", "-.", ":")


def write_plots(
    result: Mapping[str, Any], folder: str | Path, *, root: str | Path | None = None
) -> list[Path]:
    """Plot the results of an evaluation.

    - ``map_by_bits.png``: mAP@20 by code length, mean and sample standard deviation over seeds.
    - ``precision_recall.png``: precision and recall as the search radius grows, longest codes,
      first seed.
    - ``losses.png``: loss terms of each recipe, longest codes, first seed.
    - ``projection.png``: activations of the archive in a plane, coloured by class; for the first
      recipe, or the first method if there is no recipe, longest codes, first seed.
    - ``matches.png``: queries and their nearest tiles, wrong ones framed in red; for the same run.

    Args:
        result: Result of `evaluate`; the last two plots need its ``pictures=True``.
        folder: Folder for the PNG files; made if it does not exist.
        root: Folder that the paths of the matches are relative to; None skips ``matches.png``.

    Returns:
        The files.

    Raises:
        TrainingError: If a tile of the matches cannot be read.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    figures = {"map_by_bits": _map_by_bits(result)}
    if result["curves"]:
        figures["precision_recall"] = _precision_recall(result)
    if result["histories"]:
        figures["losses"] = _losses(result)
    pictures = result.get("pictures") or {}
    if pictures:
        figures["projection"] = _projection(pictures)
    if pictures and root is not None:
        figures["matches"] = _matches(pictures, Path(root))
    for name, figure in figures.items():
        figure.savefig(target / f"{name}.png", dpi=130)
    return [target / f"{name}.png" for name in figures]


def _map_by_bits(result: Mapping[str, Any]) -> Figure:
    figure, axes = _axes((7.5, 4.5))
    groups = grouped(result, "map@20")
    lengths = sorted({bits for _, _, bits in groups if bits})
    archives = list(dict.fromkeys(archive for _, archive, _ in groups))
    methods = list(dict.fromkeys(method for method, _, _ in groups))
    for index, method in enumerate(methods):
        for line, archive in zip(LINES, archives, strict=False):
            label = method if len(archives) == 1 else f"{method}, {archive}"
            style: dict[str, Any] = {"color": _colour(index), "label": label, "linestyle": line}
            if (method, archive, 0) in groups:
                style["linestyle"] = ":" if len(archives) == 1 else line
                axes.axhline(float(np.mean(groups[method, archive, 0])), **style)
                continue
            values = [groups[method, archive, n] for n in lengths]
            means = [float(np.mean(found)) for found in values]
            deviations = [deviation(found) for found in values]
            marker = MARKERS[index % len(MARKERS)]
            axes.errorbar(lengths, means, deviations, marker=marker, capsize=3, **style)
    axes.set(xlabel="bits", ylabel="mAP@20", xticks=lengths)
    axes.set_title(f"{result['settings']['root']}, protocol {result['settings']['protocol']}")
    _legend_beside(figure, axes)
    return figure


def _precision_recall(result: Mapping[str, Any]) -> Figure:
    figure, axes = _axes((7.5, 4.5))
    longest = _longest(result["curves"])
    for index, (method, name) in enumerate(longest.items()):
        curve = result["curves"][name]
        marker = MARKERS[index % len(MARKERS)] if method != "float" else None
        axes.plot(
            curve["recall"], curve["precision"], marker=marker, markersize=4,
            color=_colour(index), label=method, linestyle="-" if marker else ":",
        )  # fmt: skip
    bits = max(int(name.split("-")[-2]) for name in longest.values())
    seed = next(iter(longest.values())).split("-")[-1]
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    radius = f"Hamming radius, {bits} bits" if bits else "radius of features"
    axes.set_title(f"within a growing {radius}, seed {seed}")
    _legend_beside(figure, axes)
    return figure


def _losses(result: Mapping[str, Any]) -> Figure:
    longest = _longest(result["histories"])
    same: dict[str, list[str]] = {}
    for method, name in longest.items():  # methods that differ only in views share a training run
        same.setdefault(str(result["histories"][name]), []).append(method)
    figure = Figure(figsize=(6.5, 3.2 * len(same)), layout="constrained")
    panels = figure.subplots(len(same), 1, squeeze=False)[:, 0]
    for axes, methods in zip(panels, same.values(), strict=True):
        name = longest[methods[0]]
        history = result["histories"][name]
        for index, term in enumerate(key for key in history if key != "steps"):
            width = 2.2 if term == "loss" else 1.2
            axes.plot(
                history["steps"], history[term], label=term, color=_colour(index), linewidth=width
            )
        axes.set(xlabel="iteration", ylabel="loss")
        axes.set_yscale("symlog", linthresh=0.01)
        _, bits, seed = name.rsplit("-", 2)
        axes.set_title(f"{', '.join(methods)}: {bits} bits, seed {seed}", fontsize=10)
        _tidy(axes)
        axes.legend(fontsize="small", frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def _projection(pictures: Mapping[str, Any]) -> Figure:
    figure, axes = _axes((9, 6.5))
    placed = pictures["projection"]
    x, y, names = (np.array(placed[key]) for key in ("x", "y", "class"))
    for index, name in enumerate(sorted(set(names))):
        inside = names == name
        axes.scatter(
            x[inside], y[inside], s=14, color=_colour(index), label=_short(name),
            marker=MARKERS[index // 10 % len(MARKERS)], linewidths=0,
        )  # fmt: skip
    axes.set(xticks=[], yticks=[], aspect="equal")
    axes.set_title(f"{_what(pictures)}: {placed['method']}")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _legend_beside(figure, axes)
    return figure


def _matches(pictures: Mapping[str, Any], root: Path) -> Figure:
    rows = pictures["matches"]
    columns = 1 + max(len(row["matches"]) for row in rows)
    figure = Figure(figsize=(1.25 * columns, 1.55 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(grid, rows, strict=True):
        for axes in line:
            axes.set_axis_off()
        _tile(line[0], root / row["path"], title=_short(row["class"]), colour=QUERY)
        for axes, match in zip(line[1:], row["matches"], strict=False):
            distance = f"{match['distance']:.3g}"
            title = distance if match["right"] else f"{distance}, {_short(match['class'])}"
            colour = RIGHT if match["right"] else WRONG
            _tile(axes, root / match["path"], title=title, colour=colour)
    figure.suptitle(
        f"{_what(pictures)}: queries and their nearest tiles with distances; wrong ones in red. "
        "The lower half shows the worst queries.",
        fontsize=10,
    )
    return figure


def _what(pictures: Mapping[str, Any]) -> str:
    method, bits = pictures["method"], pictures["bits"]
    return f"{method}, {bits} bits" if bits else str(method)


def _tile(axes: Axes, path: Path, *, title: str, colour: str) -> None:
    axes.set_axis_on()
    axes.imshow(_picture(path))
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=7, color=colour, pad=2)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2.5)


def _picture(path: Path) -> Any:  # noqa: ANN401
    """Read a tile as red, green and blue in [0, 1], stretched unless it is an 8-bit picture.

    Raises:
        TrainingError: If the tile does not exist or cannot be read.
    """
    if not path.exists():
        msg = f"{path} does not exist; pass root=, the folder of the evaluated tiles."
        raise TrainingError(msg)
    is_raster = path.suffix.lower() in {".tif", ".tiff"}
    if path.is_dir():
        bands = read_patch(path).float()
        chosen = bands[[3, 2, 1]] if len(bands) >= 4 else bands
    else:
        chosen = (read_picture(path) if is_raster else read_tile(path)).float()
    chosen = chosen[[min(i, len(chosen) - 1) for i in range(3)]]
    if path.is_dir() or is_raster:
        low, high = np.percentile(chosen, (2, 98))
        chosen = (chosen - float(low)) / max(float(high - low), 1e-6)
    else:
        chosen = chosen / 255
    return chosen.clamp(0, 1).permute(1, 2, 0).numpy()


def _longest(named: Mapping[str, Any]) -> dict[str, str]:
    """Return, for each method, the name of its run with the longest codes and the first seed."""
    found: dict[str, tuple[int, int, str]] = {}
    for name in named:
        method, bits, seed = name.rsplit("-", 2)
        best = (int(bits), -int(seed), name)
        found[method] = max(found.get(method, best), best)
    return {method: name for method, (*_, name) in found.items()}


def _axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    _tidy(axes)
    return figure, axes


def _tidy(axes: Axes) -> None:
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _legend_beside(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize="small", frameon=False)


def _colour(index: int) -> Sequence[float]:
    colour: Sequence[float] = colormaps["tab10"](index % 10)
    return colour


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"
