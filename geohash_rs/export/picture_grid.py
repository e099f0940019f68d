"""Draw matches and their query as a grid of pictures with matplotlib."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import QueryError
from geohash_rs.export.changed import changed_text
from geohash_rs.export.examples import ShownExample, outlines, read_examples
from geohash_rs.export.locator import CREDIT, Locator
from geohash_rs.export.lonlat import lonlat_geometries
from geohash_rs.export.match_text import facts_of, query_text
from geohash_rs.export.notebook import NEEDED
from geohash_rs.export.plain_text import scene_name
from geohash_rs.export.row_pictures import read_pictures, warn_of

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["plot_grid"]

SIZE = 192  # px of a picture
LINE = 24  # characters in the width of a picture
SMALL = 7  # pt
TEAL, DARK, GREY, PINK = "#0f6376", "#17212b", "#6b7c8c", "#c3174b"


def plot_grid(
    matches: "GeoDataFrame", *, columns: int = 6, most: int = 24, remote_scenes: bool = False
) -> "Figure":
    """Draw matches as a grid of pictures, below what was searched with and where that all is.

    Warns if pictures cannot be read.

    Args:
        matches: Matches; pictures are read from their scenes.
        columns: Pictures per row.
        most: Most matches to draw.
        remote_scenes: Whether to read whatever the matches name, such as URLs. Otherwise only
            plain raster files of this machine are drawn.

    Returns:
        The figure, to show or save. The query is drawn if the matches come from one: at most
        `columns` examples of each kind, and a map.

    Raises:
        QueryError: If `columns` or `most` is less than 1, or columns of matches are missing.
    """
    from matplotlib.figure import Figure

    from geohash_rs.pictures.permission import Permission

    if columns < 1 or most < 1:
        msg = f"columns is {columns} and most is {most}; both must be at least 1."
        raise QueryError(msg)
    missing = [name for name in NEEDED if name not in matches.columns]
    if missing:
        msg = f"the table has no column {', '.join(missing)}; plot_grid draws matches of a query."
        raise QueryError(msg)
    first = matches.head(most)
    rows: Sequence[dict[str, Any]] = first.drop(columns=first.geometry.name).to_dict("records")
    permission = Permission(remote_scenes=remote_scenes)
    pictures = read_pictures(rows, size=SIZE, permission=permission)
    examples = read_examples(matches, size=SIZE, most=columns, permission=permission)
    reasons = [*examples.reasons, *pictures.reasons]
    warn_of(reasons, changed=changed_text(first, permission))
    asked = len(examples) + 1 if len(examples) else 0  # and the map
    above = -(-asked // columns)
    lines = above + max(1, -(-len(rows) // columns))
    figure = Figure(figsize=(1.7 * columns, 2.4 * lines), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(lines, columns, squeeze=False).ravel().tolist()
    for axis in axes:
        axis.set_axis_off()
    if asked:
        more = examples.more_right, examples.more_wrong
        _draw_examples(axes, examples.right, ("searched with", TEAL), more=more[0])
        others = axes[len(examples.right) :]
        _draw_examples(others, examples.wrong, ("unlike", DARK), more=more[1])
        _draw_map(axes[asked - 1], lonlat_geometries(first), *outlines(matches))
    cells = zip(axes[above * columns :], rows, pictures.webp, strict=False)
    for number, (axis, row, webp) in enumerate(cells, 1):
        rank, far, date = facts_of(row, number)
        facts = [f"{rank}: {far}", *filter(None, [query_text(row)]), date, scene_name(row["scene"])]
        _draw(axis, webp, facts, lack="no picture")
    return figure


def _draw_examples(
    axes: Sequence["Axes"],
    examples: Sequence[ShownExample],
    kind: tuple[str, str],
    *,
    more: int,
) -> None:
    """Draw examples of a kind, which has a name and a colour."""
    for number, (axis, example) in enumerate(zip(axes, examples, strict=False), 1):
        rest = f"and {more:,} more" if more and number == len(examples) else ""
        facts = [
            fact for fact in (kind[0], example.name, example.date, example.scene, rest) if fact
        ]
        _draw(axis, example.webp, facts, lack=example.reason, colour=kind[1])


def _draw(
    axis: "Axes", webp: bytes | None, facts: Sequence[str], *, lack: str, colour: str = "black"
) -> None:
    """Draw a picture below facts about it, or what is lacking."""
    from io import BytesIO

    from PIL import Image

    axis.set_title("\n".join(_lines(fact) for fact in facts if fact), fontsize=SMALL, color=colour)
    if webp is None:
        _write(axis, _lines(lack))
    else:
        axis.imshow(np.asarray(Image.open(BytesIO(webp))), interpolation="nearest")


def _write(axis: "Axes", text: str) -> None:
    axis.text(0.5, 0.5, text, ha="center", va="center", fontsize=SMALL, transform=axis.transAxes)


def _lines(text: str) -> str:
    """Break text into lines, names of files after an underscore, without formulas."""
    lines = textwrap.wrap(text.replace("_", "_ "), LINE)
    return "\n".join(lines).replace("_ ", "_").replace("$", r"\$")


def _draw_map(
    axis: "Axes",
    found: npt.NDArray[np.object_],
    right: npt.NDArray[np.object_],
    wrong: npt.NDArray[np.object_],
) -> None:
    """Draw where on the Earth matches and examples lie."""
    chosen = Locator.around(np.concatenate([found, right, wrong]))
    if chosen is None:
        _write(axis, "no footprints")
        return
    for line in chosen.lines:
        axis.plot(*line.T, color=GREY, linewidth=0.6)
    for shapes, colour, shape in ((wrong, DARK, "s"), (right, TEAL, "s"), (found, PINK, "o")):
        size = 30 if shape == "s" else 10
        x, y = chosen.dots(shapes).T
        axis.scatter(x, y, s=size, c=colour, marker=shape, edgecolors="white", zorder=3)
    width, height = chosen.view.width, chosen.view.height
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal", xticks=[], yticks=[])
    axis.set_title(f"around {chosen.place.replace(', ', chr(10))}", fontsize=SMALL)
    axis.text(0, -0.03, CREDIT, fontsize=3.5, va="top", transform=axis.transAxes)
    axis.set_axis_on()
