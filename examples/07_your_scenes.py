"""Train a hasher on your own scenes, with labelled polygons or without any label.

    python examples/07_your_scenes.py scenes/ mine.safetensors --labels landuse.gpkg --column class
    python examples/07_your_scenes.py scenes/ mine.safetensors

To practise without labels, `geohash-rs demo` makes scenes in geohash-demo/scenes.
Then: geohash-rs index scenes/ --archive archive --hasher mine.safetensors --tile-size 64
"""

import argparse

from lightning.pytorch import Trainer

from geohash_rs import HashingTask, LabelledSceneDataModule, Scenes, fit_on_scenes


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
    parser.add_argument("--iterations", type=int, help="batches; default: the recipe's number")
    parser.add_argument("--cache", help="folder that keeps features for the next run")
    args = parser.parse_args()
    name = args.output.removesuffix(".safetensors")
    if args.labels is None:
        hasher = fit_on_scenes(
            Scenes(args.scenes),
            tile_size=args.tile_size,
            num_bits=args.bits,
            near_km=args.near_km,
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
        iterations=args.iterations,
        cache=args.cache,
    )
    trainer = Trainer(max_epochs=5, accelerator="cpu", logger=False)
    trainer.fit(task, datamodule=data)
    (figures,) = trainer.test(task, datamodule=data, verbose=False)
    print(f"mAP@20 of the test part: {figures['test_map']:.3f}")
    task.hasher(name=name).save(args.output)


if __name__ == "__main__":
    main()
