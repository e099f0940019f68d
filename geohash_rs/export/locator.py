"""A small map of where on the Earth footprints lie, with coastlines and borders."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.export.html_map import View, box_around, graticule
from geohash_rs.pictures.world import lines_in

__all__ = ["CREDIT", "Locator", "locator_svg"]

CREDIT = "Coastlines and borders: Natural Earth."
WIDTH = 480  # units of the drawing
RATIO = 1.6  # of width and height
AROUND = 2.5  # times the width of the footprints
LEAST = 24 / 360  # of the width of the world; on smaller maps, few places are recognised
ENOUGH = 0.8  # times the width: length of lines by which a place is recognised
FINE = 0.7  # units; details below this are left out
CLOSE = 24  # units; footprints within such a circle get a ring around them
DOT = 3  # units; of several footprints within a square of this side, one is drawn

STYLE = (
    "svg{background:#e6edf1}.coast{fill:none;stroke:#6b7c8c;stroke-width:1}"
    ".grid{stroke:#cbd4dc;stroke-width:1}.deg{fill:#55626f;font:13px sans-serif}"
    ".found{fill:#c3174b;stroke:#fff}.asked{fill:#0f6376;stroke:#fff}"
    ".wrong{fill:#17212b;stroke:#fff}.ring{fill:none;stroke:#c3174b;stroke-width:2.5}"
)

Array = npt.NDArray[np.float64]
Shapes = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Locator:
    """A part of the world with enough coastlines and borders to recognise it.

    Attributes:
        view: The part of the map.
        lines: Coastlines and borders in it, units of the drawing, each of shape (points, 2).
        place: The middle of the footprints, such as "8.43° S, 74.44° W".
    """

    view: View
    lines: Sequence[Array]
    place: str

    @classmethod
    def around(cls, shapes: Shapes) -> Self | None:
        """Choose the part of the world: as much as it takes to see coastlines or borders.

        Args:
            shapes: Footprints in lon/lat, None if missing, split at 180 degrees.

        Returns:
            The map; None if there are no footprints.
        """
        box, near = box_around(shapes), View.around(shapes)
        if box is None or near is None:
            return None
        place = _place((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        centre = near.low + near.extent / 2
        width = max(float(near.extent[0]), RATIO * float(near.extent[1])) * AROUND
        width = max(width, LEAST)
        while True:
            width = min(width, 1.0)
            extent = np.array([width, width / RATIO])
            low = centre - extent / 2
            low[1] = np.clip(low[1], 0, 1 - extent[1])
            view = replace(near, low=low, extent=extent, width=WIDTH)
            drawn = [shapely.LineString(view.units(line)) for line in lines_in(view.box())]
            fine = [line for line in shapely.simplify(drawn, FINE) if line.length > FINE]
            if width == 1 or sum(line.length for line in fine) > ENOUGH * WIDTH:
                lines = [shapely.get_coordinates(line) for line in fine]
                return cls(view=view, lines=lines, place=place)
            width *= 2

    def dots(self, shapes: Shapes) -> Array:
        """Return the middles of footprints, one of those that nearly coincide.

        Args:
            shapes: Footprints in lon/lat, None if missing, split at 180 degrees.

        Returns:
            x and y, units of the drawing, shape (dots, 2).
        """
        corners = [self.view.draw(shapely.get_coordinates(s)) for s in shapes if s is not None]
        middles = [(one.min(axis=0) + one.max(axis=0)) / 2 for one in corners if len(one)]
        points = np.reshape(middles, (-1, 2))
        _, first = np.unique(np.round(points / DOT), axis=0, return_index=True)
        return points[np.sort(first)]

    def ring(self, *dots: Array) -> tuple[float, float] | None:
        """Return the centre of a ring around all dots, if they are so close that one is needed."""
        points = np.concatenate(dots)
        low, high = points.min(axis=0), points.max(axis=0)
        if np.hypot(*(high - low)) > CLOSE:
            return None
        x, y = ((low + high) / 2).tolist()
        return x, y


def locator_svg(
    found: Shapes, *, right: Shapes, wrong: Shapes, alone: bool = False
) -> tuple[str, str] | None:
    """Draw where matches and examples lie.

    Args:
        found: Footprints of the matches in lon/lat, None if missing.
        right: Those of the examples of what to find.
        wrong: Those of the examples of what not to find.
        alone: Whether the drawing is a document of its own, which needs its own style.

    Returns:
        An ``svg`` element, and the caption; None if there are no footprints.
    """
    shapes = np.concatenate([found, right, wrong])
    chosen = Locator.around(shapes)
    if chosen is None:
        return None
    dots = [chosen.dots(some) for some in (found, right, wrong)]
    coast = "".join(
        "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line.tolist()) for line in chosen.lines
    )
    parts = [f'<path class="coast" d="{coast}"/>', graticule(chosen.view)]
    for name, squares in (("wrong", dots[2]), ("asked", dots[1])):
        parts += [
            f'<rect class="{name}" x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10"/>'
            for x, y in squares
        ]
    parts += [f'<circle class="found" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in dots[0]]
    ring = chosen.ring(*dots)
    if ring is not None:
        parts.append(f'<circle class="ring" cx="{ring[0]:.1f}" cy="{ring[1]:.1f}" r="20"/>')
    style = f"<style>{STYLE}</style>" if alone else ""
    asked = "; squares are what was searched with" if len(dots[1]) or len(dots[2]) else ""
    caption = f"Around {chosen.place}{asked}. {CREDIT}"
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {chosen.view.height}" '
        f'role="img" aria-label="Where this is: {chosen.place}">{style}{"".join(parts)}</svg>'
    )
    return svg, caption


def _place(lon: float, lat: float) -> str:
    lon = (lon + 180) % 360 - 180
    return f"{abs(lat):.2f}° {'SN'[lat >= 0]}, {abs(lon):.2f}° {'WE'[lon >= 0]}"
