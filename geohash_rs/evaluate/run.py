"""Fit every method on the same features, and measure its rankings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from geohash_rs.codes import check_num_bits
from geohash_rs.errors import TrainingError
from geohash_rs.evaluate.features import Features, make_features
from geohash_rs.evaluate.fits import BASELINES, fit_head
from geohash_rs.evaluate.measures import K, Ranker
from geohash_rs.evaluate.pictured import picture_data
from geohash_rs.evaluate.protocols import LabelledTiles, check_split, make_trials
from geohash_rs.evaluate.saved import Measured, method_to_save, save_measured
from geohash_rs.hashing.train.recipes import RECIPES, Recipe, get_recipe
from geohash_rs.hashing.train.settings import FeatureSettings

__all__ = ["METHODS", "evaluate"]

METHODS = (*RECIPES, *BASELINES, "float")

Progress = Callable[..., Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One training run, and the methods that share it: they differ only in views."""

    methods: tuple[str, ...]
    bits: int
    seed: int


def evaluate(
    tiles: LabelledTiles,
    *,
    protocol: str = "paper",
    methods: Sequence[str] = ("milan", "itq", "lsh", "kslsh", "classifier", "float"),
    bits: Sequence[int] = (16, 24, 32),
    seeds: int = 5,
    first_seed: int = 0,
    split: str = "seed",
    changes: dict[str, Any] | None = None,
    cache: str | Path | None = None,
    pictures: bool = False,
    save_hasher: str | Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and measure methods by one protocol.

    A seed determines the training tiles (with ``split="seed"``), a head's initial weights, batches
    and views, ITQ's initial rotation, the hyperplanes, KSLSH's anchors and the classifier's codes.
    Features do not depend on it.

    Args:
        tiles: Tiles with their labels.
        protocol: One of `PROTOCOLS`.
        methods: Names in `METHODS`: recipes of MiLaN, baselines, and "float", which ranks by the
            cosine of the features themselves.
        bits: Code lengths; "float" is measured once per seed.
        seeds: Training runs per method and length.
        first_seed: Seed of the first run; the others have the seeds after it. Seeds that chose no
            setting make an honest record.
        split: With "seed", every seed makes its own split. With "lists", all use the split in the
            lists of file names next to the data; only protocols "paper" and "clean" support it.
        changes: Settings to change in all recipes, such as ``{"iterations": 100}``.
        cache: Folder to cache features and trained heads in, so that an interrupted run can
            resume; or None.
        pictures: Whether to add the data for the projection and the matches of `write_plots`, for
            the first recipe among the methods, or for the first method if there is no recipe.
        save_hasher: File ending in .safetensors to write a hasher to, or None: the longest codes of
            the first recipe among the methods, or else of the first method with codes, with the
            first seed. Its notes hold the figures of all methods for this seed and length.
        progress: Wraps the batches of tiles and the list of training runs, like tqdm: called with
            the items, ``desc`` and ``total``.

    Returns:
        ``{"rows": [...], "settings": {...}, "histories": {...}, "curves": {...}}``, all JSON
        values, and "pictures" if requested. A row has method, bits, protocol, archive, seed,
        passes, map@20, precision@20, map, precision@radius2, bit_entropy; for several labels per
        tile also ndcg@20, acg@20 and weighted_map@20.

    Raises:
        TrainingError: If a method, protocol or setting is unknown, the data is not suitable for
            training, or there is no hasher to save.
        CodeLengthError: If codes of these lengths cannot be packed.
    """
    _check(methods, bits=bits, seeds=seeds, first_seed=first_seed)
    check_split(tiles, protocol, split)
    progress = progress or _unseen_progress
    recipes = {m: get_recipe(m).with_(**(changes or {})) for m in methods if m in RECIPES}
    to_save = None if save_hasher is None else method_to_save(methods, recipes, Path(save_hasher))
    plain = Recipe().with_(train_views=("identity",), **_plain_changes(changes))
    features = _all_features(tiles, methods, recipes, plain, cache=cache, progress=progress)
    numbers = range(first_seed, first_seed + seeds)
    jobs = _jobs(methods, recipes, bits=bits, seeds=numbers)
    shown = next((method for method in methods if method in recipes), methods[0])
    rows: list[dict[str, Any]] = []
    histories: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    pictured: dict[str, Any] = {}
    kept: Measured | None = None
    for job in progress(jobs, desc="training", total=len(jobs)):
        trials = make_trials(tiles, protocol, seed=job.seed if split == "seed" else None)
        first = job.methods[0]
        used = features[first]
        fitted = fit_head(
            first, used, tiles, trials[0], job.bits,
            recipe=recipes.get(first), seed=job.seed, cache=cache,
        )  # fmt: skip
        for method in job.methods:
            name = f"{method}-{job.bits}-{job.seed}"
            if fitted.history:
                histories[name] = fitted.history
            views = recipes[method].features.views if method in recipes else ("identity",)
            ranker = Ranker(features=used, head=fitted.head, views=views)
            for trial in trials:
                values = ranker.measure(tiles.labels, trial)
                row = {"method": method, "bits": job.bits, "protocol": protocol}
                row |= {"archive": trial.archive, "seed": job.seed, "passes": len(views)}
                rows.append(row | values)
            if job.seed == first_seed:
                curves[name] = ranker.precision_recall(tiles.labels, trials[0])
            if pictures and _is_shown(job, method, shown, bits=bits, seed=first_seed):
                pictured = {"method": method, "bits": job.bits}
                pictured |= picture_data(ranker, tiles, trials[0])
            if to_save is not None and _is_shown(job, method, to_save, bits=bits, seed=first_seed):
                kept = Measured(
                    ranker=ranker, method=method, seed=job.seed, trials=trials, split=split
                )
    rows.sort(key=lambda row: (list(methods).index(row["method"]), row["bits"], row["seed"]))
    if save_hasher is not None and kept is not None:
        save_measured(Path(save_hasher), kept, tiles=tiles, rows=rows)
    settings = _settings(tiles, protocol, split=split, recipes=recipes, plain=plain)
    result = {"rows": rows, "settings": settings, "histories": histories, "curves": curves}
    return result | ({"pictures": pictured} if pictures else {})


def _check(methods: Sequence[str], *, bits: Sequence[int], seeds: int, first_seed: int) -> None:
    unknown = [m for m in methods if m not in METHODS]
    if unknown or not methods:
        said = f"methods {unknown} are unknown" if methods else "there are no methods"
        msg = f"{said}; use some of {', '.join(METHODS)}."
        raise TrainingError(msg)
    if seeds < 1:
        msg = f"seeds is {seeds}; train at least once."
        raise TrainingError(msg)
    if first_seed < 0:
        msg = f"first_seed is {first_seed}; use 0 or a positive number."
        raise TrainingError(msg)
    for length in bits:
        check_num_bits(length)


def _is_shown(job: _Job, method: str, shown: str, *, bits: Sequence[int], seed: int) -> bool:
    """Return whether this is the pictured run: the shown method's longest codes, this seed."""
    return job.seed == seed and method == shown and job.bits in {0, max(bits)}


def _unseen_progress(items: Iterable[Any], **_: Any) -> Iterable[Any]:  # noqa: ANN401
    return items


def _plain_changes(changes: dict[str, Any] | None) -> dict[str, Any]:
    return {k: v for k, v in (changes or {}).items() if k in {"model", "weights", "input_size"}}


def _all_features(
    tiles: LabelledTiles,
    methods: Sequence[str],
    recipes: dict[str, Recipe],
    plain: Recipe,
    *,
    cache: str | Path | None,
    progress: Progress,
) -> dict[str, Features]:
    """Compute the features of each method, once for methods that share them."""
    made: dict[FeatureSettings, Features] = {}
    found: dict[str, Features] = {}
    for method in methods:
        wanted = recipes.get(method, plain).features
        views = tuple(dict.fromkeys((*wanted.train_views, *wanted.views)))
        wanted = replace(wanted, train_views=views, views=views)
        if wanted not in made:
            made[wanted] = make_features(tiles, wanted, cache=cache, progress=progress)
        found[method] = made[wanted]
    return found


def _jobs(
    methods: Sequence[str],
    recipes: dict[str, Recipe],
    *,
    bits: Sequence[int],
    seeds: Sequence[int],
) -> list[_Job]:
    shared: dict[Any, list[str]] = {}
    for method in methods:
        recipe = recipes.get(method)
        key = method if recipe is None else recipe.with_(views=("identity",))
        shared.setdefault(key, []).append(method)
    return [
        _Job(methods=tuple(names), bits=length, seed=seed)
        for seed in seeds
        for names in shared.values()
        for length in (bits if names != ["float"] else (0,))
    ]


def _settings(
    tiles: LabelledTiles,
    protocol: str,
    *,
    split: str,
    recipes: dict[str, Recipe],
    plain: Recipe,
) -> dict[str, Any]:
    return {
        "root": "/".join(tiles.root.resolve().parts[-2:]),
        "tiles": len(tiles),
        "classes": list(tiles.classes),
        "protocol": protocol,
        "split": split,
        "k": K,
        "denominator": "relevant tiles found in the first k",
        "ties": "expectation over all orders",
        "recipes": {name: recipe.to_dict() for name, recipe in recipes.items()},
        "baseline_features": {
            "model": plain.features.model,
            "input_size": plain.features.input_size,
        },
    }
