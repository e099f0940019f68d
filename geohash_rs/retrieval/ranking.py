"""Reorder the tiles that are nearest by Hamming distance, and drop those that overlap."""

from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.codes import hamming_distances, unpack_codes

__all__ = ["asymmetric_similarity", "cosine_similarity", "distinct_rows", "feedback_scores"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# Chosen on UC Merced, confirmed on EuroSAT: tests/benchmarks/ranking.py
REACH = 0.15  # share of differing bits at which likeness is 1 / e
DOUBT = 0.5  # noise variance of a judgement, where likeness is at most 1: examples may err
WRONG = -0.5  # score of a negative example; that of a positive one is 1
# Share of a footprint that neighbours may overlap: in lon/lat, edges bend by up to half a pixel.
TOUCH = 0.01
AT_ONCE = 1 << 22  # pairs of tile and example in memory


def feedback_scores(codes: Array, positives: Array, negatives: Array) -> Floats:
    """Score tiles by positive and negative examples.

    The score is the mean of a Gaussian process that observed 1 at the positives and -0.5 at the
    negatives: ``k(c, E) (k(E, E) + I / 2)^-1 y`` with the likeness
    ``k(a, b) = exp(-hamming(a, b) / (0.15 bits))``. Similar examples share their weight. Far from
    all examples the score is 0.

    Args:
        codes: Packed codes of the tiles, uint8, shape (tiles, bits / 8).
        positives: Packed codes of the positive examples, shape (positives, bits / 8).
        negatives: Packed codes of the negative examples, shape (negatives, bits / 8).

    Returns:
        Scores, shape (tiles,), about -0.5 to 1; higher is more like the positive examples.

    References:
        Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equation 2.25,
        https://gaussianprocess.org/gpml/
    """
    examples = np.concatenate([positives, negatives])
    judged = np.where(np.arange(len(examples)) < len(positives), 1.0, WRONG)
    doubt = DOUBT * np.eye(len(examples))
    weights = np.linalg.solve(_likeness(examples, examples) + doubt, judged)
    scores = np.empty(len(codes))
    step = max(1, AT_ONCE // len(examples))
    for start in range(0, len(codes), step):
        part = slice(start, start + step)
        scores[part] = weights @ _likeness(examples, codes[part])
    return scores


def asymmetric_similarity(codes: Array, activations: Array) -> Floats:
    """Compare bits of tiles with activations of examples, which are more precise than bits.

    A bit weighs more the farther its activation is from 0.5, where it could as well have been the
    other one. The ranking is the same as by distance between activations and bits.

    Args:
        codes: Packed codes of the tiles, uint8, shape (tiles, bits / 8).
        activations: Activations in [0, 1] of the examples, shape (examples, bits).

    Returns:
        Weighted share of bits that equal those of the most similar example, 0 to 1, shape (tiles,).

    References:
        Gordo, Perronnin, Gong and Lazebnik, Asymmetric Distances for Binary Embeddings, TPAMI
        2014, https://doi.org/10.1109/TPAMI.2013.101
    """
    weights = 2 * activations.astype(np.float64) - 1
    weights /= np.maximum(np.abs(weights).sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    similarity = np.empty(len(codes))
    step = max(1, AT_ONCE // weights.size)
    for start in range(0, len(codes), step):
        signs = 2.0 * unpack_codes(codes[start : start + step]) - 1
        similarity[start : start + step] = (0.5 + 0.5 * signs @ weights.T).max(axis=1)
    return similarity


def cosine_similarity(vectors: Array, examples: Array) -> Floats:
    """Compare feature vectors of tiles with those of examples, which tell more than bits.

    Args:
        vectors: Vectors of the tiles, float, shape (tiles, length).
        examples: Vectors of the examples, shape (examples, length).

    Returns:
        Cosine of the angle to the most similar example, -1 to 1, shape (tiles,).
    """
    wanted = _unit(examples)
    similarity = np.empty(len(vectors))
    step = max(1, AT_ONCE // wanted.size)
    for start in range(0, len(vectors), step):
        part = _unit(vectors[start : start + step]) @ wanted.T
        similarity[start : start + step] = part.max(axis=1)
    return similarity


def _unit(vectors: Array) -> Floats:
    """Return vectors in float64, brought to length one; zeros stay."""
    found = vectors.astype(np.float64)
    largest = np.abs(found).max(axis=1, keepdims=True)  # or squares of large numbers overflow
    found /= np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(lengths > 0, lengths, 1))


def distinct_rows(footprints: Array, *, most: int | None) -> npt.NDArray[np.int64]:
    """Select tiles in the order of a ranking, except those that overlap a selected one.

    Args:
        footprints: Polygons in the order of the ranking, shape (tiles,).
        most: Number of tiles to select, or None for all.

    Returns:
        Positions in the ranking, ascending. Tiles count as overlapping if they share more than one
        percent of the smaller footprint.
    """
    tree = shapely.STRtree(footprints)
    areas = shapely.area(footprints)
    free = np.ones(len(footprints), dtype=bool)
    taken: list[int] = []
    for row, footprint in enumerate(footprints):
        if most is not None and len(taken) == most:
            break
        if not free[row]:
            continue
        taken.append(row)
        near = tree.query(footprint)
        near = near[(near > row) & free[near]]
        shared = shapely.area(shapely.intersection(footprint, footprints[near]))
        free[near[shared > TOUCH * np.minimum(areas[near], areas[row])]] = False
    return np.array(taken, dtype=np.int64)


def _likeness(examples: Array, codes: Array) -> Floats:
    """Compare every example with every code, shape (examples, codes)."""
    num_bits = examples.shape[1] * 8
    by_distance = np.exp(-np.arange(num_bits + 1) / (REACH * num_bits))
    likeness: Floats = by_distance[hamming_distances(examples, codes)]
    return likeness
