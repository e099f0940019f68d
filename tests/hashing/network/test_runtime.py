import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from geohash_rs import Hasher
from geohash_rs.errors import HasherError
from geohash_rs.hashing import extractor as extractor_module
from geohash_rs.hashing.fit.training_free import fit_hasher
from geohash_rs.hashing.network import runtime
from geohash_rs.hashing.network.preparation import Preparation
from geohash_rs.hashing.network.runtime import mixed_precision
from geohash_rs.hashing.network.telemetry import quiet_onnxruntime


@pytest.fixture(scope="module")
def tiles() -> torch.Tensor:
    ramps = np.linspace(0, 1, 48)[None, None, :, None] * np.ones((64, 3, 48, 48))
    noise = np.random.default_rng(0).normal(0, 1, (64, 3, 48, 48)).cumsum(-1).cumsum(-2)
    scaled = noise / np.abs(noise).max(axis=(1, 2, 3), keepdims=True)
    return torch.from_numpy(np.clip(127 + 60 * ramps + 60 * scaled, 0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def hasher(tiles: torch.Tensor) -> Hasher:
    return fit_hasher([tiles], num_bits=64, input_size=64, precision="fp32")


def test_the_traced_network_makes_the_codes_of_eager_pytorch(hasher, tiles):
    traced = Hasher.from_bytes(hasher.to_bytes()).accelerate()
    assert traced.extractor.runtime is not None
    np.testing.assert_allclose(traced.features(tiles), hasher.features(tiles), atol=1e-3)
    changed = np.bitwise_count(traced.codes(tiles) ^ hasher.codes(tiles)).sum()
    assert changed <= 0.01 * 64 * len(tiles)


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_cuda_uses_the_half_precision_type_that_its_hardware_supports(monkeypatch, has_bfloat16):
    made = []
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bfloat16)
    monkeypatch.setattr(runtime.torch, "autocast", lambda *a, **k: made.append((a, k)))
    mixed_precision(torch.device("cuda:0"))
    wanted = torch.bfloat16 if has_bfloat16 else torch.float16
    assert made == [(("cuda",), {"dtype": wanted})]
    mixed_precision(torch.device("cpu"))
    assert len(made) == 1


def test_features_in_mixed_precision_are_float32_and_close(hasher, tiles, monkeypatch):
    exact = hasher.features(tiles)
    codes = hasher.codes(tiles)
    monkeypatch.setattr(
        extractor_module, "mixed_precision", lambda _: torch.autocast("cpu", dtype=torch.bfloat16)
    )
    rough = hasher.features(tiles)
    assert rough.dtype == torch.float32
    assert not torch.equal(rough, exact)  # it was active
    assert torch.nn.functional.cosine_similarity(rough, exact).min() > 0.99
    assert np.bitwise_count(hasher.codes(tiles) ^ codes).mean() < 8 * 0.1


@pytest.mark.parametrize("size", [(64, 64), (48, 48), (200, 200), (33, 90), (700, 20), (1, 1)])
def test_tiles_of_any_size_are_prepared_as_in_pytorch(hasher, size):
    raw = torch.rand(2, 3, *size) * 300 - 20
    prepare = Preparation(
        hasher.scaling, height=size[0], width=size[1], input_size=hasher.input_size
    )
    torch.testing.assert_close(
        prepare(raw), hasher.extractor.prepare(raw).contiguous(), rtol=0, atol=1e-5
    )


@pytest.fixture(scope="module")
def pair(hasher) -> tuple[Hasher, Hasher]:
    views = ("identity", "hflip", "rot90", "antitranspose")
    plain, traced = (replace(Hasher.from_bytes(hasher.to_bytes()), views=views) for _ in range(2))
    return plain, traced.accelerate()


@pytest.mark.parametrize(
    "dtype", [torch.uint8, torch.uint16, torch.int16, torch.float32, torch.float64, torch.bfloat16]
)
def test_the_traced_network_accepts_every_type_and_view(pair, tiles, dtype):
    plain, traced = pair
    some = tiles[:20, :, :40].to(dtype)
    wanted = plain.activations(some)
    torch.testing.assert_close(traced.activations(some), wanted, rtol=0, atol=1e-3)
    torch.testing.assert_close(traced.activations(some[:1]), wanted[:1], rtol=0, atol=1e-3)
    assert traced.codes(some[:0]).shape == (0, 8)


@pytest.mark.parametrize("clip", [True, False])
def test_the_traced_network_also_detects_non_finite_tiles(hasher, tiles, clip):
    raw = tiles[:5].float()
    raw[3, 1, 7, 7] = torch.nan
    for accelerated in (False, True):
        scaling = replace(hasher.scaling, clip=clip)
        copy = replace(hasher, extractor=replace(hasher.extractor, scaling=scaling))
        if accelerated:
            copy.accelerate()
        with pytest.raises(HasherError, match="1 of 5 tiles gave features.*first: tile 3"):
            copy.codes(raw)
        infinite = raw.nan_to_num(torch.inf)
        if clip:
            assert len(copy.codes(infinite)) == 5
        else:
            with pytest.raises(HasherError, match="first: tile 3"):
                copy.codes(infinite)


@pytest.mark.parametrize("chosen", [None, "0"])
def test_onnx_runtime_reports_nothing_unless_the_user_wants_it(monkeypatch, chosen):
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)
    if chosen is not None:
        monkeypatch.setenv("ORT_DISABLE_TELEMETRY", chosen)
    assert quiet_onnxruntime().__name__ == "onnxruntime"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == (chosen or "1")
