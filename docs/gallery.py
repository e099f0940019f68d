"""Draw the pictures of the gallery from an archive of the invented coast."""

from pathlib import Path

import rasterio
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rasterio.windows import Window

MATCHES = 6  # next to each patch
NEAREST = 40  # tiles on the map of footprints
SHOWN = 8  # tiles in a row of the picture of feedback
RIGHT, WRONG = "#0f6376", "#d81e56"
SPRING = ("coast_west_20230514.tif", "coast_east_20230514.tif")


def draw_queries(archive, patches: dict[str, Path], path: Path) -> None:
    """Draw a row for each patch: the patch, then its nearest tiles.

    Args:
        archive: Archive of the coast.
        patches: Patches by what they show.
        path: Picture to write.
    """
    figure = Figure(figsize=(9, 8.6), layout="constrained")
    grid = figure.subplots(len(patches), MATCHES + 1)
    for row, (name, patch) in zip(grid, patches.items(), strict=True):
        show(row[0], read(patch), name, WRONG)
        matches = archive.query(patch, k=MATCHES, distinct=True)
        for axes, match in zip(row[1:], matches.itertuples(), strict=True):
            show(axes, read_tile(match), f"{match.distance} bits", RIGHT)
    figure.savefig(path, dpi=110)


def draw_footprints(archive, patch: Path, path: Path) -> None:
    """Draw the nearest tiles onto the two scenes of spring, darker for nearer.

    Args:
        archive: Archive of the coast.
        patch: What is searched for.
        path: Picture to write.
    """
    matches = archive.query(patch, k=NEAREST, time=("2023-05-01", "2023-05-31"))
    everything = archive.tiles(range(len(archive)))
    shades = ScalarMappable(Normalize(0, matches["distance"].max()), "magma")
    figure = Figure(figsize=(9, 4.9), layout="constrained")
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


def draw_feedback(archive, patch: Path, path: Path) -> None:
    """Draw a search, and the search after some of its matches were rejected.

    Args:
        archive: Archive of the coast.
        patch: What is searched for.
        path: Picture to write.
    """
    first = archive.query(patch, k=SHOWN, distinct=True)
    wrong = first["tile_id"].tolist()[-3:]
    second = archive.query(patch, k=SHOWN, distinct=True, negatives=wrong)
    figure = Figure(figsize=(9, 2.9), layout="constrained")
    rows = zip(figure.subplots(2, SHOWN), (first, second), ("search", "with feedback"), strict=True)
    for axes, matches, title in rows:
        for place, match in zip(axes, matches.itertuples(), strict=True):
            rejected = match.tile_id in wrong
            show(
                place,
                read_tile(match),
                f"tile {match.tile_id}",
                "#d81e56" if rejected else "#0f6376",
            )
            if rejected:
                place.plot(
                    [0, 1], [0, 1], [0, 1], [1, 0], color="#d81e56", transform=place.transAxes
                )
        axes[0].set_ylabel(title)
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
