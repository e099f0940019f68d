"""Draw what happens to the bits of an archive when scenes of a second sensor are added."""

import warnings
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from geohash_rs import Scenes
from geohash_rs.errors import GeoHashRSWarning

SHOWN = 60  # tiles of each sensor
COLOURS = ("#0f6376", "#d81e56")


def write_hazy(source: Path, folder: Path) -> Path:
    """Write the spring scenes, of 10 m, as a hazy sensor with pixels of 20 m would show them.

    Args:
        source: Folder with the scenes.
        folder: Where to write.

    Returns:
        The folder.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    for path in sorted(source.glob("*_20230514.tif")):
        with rasterio.open(path) as scene:
            fine, profile = scene.read().astype(float), scene.profile
        bands, height, width = fine.shape
        coarse = fine.reshape(bands, height // 2, 2, width // 2, 2).mean((2, 4))
        hazy = 0.3 * coarse + 150 + rng.normal(0, 2, coarse.shape)
        grid = profile["transform"] * Affine.scale(2)
        profile.update(height=height // 2, width=width // 2, transform=grid)
        with rasterio.open(folder / path.name, "w", **profile) as target:
            target.write(np.clip(hazy, 0, 255).astype(np.uint8))
    return folder


def draw_bits(archive, hazy: Path, path: Path) -> None:
    """Add the scenes of a second sensor and refit; draw the bits of tiles before and after.

    Args:
        archive: Archive of scenes of 10 m; changed.
        hazy: Folder with the scenes of the second sensor.
        path: Picture to write.
    """
    count = len(archive)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeoHashRSWarning)  # what the picture is about
        archive.add(Scenes(hazy), tile_size=32)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True)
    for column, title in enumerate(("before refit", "after refit")):
        if column:
            archive.refit()
        bits = np.unpackbits(archive.codes(range(len(archive))), axis=1)
        order = np.argsort(bits[count:].mean(0), kind="stable")
        for row, (own, size) in enumerate(((bits[:count], "10"), (bits[count:], "20"))):
            axes = panels[row, column]
            some = own[np.linspace(0, len(own) - 1, SHOWN).astype(int)][:, order]
            axes.imshow(
                some, cmap=ListedColormap(("#f3f3f3", COLOURS[row])), aspect="auto", vmin=0, vmax=1
            )
            ones, tiles = own.sum(axis=0, dtype=int), len(own)
            apart = (ones * (tiles - ones)).sum() / (tiles * (tiles - 1) / 2)
            constant = (np.minimum(ones, tiles - ones) <= 0.005 * tiles).sum()
            axes.set_title(
                f"{title}, sensor of {size} m: two tiles differ in {apart:.0f} bits, "
                f"{constant} constant",
                fontsize=8.5,
            )
            axes.set_xticks([])
            axes.set_yticks([])
    for axes in panels[:, 0]:
        axes.set_ylabel("tiles")
    for axes in panels[1]:
        axes.set_xlabel("64 bits")
    figure.savefig(path, dpi=110)
