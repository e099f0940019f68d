"""Lightning's loop and `train_head` make the same head, with the same pieces."""

import pytest
import torch
from lightning.pytorch import Callback

from geohash_rs.hashing.data.class_folder_module import ClassFolderDataModule
from geohash_rs.hashing.train.losses import MiLaNLoss
from geohash_rs.hashing.train.on_features import train_head
from geohash_rs.hashing.train.task import HashingTask
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS, trainer

pytestmark = TRAINING_WARNINGS


class AsInTrainHead(Callback):
    """Start a task with the first weights and random numbers of `train_head`."""

    def __init__(self, seed):
        self.seed = seed

    def on_train_start(self, trainer, task):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            new = task.recipe.head.make(task.head.num_features, task.head.num_bits)
            loss = MiLaNLoss(task.recipe.loss, num_bits=task.head.num_bits, num_classes=3)
            state = torch.get_rng_state()
        trained = dict(new.named_parameters())
        task.head.load_state_dict(trained, strict=False)
        task.criterion.load_state_dict(loss.state_dict())
        torch.set_rng_state(state)


@pytest.mark.parametrize("recipe", ["milan", "milan-open"])
def test_a_trainer_makes_the_head_that_train_head_makes(folder, tmp_path, recipe):
    data = ClassFolderDataModule(str(folder), size=40)
    torch.manual_seed(5)
    task = HashingTask(**SMALL, recipe=recipe, samples_per_class=4)
    trainer(tmp_path, max_epochs=4, callbacks=[AsInTrainHead(5)]).fit(task, datamodule=data)
    found = task.batches.features("train")
    head, _ = train_head(
        found.features, found.labels, num_bits=task.head.num_bits, recipe=task.recipe, seed=5
    )
    for (name, one), other in zip(
        task.head.state_dict().items(), head.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name
