"""Mute Lightning's warnings and tips about runs in which nothing is wrong."""

import logging
import warnings

__all__ = ["mute_talk", "mute_warnings"]

# https://github.com/Lightning-AI/pytorch-lightning/tree/master/src/lightning/pytorch
EXPECTED = (
    # loops/fit_loop.py; a frozen backbone stays in eval mode on purpose
    r"Found \d+ module\(s\) in eval mode at the start of training",
    # loops/fit_loop.py; class folders have few batches, and a run without a logger logs nothing
    r"The number of training batches \(\d+\) is smaller than the logging interval",
    # trainer/connectors/data_connector.py; our default, since features are computed once
    r"The '\w+' does not have many workers",
    # utilities/data.py; balanced batches know their number and need no second process
    r"Your `IterableDataset` has `__len__` defined",
    # trainer/connectors/logger_connector/logger_connector.py; a log in CSV is what we want
    r"Starting from v1\.9\.0, `tensorboardX` has been removed",
    # utilities/_pytree.py; Lightning calls a function that PyTorch 2.9 deprecated
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)

TALK = (
    "Tip:",  # utilities/_logging.py and others: advertisements of other packages
    "TPU available",  # trainer/setup.py; Lightning looks for it on every machine
    "HPU available",
    "to estimate number of stepping batches",  # trainer/trainer.py; schedules need the number
    "Detected KeyboardInterrupt",  # trainer/call.py
)


def mute_warnings() -> None:
    """Ignore the warnings that every run of a `HashingTask` would cause, and no others."""
    for message in EXPECTED:
        warnings.filterwarnings("ignore", message)


def mute_talk() -> None:
    """Leave out what Lightning reports that is not about the run, or that the command reports."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_about_the_run)
    # cli.py; the options of this command are those of the process
    warnings.filterwarnings("ignore", r"LightningCLI's args parameter is intended to run from")
    # callbacks/model_checkpoint.py; a command that is run again replaces what it wrote
    warnings.filterwarnings("ignore", r"Checkpoint directory .* exists and is not empty")


def _is_about_the_run(record: logging.LogRecord) -> bool:
    text = str(record.msg)
    return not any(words in text for words in TALK)
