"""``geohash-rs evaluate``: compare hashing methods on class folders."""

import json
from pathlib import Path
from typing import Any

import click

from geohash_rs.cli.terminal import echo
from geohash_rs.codes import check_num_bits
from geohash_rs.errors import CodeLengthError, TrainingError

__all__ = ["evaluate_command"]


def _words(_context: click.Context, _option: click.Parameter, value: str | None) -> list[str]:
    return [word.strip() for word in (value or "").split(",") if word.strip()]


def _lengths(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    words = _words(context, option, value)
    if not words or not all(word.isdigit() for word in words):
        raise click.BadParameter(f"{value!r} is not a list such as 16,24,32")
    try:
        return [check_num_bits(int(word)) for word in words]
    except CodeLengthError as error:
        raise click.BadParameter(str(error)) from error


def _methods(context: click.Context, option: click.Parameter, value: str) -> list[str]:
    from geohash_rs.evaluate.run import METHODS

    words = _words(context, option, value)
    unknown = [word for word in words if word not in METHODS]
    if unknown or not words:
        said = f"{', '.join(unknown)} is unknown" if words else "no method is named"
        raise click.BadParameter(f"{said}; use some of {', '.join(METHODS)}")
    return words


def _dataset(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    from geohash_rs.evaluate.tiles import find_dataset

    try:
        return value if value is None else find_dataset(value)
    except TrainingError as error:
        raise click.BadParameter(str(error)) from error


@click.command("evaluate")
@click.option(
    "--dataset",
    callback=_dataset,
    help="ucmerced, eurosat, eurosat-rgb, eurosat100, aid, whu-rs19, bigearthnet or class-folders (your own). Default: recognised from the folder.",
)
@click.option(
    "--root",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder with one subfolder per class, or with patches of BigEarthNet.",
)
@click.option(
    "--protocol",
    type=click.Choice(["paper", "clean", "unseen", "spatial"]),
    default="paper",
    show_default=True,
)
@click.option(
    "--methods",
    default="milan,itq,lsh,kslsh,classifier,float",
    callback=_methods,
    show_default=True,
)
@click.option("--bits", default="16,24,32", callback=_lengths, show_default=True)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Number of times to train each method.",
)
@click.option(
    "--first-seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of the first time; each next time has the next seed.",
)
@click.option(
    "--split",
    type=click.Choice(["seed", "lists"]),
    default="seed",
    show_default=True,
    help="seed: each seed draws its own split. lists: all seeds use the lists *-train.txt, *-val.txt and *-test.txt in the data folder.",
)
@click.option("--iterations", type=click.IntRange(1), help="Iterations for which recipes train.")
@click.option(
    "--model",
    help="Backbone of the recipes: any timm name. Pass --stages too if the recipe uses stages.",
)
@click.option(
    "--weights",
    help="Weights of the backbone: a local state dict, or the name of TorchGeo weights.",
)
@click.option(
    "--stages", callback=_words, help="Stages of the recipes; 'none' for no stages."
)
@click.option(
    "--input-size", type=click.IntRange(1), help="Side of the network's input, px."
)
@click.option(
    "--train-views",
    type=click.IntRange(1, 8),
    help="Number of views of a tile that recipes train on.",
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="Folder to store features and trained heads in, so that an interrupted run resumes.",
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="File to write all results to.")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder to write plots to.")
@click.option("--save-hasher", type=click.Path(path_type=Path), metavar="FILE.safetensors", help="File to write a hasher with its figures to, for 'index --hasher': the longest codes of the first recipe in --methods, or of the first method, with the first seed.")
def evaluate_command(
    dataset: str | None,
    root: Path,
    protocol: str,
    methods: list[str],
    bits: list[int],
    seeds: int,
    first_seed: int,
    split: str,
    iterations: int | None,
    model: str | None,
    weights: str | None,
    stages: list[str] | None,
    input_size: int | None,
    train_views: int | None,
    cache: Path | None,
    json_path: Path | None,
    plots: Path | None,
    save_hasher: Path | None,
) -> None:
    """Train and measure hashing methods on the same tiles, and print a Markdown table."""
    from functools import partial

    from tqdm import tqdm

    from geohash_rs.evaluate.report import summary_table
    from geohash_rs.evaluate.run import evaluate
    from geohash_rs.evaluate.tiles import open_tiles
    from geohash_rs.hashing.network.views import VIEWS

    asked: dict[str, Any] = {
        "iterations": iterations,
        "input_size": input_size,
        "model": model,
        "weights": weights,
    }
    if stages:
        asked["stages"] = () if stages == ["none"] else tuple(stages)
    if train_views:
        asked["train_views"] = VIEWS[:train_views]
    tiles = open_tiles(root, dataset=dataset)
    result = evaluate(
        tiles,
        protocol=protocol,
        methods=methods,
        bits=bits,
        seeds=seeds,
        first_seed=first_seed,
        split=split,
        changes={key: value for key, value in asked.items() if value is not None},
        cache=cache,
        pictures=plots is not None,
        save_hasher=save_hasher,
        progress=partial(tqdm, disable=None),
    )
    if json_path is not None:
        json_path.parent.mkdir(parents=True, exist_ok=True)
        json_path.write_text(json.dumps(result, indent=1))
    if plots is not None:
        from geohash_rs.evaluate.plots import write_plots

        write_plots(result, plots, root=tiles.root)
    if save_hasher is not None:
        echo(f"The hasher is saved in {save_hasher}.", err=True)
    echo(*summary_table(result).rstrip("\n").split("\n"))
