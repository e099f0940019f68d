"""Train a hasher on your own tiles, one folder per class, and measure how well it retrieves them.

    python examples/03_your_class_folder.py data/eurosat_rgb my-hasher.safetensors

Tiles are JPEG, PNG or GeoTIFF files with any number of bands. EuroSAT RGB, for example, is at
https://github.com/phelber/EuroSAT.
"""

import argparse

from lightning.pytorch import Trainer

from geohash_rs import ClassFolderDataModule, HashingTask
from geohash_rs.hashing import VIEWS, BalancedBatches, ClassFolders


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", help="folder with one folder per class")
    parser.add_argument("output", help="hasher to write, .safetensors")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--tile-size", type=int, help="px to resize tiles to; default: as they are")
    parser.add_argument("--input-size", type=int, default=128, help="input size of the network, px")
    parser.add_argument("--views", type=int, default=4, help="flips and turns of a tile, 1 to 8")
    parser.add_argument("--epochs", type=int, default=10, help="each of 100 batches")
    parser.add_argument("--cache", help="folder that keeps features for the next run")
    args = parser.parse_args()
    tiles = ClassFolders.open(args.root)
    print(f"{len(tiles)} tiles of {len(tiles.classes)} classes: {', '.join(tiles.classes)}")
    task = HashingTask(
        num_bits=args.bits,
        in_channels=len(next(tiles.batches(size=1))[0]),
        num_classes=len(tiles.classes),
        proxy=0.3,
        input_size=args.input_size,
        train_views=VIEWS[: args.views],
        schedule="cosine",
    )
    data = ClassFolderDataModule(args.root, size=args.tile_size)
    batches = BalancedBatches(data, cache=args.cache, num_batches=100)
    trainer = Trainer(max_epochs=args.epochs, accelerator="cpu", logger=False)
    trainer.fit(task, datamodule=batches)
    (figures,) = trainer.test(task, datamodule=batches, verbose=False)
    print(f"mAP@20 of the test part: {figures['test_map']:.3f}")
    task.hasher(name=args.output.removesuffix(".safetensors")).save(args.output)


if __name__ == "__main__":
    main()
