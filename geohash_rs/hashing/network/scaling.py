"""Scale raw pixel values of any sensor and data type to the range that a network expects."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.scenes.values import Values

__all__ = [
    "SCALING_TILES",
    "Scaling",
    "estimate_range",
    "make_scaling",
    "range_of",
    "sample_pixels",
]

SCALING_TILES = 512  # tiles sampled to choose the range of pixel values
PERCENTILES = [0.01, 0.99]
THIN_STEP = 8  # px between those that are sampled from a tile to be hashed
THIN_SIDE = 64  # rows and columns sampled from each tile


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
        highs = tuple(mean + std for mean, std in zip(self.mean, self.std, strict=True))
        if 2 < max(highs) <= 255:
            highs = (255.0,) * len(highs)
        return (0.0,) * len(highs), highs

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
    backbone: Backbone, scaling: Mapping[str, Any] | None, *, sample: Tensor
) -> Scaling:
    """Choose the scaling of raw pixels for a backbone.

    Args:
        backbone: The network, which has the mean and deviation that it expects.
        scaling: The user's scaling, or None.
        sample: Raw tiles to estimate the range from if there is no scaling.

    Returns:
        The scaling; without a user's scaling, that of TorchGeo weights if the backbone has them.

    Raises:
        HasherError: If the scaling is not understood, or a band has no finite pixel.
    """
    if scaling is None and not backbone.raw_input:
        scaling = estimate_range(sample)
    return Scaling.from_mapping(
        scaling, mean=backbone.mean, std=backbone.std, raw_input=backbone.raw_input
    )


def range_of(values: Sequence[Values]) -> dict[str, Any] | None:
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
