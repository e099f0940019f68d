"""A self-contained page of matches and their query, with pictures and maps but no scripts."""

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohash_rs.errors import ExportError
from geohash_rs.export.changed import changed_text
from geohash_rs.export.examples import Examples, ShownExample, outlines, read_examples
from geohash_rs.export.html_map import figure
from geohash_rs.export.locator import locator_svg
from geohash_rs.export.lonlat import lonlat_geometries
from geohash_rs.export.match_text import facts_of, markers_of, query_text
from geohash_rs.export.plain_text import plain_text, scene_name
from geohash_rs.export.row_pictures import read_pictures, warn_of

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from geohash_rs.pictures.permission import Permission

__all__ = ["MOST_ROWS", "write_html"]

MOST_ROWS = 2000
MOST_EXAMPLES = 12  # of each kind
PICTURE = 160  # px of a tile's picture


def write_html(
    frames: Iterator["GeoDataFrame"],
    path: Path,
    title: str,
    *,
    permission: "Permission | None" = None,
) -> int:
    """Write matches as one page: the query, then pictures in rank order next to a map.

    Warns if pictures cannot be read, or show scenes that were changed since they were indexed.

    Args:
        frames: Tables with the columns of matches; pictures are read from their scenes. The first
            one has the query's examples, if any.
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
    pictures = read_pictures(rows, size=PICTURE, permission=permission)
    cards = [
        _card(row, number, marker, picture, reason)
        for number, (row, marker, picture, reason) in enumerate(
            zip(rows, markers_of(rows), pictures.webp, pictures.reasons, strict=True), 1
        )
    ]
    asked = read_examples(tables[0], size=PICTURE, most=MOST_EXAMPLES, permission=permission)
    frame.archive_folder = getattr(tables[0], "archive_folder", None)
    changed = changed_text(frame, permission)
    warn_of([*asked.reasons, *pictures.reasons], changed=changed)
    right, wrong = outlines(tables[0])
    drawing = figure(rows, shapes, asked=(right, wrong), permission=permission)
    top = _top(asked, locator_svg(shapes, right=right, wrong=wrong))
    title = escape(plain_text(title))
    style = (files("geohash_rs.export") / "html.css").read_text(encoding="utf-8")
    text = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{style}{_pairs(count)}</style></head>\n"
        f"<body><header><h1>{title}</h1><p>{escape(_summary(rows))}</p>{_note(pictures.lack)}"
        f"{_note(changed)}</header>\n{top}"
        f"<main>{drawing}\n{_list(rows, cards)}</main></body></html>\n"
    )
    path.write_text(text, encoding="utf-8", errors="replace")
    return count


def _summary(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "No matches."
    scenes = len({row.get("scene") for row in rows})
    parts = f"{len(rows)} tile{'s' * (len(rows) > 1)} of {scenes} scene{'s' * (scenes > 1)}"
    if "distance" in rows[0]:
        distances = [int(row["distance"]) for row in rows]
        parts += f", {min(distances)} to {max(distances)} bits away"
    return parts


def _note(text: str) -> str:
    return f"<p>{escape(plain_text(text))}</p>" if text else ""


def _top(asked: Examples, located: tuple[str, str] | None) -> str:
    """Show what was searched with, next to a map of where on the Earth it all is."""
    parts = []
    for heading, examples, more in (
        ("Searched with", asked.right, asked.more_right),
        ("Unlike", asked.wrong, asked.more_wrong),
    ):
        if examples:
            others = f" and {more:,} more" if more else ""
            kind = ' class="wrong"' if heading == "Unlike" else ""
            cards = "".join(map(_example, examples))
            parts.append(f"<div{kind}><h2>{heading}{others}</h2><ol>{cards}</ol></div>")
    lists = f"<div>{''.join(parts)}</div>" if parts else ""
    drawing = ""
    if located is not None:
        svg, caption = located
        drawing = f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
    return f'<section class="asked">{lists}{drawing}</section>\n' if lists or drawing else ""


def _example(example: ShownExample) -> str:
    from geohash_rs.pictures.tiles import data_uri

    name = escape(example.name)
    image = (
        f'<span class="none">{escape(plain_text(example.reason))}</span>'
        if example.webp is None
        else f'<img src="{data_uri(example.webp)}" alt="{name}">'
    )
    facts = "".join(f"<span>{_breakable(t)}</span>" for t in (example.date, example.scene) if t)
    return f'<li>{image}<div class="facts"><b>{name}</b>{facts}</div></li>\n'


def _breakable(name: str) -> str:
    """Escape the name of a file, which may be broken after an underscore rather than in a date."""
    return escape(name).replace("_", "_<wbr>")


def _list(rows: Sequence[dict[str, Any]], cards: Sequence[str]) -> str:
    """List cards in one list, or in one with a heading for each of many rankings."""
    groups: dict[str, list[str]] = {}
    for row, marker, card in zip(rows, markers_of(rows), cards, strict=True):
        number, dot, _ = marker.partition(".")
        heading = f"<h2>{number}: {escape(query_text(row))}</h2>" if dot else ""
        groups.setdefault(heading, []).append(card)
    if not any(groups):
        return f"<ol>\n{''.join(cards)}</ol>"
    lists = [f"{heading}<ol>\n{''.join(some)}</ol>" for heading, some in groups.items()]
    return f"<div>{''.join(lists)}</div>"


def _card(row: dict[str, Any], number: int, marker: str, picture: bytes | None, reason: str) -> str:
    from geohash_rs.pictures.tiles import data_uri

    _, far, date = facts_of(row, number)
    about = escape(f"Tile {row.get('tile_id', number)}: {far or 'no distance'}, {date}")
    image = (
        f'<span class="none" title="{escape(plain_text(reason))}">no picture</span>'
        if picture is None
        else f'<img src="{data_uri(picture)}" alt="{about}">'
    )
    scene = _breakable(scene_name(row.get("scene")))
    asked = f"<span>{escape(query_text(row))}</span>" if query_text(row) else ""
    return (
        f'<li id="c{number}"><a href="#f{number}">{image}<span class="rank">{escape(marker)}</span>'
        f'</a><div class="facts">{asked}<b>{escape(far)}</b><span>{escape(date)}</span>'
        f"<span>{scene}</span></div></li>\n"
    )


def _pairs(count: int) -> str:
    """Return CSS that highlights a footprint while the mouse is over its card."""
    marked = ",".join(f"main:has(#c{n}:hover) #f{n} .halo" for n in range(1, count + 1))
    return f"{marked}{{stroke:#c3174b;stroke-width:11;opacity:1}}" if marked else ""
