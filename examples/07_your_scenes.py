"""Train a hasher on your own scenes, with labelled polygons or without any label.

    python examples/07_your_scenes.py scenes/ mine.safetensors --labels landuse.gpkg --column class
    python examples/07_your_scenes.py scenes/ mine.safetensors

Then: geohash-rs index scenes/ --archive archive --hasher mine.safetensors --tile-size 64
"""

import argparse

from lightning.pytorch import Trainer

from geohash_rs import HashingTask, LabelledSceneDataModule, Scenes, fit_on_scenes
from geohash_rs.hashing import VIEWS, BalancedBatches


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", help="folder of GeoTIFFs")
    parser.add_argument("output", help="hasher to write, .safetensors")
    parser.add_argument("--labels", help="vector file of polygons, in any CRS")
    parser.add_argument("--column", default="class", help="column of the class in that file")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--tile-size", type=int, default=64, help="px of a tile")
    parser.add_argument("--block-km", type=float, default=5, help="side of the blocks of the split")
    parser.add_argument("--near-km", type=float, default=2, help="closer tiles count as alike")
    parser.add_argument("--views", type=int, default=4, help="flips and turns of a tile, 1 to 8")
    parser.add_argument("--epochs", type=int, default=10, help="each of 100 batches")
    parser.add_argument("--cache", help="folder that keeps features for the next run")
    args = parser.parse_args()
    name = args.output.removesuffix(".safetensors")
    if args.labels is None:
        hasher = fit_on_scenes(
            Scenes(args.scenes),
            tile_size=args.tile_size,
            num_bits=args.bits,
            near_km=args.near_km,
            views=VIEWS[: args.views],
            cache=args.cache,
            name=name,
        )
        print(f"learned from {hasher.notes['fitted_on']}")
        hasher.save(args.output)
        return
    data = LabelledSceneDataModule(
        args.scenes,
        args.labels,
        column=args.column,
        tile_size=args.tile_size,
        block_km=args.block_km,
    )
    data.setup("fit")
    print({name: part["label"].value_counts().to_dict() for name, part in data.footprints.items()})
    task = HashingTask(
        num_bits=args.bits,
        in_channels=len(data.train_dataset[0]["image"]),
        num_classes=len(data.classes),
        proxy=0.3,
        train_views=VIEWS[: args.views],
        schedule="cosine",
    )
    batches = BalancedBatches(data, cache=args.cache, num_batches=100)
    trainer = Trainer(max_epochs=args.epochs, accelerator="cpu", logger=False)
    trainer.fit(task, datamodule=batches)
    (figures,) = trainer.test(task, datamodule=batches, verbose=False)
    print(f"mAP@20 of the test part: {figures['test_map']:.3f}")
    task.hasher(name=name).save(args.output)


if __name__ == "__main__":
    main()
