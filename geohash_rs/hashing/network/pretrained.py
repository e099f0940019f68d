"""Backbones with weights from an installed package, timm, TorchGeo or a file."""

import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from geohash_rs.errors import BandMismatchError, HasherError, ignore_warnings, one_line
from geohash_rs.hashing.limits import allowance_of
from geohash_rs.hashing.network.backbones import Backbone, create_network
from geohash_rs.hashing.network.lite0 import (
    LITE0,
    LITE0_WEIGHTS,
    is_lite,
    lite0_state_dict,
    rename_lite,
)
from geohash_rs.hashing.network.lite0_network import Lite0
from geohash_rs.hashing.network.torchgeo_weights import TorchGeoWeights, is_weights_name
from geohash_rs.scenes.sensors import meanings_of

__all__ = [
    "check_weights_file",
    "file_to_fetch",
    "load_backbone",
    "read_state_dict",
    "read_torch_file",
    "rebuild_backbone",
]

SEEN = (("nir", "nir08"), ("red",), ("green",), ("blue",))
REACHED_WITHIN = 5  # seconds
WEIGHT_FILES = {".bin", ".ckpt", ".pt", ".pth", ".safetensors"}
# What timm calls classifiers, which a backbone does without.
AUXILIARY = (
    "AuxLogits.", "aux_head.", "classif.", "classifier.", "fc.", "head.", "head_dist.", "heads.",
    "heads_dist.", "last_linear.",
)  # fmt: skip


def load_backbone(
    model: str | nn.Module = LITE0,
    *,
    weights: Any = True,  # noqa: ANN401  (TorchGeo's own enum is not imported unless used)
    in_chans: int | None = None,
    bands: Sequence[str] = (),
    stages: Sequence[str] = (),
    seed: int = 0,
) -> Backbone:
    """Make a backbone and load its weights.

    Args:
        model: Name of a timm model or of TorchGeo weights, or a module as for `Backbone`, which
            keeps its weights unless a file is named. TorchGeo weights determine the network, the
            bands and the pixel values.
        weights: True for the model's pretrained weights (for ``tf_efficientnet_lite0`` those
            installed with this package, for others timm's or TorchGeo's, which are downloaded);
            False or None for random weights; TorchGeo weights as an enum member or by name, such as
            ``"ResNet18_Weights.SENTINEL2_ALL_MOCO"``; or the path of a local state dict, such as
            the file that would be downloaded.
        in_chans: Number of input bands. If it differs from that of the weights, and they have
            three, the first convolution is adapted: to red, green, blue and near infrared if these
            are among the bands, otherwise like timm does, repeated and rescaled. None uses that of
            TorchGeo weights, otherwise 3.
        bands: Names of the bands, if known.
        stages: Names of modules, such as "blocks.4", whose mean output is appended; those with
            ":covariance" behind it append covariances of the output, as in `Backbone`.
        seed: Seed of random weights.

    Returns:
        The backbone, in training mode with gradients on, like any new torch module.

    Raises:
        HasherError: If the model or the weights are unknown or do not match, or they cannot be
            downloaded; it then names the file to fetch.
        BandMismatchError: If the weights were trained on another number of bands, other than three.
    """
    if weights is True and isinstance(model, nn.Module):
        weights = None
    file = Path(weights) if _names_a_file(weights) else None
    if file is not None:
        check_weights_file(weights)
    if weights is None or weights is False:
        return Backbone(model, in_chans=in_chans or 3, stages=stages, seed=seed)
    if is_weights_name(model) and (file is not None or weights is True):
        return _torchgeo_backbone(model, file, in_chans=in_chans, stages=stages, seed=seed)
    if weights is True:
        source, state = _pretrained(model)
    elif file is not None:
        source, state = "file", read_state_dict(file)
    else:
        return _torchgeo_backbone(weights, None, in_chans=in_chans, stages=stages, seed=seed)
    count = in_chans or 3
    network = Lite0(count) if model == LITE0 else None
    backbone = Backbone(model, in_chans=count, stages=stages, seed=seed, network=network)
    _load_into(backbone, state, origin=source if file is None else str(file), bands=bands)
    backbone.weights = source
    return backbone


def check_weights_file(weights: str | Path) -> None:
    """Check that a file of weights exists.

    Args:
        weights: Its path.

    Raises:
        HasherError: If it does not, or it is the address of a file elsewhere.
    """
    if "://" in str(weights):
        msg = (
            f"{weights} is an address, but weights are only read from files of this machine; "
            "download it and pass the path, weights=FILE."
        )
        raise HasherError(msg)
    if not Path(weights).is_file():
        msg = (
            f"there is no file {Path(weights).absolute()} to read weights from; pass the path of a "
            "state dict, or leave it out for pretrained weights."
        )
        raise HasherError(msg)


def _names_a_file(weights: Any) -> bool:  # noqa: ANN401
    """Return whether weights are a path, rather than the name of TorchGeo's."""
    if not isinstance(weights, str | Path):
        return False
    path = Path(weights)
    return (
        isinstance(weights, Path)
        or path.suffix in WEIGHT_FILES
        or "/" in weights
        or (path.is_file() and not is_weights_name(weights))
    )


def rebuild_backbone(
    source: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    *,
    in_chans: int,
    bands: Sequence[str] = (),
) -> Backbone:
    """Make the backbone that a hasher file describes.

    Args:
        source: Its model, stages and source of weights, and the image size if that is its own.
        weights: Tensors of the network by name; empty for those of the installed package.
        in_chans: Number of input bands.
        bands: Names of the bands, as for `load_backbone`.

    Returns:
        The backbone.

    Raises:
        HasherError: If weights are missing that the installed package does not have.
    """
    model, stages = source["model"], source["stages"]
    if not weights:
        if (model, source["weights"]) != (LITE0, LITE0_WEIGHTS):
            msg = f"the file lacks the weights of {model}; save with embed_backbone=True."
            raise HasherError(msg)
        return load_backbone(LITE0, in_chans=in_chans, bands=bands, stages=stages)
    backbone = Backbone(
        model,
        in_chans=in_chans,
        stages=stages,
        image_size=source.get("image_size"),
        most_bytes=allowance_of(weights),
        network=Lite0(in_chans) if model == LITE0 else None,
    )
    backbone.network.load_state_dict(weights)
    backbone.weights = source["weights"]
    return backbone


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the weights of a network from a file, without running any code in it.

    Args:
        path: A ``.safetensors`` file, or a ``.pt``, ``.pth`` or ``.ckpt`` that holds tensors. A
            state dict inside ``state_dict`` or ``model`` is found, and a prefix that all its keys
            share (``backbone.``, ``module.``) is removed.

    Returns:
        Tensors by name.

    Raises:
        HasherError: If the file holds no state dict.
    """
    content = read_torch_file(path)
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        msg = f"{path} holds {type(content).__name__}, not a state dict of names and tensors."
        raise HasherError(msg)
    state = {str(k): v for k, v in content.items() if isinstance(v, Tensor)}
    for prefix in ("module.", "model.", "backbone.", "network."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def read_torch_file(path: Path) -> Any:  # noqa: ANN401
    """Read tensors and plain values from a file, without running any code in it.

    Args:
        path: A ``.safetensors`` file, or one that PyTorch saved.

    Returns:
        What it holds, usually a dictionary.

    Raises:
        HasherError: If it is damaged, or holds anything else.
        OSError: If it cannot be opened.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with ignore_warnings():  # about formats that are refused anyway
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # of any type: PyTorch's reader has no error of its own
        # what PyTorch says advises to run the code
        msg = (
            f"{path} cannot be read as weights without running code from it: it is damaged, or "
            "holds more than tensors and plain values; get the file again, or save only its "
            "state_dict."
        )
        raise HasherError(msg) from error


def _pretrained(model: Any) -> tuple[str, dict[str, Tensor]]:  # noqa: ANN401 - checked when made
    if model == LITE0:
        return LITE0_WEIGHTS, lite0_state_dict()
    try:
        with _no_retries():
            network = create_network(model, 3, pretrained=True)
    except HasherError:
        raise
    except Exception as error:
        msg = (
            f"the weights of {model} cannot be downloaded ({_first_sentence(error)}); fetch "
            f"{file_to_fetch(model) or 'them'} in another way and pass weights=FILE, or use "
            f"{LITE0}, whose weights are installed."
        )
        raise HasherError(msg) from error
    return "timm", network.state_dict()


@contextmanager
def _no_retries() -> Iterator[None]:
    """Use only the hub's cache if the hub cannot be reached; it would retry for a minute."""
    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    offline = constants.HF_HUB_OFFLINE
    if not offline and not getproxies():
        port = address.port or (443 if address.scheme == "https" else 80)
        try:
            socket.create_connection((address.hostname, port), timeout=REACHED_WITHIN).close()
        except OSError:
            constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = offline


def _first_sentence(error: Exception) -> str:
    """Return what went wrong, without PyTorch's advice to run the code of a file."""
    return one_line(error).partition(". ")[0].rstrip(".")


def file_to_fetch(model: str) -> str:
    """Return the address of the file that timm downloads for a model; empty if it has none.

    Args:
        model: Name of a timm model.
    """
    import timm

    config = timm.get_pretrained_cfg(model)
    if config is None:
        return ""
    if config.hf_hub_id:
        name = config.hf_hub_filename or "model.safetensors"
        return f"https://huggingface.co/{config.hf_hub_id}/resolve/main/{name}"
    return str(config.url or "")


def _torchgeo_backbone(
    name: Any,  # noqa: ANN401 - TorchGeo's enum
    file: Path | None,
    *,
    in_chans: int | None,
    stages: Sequence[str],
    seed: int,
) -> Backbone:
    """Make the network of TorchGeo weights, and load them from a file, otherwise from their hub.

    Raises:
        BandMismatchError: If the tiles have another number of bands.
    """
    weights = TorchGeoWeights.find(name)
    weights.check()
    if in_chans is not None and in_chans != weights.in_chans:
        bands = ", ".join(map(str, weights.meta.get("bands", ()))) or "unnamed"
        msg = (
            f"{weights} need {weights.in_chans} bands ({bands}) but the tiles have {in_chans}; "
            "choose these bands, or weights for yours ('geohash-rs backbones --bands ...')."
        )
        raise BandMismatchError(msg)
    backbone = Backbone(
        weights.model,
        in_chans=weights.in_chans,
        stages=stages,
        image_size=weights.image_size,
        seed=seed,
    )
    _load_into(backbone, _torchgeo_state(weights, file), origin=str(file or weights))
    backbone.weights = str(weights)
    backbone.mean, backbone.std, backbone.raw_input = weights.statistics()
    backbone.input_size = weights.input_size or backbone.input_size
    return backbone


def _torchgeo_state(weights: TorchGeoWeights, file: Path | None) -> dict[str, Tensor]:
    """Read the tensors of TorchGeo weights, from a file or from their hub.

    Raises:
        HasherError: If they cannot be downloaded.
    """
    if file is not None:
        return read_state_dict(file)
    try:
        with redirect_stdout(sys.stderr):  # PyTorch says there what it downloads
            state: dict[str, Tensor] = weights.entry.get_state_dict(
                progress=False, weights_only=True
            )
    except Exception as error:  # of the network, the disk or PyTorch's reader
        msg = (
            f"{weights} cannot be downloaded, or read without running code from them "
            f"({_first_sentence(error)}); fetch {weights.entry.url} in another way and pass "
            f"weights=FILE next to the name {weights}."
        )
        raise HasherError(msg) from error
    return state


def _adapted(weight: Tensor, bands: Sequence[str], *, count: int) -> Tensor:
    """Adapt the weights of a first convolution, made for red, green and blue, to other bands.

    With near infrared, each of the three inputs is the mean of a colour picture's and of a false
    colour picture's (near infrared, red, green). Further bands are not seen.
    """
    meanings = meanings_of(bands)
    places = [
        next((meanings.index(name) for name in names if name in meanings), None) for names in SEEN
    ]
    if len(meanings) != count or None in places:
        from timm.models import adapt_input_conv

        adapted: Tensor = adapt_input_conv(count, weight)
        return adapted
    nir, red, green, blue = places
    seen = torch.zeros_like(weight[:, :1]).repeat(1, count, 1, 1)
    for channel, pair in enumerate(((red, nir), (green, red), (blue, green))):
        for place in pair:
            seen[:, place] += weight[:, channel] / 2
    return seen


def _load_into(
    backbone: Backbone, state: dict[str, Tensor], *, origin: str, bands: Sequence[str] = ()
) -> None:
    network = backbone.network
    if is_lite(state) and "efficientnet" in backbone.model_name:
        state = rename_lite(state, blocks=[len(stage) for stage in network.blocks])
    wanted = network.state_dict()
    first = getattr(network, "pretrained_cfg", {}).get("first_conv")
    first = f"{first}.weight" if isinstance(first, str) else None
    if first in state and first in wanted and state[first].shape[1] != backbone.in_chans:
        count = state[first].shape[1]
        if count != 3:
            msg = (
                f"the weights of {origin} need {count} bands but the tiles have "
                f"{backbone.in_chans}; only weights of three bands can be adapted. Use tiles with "
                f"{count} bands, or other weights."
            )
            raise BandMismatchError(msg)
        state = {**state, first: _adapted(state[first], bands, count=backbone.in_chans)}
        backbone.adapted = True
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    wrong = [k for k in wanted if k in state and wanted[k].shape != state[k].shape]
    extra = [k for k in state if k not in wanted and not k.startswith(AUXILIARY)]
    if missing or wrong or extra:
        example = (missing + wrong + extra)[0]
        msg = (
            f"the weights of {origin} do not match {backbone.model_name}: {len(missing)} tensors "
            f"missing, {len(wrong)} of another shape, {len(extra)} unknown, such as {example}; "
            "name the model that the weights were trained with."
        )
        raise HasherError(msg)
    network.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)
