"""Pictures in one folder per class: the layout of UC Merced, AID and WHU-RS19."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from torch import Tensor

from geohash_rs.errors import (
    BandMismatchError,
    GeoHashRSWarning,
    SceneError,
    TrainingError,
    one_line,
)
from geohash_rs.scenes.band_labels import Band
from geohash_rs.scenes.bands import choose_bands, picture_bands, shared_names
from geohash_rs.scenes.file import bands_of_raster, open_raster
from geohash_rs.scenes.folders import is_litter, shown_name
from geohash_rs.scenes.sensors import RGB
from geohash_rs.scenes.values import Conversion, Values, rescaling_of

__all__ = ["ClassFolders", "read_picture", "read_tile", "split_by_class"]

PICTURES = {".jpg", ".jpeg", ".png", ".bmp"}
RASTERS = {".tif", ".tiff"}

MOST_NAMED = 5

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassFolders:
    """Tiles of a folder that has one subfolder per class.

    Attributes:
        root: The folder.
        paths: Files in order of class, then name.
        labels: Class of each file, an index into `classes`, int64.
        classes: Names of the folders, sorted.
        bands: Bands that are read of rasters that say what theirs show, such as red, green, blue;
            None for all but alpha, as stored.
    """

    root: Path
    paths: tuple[Path, ...]
    labels: Ints
    classes: tuple[str, ...]
    bands: tuple[str, ...] | None = None

    @classmethod
    def open(cls, root: str | Path) -> "ClassFolders":
        """Find the files of all classes, and read each once.

        Of files that say what their bands show, those that most share are read, as of scenes. Files
        that cannot be read, or have other bands or values than most, are left out with a warning.

        Args:
            root: Folder with one subfolder per class, or a folder that contains one such folder.

        Returns:
            The files.

        Raises:
            TrainingError: If there is no such folder, or several next to each other, or a class has
                usable picture, or two classes are one folder.
        """
        top = _find_classes(Path(root))
        names = [folder.name for folder in _class_folders(top)]
        _check_distinct(top, names)
        pictures = {name: _pictures(top / name) for name in names}
        usable, bands = _usable([path for found in pictures.values() for path in found])
        files: list[Path] = []
        labels: list[int] = []
        for index, name in enumerate(names):
            found = [path for path in pictures[name] if path in usable]
            if not found:
                msg = (
                    f"{top} has no pictures of class {name!r} that can be used (of "
                    f"{len(pictures[name])}); its classes are {names}."
                )
                raise TrainingError(msg)
            files += found
            labels += [index] * len(found)
        return cls(
            root=top,
            paths=tuple(files),
            labels=np.array(labels),
            classes=tuple(names),
            bands=bands,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, rows: npt.ArrayLike) -> "ClassFolders":
        """Take some of the files, classes unchanged."""
        chosen = np.asarray(rows, dtype=np.int64)
        return replace(self, paths=tuple(self.paths[i] for i in chosen), labels=self.labels[chosen])

    def read(self, number: int) -> Tensor:
        """Read one tile, as `read_tile` does."""
        return read_tile(self.paths[number], bands=self.bands)

    def batches(self, *, size: int = 32) -> Iterator[Tensor]:
        """Read all tiles in order.

        Args:
            size: Largest number of tiles in a batch; all tiles of a batch have the same size.

        Yields:
            Raw pixels, shape (tiles, bands, height, width).
        """
        waiting: list[Tensor] = []
        for number in range(len(self)):
            tile = self.read(number)
            if waiting and (len(waiting) == size or tile.shape != waiting[0].shape):
                yield torch.stack(waiting)
                waiting = []
            waiting.append(tile)
        if waiting:
            yield torch.stack(waiting)

    def tensor_labels(self, rows: npt.ArrayLike) -> Tensor:
        """Return the classes of some tiles, numbered from 0 without gaps for `train_head`."""
        _, labels = np.unique(self.labels[np.asarray(rows)], return_inverse=True)
        return torch.from_numpy(labels)


def read_tile(path: Path, *, bands: Sequence[str] | None = None) -> Tensor:
    """Read a picture or raster.

    Args:
        path: JPEG, PNG or BMP, read as red, green, blue, of 16 bits where a PNG has them; or TIFF,
            a palette as its colours.
        bands: Bands to read of a TIFF, by what they show; all but alpha, as stored, if None.

    Returns:
        Pixels, shape (bands, height, width): raw, or with the scale and offset of a TIFF applied.

    Raises:
        TrainingError: If it cannot be read, or lacks a band.
    """
    try:
        if path.suffix.lower() in RASTERS:
            with open_raster(path) as source:
                layout, alpha = bands_of_raster(source, path)
                chosen = choose_bands(layout, bands, scene=path.name, alpha=alpha)
                pixels = source.read(chosen.indexes)
                found = _rescaling(source, path, chosen.indexes)
                return torch.from_numpy(pixels if found is None else found.apply(pixels))
        if _is_wide_png(path):  # of which Pillow would keep the upper or lower bits
            with open_raster(path) as source:
                pixels = source.read()[: 3 if source.count > 2 else 1]
            return torch.from_numpy(np.broadcast_to(pixels, (3, *pixels.shape[1:])).copy())
        with Image.open(path) as picture:
            return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    except BandMismatchError as error:
        raise TrainingError(str(error).replace("the hasher expects", "most have")) from error
    except (OSError, SceneError, RasterioError, SyntaxError, ValueError, MemoryError) as error:
        msg = f"{path} cannot be read ({one_line(error)}); remove or replace it."
        raise TrainingError(msg) from error


def read_picture(path: Path) -> Tensor:
    """Read the bands of a TIFF that look most like a photograph.

    Args:
        path: The file.

    Returns:
        Raw pixels of red, green and blue, or of one band, shape (bands, height, width).

    Raises:
        TrainingError: If it cannot be read.
    """
    try:
        with open_raster(path) as source:
            layout, alpha = bands_of_raster(source, path)
            return torch.from_numpy(source.read(picture_bands(layout, alpha=alpha)))
    except (OSError, SceneError, RasterioError) as error:
        msg = f"{path} cannot be read ({one_line(error)}); remove or replace it."
        raise TrainingError(msg) from error


def split_by_class(
    labels: npt.ArrayLike, *, fractions: Sequence[float], seed: int = 0
) -> list[Ints]:
    """Split tiles at random, with the same share of every class in each part.

    Args:
        labels: Class of every tile.
        fractions: Share of each part except the last, which takes the rest.
        seed: Seed of the order within classes.

    Returns:
        Sorted indices of each part; there is one part more than fractions.

    Raises:
        TrainingError: If a fraction is not between 0 and 1, or their sum is not below 1.
    """
    if any(not 0 < f < 1 for f in fractions) or sum(fractions) >= 1:
        msg = f"fractions {list(fractions)} leave nothing for the last part; try (0.6, 0.2)."
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


def _rescaling(source: DatasetReader, path: Path, indexes: Sequence[int]) -> Conversion | None:
    """Return the conversion of bands to physical values; None if they stay as stored."""
    own = list(zip(source.scales, source.offsets, strict=True))
    pairs = rescaling_of(str(path), own, source.dtypes)
    scales, offsets = zip(*(pairs[i - 1] for i in indexes), strict=True)
    if set(scales) == {1.0} and set(offsets) == {0.0}:
        return None
    return Conversion(gain=scales, shift=offsets)


def _is_wide_png(path: Path) -> bool:
    """Return whether a file is a PNG of 16 bits."""
    with path.open("rb") as file:
        header = file.read(25)
    # https://www.w3.org/TR/png-3/#11IHDR: the ninth byte of the header is the bits per sample
    return header[1:4] == b"PNG" and header[24:] == b"\x10"


def _find_classes(root: Path) -> Path:
    if not root.is_dir():
        msg = f"{root} is not a folder; pass the folder that holds one subfolder per class."
        raise TrainingError(msg)
    found: list[Path] = []
    below = (p for p in root.rglob("*") if p.is_dir())
    visible = (p for p in below if not any(map(is_litter, p.relative_to(root).parts)))
    for folder in (root, *sorted(visible)):
        inside = found and folder.is_relative_to(found[-1])  # sorted: subfolders come next
        if not inside and any(_pictures(p) for p in _class_folders(folder)):
            found.append(folder)
    if not found:
        msg = (
            f"{root} holds no folders of pictures (.jpg, .png, .tif); lay it out as CLASS/PICTURE."
        )
        raise TrainingError(msg)
    if len(found) > 1:
        names = ", ".join(str(folder.relative_to(root)) for folder in found[:5])
        msg = (
            f"{root} holds {len(found)} folders with one subfolder per class ({names}); pass one "
            "of them, or move the pictures of each class into one folder."
        )
        raise TrainingError(msg)
    return found[0]


def _class_folders(top: Path) -> list[Path]:
    """List the folders that may be classes: not hidden, and not named like a picture."""
    return sorted(
        p
        for p in _inside(top)
        if p.is_dir() and not is_litter(p.name) and p.suffix.lower() not in PICTURES | RASTERS
    )


def _check_distinct(top: Path, names: Sequence[str]) -> None:
    """Check that no two classes are the same folder.

    Raises:
        TrainingError: If two classes are links to the same folder.
    """
    known: dict[Path, str] = {}
    for name in names:
        first = known.setdefault((top / name).resolve(), name)
        if first != name:
            msg = (
                f"the classes {first!r} and {name!r} of {top} are the same folder; remove the link."
            )
            raise TrainingError(msg)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What a file holds: its bands without alpha, and the kind of its values."""

    layout: tuple[Band, ...]
    kind: str


def _usable(paths: Sequence[Path]) -> tuple[set[Path], tuple[str, ...] | None]:
    """Choose the bands that most files have, and the files with these and with the usual values.

    Warns of the others.
    """
    with ThreadPoolExecutor() as pool:
        looks = dict(zip(paths, pool.map(_look, paths), strict=True))
    layouts = [look.layout for look in looks.values() if isinstance(look, _Look)]
    bands = shared_names(layouts) if layouts else None
    kinds = {path: _kind_read(look, bands, path) for path, look in looks.items()}
    counts = Counter(kind for kind in kinds.values() if not isinstance(kind, str))
    usual = counts.most_common(1)[0][0] if counts else (0, "")
    bad = [
        kind if isinstance(kind, str) else f"{path} has {kind[0]} bands of {kind[1]}"
        for path, kind in kinds.items()
        if kind != usual
    ]
    if bad:
        more = f"; and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        msg = (
            f"{len(bad)} of {len(paths)} pictures are left out because they cannot be read or do "
            f"not have {usual[0]} bands of {usual[1]}: {'; '.join(bad[:MOST_NAMED])}{more}."
        )
        warnings.warn(shown_name(msg), GeoHashRSWarning, stacklevel=3)
    return {path for path, kind in kinds.items() if kind == usual}, bands


def _kind_read(look: _Look | str, bands: Sequence[str] | None, path: Path) -> tuple[int, str] | str:
    """Return how many bands of which values are read of a file, or why it cannot be used."""
    if isinstance(look, str):
        return look
    if bands is not None:
        try:
            choose_bands(look.layout, bands, scene=path.name)
        except BandMismatchError:
            listed = ", ".join(band.label or "?" for band in look.layout)
            return f"{path} has {len(look.layout)} bands ({listed}), not {', '.join(bands)}"
    return len(look.layout if bands is None else bands), look.kind


def _look(path: Path) -> _Look | str:
    """Read a file; return its bands and what its values are, or why it is unreadable."""
    try:
        tile, physical = read_tile(path).numpy(), False
        layout = tuple(Band(meaning=name, source="format") for name in RGB)
        if path.suffix.lower() in RASTERS:
            with open_raster(path) as source:
                known, alpha = bands_of_raster(source, path)
                physical = _rescaling(source, path, source.indexes) is not None
            layout = tuple(band for i, band in enumerate(known, 1) if i != alpha)
    except (SceneError, TrainingError) as error:
        return str(error)
    if tile.dtype == np.uint8:
        return _Look(layout=layout, kind="8 bits")
    if tile.dtype.kind in "iu":  # dark ones may hold less than 256
        return _Look(layout=layout, kind="integers of more than 8 bits")
    finite = tile[:, np.isfinite(tile).all(axis=0)]
    fractions = finite.size and Values.of_pixels(finite, dtype=str(tile.dtype)).kind == "fraction"
    floats = "floats (scale and offset applied)" if physical else "floats"
    return _Look(layout=layout, kind="fractions" if fractions else floats)


def _inside(folder: Path) -> list[Path]:
    """List a folder.

    Raises:
        TrainingError: If it cannot be listed.
    """
    try:
        return list(folder.iterdir())
    except OSError as error:
        msg = (
            f"the folder {folder} cannot be listed ({error.strerror or one_line(error)}); make it "
            "readable, or move it elsewhere if it is not a class."
        )
        raise TrainingError(msg) from error


def _pictures(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in _inside(folder)
        if p.suffix.lower() in PICTURES | RASTERS and not is_litter(p.name) and p.is_file()
    )
