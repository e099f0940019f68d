"""Show matches, archives and concepts in a notebook: as HTML, and matches on a map."""

import base64
import datetime as dt
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.errors import ExportError
from geohash_rs.export.changed import changed_text
from geohash_rs.export.examples import ShownExample, examples_of, outlines, read_examples
from geohash_rs.export.locator import CREDIT, Locator, locator_svg
from geohash_rs.export.lonlat import lonlat_geometries
from geohash_rs.export.match_text import facts_of, moment_text, query_text
from geohash_rs.export.plain_text import plain_text, scene_name
from geohash_rs.export.row_pictures import read_pictures
from geohash_rs.pictures.world import lines_in

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from geohash_rs.store.code_store import CodeStore

__all__ = ["NEEDED", "archive_html", "concept_html", "explore", "matches_html"]

SHOWN = 12  # pictures in a cell
EXAMPLES = 4  # of each kind
NEEDED = ("scene", "col", "row", "width", "height", "tile_id", "distance", "rank")
CELL = (
    "display:inline-block;width:104px;margin:0 6px 6px 0;font-size:11px;vertical-align:top;"
    "overflow-wrap:anywhere"
)
PICTURE = 128  # px
MAP = 260  # px of the map's width
IMAGE = "width:104px;height:104px;object-fit:cover;border-radius:6px;background:#8883"
FAINT = "opacity:.7"
TOOLTIP = ("rank", "distance", "datetime", "scene", "tile_id")
TEAL, DARK, GREY = "#0f6376", "#17212b", "#6b7c8c"
MOST_FACT = 80  # characters


class Judged(Protocol):
    """A mark."""

    @property
    def right(self) -> bool:
        """Whether it is right."""


class Named(Protocol):
    """What is shown of a concept."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def marks(self) -> Sequence[Judged]:
        """The judgements."""

    @property
    def hasher(self) -> str | None:
        """Fingerprint of the hasher."""

    @property
    def created(self) -> dt.datetime:
        """When it was learnt."""

    @property
    def promise(self) -> object:
        """What is promised; None if nothing."""

    @property
    def calibrated(self) -> dict[str, Any] | None:
        """How it was calibrated."""

    @property
    def notes(self) -> Sequence[str]:
        """What is doubtful."""


def matches_html(matches: "GeoDataFrame") -> str | None:
    """Show the query and the first matches as pictures in a notebook cell, next to a map.

    Args:
        matches: Matches, or some of them.

    Returns:
        HTML without scripts; None if columns of matches are missing.
    """
    if not set(NEEDED) <= set(matches.columns):
        return None
    first = matches.head(SHOWN)
    rows = first.drop(columns=first.geometry.name).to_dict("records")
    pictures = read_pictures(rows, size=PICTURE)
    cells = []
    for number, (row, webp) in enumerate(zip(rows, pictures.webp, strict=True), 1):
        rank, far, date = facts_of(row, number)
        facts = [date, scene_name(row["scene"]), f"tile {row['tile_id']}"]
        facts = [*filter(None, [query_text(row)]), *facts]
        cells.append(_cell(webp, f"<b>{escape(rank)}</b> · {far}", facts))
    scenes = matches["scene"].nunique()
    more = f", the first {SHOWN} shown" if len(matches) > SHOWN else ""
    count = f"{len(matches)} match{'es' * (len(matches) != 1)} in {scenes} scene"
    said = filter(None, (pictures.lack, changed_text(first)))
    lack = "".join(f"<p style='margin:0 0 6px;{FAINT}'>{_text(text)}</p>" for text in said)
    return (
        f"<div>{_asked(matches)}"
        f"<p style='margin:0 0 6px'><b>{count}{'s' * (scenes != 1)}</b>"
        f"<span style='{FAINT}'>{more}; a GeoDataFrame in {escape(_crs_name(matches))}</span></p>"
        f"{lack}<div>{''.join(cells)}</div></div>"
    )


def _asked(matches: "GeoDataFrame") -> str:
    """Show what was searched with, next to a map of where on the Earth it all is."""
    examples = read_examples(matches, size=PICTURE, most=EXAMPLES)
    lists = [
        _examples(heading, some, more)
        for heading, some, more in (
            ("Searched with", examples.right, examples.more_right),
            ("Unlike", examples.wrong, examples.more_wrong),
        )
        if some
    ]
    right, wrong = outlines(matches)
    shapes = lonlat_geometries(matches) if matches.crs is not None else np.empty(0, object)
    located = locator_svg(shapes, right=right, wrong=wrong, alone=True)
    if located is not None:
        svg, caption = located
        image = base64.b64encode(svg.encode("utf-8")).decode("ascii")
        lists.append(
            f'<div style="width:{MAP}px;font-size:11px"><img style="width:{MAP}px" '
            f'alt="{escape(caption)}" src="data:image/svg+xml;base64,{image}">'
            f'<div style="{FAINT}">{escape(caption)}</div></div>'
        )
    return f"<div style='display:flex;flex-wrap:wrap;gap:0 20px'>{''.join(lists)}</div>"


def _examples(heading: str, examples: Sequence[ShownExample], more: int) -> str:
    others = f" and {more:,} more" if more else ""
    cells = [
        _cell(
            example.webp,
            f"<b>{escape(example.name)}</b>",
            [text for text in (example.date, example.scene) if text],
            reason=example.reason,
        )
        for example in examples
    ]
    return f"<div><p style='margin:0 0 6px'><b>{heading}{others}</b></p>{''.join(cells)}</div>"


def _cell(webp: bytes | None, title: str, facts: Sequence[str], *, reason: str = "") -> str:
    """Show a picture, or why there is none, above a title in HTML and facts in plain text."""
    from geohash_rs.pictures.tiles import data_uri

    image = (
        f'<div style="{IMAGE}">{_text(reason)}</div>'
        if webp is None
        else f'<img src="{data_uri(webp)}" alt="" style="{IMAGE}">'
    )
    lines = "<br>".join(map(_text, facts))
    return (
        f'<div style="{CELL}">{image}<div>{title}<br><span style="{FAINT}">{lines}</span>'
        "</div></div>"
    )


def _text(text: str) -> str:
    return escape(plain_text(text))


def archive_html(archive: "CodeStore") -> str:
    """Describe an archive in a notebook cell.

    Args:
        archive: The archive.

    Returns:
        HTML without scripts: facts next to a map of its tiles.
    """
    times = archive.manifest.times
    facts = {
        "tiles": f"{len(archive):,}",
        "scenes": f"{len(archive.scenes()):,}",
        "code": f"{archive.num_bits} bits" if archive.num_bits else "not fitted yet",
        "hasher": (archive.hasher_fingerprint or archive.pending_hasher or "made elsewhere")[:24],
    }
    if times:
        first, last = (str(moment.astype("datetime64[D]")) for moment in times)
        facts["time"] = first if first == last else f"{first} to {last}"
    name = Path(archive.path).name
    return _described(f"Archive {name}", facts, picture=_outline(archive))


def concept_html(concept: "Named", counts: Sequence[int], *, tiles: int) -> str:
    """Describe a concept in a notebook cell.

    Args:
        concept: The concept.
        counts: Tiles of a sample by score, in equal steps from 0 to 1.
        tiles: Tiles of the sample.

    Returns:
        HTML without scripts: facts and notes next to a histogram.
    """
    right = sum(mark.right for mark in concept.marks)
    known = concept.calibrated or {}
    facts = {
        "marks": f"{right} right, {len(concept.marks) - right} wrong",
        "calibrated": str(known.get("by", "yes")) if concept.promise is not None else "no",
        "learnt": f"{concept.created:%Y-%m-%d}",
        "hasher": (concept.hasher or "unknown")[:24],
    }
    notes = "".join(f"<p style='margin:2px 0;{FAINT}'>{escape(n)}</p>" for n in concept.notes)
    bars = _bars(counts, tiles=tiles) if tiles else ""
    return _described(f"Concept {concept.name}", facts, picture=bars) + notes


def _described(title: str, facts: dict[str, str], *, picture: str) -> str:
    """Show a title and facts, escaped, next to a picture."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{name}</th>"
        f"<td style='text-align:left'>{escape(textwrap.shorten(value, MOST_FACT))}</td></tr>"
        for name, value in facts.items()
    )
    return (
        f"<div style='display:flex;gap:16px;align-items:center'><div><b>{escape(title)}</b>"
        f"<table>{rows}</table></div>{picture}</div>"
    )


def _bars(counts: Sequence[int], *, tiles: int) -> str:
    """Draw a histogram of scores; heights are logarithms, so that rare tiles are seen."""
    tops = np.log1p(counts) / np.log1p(max(counts))
    bars = "".join(
        f'<rect x="{5 * place}" y="{60 - height:.1f}" width="4" height="{height:.1f}"/>'
        for place, height in enumerate(60 * tops)
        if height > 0
    )
    width = 5 * len(counts)
    return (
        f'<svg width="{width}" height="78" fill="#17879c" role="img"><title>{tiles:,} tiles of '
        f"the archive by score; heights are logarithms</title>{bars}"
        f'<g font-size="10" fill="currentColor"><text y="74">score 0</text>'
        f'<text x="{width}" y="74" text-anchor="end">1</text></g></svg>'
    )


def _outline(archive: "CodeStore") -> str:
    """Draw a small map with a dot where there are tiles."""
    box = archive.manifest.bounds
    if box is None:
        return ""
    low, high = np.array(box[:2]), np.array(box[2:])
    stretch = np.array([np.cos(np.radians((low[1] + high[1]) / 2)), 1.0])
    scale = 150 / max(float(((high - low) * stretch).max()), 1e-9)
    count, parts = 0, [np.empty((0, 2), int)]
    for _, boxes in archive.boxes():  # one segment at a time; only the dots are kept
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        centres[:, 0] += 360 * np.round(((low[0] + high[0]) / 2 - centres[:, 0]) / 360)
        places = np.round((centres - low) * stretch * scale / 5).astype(int)
        parts.append(np.unique(places, axis=0))
        count += len(boxes)
    size = np.ceil((high - low) * stretch * scale).astype(int) + 12
    dots = "".join(
        f'<rect x="{x + 3}" y="{size[1] - y - 9}" width="4.4" height="4.4"/>'
        for x, y in np.unique(np.concatenate(parts), axis=0) * 5
    )
    corner = f"{low[0]:.3f}, {low[1]:.3f} to {high[0]:.3f}, {high[1]:.3f}"
    return (
        f'<svg width="{size[0]}" height="{size[1]}" fill="#17879c" role="img">'
        f"<title>{count:,} tiles, lon/lat {corner}</title>{dots}</svg>"
    )


def _crs_name(frame: "GeoDataFrame") -> str:
    return str(frame.crs) if frame.crs is not None else "no CRS"


def explore(matches: "GeoDataFrame", **options: Any) -> Any:  # noqa: ANN401 - a folium.Map
    """Show matches on an interactive map, coloured by distance, with what was searched with.

    Args:
        matches: Matches.
        **options: Arguments of `geopandas.GeoDataFrame.explore`, which override the defaults
            here: coastlines and borders instead of background tiles, colour by distance.

    Returns:
        A folium map. Showing it loads Leaflet from the network; the page of
        `to_file("matches.html")` needs no network.

    Raises:
        ExportError: If folium or mapclassify is not installed.
    """
    try:
        import folium
        import mapclassify  # noqa: F401 - geopandas needs it
    except ImportError as error:
        msg = f"explore needs {error.name}; run: python -m pip install 'geohash-rs[notebook]'"
        raise ExportError(msg) from error
    import geopandas as gpd

    frame = gpd.GeoDataFrame(matches)
    choices: dict[str, Any] = {"tiles": None, "style_kwds": {"fillOpacity": 0.3}, "name": "matches"}
    choices["tooltip"] = [name for name in TOOLTIP if name in frame.columns]
    if "distance" in frame.columns:
        choices |= {"column": "distance", "cmap": "plasma"}
    for name, text in (("datetime", moment_text), ("scene", scene_name)):
        if name in frame.columns:
            frame = frame.assign(**{name: frame[name].map(text)})
    choices |= options
    drawn = frame.explore(**choices)
    if "m" not in choices and choices["tiles"] is None and frame.crs is not None:
        _add_world(drawn, np.concatenate([lonlat_geometries(frame), *outlines(matches)]))
    _add_examples(drawn, matches)
    if "m" not in choices:
        folium.LayerControl().add_to(drawn)
    return drawn


def _add_examples(drawn: Any, matches: "GeoDataFrame") -> None:  # noqa: ANN401 - a folium.Map
    """Add what matches were searched with to a folium map, as far as it has a place."""
    asked = examples_of(matches)
    if asked is None:
        return
    style = {"fill": False, "dashArray": "6 4", "weight": 3}
    placed = asked[asked.geometry.notna()][["example", "positive", asked.geometry.name]]
    for right, name, colour in ((True, "searched with", TEAL), (False, "unlike", DARK)):
        some = placed[placed["positive"] == right]
        if len(some):
            some.explore(m=drawn, color=colour, name=name, style_kwds=style, tooltip="example")


def _add_world(drawn: Any, shapes: npt.NDArray[np.object_]) -> None:  # noqa: ANN401 - a folium.Map
    """Add coastlines and borders to a folium map, as far as it takes to recognise the place."""
    import geopandas as gpd

    chosen = Locator.around(shapes)
    if chosen is not None:
        lines = [shapely.LineString(line) for line in lines_in(chosen.view.box())]
        world = gpd.GeoSeries(lines, crs="EPSG:4326")
        world.explore(m=drawn, color=GREY, name=CREDIT, style_kwds={"weight": 1})
