"""Which tiles train, which ask, and which are searched."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.class_folders import ClassFolders, split_by_class

__all__ = ["PROTOCOLS", "Trial", "make_trials"]

PROTOCOLS = ("paper", "clean", "unseen", "spatial")
BLOCK = 50_000.0  # side in metres of the blocks of the spatial protocol

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One way to train and to search, in indices of tiles.

    Attributes:
        protocol: One of `PROTOCOLS`.
        archive: What the archive holds, in words.
        train: Tiles that training may see.
        queries: Tiles that ask.
        searched: Tiles of the archive; a query never finds itself.
    """

    protocol: str
    archive: str
    train: Ints
    queries: Ints
    searched: Ints


def make_trials(tiles: ClassFolders, protocol: str, *, seed: int = 0) -> list[Trial]:
    """Split tiles by a protocol.

    - "paper": 60 % of every class train; the rest are both queries and archive.
    - "clean": 60 % train, 20 % ask; one archive is all but the query itself, another the
      remaining 20 %, which neither trained nor ask.
    - "unseen": a third of the classes is kept out of training and is both queries and archive.
    - "spatial": blocks of 50 km on the ground either train (60 %) or are queries and archive.

    Where lists of file names ``*-train.txt``, ``*-val.txt`` and ``*-test.txt`` lie beside the
    data, "paper" and "clean" take the split from them.

    Args:
        tiles: Tiles with their classes.
        protocol: One of `PROTOCOLS`.
        seed: Seed of the split.

    Returns:
        Trials, each with one training and one archive.

    Raises:
        TrainingError: If the protocol is unknown, or needs locations that are not there.
    """
    everything = np.arange(len(tiles))
    if protocol == "paper":
        train, *rest = _lists(tiles) or split_by_class(tiles.labels, fractions=(0.6,), seed=seed)
        test = np.sort(np.concatenate(rest))
        return [Trial(protocol="paper", archive="test", train=train, queries=test, searched=test)]
    if protocol == "clean":
        parts = _lists(tiles) or split_by_class(tiles.labels, fractions=(0.6, 0.2), seed=seed)
        train, apart, test = parts
        archives = {"train + test": everything, "held apart": apart}
        return [
            Trial(protocol="clean", archive=name, train=train, queries=test, searched=rows)
            for name, rows in archives.items()
        ]
    if protocol == "unseen":
        classes = np.random.default_rng(seed).permutation(len(tiles.classes))
        hidden = classes[: max(2, len(classes) // 3)]
        rows = np.flatnonzero(np.isin(tiles.labels, hidden))
        known = np.setdiff1d(everything, rows)
        return [
            Trial(
                protocol="unseen", archive="unseen classes", train=known, queries=rows,
                searched=rows,
            )
        ]  # fmt: skip
    if protocol == "spatial":
        blocks = _blocks(tiles)
        names = np.random.default_rng(seed).permutation(np.unique(blocks))
        inside = np.isin(blocks, names[: round(0.6 * len(names))])
        train, test = np.flatnonzero(inside), np.flatnonzero(~inside)
        return [
            Trial(
                protocol="spatial", archive="other blocks", train=train, queries=test,
                searched=test,
            )
        ]  # fmt: skip
    msg = f"protocol {protocol!r} is not one of {', '.join(PROTOCOLS)}."
    raise TrainingError(msg)


def _lists(tiles: ClassFolders) -> list[Ints]:
    """Read the split lists beside the data: train, val, test; nothing where there are none."""
    rows = {path.stem: index for index, path in enumerate(tiles.paths)}
    for folder in (tiles.root, *tiles.root.parents[:2]):
        found = [sorted(folder.glob(f"*-{part}.txt")) for part in ("train", "val", "test")]
        if not all(found):
            continue
        parts = [[Path(x).stem for x in files[0].read_text().split()] for files in found]
        if all(name in rows for part in parts for name in part):
            return [np.array(sorted(rows[n] for n in part), dtype=np.int64) for part in parts]
    return []


def _blocks(tiles: ClassFolders) -> npt.NDArray[np.str_]:
    """Name the block of the ground that each tile lies in, from ``locations.csv``.

    Raises:
        TrainingError: If the file or a location is missing.
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
        msg = f"{path} lacks columns epsg, easting and northing."
        raise TrainingError(msg)
    key = next(iter(table[0]))
    places = {
        Path(row[key]).stem: (row["epsg"], float(row["easting"]), float(row["northing"]))
        for row in table
    }
    missing = [p.stem for p in tiles.paths if p.stem not in places]
    if missing:
        msg = f"{path} has no row for {len(missing)} tiles, such as {missing[0]}."
        raise TrainingError(msg)
    found = (places[p.stem] for p in tiles.paths)
    return np.array(
        [f"{zone}/{east // BLOCK:.0f}/{north // BLOCK:.0f}" for zone, east, north in found]
    )
