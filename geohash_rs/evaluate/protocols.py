"""Split tiles into training tiles, queries and archive."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.class_folders import split_by_class

__all__ = ["PROTOCOLS", "LabelledTiles", "Trial", "check_split", "make_trials"]

PROTOCOLS = ("paper", "clean", "unseen", "spatial")
BLOCK = 50_000.0  # side in metres of the blocks of the spatial protocol

Ints = npt.NDArray[np.int64]


class LabelledTiles(Protocol):
    """A labelled data set to evaluate on, such as `ClassFolders`."""

    @property
    def root(self) -> Path:
        """Folder of the data set."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """File or folder of each tile, below the root."""

    @property
    def labels(self) -> Ints:
        """Class of each tile, shape (tiles,); or zeros and ones, shape (tiles, classes)."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    def __len__(self) -> int: ...

    def take(self, rows: npt.ArrayLike) -> "LabelledTiles":
        """Return some of the tiles, classes unchanged."""

    def batches(self, *, size: int = 32) -> Iterator[Tensor]:
        """Yield raw pixels of all tiles in order, shape (tiles, bands, height, width)."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One split into training tiles, queries and archive, as tile indices.

    Attributes:
        protocol: One of `PROTOCOLS`.
        archive: What the archive holds, in words.
        train: Training tiles.
        queries: Query tiles.
        searched: Archive tiles; a query never finds itself.
    """

    protocol: str
    archive: str
    train: Ints
    queries: Ints
    searched: Ints


def make_trials(tiles: LabelledTiles, protocol: str, *, seed: int | None = None) -> list[Trial]:
    """Split tiles by a protocol.

    - "paper": 60 % of each class are for training; the rest are both queries and archive.
    - "clean": 60 % are for training and 20 % are queries. One archive holds all tiles except the
      query itself, another the remaining 20 %, which are used for nothing else.
    - "unseen": a third of the classes is left out of training and is both queries and archive.
    - "spatial": of blocks 50 km wide, 60 % are for training; the rest are queries and archive.

    Args:
        tiles: Tiles with their labels.
        protocol: One of `PROTOCOLS`.
        seed: Seed of the split. With None, "paper" and "clean" use the lists of file names
            ``*-train.txt``, ``*-val.txt`` and ``*-test.txt`` next to the data if they exist;
            otherwise the seed is 0.

    Returns:
        Trials, each with one training set and one archive.

    Raises:
        TrainingError: If the protocol is unknown, needs classes or locations that are missing, or
            leaves no queries or no archive.
    """
    if protocol not in PROTOCOLS:
        msg = f"protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}."
        raise TrainingError(msg)
    trials = _make_trials(tiles, protocol, seed)
    for trial in trials:
        if not len(trial.queries) or not len(trial.searched):
            msg = (
                f"protocol {protocol} splits the {len(tiles)} tiles of {tiles.root} into "
                f"{len(trial.train)} for training, {len(trial.queries)} queries and "
                f"{len(trial.searched)} in the archive; add tiles to each class, or use another "
                "protocol."
            )
            raise TrainingError(msg)
    return trials


def _make_trials(tiles: LabelledTiles, protocol: str, seed: int | None) -> list[Trial]:
    everything = np.arange(len(tiles))
    if protocol == "paper":
        train, *rest = _parts(tiles, (0.6,), seed)
        test = np.sort(np.concatenate(rest))
        return [Trial(protocol="paper", archive="test", train=train, queries=test, searched=test)]
    if protocol == "clean":
        train, apart, test = _parts(tiles, (0.6, 0.2), seed)
        archives = {"train + test": everything, "held apart": apart}
        return [
            Trial(protocol="clean", archive=name, train=train, queries=test, searched=rows)
            for name, rows in archives.items()
        ]
    held_out = _unseen if protocol == "unseen" else _other_blocks
    archive = "unseen classes" if protocol == "unseen" else "other blocks"
    rows = held_out(tiles, np.random.default_rng(seed or 0))
    known = np.setdiff1d(everything, rows)
    return [Trial(protocol=protocol, archive=archive, train=known, queries=rows, searched=rows)]


def check_split(tiles: LabelledTiles, protocol: str, split: str) -> None:
    """Check that these tiles support a kind of split.

    Args:
        tiles: The tiles.
        protocol: One of `PROTOCOLS`.
        split: "seed" or "lists".

    Raises:
        TrainingError: If the split is unknown, or there are no lists for this protocol.
    """
    if split not in {"seed", "lists"}:
        msg = f'split {split!r} is unknown; use "seed" or "lists".'
        raise TrainingError(msg)
    if split == "lists" and (protocol not in {"paper", "clean"} or not _lists(tiles)):
        msg = (
            f"protocol {protocol} has no lists *-train.txt, *-val.txt and *-test.txt that name "
            f'every tile of {tiles.root}; use split "seed".'
        )
        raise TrainingError(msg)


def _parts(tiles: LabelledTiles, fractions: tuple[float, ...], seed: int | None) -> list[Ints]:
    listed = _lists(tiles) if seed is None else []
    if listed:
        return listed
    one_class = np.zeros(len(tiles), dtype=np.int64)
    labels = one_class if tiles.labels.ndim == 2 else tiles.labels
    return split_by_class(labels, fractions=fractions, seed=seed or 0)


def _unseen(tiles: LabelledTiles, rng: np.random.Generator) -> Ints:
    """Choose the tiles of a third of the classes.

    Raises:
        TrainingError: If tiles have several labels.
    """
    if tiles.labels.ndim == 2:
        msg = (
            f"tiles of {tiles.root.name} have several labels each, so no tile belongs only to "
            'unseen classes; use protocol "paper" or "clean".'
        )
        raise TrainingError(msg)
    classes = rng.permutation(len(tiles.classes))
    hidden = classes[: max(2, len(classes) // 3)]
    return np.flatnonzero(np.isin(tiles.labels, hidden))


def _other_blocks(tiles: LabelledTiles, rng: np.random.Generator) -> Ints:
    """Choose the tiles of 40 % of the blocks.

    Raises:
        TrainingError: If all tiles lie in one block.
    """
    blocks = _blocks(tiles)
    names = rng.permutation(np.unique(blocks))
    if len(names) < 2:
        msg = (
            f"all {len(tiles)} tiles of {tiles.root} lie in one block of {BLOCK / 1000:.0f} km, so "
            "no block is left for queries; use another protocol."
        )
        raise TrainingError(msg)
    return np.flatnonzero(~np.isin(blocks, names[: round(0.6 * len(names))]))


def _lists(tiles: LabelledTiles) -> list[Ints]:
    """Read the split lists next to the data: train, val, test; empty if there are none."""
    rows = {path.stem: index for index, path in enumerate(tiles.paths)}
    for folder in (tiles.root, *tiles.root.parents[:2]):
        found = [sorted(folder.glob(f"*-{part}.txt")) for part in ("train", "val", "test")]
        if not all(found):
            continue
        parts = [[Path(x).stem for x in files[0].read_text().split()] for files in found]
        if sorted(name for part in parts for name in part) == sorted(rows):
            return [np.array(sorted(rows[n] for n in part), dtype=np.int64) for part in parts]
    return []


def _blocks(tiles: LabelledTiles) -> npt.NDArray[np.str_]:
    """Return the name of the block that each tile lies in, from ``locations.csv``.

    Raises:
        TrainingError: If the file or a location is missing, or two files share a name.
    """
    path = tiles.root / "locations.csv"
    if not path.is_file():
        msg = (
            f"the spatial protocol needs {path} with columns id, epsg, easting, northing; use "
            "another protocol for tiles without locations."
        )
        raise TrainingError(msg)
    with path.open(newline="") as file:
        table = list(csv.DictReader(file))
    if not table or not {"epsg", "easting", "northing"} <= set(table[0]):
        msg = f"{path} must have the columns epsg, easting and northing."
        raise TrainingError(msg)
    key = next(iter(table[0]))
    places = {
        Path(row[key]).stem: (row["epsg"], float(row["easting"]), float(row["northing"]))
        for row in table
    }
    stems = Counter(path.stem for path in tiles.paths)
    rows = Counter(Path(row[key]).stem for row in table)
    if repeated := [stem for stem, count in stems.items() if count > 1 or rows[stem] > 1]:
        msg = (
            f"{len(repeated)} names, such as {repeated[0]}, match several tiles or rows of {path}, "
            "which identifies tiles by file name without folder and extension; use unique names."
        )
        raise TrainingError(msg)
    missing = [p.stem for p in tiles.paths if p.stem not in places]
    if missing:
        msg = f"{path} has no row for {len(missing)} tiles, such as {missing[0]}."
        raise TrainingError(msg)
    found = (places[p.stem] for p in tiles.paths)
    return np.array(
        [f"{zone}/{east // BLOCK:.0f}/{north // BLOCK:.0f}" for zone, east, north in found]
    )
