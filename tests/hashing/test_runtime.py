import numpy as np
import pytest
import torch

from geohash_rs import Hasher
from geohash_rs.hashing import fit_hasher, runtime
from geohash_rs.hashing import hasher as hasher_module
from geohash_rs.hashing.runtime import mixed_precision


@pytest.fixture(scope="module")
def tiles() -> torch.Tensor:
    ramps = np.linspace(0, 1, 48)[None, None, :, None] * np.ones((64, 3, 48, 48))
    noise = np.random.default_rng(0).normal(0, 1, (64, 3, 48, 48)).cumsum(-1).cumsum(-2)
    scaled = noise / np.abs(noise).max(axis=(1, 2, 3), keepdims=True)
    return torch.from_numpy(np.clip(127 + 60 * ramps + 60 * scaled, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def hasher(tiles: torch.Tensor) -> Hasher:
    return fit_hasher([tiles], num_bits=64, input_size=64)


def test_the_traced_network_gives_the_codes_of_eager_pytorch(hasher, tiles):
    traced = Hasher.from_bytes(hasher.to_bytes()).accelerate()
    assert traced._runtime is not None
    np.testing.assert_allclose(traced.features(tiles), hasher.features(tiles), atol=1e-3)
    changed = np.bitwise_count(traced.codes(tiles) ^ hasher.codes(tiles)).sum()
    assert changed <= 0.01 * 64 * len(tiles)


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_cuda_runs_in_the_short_type_that_its_hardware_has(monkeypatch, has_bfloat16):
    made = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bfloat16)
    monkeypatch.setattr(runtime.torch, "autocast", lambda *a, **k: made.append((a, k)))
    mixed_precision(torch.device("cuda:0"))
    wanted = torch.bfloat16 if has_bfloat16 else torch.float16
    assert made == [(("cuda",), {"dtype": wanted})]
    mixed_precision(torch.device("cpu"))
    assert len(made) == 1


def test_features_of_a_network_in_mixed_precision_are_float32_and_near(hasher, tiles, monkeypatch):
    exact = hasher.features(tiles)
    codes = hasher.codes(tiles)
    monkeypatch.setattr(
        hasher_module, "mixed_precision", lambda _: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    rough = hasher.features(tiles)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)  # it was in force
    assert torch.nn.functional.cosine_similarity(rough, exact).min() > 0.99
    assert np.bitwise_count(hasher.codes(tiles) ^ codes).mean() < 8 * 0.1
