"""Show matches and archives in a notebook: as HTML, as a grid of pictures, on a map."""

import datetime as dt
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from geohash_rs.errors import ExportError, QueryError
from geohash_rs.export.html import tile_pictures

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from matplotlib.figure import Figure

    from geohash_rs.store.code_store import CodeStore

__all__ = ["archive_html", "concept_html", "explore", "matches_html", "plot_grid"]

SHOWN = 12  # pictures in a cell
NEEDED = ("scene", "col", "row", "width", "height", "tile_id", "distance", "rank")
CELL = "display:inline-block;width:104px;margin:0 6px 6px 0;font-size:11px;vertical-align:top"
IMAGE = "width:104px;height:104px;object-fit:cover;border-radius:6px;background:#8883"
FAINT = "opacity:.7"
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
    """Show the first matches as pictures in a notebook cell.

    Args:
        matches: Matches, or some of them.

    Returns:
        HTML without scripts; None if columns of matches are missing.
    """
    from geohash_rs.pictures.tiles import data_uri

    if not set(NEEDED) <= set(matches.columns):
        return None
    first = matches.head(SHOWN)
    rows = first.drop(columns=first.geometry.name).to_dict("records")
    cells = []
    for row, picture in zip(rows, tile_pictures(rows, size=128), strict=True):
        image = f'<img src="{data_uri(picture)}" alt="" style="{IMAGE}">' if picture else ""
        empty = "" if picture else f'<div style="{IMAGE}"></div>'
        moment = row.get("datetime")
        date = f"{moment:%Y-%m-%d}" if moment is not None and moment == moment else "no date"
        cells.append(
            f'<div style="{CELL}">{image}{empty}<div><b>{row["rank"]}</b> · '
            f"{_bits(row['distance'])}<br><span style='{FAINT}'>{date}<br>tile {row['tile_id']}"
            "</span></div></div>"
        )
    scenes = matches["scene"].nunique()
    more = f", the first {SHOWN} shown" if len(matches) > SHOWN else ""
    count = f"{len(matches)} match{'es' * (len(matches) != 1)} in {scenes} scene"
    return (
        f"<div><p style='margin:0 0 6px'><b>{count}{'s' * (scenes != 1)}</b>"
        f"<span style='{FAINT}'>{more}; a GeoDataFrame in {escape(_crs_name(matches))}</span></p>"
        f"<div>{''.join(cells)}</div></div>"
    )


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


def _bits(distance: int) -> str:
    return f"{distance} bit{'s' * (distance != 1)}"


def _crs_name(frame: "GeoDataFrame") -> str:
    return str(frame.crs) if frame.crs is not None else "no CRS"


def plot_grid(
    matches: "GeoDataFrame", *, columns: int = 6, most: int = 24, remote_scenes: bool = False
) -> "Figure":
    """Draw matches as a grid of pictures with matplotlib.

    Args:
        matches: Matches; pictures are read from their scenes.
        columns: Pictures per row.
        most: Most pictures to draw.
        remote_scenes: Whether to read whatever the matches name, such as URLs. Otherwise only
            plain raster files of this machine are drawn.

    Returns:
        The figure, to show or save.

    Raises:
        QueryError: If `columns` or `most` is less than 1, or columns of matches are missing.
    """
    from io import BytesIO

    from matplotlib.figure import Figure
    from PIL import Image

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
    lines = max(1, -(-len(rows) // columns))
    figure = Figure(figsize=(1.7 * columns, 2.15 * lines), layout="constrained")
    axes = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
    for axis in axes:
        axis.set_axis_off()
    permission = Permission(remote_scenes=remote_scenes)
    pictures = tile_pictures(rows, size=192, permission=permission)
    for axis, row, picture in zip(axes, rows, pictures, strict=False):
        moment = row.get("datetime")
        date = f"{moment:%Y-%m-%d}" if moment is not None and moment == moment else ""
        axis.set_title(f"{row['rank']}: {_bits(row['distance'])}\n{date}", fontsize=8)
        if picture is None:
            axis.text(0.5, 0.5, "no picture", ha="center", va="center", transform=axis.transAxes)
        else:
            axis.imshow(np.asarray(Image.open(BytesIO(picture))), interpolation="nearest")
    return figure


def explore(matches: "GeoDataFrame", **options: Any) -> Any:  # noqa: ANN401 - a folium.Map
    """Show matches on an interactive map, coloured by distance.

    Args:
        matches: Matches.
        **options: Arguments of `geopandas.GeoDataFrame.explore`, which override the defaults
            here: no background tiles, colour by distance.

    Returns:
        A folium map. Showing it loads Leaflet from the network; the page of
        `to_file("matches.html")` needs no network.

    Raises:
        ExportError: If folium or mapclassify is not installed.
    """
    try:
        import folium  # noqa: F401 - geopandas needs both
        import mapclassify  # noqa: F401
    except ImportError as error:
        msg = f"explore needs {error.name}; run: python -m pip install 'geohash-rs[notebook]'"
        raise ExportError(msg) from error
    import geopandas as gpd

    shown = [n for n in ("rank", "distance", "tile_id", "datetime") if n in matches.columns]
    frame = gpd.GeoDataFrame(matches)
    choices: dict[str, Any] = {"tiles": None, "tooltip": shown, "style_kwds": {"fillOpacity": 0.3}}
    if "distance" in frame.columns:
        choices |= {"column": "distance", "cmap": "plasma"}
    if "datetime" in frame.columns:
        frame = frame.assign(datetime=frame["datetime"].astype(str))
    return frame.explore(**{**choices, **options})
