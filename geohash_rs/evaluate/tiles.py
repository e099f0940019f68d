"""Open a folder of labelled tiles, whatever its layout."""

from pathlib import Path

from geohash_rs.evaluate.protocols import LabelledTiles
from geohash_rs.hashing.bigearthnet import LABELS, BigEarthNetPatches
from geohash_rs.hashing.class_folders import ClassFolders

__all__ = ["open_tiles"]


def open_tiles(root: str | Path) -> LabelledTiles:
    """Find the tiles of a folder and their labels.

    Args:
        root: Folder with one folder a class (one label a tile), or with patches of BigEarthNet
            (several).

    Returns:
        The tiles.

    Raises:
        TrainingError: If the folder has neither.
    """
    folder = Path(root)
    if folder.is_dir() and next(folder.rglob(f"*{LABELS}"), None) is not None:
        return BigEarthNetPatches.open(folder)
    return ClassFolders.open(folder)
