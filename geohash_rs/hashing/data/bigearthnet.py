"""Patches of BigEarthNet-S2: twelve bands in separate files, and several labels per patch."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from rasterio.enums import Resampling
from torch import Tensor

from geohash_rs.errors import TrainingError

__all__ = ["BANDS", "BigEarthNetPatches", "read_patch"]

BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
SIZE = 120  # px of the 10 m bands; the 20 m and 60 m bands are resampled to it
LABELS = "_labels_metadata.json"

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class BigEarthNetPatches:
    """Patches in a folder: each is a subfolder with band files and a JSON file of labels.

    Attributes:
        root: The folder.
        paths: Folders of the patches, sorted.
        labels: Zeros and ones, int64, shape (patches, classes).
        classes: Names of all labels found, sorted.

    References:
        Sumbul, Charfuelan, Demir and Markl, BigEarthNet, IGARSS 2019,
        https://arxiv.org/abs/1902.06148
    """

    root: Path
    paths: tuple[Path, ...]
    labels: Ints
    classes: tuple[str, ...]

    @classmethod
    def open(cls, root: str | Path) -> "BigEarthNetPatches":
        """Find the patches and read their labels.

        Args:
            root: Folder that contains the patches, at any depth.

        Returns:
            The patches.

        Raises:
            TrainingError: If there are no patches, or a patch has no label.
        """
        top = Path(root)
        files = sorted(top.rglob(f"*{LABELS}"))
        if not files:
            msg = f"{top} holds no patches of BigEarthNet (no file *{LABELS}); check the folder."
            raise TrainingError(msg)
        named = [json.loads(file.read_text())["labels"] for file in files]
        bare = [file.parent.name for file, names in zip(files, named, strict=True) if not names]
        if bare:
            msg = f"{len(bare)} patches of {top} have no label (first: {bare[0]}); remove them."
            raise TrainingError(msg)
        classes = tuple(sorted({name for names in named for name in names}))
        labels = np.array([[name in names for name in classes] for names in named], dtype=np.int64)
        return cls(
            root=top, paths=tuple(file.parent for file in files), labels=labels, classes=classes
        )

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: npt.ArrayLike) -> "BigEarthNetPatches":
        """Take some of the patches, classes unchanged."""
        chosen = np.asarray(rows, dtype=np.int64)
        paths = tuple(self.paths[i] for i in chosen)
        return replace(self, paths=paths, labels=self.labels[chosen])

    def batches(self, *, size: int = 32) -> Iterator[Tensor]:
        """Read all patches in order.

        Args:
            size: Largest number of patches in a batch.

        Yields:
            Surface reflectance times 10,000, uint16, shape (patches, 12, 120, 120).
        """
        for start in range(0, len(self), size):
            yield torch.stack([read_patch(path) for path in self.paths[start : start + size]])


def read_patch(folder: Path) -> Tensor:
    """Read the twelve bands of a patch on the grid of its 10 m bands.

    Args:
        folder: Folder with one file per band, ``*_B01.tif`` to ``*_B12.tif``.

    Returns:
        Surface reflectance times 10,000, uint16, shape (12, 120, 120).

    Raises:
        TrainingError: If a band is missing or cannot be read.
    """
    bands = []
    for name in BANDS:
        path = folder / f"{folder.name}_{name}.tif"
        try:
            with rasterio.open(path) as source:
                grid = (SIZE, SIZE)
                bands.append(source.read(1, out_shape=grid, resampling=Resampling.bilinear))
        except OSError as error:
            msg = f"band {name} of {folder} cannot be read ({error}); remove or replace the patch."
            raise TrainingError(msg) from error
    return torch.from_numpy(np.stack(bands))
