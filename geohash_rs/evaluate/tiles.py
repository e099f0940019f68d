"""Open a folder of labelled tiles, by the name of the data set or whatever its layout."""

from pathlib import Path

from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.protocols import LabelledTiles
from geohash_rs.hashing.data.bigearthnet import LABELS, BigEarthNetPatches
from geohash_rs.hashing.data.class_folders import ClassFolders

__all__ = ["DATASETS", "find_dataset", "open_tiles"]

# classes of each data set that has one folder a class; of any number where it is None
DATASETS: dict[str, int | None] = {
    "class-folders": None,
    "ucmerced": 21,
    "eurosat": 10,
    "eurosat-rgb": 10,
    "eurosat100": 10,
    "aid": 30,
    "whu-rs19": 19,
    "bigearthnet": None,
}


def open_tiles(root: str | Path, *, dataset: str | None = None) -> LabelledTiles:
    """Find the tiles of a folder and their labels.

    Args:
        root: Folder with one folder a class (one label a tile), or with patches of BigEarthNet
            (several).
        dataset: One of `DATASETS`; case, hyphens and underscores do not matter. It says the layout,
            and a folder with more classes than the data set is refused; one with fewer is a part
            of it. Default: what the folder holds.

    Returns:
        The tiles.

    Raises:
        TrainingError: If the folder has no such tiles, the name is unknown, or the folder has more
            classes than the data set of this name.
    """
    folder = Path(root)
    name = None if dataset is None else find_dataset(dataset)
    if name == "bigearthnet" or (name is None and _has_label_files(folder)):
        return BigEarthNetPatches.open(folder)
    tiles = ClassFolders.open(folder)
    most = DATASETS[name] if name is not None else None
    if most is not None and len(tiles.classes) > most:
        msg = (
            f"{tiles.root} has {len(tiles.classes)} classes, but {name} has {most}; give its "
            "folder as root, or class-folders as the data set."
        )
        raise TrainingError(msg)
    return tiles


def find_dataset(dataset: str) -> str:
    """Find a data set by its name, however it is spelt.

    Args:
        dataset: The name; case, hyphens and underscores do not matter.

    Returns:
        Its name in `DATASETS`.

    Raises:
        TrainingError: If there is none of this name.
    """
    names = {_letters(name): name for name in DATASETS}
    if _letters(dataset) not in names:
        msg = f"data set {dataset!r} is unknown; use one of {', '.join(DATASETS)}, or leave it out."
        raise TrainingError(msg)
    return names[_letters(dataset)]


def _letters(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def _has_label_files(folder: Path) -> bool:
    return folder.is_dir() and next(folder.rglob(f"*{LABELS}"), None) is not None
