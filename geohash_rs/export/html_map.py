"""Draw a map of matches as SVG: scenes and footprints, in Web Mercator."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.errors import SceneError
from geohash_rs.export.match_text import facts_of, markers_of
from geohash_rs.footprints.bounds import total_bounds
from geohash_rs.footprints.web_mercator import from_square, to_square

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from geohash_rs.pictures.permission import Permission
    from geohash_rs.pictures.scenes import PlacedScene
    from geohash_rs.pictures.tiles import Thumbnails

__all__ = ["WIDTH", "View", "box_around", "figure", "graticule"]

WIDTH = 1000  # units of the drawing
SMALL = 14  # units; smaller footprints get a ring around them
SCENE_PICTURE = 700  # px of a scene's
MOST_SCENES = 8
FAR_OFF = 2  # times the width of the map of the matches
NO_PLACE = "<figure><figcaption>These tiles have no footprints to map.</figcaption></figure>"
NEAR, FAR = (0xF0, 0x20, 0x6A), (0xFF, 0xC4, 0x6B)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """A part of the web map, and how its points become units of the drawing.

    Attributes:
        middle: Longitude in its middle, degrees.
        low: Its upper left corner on the unit square of web maps.
        extent: Its width and height there.
        width: Width of the drawing, units.
    """

    middle: float
    low: Array
    extent: Array
    width: int = WIDTH

    @classmethod
    def around(cls, shapes: npt.NDArray[np.object_]) -> Self | None:
        """Frame shapes.

        Args:
            shapes: Polygons in lon/lat, None if missing, split at 180 degrees.

        Returns:
            The view; None if there are no shapes.
        """
        box = box_around(shapes)
        if box is None:
            return None
        corners = to_square(np.array(box).reshape(2, 2))
        low, high = corners.min(axis=0), corners.max(axis=0)
        margin = max(float((high - low).max()) * 0.08, 3e-6)
        low, high = low - margin, high + margin
        extent = high - low
        extent = np.maximum(extent, extent.max() / 1.6)
        return cls(middle=(box[0] + box[2]) / 2, low=(low + high - extent) / 2, extent=extent)

    @property
    def scale(self) -> float:
        """Units of the drawing per side of the unit square."""
        return float(self.width / self.extent[0])

    @property
    def height(self) -> int:
        """Height of the drawing, units."""
        return round(float(self.extent[1] * self.scale))

    def draw(self, points: Array, centre: float | None = None) -> Array:
        """Convert lon/lat to units, shifted by full turns: each point, or all as their centre.

        Args:
            points: Degrees, shape (n, 2).
            centre: Longitude of their centre.

        Returns:
            x and y, shape (n, 2).
        """
        turns = np.round((self.middle - (points[:, 0] if centre is None else centre)) / 360)
        return self.units(np.column_stack([points[:, 0] + 360 * turns, points[:, 1]]))

    def units(self, points: Array) -> Array:
        """Convert lon/lat to units.

        Args:
            points: Degrees, shape (n, 2); longitudes continue beyond 180.

        Returns:
            x and y, shape (n, 2).
        """
        drawn: Array = (to_square(points) - self.low) * self.scale
        return drawn

    def box(self) -> tuple[float, float, float, float]:
        """Return west, south, east and north in degrees; longitudes continue beyond 180."""
        (west, north), (east, south) = from_square([self.low, self.low + self.extent]).tolist()
        return west, south, east, north

    def outline(self, shape: "BaseGeometry") -> str:
        """Convert a polygon or multipolygon in lon/lat to an SVG path."""
        return "".join(
            "M"
            + "L".join(f"{x:.2f} {y:.2f}" for x, y in self.draw(shapely.get_coordinates(ring)))
            + "Z"
            for part in shapely.get_parts(shape)
            for ring in shapely.get_rings(part)
        )


def box_around(shapes: npt.NDArray[np.object_]) -> tuple[float, float, float, float] | None:
    """Return the narrowest box around shapes.

    Args:
        shapes: Polygons in lon/lat, None if missing, split at 180 degrees.

    Returns:
        West, south, east and north, east above 180 if it crosses the antimeridian; None if there
        are no shapes.
    """
    placed = [shape for shape in shapes if shape is not None]
    return total_bounds(shapely.bounds(shapely.get_parts(placed)))


def figure(
    rows: Sequence[dict[str, Any]],
    shapes: npt.NDArray[np.object_],
    *,
    asked: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]],
    permission: "Permission | None" = None,
) -> str:
    """Draw the map.

    Args:
        rows: Columns of the matches.
        shapes: Their footprints in lon/lat, shape (rows,), None if missing.
        asked: Footprints of the examples of what to find and of what not to find, in lon/lat.
        permission: What pictures may be read from; None allows plain raster files of this machine.

    Returns:
        A ``figure`` element.
    """
    view = _view(shapes, asked)
    if view is None:
        return NO_PLACE
    parts = [_scenes(rows, view, permission), graticule(view)]
    parts += [
        _footprint(row, number, marker, shape, view, _colour(row, rows))
        for number, (row, marker, shape) in reversed(
            list(
                enumerate(zip(rows, markers_of(rows), shapes, strict=True), 1)
            )  # the best are drawn on top
        )
        if shape is not None
    ]
    for kind, some in zip(("asked", "asked wrong"), asked, strict=True):
        lines = [view.outline(shape) for shape in some if shape is not None]
        parts += [f'<path class="halo" d="{d}"/><path class="{kind}" d="{d}"/>' for d in lines]
    known = any(shape is not None for some in asked for shape in some)
    dashed = "; dashed is what was searched with" if known else ""
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {view.height}" role="img" '
        f'aria-label="Map of the matches">{"".join(parts)}</svg>'
        f"<figcaption>Footprints, numbered by rank{dashed}; Web Mercator.</figcaption></figure>"
    )


def _view(
    shapes: npt.NDArray[np.object_],
    asked: tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]],
) -> View | None:
    """Frame the matches, and the examples unless they are so far that the matches become small."""
    near, wide = View.around(shapes), View.around(np.concatenate([shapes, *asked]))
    if near is None or wide is None:
        return near
    return wide if wide.extent.max() <= FAR_OFF * near.extent.max() else near


def _colour(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    distances = [int(one.get("distance", 0)) for one in rows]
    least, most = min(distances), max(distances)
    share = (int(row.get("distance", 0)) - least) / max(most - least, 1)
    mixed = [round(a + (b - a) * share) for a, b in zip(NEAR, FAR, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _footprint(
    row: dict[str, Any],
    number: int,
    marker: str,
    shape: "BaseGeometry",
    view: View,
    colour: str,
) -> str:
    _, far, date = facts_of(row, number)
    outline = view.outline(shape)
    corners = view.draw(shapely.get_coordinates(shape))
    x, y = (corners.min(axis=0) + corners.max(axis=0)) / 2
    ring = ""
    if np.ptp(corners, axis=0).max() < SMALL:
        ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{SMALL}" stroke="{colour}"/>'
        y -= SMALL + 12
    half = 8 + 4.5 * len(marker)
    return (
        f'<a id="f{number}" href="#c{number}"><title>{escape(f"{marker}: {far} {date}")}</title>'
        f'<path class="halo" d="{outline}"/>'
        f'<path class="tile" d="{outline}" fill="{colour}" stroke="{colour}"/>{ring}'
        f'<rect class="no" x="{x - half:.1f}" y="{y - 10:.1f}" width="{2 * half:.1f}" height="20" '
        f'rx="10"/><text class="num" x="{x:.1f}" y="{y + 5:.1f}">{escape(marker)}</text></a>\n'
    )


def _scenes(rows: Sequence[dict[str, Any]], view: View, permission: "Permission | None") -> str:
    """Draw the scenes with the most matches below the footprints, latest on top."""
    from geohash_rs.pictures.scenes import draw_scene
    from geohash_rs.pictures.tiles import Thumbnails, data_uri, encode_webp

    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row.get("scene"))] = counts.get(str(row.get("scene")), 0) + 1
    names = sorted(counts, key=lambda name: -counts[name])[:MOST_SCENES]
    thumbnails = Thumbnails(permission)
    placed = (_place(name, thumbnails) for name in names)
    scenes = [scene for scene in placed if scene is not None]
    scenes.sort(key=lambda scene: str(scene.date or ""))
    pictures = []
    for scene in scenes:
        west, south, east, north = scene.bounds
        corners = np.array([[west, north], [east, south]])
        (left, top), (right, bottom) = view.draw(corners, (west + east) / 2)
        try:
            image = encode_webp(draw_scene(scene, thumbnails, size=SCENE_PICTURE), quality=70)
        except SceneError:
            continue
        pictures.append(
            f'<image x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" '
            f'height="{bottom - top:.2f}" preserveAspectRatio="none" href="{data_uri(image)}"/>'
        )
    return "".join(pictures)


def _place(name: str, thumbnails: "Thumbnails") -> "PlacedScene | None":
    from geohash_rs.pictures.scenes import place_scene

    try:
        scene = thumbnails.header(name)
    except SceneError:
        return None
    date = scene.dates[0] if scene.dates else None
    return place_scene(
        name,
        crs=scene.crs,
        transform=tuple(scene.transform),
        size=(scene.width, scene.height),
        date=date,
    )


def graticule(view: View) -> str:
    """Draw meridians and parallels with their degrees.

    Args:
        view: The part of the map.

    Returns:
        SVG.
    """
    low, scale, height = view.low, view.scale, view.height
    west, south, east, north = view.box()
    raw = max((east - west) / 5, 1e-4)
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * m for m in (1, 2, 5, 10) if base * m >= raw)
    digits = max(0, -math.floor(math.log10(step)))
    lines = []
    for n in range(math.ceil(west / step), math.floor(east / step) + 1):
        x = ((n * step + 180) / 360 - low[0]) * scale
        lines.append(
            f'<path class="grid" d="M{x:.1f} 0V{height}"/>'
            f'<text class="deg" x="{x + 4:.1f}" y="{height - 6}">'
            f"{180 - (180 - n * step) % 360:.{digits}f}°</text>"
        )
    for n in range(math.ceil(south / step), math.floor(north / step) + 1):
        y = (to_square((0.0, n * step))[1] - low[1]) * scale
        lines.append(
            f'<path class="grid" d="M0 {y:.1f}H{view.width}"/>'
            f'<text class="deg" x="4" y="{y - 4:.1f}">{n * step:.{digits}f}°</text>'
        )
    return "".join(lines)
