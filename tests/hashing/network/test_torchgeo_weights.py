"""What TorchGeo states about its weights, and backbones made from their files."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from geohash_rs import Hasher, fit_hasher
from geohash_rs.errors import BandMismatchError, GeoHashRSWarning, HasherError, ValueMismatchError
from geohash_rs.hashing import load_backbone
from geohash_rs.hashing.network import pretrained
from geohash_rs.hashing.network.torchgeo_weights import TorchGeoWeights

MOCO = "ResNet18_Weights.SENTINEL2_ALL_MOCO"
SOFTCON = "ViTSmall14_DINOv2_Weights.SENTINEL2_ALL_SOFTCON"


def random_file(path, model, in_chans, **settings):
    """Write random weights as their publisher would."""
    network = timm.create_model(model, in_chans=in_chans, num_classes=0, **settings)
    torch.save(network.state_dict(), path)
    return path


def test_bands_are_named_by_what_they_show_on_their_sensor():
    cases = {
        "ResNet18_Weights.LANDSAT_TM_TOA_MOCO": "blue green red nir08 swir16 lwir swir22",
        "ResNet18_Weights.LANDSAT_ETM_TOA_MOCO": "blue green red nir08 swir16 B6_VCID_1 B6_VCID_2 "
        "swir22 pan",
        "ResNet18_Weights.LANDSAT_OLI_SR_MOCO": "coastal blue green red nir08 swir16 swir22",
        "ResNet18_Weights.SENTINEL2_RGB_MOCO": "red green blue",
        "ResNet50_Weights.SENTINEL1_ALL_MOCO": "vv vh",
        "ResNet50_Weights.FMOW_RGB_GASSL": "red green blue",
    }
    for name, bands in cases.items():
        assert TorchGeoWeights.find(name).bands == tuple(bands.split()), name


def test_the_network_is_that_of_the_weights_though_their_meta_names_another():
    weights = TorchGeoWeights.find("ResNet152_Weights.SENTINEL2_SI_RGB_SATLAS")
    assert (weights.model, weights.input_size) == ("resnet152", 256)


def test_weights_of_pictures_are_scaled_like_those_of_photographs():
    mean, std, raw = TorchGeoWeights.find("ResNet50_Weights.FMOW_RGB_GASSL").statistics()
    assert mean == pytest.approx((0.485, 0.456, 0.406))
    assert std == pytest.approx((0.229, 0.224, 0.225))
    assert not raw


def test_a_file_takes_the_place_of_a_download(tmp_path, moco, monkeypatch):
    downloaded = load_backbone(MOCO)
    monkeypatch.setattr(moco.value, "url", "file:///nowhere.pth")
    by_file = load_backbone(MOCO, weights=tmp_path / "moco.pth")
    for name, tensor in downloaded.network.state_dict().items():
        assert torch.equal(by_file.network.state_dict()[name], tensor), name
    assert (by_file.mean, by_file.std, by_file.raw_input) == (
        (0.0,) * 13,
        (10_000.0,) * 13,
        True,
    )
    assert (by_file.weights, by_file.in_chans) == (MOCO, 13)


def test_what_cannot_be_downloaded_is_named_with_what_to_fetch(moco, monkeypatch, tmp_path):
    monkeypatch.setattr(moco.value, "url", (tmp_path / "none.pth").as_uri())
    with pytest.raises(
        HasherError,
        match=r"fetch file:.*none\.pth in another way and pass weights=FILE next to the name",
    ):
        load_backbone(MOCO)

    def fail(*_args, **_settings):
        message = "the hub does not answer. Try again."
        raise OSError(message)

    monkeypatch.setattr(pretrained, "create_network", fail)
    address = "https://huggingface.co/timm/resnet18.a1_in1k/resolve/main/model.safetensors"
    with pytest.raises(HasherError, match=rf"\(the hub does not answer\); fetch {address} in ano"):
        load_backbone("resnet18")


def test_an_address_is_not_taken_for_a_missing_file():
    for weights in ("https://example.org/w.pth", "s3://bucket/w.safetensors"):
        with pytest.raises(
            HasherError, match="is an address, but weights are only read from files"
        ):
            load_backbone("resnet18", weights=weights)


def test_weights_that_are_no_backbone_are_refused_by_name():
    for name in ("DOFABase16_Weights.DOFA_MAE", "Swin_V2_B_Weights.NAIP_RGB_MI_SATLAS"):
        with pytest.raises(
            HasherError, match=f"{name} cannot be a backbone: they belong to .*timm"
        ):
            load_backbone(weights=name)


@pytest.mark.parametrize(
    "model", ["pit_ti_distilled_224", "inception_v4", "volo_d1_224", "efficientformerv2_s0"]
)
def test_the_classifier_in_a_file_of_weights_is_left_out(tmp_path, model):
    network = timm.create_model(model)
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    backbone = load_backbone(model, weights=tmp_path / "w.safetensors")
    for name, tensor in backbone.network.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name


def test_a_transformer_of_another_size_is_the_same_after_its_file(tmp_path):
    path = random_file(tmp_path / "w.pth", "vit_small_patch14_dinov2", 13, img_size=224)
    tiles = torch.randint(0, 9000, (6, 13, 32, 32)).to(torch.uint16)
    hasher = fit_hasher([tiles], model=SOFTCON, weights=path, num_bits=8, method="lsh")
    assert (hasher.input_size, hasher.backbone.image_size) == (224, 224)
    assert hasher.scaling.mean[0] == pytest.approx(1612.9)
    again = Hasher.from_bytes(hasher.to_bytes())
    assert again.fingerprint == hasher.fingerprint
    assert torch.equal(again.features(tiles[:2]), hasher.features(tiles[:2]))


def test_decibels_are_not_mixed_up_with_power(tmp_path):
    path = random_file(tmp_path / "w.pth", "resnet50", 2)
    fit = {"model": "ResNet50_Weights.SENTINEL1_ALL_MOCO", "weights": path, "num_bits": 8}
    power = torch.rand(12, 2, 32, 32) * 0.3
    with pytest.raises(ValueMismatchError, match="trained on decibels.*convert the scenes to dec"):
        fit_hasher([power], input_size=32, **fit)
    hasher = fit_hasher([10 * power.log10()], input_size=32, **fit)
    assert hasher.scaling.mean == pytest.approx((-12.59, -20.26))


def test_weights_of_pictures_and_numbers_in_one_are_refused(tmp_path):
    path = random_file(tmp_path / "w.pth", "resnet50", 9)
    tiles = torch.randint(0, 4000, (12, 9, 32, 32)).to(torch.uint16)
    name = "ResNet50_Weights.SENTINEL2_SI_MS_SATLAS"
    with pytest.raises(ValueMismatchError, match="8-bit pictures in some bands and on numbers in"):
        fit_hasher([tiles], model=name, weights=path, num_bits=8, input_size=32)


def test_pictures_for_weights_of_numbers_are_stretched_with_a_warning(tmp_path, moco):
    tiles = torch.randint(0, 255, (12, 13, 32, 32), dtype=torch.uint8)
    with pytest.warns(GeoHashRSWarning, match="the pictures are stretched to that range"):
        hasher = fit_hasher([tiles], model=MOCO, num_bits=8, input_size=32)
    torch.testing.assert_close(hasher.extractor.prepare(tiles), tiles / 255)


def test_another_number_of_bands_is_refused_with_what_to_do(tmp_path):
    path = random_file(tmp_path / "moco.pth", "resnet18", 13)
    with pytest.raises(
        BandMismatchError, match=r"the tiles have 4; choose these bands, or weights"
    ):
        load_backbone(MOCO, weights=path, in_chans=4)
