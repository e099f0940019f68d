"""TorchGeo's Lightning command line, with the classes of this package loaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Any

from geohash_rs.errors import GeoHashRSError, TrainingError, one_line

__all__ = ["Fitted", "run_lightning_cli"]

OWN = ("best", "last", "hpc")  # what Lightning calls checkpoints of the same run
RESTORING = "checkpoint_connector"  # Lightning's module that reads the parts of a checkpoint


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit has written.

    Attributes:
        hasher: The hasher's file.
        epoch: What its weights are of, such as "the last epoch".
        checkpoint: The checkpoint of these weights, or None if the trainer saved none.
    """

    hasher: Path
    epoch: str
    checkpoint: Path | None


def run_lightning_cli(args: Sequence[str]) -> Fitted | None:
    """Fit, validate or test with a YAML configuration, and save the hasher after fitting.

    The hasher has the weights of the last epoch, or of the best one if a `ModelCheckpoint`
    monitors a measure, such as ``monitor: val_map``.

    The configuration chooses the model, whatever class and settings a checkpoint names.

    Args:
        args: Subcommand and its options, such as ``["fit", "--config", "train.yaml"]``.

    Returns:
        The files of a fit of a `HashingTask`; None after another subcommand or of another task, and
        in all processes of a distributed run but the first.

    Raises:
        TrainingError: If `ckpt_path` is not that of a checkpoint on this machine, or the run cannot
            resume from it.
        HasherError: If a checkpoint cannot be read without running code from it.
        KeyboardInterrupt: If the run is interrupted.
        SystemExit: If the options are wrong.
    """
    from lightning.pytorch.cli import LightningCLI
    from torchgeo.datamodules import BaseDataModule

    import geohash_rs.hashing.data.balanced  # noqa: F401
    import geohash_rs.hashing.data.scene_module  # noqa: F401  (registers short class names)
    from geohash_rs._compat import base_task
    from geohash_rs.hashing.train.checkpoints import check_checkpoint
    from geohash_rs.hashing.train.quiet import mute_talk
    from geohash_rs.hashing.train.task import HashingTask

    mute_talk()

    class SafeCLI(LightningCLI):  # type: ignore[misc]  # it has no types here
        """Loads checkpoints without running code from them."""

        def parse_arguments(self, parser: Any, args: Any) -> None:  # noqa: ANN401
            super().parse_arguments(parser, args)
            chosen = self.config[self.config["subcommand"]]
            self.checkpoint = chosen.get("ckpt_path")
            if self.checkpoint is not None and str(self.checkpoint) not in OWN:
                check_checkpoint(self.checkpoint)
            # hidden from what follows, which would import the class that a checkpoint names
            chosen["ckpt_path"] = None

        def before_instantiate_classes(self) -> None:
            chosen = self.config[self.subcommand]
            chosen["ckpt_path"], chosen["weights_only"] = self.checkpoint, True

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
    except Exception as error:
        frames = extract_tb(error.__traceback__)
        known = isinstance(error, GeoHashRSError)
        if known or not any(RESTORING in frame.filename for frame in frames):
            raise
        msg = (
            f"the run cannot resume from the checkpoint ({type(error).__name__}: "
            f"{one_line(error)}); pass one that was saved with the same configuration."
        )
        raise TrainingError(msg) from error
    if not args or args[0] != "fit" or not isinstance(cli.model, HashingTask):
        return None
    folder = Path(cli.trainer.log_dir or cli.trainer.default_root_dir)
    folder.mkdir(parents=True, exist_ok=True)
    epoch = _take_best(cli.model, cli.trainer)
    cli.model.hasher().save(folder / "hasher.safetensors")
    kept = cli.trainer.checkpoint_callback
    saved = kept and (kept.best_model_path or kept.last_model_path)
    if not cli.trainer.is_global_zero:
        return None
    return Fitted(
        hasher=folder / "hasher.safetensors",
        epoch=epoch,
        checkpoint=Path(saved) if saved else None,
    )


def _take_best(task: Any, trainer: Any) -> str:  # noqa: ANN401 - Lightning has no types here
    """Load the weights of the best checkpoint into a task, if a checkpoint monitors a measure.

    Returns:
        What the weights are of.
    """
    import torch
    from lightning.pytorch.utilities import rank_zero_info

    from geohash_rs.hashing.train.worth import worth_line

    kept = trainer.checkpoint_callback
    if kept is None or kept.monitor is None or not kept.best_model_path:
        return "the last epoch"
    state = torch.load(kept.best_model_path, map_location="cpu", weights_only=True)
    task.load_state_dict(state["state_dict"])
    worth = task.weigh()  # for the card
    if worth is not None:
        rank_zero_info(f"The best epoch is saved. {worth_line(worth)}")
    return f"the best epoch by {kept.monitor}"
