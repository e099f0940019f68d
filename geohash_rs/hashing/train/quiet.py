"""Mute Lightning's warnings and tips about runs in which nothing is wrong."""

import logging
import warnings

__all__ = ["mute_tips", "mute_warnings"]

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
    # utilities/_pytree.py; Lightning calls a function that PyTorch 2.9 deprecated
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


def mute_warnings() -> None:
    """Ignore the warnings that every run of a `HashingTask` would cause, and no others."""
    for message in EXPECTED:
        warnings.filterwarnings("ignore", message)


def mute_tips() -> None:
    """Leave out Lightning's advertisements of other packages."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_no_tip)


def _is_no_tip(record: logging.LogRecord) -> bool:
    return "Tip:" not in str(record.msg)
