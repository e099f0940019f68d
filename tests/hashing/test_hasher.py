"""A hasher is one file, makes the same codes wherever it is loaded, and refuses other tiles."""

import json
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch
from torch import nn

from geohash_rs.errors import BandMismatchError, HasherError, HasherNotFoundError
from geohash_rs.hashing.description import read_metadata
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.heads import LinearHead, MiLaN
from geohash_rs.hashing.network.scaling import Scaling
from geohash_rs.hashing.shipped import load_hasher


def test_codes_are_the_packed_signs_of_the_heads_projection(make_small, tiles):
    hasher = make_small()
    features = hasher.features(tiles)
    unit = features / features.norm(dim=1, keepdim=True)
    bits = (unit @ hasher.head.projection.weight.T + hasher.head.projection.bias) > 0
    np.testing.assert_array_equal(hasher.codes(tiles), np.packbits(bits.numpy(), axis=1))
    assert hasher.activations(tiles).shape == (6, 16)
    assert features.dtype == torch.float32


def test_pixels_reach_the_network_scaled_resized_and_normalised(make_small, tiles):
    hasher = make_small()
    scaled = tiles.double() / 255
    small = nn.functional.interpolate(scaled, size=(32, 32), mode="bicubic", antialias=True)
    expected = (small.clamp(0, 1) - torch.tensor(hasher.backbone.mean).view(1, 3, 1, 1)) / (
        torch.tensor(hasher.backbone.std).view(1, 3, 1, 1)
    )
    expected_features = hasher.backbone(expected.float())
    torch.testing.assert_close(hasher.features(tiles), expected_features, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.float64])
def test_the_data_type_of_equal_pixels_does_not_matter(make_small, tiles, dtype):
    hasher = make_small()
    np.testing.assert_array_equal(hasher.codes(tiles.to(dtype)), hasher.codes(tiles))


def test_no_tiles_make_no_codes(make_small):
    assert make_small().codes(torch.zeros(0, 3, 8, 8)).shape == (0, 2)


def test_tiles_of_several_passes_stay_in_order(make_small, tiles):
    hasher = make_small()
    many = tiles.repeat(30, 1, 1, 1)
    np.testing.assert_array_equal(hasher.codes(many), np.tile(hasher.codes(tiles), (30, 1)))


VIEWS = [("identity",), ("rot180", "identity"), ("hflip", "vflip")]


@pytest.mark.parametrize("views", VIEWS, ids=str)
@pytest.mark.parametrize("accelerated", [False, True])
def test_codes_and_features_are_those_that_each_has_alone(make_small, tiles, views, accelerated):
    hasher = make_small(views=views)
    if accelerated:
        hasher.accelerate()
    many = tiles.repeat(4, 1, 1, 1)
    codes, features = hasher.codes_and_features(many)
    np.testing.assert_array_equal(codes, hasher.codes(many))
    assert (features.dtype, features.shape) == (np.float32, (24, hasher.backbone.num_features))
    np.testing.assert_array_equal(features, hasher.features(many).numpy())
    none = hasher.codes_and_features(tiles[:0])
    assert [part.shape for part in none] == [(0, 2), (0, features.shape[1])]


PASSES = list(zip(VIEWS, [1, 2, 3], strict=True))


@pytest.mark.parametrize(("views", "passes"), PASSES, ids=str)
def test_features_take_no_pass_of_their_own_if_the_identity_is_a_view(
    make_small, tiles, views, passes
):
    hasher = make_small(views=views)
    seen = []
    hook = hasher.backbone.register_forward_hook(lambda *_: seen.append(1))
    hasher.codes_and_features(tiles)
    hook.remove()
    assert len(seen) == passes


def test_features_that_are_not_finite_are_refused_with_the_codes(make_small, tiles):
    wrong = tiles.double()
    wrong[3] = float("nan")
    with pytest.raises(HasherError, match=r"1 of 6 tiles gave features that are NaN .*tile 3"):
        make_small().codes_and_features(wrong)


def test_averages_over_all_views_do_not_depend_on_rotation(make_small, tiles):
    views = ("identity", "hflip", "vflip", "rot90", "rot180", "rot270")
    views += ("transpose", "antitranspose")
    hasher = make_small(views=views)
    turned = hasher.activations(tiles.rot90(1, (-2, -1)))
    torch.testing.assert_close(hasher.activations(tiles), turned, rtol=1e-4, atol=1e-5)


def test_save_and_load_keep_codes_and_fingerprint(make_small, tiles, tmp_path):
    hasher = make_small(name="small", notes={"licence": "MIT"}, views=("identity", "rot180"))
    hasher.save(tmp_path / "h.safetensors")
    loaded = load_hasher(tmp_path / "h.safetensors")
    assert loaded.fingerprint == hasher.fingerprint
    assert loaded.description == hasher.description
    np.testing.assert_array_equal(loaded.codes(tiles), hasher.codes(tiles))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h.safetensors"]
    assert Hasher.from_bytes(loaded.to_bytes()).to_bytes() == hasher.to_bytes()


def test_a_hasher_over_the_packaged_backbone_is_a_small_file(tmp_path, tiles):
    from geohash_rs.hashing.network.pretrained import load_backbone

    backbone = load_backbone(in_chans=3)
    head = MiLaN(1280, 64)
    head.standardise(torch.rand(10, 1280))
    head.round_weights()
    scaling = Scaling(low=(0,) * 3, high=(255,) * 3, mean=backbone.mean, std=backbone.std)
    extractor = Extractor(
        backbone, scaling=scaling, bands=("r", "g", "b"), tile_size=40, input_size=64
    )
    hasher = Hasher(extractor, head)
    hasher.save(tmp_path / "h.safetensors")
    assert (tmp_path / "h.safetensors").stat().st_size < 4_000_000
    loaded = load_hasher(tmp_path / "h.safetensors")
    assert loaded.fingerprint == hasher.fingerprint
    np.testing.assert_array_equal(loaded.codes(tiles), hasher.codes(tiles))


def test_the_fingerprint_changes_with_weights_and_settings_but_not_with_the_name(make_small):
    hasher, other = make_small(), make_small()
    assert hasher.fingerprint == other.fingerprint
    assert make_small(name="other", notes={"a": 1}).fingerprint == hasher.fingerprint
    assert make_small(input_size=40).fingerprint != hasher.fingerprint
    assert make_small(tile_size=64).fingerprint != hasher.fingerprint
    changed = make_small()
    changed.head.projection.bias.data[0] += 1
    assert changed.fingerprint != hasher.fingerprint


def test_the_fingerprint_is_the_same_in_another_process(make_small, tmp_path):
    hasher = make_small()
    hasher.save(tmp_path / "h.safetensors")
    code = "import sys; from geohash_rs import load_hasher;"
    code += "print(load_hasher(sys.argv[1]).fingerprint)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "h.safetensors")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == hasher.fingerprint


def test_a_failed_save_leaves_the_old_file(make_small, tmp_path, monkeypatch):
    path = tmp_path / "h.safetensors"
    make_small().save(path)
    before = path.read_bytes()

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("geohash_rs.hashing.hasher.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        make_small(num_bits=32).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["h.safetensors"]


def test_tiles_that_do_not_fit_are_refused(make_small):
    hasher = make_small()
    with pytest.raises(BandMismatchError, match=r"4 bands but the hasher expects 3 \(red"):
        hasher.codes(torch.zeros(1, 4, 8, 8))
    with pytest.raises(BandMismatchError, match=r"shape \(1, 8, 8, 3\), with their 3 bands last"):
        hasher.codes(torch.zeros(1, 8, 8, 3))
    with pytest.raises(HasherError, match=r"shape \(3, 8, 8\)"):
        hasher.codes(torch.zeros(3, 8, 8))
    with pytest.raises(HasherError, match="complex64"):
        hasher.codes(torch.zeros(1, 3, 8, 8, dtype=torch.complex64))
    tiles = torch.zeros(3, 3, 32, 32)
    tiles[1, 0, 0, 0] = torch.nan
    with pytest.raises(HasherError, match=r"1 of 3 tiles .* NaN or infinite \(first: tile 1\)"):
        hasher.codes(tiles)


def test_parts_that_do_not_fit_each_other_are_refused(make_small):
    backbone = Backbone("test_resnet", in_chans=3)
    scaling = Scaling(low=(0,) * 3, high=(1,) * 3, mean=(0,) * 3, std=(1,) * 3)
    settings = {"scaling": scaling, "tile_size": 8, "input_size": 8}
    extractor = Extractor(backbone, bands=("r", "g", "b"), **settings)
    with pytest.raises(HasherError, match="takes 10 features but test_resnet makes"):
        Hasher(extractor, LinearHead(10, 16))
    with pytest.raises(BandMismatchError, match="2 band names"):
        Extractor(backbone, bands=("r", "g"), **settings)


def test_swapped_parts_and_parts_of_another_kind_are_named(make_small):
    hasher = make_small()
    with pytest.raises(HasherError, match="not of LinearHead and Extractor; swap them"):
        Hasher(hasher.head, hasher.extractor)
    with pytest.raises(HasherError, match=r"not of Extractor and Linear; pass Hasher\(extractor,"):
        Hasher(hasher.extractor, nn.Linear(4, 16))


def test_a_head_is_standardised_and_evaluated_before_it_hashes(make_small, tiles):
    extractor = make_small().extractor
    width = extractor.backbone.num_features
    head = MiLaN(width, 16, hidden=(8,), components=4, dropout=0.5, noise=1.0).train()
    with pytest.raises(HasherError, match="4 principal components were never computed; call"):
        Hasher(extractor, head)
    features = extractor.features(tiles)
    views = torch.stack([features, features], dim=1)
    with pytest.raises(HasherError, match=rf"\(6, 2, {width}\) .* pass features.flatten\(0, 1\)"):
        head.standardise(views)
    with pytest.raises(HasherError, match=rf"\(6, 4\) .* \(tiles, {width}\); use those of its"):
        head.standardise(features[:, :4])
    head.standardise(views.flatten(0, 1))
    hasher = Hasher(extractor, head)  # dropout and noise are off, though the head was training
    np.testing.assert_array_equal(hasher.codes(tiles), hasher.codes(tiles))
    assert torch.equal(hasher.activations(tiles), hasher.activations(tiles))


def test_a_hasher_does_not_change_but_can_be_copied_with_changes(make_small, tiles):
    hasher = make_small(notes={"a": 1})
    head = make_small(num_bits=32).head
    before = hasher.fingerprint
    with pytest.raises(FrozenInstanceError):
        hasher.head = head
    with pytest.raises(FrozenInstanceError):
        hasher.extractor.tile_size = 1
    other = replace(hasher, head=head)
    assert (other.num_bits, other.notes, other.extractor) == (32, {"a": 1}, hasher.extractor)
    assert other.fingerprint != before == hasher.fingerprint
    assert torch.equal(other.features(tiles), hasher.features(tiles))


def test_an_unknown_hasher_is_refused_with_a_list_of_hashers(tmp_path):
    with pytest.raises(HasherNotFoundError, match="nothing-64.*shipped: .*general-64"):
        load_hasher("nothing-64")
    with pytest.raises(HasherNotFoundError):
        load_hasher(tmp_path)


def test_files_that_are_not_hashers_are_refused_and_never_unpickled(make_small, tmp_path):
    path = tmp_path / "h.safetensors"

    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(HasherError, match="h.safetensors: not a hasher"):
        load_hasher(path)
    path.write_bytes(b"")
    with pytest.raises(HasherError, match="not a hasher"):
        load_hasher(path)
    data = make_small().to_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(HasherError, match="damaged"):
        load_hasher(path)


def test_a_changed_weight_is_noticed(make_small):
    data = bytearray(make_small().to_bytes())
    data[-1] ^= 64
    with pytest.raises(HasherError, match="the file was changed"):
        Hasher.from_bytes(bytes(data))


def test_a_file_of_a_newer_format_is_refused(make_small):
    data = make_small().to_bytes()
    newer = data.replace(b'\\"format\\": 1', b'\\"format\\": 9')
    assert newer != data
    with pytest.raises(HasherError, match="format 9 is not 1; update"):
        Hasher.from_bytes(newer)


def test_the_description_is_json_and_readable_without_the_weights(make_small):
    hasher = make_small()
    about = read_metadata(hasher.to_bytes())
    assert about["fingerprint"] == hasher.fingerprint
    assert about["description"] == json.loads(json.dumps(hasher.description))


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_named_and_not_called_damage(make_small, device):
    hasher = make_small()
    said = f"PyTorch cannot use the device '{device}' on this machine"
    with pytest.raises(HasherError, match=said):
        Hasher.from_bytes(hasher.to_bytes(), device=device)
    with pytest.raises(HasherError, match=said):
        replace(hasher.extractor, device=device)
