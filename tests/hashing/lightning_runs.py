"""Small Lightning runs, and filters for the warnings that they cannot avoid."""

import pytest
from lightning.pytorch import Trainer

SMALL = {"model": "test_resnet", "weights": False, "num_bits": 16, "input_size": 32}
# Lightning and TorchGeo warn that loaders have few workers and that modules log rarely
TRAINING_WARNINGS = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*num_workers.*"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    # a few steps over random weights
    pytest.mark.filterwarnings("ignore::geohash_rs.hashing.train.validation.CodeCollapseWarning"),
    # a frozen backbone is in eval mode on purpose
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training"),
]


def trainer(path, **settings):
    return Trainer(
        default_root_dir=path, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip
