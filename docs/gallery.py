"""Draw the pictures of the gallery from an archive of the invented coast."""

from pathlib import Path

import rasterio
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rasterio.windows import Window

MATCHES = 6  # next to each patch
NEAREST = 24  # tiles on the map of footprints
RIGHT, WRONG = "#0f6376", "#d81e56"
SPRING = ("coast_west_20230514.tif", "coast_east_20230514.tif")


def draw_queries(archive, patches: dict[str, Path], path: Path) -> None:
    """Draw a row for each patch: the patch, then its nearest tiles.

    Args:
        archive: Archive of the coast.
        patches: Patches by what they show.
        path: Picture to write.
    """
    figure = Figure(figsize=(9, 1.43 * len(patches)), layout="constrained")
    grid = figure.subplots(len(patches), MATCHES + 1)
    for row, (name, patch) in zip(grid, patches.items(), strict=True):
        show(row[0], read(patch), name, WRONG)
        matches = archive.query(patch, k=MATCHES, distinct=True)
        for axes, match in zip(row[1:], matches.itertuples(), strict=True):
            show(
                axes,
                read_tile(match),
                f"{match.distance} bits" if match.distance != 1 else "1 bit",
                RIGHT,
            )
    figure.savefig(path, dpi=110)


def draw_footprints(archive, patch: Path, path: Path) -> None:
    """Draw the nearest tiles onto the two scenes of spring, redder for nearer.

    Args:
        archive: Archive of the coast.
        patch: What is searched for.
        path: Picture to write.
    """
    matches = archive.query(patch, k=NEAREST, time=("2023-05-01", "2023-05-31"))
    everything = archive.tiles(range(len(archive)))
    shades = ScalarMappable(Normalize(0, matches["distance"].max()), "YlOrRd_r")
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), SPRING, strict=True):
        scene = next(one for one in everything["scene"] if one.endswith(name))
        axes.imshow(read(scene))
        for tile in everything[everything["scene"] == scene].itertuples():
            axes.add_patch(outline(tile, edgecolor="white", facecolor="none", linewidth=0.4))
        for match in matches[matches["scene"] == scene].itertuples():
            colour = shades.to_rgba(match.distance)
            axes.add_patch(outline(match, edgecolor=colour, facecolor=(*colour[:3], 0.6)))
        axes.set_title(name, fontsize=10)
        axes.set_axis_off()
    figure.colorbar(shades, ax=figure.axes, label="distance, bits", shrink=0.7)
    figure.savefig(path, dpi=110)


def read(path: str | Path, window: Window | None = None):
    """Read the first three bands of a raster or a window of it as a picture."""
    with rasterio.open(path) as source:
        return source.read((1, 2, 3), window=window).transpose(1, 2, 0)


def read_tile(match):
    """Read the pixels of a match from its scene."""
    return read(match.scene, Window(match.col, match.row, match.width, match.height))


def outline(tile, **style) -> Rectangle:
    """Outline a tile in the pixels of its scene."""
    return Rectangle((tile.col, tile.row), tile.width, tile.height, **style)


def show(axes, image, title: str, colour: str) -> None:
    """Show a picture with a title and a frame."""
    axes.imshow(image)
    axes.set_title(title, fontsize=8)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(colour)
