"""How the numbers of a Zarr group become vectors: the quantisation of the convention `geoemb:`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import SceneError

if TYPE_CHECKING:
    from zarr import Array, Group

__all__ = ["Decoding", "check_no_codes", "decoding_of"]

Numbers = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
NO_SCALES = "scales"  # the array's name, where the attributes name none


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """What turns stored numbers into vectors.

    Attributes:
        scale: What all numbers are multiplied by; None if they are not.
        offset: What is added then.
        array: Scales of the pixels, by which their numbers are multiplied; None if there are none.
        axes: Places of time (None without), row and column among its axes.
        nothing: Scale of a pixel without vector, as well as NaN and the infinite ones; or None.
        nodata: Number of a pixel without vector, in all of its dimensions; or None.
    """

    scale: float | None = None
    offset: float = 0.0
    array: "Array[Any] | None" = None
    axes: tuple[int | None, int, int] = (None, 0, 1)
    nothing: float | None = None
    nodata: float | None = None

    def scales(
        self, step: int, rows: slice, cols: slice
    ) -> tuple[npt.NDArray[np.float32] | None, Mask | None]:
        """Read the scales of pixels, and which of them have a vector.

        Args:
            step: Number of the step in time.
            rows: Rows to read.
            cols: Columns to read.

        Returns:
            Scales, float32, and whether each is one, bool, both of shape (height, width); None if
            pixels have no scales of their own.
        """
        if self.array is None:
            return None, None
        time, row, col = self.axes
        place: list[slice | int] = [slice(None)] * self.array.ndim
        place[row], place[col] = rows, cols
        if time is not None:
            place[time] = step
        found = np.asarray(self.array[tuple(place)], dtype=np.float32)
        found = found.T if col < row else found
        valid = np.isfinite(found)
        return found, valid if self.nothing is None else valid & (found != self.nothing)

    def decode(
        self, numbers: Numbers, scales: npt.NDArray[np.float32] | None, valid: Mask | None
    ) -> tuple[npt.NDArray[np.float32], Mask]:
        """Decode numbers.

        Args:
            numbers: As they are stored, shape (dimensions, height, width).
            scales: From `scales`.
            valid: From `scales`.

        Returns:
            Vectors, float32, shape (dimensions, height, width), 0 where there are none; and where
            there are any, bool, shape (height, width): not where a number is NaN or infinite, nor
            where all are 0.
        """
        if valid is None:
            valid = np.ones(numbers.shape[1:], np.bool_)
        if self.nodata is not None:
            valid = valid & (numbers != self.nodata).any(axis=0)
        vectors = numbers.astype(np.float32)
        if scales is not None:
            vectors *= np.where(valid, scales, np.float32(0))
        elif self.scale is not None:
            vectors = vectors * np.float32(self.scale) + np.float32(self.offset)
        valid = valid & np.isfinite(vectors).all(axis=0) & vectors.any(axis=0)
        vectors[:, ~valid] = 0
        return vectors, valid


def check_no_codes(about: Mapping[str, Any], *, label: str) -> None:
    """Check that a group does not hold binary codes, as `write_codes` writes them.

    Args:
        about: Attributes of the group and of those above it.
        label: Names the group in messages.

    Raises:
        SceneError: If it does.
    """
    if (about.get("geoemb:quantization") or {}).get("method") == "binary":
        msg = (
            f"{label} holds binary codes, which are not vectors; add them to an archive with "
            "add_codes."
        )
        raise SceneError(msg)


def decoding_of(
    group: "Group",
    array: "Array[Any]",
    axes: tuple[int | None, int, int, int],
    about: Mapping[str, Any],
    *,
    label: str,
) -> Decoding:
    """Find out how numbers are decoded.

    Args:
        group: The group.
        array: Its array of vectors.
        axes: Places of time, vector, row and column among the array's axes.
        about: Attributes of the group and of those above it.
        label: Names the group in messages.

    Returns:
        How.

    Raises:
        SceneError: If the numbers are of a kind that cannot be decoded, or the scales are missing
            or of another shape.
    """
    said = about.get("geoemb:quantization")
    nodata: Any = next(
        (array.attrs[name] for name in ("_FillValue", "nodata") if name in array.attrs), None
    )
    if said is None:
        if array.dtype.kind != "f":
            msg = (
                f"{label} holds {array.dtype} without geoemb:quantization, so its numbers cannot "
                "be decoded; add the attribute with its scale."
            )
            raise SceneError(msg)
        return Decoding(nodata=nodata)
    method, scale = said.get("method"), said.get("scale")
    kind = (scale or {}).get("type")
    if kind == "scalar":
        offset = float(scale.get("offset", 0.0))
        return Decoding(scale=float(scale["scale"]), offset=offset, nodata=nodata)
    if kind == "array" or (scale is None and NO_SCALES in group):
        return _with_scales(group, array, axes, scale or {}, nodata, label=label)
    msg = (
        f"{label} is quantised by {method!r} with the scale {scale!r}, which cannot be decoded; "
        "its type must be 'scalar' or 'array'."
    )
    raise SceneError(msg)


def _with_scales(
    group: "Group",
    array: "Array[Any]",
    axes: tuple[int | None, int, int, int],
    scale: Mapping[str, Any],
    nodata: float | None,
    *,
    label: str,
) -> Decoding:
    """Find the scales of the pixels.

    Raises:
        SceneError: If they are missing or of another shape.
    """
    name = scale.get("array_name", NO_SCALES)
    if name not in group:
        msg = (
            f"{label} has no array {name!r}, which holds the scales of its pixels; restore it from "
            "the source of the store."
        )
        raise SceneError(msg)
    scales: Any = group[name]
    time, band, row, col = axes
    # the axes of the scales are those of the vectors, in the same order, without the vector's
    kept = [axis for axis in range(array.ndim) if axis != band]
    expected = tuple(array.shape[axis] for axis in kept)
    if scales.shape != expected:
        msg = (
            f"the scales {name!r} of {label} have the shape {scales.shape}, but its vectors need "
            f"{expected}; restore the store from its source."
        )
        raise SceneError(msg)
    places = (None if time is None else kept.index(time), kept.index(row), kept.index(col))
    nothing = scale.get("nodata")
    number = float(nothing) if nothing is not None else None
    finite = number if number is not None and np.isfinite(number) else None
    return Decoding(array=scales, axes=places, nothing=finite, nodata=nodata)
