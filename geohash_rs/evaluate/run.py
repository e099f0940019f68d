"""Fit every method on the same features, rank, and measure."""

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
from geohash_rs.hashing.train.recipes import RECIPES, Recipe, get_recipe
from geohash_rs.hashing.train.settings import FeatureSettings

__all__ = ["METHODS", "evaluate"]

METHODS = (*RECIPES, *BASELINES, "float")

Progress = Callable[..., Iterable[Any]]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One training, and the methods that share it: they differ in the views they average only."""

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
    split: str = "seed",
    changes: dict[str, Any] | None = None,
    cache: str | Path | None = None,
    pictures: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train and measure methods by one protocol.

    Seed s decides which tiles train (with ``split="seed"``), the first weights of a head, its
    batches and views, ITQ's first rotation, the hyperplanes, KSLSH's anchors and the classifier's
    codes. Features do not depend on it.

    Args:
        tiles: Tiles with their labels.
        protocol: One of `PROTOCOLS`.
        methods: Of `METHODS`: recipes of MiLaN by name, baselines, and "float", which ranks by
            the cosine of the features themselves.
        bits: Lengths of codes; "float" is measured once a seed.
        seeds: Trainings of each method and length, seeds 0 and on.
        split: "seed": every seed draws its own split. "lists": all take the split from the lists
            of file names beside the data, which the protocols "paper" and "clean" can use.
        changes: Settings by which all recipes are changed, such as ``{"iterations": 100}``.
        cache: Folder where features and trained heads are kept, so that an interrupted run
            resumes where it ended; or None.
        pictures: Whether to add what `write_plots` draws beside the figures: of the first recipe
            among the methods, or of the first method where there is none.
        progress: Wraps the batches of tiles and the list of trainings, as tqdm does: called with
            the items, ``desc`` and ``total``.

    Returns:
        ``{"rows": [...], "settings": {...}, "histories": {...}, "curves": {...}}``, JSON-able, and
        "pictures" if asked. A row has method, bits, protocol, archive, seed, passes, map@20,
        precision@20, map, precision@radius2, bit_entropy; for several labels a tile also ndcg@20,
        acg@20 and weighted_map@20.

    Raises:
        TrainingError: If a method, protocol or setting is unknown, or the data cannot be trained
            on.
        CodeLengthError: If codes of these lengths cannot be packed.
    """
    _check(methods, bits=bits, seeds=seeds)
    check_split(tiles, protocol, split)
    progress = progress or _unseen_progress
    recipes = {m: get_recipe(m).with_(**(changes or {})) for m in methods if m in RECIPES}
    plain = Recipe().with_(train_views=("identity",), **_plain_changes(changes))
    features = _all_features(tiles, methods, recipes, plain, cache=cache, progress=progress)
    jobs = _jobs(methods, recipes, bits=bits, seeds=seeds)
    shown = next((method for method in methods if method in recipes), methods[0])
    rows: list[dict[str, Any]] = []
    histories: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    pictured: dict[str, Any] = {}
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
            if job.seed == 0:
                curves[name] = ranker.precision_recall(tiles.labels, trials[0])
            if pictures and _is_shown(job, method, shown, bits=bits):
                pictured = {"method": method, "bits": job.bits}
                pictured |= picture_data(ranker, tiles, trials[0])
    rows.sort(key=lambda row: (list(methods).index(row["method"]), row["bits"], row["seed"]))
    settings = _settings(tiles, protocol, split=split, recipes=recipes, plain=plain)
    result = {"rows": rows, "settings": settings, "histories": histories, "curves": curves}
    return result | ({"pictures": pictured} if pictures else {})


def _check(methods: Sequence[str], *, bits: Sequence[int], seeds: int) -> None:
    unknown = [m for m in methods if m not in METHODS]
    if unknown or not methods:
        said = f"methods {unknown} are unknown" if methods else "there are no methods"
        msg = f"{said}; use some of {', '.join(METHODS)}."
        raise TrainingError(msg)
    if seeds < 1:
        msg = f"seeds is {seeds}; train at least once."
        raise TrainingError(msg)
    for length in bits:
        check_num_bits(length)


def _is_shown(job: _Job, method: str, shown: str, *, bits: Sequence[int]) -> bool:
    """Return whether the pictures show this one: the longest codes of the method shown, seed 0."""
    return job.seed == 0 and method == shown and job.bits in {0, max(bits)}


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
    """Compute features for every method, once for all methods that use the same."""
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
    methods: Sequence[str], recipes: dict[str, Recipe], *, bits: Sequence[int], seeds: int
) -> list[_Job]:
    shared: dict[Any, list[str]] = {}
    for method in methods:
        recipe = recipes.get(method)
        key = method if recipe is None else recipe.with_(views=("identity",))
        shared.setdefault(key, []).append(method)
    return [
        _Job(methods=tuple(names), bits=length, seed=seed)
        for seed in range(seeds)
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
