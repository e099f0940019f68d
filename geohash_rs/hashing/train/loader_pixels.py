"""Undo a data loader's normalisation: scaling belongs to the hasher, not to the loader."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.scaling import Scaling
from geohash_rs.hashing.network.scaling_choice import estimate_range

__all__ = ["LoaderPixels", "undo"]

MOSTLY = 0.95  # share of values beyond the range from which tiles look alike


class LoaderPixels(nn.Module):
    """The range of pixel values of a task, chosen once and stored in its checkpoints.

    Args:
        backbone: Provides the mean and deviation that its weights expect.
        scaling: ``{"kind": "range", "low": [...], "high": [...]}`` in raw pixel values, or None to
            choose it from the first training batch.
    """

    def __init__(self, backbone: Backbone, *, scaling: Mapping[str, Any] | None) -> None:
        super().__init__()
        self.mean, self.std = backbone.mean, backbone.std
        self.raw_input = backbone.raw_input
        self.warned = False
        # 0 to 255 before the first batch, as in Lightning's sanity check
        self.register_buffer("low", torch.zeros(backbone.in_chans))
        self.register_buffer("high", torch.full((backbone.in_chans,), 255.0))
        self.register_buffer("chosen", torch.tensor(data=False))
        if scaling is not None:
            self.set_range(scaling)

    @property
    def known(self) -> bool:
        """Whether the range is chosen, or defined by the weights."""
        return self.raw_input or bool(self.get_buffer("chosen"))

    def set_range(self, scaling: Mapping[str, Any]) -> None:
        """Set the range.

        Args:
            scaling: As for `Scaling.from_mapping`.
        """
        read = Scaling.from_mapping(scaling, mean=self.mean, std=self.std)
        self.get_buffer("low").copy_(torch.tensor(read.low))
        self.get_buffer("high").copy_(torch.tensor(read.high))
        self.get_buffer("chosen").fill_(value=True)

    def meet(self, raw: Tensor) -> None:
        """Choose the range from tiles, unless it is known.

        Args:
            raw: Raw pixels, shape (tiles, bands, height, width). If all lie within 0 to 255 and
                some above 1.5, they count as 8-bit pictures; otherwise percentiles are used.
        """
        if self.known:
            self._warn_of_others(raw)
            return
        inside = float(raw.min()) > -0.5 and 1.5 < float(raw.max()) < 255.5
        eight_bit = {"kind": "range", "low": 0.0, "high": 255.0}
        self.set_range(eight_bit if inside else estimate_range(raw.detach().cpu()))

    def _warn_of_others(self, raw: Tensor) -> None:
        """Warn once of tiles whose values are not those of the first batch."""
        if self.warned:
            return
        shares = [self.scaling().outside(tile[None]) for tile in raw.detach()]
        others = sum(share > MOSTLY for share in shares)
        if others:
            low, high = (self.get_buffer(name) for name in ("low", "high"))
            msg = (
                f"{others} of {len(raw)} tiles of a batch hold {float(raw.min()):.4g} to "
                f"{float(raw.max()):.4g}, nearly all beyond the {float(low.min()):.4g} to "
                f"{float(high.max()):.4g} that the first batch was scaled by, so that they look "
                "alike to the network; bring all images to one range, or pass scaling=..."
            )
            warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
            self.warned = True

    def scaling(self) -> Scaling:
        """Return the range as a hasher's scaling."""
        own = self.raw_input and not bool(self.get_buffer("chosen"))
        low, high = (self.get_buffer(name).tolist() for name in ("low", "high"))
        return Scaling.from_mapping(
            None if own else {"low": low, "high": high},
            mean=self.mean,
            std=self.std,
            raw_input=self.raw_input,
        )


def undo(
    images: Tensor, *, mean: Sequence[float] | float | Tensor, std: Sequence[float] | float | Tensor
) -> Tensor:
    """Undo a loader's normalisation, ``images * std + mean``, band by band."""
    shift, scale = (
        torch.as_tensor(v, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)
        for v in (mean, std)
    )
    return images * scale + shift
