"""Frozen features are computed once, and reused only for the same pixels and settings."""

import pytest
import torch
from safetensors.torch import save_file

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.features import cached_features, features_key
from geohash_rs.hashing.network.views import view


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(3)
    size = (3, 3, 40, 40)
    return [torch.randint(0, 256, size, dtype=torch.uint8, generator=generator) for _ in range(2)]


def test_features_of_views_are_those_of_the_turned_tiles(batches, make_small, tmp_path):
    extractor = make_small().extractor
    for folder in (None, tmp_path, tmp_path):
        features = cached_features(extractor, batches, views=("identity", "rot90"), folder=folder)
        assert features.shape[:2] == (6, 2)
        turned = extractor.features(view(batches[1], "rot90"))
        torch.testing.assert_close(features[3:, 1], turned)


def test_other_pixels_settings_or_weights_are_computed_again(batches, make_small, tmp_path):
    extractor = make_small().extractor
    first = cached_features(extractor, batches, folder=tmp_path)
    batches[1][0, 0, 0, 0] ^= 255
    second = cached_features(extractor, batches, folder=tmp_path)
    assert torch.equal(second[:3], first[:3])
    assert not torch.equal(second[3:], first[3:])
    assert len(list(tmp_path.glob("*/*.safetensors"))) == 3
    cached_features(make_small(input_size=48).extractor, batches, folder=tmp_path)
    with torch.no_grad():
        next(extractor.backbone.parameters()).mul_(1.5)
    assert not torch.equal(cached_features(extractor, batches, folder=tmp_path), second)
    assert len(list(tmp_path.iterdir())) == 3


def test_features_of_another_kind_of_device_are_stored_separately(make_small):
    extractor = make_small().extractor
    key = features_key(extractor, views=("identity",))
    object.__setattr__(extractor, "device", torch.device("cuda"))  # does not move the network
    assert features_key(extractor, views=("identity",)) != key


def test_two_runs_that_share_a_cache_leave_each_others_files_alone(
    batches, make_small, tmp_path, monkeypatch
):
    save, runs = save_file, []

    def save_beside_another_run(tensors, path, **settings):
        save(tensors, path, **settings)
        if not runs:
            runs.append(None)
            runs[0] = cached_features(make_small().extractor, batches, folder=tmp_path)

    monkeypatch.setattr("geohash_rs.hashing.data.features.save_file", save_beside_another_run)
    features = cached_features(make_small().extractor, batches, folder=tmp_path)
    assert torch.equal(features, runs[0])
    assert {path.suffix for path in tmp_path.glob("*/*")} == {".safetensors"}


def test_a_large_set_is_traced_and_gives_the_same_features(make_small, monkeypatch):
    monkeypatch.setattr("geohash_rs.hashing.data.features.FEW_PASSES", 4)
    batches = [torch.full((4, 3, 40, 40), 40 * i, dtype=torch.uint8) for i in range(3)]
    extractor = make_small().extractor
    traced = cached_features(extractor, batches)
    assert extractor.runtime is not None
    plain = torch.cat([make_small().features(batch) for batch in batches])
    torch.testing.assert_close(traced[:, 0], plain, rtol=1e-4, atol=1e-4)


def test_a_damaged_cache_and_an_empty_set_are_refused(batches, make_small, tmp_path):
    cached_features(make_small().extractor, batches, folder=tmp_path)
    next(tmp_path.glob("*/*.safetensors")).write_bytes(b"broken")
    with pytest.raises(TrainingError, match=r"cannot be read .* delete the file"):
        cached_features(make_small().extractor, batches, folder=tmp_path)
    with pytest.raises(TrainingError, match="there are no tiles"):
        cached_features(make_small().extractor, [])
