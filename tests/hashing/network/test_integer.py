import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from geohash_rs import Hasher
from geohash_rs.errors import HasherError
from geohash_rs.hashing import GENERAL_STAGES
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.files import HasherContent
from geohash_rs.hashing.fit.training_free import fit_hasher
from geohash_rs.hashing.network.calibration import (
    calibrate,
    choose_calibration,
    shipped_calibration,
)
from geohash_rs.hashing.network.folded import fits_integers
from geohash_rs.hashing.network.integer import IntegerNetwork
from geohash_rs.hashing.network.preparation import WholePreparation, prepare
from geohash_rs.hashing.network.pretrained import load_backbone
from geohash_rs.hashing.network.runtime import CpuRuntime
from geohash_rs.hashing.network.scaling import Scaling

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def backbone():
    stages = (*GENERAL_STAGES, "blocks.4:covariance", "blocks.5:covariance")
    return load_backbone(LITE0, stages=stages).eval()


@pytest.fixture(scope="module")
def network(backbone):
    return IntegerNetwork(backbone, shipped_calibration(backbone)).eval()


@pytest.fixture(scope="module")
def tiles():
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 1, (24, 3, 48, 48)).cumsum(-1).cumsum(-2)
    scaled = waves / np.abs(waves).max(axis=(1, 2, 3), keepdims=True)
    noise = rng.normal(0, 8, waves.shape)
    return torch.from_numpy(np.clip(127 + 110 * scaled + noise, 0, 255).astype(np.uint8))


def scaling_of(backbone, low=0.0, high=255.0):
    bands = backbone.in_chans
    ends = {"low": (low,) * bands, "high": (high,) * bands}
    return Scaling(**ends, mean=backbone.mean, std=backbone.std)


@pytest.mark.parametrize("size", [32, 75, 96, 128])
def test_onnx_runtime_and_pytorch_compute_the_same_features(network, backbone, size):
    extremes = [torch.full((3, size, size), value) for value in (0, 255)]
    checker = torch.arange(size)[:, None].add(torch.arange(size)).remainder(2).mul(255)
    noise = torch.randint(0, 256, (5, 3, size, size), generator=torch.Generator().manual_seed(size))
    pixels = torch.cat([torch.stack([*extremes, checker.expand(3, -1, -1)]), noise]).to(torch.uint8)
    runtime = CpuRuntime.of_integers(network, input_size=size)
    with torch.inference_mode():
        assert torch.equal(runtime(pixels, scaling=scaling_of(backbone)), network(pixels))


def test_features_in_int8_are_close_to_those_in_fp32(network, backbone, tiles):
    pixels = WholePreparation(scaling_of(backbone), height=48, width=48, input_size=96)(
        tiles.float()
    )
    with torch.inference_mode():
        exact = backbone((pixels / 255 - 0.5) / 0.5)
        rounded = network(pixels)
    first = 0
    for length in backbone.parts:
        part = slice(first, first + length)
        close = torch.nn.functional.cosine_similarity(exact[:, part], rounded[:, part])
        assert close.mean() > 0.97
        first += length


def test_no_sum_in_the_network_can_lose_a_digit(network):
    for layer in network.layers:
        levels = 63 if layer.shape.groups == 1 else 127  # products of two pairs fit 16 bits
        assert layer.weight.abs().max() <= levels
        assert torch.equal(layer.weight, layer.weight.round())
        largest = layer.weight.abs().sum((1, 2, 3)) * 255 + layer.bias.abs()
        assert largest.max() < 2**24


@pytest.mark.parametrize("size", [(64, 64), (48, 48), (200, 200), (33, 90), (700, 20), (1, 1)])
@pytest.mark.parametrize("ends", [(0.0, 255.0), (-40.0, 300.5)])
def test_whole_pixels_are_those_of_resizing_rounded(backbone, size, ends):
    raw = torch.rand(2, 3, *size) * 300 - 20
    scaling = scaling_of(backbone, *ends)
    whole = WholePreparation(scaling, height=size[0], width=size[1], input_size=64)(raw)
    smooth = (prepare(raw, scaling, size=64) * 0.5 + 0.5) * 255
    assert torch.equal(whole, whole.round())
    assert (whole - smooth).abs().max() < 1  # a half, and what rounding twice adds


def test_onnx_runtime_prepares_the_pixels_of_pytorch(network, backbone):
    runtime = CpuRuntime.of_integers(network, input_size=64)
    scaling = scaling_of(backbone, -3.25, 811.0)
    for height, width in [(64, 64), (40, 64), (64, 130), (131, 47)]:
        raw = torch.rand(3, 3, height, width) * 900 - 40
        pixels = WholePreparation(scaling, height=height, width=width, input_size=64)(raw)
        with torch.inference_mode():
            assert torch.equal(runtime(raw, scaling=scaling), network(pixels))


def test_int8_is_the_default_of_the_default_network_and_survives_the_file(tiles):
    hasher = fit_hasher([tiles], num_bits=16, method="general", input_size=64)
    assert hasher.extractor.precision == hasher.description["backbone"]["precision"] == "int8"
    again = Hasher.from_bytes(hasher.to_bytes())
    assert again.extractor.precision == "int8"
    np.testing.assert_array_equal(again.codes(tiles), hasher.codes(tiles))
    plain = fit_hasher([tiles], num_bits=16, method="general", input_size=64, precision="fp32")
    assert plain.extractor.precision == "fp32"
    assert "precision" not in plain.description["backbone"]
    assert plain.fingerprint != hasher.fingerprint
    assert not plain.extractor.equals(hasher.extractor)


def test_a_file_without_its_calibration_or_with_a_broken_one_is_refused(tiles):
    data = fit_hasher([tiles], num_bits=16, input_size=64).to_bytes()
    for change, match in [
        (lambda t: t.pop("int8.shift"), "calibration has shapes"),
        (lambda t: t.update({"int8.high": t["int8.high"] * float("nan")}), "do not hold 0"),
        (lambda t: t.update({"int8.low": t["int8.low"] + 1}), "do not hold 0"),
        (lambda t: t.update({"int8.high": t["int8.high"] + torch.rand(49)}), "two ranges in"),
        (lambda t: t.update({"int8.low": t["int8.low"] - 1}), "fingerprint"),
        (lambda t: t.update({"int8.high": t["int8.high"] * 1e-30}), "ranges of .* are allowed"),
        (lambda t: t.update({"int8.high": t["int8.high"] * 1e30}), "ranges of .* are allowed"),
    ]:
        content = HasherContent.from_bytes(data)
        tensors = dict(content.tensors)
        change(tensors)
        changed = HasherContent(**{**vars(content), "tensors": tensors})
        with pytest.raises(HasherError, match=match):
            Hasher.from_bytes(changed.to_bytes())


def test_other_weights_are_calibrated_on_the_tiles_that_the_head_is_fitted_on(tiles):
    hasher = fit_hasher([tiles], num_bits=16, weights=False, input_size=64)
    assert hasher.extractor.precision == "int8"
    plain = fit_hasher([tiles], num_bits=16, weights=False, input_size=64, precision="fp32")
    close = torch.nn.functional.cosine_similarity(hasher.features(tiles), plain.features(tiles))
    assert close.mean() > 0.9
    shipped = shipped_calibration(load_backbone(LITE0))
    assert not torch.equal(hasher.extractor.integer.calibration["high"], shipped["high"])


def test_a_network_of_another_kind_stays_in_fp32_and_cannot_be_made_int8(tiles):
    other = load_backbone("resnet18", weights=False)
    assert not fits_integers(other)
    settings = {"sample": tiles, "scaling": scaling_of(other), "input_size": 64}
    assert choose_calibration(other, None, **settings) is None
    with pytest.raises(HasherError, match="resnet18 cannot run in int8"):
        choose_calibration(other, "int8", **settings)


def test_more_bands_than_three_run_in_int8(tiles):
    four = torch.cat([tiles, tiles[:, :1]], dim=1)
    hasher = fit_hasher([four], num_bits=16, input_size=64)
    plain = fit_hasher([four], num_bits=16, input_size=64, precision="fp32")
    close = torch.nn.functional.cosine_similarity(hasher.features(four), plain.features(four))
    assert close.mean() > 0.95


def test_a_nan_is_refused_and_not_rounded(tiles):
    hasher = fit_hasher([tiles.float()], num_bits=16, input_size=64)
    broken = tiles.float()
    broken[5, 1, 7, 7] = torch.nan
    with pytest.raises(HasherError, match=r"1 of 24 tiles .*first: tile 5"):
        hasher.codes(broken)


def test_the_calibration_is_of_the_tiles_it_was_measured_on(backbone, tiles):
    pixels = WholePreparation(scaling_of(backbone), height=48, width=48, input_size=64)(
        tiles.float()
    )
    own = calibrate(backbone, pixels)
    network = IntegerNetwork(backbone, own)
    with torch.inference_mode():
        exact = backbone((pixels / 255 - 0.5) / 0.5)
        wrong = (network(pixels).mean(0) - exact.mean(0)).abs()
    means = slice(0, sum(backbone.parts[:-2]))  # without covariances, which are not calibrated
    assert wrong[means].mean() < 0.02 * exact[:, means].abs().mean()


def test_every_view_is_the_same_without_the_runtime(tiles, monkeypatch):
    views = ("identity", "hflip", "rot90", "rot270", "antitranspose")
    hasher = fit_hasher([tiles], num_bits=16, input_size=64, views=views)
    runs = hasher.activations(tiles)
    monkeypatch.setattr(Extractor, "accelerate", lambda extractor: extractor)
    plain = Hasher.from_bytes(hasher.to_bytes())
    assert torch.equal(plain.activations(tiles), runs)
    assert plain.extractor.runtime is None


def test_the_integer_network_is_of_the_present_backbone(tiles):
    hasher = fit_hasher([tiles], num_bits=16, input_size=64)
    other = load_backbone(LITE0)
    with torch.no_grad():
        other.network.blocks[2][0].conv_pw.weight *= 2
    changed = replace(hasher.extractor, backbone=other)
    assert not torch.equal(changed.features(tiles), hasher.features(tiles))


def test_a_hasher_that_has_run_can_be_copied_and_sent_to_another_process(tiles):
    hasher = fit_hasher([tiles], num_bits=16, input_size=64)
    codes = hasher.codes(tiles)
    assert hasher.extractor.runtime is not None
    for copied in (copy.deepcopy(hasher), pickle.loads(pickle.dumps(hasher))):  # noqa: S301 - our own
        np.testing.assert_array_equal(copied.codes(tiles), codes)


def test_a_scaling_that_the_integer_network_would_not_follow_is_refused(network, backbone):
    scaling = scaling_of(backbone)
    settings = {"bands": ("red", "green", "blue"), "tile_size": 48, "input_size": 64}
    for other in (replace(scaling, mean=(0.9,) * 3), replace(scaling, clip=False)):
        with pytest.raises(HasherError, match="in int8, tf_efficientnet_lite0 takes clipped"):
            Extractor(backbone, calibration=network.calibration, scaling=other, **settings)
        assert Extractor(backbone, scaling=other, **settings).precision == "fp32"


def test_an_unknown_precision_is_refused(tiles):
    with pytest.raises(HasherError, match="precision is 'fp16'; use 'int8' or 'fp32'"):
        fit_hasher([tiles], num_bits=16, input_size=64, precision="fp16")


def test_weights_that_are_not_finite_are_refused(backbone):
    calibration = shipped_calibration(backbone)
    spoilt = copy.deepcopy(backbone)
    spoilt.network.conv_head.weight.data[0] = torch.nan
    with pytest.raises(HasherError, match="are NaN, infinite or too large for int8"):
        IntegerNetwork(spoilt, calibration)


def test_tiles_with_nan_pixels_do_not_spoil_the_calibration(tiles):
    four = torch.cat([tiles, tiles[:, :1]], dim=1).float()
    settings = {"scaling": scaling_of(load_backbone(in_chans=4)), "input_size": 64}
    spoilt = torch.cat([four, torch.full_like(four[:1], torch.nan)])
    plain, cleaned = (
        choose_calibration(load_backbone(in_chans=4), "int8", sample=sample, **settings)
        for sample in (four, spoilt)
    )
    assert torch.equal(plain["high"], cleaned["high"])
    with pytest.raises(HasherError, match="every tile looked at has NaN"):
        choose_calibration(load_backbone(in_chans=4), "int8", sample=spoilt[-1:], **settings)
