"""Measure rankings beyond Hamming distance: the query's activations, and feedback in rounds.

    python -m tests.benchmarks.ranking [--data ../shared/data] [--cache DIR] [--json FILE]

Every tile of UC Merced, and EuroSAT RGB tiles of which no two of one class lie within 1 km, are an
archive. ITQ is fitted on the archive itself; the shipped hashers have seen the data set that they
are named after. Ties count in expectation. In feedback, a query finds 20 tiles, those of its class
are marked right and the others wrong, and precision is that of the next 20 not yet judged.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from geohash_rs import fit_hasher, load_hasher
from geohash_rs.codes import hamming_distances, pack_codes, unpack_codes
from geohash_rs.hashing.data.class_folders import ClassFolders
from geohash_rs.hashing.data.features import cached_features
from geohash_rs.hashing.fit.itq import itq_head
from geohash_rs.metrics import measures as metrics
from geohash_rs.retrieval.ranking import asymmetric_similarity, feedback_scores
from geohash_rs.retrieval.search import CANDIDATES
from tests.benchmarks.training_free import spaced_tiles

HASHERS = ("itq-32", "itq-64", "itq-128", "ucmerced-64", "eurosat-rgb-64")
K, ROUNDS = 20, 3


def spaced_eurosat(data: Path) -> ClassFolders:
    """Open EuroSAT RGB without near neighbours of one class."""
    chosen = {path for _, path in spaced_tiles(data)}
    everything = ClassFolders.open(data / "eurosat_rgb")
    return everything.take([i for i, path in enumerate(everything.paths) if path in chosen])


def hash_tiles(tiles: ClassFolders, name: str, cache: Path | None) -> np.ndarray:
    """Compute the activations of all tiles."""
    if name.startswith("itq-"):
        hasher = fit_hasher([next(tiles.batches(size=64))], num_bits=8)
    else:
        hasher = load_hasher(name)
    hasher.accelerate()
    features = cached_features(hasher.extractor, tiles.batches(), folder=cache)[:, 0]
    head = itq_head(features, num_bits=int(name[4:])) if name.startswith("itq-") else hasher.head
    with torch.inference_mode():
        return head(features).numpy()


def compare_asymmetric(activations: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measure mAP@20 of both rankings, every tile a query."""
    codes = pack_codes(activations)
    hamming = hamming_distances(codes, codes).astype(float)
    weighted = np.stack([-asymmetric_similarity(codes, a[None]) for a in activations])
    relevant = labels[:, None] == labels[None]
    row = {}
    for name, distances in (("hamming", hamming), ("asymmetric", weighted)):
        np.fill_diagonal(distances, np.inf)
        row[name] = round(metrics.mean_average_precision(distances, relevant, k=K), 4)
    return row


def nearest(codes: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Score by the nearest right example."""
    return -hamming_distances(right, codes).min(axis=0)


def nearest_of_both(codes: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Score by the nearest right and, half as much, the nearest wrong example."""
    score = nearest(codes, right, wrong).astype(float)
    return score - 0.5 * nearest(codes, wrong, right) if len(wrong) else score


def rocchio(codes: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Weigh bits by the mean of the right examples less half the mean of the wrong ones."""
    weights = unpack_codes(right).mean(axis=0) - 0.5
    if len(wrong):
        weights -= 0.5 * (unpack_codes(wrong).mean(axis=0) - 0.5)
    return (2.0 * unpack_codes(codes) - 1) @ weights


def naive_bayes(codes: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Weigh bits by the log odds of right and wrong examples, two of each added."""
    odds = []
    for examples in (right, wrong):
        share = (unpack_codes(examples).sum(axis=0) + 2) / (len(examples) + 4)
        odds.append(np.log(share / (1 - share)))
    return (2.0 * unpack_codes(codes) - 1) @ (odds[0] - odds[1])


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "nearest right example": nearest,
    "nearest right and wrong": nearest_of_both,
    "Rocchio": rocchio,
    "naive Bayes": naive_bayes,
    "feedback_scores": feedback_scores,
}


def simulate(
    activations: np.ndarray, labels: np.ndarray, method: str, *, queries: int
) -> list[float]:
    """Return the mean precision of the first search and of each round after it."""
    codes = pack_codes(activations)
    chosen = np.random.default_rng(0).choice(len(codes), queries, replace=False)
    precision = np.zeros((queries, ROUNDS + 1))
    for number, query in enumerate(chosen.tolist()):
        chance = np.random.default_rng(query).permutation(len(codes))  # ties in a random order
        right, wrong = [query], []
        for judged in range(ROUNDS + 1):
            near = hamming_distances(codes[right], codes).min(axis=0)
            near[right + wrong] = codes.shape[1] * 8 + 1
            candidates = np.lexsort((chance, near))[:CANDIDATES]
            candidates = candidates[near[candidates] <= codes.shape[1] * 8]
            if judged:
                scores = METHODS[method](codes[candidates], codes[right], codes[wrong])
                candidates = candidates[np.lexsort((near[candidates], -scores))]
            shown = candidates[:K]
            good = labels[shown] == labels[query]
            precision[number, judged] = good.mean()
            right += shown[good].tolist()
            wrong += shown[~good].tolist()
    return precision.mean(axis=0).round(3).tolist()


def measure(data: Path, cache: Path | None, queries: int) -> Iterator[dict[str, object]]:
    """Yield one row after the other."""
    sets = {"ucmerced": ClassFolders.open(data / "ucmerced"), "eurosat_rgb": spaced_eurosat(data)}
    for name, tiles in sets.items():
        for hasher in HASHERS:
            activations = hash_tiles(tiles, hasher, cache)
            row = {"data": name, "tiles": len(tiles), "hasher": hasher}
            yield row | {"map@20": compare_asymmetric(activations, tiles.labels)}
            for method in METHODS:
                rounds = simulate(activations, tiles.labels, method, queries=queries)
                yield row | {"feedback": method, "precision@20 by round": rounds}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, help="folder that keeps features for the next run")
    parser.add_argument("--queries", type=int, default=200, help="queries of a simulation")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = []
    for row in measure(args.data, args.cache, args.queries):
        rows.append(row)
        print(json.dumps(row), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
