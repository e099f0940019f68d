"""TorchGeo's Lightning command line, with the classes of this package loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["run_lightning_cli"]


def run_lightning_cli(args: Sequence[str]) -> None:
    """Fit, validate or test with a YAML configuration, and save the hasher after fitting.

    The hasher has the weights of the last epoch, or of the best one if a `ModelCheckpoint`
    monitors a measure, such as ``monitor: val_map``.

    Args:
        args: Subcommand and its options, such as ``["fit", "--config", "train.yaml"]``.

    Raises:
        KeyboardInterrupt: If the run is interrupted.
        SystemExit: If the options are wrong.
    """
    from lightning.pytorch.cli import LightningCLI
    from torchgeo.datamodules import BaseDataModule

    import geohash_rs.hashing.data.balanced  # noqa: F401
    import geohash_rs.hashing.data.scene_module  # noqa: F401  (registers short class names)
    from geohash_rs._compat import base_task
    from geohash_rs.hashing.train.quiet import mute_talk
    from geohash_rs.hashing.train.task import HashingTask

    mute_talk()
    try:
        cli = LightningCLI(
            model_class=base_task(),
            datamodule_class=BaseDataModule,
            seed_everything_default=0,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            args=list(args),
        )
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning leaves with code 1
            raise end.__context__ from None
        raise
    if args and args[0] == "fit" and isinstance(cli.model, HashingTask):
        folder = Path(cli.trainer.log_dir or cli.trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        _take_best(cli.model, cli.trainer)
        cli.model.hasher().save(folder / "hasher.safetensors")


def _take_best(task: Any, trainer: Any) -> None:  # noqa: ANN401 - Lightning has no types here
    """Load the weights of the best checkpoint into a task, if a checkpoint monitors a measure."""
    import torch

    kept = trainer.checkpoint_callback
    if kept is None or kept.monitor is None or not kept.best_model_path:
        return
    state = torch.load(kept.best_model_path, map_location="cpu", weights_only=True)
    task.load_state_dict(state["state_dict"])
