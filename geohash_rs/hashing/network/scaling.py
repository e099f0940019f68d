"""Scale raw pixel values of any sensor and data type to the range that a network expects."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from geohash_rs.errors import GeoHashRSWarning, HasherError, ValueMismatchError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.torchgeo_weights import mixes_values
from geohash_rs.scenes.values import Values

__all__ = [
    "SCALING_TILES",
    "Scaling",
    "estimate_range",
    "make_scaling",
    "sample_pixels",
]

SCALING_TILES = 512  # tiles sampled to choose the range of pixel values
PERCENTILES = [0.01, 0.99]
THIN_STEP = 8  # px between those that are sampled from a tile to be hashed
THIN_SIDE = 64  # rows and columns sampled from each tile
HIGHEST_BYTE = 255.0
# Reflectance in the numbers of Sentinel-2: https://sentiwiki.copernicus.eu/web/s2-processing
REFLECTANCE_1 = 10_000.0


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """An affine map of pixel values, band by band.

    A pixel x becomes ``y = (x - low) / (high - low)``, is optionally clipped to [0, 1], and enters
    the network as ``(y - mean) / std``.

    Attributes:
        low: Pixel value that becomes 0, per band.
        high: Pixel value that becomes 1, per band.
        mean: Mean that the network expects, per band.
        std: Standard deviation that the network expects, per band.
        clip: Whether values outside [low, high] are clipped.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    clip: bool = True

    def __post_init__(self) -> None:
        lengths = {len(self.low), len(self.high), len(self.mean), len(self.std)}
        if len(lengths) != 1:
            msg = f"scaling has low, high, mean and std of different lengths: {sorted(lengths)}."
            raise HasherError(msg)
        if any(high <= low for low, high in zip(self.low, self.high, strict=True)):
            msg = f"scaling needs high above low in every band: low {self.low}, high {self.high}."
            raise HasherError(msg)

    @classmethod
    def from_mapping(
        cls,
        scaling: Mapping[str, Any] | None,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        raw_input: bool = False,
    ) -> "Scaling":
        """Parse a user's scaling.

        Args:
            scaling: ``{"kind": "range", "low": [...], "high": [...]}``: pixel values that become 0
                and 1, one per band or one for all. None with `raw_input` normalises raw pixels
                directly.
            mean: Mean that the network expects, per band.
            std: Standard deviation that the network expects, per band.
            raw_input: Whether mean and std are in raw pixel units. A user's range then replaces
                them.

        Returns:
            The scaling.

        Raises:
            HasherError: If the mapping has another kind, or lacks low or high.
        """
        zeros, ones = (0.0,) * len(mean), (1.0,) * len(mean)
        if scaling is None and raw_input:
            return cls(low=zeros, high=ones, mean=tuple(mean), std=tuple(std), clip=False)
        written = dict(scaling or {})
        if written.get("kind", "range") != "range" or not {"low", "high"} <= set(written):
            msg = (
                f"scaling {written!r} is not understood; "
                'use {"kind": "range", "low": [...], "high": [...]}.'
            )
            raise HasherError(msg)
        if raw_input:
            mean, std = zeros, ones
        low, high = (_per_band(written[key], len(mean)) for key in ("low", "high"))
        return cls(low=low, high=high, mean=tuple(mean), std=tuple(std))

    @property
    def reach(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Lowest and highest raw value of each band that the network can distinguish."""
        if self.clip:
            return self.low, self.high
        # Weights that take raw values have a mean and deviation such as 123 and 58 for pictures.
        tops = [mean + std for mean, std in zip(self.mean, self.std, strict=True)]
        if 2 < max(tops) <= HIGHEST_BYTE:
            tops = [HIGHEST_BYTE] * len(tops)
        ends = zip(tops, self.low, self.high, strict=True)
        return self.low, tuple(low + top * (high - low) for top, low, high in ends)

    def outside(self, tiles: Tensor) -> float:
        """Return the share of values that are clipped, so that they all look alike.

        Args:
            tiles: Raw pixels, shape (tiles, bands, height, width); some of them are looked at.
        """
        if not self.clip or not tiles.numel():
            return 0.0
        some = tiles[..., ::THIN_STEP, ::THIN_STEP].float()
        low, high = _column(self.low, some), _column(self.high, some)
        return float(((some < low) | (some > high)).float().mean())

    def apply(self, tiles: Tensor) -> Tensor:
        """Scale tiles to [0, 1], or beyond if values are not clipped.

        Args:
            tiles: Raw pixels, float32, shape (tiles, bands, height, width).

        Returns:
            Scaled pixels, float32, same shape.
        """
        low, high = _column(self.low, tiles), _column(self.high, tiles)
        scaled = (tiles - low).div_(high - low)
        return scaled.clamp_(0, 1) if self.clip else scaled

    def normalise(self, scaled: Tensor) -> Tensor:
        """Normalise scaled pixels to the mean and deviation that the network expects, in place.

        A batch is tens of megabytes, and allocating memory for each step costs more than the step.

        Args:
            scaled: Result of `apply`, after any resizing; changed in place.

        Returns:
            The same tensor, now network input.
        """
        if self.clip:
            scaled.clamp_(0, 1)  # bicubic resizing overshoots at edges
        return scaled.sub_(_column(self.mean, scaled)).div_(_column(self.std, scaled))

    def to_dict(self) -> dict[str, Any]:
        """Return the scaling as JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Scaling":
        """Return the scaling that `to_dict` described."""
        bands = {key: tuple(values[key]) for key in ("low", "high", "mean", "std")}
        return cls(**bands, clip=bool(values["clip"]))


def make_scaling(
    backbone: Backbone,
    scaling: Mapping[str, Any] | None,
    *,
    sample: Tensor,
    values: Sequence[Values] = (),
) -> Scaling:
    """Choose the scaling of raw pixels for a backbone.

    Args:
        backbone: The network, which has the mean and deviation that it expects.
        scaling: The user's scaling, or None.
        sample: Raw tiles to estimate the range from if there is no scaling.
        values: Kinds of the tiles' values, if they are known; others are converted to the first.

    Returns:
        The scaling; without a user's scaling, that of TorchGeo weights if the backbone has them.

    Raises:
        HasherError: If the scaling is not understood, or a band has no finite pixel.
        ValueMismatchError: If the weights expect values unlike those of the tiles.
    """
    if scaling is None and backbone.raw_input:
        return _raw_scaling(backbone, values[0] if values else _values_of(sample))
    chosen = scaling or _range_of(values) or estimate_range(sample)
    return Scaling.from_mapping(
        chosen, mean=backbone.mean, std=backbone.std, raw_input=backbone.raw_input
    )


def _raw_scaling(backbone: Backbone, found: Values) -> Scaling:
    """Choose the scaling for weights that expect pixels in units of their own.

    Reflectance as a fraction becomes the numbers of Sentinel-2. Pictures, which such weights have
    not seen, are stretched to the same range, with a warning.

    Raises:
        ValueMismatchError: If the weights expect other values.
    """
    mean, std = backbone.mean, backbone.std
    tops = [a + b for a, b in zip(mean, std, strict=True)]
    if max(tops) < 0 <= min(found.low):
        msg = (
            f"the scenes hold {found}, but {backbone.weights} were trained on decibels, values "
            f"around {min(mean):.3g} to {max(mean):.3g}; convert the scenes to decibels."
        )
        raise ValueMismatchError(msg)
    if max(tops) > HIGHEST_BYTE:
        if mixes_values(mean, std):
            msg = (
                f"{backbone.weights} were trained on 8-bit pictures in some bands and on numbers "
                f"in others, but the scenes hold {found} in all; use other weights, or fit_hasher "
                "with a scaling=... of each band."
            )
            raise ValueMismatchError(msg)
        if found.kind == "picture":
            msg = (
                f"the scenes hold {found}, but {backbone.weights} were trained on the numbers of "
                "a sensor, such as reflectance times 10,000; the pictures are stretched to that "
                "range, and matches may be poor. Use scenes with these numbers, or other weights."
            )
            warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
            whole = {"kind": "range", "low": 0.0, "high": HIGHEST_BYTE}
            return Scaling.from_mapping(whole, mean=mean, std=std, raw_input=True)
        if found.kind == "fraction":
            low, high = (0.0,) * len(mean), (1 / REFLECTANCE_1,) * len(mean)
            return Scaling(low=low, high=high, mean=tuple(mean), std=tuple(std), clip=False)
    return Scaling.from_mapping(None, mean=mean, std=std, raw_input=True)


def _values_of(tiles: Tensor) -> Values:
    """Describe the values of raw tiles.

    Raises:
        HasherError: If no pixel is finite in all bands.
    """
    pixels = sample_pixels([tiles])[0, :, 0]
    finite = pixels[:, torch.isfinite(pixels).all(0)].numpy()
    if not finite.shape[1]:
        msg = f"{len(tiles)} tiles have no pixel that is finite in all bands; fit on other tiles."
        raise HasherError(msg)
    return Values.of_pixels(finite, dtype=str(tiles.dtype).removeprefix("torch."))


def _range_of(values: Sequence[Values]) -> dict[str, Any] | None:
    """Choose the range of pixel values if there are several kinds of them.

    Args:
        values: The kinds; the others are converted to the first.

    Returns:
        The range of the first, as `Scaling.from_mapping` reads it; None if there are no kinds, or
        one that is not pictures, because its range is better chosen from a sample of tiles.
    """
    if not values or (len(values) == 1 and values[0].kind != "picture"):
        return None
    return {"kind": "range", "low": list(values[0].low), "high": list(values[0].high)}


def estimate_range(tiles: Tensor) -> dict[str, Any]:
    """Choose the pixel values that become 0 and 1, from tiles of any data type.

    Eight-bit tiles keep their full range, so that all sets of pictures are treated alike. For
    others, percentiles of each band exclude clouds, saturated pixels and fill values.

    Args:
        tiles: Raw pixels, shape (tiles, bands, height, width).

    Returns:
        A scaling as `Scaling.from_mapping` reads it.

    Raises:
        HasherError: If a band has no finite pixel.
    """
    bands = tiles.shape[1]
    if tiles.dtype == torch.uint8:
        return {"kind": "range", "low": [0.0] * bands, "high": [255.0] * bands}
    lows, highs = [], []
    for band in range(bands):
        values = tiles[:, band].to(torch.float32).flatten()
        values = values[torch.isfinite(values)]
        if not len(values):
            msg = f"band {band + 1} has no finite pixel in {len(tiles)} tiles; fit on other tiles."
            raise HasherError(msg)
        step = max(1, len(values) // 1_000_000)  # torch.quantile accepts at most 16 million values
        bottom, top = torch.quantile(values[::step], torch.tensor(PERCENTILES)).tolist()
        lows.append(bottom)
        highs.append(top if top > bottom else bottom + 1.0)
    return {"kind": "range", "low": lows, "high": highs}


def sample_pixels(batches: Iterable[Tensor]) -> Tensor:
    """Return evenly spaced pixels of tiles, enough to choose a range of values from.

    Args:
        batches: Raw tiles, at least one batch, each of shape (tiles, bands, height, width).

    Returns:
        Their pixels, shape (1, bands, 1, pixels), uint8 or float32.
    """
    pixels = []
    for tiles in batches:
        rows, columns = (max(1, side // THIN_SIDE) for side in tiles.shape[-2:])
        values = tiles if tiles.dtype == torch.uint8 else tiles.float()
        pixels.append(values[..., ::rows, ::columns].movedim(1, 0).flatten(1))
    return torch.cat(pixels, dim=1)[None, :, None]


def _per_band(value: float | Sequence[float], bands: int) -> tuple[float, ...]:
    values = [float(value)] if isinstance(value, int | float) else [float(v) for v in value]
    if len(values) == 1:
        values *= bands
    if len(values) != bands:
        msg = f"scaling has {len(values)} values for {bands} bands; pass one for each band."
        raise HasherError(msg)
    return tuple(values)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    # On a GPU, a copy from memory that is not pinned would wait for all that the GPU is doing.
    column = torch.tensor(values, dtype=like.dtype, pin_memory=like.is_cuda)
    return column.to(like.device, non_blocking=True).view(1, -1, 1, 1)
