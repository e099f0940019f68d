"""Train a hasher in a TorchGeo script; three lines differ from a script that classifies.

    python examples/02_torchgeo_script.py data/ucmerced [EPOCHS]

With `download=True`, UCMercedDataModule fetches UC Merced into that folder.
"""

import sys

from lightning.pytorch import Trainer
from torchgeo.datamodules import UCMercedDataModule

from geohash_rs import HashingTask
from geohash_rs.hashing import BalancedBatches


def main(root, max_epochs=20):
    datamodule = UCMercedDataModule(root=root, batch_size=64)
    task = HashingTask(num_bits=64)  # was: ClassificationTask(...)
    datamodule = BalancedBatches(datamodule, cache="features")  # optional: compute features once
    trainer = Trainer(max_epochs=max_epochs, accelerator="cpu", logger=False)
    trainer.fit(task, datamodule=datamodule)
    trainer.test(task, datamodule=datamodule)
    task.hasher(name="ucmerced-64").save("my-hasher.safetensors")
    # geohash-rs index SCENES --archive archive --hasher my-hasher.safetensors


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
