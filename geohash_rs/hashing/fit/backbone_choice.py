"""Which network, weights and layers a hasher will use that is given by name, not fitted yet."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from geohash_rs.errors import HasherError, HasherNotFoundError
from geohash_rs.hashing.limits import MODEL, MOST_FILE
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.lite0 import LITE0
from geohash_rs.hashing.network.pretrained import check_weights_file
from geohash_rs.hashing.network.torchgeo_weights import TorchGeoWeights, is_weights_name

__all__ = ["AT", "BackboneChoice"]

AT, LAYER, FILE, SUM = "@", "+", "=", "#"  # as in general-64@resnet50+layer3=weights.pth#1a2b3c4d
SHORT = 8  # digits of a checksum that tell files apart in a name
BYTES = 4  # of a weight


@dataclass(frozen=True, kw_only=True)
class BackboneChoice:
    """A network by name, its weights and the layers whose output is added to its features.

    As text, what follows "@" in the name of a hasher that is not fitted yet.

    >>> choice = BackboneChoice(model="resnet50", stages=("layer3",))
    >>> str(choice), BackboneChoice.parse("resnet50+layer3") == choice
    ('resnet50+layer3', True)

    Attributes:
        model: Name of a timm model or of TorchGeo weights.
        weights: Absolute path of a state dict; empty for the pretrained weights of the model.
        checksum: SHA-256 of that file, hex; empty without a file.
        stages: As for `load_backbone`.
    """

    model: str
    weights: str = ""
    checksum: str = ""
    stages: tuple[str, ...] = ()

    @classmethod
    def choose(
        cls,
        model: str | None = None,
        *,
        weights: Any = None,  # noqa: ANN401  (TorchGeo's enum is not imported here)
        stages: Sequence[str] = (),
    ) -> Self:
        """Check what a user asks for.

        Args:
            model: Name of a timm model or of TorchGeo weights. Default: that of the weights,
                otherwise ``tf_efficientnet_lite0``.
            weights: The path of a state dict; TorchGeo weights as an enum member or by name; None
                or True for the pretrained weights of the model.
            stages: As for `load_backbone`.

        Returns:
            The choice.

        Raises:
            HasherError: If the model, the weights, the file or a stage do not exist, the weights
                cannot be a backbone, or are too large for a hasher file.
        """
        if weights is False:
            msg = "random weights are not for an archive; pass weights=FILE, or leave it out."
            raise HasherError(msg)
        file = ""
        if _is_torchgeo(weights):
            named = str(TorchGeoWeights.find(weights))
            if model not in (None, named, TorchGeoWeights.find(weights).model):
                msg = (
                    f"{named} are weights of {TorchGeoWeights.find(weights).model}, not of "
                    f"{model}; leave out the name of the network."
                )
                raise HasherError(msg)
            model = named
        elif weights is not None and weights is not True:
            check_weights_file(weights)
            file = str(Path(weights).absolute())
        choice = cls(
            model=str(model or LITE0),
            weights=file,
            checksum=_checksum(file) if file else "",
            stages=tuple(stages),
        )
        choice._check()
        return choice

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a choice.

        Args:
            text: Such as "resnet50+layer3" or "resnet50=/data/weights.pth#" and a checksum.

        Returns:
            The choice; it is not checked whether the network and the file exist.

        Raises:
            HasherNotFoundError: If it is not of this form.
        """
        network, has_file, rest = text.partition(FILE)
        model, *stages = network.split(LAYER)
        file, _, checksum = rest.rpartition(SUM)
        named = MODEL.fullmatch(model) is not None and all(stages)
        if not named or (has_file and not (file and len(checksum) == len(_checksum("")))):
            msg = (
                f"{text!r} does not name a backbone; pass backbone=NAME and, for weights in a "
                "file, weights=FILE."
            )
            raise HasherNotFoundError(msg)
        return cls(model=model, weights=file, checksum=checksum, stages=tuple(stages))

    def __str__(self) -> str:
        """Write it as `parse` reads it."""
        file = f"{FILE}{self.weights}{SUM}{self.checksum}" if self.weights else ""
        return LAYER.join((self.model, *self.stages)) + file

    @property
    def title(self) -> str:
        """The same for a name that others see: a file without its folder, a short checksum."""
        file = (
            f"{FILE}{Path(self.weights).name}{SUM}{self.checksum[:SHORT]}" if self.weights else ""
        )
        return LAYER.join((self.model, *self.stages)) + file

    @property
    def is_default(self) -> bool:
        """Whether a hasher has this backbone that names none."""
        return self == BackboneChoice(model=LITE0)

    @property
    def bands(self) -> tuple[str, ...] | None:
        """Names of the bands that the weights expect; None if they do not say, or adapt to any."""
        if not is_weights_name(self.model):
            return None
        return TorchGeoWeights.find(self.model).bands or None

    def settings(self) -> dict[str, Any]:
        """Return the arguments for `fit_hasher`.

        Raises:
            HasherError: If the file of weights is gone or has changed.
        """
        stages = {"stages": self.stages} if self.stages else {}
        if not self.weights:
            return {"model": self.model, "weights": True, **stages}
        remedy = (
            "put it back, or delete the archive, in which there is nothing yet, and make another."
        )
        if not Path(self.weights).is_file():
            msg = f"the weights {self.weights}, for which the archive was made, are gone; {remedy}"
            raise HasherError(msg)
        if _checksum(self.weights) != self.checksum:
            msg = f"the weights {self.weights} have changed since the archive was made; {remedy}"
            raise HasherError(msg)
        return {"model": self.model, "weights": Path(self.weights), **stages}

    def _check(self) -> None:
        """Check the names, and the size of the network, without computing anything.

        Raises:
            HasherError: If something does not exist, or the network is too large.
        """
        model, bands, size = self.model, 3, None
        if is_weights_name(model):
            weights = TorchGeoWeights.find(model)
            weights.check()
            model, bands, size = weights.model, weights.in_chans, weights.image_size
        elif MODEL.fullmatch(model) is None:
            msg = f"{model!r} is not the name of a timm model or of TorchGeo weights."
            raise HasherError(msg)
        with torch.device("meta"):
            network = Backbone(model, in_chans=bands, stages=self.stages, image_size=size)
        size_of_file = sum(tensor.numel() for tensor in network.state_dict().values()) * BYTES
        if size_of_file > MOST_FILE:
            msg = (
                f"the weights of {self.model} take {size_of_file / 1e9:.1f} GB, but a hasher file "
                f"holds at most {MOST_FILE / 1e9:.1f} GB; use a smaller network."
            )
            raise HasherError(msg)
        if not str(self).isprintable():
            msg = f"{self.weights!r} has characters that cannot be printed; rename the file."
            raise HasherError(msg)


def _is_torchgeo(weights: Any) -> bool:  # noqa: ANN401
    """Return whether weights are TorchGeo's, by name or as an enum member."""
    if isinstance(weights, str):
        return is_weights_name(weights) and not Path(weights).is_file()
    return hasattr(weights, "meta") and hasattr(weights, "transforms")


def _checksum(file: str) -> str:
    """Return the SHA-256 of a file, or of nothing, hex."""
    if not file:
        return hashlib.sha256().hexdigest()
    with Path(file).open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
