"""Extra contents of checkpoints, so that a task restored from one makes the same codes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.backbones import Backbone

__all__ = ["FINE_TUNED", "keep_backbone", "restore_backbone"]

KEY = "geohash_rs"
FINE_TUNED = "fine-tuned"  # weights that differ from those of any package or file


def keep_backbone(
    checkpoint: dict[str, Any], backbone: Backbone, *, frozen: bool, loader: tuple[Any, Any]
) -> dict[str, Any]:
    """Store the source of the weights and the pixel statistics that they expect.

    TorchGeo leaves `weights` out of a checkpoint's settings, and its own weights may belong to
    a model other than the one in the settings.

    Args:
        checkpoint: The checkpoint that Lightning is about to save.
        backbone: The backbone.
        frozen: Whether its weights are unchanged since loading.
        loader: Mean that the data loader subtracts, and deviation that it divides by.

    Returns:
        The stored mapping, to which a task may add.
    """
    kept: dict[str, Any] = {
        "weights": backbone.weights if frozen else FINE_TUNED,
        "raw_input": backbone.raw_input,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "loader": [torch.as_tensor(values).tolist() for values in loader],
    }
    checkpoint[KEY] = kept
    known = checkpoint.get("hyper_parameters", {})
    checkpoint["hyper_parameters"] = {**known, "model": backbone.model_name}
    return kept


def restore_backbone(
    checkpoint: Mapping[str, Any], backbone: Backbone, *, own: Mapping[str, Tensor]
) -> dict[str, Any]:
    """Restore what `keep_backbone` stored; Lightning loads the tensors afterwards.

    Args:
        checkpoint: The saved checkpoint.
        backbone: The backbone, made with the same settings; changed in place.
        own: Tensors of the task.

    Returns:
        The stored mapping.

    Raises:
        TrainingError: If the checkpoint's tensors do not match the task's.
    """
    _check_tensors(own, checkpoint)
    kept: dict[str, Any] = checkpoint[KEY]
    backbone.weights, backbone.raw_input = kept["weights"], kept["raw_input"]
    backbone.mean, backbone.std = tuple(kept["mean"]), tuple(kept["std"])
    return kept


def _check_tensors(own: Mapping[str, Tensor], checkpoint: Mapping[str, Any]) -> None:
    found = checkpoint["state_dict"]
    wrong = [k for k in own if k not in found or found[k].shape != own[k].shape]
    wrong += [k for k in found if k not in own]
    if wrong:
        settings = checkpoint.get("hyper_parameters", {})
        msg = (
            f"the checkpoint belongs to another network: {len(wrong)} of {len(own)} tensors differ,"
            f" such as {wrong[0]}; it was made with model={settings.get('model')!r}, "
            f"num_bits={settings.get('num_bits')}, stages={settings.get('stages')}, "
            f"components={settings.get('components')}; make the task with the same settings."
        )
        raise TrainingError(msg)
