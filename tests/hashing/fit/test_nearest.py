"""Test the general head of embeddings."""

import numpy as np
import pytest
import torch

from geohash_rs.codes import hamming_distances, pack_codes
from geohash_rs.errors import HasherError
from geohash_rs.hashing.fit.itq import itq_head
from geohash_rs.hashing.fit.nearest import WAYS, nearest_head
from geohash_rs.hashing.network.heads import LinearHead


def vectors_like_features(count: int, length: int, *, falling: float, seed: int = 0) -> np.ndarray:
    """Return vectors whose variances fall as a power of their number, far from the origin."""
    rng = np.random.default_rng(seed)
    spread = np.arange(1, length + 1) ** -falling
    turn = np.linalg.qr(np.random.default_rng(9).standard_normal((length, length)))[0]
    return (rng.standard_normal((count, length)) * spread @ turn + 0.2).astype(np.float32)


def codes_by(head: LinearHead, vectors: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return pack_codes(head(torch.from_numpy(vectors)).numpy())


def recall(base: np.ndarray, queries: np.ndarray, *, codes: np.ndarray, asked: np.ndarray) -> float:
    """Return the share of the ten nearest by cosine that are among the ten nearest by code."""
    unit = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in (queries, base)]
    true = np.argsort(-unit[0] @ unit[1].T, axis=1)[:, :10]
    found = np.argsort(hamming_distances(asked, codes), axis=1, kind="stable")[:, :10]
    return float(np.mean([len(set(t) & set(f)) / 10 for t, f in zip(true, found, strict=True)]))


def recall_of(head: LinearHead, base: np.ndarray, queries: np.ndarray) -> float:
    return recall(base, queries, codes=codes_by(head, base), asked=codes_by(head, queries))


@pytest.mark.parametrize("falling", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("num_bits", [64, 256])
def test_it_keeps_more_neighbours_than_signs_on_other_vectors(
    falling: float, num_bits: int
) -> None:
    fitted_on = vectors_like_features(1500, 256, falling=falling)
    base, queries = np.split(vectors_like_features(1600, 256, falling=falling, seed=1), [1500])
    head = nearest_head(torch.from_numpy(fitted_on), num_bits=num_bits)
    signs = [np.packbits(part[:, :num_bits] > 0, axis=1) for part in (base, queries)]
    by_signs = recall(base, queries, codes=signs[0], asked=signs[1])
    assert recall_of(head, base, queries) > by_signs + 0.02


def test_where_few_directions_count_it_keeps_more_than_itq() -> None:
    vectors = vectors_like_features(1600, 128, falling=2.0)
    base, queries = vectors[100:], vectors[:100]
    found = nearest_head(torch.from_numpy(base), num_bits=128)
    itq = itq_head(torch.from_numpy(base), num_bits=128)
    assert recall_of(found, base, queries) > recall_of(itq, base, queries) + 0.05


def test_there_may_be_more_bits_than_dimensions_and_they_help() -> None:
    vectors = vectors_like_features(1600, 64, falling=0.5)
    base, queries = vectors[100:], vectors[:100]
    few, many = (
        recall_of(nearest_head(torch.from_numpy(base), num_bits=num_bits), base, queries)
        for num_bits in (64, 512)
    )
    assert many > few + 0.05


@pytest.mark.parametrize("count", [2, 3, 20, 63, 64, 65])
def test_few_vectors_are_enough(count: int) -> None:
    vectors = vectors_like_features(count, 32, falling=1.0)
    codes = codes_by(nearest_head(torch.from_numpy(vectors), num_bits=64), vectors)
    assert len(np.unique(codes, axis=0)) == count


def test_the_same_vectors_and_seed_give_the_same_head() -> None:
    vectors = torch.from_numpy(vectors_like_features(300, 48, falling=1.0))
    first, again, other = (nearest_head(vectors, num_bits=64, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.projection.weight, again.projection.weight)
    assert torch.equal(first.projection.bias, again.projection.bias)
    assert not torch.equal(first.projection.weight, other.projection.weight)


def test_the_length_of_a_vector_does_not_count() -> None:
    vectors = vectors_like_features(300, 48, falling=1.0)
    head = nearest_head(torch.from_numpy(vectors), num_bits=64)
    assert np.array_equal(codes_by(head, vectors), codes_by(head, 8 * vectors))


def test_bits_without_spread_divide_the_vectors_in_half() -> None:
    assert WAYS[0].spread == 0
    vectors = vectors_like_features(50, 48, falling=1.0)  # too few to choose another way
    codes = codes_by(nearest_head(torch.from_numpy(vectors), num_bits=64), vectors)
    assert np.array_equal(np.unpackbits(codes, axis=1).sum(axis=0), np.full(64, 25))


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "there are none"), (1, "there is one;"), (5, "all 5 vectors"), (500, "all 500 vectors")],
)
def test_vectors_that_do_not_differ_are_refused(count: int, said: str) -> None:
    vectors = torch.ones(count, 16) * torch.arange(1.0, 1 + count)[:, None]  # of one direction
    with pytest.raises(HasherError, match=said):
        nearest_head(vectors, num_bits=64)


def test_parts_of_a_vector_count_alike() -> None:
    vectors = vectors_like_features(300, 48, falling=1.0)
    louder = vectors * np.where(np.arange(48) < 32, 1, 8).astype(np.float32)
    head = nearest_head(torch.from_numpy(vectors), num_bits=64, parts=(32, 16))
    assert np.array_equal(codes_by(head, vectors), codes_by(head, louder))
