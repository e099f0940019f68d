"""TorchGeo's Lightning command line, with the classes of this package loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geohash_rs.errors import HasherError

__all__ = ["check_checkpoint", "run_lightning_cli"]


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

    class SafeCLI(LightningCLI):  # type: ignore[misc]  # it has no types here
        """Loads checkpoints without running code from them."""

        def before_instantiate_classes(self) -> None:
            chosen = self.config[self.subcommand] if self.subcommand else self.config
            check_checkpoint(chosen.get("ckpt_path"))
            chosen["weights_only"] = True

    try:
        cli = SafeCLI(
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


def check_checkpoint(path: object) -> None:
    """Check that a checkpoint is a file on this machine.

    Args:
        path: What the user passed, or None.

    Raises:
        HasherError: If it is an address; a checkpoint is never fetched.
    """
    if path is not None and "://" in str(path):
        msg = f"ckpt_path is {path}, but checkpoints are read from files only; download it first."
        raise HasherError(msg)


def _take_best(task: Any, trainer: Any) -> None:  # noqa: ANN401 - Lightning has no types here
    """Load the weights of the best checkpoint into a task, if a checkpoint monitors a measure."""
    import torch

    kept = trainer.checkpoint_callback
    if kept is None or kept.monitor is None or not kept.best_model_path:
        return
    state = torch.load(kept.best_model_path, map_location="cpu", weights_only=True)
    task.load_state_dict(state["state_dict"])
