"""Train by ``HashingTask()`` and by `train_head` on the same tiles; compare their mAP and time.

    python -m tests.benchmarks.training FOLDER [FOLDER ...] [--most 20] [--bits 64] [--seeds 3]

Each folder holds one folder per class. 60 % of every class train, 10 % validate, the others are
queries and archive. Prints a Markdown table of seconds and mAP@20: seconds for the features of
the training and validation part, then for the same steps in Lightning and in `train_head`. The last
four columns are what the task itself reports of the validation part.
"""

import argparse
import logging
import tempfile
import time
import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer, seed_everything

from geohash_rs import ClassFolderDataModule, HashingTask
from geohash_rs.hashing import get_recipe, train_head
from geohash_rs.hashing.train.validation import ranking_values


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--most", type=int, nargs="*", default=[0], help="tiles a class; 0 for all")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print("| data | tiles | seed | features, s | Trainer.fit, s | train_head, s |", end="")
    print(" HashingTask() | train_head | trained | general | float | classifier |")
    print("|" + "---|" * 12)
    for folder in args.folders:
        for most in args.most:
            for seed in range(args.seeds):
                with tempfile.TemporaryDirectory() as made:
                    root = linked(folder, Path(made), most=most)
                    print(measure(folder.name, root, bits=args.bits, seed=seed), flush=True)


def linked(folder, target, *, most):
    """Link some tiles of each class of a folder into another; all if there is no limit."""
    if not most:
        return folder
    for kind in sorted(path for path in folder.iterdir() if path.is_dir()):
        (target / kind.name).mkdir()
        for path in sorted(kind.iterdir())[:most]:
            (target / kind.name / path.name).symlink_to(path.resolve())
    return target


def measure(name, root, *, bits, seed):
    """Train both ways and return a row of the table."""
    data = ClassFolderDataModule(str(root), fractions=(0.6, 0.1), seed=seed)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {"enable_model_summary": False, "accelerator": "cpu"}
    begun = time.perf_counter()
    Trainer(max_epochs=1, **quiet).fit(HashingTask(num_bits=bits, iterations=1), datamodule=data)
    times = [time.perf_counter() - begun]
    seed_everything(seed, verbose=False)
    task = HashingTask(num_bits=bits)
    trainer = Trainer(max_epochs=20, **quiet)
    begun = time.perf_counter()
    trainer.fit(task, datamodule=data)
    times.append(time.perf_counter() - begun)
    (tested,) = trainer.test(task, datamodule=data, verbose=False)
    train, test = (task.batches.features(part) for part in ("train", "test"))
    begun = time.perf_counter()
    head, _ = train_head(
        train.features, train.labels, num_bits=bits, recipe=get_recipe("milan"), seed=seed
    )
    times.append(time.perf_counter() - begun)
    with torch.no_grad():
        codes = head(test.features[:, 0]) > 0.5
    ours = ranking_values(codes, test.labels, k=20)["map"]
    figures = task.weigh().figures
    names = ("trained", f"general-{bits}", "float", "classifier")
    rest = [figures.get(name, float("nan")) for name in names]
    count = sum(len(part) for part in data.parts.values())
    shown = [f"{value:.1f}" for value in times]
    shown += [f"{value:.3f}" for value in (tested["test_map"], ours, *rest)]
    return f"| {name} | {count} | {seed} | {' | '.join(shown)} |"


if __name__ == "__main__":
    main()
