"""What the groups of a Zarr store say about their vectors, by the convention `geoemb:`."""

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from gzip import BadGzipFile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyproj
from affine import Affine

from geohash_rs.embeddings.zarr_decoding import Decoding, check_no_codes, decoding_of
from geohash_rs.embeddings.zarr_times import Span, read_times
from geohash_rs.errors import GeoHashRSError, SceneError, one_line
from geohash_rs.hashing.embedding import Embedding

if TYPE_CHECKING:
    from zarr import Array, Group

__all__ = ["DamagedChunkError", "ZarrGroup", "is_zarr", "open_groups"]

NAMES = ("embeddings", "embedding")  # of the array; otherwise the only one of enough axes
TESSERA = re.compile(r"https?://geotessera\.org/model/(?P<version>[^/]+)/?")
MOST_DEPTH = 4  # groups in groups
# What codecs and checksums raise; the errors of a disk or network may pass.
DAMAGE = (ValueError, TypeError, KeyError, RuntimeError, EOFError, zlib.error, BadGzipFile)


class DamagedChunkError(SceneError):
    """A part of a store is there but cannot be decoded."""


@dataclass(frozen=True, kw_only=True)
class ZarrGroup:
    """One array of vectors, in rows and columns on the ground.

    Attributes:
        name: Path of the group in the store; "" is the store's root.
        array: The vectors.
        axes: Places of time (None without), vector, row and column among the array's axes.
        times: First and last moment of each step in time, or None of one without a date; one step
            without an axis of time.
        time_name: Name of the axis of time, or None.
        transform: From columns and rows to the CRS.
        crs: As text.
        cell: Columns and rows that a vector is of, from its own on: 1 of a pixel, more of chips
            that overlap.
        is_chip: Whether each vector is of a chip, and not of a pixel.
        decoding: How numbers become vectors.
        embedding: The model.
    """

    name: str
    array: "Array[Any]"
    axes: tuple[int | None, int, int, int]
    times: tuple[Span | None, ...]
    time_name: str | None
    transform: Affine
    crs: str
    cell: tuple[float, float]
    is_chip: bool
    decoding: Decoding
    embedding: Embedding

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        _, _, row, col = self.axes
        return self.array.shape[row], self.array.shape[col]

    def read(
        self, step: int, rows: slice, cols: slice
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Read and decode a part.

        Args:
            step: Number of the step in time.
            rows: Rows to read.
            cols: Columns to read.

        Returns:
            Vectors, float32, shape (dimensions, height, width), and where there are any, bool,
            shape (height, width). Elsewhere, vectors are 0.

        Raises:
            DamagedChunkError: If a chunk cannot be decoded.
            SceneError: If the store cannot be read.
        """
        time, band, row, col = self.axes
        label = (
            f"{self.name or 'the root'}, rows {rows.start} to {rows.stop}, columns {cols.start} to "
            f"{cols.stop},"
        )
        with _reading(label):
            scales, valid = self.decoding.scales(step, rows, cols)
            if valid is not None and not valid.any():
                shape = (self.embedding.dimensions, *valid.shape)
                return np.zeros(shape, np.float32), valid
            place: list[slice | int] = [slice(None)] * self.array.ndim
            place[row], place[col] = rows, cols
            if time is not None:
                place[time] = step
            numbers = np.asarray(self.array[tuple(place)])
        order = [axis - (time is not None and axis > time) for axis in (band, row, col)]
        return self.decoding.decode(numbers.transpose(order), scales, valid)


def is_zarr(path: str | Path) -> bool:
    """Return whether a path names a Zarr store: by its ending, or as a folder by what is in it."""
    text = str(path).rstrip("/")
    if text.lower().endswith(".zarr"):
        return True
    return any((Path(text) / name).is_file() for name in ("zarr.json", ".zgroup"))


def open_groups(path: str, *, embedding: Embedding | str | None = None) -> list[ZarrGroup]:
    """Read what a store says about its vectors.

    Args:
        path: Folder or URI of the store.
        embedding: Model of the vectors, whatever the store says; or its name.

    Returns:
        Its groups of vectors, in the order of their names.

    Raises:
        SceneError: If zarr is not installed, the store cannot be read or is of version 2, holds no
            vectors by the convention, or does not say where or what they are.
    """
    try:
        import zarr  # noqa: PLC0415 - optional
    except ImportError as error:
        msg = f"{path} needs zarr; install it with 'pip install \"geohash-rs[zarr]\"'."
        raise SceneError(msg) from error
    with _reading(path):
        root = zarr.open_group(path, mode="r")
        if root.metadata.zarr_format != 3:
            msg = (
                f"{path} is a Zarr store of version {root.metadata.zarr_format}, and the "
                "convention 'geoemb:' is for version 3; write it again, such as by "
                "'zarr migrate v3'."
            )
            raise SceneError(msg)
        found = [_described(path, *one, embedding) for one in _with_vectors(root, {})]
    if not found:
        msg = (
            f"{path} holds no array 'embeddings' in a group with 'geoemb:' attributes; see "
            "https://github.com/geo-embeddings/embeddings-zarr-convention."
        )
        raise SceneError(msg)
    return found


@contextmanager
def _reading(label: str) -> Iterator[None]:
    """Name the store in whatever error occurs while it is read.

    Raises:
        DamagedChunkError: If it can be reached, but not decoded.
        GeoHashRSError: Passed on unchanged.
        SceneError: If it cannot be read.
    """
    try:
        yield
    except GeoHashRSError:
        raise
    except (OSError, *DAMAGE) as error:
        msg = f"{label} cannot be read as a Zarr store: {one_line(error).rstrip('.')}."
        raise (DamagedChunkError if isinstance(error, DAMAGE) else SceneError)(msg) from error


def _with_vectors(
    group: "Group", above: Mapping[str, Any], depth: int = 0
) -> Iterator[tuple["Group", "Array[Any]", dict[str, Any]]]:
    """Find the groups with an array of vectors; each has the attributes of those above it."""
    about = {**above, **group.attrs.asdict()}
    arrays = dict(group.arrays())
    array = next((arrays[name] for name in NAMES if name in arrays), None)
    large = [one for one in arrays.values() if one.ndim > 2]
    if array is None and len(large) == 1:
        array = large[0]
    if array is not None and any(name.startswith("geoemb:") for name in about):
        yield group, array, about
    if depth < MOST_DEPTH:
        for _, inner in sorted(group.groups()):
            yield from _with_vectors(inner, about, depth + 1)


def _described(
    path: str,
    group: "Group",
    array: "Array[Any]",
    about: dict[str, Any],
    said: Embedding | str | None,
) -> ZarrGroup:
    """Read the attributes of a group.

    Raises:
        SceneError: If one is missing, wrong or not supported.
    """
    label = f"{path}/{group.path}".rstrip("/")
    kind = about.get("geoemb:type")
    if kind not in ("pixel", "chip"):
        msg = f"{label} has geoemb:type {kind!r}, but it must be 'pixel' or 'chip'."
        raise SceneError(msg)
    check_no_codes(about, label=label)
    axes, time_name = _axes(array, about, label)
    time, band, row, col = axes
    dimensions = array.shape[band]
    if about.get("geoemb:dimensions", dimensions) != dimensions:
        msg = (
            f"{label} has geoemb:dimensions {about['geoemb:dimensions']}, but its array "
            f"{array.basename!r} has {dimensions}; correct one of them."
        )
        raise SceneError(msg)
    steps = 1 if time is None else array.shape[time]
    transform, crs = _place(about, (array.shape[row], array.shape[col]), label)
    return ZarrGroup(
        name=group.path,
        array=array,
        axes=axes,
        times=read_times(group, time_name, steps),
        time_name=time_name,
        transform=transform,
        crs=crs,
        cell=_cell(about) if kind == "chip" else (1.0, 1.0),
        is_chip=kind == "chip",
        decoding=decoding_of(group, array, axes, about, label=label),
        embedding=_embedding(about, dimensions, said),
    )


def _axes(
    array: "Array[Any]", about: Mapping[str, Any], label: str
) -> tuple[tuple[int | None, int, int, int], str | None]:
    """Find the axes of an array by their names.

    Raises:
        SceneError: If they have no names, or not those of rows and columns and one of vectors.
    """
    names = list(getattr(array.metadata, "dimension_names", None) or ())
    row, col = about.get("spatial:dimensions", ("y", "x"))
    times = [name for name in names if str(name).lower() in ("time", "t", "year")]
    left = [name for name in names if name not in (row, col, *times)]
    if row not in names or col not in names or len(left) != 1 or len(times) > 1:
        shown = names or f"{array.ndim} axes without names"
        msg = (
            f"the array {array.basename!r} of {label} has {shown}; it must have an axis of rows "
            f"({row!r}), one of columns ({col!r}), one of the vector, and may have 'time'. Chips "
            "without rows and columns can be added as GeoParquet."
        )
        raise SceneError(msg)
    time = names.index(times[0]) if times else None
    places = (time, names.index(left[0]), names.index(row), names.index(col))
    return places, times[0] if times else None


def _place(about: Mapping[str, Any], shape: tuple[int, int], label: str) -> tuple[Affine, str]:
    """Read where rows and columns are.

    Raises:
        SceneError: If transform or CRS are missing, wrong or of another kind.
    """
    numbers = about.get("spatial:transform")
    kind = about.get("spatial:transform_type", "affine")
    if numbers is None or kind != "affine":
        msg = (
            f"{label} has no spatial:transform of six numbers (its type is {kind!r}), so its "
            "vectors cannot be placed; add the attribute, as in "
            "[10, 0, 399960, 0, -10, 5700000]."
        )
        raise SceneError(msg)
    transform = Affine(*numbers)
    if not np.isfinite(tuple(transform)).all() or transform.determinant == 0:
        msg = f"{label} has the spatial:transform {list(numbers)}, which covers no ground."
        raise SceneError(msg)
    said = about.get("spatial:shape")
    if said is not None and tuple(said) != shape:
        msg = (
            f"{label} has spatial:shape {list(said)}, but its array has {shape[0]} rows and "
            f"{shape[1]} columns; correct one of them."
        )
        raise SceneError(msg)
    if about.get("spatial:registration") == "node":  # numbers are of the middle of a pixel
        transform = transform @ Affine.translation(-0.5, -0.5)
    names = ("proj:code", "proj:wkt2", "proj:projjson")
    crs = next((about[name] for name in names if about.get(name)), None)
    if crs is None:
        msg = f"{label} has none of {', '.join(names)}, so its vectors cannot be placed; add one."
        raise SceneError(msg)
    try:
        known = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        msg = f"{label} has a CRS that PROJ does not know: {one_line(error)}."
        raise SceneError(msg) from error
    return transform, str(crs) if names[0] in about else known.to_wkt()


def _cell(about: Mapping[str, Any]) -> tuple[float, float]:
    """Return the columns and rows that a chip covers: more than one if chips overlap."""
    layout = about.get("geoemb:chip_layout", {})
    size = layout.get("chip_size")
    stride = layout.get("stride") or size
    if not size:
        return 1.0, 1.0
    return size[1] / stride[1], size[0] / stride[0]


def _embedding(
    about: Mapping[str, Any], dimensions: int, said: Embedding | str | None
) -> Embedding:
    """Name the model of the vectors."""
    if isinstance(said, Embedding):
        return said
    model = said or str(about.get("geoemb:model", ""))
    if known := TESSERA.fullmatch(model):
        return Embedding("tessera", dimensions, version=known["version"])
    return Embedding(model, dimensions)
