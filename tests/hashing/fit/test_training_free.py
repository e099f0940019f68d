"""Training-free hashers: ITQ and random hyperplanes on frozen features."""

import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from geohash_rs.codes import hamming_distances
from geohash_rs.errors import BandMismatchError, CodeLengthError, HasherError, HasherNotFoundError
from geohash_rs.hashing.fit.itq import itq_head, lsh_head, principal_axes
from geohash_rs.hashing.fit.training_free import fit_hasher, parse_training_free
from geohash_rs.metrics import measures as metrics

SMALL = {"model": "test_resnet", "weights": False, "input_size": 32, "num_bits": 16}


@pytest.fixture(scope="module")
def clusters():
    """Features of 200 tiles around 5 centres in 32 dimensions."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(5, 32, generator=generator)
    return centres.repeat(40, 1) + 0.1 * torch.randn(200, 32, generator=generator)


@torch.no_grad()
def quantisation_loss(head, features):
    projected = head.projection(head.prepare(features))
    return float((torch.where(projected > 0, 1.0, -1.0) - projected).square().sum())


def test_itq_rotates_towards_its_signs(clusters):
    losses = [
        quantisation_loss(itq_head(clusters, num_bits=16, iterations=n), clusters)
        for n in (0, 5, 50)
    ]
    assert losses[0] > losses[1] > losses[2] or losses[1] == pytest.approx(losses[2])


def test_itq_keeps_lengths_and_centres_the_bits(clusters):
    head = itq_head(clusters, num_bits=16).requires_grad_(False)
    directions = head.projection.weight
    torch.testing.assert_close(directions @ directions.T, torch.eye(16), atol=1e-5, rtol=0)
    assert float(head.projection(head.prepare(clusters)).mean(0).abs().max()) < 1e-5


def test_itq_is_the_same_for_the_same_seed_only(clusters):
    first, again, other = (itq_head(clusters, num_bits=16, seed=s) for s in (0, 0, 1))
    assert torch.equal(first.projection.weight, again.projection.weight)
    assert not torch.equal(first.projection.weight, other.projection.weight)


def test_itq_adds_random_directions_if_there_are_few_tiles(clusters):
    head = itq_head(clusters[:5], num_bits=16)
    directions = head.projection.weight
    torch.testing.assert_close(directions @ directions.T, torch.eye(16), atol=1e-5, rtol=0)


@pytest.mark.parametrize("tiles", [20, 32, 200])
def test_principal_axes_are_those_of_the_singular_value_decomposition(clusters, tiles):
    centred = (clusters[:tiles] - clusters[:tiles].mean(0)).double()
    axes = principal_axes(centred, 24, torch.Generator().manual_seed(0))
    torch.testing.assert_close(axes.T @ axes, torch.eye(24).double(), atol=1e-12, rtol=0)
    rank = min(24, tiles - 1)
    expected = np.linalg.svd(centred.numpy(), full_matrices=False)[2][:rank]
    cosines = (expected * axes.numpy().T[:rank]).sum(axis=1)
    assert np.abs(cosines) == pytest.approx(1, abs=1e-9)


def test_hyperplanes_agree_in_proportion_to_the_angle():
    features = torch.eye(64)[:2]
    head = lsh_head(torch.zeros(1, 64), num_bits=512)
    bits = head(features) > 0.5
    share = float((bits[0] != bits[1]).float().mean())
    assert share == pytest.approx(0.5, abs=0.08)  # a right angle is half of a half turn


def test_itq_refuses_identical_tiles(clusters):
    with pytest.raises(HasherError, match="there is one tile"):
        itq_head(clusters[:1], num_bits=16)
    with pytest.raises(HasherError, match="all 50 tiles are identical"):
        itq_head(clusters[:1].repeat(50, 1), num_bits=16)
    with pytest.raises(HasherError, match="64 bits from 32 features"):
        itq_head(clusters, num_bits=64)


@pytest.mark.parametrize("method", ["itq", "lsh"])
def test_batches_of_any_size_are_iterated_over_once(tiles, method):
    batches = (tiles[i : i + 4] for i in (0, 4))
    hasher = fit_hasher(batches, method=method, **SMALL)
    whole = fit_hasher([tiles], method=method, **SMALL)
    np.testing.assert_array_equal(hasher.codes(tiles), whole.codes(tiles))
    assert (hasher.tile_size, hasher.bands) == (40, ("red", "green", "blue"))
    assert hasher.name == f"{method}-16"
    assert hasher.notes["fitted_on"] == "6 unlabelled tiles"


def test_other_data_types_are_scaled_by_their_percentiles():
    generator = torch.Generator().manual_seed(0)
    tiles = torch.randint(1000, 3000, (8, 13, 16, 16), generator=generator).to(torch.uint16)
    tiles[0, 0, 0, 0] = 65535
    hasher = fit_hasher([tiles], **SMALL)
    assert len(hasher.bands) == 13
    assert hasher.scaling.low[0] == pytest.approx(1020, abs=20)
    assert hasher.scaling.high[0] == pytest.approx(2980, abs=20)
    assert hasher.codes(tiles).shape == (8, 2)


def test_a_given_scaling_is_used(tiles):
    asked = {"kind": "range", "low": 0, "high": [100, 200, 300]}
    hasher = fit_hasher([tiles], scaling=asked, **SMALL)
    assert hasher.scaling.high == (100, 200, 300)
    for wrong in ({"kind": "log"}, {"low": [0]}):
        with pytest.raises(HasherError, match="is not understood"):
            fit_hasher([tiles], scaling=wrong, **SMALL)
    with pytest.raises(HasherError, match="2 values for 3 bands"):
        fit_hasher([tiles], scaling={"low": [0, 0], "high": 1}, **SMALL)
    with pytest.raises(HasherError, match="needs high above low"):
        fit_hasher([tiles], scaling={"low": 5, "high": 5}, **SMALL)


def test_tiles_that_cannot_be_fitted_are_refused(tiles):
    with pytest.raises(HasherError, match="no tiles to fit"):
        fit_hasher([], **SMALL)
    with pytest.raises(HasherError, match="'pca' is not one of"):
        fit_hasher([tiles], **{**SMALL, "method": "pca"})
    with pytest.raises(CodeLengthError, match="num_bits is 12"):
        fit_hasher([tiles], **{**SMALL, "num_bits": 12})
    with pytest.raises(BandMismatchError, match="3 bands but 1 are named"):
        fit_hasher([tiles], bands=("gray",), **SMALL)
    with pytest.raises(BandMismatchError, match="batches have 3 and 2 bands"):
        fit_hasher([tiles, tiles[:, :2]], **SMALL)
    with pytest.raises(HasherError, match=r"batch has shape \(3, 40, 40\)"):
        fit_hasher([tiles[0]], **SMALL)
    broken = tiles.float()
    broken[:, 1] = torch.nan
    with pytest.raises(HasherError, match="band 2 has no finite pixel"):
        fit_hasher([broken], **SMALL)


def test_names_of_training_free_hashers_are_parsed():
    assert parse_training_free("itq-64") == ("itq", 64)
    assert parse_training_free("lsh-128") == ("lsh", 128)
    for name in ("itq", "itq-", "sift-64", "itq-6x"):
        with pytest.raises(HasherNotFoundError, match="not a training-free hasher"):
            parse_training_free(name)
    with pytest.raises(CodeLengthError, match="num_bits is 60"):
        parse_training_free("itq-60")


def test_itq_on_real_tiles_ranks_classes_far_above_chance(shared_data):
    folders = sorted((shared_data / "eurosat_rgb").glob("*/"))[:5]
    paths = [
        (c, p) for c, f in enumerate(folders) for p in itertools.islice(sorted(f.glob("*.jpg")), 20)
    ]
    pixels = torch.stack([torch.tensor(np.asarray(Image.open(p))) for _, p in paths])
    tiles, labels = pixels.permute(0, 3, 1, 2), np.array([c for c, _ in paths])
    hasher = fit_hasher([tiles], num_bits=64, input_size=96)
    codes = hasher.codes(tiles)
    distances = hamming_distances(codes, codes).astype(float)
    np.fill_diagonal(distances, np.inf)
    precision = metrics.precision_at(distances, labels[:, None] == labels, k=10).mean()
    assert precision > 0.5  # chance is 0.19
