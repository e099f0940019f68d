"""A page of matches that needs nothing else: pictures and map inside, no script, to be mailed."""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.errors import ExportError, SceneError
from geohash_rs.export.lonlat import lonlat_geometries

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from shapely.geometry.base import BaseGeometry

    from geohash_rs.previews import PlacedScene

__all__ = ["MOST_ROWS", "tile_pictures", "write_html"]

MOST_ROWS = 2000
WIDTH = 1000  # units of the map's drawing
SMALL = 14  # units; smaller footprints get a ring around them
PICTURE = 160  # px of a tile's picture
SCENE_PICTURE = 700  # px of a scene's
MOST_SCENES = 8
WINDOW = ("scene", "col", "row", "width", "height")
NEAR, FAR = (0xF0, 0x20, 0x6A), (0xFF, 0xC4, 0x6B)


Draw = Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]


def write_html(frames: Iterator["GeoDataFrame"], path: Path, title: str) -> int:
    """Write matches as one page: their pictures in rank order beside a map of their footprints.

    Args:
        frames: Tables with the columns of matches; pictures are read from their scenes.
        path: File to write.
        title: Heading of the page.

    Returns:
        The number of matches written.

    Raises:
        ExportError: If there are more rows than a page can show.
    """
    import pandas as pd

    tables = []
    count = 0
    for frame in frames:
        tables.append(frame)
        count += len(frame)
        if count > MOST_ROWS:
            msg = (
                f"more than {MOST_ROWS} rows are too many for a page of pictures; write fewer, "
                "or another format such as .gpkg."
            )
            raise ExportError(msg)
    frame = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    rows: list[dict[str, Any]] = frame.drop(columns=frame.geometry.name).to_dict("records")
    shapes = lonlat_geometries(frame)
    cards = [
        _card(row, number, picture)
        for number, (row, picture) in enumerate(
            zip(rows, tile_pictures(rows, size=PICTURE), strict=True), 1
        )
    ]
    style = (files("geohash_rs.export") / "html.css").read_text(encoding="utf-8")
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{style}{_pairs(count)}</style></head>\n"
        f"<body><header><h1>{escape(title)}</h1><p>{escape(_summary(rows))}</p></header>\n"
        f"<main>{_figure(rows, shapes)}\n<ol>\n{''.join(cards)}</ol></main></body></html>\n"
    )
    path.write_text(text, encoding="utf-8", errors="replace")
    return count


def tile_pictures(rows: Sequence[dict[str, Any]], *, size: int) -> list[bytes | None]:
    """Read pictures of tiles from their scenes.

    Args:
        rows: Tiles with scene, col, row, width and height.
        size: Pixels of the longer side.

    Returns:
        WebP files; None where a tile has no window or its scene cannot be read.
    """
    import pandas as pd

    from geohash_rs.thumbnails import Thumbnails, encode_webp

    thumbnails = Thumbnails()
    pictures: list[bytes | None] = []
    for row in rows:
        values = [row.get(name) for name in WINDOW]
        picture = None
        if not any(pd.isna(value) for value in values):
            window = [int(value) for value in values[1:]]  # type: ignore[arg-type]  # not missing
            try:
                picture = encode_webp(thumbnails.read(str(values[0]), window, size=size))
            except SceneError:
                picture = None  # shown as such
        pictures.append(picture)
    return pictures


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "No matches."
    scenes = len({row.get("scene") for row in rows})
    parts = f"{len(rows)} tile{'s' * (len(rows) > 1)} of {scenes} scene{'s' * (scenes > 1)}"
    if "distance" in rows[0]:
        distances = [int(row["distance"]) for row in rows]
        parts += f", {min(distances)} to {max(distances)} bits away"
    return parts


def _facts(row: dict[str, Any], number: int) -> tuple[str, str, str]:
    """Give rank, distance and date as text."""
    import pandas as pd

    moment = row.get("datetime")
    bits = row.get("distance")
    far = "" if bits is None else f"{int(bits)} bit{'s' * (int(bits) != 1)}"
    date = "no date" if moment is None or pd.isna(moment) else f"{moment:%Y-%m-%d}"
    return str(row.get("rank", number)), far, date


def _card(row: dict[str, Any], number: int, picture: bytes | None) -> str:
    from geohash_rs.thumbnails import data_uri

    rank, far, date = _facts(row, number)
    about = escape(f"Tile {row.get('tile_id', number)}: {far or 'no distance'}, {date}")
    image = (
        '<span class="none">no picture:<br>its scene was not found</span>'
        if picture is None
        else f'<img src="{data_uri(picture)}" alt="{about}">'
    )
    scene = escape(Path(str(row.get("scene", ""))).name)
    return (
        f'<li id="c{number}"><a href="#f{number}">{image}<span class="rank">{escape(rank)}</span>'
        f'</a><div class="facts"><b>{escape(far)}</b><span>{escape(date)}</span>'
        f"<span>{scene}</span></div></li>\n"
    )


def _pairs(count: int) -> str:
    """Light up a footprint while the mouse is on its card."""
    marked = ",".join(f"main:has(#c{n}:hover) #f{n} .halo" for n in range(1, count + 1))
    return f"{marked}{{stroke:#c3174b;stroke-width:11;opacity:1}}" if marked else ""


# ---- the map: Web Mercator, drawn in units of a thousandth of its width ----


def _mercator(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    sine = np.sin(np.radians(np.clip(points[:, 1], -85.05, 85.05)))
    y = -np.log((1 + sine) / (1 - sine)) / 2
    return np.column_stack([np.radians(points[:, 0]), y])


def _figure(rows: Sequence[dict[str, Any]], shapes: npt.NDArray[np.object_]) -> str:
    placed = [shape for shape in shapes if shape is not None]
    if not placed:
        return "<figure><figcaption>These tiles have no place on the Earth.</figcaption></figure>"
    corners = _mercator(shapely.get_coordinates(placed))
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = max(float((high - low).max()) * 0.08, 2e-5)
    low, high = low - margin, high + margin
    extent = high - low
    extent = np.maximum(extent, extent.max() / 1.6)
    low = (low + high - extent) / 2
    scale = WIDTH / extent[0]
    height = round(float(extent[1] * scale))

    def draw(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        drawn: npt.NDArray[np.float64] = (_mercator(points) - low) * scale
        return drawn

    parts = [_scenes(rows, draw), _graticule(low, extent, scale, height)]
    parts += [
        _footprint(row, number, shape, draw, _colour(row, rows))
        for number, (row, shape) in reversed(
            list(enumerate(zip(rows, shapes, strict=True), 1))  # the best lie on top
        )
        if shape is not None
    ]
    return (
        f'<figure><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Map of the matches">{"".join(parts)}</svg>'
        "<figcaption>Footprints, numbered by rank; Web Mercator.</figcaption></figure>"
    )


def _colour(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    distances = [int(one.get("distance", 0)) for one in rows]
    least, most = min(distances), max(distances)
    share = (int(row.get("distance", 0)) - least) / max(most - least, 1)
    mixed = [round(a + (b - a) * share) for a, b in zip(NEAR, FAR, strict=True)]
    return "#" + "".join(f"{value:02x}" for value in mixed)


def _footprint(
    row: dict[str, Any],
    number: int,
    shape: "BaseGeometry",
    draw: Draw,
    colour: str,
) -> str:
    rank, far, date = _facts(row, number)
    outline = "".join(
        "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in draw(shapely.get_coordinates(ring))) + "Z"
        for part in shapely.get_parts(shape)
        for ring in shapely.get_rings(part)
    )
    corners = draw(shapely.get_coordinates(shape))
    x, y = (corners.min(axis=0) + corners.max(axis=0)) / 2
    ring = ""
    if np.ptp(corners, axis=0).max() < SMALL:
        ring = f'<circle class="ring" cx="{x:.1f}" cy="{y:.1f}" r="{SMALL}" stroke="{colour}"/>'
        y -= SMALL + 12
    half = 8 + 4.5 * len(rank)
    return (
        f'<a id="f{number}" href="#c{number}"><title>{escape(f"{rank}: {far} {date}")}</title>'
        f'<path class="halo" d="{outline}"/>'
        f'<path class="tile" d="{outline}" fill="{colour}" stroke="{colour}"/>{ring}'
        f'<rect class="no" x="{x - half:.1f}" y="{y - 10:.1f}" width="{2 * half:.1f}" height="20" '
        f'rx="10"/><text class="num" x="{x:.1f}" y="{y + 5:.1f}">{escape(rank)}</text></a>\n'
    )


def _scenes(rows: Sequence[dict[str, Any]], draw: Draw) -> str:
    """Put pictures of the scenes that hold most matches under the footprints, latest on top."""
    from geohash_rs.previews import draw_scene
    from geohash_rs.thumbnails import Thumbnails, data_uri, encode_webp

    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row.get("scene"))] = counts.get(str(row.get("scene")), 0) + 1
    names = sorted(counts, key=lambda name: -counts[name])[:MOST_SCENES]
    scenes = [scene for scene in map(_place, names) if scene is not None]
    scenes.sort(key=lambda scene: str(scene.date or ""))
    pictures = []
    thumbnails = Thumbnails()
    for scene in scenes:
        west, south, east, north = scene.bounds
        (left, top), (right, bottom) = draw(np.array([[west, north], [east, south]]))
        try:
            image = encode_webp(draw_scene(scene, thumbnails, size=SCENE_PICTURE), quality=70)
        except SceneError:
            continue
        pictures.append(
            f'<image x="{left:.2f}" y="{top:.2f}" width="{right - left:.2f}" '
            f'height="{bottom - top:.2f}" preserveAspectRatio="none" href="{data_uri(image)}"/>'
        )
    return "".join(pictures)


def _place(name: str) -> "PlacedScene | None":
    from geohash_rs.previews import place_scene
    from geohash_rs.scene_file import read_scene_file

    try:
        scene = read_scene_file(name)
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


def _graticule(
    low: npt.NDArray[np.float64], extent: npt.NDArray[np.float64], scale: float, height: int
) -> str:
    west, east = math.degrees(low[0]), math.degrees(low[0] + extent[0])
    north = math.degrees(math.atan(math.sinh(-low[1])))
    south = math.degrees(math.atan(math.sinh(-(low[1] + extent[1]))))
    raw = max((east - west) / 5, 1e-4)
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * m for m in (1, 2, 5, 10) if base * m >= raw)
    digits = max(0, -math.floor(math.log10(step)))
    lines = []
    for n in range(math.ceil(west / step), math.floor(east / step) + 1):
        x = (math.radians(n * step) - low[0]) * scale
        lines.append(
            f'<path class="grid" d="M{x:.1f} 0V{height}"/>'
            f'<text class="deg" x="{x + 4:.1f}" y="{height - 6}">{n * step:.{digits}f}°</text>'
        )
    for n in range(math.ceil(south / step), math.floor(north / step) + 1):
        y = (_mercator(np.array([[0.0, n * step]]))[0, 1] - low[1]) * scale
        lines.append(
            f'<path class="grid" d="M0 {y:.1f}H{WIDTH}"/>'
            f'<text class="deg" x="4" y="{y - 4:.1f}">{n * step:.{digits}f}°</text>'
        )
    return "".join(lines)
