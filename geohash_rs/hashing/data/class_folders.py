"""Pictures in one folder a class, as UC Merced, AID, WHU-RS19 and your own are laid out."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import torch
from PIL import Image
from torch import Tensor

from geohash_rs.errors import GeoHashRSWarning, SceneError, TrainingError
from geohash_rs.scenes.file import open_raster

__all__ = ["ClassFolders", "read_tile", "split_by_class", "stored_type"]

PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}
RASTERS = {".tif", ".tiff"}
INTEGERS = ("int16", "int32", "int64")  # and unsigned

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """Tiles of a folder that has one folder a class.

    Attributes:
        root: The folder.
        paths: Files in order of class, then name.
        labels: Class of each file, an index into `classes`, int64.
        classes: Names of the folders, sorted.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: Ints
    classes: tuple[str, ...]

    @classmethod
    def open(cls, root: str | Path) -> "ClassFolders":
        """Find the files of all classes.

        Args:
            root: Folder with one folder a class, or with one such folder somewhere below.

        Returns:
            The files.

        Raises:
            TrainingError: If there is no such folder, or several next to each other, or a class has
                no picture.
        """
        top = _find_classes(Path(root))
        names = sorted(p.name for p in top.iterdir() if p.is_dir())
        files: list[Path] = []
        labels: list[int] = []
        for index, name in enumerate(names):
            found = _pictures(top / name)
            if not found:
                msg = f"{top} has no pictures of class {name!r}; its classes are {names}."
                raise TrainingError(msg)
            files += found
            labels += [index] * len(found)
        whole = cls(root=top, paths=tuple(files), labels=np.array(labels), classes=tuple(names))
        return whole.take(_of_one_type(files))

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: npt.ArrayLike) -> "ClassFolders":
        """Take some of the files, classes unchanged."""
        chosen = np.asarray(rows, dtype=np.int64)
        return ClassFolders(
            root=self.root,
            paths=tuple(self.paths[i] for i in chosen),
            labels=self.labels[chosen],
            classes=self.classes,
        )

    def batches(self, *, size: int = 32) -> Iterator[Tensor]:
        """Read all tiles in order.

        Args:
            size: Most tiles in a batch; tiles of different sizes never share one.

        Yields:
            Raw pixels, shape (tiles, bands, height, width).
        """
        waiting: list[Tensor] = []
        for path in self.paths:
            tile = read_tile(path)
            if waiting and (len(waiting) == size or tile.shape != waiting[0].shape):
                yield torch.stack(waiting)
                waiting = []
            waiting.append(tile)
        if waiting:
            yield torch.stack(waiting)

    def tensor_labels(self, rows: npt.ArrayLike) -> Tensor:
        """Give the classes of some tiles as `train_head` takes them, from 0 without gaps."""
        _, labels = np.unique(self.labels[np.asarray(rows)], return_inverse=True)
        return torch.from_numpy(labels)


def read_tile(path: Path) -> Tensor:
    """Read a picture or raster.

    Args:
        path: JPEG, PNG or BMP, read as red, green, blue, of 16 bits where a PNG has them; or TIFF,
            read with all bands as stored.

    Returns:
        Raw pixels, shape (bands, height, width).

    Raises:
        TrainingError: If it cannot be read.
    """
    try:
        if path.suffix.lower() in RASTERS:
            with rasterio.open(path) as source:
                return torch.from_numpy(source.read())
        if stored_type(path) == "uint16":  # of which Pillow would keep the upper or lower bits
            with open_raster(path) as source:
                bands = source.read()[: 3 if source.count > 2 else 1]
            return torch.from_numpy(np.broadcast_to(bands, (3, *bands.shape[1:])).copy())
        with Image.open(path) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    except (OSError, SceneError) as error:
        msg = f"{path} cannot be read ({error}); remove or replace it."
        raise TrainingError(msg) from error


def stored_type(path: Path) -> str:
    """Return the type in which a picture or raster stores its values, from its header.

    Args:
        path: As in `read_tile`.

    Returns:
        NumPy's name of the type; empty where the header cannot be read.
    """
    try:
        if path.suffix.lower() in RASTERS:
            with open_raster(path) as source:
                return str(np.result_type(*source.dtypes))
        with path.open("rb") as file:
            header = file.read(25)
    except (OSError, SceneError):
        return ""
    # https://www.w3.org/TR/png-3/#11IHDR: the bits of a sample are the ninth byte of the header
    return "uint16" if header[1:4] == b"PNG" and header[24:] == b"\x10" else "uint8"


def split_by_class(
    labels: npt.ArrayLike, *, fractions: Sequence[float], seed: int = 0
) -> list[Ints]:
    """Split tiles at random, the same share of every class in each part.

    Args:
        labels: Class of every tile.
        fractions: Share of each part but the last, which takes the rest.
        seed: Seed of the order within classes.

    Returns:
        Sorted indices of every part, one part more than there are fractions.

    Raises:
        TrainingError: If the fractions are not between 0 and 1 and below 1 together.
    """
    if any(not 0 < f < 1 for f in fractions) or sum(fractions) >= 1:
        msg = (
            f"fractions {list(fractions)} leave nothing for the last part; use such as (0.6, 0.2)."
        )
        raise TrainingError(msg)
    rng = np.random.default_rng(seed)
    values = np.asarray(labels)
    parts: list[list[int]] = [[] for _ in range(len(fractions) + 1)]
    for name in np.unique(values):
        rows = rng.permutation(np.flatnonzero(values == name))
        cuts = np.round(np.cumsum(fractions) * len(rows)).astype(int)
        for part, chunk in zip(parts, np.split(rows, cuts), strict=True):
            part.extend(chunk.tolist())
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def _find_classes(root: Path) -> Path:
    if not root.is_dir():
        msg = f"{root} is not a folder; give the folder that holds one folder a class."
        raise TrainingError(msg)
    found: list[Path] = []
    for folder in (root, *sorted(p for p in root.rglob("*") if p.is_dir())):
        inside = found and folder.is_relative_to(found[-1])  # sorted: what is inside comes next
        if not inside and any(_pictures(p) for p in folder.iterdir() if p.is_dir()):
            found.append(folder)
    if not found:
        msg = (
            f"{root} holds no folders of pictures (.jpg, .png, .tif); lay it out as CLASS/PICTURE."
        )
        raise TrainingError(msg)
    if len(found) > 1:
        names = ", ".join(str(folder.relative_to(root)) for folder in found[:5])
        msg = (
            f"{root} holds {len(found)} folders with one folder a class ({names}); give one of "
            "them, or move the pictures of each class into one folder."
        )
        raise TrainingError(msg)
    return found[0]


def _of_one_type(files: Sequence[Path]) -> list[int]:
    """Choose the files whose values can be compared; warn of those that are left out.

    Integers wider than 8 bits are one kind, as in `Values`.
    """
    stored = [stored_type(path) for path in files]
    kinds = ["integers" if t[1:] in INTEGERS or t in INTEGERS else t for t in stored]
    known = [kind for kind in kinds if kind]
    main = max(dict.fromkeys(known), key=known.count, default="")
    others = [i for i, kind in enumerate(kinds) if kind and kind != main]
    if others:
        first, kept = others[0], kinds.index(main)
        msg = (
            f"{len(others)} of {len(files)} files are left out, since their values cannot be "
            f"compared with those of the others: {files[first]} holds {stored[first]}, but "
            f"{files[kept]} holds {stored[kept]}. Bring them all to one range first, such as with "
            "'gdal_translate -ot Byte -scale LOW HIGH 0 255'."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
    return [i for i, kind in enumerate(kinds) if kind in ("", main)]


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURES | RASTERS)
