"""Calibrate the queries of an archive with labels, and keep that in a file next to it."""

import datetime as dt
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from geohash_rs.codes import check_num_bits, hamming_distances
from geohash_rs.errors import CalibrationError, HasherMismatchError
from geohash_rs.export.formats import check_place, reporting
from geohash_rs.store.disk.durable import replacing
from geohash_rs.store.disk.json_file import JsonFile
from geohash_rs.store.searchable import Searchable, bits_of
from geohash_rs.trust.labels import Labelled, label_archive
from geohash_rs.trust.promise import Promise, check_delta, promise_of_counts

__all__ = ["Calibration", "calibrate_queries", "count_pairs"]

FILE = JsonFile(
    what="calibration",
    version=1,
    most_bytes=8 << 20,
    error=CalibrationError,
    make="make one with 'geohash-rs calibrate'",
    again="Calibrate again.",
)
MOST_CLASSES, MOST_TEXT = 100_000, 4096
MOST_TILES = 20_000  # labelled tiles that are compared with each other
AT_ONCE = 1 << 22  # pairs in memory


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """How often the nearest tiles of a query are right, by distance.

    It holds for queries like the labelled tiles, in the same mixture of classes, pooled over all
    of them: a single class may be right less often.

    Attributes:
        promise: What can be promised at each distance.
        hasher: Fingerprint of the hasher that made the codes; None if it is unknown.
        num_bits: Bits per code.
        classes: Number of labelled tiles of each class.
        block_km: Side of a block of ground, km.
        num_tiles: Labelled tiles that were compared.
        created: When it was made, UTC.
        labels: Name of the labels.
    """

    promise: Promise
    hasher: str | None
    num_bits: int
    classes: dict[str, int]
    block_km: float
    num_tiles: int
    created: dt.datetime
    labels: str

    def check(self, archive: Searchable) -> None:
        """Check that it holds for the codes of an archive.

        Args:
            archive: One state of the archive.

        Raises:
            HasherMismatchError: If another hasher made its codes, perhaps because of a refit.
        """
        if (archive.hasher_fingerprint, archive.num_bits) != (self.hasher, self.num_bits):
            theirs = (archive.hasher_fingerprint or "none")[:16]
            msg = (
                f"the calibration is of hasher {(self.hasher or 'none')[:16]} with "
                f"{self.num_bits} bits, but the codes of {archive.path} are of {theirs} with "
                f"{archive.num_bits}, perhaps because it was refitted; calibrate again."
            )
            raise HasherMismatchError(msg)

    def table(self) -> pd.DataFrame:
        """Return what is known at each distance.

        Returns:
            The columns distance, pairs (of labelled tiles), blocks, share (that is right), low and
            high (an interval for it), and promised (precision up to this distance, NaN if none).
        """
        return self.promise.table().rename(columns={"value": "distance", "tiles": "pairs"})

    def __str__(self) -> str:
        return (
            f"{self.num_tiles} labelled tiles of {len(self.classes)} classes in "
            f"{self.promise.blocks.max(initial=0)} blocks of {self.block_km:g} km, failure rate "
            f"{self.promise.delta:g}"
        )

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>{self.table().to_html(index=False, na_rep='-')}"

    def save(self, path: str | Path) -> None:
        """Write it to a file; an existing one is replaced as a whole.

        Args:
            path: The file, such as "archive.calibration".

        Raises:
            ExportError: If it cannot be written, or lies in an archive.
        """
        check_place(path)
        body = {
            **FILE.head,
            "created": self.created.isoformat(),
            "hasher": self.hasher,
            "num_bits": self.num_bits,
            "labels": self.labels,
            "num_tiles": self.num_tiles,
            "block_km": self.block_km,
            "classes": self.classes,
            "promise": self.promise.to_json(),
        }
        lines = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in body.items())
        with reporting(Path(path)), replacing(Path(path)) as draft:
            draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "Calibration":
        """Read it from a file, whoever wrote it.

        Args:
            path: The file.

        Returns:
            The calibration.

        Raises:
            CalibrationError: If it cannot be read, is not a calibration, or is damaged.
        """
        return FILE.read(path, cls._checked)

    @classmethod
    def _checked(cls, body: dict[str, Any]) -> "Calibration":
        """Build it; what is wrong raises an error of any kind.

        Raises:
            CalibrationError: If a value is not of the kind that it should be.
        """
        hasher, classes = body["hasher"], body["classes"]
        whole = [body["num_bits"], body["num_tiles"], *classes.values()]
        texts = [body["created"], body["labels"], *([] if hasher is None else [hasher]), *classes]
        block_km = body["block_km"]
        if len(classes) > MOST_CLASSES or not all(type(n) is int and 0 < n < 2**53 for n in whole):
            msg = "a number of bits, tiles or classes is not a positive whole number"
            raise CalibrationError(msg)
        if not all(isinstance(text, str) and len(text) <= MOST_TEXT for text in texts):
            msg = f"a name or date is not a text of at most {MOST_TEXT} characters"
            raise CalibrationError(msg)
        if isinstance(block_km, bool) or not 0 < block_km < np.inf:
            msg = "block_km is not a positive number"
            raise CalibrationError(msg)
        promise = Promise.from_json(body["promise"])
        if promise.values.max(initial=0) > check_num_bits(body["num_bits"]):
            msg = f"a distance is larger than the {body['num_bits']} bits of a code"
            raise CalibrationError(msg)
        return cls(
            promise=promise,
            hasher=hasher,
            num_bits=body["num_bits"],
            classes=classes,
            block_km=float(block_km),
            num_tiles=body["num_tiles"],
            created=dt.datetime.fromisoformat(body["created"]).astimezone(dt.UTC),
            labels=body["labels"],
        )


def calibrate_queries(
    archive: Searchable,
    labels: gpd.GeoDataFrame | str | Path,
    *,
    column: str,
    layer: str | None = None,
    min_share: float = 0.5,
    block_km: float | None = None,
    delta: float = 0.1,
    seed: int = 0,
) -> Calibration:
    """Find out with labels how often the nearest tiles of a query are right.

    Each labelled tile is a query for the labelled tiles of other blocks of ground; a tile is right
    if it has the class of the query. Of more labelled tiles, 20,000 are drawn at random.

    Args:
        archive: One state of the archive.
        labels: Polygons or points with classes, as for `label_archive`. Ground without a label
            does not count, so label places as they come, not only those that are sought.
        column: Column with the class.
        layer: Layer of a file that has several.
        min_share: Smallest share of a tile that a class must cover.
        block_km: Side of a block of ground, km; None uses ten times the side of a tile, but at
            least 1 km.
        delta: Failure rate of a promise, from 0.001 to below 0.5.
        seed: Seed of that draw.

    Returns:
        The calibration.

    Raises:
        LabelError: If the labels cannot be read or used.
        CalibrationError: If there is only one class, there are too few blocks, or ``delta`` or
            ``block_km`` is out of range.
    """
    check_delta(delta)
    num_bits = bits_of(archive)
    found = label_archive(
        archive, labels, column=column, layer=layer, min_share=min_share, block_km=block_km
    )
    rows = _drawn(found, seed=seed)
    classes = Counter(found.labels[rows].tolist())
    if len(classes) < 2:
        msg = (
            f"all {len(rows)} labelled tiles have the class {next(iter(classes))!r}, so nothing "
            "can be wrong; label other kinds of places too."
        )
        raise CalibrationError(msg)
    _, numbers = np.unique(found.labels[rows], return_inverse=True)
    tiles, right = count_pairs(
        archive.codes(found.ids[rows]), numbers.reshape(-1), found.blocks[rows]
    )
    table = isinstance(labels, gpd.GeoDataFrame)
    return Calibration(
        promise=promise_of_counts(np.arange(num_bits + 1), tiles, right, delta=delta),
        hasher=archive.hasher_fingerprint,
        num_bits=num_bits,
        classes=dict(sorted(classes.items())),
        block_km=found.block_km,
        num_tiles=len(rows),
        created=dt.datetime.now(dt.UTC).replace(microsecond=0),
        labels=("a table" if table else Path(labels).name) + f", column {column}",
    )


def count_pairs(
    codes: npt.NDArray[np.uint8], labels: npt.NDArray[np.intp], blocks: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count pairs of tiles of different blocks by the block of the first and their distance.

    Args:
        codes: Packed codes, uint8, shape (tiles, bits / 8).
        labels: Number of the class of each tile, shape (tiles,).
        blocks: Number of the block of each tile, shape (tiles,).

    Returns:
        All pairs and those of one class, int64, shape (blocks, bits + 1).
    """
    order = np.argsort(blocks, kind="stable")
    codes, labels = codes[order], labels[order]
    _, numbers = np.unique(blocks[order], return_inverse=True)
    numbers = numbers.reshape(-1)
    steps, count = 8 * codes.shape[1] + 1, int(numbers[-1]) + 1
    tiles, right = np.zeros((2, count, steps), dtype=np.int64)
    size = max(1, AT_ONCE // len(codes))
    for start in range(0, len(codes), size):
        rows = slice(start, start + size)
        first, last = int(numbers[rows][0]), int(numbers[rows][-1]) + 1
        keys = hamming_distances(codes[rows], codes).astype(np.int32)
        keys += ((numbers[rows] - first) * (2 * steps)).astype(np.int32)[:, None]
        keys += np.where(labels[rows, None] == labels, np.int32(steps), np.int32(0))
        apart = keys[numbers[rows, None] != numbers]
        counts = np.bincount(apart, minlength=(last - first) * 2 * steps)
        both = counts.reshape(last - first, 2, steps)
        tiles[first:last] += both.sum(axis=1)
        right[first:last] += both[:, 1]
    return tiles, right


def _drawn(found: Labelled, *, seed: int) -> npt.NDArray[np.intp]:
    """Choose rows: all, or a random part of every block, so that the mixture stays."""
    count = len(found.ids)
    if count <= MOST_TILES:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, MOST_TILES, replace=False))
