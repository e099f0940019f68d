"""Train a hasher on your own tiles, one folder per class, and measure how well it retrieves them.

    python examples/03_your_class_folder.py TILES my-hasher.safetensors --cache features

Tiles are JPEG, PNG or GeoTIFF files with any number of bands. To practise, let TorchGeo download a
hundred tiles of ten classes into TILES:

    python -c "from torchgeo.datasets import EuroSAT100; EuroSAT100('TILES', download=True)"
"""

import argparse
from pathlib import Path

from lightning.pytorch import Trainer

from geohash_rs import ClassFolderDataModule, HashingTask
from geohash_rs.hashing import ClassFolders


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", help="folder with one folder per class")
    parser.add_argument("output", help="hasher to write, .safetensors")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--iterations", type=int, help="batches; default: the recipe's number")
    parser.add_argument("--cache", help="folder that keeps features for the next run")
    args = parser.parse_args()
    tiles = ClassFolders.open(args.root)
    print(f"{len(tiles)} tiles of {len(tiles.classes)} classes: {', '.join(tiles.classes)}")
    task = HashingTask(
        num_bits=args.bits,
        in_channels=len(tiles.read(0)),
        iterations=args.iterations,
        cache=args.cache,
    )
    data = ClassFolderDataModule(args.root)
    trainer = Trainer(max_epochs=5, accelerator="cpu", logger=False)
    trainer.fit(task, datamodule=data)
    (figures,) = trainer.test(task, datamodule=data, verbose=False)
    print(f"mAP@20 of the test part: {figures['test_map']:.3f}")
    task.hasher(name=Path(args.output).stem).save(args.output)


if __name__ == "__main__":
    main()
