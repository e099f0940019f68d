"""What pixel values mean (8-bit pictures, sensor numbers, fractions), and how to convert them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
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
UNITS = MappingProxyType(  # other spellings, in lower case
    {
        **dict.fromkeys(("metre", "metres", "meter", "meters"), "m"),
        # the foot of US surveys is longer by two parts in a million
        **dict.fromkeys(
            ("foot", "feet", "us survey foot", "us survey feet", "us_survey_foot"), "ft"
        ),
        **dict.fromkeys(("foot_us", "us foot", "us-ft", "us_ft", "us ft", "ftus", "usft"), "ft"),
        **dict.fromkeys(("survey foot", "survey feet", "international foot"), "ft"),
        **dict.fromkeys(("kelvin", "kelvins", "degk", "deg_k"), "k"),
        **dict.fromkeys(("c", "celsius", "degree_celsius", "degrees_celsius", "deg_c"), "degc"),
        **dict.fromkeys(("\N{DEGREE SIGN}c", "degrees c", "degree celsius"), "degc"),
        **dict.fromkeys(("percent", "per cent"), "%"),
        **dict.fromkeys(("decibel", "decibels"), "db"),
        **dict.fromkeys(("1", "-", "none", "unknown", "unitless", "dimensionless"), ""),
    }
)
BRIGHT_BYTE = 200  # every RGB picture has pixels at least this bright in each band
PICTURE_BANDS = 3


_catalogued: dict[str, list[tuple[float, float]]] = {}  # scale and offset of the bands of files


def remember_rescaling(path: str, bands: Sequence[tuple[float, float]]) -> None:
    """Remember the scale and offset that a catalogue states for the bands of a file.

    Args:
        path: Path or URI of the file.
        bands: Scale and offset of each band, or one pair for all bands.
    """
    _catalogued[path] = list(bands)


def rescaling_of(
    path: str, own: Sequence[tuple[float, float]], dtypes: Sequence[str]
) -> list[tuple[float, float]]:
    """Return scale and offset of a file's bands: from the file, otherwise from a catalogue.

    Args:
        path: Path or URI of the file.
        own: Scale and offset of each band as the file declares them, 1 and 0 if it does not; a
            scale of 0 or NaN is ignored.
        dtypes: NumPy name of the type of each band. A catalogue's scale and offset are for a
            product's integers, so they are not applied to 8-bit pictures and floats.

    Returns:
        Scale and offset of each band.
    """
    own = [pair if np.isfinite(pair).all() and pair[0] else (1.0, 0.0) for pair in own]
    known = _catalogued.get(path, [])
    known = known * len(own) if len(known) == 1 else known
    wide = all(np.dtype(dtype).kind in "iu" and dtype != "uint8" for dtype in dtypes)
    said = set(own) != {(1.0, 0.0)}
    return list(own) if said or not wide or len(known) != len(own) else known


@dataclass(frozen=True, kw_only=True)
class Values:
    """One kind of pixel values.

    Attributes:
        kind: ``picture`` for 8-bit values, ``fraction`` for floats between -2 and 2, such as
            reflectance, ``number`` for all others, such as the digital numbers of a sensor.
        dtype: NumPy name of the stored type; empty if unknown.
        low: Value of each band that is below nearly all pixels.
        high: Value of each band that is above nearly all pixels.
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
            dtype: NumPy name of the stored type.
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
        """Describe values of which only the range is known.

        Args:
            low: Value of each band that is below nearly all pixels.
            high: Value of each band that is above nearly all pixels.
            dtype: As in `of_pixels`.

        Returns:
            Pictures for 0 to 255, fractions for -2 to 2 unless integers are stored, otherwise
            numbers.
        """
        kind: Kind = "number"
        if set(low) == {0.0} and set(high) == {255.0}:
            kind = "picture"
        elif max(map(abs, (*low, *high))) <= LARGEST_FRACTION and dtype[:1] in ("", "f"):
            kind = "fraction"
        return cls(kind=kind, dtype=dtype, low=tuple(low), high=tuple(high))

    def fits(self, other: "Values") -> bool:
        """Return whether equal values mean the same in both."""
        units = {_unit(self.unit), _unit(other.unit)} - {""}
        if len(units) == 2:
            return False
        floats = self._is_physical and other._is_physical
        if floats and units and _unit(self.unit) == _unit(other.unit):
            return True
        if self.kind != other.kind:
            if {self.kind, other.kind} == {"number", "fraction"} and self._overlaps(other):
                return True
            # 8-bit values in a wider type are recognised only if they are bright.
            same_type = self.dtype == other.dtype != "" and self.physical == other.physical
            return same_type and self.within_bytes and other.within_bytes
        return self.physical == other.physical or self.kind == "fraction"

    @property
    def _is_physical(self) -> bool:
        """Whether the values are measured in their unit, if they have one."""
        return self.kind != "picture" and (self.physical or self.dtype[:1] == "f")

    def _overlaps(self, other: "Values") -> bool:
        """Return whether small and large values of one or two bands are a single quantity.

        Elevations of flat land and the radar power of water look like fractions, unlike those of
        hills and cities. Optical images have more bands.
        """
        same_type = self.dtype == other.dtype and not (self.physical or other.physical)
        if not same_type or len(self.low) != len(other.low) or len(self.low) >= PICTURE_BANDS:
            return False
        bands = zip(self.low, self.high, other.low, other.high, strict=True)
        # the ends are percentiles of a sample: pixels reach up to 2 % further
        return all(
            low - (high - low) / 50 <= top and bottom - (top - bottom) / 50 <= high
            for low, high, bottom, top in bands
        )

    @property
    def within_bytes(self) -> bool:
        """Whether the values could be 8-bit values."""
        return self.kind != "fraction" and min(self.low) >= 0 and max(self.high) <= 255

    def to_dict(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote."""
        return cls(**{**values, "low": tuple(values["low"]), "high": tuple(values["high"])})


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """The conversion ``gain * x + shift`` of a scene's pixels to a hasher's values.

    Attributes:
        gain: Factor of each band.
        shift: Number to add to each band.
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
    """Check a range of values from a user.

    Args:
        value_range: The lowest and the highest value, or None.

    Returns:
        The range as floats, or None.

    Raises:
        ValueMismatchError: If the range is not two finite numbers, the lower one first.
    """
    if value_range is None:
        return None
    ends = tuple(float(value) for value in value_range)
    if len(ends) != 2 or not np.isfinite(ends).all() or not ends[0] < ends[1]:
        msg = (
            f"value_range=({', '.join(f'{end:g}' for end in ends)}) does not name the lowest and "
            "the highest value, two finite numbers in that order; pass for example "
            "value_range=(0, 3000)."
        )
        raise ValueMismatchError(msg)
    return ends


def match_values(found: Values, known: Sequence[Values], *, name: str) -> Conversion | None:
    """Compare the values of a scene or patch with those that a hasher was made for.

    Args:
        found: Values of the scene or patch.
        known: Values that the hasher accepts, its own first; empty if it accepts any.
        name: Name of the file, for the message.

    Returns:
        The conversion to the hasher's own values; None if none is needed.

    Raises:
        ValueMismatchError: If the hasher was made for different values.
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
        "says how to convert between them; pass value_range=(LOW, HIGH), the values of the file "
        f"that correspond to {min(known[0].low):.4g} and {max(known[0].high):.4g}, or use "
        "another hasher."
    )
    raise ValueMismatchError(msg)


def stretch_values(found: Values, own: Values) -> Conversion:
    """Map one range of values to another, band by band.

    Args:
        found: Values to convert.
        own: Values of a hasher.

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
    """Group the values of sampled scenes by kind.

    Args:
        samples: For each sampled scene, its values, pixels of shape (bands, pixels), and the
            number of tiles that it represents.

    Returns:
        One entry per kind, the one with the most tiles first, with the range of all its pixels.
    """
    groups: list[tuple[Values, list[npt.NDArray[Any]], int]] = []
    for values, pixels, count in samples:
        for place, (known, parts, total) in enumerate(groups):
            if values.fits(known) and len(values.low) == len(known.low):
                groups[place] = (known, [*parts, pixels], total + count)
                break
        else:
            groups.append((values, [pixels], count))
    groups.sort(key=lambda group: -group[2])  # stable: equal counts keep their order
    return tuple(_pooled(known, parts) for known, parts, _ in groups)


def _pooled(known: Values, parts: Sequence[npt.NDArray[Any]]) -> Values:
    if len(parts) == 1 or known.kind == "picture":
        return known
    together = Values.of_pixels(
        np.concatenate([part.astype(np.float32) for part in parts], axis=1),
        dtype=known.dtype,
        physical=known.physical,
    )
    kind = together.kind if known.kind == "fraction" else known.kind
    return replace(known, kind=kind, low=together.low, high=together.high)


def _unit(unit: str) -> str:
    """Return one spelling for all spellings of a unit."""
    text = unit.strip().lower()
    return UNITS.get(text, text)


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
