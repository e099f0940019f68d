"""Open a folder of labelled tiles, by data set name or by its layout."""

from pathlib import Path

from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.protocols import LabelledTiles
from geohash_rs.hashing.data.bigearthnet import LABELS, BigEarthNetPatches
from geohash_rs.hashing.data.class_folders import ClassFolders

__all__ = ["DATASETS", "find_dataset", "open_tiles"]

# number of classes of each data set; None if it varies
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
        root: Folder with one folder per class (one label per tile), or with patches of BigEarthNet
            (several labels per tile).
        dataset: One of `DATASETS`; case, hyphens and underscores do not matter. It sets the layout
            and the largest number of classes; a folder with fewer counts as a subset. None detects
            the layout.

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
            f"{tiles.root} has {len(tiles.classes)} classes, but {name} has {most}; pass its "
            "folder as root, or class-folders as the data set."
        )
        raise TrainingError(msg)
    return tiles


def find_dataset(dataset: str) -> str:
    """Find a data set by name, in any spelling.

    Args:
        dataset: The name; case, hyphens and underscores do not matter.

    Returns:
        Its name in `DATASETS`.

    Raises:
        TrainingError: If there is no data set of this name.
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
