"""``geohash-rs evaluate``: compare hashing methods on class folders."""

import json
from pathlib import Path

import click

__all__ = ["evaluate_command"]


def _words(_context: click.Context, _option: click.Parameter, value: str) -> list[str]:
    return [word.strip() for word in value.split(",") if word.strip()]


def _lengths(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    words = _words(context, option, value)
    if not words or not all(word.isdigit() for word in words):
        raise click.BadParameter(f"{value!r} is not a list such as 16,24,32")
    return [int(word) for word in words]


@click.command("evaluate")
@click.option("--root", required=True, type=click.Path(path_type=Path), help="One folder a class.")
@click.option(
    "--protocol", default="paper", show_default=True, help="paper, clean, unseen, spatial."
)
@click.option(
    "--methods", default="milan,itq,lsh,kslsh,classifier,float", callback=_words, show_default=True
)
@click.option("--bits", default="16,24,32", callback=_lengths, show_default=True)
@click.option("--seeds", default=5, show_default=True, help="Trainings of each method.")
@click.option("--iterations", type=int, help="Change how long recipes train.")
@click.option("--input-size", type=int, help="Change the side in px that the network sees.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder where features are kept.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures.")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder for pictures.")
def evaluate_command(
    root: Path,
    protocol: str,
    methods: list[str],
    bits: list[int],
    seeds: int,
    iterations: int | None,
    input_size: int | None,
    cache: Path | None,
    json_path: Path | None,
    plots: Path | None,
) -> None:
    """Train and measure hashing methods on the same tiles, and print a Markdown table."""
    from tqdm import tqdm

    from geohash_rs.evaluate import evaluate, summary_table, write_plots
    from geohash_rs.hashing.class_folders import ClassFolders

    asked = {"iterations": iterations, "input_size": input_size}
    result = evaluate(
        ClassFolders.open(root),
        protocol=protocol,
        methods=methods,
        bits=bits,
        seeds=seeds,
        changes={key: value for key, value in asked.items() if value is not None},
        cache=cache,
        progress=lambda jobs: tqdm(jobs, desc="training", disable=None),
    )
    if json_path is not None:
        json_path.write_text(json.dumps(result, indent=1))
    if plots is not None:
        write_plots(result, plots)
    click.echo(summary_table(result), nl=False)
