"""Measure what a training is worth: its mAP next to that of methods that need less."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from geohash_rs.errors import GeoHashRSError, GeoHashRSWarning, TrainingError, one_line
from geohash_rs.hashing.fit.baselines import classifier_head
from geohash_rs.hashing.fit.general import GENERAL_STAGES, GENERAL_VIEWS, general_head
from geohash_rs.hashing.fit.itq import itq_head
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.heads import Head
from geohash_rs.metrics import measures as metrics

__all__ = [
    "TRAINED",
    "NotWorthWarning",
    "Worth",
    "measure_worth",
    "warn_if_not_worth",
    "worth_line",
]

TRAINED = "trained"
UNTRAINED = ("general", "itq", "float")  # methods without training, by the start of their names
MOST_FITTED = 2048  # training tiles to fit a head without labels on, as in `fit_hasher`
MOST_CLASSIFIED = 4096  # training tiles of the classifier
MOST_SEARCHED = 10_000  # validation tiles to rank
MOST_QUERIES = 1000
MOST_PAIRS = 1 << 24  # pairs of query and tile to rank at once
SURE = 2.0  # standard errors that a difference must exceed to be more than noise

Floats = npt.NDArray[np.float64]


class NotWorthWarning(GeoHashRSWarning):
    """Codes learned from labels retrieve worse than methods that need no training."""


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What a training is worth, measured on validation tiles.

    Attributes:
        figures: mAP@k in [0, 1] by method, "trained" first; empty if nothing could be measured.
        errors: Standard error of the difference to "trained", by method.
        left_out: Why a method was not measured, by method; "trained" stands for all of them.
        k: Number of ranks.
        num_queries: Validation tiles that were queries.
        num_searched: Validation tiles among which each query searched, itself left out.
        num_tiles: All validation tiles.
    """

    figures: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    k: int
    num_queries: int
    num_searched: int
    num_tiles: int


@dataclass(frozen=True, kw_only=True)
class _Learned:
    """Training tiles: features of shape (tiles, views, num_features), and where they come from."""

    features: Tensor
    labels: Tensor
    backbone: Backbone
    views: Sequence[str]
    num_bits: int
    seed: int

    @property
    def plain(self) -> int:
        """The column of the tiles as they are."""
        return self.views.index("identity") if "identity" in self.views else 0

    def sample(self, most: int) -> Tensor:
        """Choose tiles at random, as sorted indices."""
        return _sample(len(self.features), most, self.seed)

    def view(self, rows: Tensor, column: int) -> Tensor:
        """Return the features of some tiles in one view, float32, shape (tiles, num_features)."""
        return self.features[rows.to(self.features.device), column].cpu().float()


def measure_worth(
    learned: Tensor,
    seen: Tensor,
    *,
    learned_labels: Tensor,
    labels: Tensor,
    codes: Tensor,
    backbone: Backbone,
    views: Sequence[str],
    k: int = 20,
    seed: int = 0,
) -> Worth:
    """Measure trained codes on validation tiles, next to methods that need less.

    All methods rank the same validation tiles for the same queries, from the same features:

    - "trained": the codes.
    - "general-BITS": the general head, fitted on the training tiles without their labels. It sees
      the network's own features and `GENERAL_STAGES`, or all stages if some of these are missing.
      With a single view it is "itq-BITS" instead, on all features.
    - "float": the cosine of the network's own features, without hashing.
    - "classifier": a linear classifier on all features; a tile gets the code of the predicted
      class.

    Random samples stand for many tiles: 2,048 training tiles for "general-BITS", 4,096 for the
    classifier, and 1,000 queries among 10,000 validation tiles. A method is left out if it needs
    more tiles or other labels; so are all if no ranking could be right or wrong. Ties count in
    expectation, AP divides by the relevant tiles found, and a query that finds none counts as 0,
    as in `ranking_values`.

    Args:
        learned: Features of the training tiles, shape (tiles, views, num_features).
        seen: Features of the validation tiles in the identity view, shape (tiles, num_features).
        learned_labels: Class of each training tile, integer, shape (tiles,); or zeros and ones,
            shape (tiles, classes).
        labels: Labels of the validation tiles, in the same form.
        codes: Bits of the validation tiles by the trained head, bool, shape (tiles, num_bits).
        backbone: The network that computed the features.
        views: Names of the views in `learned`.
        k: Number of ranks.
        seed: Seed of the samples, of ITQ's initial rotation and of the classifier's codes.

    Returns:
        The figures.
    """
    # called at the end of a training, where gradients may be off
    with (
        torch.inference_mode(mode=False),
        torch.enable_grad(),
        torch.random.fork_rng(devices=[]),
    ):
        searched = _sample(len(seen), MOST_SEARCHED, seed)
        queries = _sample(len(searched), MOST_QUERIES, seed + 1)
        counted = partial(
            Worth, k=k, num_queries=len(queries), num_searched=len(searched), num_tiles=len(seen)
        )
        relevant = _relevant(labels.cpu()[searched], queries)
        if not _can_rank(relevant):
            reason = "no tile has both another tile of its class and one of another class"
            return counted(left_out={TRAINED: reason})
        train = _Learned(
            features=learned,
            labels=learned_labels.cpu(),
            backbone=backbone,
            views=tuple(views),
            num_bits=codes.shape[1],
            seed=seed,
        )
        features = seen[searched.to(seen.device)].cpu().float()
        name = f"{'general' if len(views) > 1 else 'itq'}-{train.num_bits}"
        methods: dict[str, Callable[[], Tensor]] = {
            name: lambda: _unlabelled(train, features),
            "float": lambda: functional.normalize(features[:, : backbone.parts[0]], dim=1),
            "classifier": lambda: _classified(train, features),
        }
        trained = codes.cpu()[searched].float() * 2 - 1
        found = {TRAINED: _precisions(trained, relevant, queries, k=k)}
        left_out: dict[str, str] = {}
        for method, vectors in methods.items():
            try:
                found[method] = _precisions(vectors(), relevant, queries, k=k)
            except (GeoHashRSError, RuntimeError) as error:  # it must not cost the training
                left_out[method] = one_line(error).rstrip(".")
    return counted(
        figures={method: float(values.mean()) for method, values in found.items()},
        errors={
            method: _standard_error(values - found[TRAINED])
            for method, values in found.items()
            if method != TRAINED
        },
        left_out=left_out,
    )


def worth_line(worth: Worth) -> str:
    """Describe what a training is worth in one line.

    Args:
        worth: The figures.

    Returns:
        Such as "mAP@20 of 420 validation tiles: trained 0.962, general-64 0.737, float 0.790".
    """
    tiles = f"{worth.num_tiles:,} validation tiles"
    if worth.num_searched < worth.num_tiles:
        tiles = f"{worth.num_searched:,} of {tiles}"
    if worth.num_queries < worth.num_searched:
        tiles = f"{worth.num_queries:,} queries among {tiles}"
    if not worth.figures:
        return f"mAP@{worth.k} of {tiles} was not measured: {worth.left_out[TRAINED]}"
    figures = ", ".join(f"{method} {value:.3f}" for method, value in worth.figures.items())
    missing = "; ".join(f"{method}: {reason}" for method, reason in worth.left_out.items())
    return f"mAP@{worth.k} of {tiles}: {figures}" + (f" (without {missing})" if missing else "")


def warn_if_not_worth(worth: Worth) -> None:
    """Warn if methods without training retrieve better than the trained codes.

    A difference counts if it exceeds two standard errors of the differences per query. That takes
    queries as independent, and says nothing about another training with the same settings.

    Args:
        worth: The figures.
    """
    better = {
        method: worth.figures[method]
        for method, error in worth.errors.items()
        if method.partition("-")[0] in UNTRAINED
        and worth.figures[method] - worth.figures[TRAINED] > SURE * error
    }
    if not better:
        return
    others = " and ".join(f"{method} {value:.3f}" for method, value in better.items())
    hashes = [method for method in better if method != "float"]
    instead = f"; or use {hashes[0]}, which needs no labels" if hashes else ", or with more bits"
    msg = (
        f"training is not worth its labels: mAP@{worth.k} of {worth.num_queries:,} validation "
        f"tiles is {worth.figures[TRAINED]:.3f} with the trained codes, but {others} without "
        f"training. Check the labels, and train for longer or on more tiles{instead}."
    )
    warnings.warn(msg, NotWorthWarning, stacklevel=2)


def _unlabelled(train: _Learned, features: Tensor) -> Tensor:
    """Return codes, as 1 and -1, by a head that was fitted without labels.

    Raises:
        TrainingError: If there are too few training tiles.
        HasherError: If the tiles are identical, or have fewer features than bits.
    """
    rows = train.sample(MOST_FITTED)
    if len(rows) <= train.num_bits:
        msg = f"{len(rows)} training tiles are too few for {train.num_bits} bits"
        raise TrainingError(msg)
    plain = train.view(rows, train.plain)
    others = [column for column in range(len(train.views)) if column != train.plain]
    if not others:
        return _signs(
            itq_head(plain, num_bits=train.num_bits, parts=train.backbone.parts, seed=train.seed),
            features,
        )
    turned = next((i for i in others if train.views[i] == GENERAL_VIEWS[1]), others[0])
    columns, parts = _general_columns(train.backbone)
    both = torch.stack([plain, train.view(rows, turned)], dim=1)[:, :, columns]
    head = general_head(
        plain[:, columns], both, num_bits=train.num_bits, parts=parts, seed=train.seed
    )
    return _signs(head, features[:, columns])


def _general_columns(backbone: Backbone) -> tuple[Tensor, tuple[int, ...]]:
    """Find the features that a general head sees, and the lengths of their parts."""
    columns = torch.split(torch.arange(sum(backbone.parts)), list(backbone.parts))
    if not set(GENERAL_STAGES) <= set(backbone.stages):
        return torch.cat(columns), tuple(backbone.parts)
    kept = [columns[0], *(columns[1 + backbone.stages.index(name)] for name in GENERAL_STAGES)]
    return torch.cat(kept), tuple(map(len, kept))


def _classified(train: _Learned, features: Tensor) -> Tensor:
    """Return the codes of predicted classes, as 1 and -1.

    Raises:
        TrainingError: If tiles have several labels, or there is one class.
    """
    if train.labels.ndim != 1:
        msg = "tiles have several labels each"
        raise TrainingError(msg)
    rows = train.sample(MOST_CLASSIFIED)
    classes, target = torch.unique(train.labels[rows], return_inverse=True)
    if len(classes) < 2:
        msg = f"the {len(rows)} training tiles have {len(classes)} class"
        raise TrainingError(msg)
    plain = train.view(rows, train.plain)
    head = classifier_head(plain, target, num_bits=train.num_bits, seed=train.seed)
    return _signs(head, features)


def _signs(head: Head, features: Tensor) -> Tensor:
    """Compute codes as 1 and -1, float32, shape (tiles, num_bits)."""
    with torch.no_grad():
        activations: Tensor = head(features)
    return (activations > 0.5).float() * 2 - 1


def _sample(count: int, most: int, seed: int) -> Tensor:
    """Choose indices at random, sorted; all if there are not more than wanted."""
    if count <= most:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:most].sort().values


def _relevant(labels: Tensor, queries: Tensor) -> npt.NDArray[np.bool_]:
    """Find the tiles that share a label with a query, shape (queries, tiles)."""
    if labels.ndim == 1:
        return (labels[queries, None] == labels).numpy()
    several = labels.float()
    return (several[queries] @ several.T > 0).numpy()


def _can_rank(relevant: npt.NDArray[np.bool_]) -> bool:
    """Return whether some query can find right and wrong tiles; it is relevant to itself."""
    others = relevant.sum(1) - 1
    return bool(((others > 0) & (others < relevant.shape[1] - 1)).any())


def _precisions(
    vectors: Tensor, relevant: npt.NDArray[np.bool_], queries: Tensor, *, k: int
) -> Floats:
    """Compute AP@k of each query, ranking tiles by the inner product of their vectors."""
    parts: list[Floats] = []
    for rows in torch.split(torch.arange(len(queries)), max(1, MOST_PAIRS // len(vectors))):
        distances = -(vectors[queries[rows]] @ vectors.T).double().numpy()
        distances[np.arange(len(rows)), queries[rows].numpy()] = np.inf
        parts.append(metrics.average_precision(distances, relevant[rows.numpy()], k=k))
    return np.concatenate(parts)


def _standard_error(differences: Floats) -> float:
    """Compute the standard error of a mean; infinite for a single query."""
    count = len(differences)
    return float(differences.std(ddof=1) / np.sqrt(count)) if count > 1 else float("inf")
