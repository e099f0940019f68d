"""Draw a query next to its matches, and a map of where they are."""

from collections.abc import Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import rasterio
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from shapely.geometry import Polygon, box

from geohash_rs.pictures.permission import Permission

__all__ = ["draw_matches"]

FOUND, ASKED = "#ff3b6b", "#00c8ff"
INK, FAINT = "#1c2430", "#66707c"
COLUMNS = 4
MAP_SIZE = 700  # px of the longer side of a scene on the locator map

Image = npt.NDArray[np.uint8]


def draw_matches(
    matches: gpd.GeoDataFrame, path: Path, *, patch: Path, scenes: Sequence[Path], title: str
) -> None:
    """Draw a query and its matches with their distances, and show them on a locator map.

    Args:
        matches: Result of a query, with readable scenes; the first eight are shown.
        path: PNG file to write.
        patch: GeoTIFF that was searched with.
        scenes: GeoTIFFs to draw on the map; later ones are on top.
        title: Title of the picture.
    """
    figure = Figure(figsize=(14, 7.4), dpi=110, facecolor="white")
    figure.text(0.03, 0.935, title, fontsize=17, color=INK, fontweight="bold", va="center")
    figure.text(0.03, 0.89, _summary(matches), fontsize=11, color=FAINT, va="center")
    _draw_map(figure.add_axes((0.05, 0.07, 0.42, 0.78)), matches, patch, scenes)
    with rasterio.open(patch) as source:
        image = source.read([1, 2, 3])
    cell = figure.add_axes(_cell(0, 0))
    _draw_image(cell, image, ASKED, title="your patch")
    for place, match in enumerate(matches.head(2 * COLUMNS).itertuples()):
        Permission().check(match.scene)  # an archive that was there already may name anything
        with rasterio.open(match.scene) as source:
            window = Window(match.col, match.row, match.width, match.height)
            image = source.read([1, 2, 3], window=window, boundless=True, fill_value=0)
        cell = figure.add_axes(_cell(1 + place // COLUMNS, place % COLUMNS))
        _draw_image(cell, image, FOUND, title=str(match.rank))
        cell.set_xlabel(
            f"distance {match.distance}\n{match.datetime:%d %B %Y}", fontsize=9.5, color=INK
        )
    figure.savefig(path)


def _cell(row: int, column: int) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of a grid cell right of the map, as shares of the figure."""
    return 0.505 + column * 0.124, 0.715 - row * 0.315, 0.108, 0.205


def _summary(matches: gpd.GeoDataFrame) -> str:
    nearest, farthest = matches["distance"].min(), matches["distance"].max()
    count = matches["scene"].nunique()
    return (
        f"The {len(matches)} nearest tiles differ from the patch in {nearest} to {farthest} bits "
        f"and come from {count} scene{'' if count == 1 else 's'}."
    )


def _draw_map(axes: Axes, matches: gpd.GeoDataFrame, patch: Path, scenes: Sequence[Path]) -> None:
    with rasterio.open(patch) as source:
        asked = gpd.GeoSeries([box(*source.bounds)], crs=source.crs).to_crs("EPSG:4326").iloc[0]
    bounds = [asked.bounds]
    for scene in scenes:
        image, extent = _on_map(scene)
        axes.imshow(image, extent=extent, interpolation="bilinear", zorder=1)
        bounds.append((extent[0], extent[2], extent[1], extent[3]))
    low, high = np.min(bounds, axis=0)[:2], np.max(bounds, axis=0)[2:]
    margin = 0.03 * (high - low)
    axes.set_xlim(low[0] - margin[0], high[0] + margin[0])
    axes.set_ylim(low[1] - margin[1], high[1] + margin[1])
    axes.set_aspect(1 / np.cos(np.radians((low[1] + high[1]) / 2)))
    _outline(axes, asked, ASKED)
    _label(axes, asked, "your patch", ASKED)
    for _, group in matches.groupby(matches.geometry.to_wkb()):  # one label for all dates
        footprint = group.geometry.iloc[0]
        _outline(axes, footprint, FOUND)
        _label(axes, footprint, ", ".join(map(str, group["rank"])), FOUND)
    axes.set_xlabel("longitude", fontsize=9, color=FAINT)
    axes.set_ylabel("latitude", fontsize=9, color=FAINT)
    axes.tick_params(labelsize=8, colors=FAINT)
    axes.ticklabel_format(useOffset=False)
    axes.set_facecolor("#eef1f4")
    for spine in axes.spines.values():
        spine.set_color("#c9d0d8")


def _on_map(scene: Path) -> tuple[Image, tuple[float, float, float, float]]:
    """Read a scene as RGBA, warped to longitude and latitude and downsampled, and its extent."""
    with (
        rasterio.open(scene) as source,
        WarpedVRT(
            source, crs="EPSG:4326", resampling=Resampling.bilinear, add_alpha=True
        ) as warped,
    ):
        reduction = max(1.0, max(warped.width, warped.height) / MAP_SIZE)
        shape = (4, round(warped.height / reduction), round(warped.width / reduction))
        image = warped.read([1, 2, 3, 4], out_shape=shape, resampling=Resampling.average)
        extent = (warped.bounds.left, warped.bounds.right, warped.bounds.bottom, warped.bounds.top)
    return np.moveaxis(image, 0, -1), extent


def _outline(axes: Axes, footprint: Polygon, colour: str) -> None:
    x, y = footprint.exterior.xy
    axes.plot(x, y, color="white", linewidth=3.2, zorder=3)
    axes.plot(x, y, color=colour, linewidth=1.7, zorder=4)


def _label(axes: Axes, footprint: Polygon, text: str, colour: str) -> None:
    x, y = footprint.centroid.x, footprint.bounds[3]
    axes.annotate(
        text,
        (x, y),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        fontweight="bold",
        color=colour,
        zorder=5,
        path_effects=[patheffects.withStroke(linewidth=2.6, foreground="white")],
    )


def _draw_image(axes: Axes, image: Image, colour: str, *, title: str) -> None:
    axes.imshow(np.moveaxis(image, 0, -1), interpolation="nearest")
    axes.set_title(title, fontsize=11, color=INK, fontweight="bold", pad=4)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(2.5)
