"""TorchGeo's Lightning command line, with the classes of this package loaded."""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["run_lightning_cli"]


def run_lightning_cli(args: Sequence[str]) -> None:
    """Fit, validate or test by a YAML configuration, and save the hasher after a fit.

    Args:
        args: Subcommand and its options, such as ``["fit", "--config", "train.yaml"]``.
    """
    from lightning.pytorch.cli import LightningCLI
    from torchgeo.datamodules import BaseDataModule

    import geohash_rs.hashing.balanced  # noqa: F401
    import geohash_rs.hashing.scene_datamodule  # noqa: F401  (lets short class names be found)
    from geohash_rs._compat import base_task
    from geohash_rs.hashing.task import HashingTask

    cli = LightningCLI(
        model_class=base_task(),
        datamodule_class=BaseDataModule,
        seed_everything_default=0,
        subclass_mode_model=True,
        subclass_mode_data=True,
        save_config_kwargs={"overwrite": True},
        args=list(args),
    )
    if args and args[0] == "fit" and isinstance(cli.model, HashingTask):
        folder = Path(cli.trainer.log_dir or cli.trainer.default_root_dir)
        folder.mkdir(parents=True, exist_ok=True)
        cli.model.hasher().save(folder / "hasher.safetensors")
