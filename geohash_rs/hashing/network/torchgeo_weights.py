"""What TorchGeo states about its pretrained weights: network, bands, pixel values and source."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from geohash_rs.errors import HasherError
from geohash_rs.scenes.sensors import RGB, meanings_of

__all__ = ["TorchGeoWeights", "is_weights_name", "mixes_values"]

NAME = re.compile(r"\w+_Weights\.\w+")
# A product of each sensor, whose name tells `meanings_of` what numbered bands show.
PRODUCTS = {
    "LANDSAT_TM": "LT05_", "LANDSAT_ETM": "LE07_", "LANDSAT_OLI": "LC08_", "SENTINEL2": "S2A_",
}  # fmt: skip
BYTE = 255.0


def is_weights_name(name: object) -> bool:
    """Return whether a text has the form of TorchGeo's names of weights.

    >>> is_weights_name("ResNet18_Weights.SENTINEL2_ALL_MOCO"), is_weights_name("resnet18.a1_in1k")
    (True, False)
    """
    return isinstance(name, str) and NAME.fullmatch(name) is not None


@dataclass(frozen=True, eq=False)
class TorchGeoWeights:
    """Weights of TorchGeo, and what TorchGeo states about them.

    Attributes:
        entry: TorchGeo's own enum member.
    """

    entry: Any

    @classmethod
    def find(cls, weights: Any) -> "TorchGeoWeights":  # noqa: ANN401 - TorchGeo's enum
        """Find weights by name.

        Args:
            weights: A name such as "ResNet18_Weights.SENTINEL2_ALL_MOCO", or an enum member.

        Returns:
            The weights.

        Raises:
            HasherError: If TorchGeo has no weights of that name.
        """
        from torchgeo.models import get_weight  # takes seconds to import

        if not isinstance(weights, str):
            return cls(weights)
        try:
            return cls(get_weight(weights))
        except (ValueError, KeyError) as error:
            msg = (
                f"weights {weights!r} are neither a file nor weights of TorchGeo ({error}); "
                "'geohash-rs backbones' lists those that can be used."
            )
            raise HasherError(msg) from error

    def __str__(self) -> str:
        return str(self.entry)

    @property
    def meta(self) -> Mapping[str, Any]:
        """All that TorchGeo states."""
        meta: Mapping[str, Any] = self.entry.meta
        return meta

    @property
    def model(self) -> str:
        """Name of the network in timm; empty if timm does not have it."""
        # the meta of ResNet152_Weights says resnet50 in TorchGeo 0.8
        of_enum = type(self.entry).__name__.removesuffix("_Weights").lower()
        names = (of_enum, str(self.meta.get("model", "")))
        import timm

        return next((name for name in names if timm.is_model(name)), "")

    @property
    def problem(self) -> str:
        """Why the weights cannot be a backbone; empty if they can."""
        if not self.model:
            what = self.meta.get("model") or self.meta.get("encoder") or "another network"
            return f"they belong to {what}, which is not a network of timm"
        if not isinstance(self.meta.get("in_chans"), int):
            return "TorchGeo does not state the number of their bands"
        return ""

    def check(self) -> None:
        """Check that the weights can be a backbone.

        Raises:
            HasherError: If they cannot.
        """
        if self.problem:
            msg = f"{self} cannot be a backbone: {self.problem}; use other weights."
            raise HasherError(msg)

    @property
    def in_chans(self) -> int:
        """Number of bands."""
        return int(self.meta["in_chans"])

    @property
    def sensor(self) -> str:
        """First words of the name after the dot, such as "SENTINEL2" or "LANDSAT_TM"."""
        name = str(self).partition(".")[2]
        return next((one for one in PRODUCTS if name.startswith(one)), name.partition("_")[0])

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands: what they show if it is known and no other shows it, or TorchGeo's.

        Empty if TorchGeo names none.
        """
        own = [str(name) for name in self.meta.get("bands", ())]
        if not own and self.in_chans == len(RGB) and "_RGB" in str(self):
            return RGB
        if len(own) != self.in_chans:
            return ()
        meanings = meanings_of(own, PRODUCTS.get(self.sensor, ""))
        shared = Counter(meanings)
        return tuple(
            meaning if meaning and shared[meaning] == 1 else name
            for meaning, name in zip(meanings, own, strict=True)
        )

    @property
    def image_size(self) -> int | None:
        """Side for which positions were trained, px, if it is not that of the network in timm."""
        size = self.meta.get("img_size")
        return None if size is None else int(size)

    @property
    def input_size(self) -> int | None:
        """Side of the images that the network was trained on, px; None if it is unknown."""
        sizes = [
            _sides(_setting(step, "size"))
            for step in self.entry.transforms.modules()
            if type(step).__name__ in {"CenterCrop", "Resize"}
        ]
        return self.image_size or (sizes[-1] if sizes else None)

    @property
    def mixes_values(self) -> bool:
        """Whether they expect 8-bit pictures in some bands and numbers in others."""
        return mixes_values(*self.statistics()[:2])

    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
        """Combine the normalisations that the weights were trained with into one.

        Returns:
            Mean and standard deviation of each band, and whether they are of raw pixels; if not,
            the weights were trained on 8-bit pictures, and they are of pixels in [0, 1].
        """
        mean, std = torch.zeros(self.in_chans), torch.ones(self.in_chans)
        raw = True
        steps = [s for s in self.entry.transforms.modules() if type(s).__name__ == "Normalize"]
        for number, step in enumerate(steps):
            shift, scale = (
                torch.as_tensor(_setting(step, name), dtype=torch.float32).flatten()
                for name in ("mean", "std")
            )
            if number == 0 and not shift.any() and (scale == BYTE).all():
                raw = False
                continue
            mean, std = mean + std * shift, std * scale
        return tuple(mean.tolist()), tuple(std.tolist()), raw


def mixes_values(mean: Sequence[float], std: Sequence[float]) -> bool:
    """Return whether weights expect 8-bit pictures in some bands and numbers in others.

    Args:
        mean: Mean of each band, of raw pixels.
        std: Their standard deviation.
    """
    ends = [a + b for a, b in zip(mean, std, strict=True)]
    of_bytes = [a == 0 and b == BYTE for a, b in zip(mean, std, strict=True)]
    return any(of_bytes) and max(ends) > BYTE


def _setting(step: Any, name: str) -> Any:  # noqa: ANN401
    """Read a setting of a step of torchvision's, or of Kornia's, which stores it in `flags`."""
    flags = getattr(step, "flags", {})
    return flags[name] if name in flags else getattr(step, name)


def _sides(size: Any) -> int:  # noqa: ANN401
    """Return the side of a square, given as one number or as two."""
    return int(size) if isinstance(size, int) else int(size[-1])
