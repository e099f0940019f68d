"""Train a hasher on class folders by a named recipe: how the shipped ones were made.

    python examples/train_shipped.py UCMERCED_ROOT ucmerced-64.safetensors --protocol paper
    python examples/train_shipped.py EUROSAT_RGB_ROOT eurosat-rgb-64.safetensors \
        --protocol spatial --input-size 192 --train-views 4

Only the training part of the protocol is seen; the figures in the file are of the rest.
"""

import argparse
import json

from geohash_rs.evaluate import make_trials
from geohash_rs.evaluate.run import make_features, measure_head
from geohash_rs.hashing import Hasher
from geohash_rs.hashing.class_folders import ClassFolders
from geohash_rs.hashing.recipes import RECIPES
from geohash_rs.hashing.training import train_head
from geohash_rs.hashing.views import VIEWS


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root")
    parser.add_argument("output")
    parser.add_argument("--protocol", default="paper", choices=["paper", "spatial"])
    parser.add_argument("--recipe", default="milan", choices=list(RECIPES))
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--input-size", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=3000)
    parser.add_argument("--train-views", type=int, default=8, help="views that training draws from")
    parser.add_argument("--cache")
    parser.add_argument("--data", default="", help="what the tiles are, for the model card")
    parser.add_argument("--licence", default="MIT", help="licence of the weights")
    args = parser.parse_args()
    tiles = ClassFolders.open(args.root)
    recipe = RECIPES[args.recipe].with_(
        input_size=args.input_size,
        iterations=args.iterations,
        train_views=VIEWS[: args.train_views],
    )
    features = make_features(tiles, recipe, cache=args.cache)
    (trial,) = make_trials(tiles, args.protocol)
    head, _ = train_head(
        features.of(trial.train, recipe.train_views),
        tiles.tensor_labels(trial.train),
        num_bits=args.bits,
        recipe=recipe,
    )
    head.round_weights()
    figures = measure_head(features, head, recipe.views, tiles.labels, trial)
    base = features.hasher
    hasher = Hasher(
        base.backbone,
        head,
        scaling=base.scaling,
        bands=base.bands,
        tile_size=base.tile_size,
        input_size=base.input_size,
        views=recipe.views,
        name=args.output.rsplit("/", 1)[-1].removesuffix(".safetensors"),
        notes={
            "data": args.data or tiles.root.name,
            "classes": list(tiles.classes),
            "split": f"protocol {args.protocol}: {len(trial.train)} tiles train, "
            f"{len(trial.queries)} are queries and archive",
            "figures": {key: round(value, 4) for key, value in figures.items()},
            "licence": args.licence,
        },
    )
    hasher.save(args.output)
    print(json.dumps(hasher.description["notes"], indent=2))


if __name__ == "__main__":
    main()
