"""Effects on a head that occur only in training."""

import pytest
import torch

from geohash_rs.errors import HasherError
from geohash_rs.hashing.network.heads import MiLaN, make_head


def test_rounded_weights_keep_shift_and_scale_of_features_of_any_size():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=generator) * 0.01 + 3000
    features[:, 0] = 7  # a feature that never varies has a scale of a million
    head = MiLaN(6, 8, hidden=(4,))
    head.standardise(features)
    before = head.eval()(features)
    head.round_weights()
    torch.testing.assert_close(head(features), before, atol=2e-3, rtol=0)
    weight = head.bits.weight
    assert torch.equal(weight.half().float(), weight)


def test_noise_affects_only_training_and_not_the_codes():
    head = MiLaN(6, 8, hidden=(4,), noise=2.0)
    prepared = torch.randn(16, 6, generator=torch.Generator().manual_seed(0))
    quiet = MiLaN(6, 8, hidden=(4,))
    quiet.load_state_dict(head.state_dict())
    assert torch.equal(head.eval()(prepared), quiet.eval()(prepared))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        seen = head.train().activate(prepared)
        torch.manual_seed(1)
        wanted = quiet.activate(prepared + 2.0 * torch.randn_like(prepared))
    assert torch.equal(seen, wanted)
    assert not torch.equal(seen, quiet.activate(prepared))


def test_whitening_evens_out_the_variances_of_components():
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(500, 4, generator=generator) @ torch.randn(4, 6, generator=generator)
    features = mixed + 0.1 * torch.randn(500, 6, generator=generator)
    variances = {}
    for whitening in (0.0, 0.5, 1.0):
        head = MiLaN(6, 8, hidden=(4,), components=5, whitening=whitening)
        head.standardise(features)
        prepared = head.prepare(features)
        variances[whitening] = prepared.var(0, correction=0)
        torch.testing.assert_close(variances[whitening].mean(), torch.tensor(1.0))
    plain = variances[0.0].sqrt()
    torch.testing.assert_close(variances[0.5], plain / plain.mean(), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(variances[1.0], torch.ones(5), rtol=1e-3, atol=1e-4)


def test_whitening_does_not_blow_up_what_the_training_tiles_do_not_show():
    generator = torch.Generator().manual_seed(0)
    few, others = torch.randn(8, 40, generator=generator).split([4, 4])
    head = MiLaN(40, 8, hidden=(4,), components=20, whitening=1.0)
    head.standardise(few)  # of 4 tiles, 3 components
    assert float(head.prepare(others).abs().max()) < 1000


def test_components_of_few_tiles_are_those_of_their_covariance():
    generator = torch.Generator().manual_seed(0)
    few, others = torch.randn(40, 90, generator=generator).split([30, 10])
    head = MiLaN(90, 8, hidden=(4,), components=35)
    head.standardise(few)
    scaled = ((few - few.mean(0)) / few.std(0, correction=0)).double()
    _, vectors = torch.linalg.eigh(scaled.T @ scaled)
    wanted = (scaled @ vectors.flip(1)[:, :29]).abs().float()  # 30 tiles have 29 components
    found = head.prepare(few).abs()
    scale = float(found[:, 0].norm() / wanted[:, 0].norm())
    torch.testing.assert_close(found[:, :29], wanted * scale, rtol=1e-3, atol=1e-3)
    assert not head.prepare(others)[:, 29:].any()


@pytest.mark.parametrize("num_bits", [8, 16])  # fewer and more bits than components
def test_the_projection_keeps_what_the_features_know_until_the_layers_change_it(num_bits):
    generator = torch.Generator().manual_seed(0)
    scales = torch.tensor([3.0] * 8 + [0.1] * 12)
    features = torch.randn(300, 20, generator=generator) * scales
    features = features @ torch.randn(20, 20, generator=generator)
    head = MiLaN(20, num_bits, hidden=(4,), components=12, whitening=1.0, itq=2.0).eval()
    head.standardise(features)
    torch.nn.init.zeros_(head.bits.weight)
    torch.nn.init.zeros_(head.bits.bias)
    with torch.no_grad():
        logits = torch.logit(head(features).double(), eps=1e-9)
    standard = (features - features.mean(0)) / features.std(0, correction=0)
    left, values, _ = torch.linalg.svd(standard.double(), full_matrices=False)
    kept = min(12, num_bits)
    known = left[:, :kept] * values[:kept]  # principal components, not whitened
    scale = logits.square().sum() / known.square().sum()
    torch.testing.assert_close(logits @ logits.T, known @ known.T * scale, rtol=1e-3, atol=1e-2)
    assert float(logits.square().mean().sqrt()) == pytest.approx(2.0, rel=1e-3)
    assert float(logits.abs().mean()) > 0.81 * 2.0  # nearer to signs than 0.80 of normal deviates


def test_a_head_with_a_projection_is_remade_from_its_settings():
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    head = MiLaN(6, 8, hidden=(4,), components=5, whitening=0.5, itq=2.0).eval()
    head.standardise(features)
    again = make_head("milan", head.settings).eval()
    again.load_state_dict(head.state_dict())
    assert torch.equal(again(features), head(features))
    assert "itq" not in MiLaN(6, 8, components=5).settings  # as in files of earlier versions
    with pytest.raises(HasherError, match="components=0; use components=384, or itq=0"):
        MiLaN(6, 8, itq=2.0)


@pytest.mark.parametrize(
    ("features", "match"),
    [
        (torch.full((9, 6), torch.nan), "9 of 9 rows of features are NaN or infinite"),
        (torch.zeros(0, 6), "0 of 0 rows .*; pass those of one tile or more"),
    ],
    ids=["nan", "none"],
)
def test_a_head_is_not_standardised_on_features_that_are_no_numbers(features, match):
    with pytest.raises(HasherError, match=match):
        MiLaN(6, 8, components=5).standardise(features)
