"""Extra contents of checkpoints, so that a task restored from one makes the same codes."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.pretrained import read_torch_file

__all__ = ["FINE_TUNED", "check_checkpoint", "keep_backbone", "restore_backbone"]

KEY = "geohash_rs"
FINE_TUNED = "fine-tuned"  # weights that differ from those of any package or file
# What Lightning takes from a checkpoint without looking at its type.
PARTS: Mapping[str, type] = {
    "state_dict": dict,
    "pytorch-lightning_version": str,
    "hyper_parameters": dict,
    "epoch": int,
    "global_step": int,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}
SHAPE = ("model", "num_bits", "stages", "components")  # settings that the tensors depend on
NEEDED = ("state_dict", "pytorch-lightning_version")
KEPT: Mapping[str, type] = {
    "weights": str,
    "raw_input": bool,
    "mean": list,
    "std": list,
    "loader": list,
    "tile_size": int,
}


def check_checkpoint(path: str | os.PathLike[str]) -> None:
    """Check that a path is that of a checkpoint on this machine, before Lightning reads it.

    Args:
        path: Where it should be; addresses are refused, since Lightning would fetch them.

    Raises:
        TrainingError: If there is no such file, or it is not a checkpoint.
        HasherError: If it cannot be read without running code from it.
    """
    if not Path(path).is_file():
        msg = (
            f"there is no checkpoint {os.fspath(path)}; checkpoints are read from files only, so "
            "download it first."
        )
        raise TrainingError(msg)
    content = read_torch_file(Path(path))
    found = content if isinstance(content, dict) else {}
    wrong = [name for name in NEEDED if name not in found]
    wrong += [name for name, kind in PARTS.items() if not isinstance(found.get(name, kind()), kind)]
    if wrong:
        msg = (
            f"{os.fspath(path)} is not a checkpoint of Lightning: {wrong[0]} is missing or of "
            "another type; pass a file that 'geohash-rs fit' or a Trainer saved."
        )
        raise TrainingError(msg)


def keep_backbone(
    checkpoint: dict[str, Any],
    backbone: Backbone,
    *,
    frozen: bool,
    loader: tuple[Any, Any],
    loss: nn.Module | None,
) -> dict[str, Any]:
    """Store the source of the weights and the pixel statistics that they expect.

    TorchGeo leaves `weights` out of a checkpoint's settings, and its own weights may belong to
    a model other than the one in the settings.

    Args:
        checkpoint: The checkpoint that Lightning is about to save.
        backbone: The backbone.
        frozen: Whether its weights are unchanged since loading.
        loader: Mean that the data loader subtracts, and deviation that it divides by.
        loss: The task's own loss, or None for MiLaN's; its name is stored.

    Returns:
        The stored mapping, to which a task may add.
    """
    kept: dict[str, Any] = {
        "weights": backbone.weights if frozen else FINE_TUNED,
        "raw_input": backbone.raw_input,
        "mean": list(backbone.mean),
        "std": list(backbone.std),
        "loader": [torch.as_tensor(values).tolist() for values in loader],
        "loss": _name(loss),
    }
    checkpoint[KEY] = kept
    known = {**checkpoint.get("hyper_parameters", {}), "model": backbone.model_name}
    checkpoint["hyper_parameters"] = known
    kept["shape"] = {name: known.get(name) for name in SHAPE}
    return kept


def restore_backbone(
    checkpoint: Mapping[str, Any],
    backbone: Backbone,
    *,
    own: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    loss: nn.Module | None,
) -> dict[str, Any]:
    """Restore what `keep_backbone` stored; Lightning loads the tensors afterwards.

    Args:
        checkpoint: The saved checkpoint.
        backbone: The backbone, made with the same settings; changed in place.
        own: Tensors of the task.
        settings: Settings of the task.
        loss: The task's own loss, or None for MiLaN's.

    Returns:
        The stored mapping.

    Raises:
        TrainingError: If the checkpoint's tensors do not match the task's, it was trained with
            another loss, or what was stored with the tensors is missing.
    """
    _check_tensors(own, checkpoint, settings=settings, loss=loss)
    kept = checkpoint.get(KEY)
    if not isinstance(kept, dict) or any(
        not isinstance(kept.get(name), kind) for name, kind in KEPT.items()
    ):
        msg = f"the checkpoint lacks {KEY!r}, which HashingTask stores; use one that it made."
        raise TrainingError(msg)
    backbone.weights, backbone.raw_input = kept["weights"], kept["raw_input"]
    backbone.mean, backbone.std = tuple(kept["mean"]), tuple(kept["std"])
    return kept


def _name(loss: nn.Module | None) -> str:
    return "" if loss is None else type(loss).__name__


def _check_tensors(
    own: Mapping[str, Tensor],
    checkpoint: Mapping[str, Any],
    *,
    settings: Mapping[str, Any],
    loss: nn.Module | None,
) -> None:
    found, kept = checkpoint["state_dict"], checkpoint.get(KEY) or {}
    wrong = [k for k, t in own.items() if getattr(found.get(k), "shape", None) != t.shape]
    wrong += [k for k in found if k not in own]
    if not wrong:
        return
    trained, given = kept.get("loss", ""), _name(loss)
    if all(name.startswith("criterion.") for name in wrong) and trained != given:
        before = f"loss={trained}, whose class it does not hold" if trained else "MiLaN's loss"
        remedy = f"pass loss={trained}(...) again" if trained else f"leave out loss={given}"
        msg = f"the checkpoint was trained with {before}; {remedy}."
        raise TrainingError(msg)
    # Lightning has replaced the settings by those that were passed, except in what is kept
    made = kept.get("shape") or checkpoint.get("hyper_parameters", {})
    before = ", ".join(f"{name}={made.get(name)!r}" for name in SHAPE)
    now = ", ".join(
        f"{name}={settings.get(name)!r}"
        for name in SHAPE
        if settings.get(name) != made.get(name) and name in settings
    )
    msg = (
        f"the checkpoint belongs to another network: {len(wrong)} of {len(own)} tensors differ,"
        f" such as {wrong[0]}; it was made with {before}, the task with {now or 'the same'}; make "
        "the task with the same settings."
    )
    raise TrainingError(msg)
