"""Scale raw pixel values of any sensor and data type to the range that a network expects."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from geohash_rs.errors import HasherError
from geohash_rs.scenes.values import Values

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Scaling", "made_for"]

THIN_STEP = 8  # px between those that are sampled from a tile to be hashed
HIGHEST_BYTE = 255.0


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

    def outside(self, tiles: "Tensor") -> float:
        """Return the share of values that are clipped, so that they all look alike.

        Args:
            tiles: Raw pixels, shape (tiles, bands, height, width); some of them are looked at.
        """
        if not self.clip or not tiles.numel():
            return 0.0
        some = tiles[..., ::THIN_STEP, ::THIN_STEP].float()
        low, high = _column(self.low, some), _column(self.high, some)
        return float(((some < low) | (some > high)).float().mean())

    def apply(self, tiles: "Tensor") -> "Tensor":
        """Scale tiles to [0, 1], or beyond if values are not clipped.

        Args:
            tiles: Raw pixels, float32, shape (tiles, bands, height, width).

        Returns:
            Scaled pixels, float32, same shape.
        """
        low, high = _column(self.low, tiles), _column(self.high, tiles)
        scaled = (tiles - low).div_(high - low)
        return scaled.clamp_(0, 1) if self.clip else scaled

    def normalise(self, scaled: "Tensor") -> "Tensor":
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


def made_for(values: Sequence[Values], scaling: Scaling) -> tuple[Values, ...]:
    """Return the values that a hasher was made for, if need be from its scaling.

    Args:
        values: Values listed in its file; empty if there are none.
        scaling: Its scaling.

    Returns:
        Its own values first, then those that it converts to them.
    """
    return tuple(values) or (Values.of_range(*scaling.reach),)


def _per_band(value: float | Sequence[float], bands: int) -> tuple[float, ...]:
    values = [float(value)] if isinstance(value, int | float) else [float(v) for v in value]
    if len(values) == 1:
        values *= bands
    if len(values) != bands:
        msg = f"scaling has {len(values)} values for {bands} bands; pass one for each band."
        raise HasherError(msg)
    return tuple(values)


def _column(values: tuple[float, ...], like: "Tensor") -> "Tensor":
    import torch  # slow to import, and describing a scaling needs none

    # On a GPU, a copy from memory that is not pinned would wait for all that the GPU is doing.
    column = torch.tensor(values, dtype=like.dtype, pin_memory=like.is_cuda)
    return column.to(like.device, non_blocking=True).view(1, -1, 1, 1)
