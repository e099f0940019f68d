"""What pixel values mean: 8-bit pictures, numbers of a sensor or fractions, and how they meet."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import ValueMismatchError

__all__ = [
    "Conversion",
    "Values",
    "check_value_range",
    "gather_values",
    "match_values",
    "remember_rescaling",
    "rescaling_of",
    "stretch_values",
]

Kind = Literal["picture", "number", "fraction"]

PERCENTILES = (1.0, 99.0)
LARGEST_FRACTION = 2.0  # bright snow and cloud reach a reflectance of 1.6
BRIGHT_BYTE = 200  # any picture of red, green and blue has pixels as bright in each band
PICTURE_BANDS = 3


_catalogued: dict[str, list[tuple[float, float]]] = {}  # scale and offset of the bands of files


def remember_rescaling(path: str, bands: Sequence[tuple[float, float]]) -> None:
    """Remember scale and offset of a file's bands where a catalogue says them, and not the file.

    Args:
        path: Path or URI of the file.
        bands: Scale and offset of each band, or of all.
    """
    _catalogued[path] = list(bands)


def rescaling_of(
    path: str, own: Sequence[tuple[float, float]], dtypes: Sequence[str]
) -> list[tuple[float, float]]:
    """Return scale and offset of a file's bands: its own, else those that a catalogue says.

    Args:
        path: Path or URI of the file.
        own: Scale and offset of each band as the file declares them, 1 and 0 if it does not.
        dtypes: NumPy name of the type of each band; pictures of 8 bits and floats are not rescaled
            by what a catalogue says of the numbers that a product has.

    Returns:
        Scale and offset of each band.
    """
    known = _catalogued.get(path, [])
    known = known * len(own) if len(known) == 1 else known
    wide = all(np.dtype(dtype).kind in "iu" and dtype != "uint8" for dtype in dtypes)
    said = set(own) != {(1.0, 0.0)}
    return list(own) if said or not wide or len(known) != len(own) else known


@dataclass(frozen=True, kw_only=True)
class Values:
    """One kind of pixel values.

    Attributes:
        kind: ``picture`` for values of 8 bits, ``fraction`` for floats such as reflectance that
            stay within -2 and 2, ``number`` for all others, such as the digital numbers of a
            sensor.
        dtype: NumPy name of the type in which they are stored; empty if not known.
        low: Value of each band that few pixels lie below.
        high: Value of each band that few pixels lie above.
        physical: Whether GDAL's scale and offset have been applied.
        unit: Physical unit, empty if the files name none.
    """

    kind: Kind
    dtype: str = ""
    low: tuple[float, ...]
    high: tuple[float, ...]
    physical: bool = False
    unit: str = ""

    def __str__(self) -> str:
        words = [self.dtype] if self.dtype else []
        words += [f"{min(self.low):.4g} to {max(self.high):.4g}"]
        words += [f"in {self.unit}"] if self.unit else []
        words += ["(scale and offset applied)"] if self.physical else []
        return " ".join(words)

    @classmethod
    def of_pixels(
        cls, pixels: npt.NDArray[Any], *, dtype: str, physical: bool = False, unit: str = ""
    ) -> Self:
        """Describe the values of pixels.

        Args:
            pixels: Valid pixels, shape (bands, pixels), one or more.
            dtype: NumPy name of the type in which they are stored.
            physical: Whether scale and offset have been applied.
            unit: Their unit.

        Returns:
            Their kind, and the 1st and 99th percentile of each band, or 0 and 255 for pictures.
        """
        bands = len(pixels)
        kind = _kind(pixels, dtype=dtype, physical=physical)
        low, high = [0.0] * bands, [255.0] * bands
        if kind != "picture":
            low, high = np.percentile(pixels, PERCENTILES, axis=1).tolist()
            high = [b if b > a else a + 1.0 for a, b in zip(low, high, strict=True)]
        return cls(
            kind=kind,
            dtype=dtype,
            low=tuple(low),
            high=tuple(high),
            physical=physical,
            unit=unit,
        )

    @classmethod
    def of_range(cls, low: Sequence[float], high: Sequence[float], *, dtype: str = "") -> Self:
        """Describe values of which no more is known than their range.

        Args:
            low: Value of each band that few pixels lie below.
            high: Value of each band that few pixels lie above.
            dtype: As in `of_pixels`.

        Returns:
            Pictures for 0 to 255, fractions within -2 and 2 unless whole numbers are stored.
        """
        kind: Kind = "number"
        if set(low) == {0.0} and set(high) == {255.0}:
            kind = "picture"
        elif max(map(abs, (*low, *high))) <= LARGEST_FRACTION and dtype[:1] in ("", "f"):
            kind = "fraction"
        return cls(kind=kind, dtype=dtype, low=tuple(low), high=tuple(high))

    def fits(self, other: "Values") -> bool:
        """Return whether equal values of both mean the same."""
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if self.kind != other.kind:
            # A wider type that holds 8 bits is known as such where its pictures are bright only.
            same_type = self.dtype == other.dtype != "" and self.physical == other.physical
            return same_type and self.within_bytes and other.within_bytes
        return self.physical == other.physical or self.kind == "fraction"

    @property
    def within_bytes(self) -> bool:
        """Whether the values could be those of 8 bits."""
        return self.kind != "fraction" and min(self.low) >= 0 and max(self.high) <= 255

    def to_dict(self) -> dict[str, Any]:
        """Write the values as JSON-able ones."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{**values, "low": tuple(values["low"]), "high": tuple(values["high"])})


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What makes a scene's pixels the values that a hasher was made for: ``gain * x + shift``.

    Attributes:
        gain: Factor of each band.
        shift: What is added to each band.
    """

    gain: tuple[float, ...]
    shift: tuple[float, ...]

    def apply(self, image: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Convert an image.

        Args:
            image: Shape (bands, height, width), any real type.

        Returns:
            Same shape, float32.
        """
        gain, shift = (np.array(v)[:, None, None] for v in (self.gain, self.shift))
        converted: npt.NDArray[np.float32] = (image * gain + shift).astype(np.float32)
        return converted

    def then(self, after: "Conversion | None") -> "Conversion":
        """Return this conversion followed by another one."""
        if after is None:
            return self
        pairs = zip(self.gain, self.shift, after.gain, after.shift, strict=True)
        gain, shift = zip(*((a * c, b * c + d) for a, b, c, d in pairs), strict=True)
        return Conversion(gain=gain, shift=shift)


def check_value_range(value_range: Sequence[float] | None) -> tuple[float, float] | None:
    """Check a range of values that a user gave.

    Args:
        value_range: The lowest and the highest, or None.

    Returns:
        The same.

    Raises:
        ValueMismatchError: If these are not two finite numbers, the lower one first.
    """
    if value_range is None:
        return None
    ends = tuple(float(value) for value in value_range)
    if len(ends) != 2 or not np.isfinite(ends).all() or not ends[0] < ends[1]:
        msg = (
            f"value_range is {tuple(value_range)}; pass the lowest and the highest value, such as "
            "(0, 3000)."
        )
        raise ValueMismatchError(msg)
    return ends


def match_values(found: Values, known: Sequence[Values], *, name: str) -> Conversion | None:
    """Compare the values of a scene or patch with those that a hasher was made for.

    Args:
        found: The values that come in.
        known: What the hasher was made for, its own values first; none if anything goes.
        name: Name of the file, for the message.

    Returns:
        How they become the hasher's own values, or None if they are.

    Raises:
        ValueMismatchError: If the hasher was made for other values.
    """
    for place, values in enumerate(known):
        if found.fits(values):
            other = (values.low, values.high) != (known[0].low, known[0].high)
            return stretch_values(values, known[0]) if place and other else None
    if not known:
        return None
    made_for = " or ".join(map(str, known))
    msg = (
        f"{name} holds {found}, but the hasher was made for {made_for}, and nothing in the file "
        "says how one becomes the other; pass value_range=(LOW, HIGH), the values of the file "
        f"that are to count as {min(known[0].low):.4g} and {max(known[0].high):.4g}, or use "
        "another hasher."
    )
    raise ValueMismatchError(msg)


def stretch_values(found: Values, own: Values) -> Conversion:
    """Bring one range of values to another, band by band.

    Args:
        found: The values that come in.
        own: The values of a hasher.

    Returns:
        The conversion; low becomes low, and high becomes high.
    """
    gains = [
        (d - c) / (b - a)
        for a, b, c, d in zip(found.low, found.high, own.low, own.high, strict=True)
    ]
    shifts = [c - a * gain for a, c, gain in zip(found.low, own.low, gains, strict=True)]
    return Conversion(gain=tuple(gains), shift=tuple(shifts))


def gather_values(
    samples: Iterable[tuple[Values, npt.NDArray[Any], int]],
) -> tuple[Values, ...]:
    """Find the kinds of values among scenes that a hasher is to be fitted on.

    Args:
        samples: For some scenes their values, pixels of shape (bands, pixels), and the number of
            tiles that they stand for.

    Returns:
        One entry for each kind, that of the most tiles first; its range is that of all its pixels.
    """
    groups: list[tuple[Values, list[npt.NDArray[Any]], int]] = []
    for values, pixels, count in samples:
        for place, (known, parts, total) in enumerate(groups):
            if values.fits(known) and len(values.low) == len(known.low):
                groups[place] = (known, [*parts, pixels], total + count)
                break
        else:
            groups.append((values, [pixels], count))
    groups.sort(key=lambda group: -group[2])  # stable: the first of equals stays first
    return tuple(_pooled(known, parts) for known, parts, _ in groups)


def _pooled(known: Values, parts: Sequence[npt.NDArray[Any]]) -> Values:
    if len(parts) == 1 or known.kind == "picture":
        return known
    together = Values.of_pixels(
        np.concatenate([part.astype(np.float32) for part in parts], axis=1), dtype=known.dtype
    )
    return replace(known, low=together.low, high=together.high)


def _kind(pixels: npt.NDArray[Any], *, dtype: str, physical: bool) -> Kind:
    if dtype == "uint8" and not physical:
        return "picture"
    floats = physical or dtype[:1] == "f"
    if floats and np.abs(np.percentile(pixels, PERCENTILES)).max() <= LARGEST_FRACTION:
        return "fraction"
    whole = pixels.dtype.kind in "iu" or bool((pixels == np.round(pixels)).all())
    brightest = pixels.max(axis=1)
    bytes_only = pixels.min() >= 0 and brightest.max() <= 255 and brightest.min() >= BRIGHT_BYTE
    if whole and bytes_only and len(pixels) >= PICTURE_BANDS and not physical:
        return "picture"
    return "number"
