"""What a checkpoint keeps beside tensors, so that a task read from it gives the same codes."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.train.loader_pixels import LoaderPixels

if TYPE_CHECKING:
    from geohash_rs.hashing.train.task import HashingTask

__all__ = ["FINE_TUNED", "keep_settings", "restore_settings"]

KEY = "geohash_rs"
FINE_TUNED = "fine-tuned"  # weights that are those of no package or file any more


def keep_settings(task: "HashingTask", checkpoint: dict[str, Any]) -> None:
    """Write where the weights came from, and what pixels they expect.

    TorchGeo leaves `weights` out of the settings of a checkpoint, and its own weights bring another
    model than the settings name.

    Args:
        task: The task.
        checkpoint: What Lightning is about to save.
    """
    backbone = task.backbone
    checkpoint[KEY] = {
        "tile_size": task.tile_size,
        "weights": backbone.weights if task.hparams["freeze_backbone"] else FINE_TUNED,
        "raw_input": backbone.raw_input,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "loader": [torch.as_tensor(values).tolist() for values in task.loader_statistics()],
    }
    known = checkpoint.get("hyper_parameters", {})
    checkpoint["hyper_parameters"] = {**known, "model": backbone.model_name}


def restore_settings(task: "HashingTask", checkpoint: Mapping[str, Any]) -> None:
    """Take from a checkpoint what `keep_settings` wrote, and refuse one of another network.

    Args:
        task: The task, whose tensors are loaded afterwards.
        checkpoint: What was saved.

    Raises:
        TrainingError: If its tensors are not those of this task.
    """
    _check_tensors(task.state_dict(), checkpoint)
    kept = checkpoint[KEY]
    backbone = task.backbone
    backbone.weights, backbone.raw_input = kept["weights"], kept["raw_input"]
    backbone.mean, backbone.std = tuple(kept["mean"]), tuple(kept["std"])
    task.pixels = LoaderPixels(backbone, scaling=None).to(task.device)  # its range is a tensor
    task.loader = tuple(kept["loader"])
    task.tile_size = kept["tile_size"]


def _check_tensors(own: Mapping[str, Tensor], checkpoint: Mapping[str, Any]) -> None:
    found = checkpoint["state_dict"]
    wrong = [k for k in own if k not in found or found[k].shape != own[k].shape]
    wrong += [k for k in found if k not in own]
    if wrong:
        settings = checkpoint.get("hyper_parameters", {})
        msg = (
            f"the checkpoint is of another network: {len(wrong)} of {len(own)} tensors differ, "
            f"such as {wrong[0]}; it was made with model={settings.get('model')!r}, "
            f"num_bits={settings.get('num_bits')}, stages={settings.get('stages')}, "
            f"components={settings.get('components')}; make the task with the same settings."
        )
        raise TrainingError(msg)
