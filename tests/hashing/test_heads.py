"""What only training does to a head."""

import torch

from geohash_rs.hashing.heads import MiLaN


def test_noise_disturbs_training_alone_and_leaves_codes_as_they_are():
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
