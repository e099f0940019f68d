"""A self-contained page of matches, with pictures and a map but no scripts."""

import warnings
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohash_rs.errors import ExportError, GeoHashRSWarning, SceneError
from geohash_rs.export.html_map import facts_of, figure
from geohash_rs.export.lonlat import lonlat_geometries
from geohash_rs.export.plain_text import plain_text

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from geohash_rs.pictures.permission import Permission

__all__ = ["MOST_ROWS", "tile_pictures", "write_html"]

MOST_ROWS = 2000
PICTURE = 160  # px of a tile's picture
WINDOW = ("scene", "col", "row", "width", "height")


def write_html(
    frames: Iterator["GeoDataFrame"],
    path: Path,
    title: str,
    *,
    permission: "Permission | None" = None,
) -> int:
    """Write matches as one page: pictures in rank order next to a map of the footprints.

    Args:
        frames: Tables with the columns of matches; pictures are read from their scenes.
        path: File to write.
        title: Heading of the page.
        permission: What pictures may be read from; None allows plain raster files of this machine.

    Returns:
        The number of matches written.

    Raises:
        ExportError: If there are more than `MOST_ROWS` rows.
    """
    import pandas as pd

    tables = []
    count = 0
    for frame in frames:
        tables.append(frame)
        count += len(frame)
        if count > MOST_ROWS:
            msg = (
                f"a page of pictures can show at most {MOST_ROWS} rows; write fewer, or use "
                "another format such as .gpkg."
            )
            raise ExportError(msg)
    frame = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
    rows: list[dict[str, Any]] = frame.drop(columns=frame.geometry.name).to_dict("records")
    shapes = lonlat_geometries(frame)
    pictures = tile_pictures(rows, size=PICTURE, permission=permission)
    cards = [
        _card(row, number, picture)
        for number, (row, picture) in enumerate(zip(rows, pictures, strict=True), 1)
    ]
    drawing = figure(rows, shapes, permission)
    title = escape(plain_text(title))
    style = (files("geohash_rs.export") / "html.css").read_text(encoding="utf-8")
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{style}{_pairs(count)}</style></head>\n"
        f"<body><header><h1>{title}</h1><p>{escape(_summary(rows))}</p></header>\n"
        f"<main>{drawing}\n<ol>\n{''.join(cards)}</ol></main></body></html>\n"
    )
    path.write_text(text, encoding="utf-8", errors="replace")
    return count


def tile_pictures(
    rows: Sequence[dict[str, Any]], *, size: int, permission: "Permission | None" = None
) -> list[bytes | None]:
    """Read pictures of tiles from their scenes.

    Warns if scenes may not be read.

    Args:
        rows: Tiles with scene, col, row, width and height.
        size: Pixels of the longer side.
        permission: What pictures may be read from; None allows plain raster files of this machine.

    Returns:
        WebP files; None if a tile has no window or its scene may not or cannot be read.
    """
    import pandas as pd

    from geohash_rs.pictures.permission import RefusedSceneError
    from geohash_rs.pictures.tiles import Thumbnails, encode_webp

    thumbnails = Thumbnails(permission)
    refused: dict[str, str] = {}
    pictures: list[bytes | None] = []
    for row in rows:
        values = [row.get(name) for name in WINDOW]
        picture = None
        if not any(pd.isna(value) for value in values):
            window = [int(value) for value in values[1:]]  # type: ignore[arg-type]  # not missing
            try:
                picture = encode_webp(thumbnails.read(str(values[0]), window, size=size))
            except RefusedSceneError as error:
                refused.setdefault(str(values[0]), str(error))
            except SceneError:
                picture = None  # the page says so
        pictures.append(picture)
    if refused:
        others = f" ({len(refused) - 1} more scenes likewise)" if len(refused) > 1 else ""
        warnings.warn(f"{next(iter(refused.values()))}{others}", GeoHashRSWarning, stacklevel=2)
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


def _card(row: dict[str, Any], number: int, picture: bytes | None) -> str:
    from geohash_rs.pictures.tiles import data_uri

    rank, far, date = facts_of(row, number)
    about = escape(f"Tile {row.get('tile_id', number)}: {far or 'no distance'}, {date}")
    image = (
        '<span class="none">no picture</span>'
        if picture is None
        else f'<img src="{data_uri(picture)}" alt="{about}">'
    )
    scene = escape(plain_text(Path(str(row.get("scene", ""))).name))
    return (
        f'<li id="c{number}"><a href="#f{number}">{image}<span class="rank">{escape(rank)}</span>'
        f'</a><div class="facts"><b>{escape(far)}</b><span>{escape(date)}</span>'
        f'<span title="{scene}">{scene}</span></div></li>\n'
    )


def _pairs(count: int) -> str:
    """Return CSS that highlights a footprint while the mouse is over its card."""
    marked = ",".join(f"main:has(#c{n}:hover) #f{n} .halo" for n in range(1, count + 1))
    return f"{marked}{{stroke:#c3174b;stroke-width:11;opacity:1}}" if marked else ""
