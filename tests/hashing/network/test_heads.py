"""Effects on a head that occur only in training."""

import torch

from geohash_rs.hashing.network.heads import MiLaN


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
