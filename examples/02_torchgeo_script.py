"""Train a hasher in a TorchGeo script; two lines differ from a script that classifies.

    python examples/02_torchgeo_script.py [FOLDER]

UC Merced is downloaded into FOLDER, by default data/ucmerced, unless it is there.
"""

import sys

from lightning.pytorch import Trainer
from torchgeo.datamodules import UCMercedDataModule

from geohash_rs import HashingTask


def main(root="data/ucmerced", **settings):
    datamodule = UCMercedDataModule(root=root, download=True)
    task = HashingTask(num_bits=64, cache="features", **settings)  # was: ClassificationTask(...)
    trainer = Trainer(max_epochs=6, accelerator="cpu", logger=False)
    trainer.fit(task, datamodule=datamodule)
    trainer.test(task, datamodule=datamodule)
    task.hasher(name="ucmerced-64").save("my-hasher.safetensors")  # for geohash-rs index --hasher


if __name__ == "__main__":
    main(*sys.argv[1:])
