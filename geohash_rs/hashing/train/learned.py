"""What a task has learned, as hashers."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.backbones import load_backbone
from geohash_rs.hashing.network.heads import LinearHead, MiLaN
from geohash_rs.hashing.train.checkpoints import FINE_TUNED

if TYPE_CHECKING:
    from geohash_rs.hashing.train.task import HashingTask

__all__ = ["feature_hasher", "learned_hasher"]


def feature_hasher(task: "HashingTask") -> Hasher:
    """Give a hasher whose features are those of a task's backbone.

    Args:
        task: The task; Lightning says where it will run before the data module is set up.

    Returns:
        A hasher that shares the backbone, on the task's device; its head is not trained.
    """
    return Hasher(
        task.backbone,
        LinearHead(task.backbone.num_features, 8),
        scaling=task.pixels.scaling(),
        bands=task.band_names,
        tile_size=task.tile_size or task.network_size,
        input_size=task.network_size,
        device=task.device,
    )


def learned_hasher(task: "HashingTask", *, name: str, notes: Mapping[str, Any] | None) -> Hasher:
    """Give backbone and head of a task with its preprocessing.

    Args:
        task: The task.
        name: A name for people.
        notes: What the description shall carry.

    Returns:
        A hasher with copies of the networks.
    """
    backbone = load_backbone(
        task.backbone.model_name,
        weights=False,
        in_chans=task.hparams["in_channels"],
        stages=task.backbone.stages,
    )
    backbone.load_state_dict(task.backbone.state_dict())
    frozen = task.hparams["freeze_backbone"]
    backbone.weights = task.backbone.weights if frozen else FINE_TUNED
    head = MiLaN(**{**task.head.settings, "hidden": tuple(task.head.hidden)})
    head.load_state_dict(task.head.state_dict())
    return Hasher(
        backbone,
        head,
        scaling=task.pixels.scaling(),
        bands=task.band_names,
        tile_size=task.tile_size or task.network_size,
        input_size=task.network_size,
        views=task.hparams["views"],
        name=name,
        notes=notes,
    )
