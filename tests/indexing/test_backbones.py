"""An archive whose hasher is fitted by name with a backbone that was chosen for it."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import timm
import torch
from safetensors.torch import load_file, save_file

from geohash_rs import Archive, Scenes, fit_hasher, load_hasher
from geohash_rs.errors import (
    ArchiveCorruptError,
    BandMismatchError,
    GeoHashRSWarning,
    HasherError,
    HasherMismatchError,
    HasherNotFoundError,
    VectorError,
)
from geohash_rs.hashing.fit import by_name
from geohash_rs.hashing.fit.backbone_choice import BackboneChoice
from geohash_rs.indexing import add
from geohash_rs.opening import open_or_create
from geohash_rs.store.disk import manifest_body
from tests.ground import TILE, mosaic, write

MOCO = "ResNet18_Weights.SENTINEL2_ALL_MOCO"
BANDS = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]


@pytest.fixture
def weights(tmp_path):
    """Weights of a small network, in a file as timm's hub has it, with a classifier."""
    torch.manual_seed(5)
    path = tmp_path / "some weights=v1#2+3.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.fixture
def moco_file(tmp_path):
    torch.manual_seed(6)
    path = tmp_path / "moco.pth"
    network = timm.create_model("resnet18", in_chans=13)
    torch.save({"state_dict": network.state_dict()}, path)
    return path


@pytest.fixture
def small(monkeypatch):
    """Let networks see small images, as this is not about quality."""
    monkeypatch.setattr(by_name, "fit_hasher", partial(fit_hasher, input_size=64))


def thirteen(folder, *, dtype=np.uint16, factor=12.0, offset=300.0):
    """Write a scene with all bands of Sentinel-2, last band first."""
    image = np.concatenate([mosaic(3, 3, seed) for seed in range(5)])[:13]
    path = write(folder / "scene.tif", (image * factor + offset).astype(dtype)[::-1])
    with rasterio.open(path, "r+") as file:
        for number, name in enumerate(reversed(BANDS), 1):
            file.set_band_description(number, name)
    return path


def make(tmp_path, weights, name="general-16", **how):
    return Archive.create(
        tmp_path / "archive", hasher=name, backbone="test_resnet", weights=weights, **how
    )


def test_an_archive_uses_the_chosen_network_weights_and_layers(tmp_path, weights, scene_folder):
    archive = make(tmp_path, weights, stages=["layer2"])
    archive.add(Scenes(scene_folder), tile_size=TILE)
    backbone = archive.hasher().backbone
    assert (backbone.model_name, backbone.stages) == ("test_resnet", ("layer2",))
    wanted = timm.create_model("test_resnet", num_classes=0)
    wanted.load_state_dict(load_file(weights), strict=False)
    for name, tensor in wanted.state_dict().items():
        assert torch.equal(backbone.network.state_dict()[name], tensor), name
    assert archive.hasher().input_size == timm.get_pretrained_cfg("test_resnet").input_size[-1]


def test_the_hasher_is_one_file_that_needs_no_weights_elsewhere(
    tmp_path, weights, scene_folder, small
):
    archive = make(tmp_path, weights)
    archive.add(Scenes(scene_folder), tile_size=TILE)
    archive.hasher().save(tmp_path / "mine.safetensors")
    weights.unlink()
    again = load_hasher(tmp_path / "mine.safetensors")
    tiles = torch.from_numpy(mosaic(2, 2, 9)[None])
    np.testing.assert_array_equal(again.codes(tiles), archive.hasher().codes(tiles))
    other = Archive.open(archive.path)
    assert other.query(tile=0, k=3)["distance"].iloc[0] == 0
    patch = write(tmp_path / "patch.tif", mosaic(1, 1, 1))
    assert len(other.query(patch, k=3)) == 3
    shared = Archive.create(tmp_path / "colleague", hasher=tmp_path / "mine.safetensors")
    assert shared.add(Scenes(scene_folder), tile_size=TILE).num_tiles == len(archive)


def test_no_name_that_others_see_holds_the_folder_of_the_weights(
    tmp_path, weights, scene_folder, small
):
    archive = make(tmp_path, weights)
    assert str(weights) in archive.pending_hasher
    archive.add(Scenes(scene_folder), tile_size=TILE)
    name = archive.hasher().name
    assert re.fullmatch(
        r"general-16@test_resnet=some weights=v1#2\+3\.safetensors#[0-9a-f]{8}", name
    )
    for path in archive.path.rglob("*"):
        if path.is_file():
            assert str(weights.parent / "some").encode() not in path.read_bytes()


def test_a_backbone_is_remembered_until_imagery_is_added(tmp_path, weights, scene_folder, small):
    made = make(tmp_path, weights, stages=["layer1", "layer3"])
    manifest = json.loads((made.path / "manifest.json").read_text())
    assert manifest["version"] == 2  # so that version 0.1.0 does not fit the default one
    made.close()
    again = Archive.open(made.path)
    again.add(Scenes(scene_folder), tile_size=TILE)
    assert again.hasher().backbone.stages == ("layer1", "layer3")
    assert json.loads((made.path / "manifest.json").read_text())["version"] == 1


def test_a_crash_before_the_fit_does_not_lose_the_backbone(
    tmp_path, weights, scene_folder, small, monkeypatch
):
    choice = BackboneChoice.choose("test_resnet", weights=weights)
    ask = partial(open_or_create, tmp_path / "archive", hasher="itq-16", backbone=choice)

    def crash(*_args, **_settings):
        raise KeyboardInterrupt

    with monkeypatch.context() as now:
        now.setattr(add, "fit_pending", crash)
        with pytest.raises(KeyboardInterrupt):
            ask().add(Scenes(scene_folder), tile_size=TILE)
    for archive in (
        ask(),
        open_or_create(tmp_path / "archive"),
        open_or_create(tmp_path / "archive", backbone=choice),
    ):
        archive.add(Scenes(scene_folder), tile_size=TILE)
    assert (archive.hasher().backbone.model_name, archive.num_bits) == ("test_resnet", 16)


def test_another_backbone_than_that_of_an_archive_is_refused(
    tmp_path, weights, scene_folder, small
):
    archive = make(tmp_path, weights)
    other = tmp_path / "other.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), other)
    asked = (
        BackboneChoice.choose("resnet18"),
        BackboneChoice.choose("test_resnet", weights=other),
        BackboneChoice.choose("test_resnet", weights=weights, stages=["layer2"]),
        BackboneChoice.choose(),
    )
    same = BackboneChoice.choose("test_resnet", weights=weights)
    for _ in range(2):
        for choice in asked:
            with pytest.raises(HasherMismatchError, match=r"was made with the hasher general-16@t"):
                open_or_create(archive.path, backbone=choice)
        with pytest.raises(HasherMismatchError, match="leave out --hasher and --backbone"):
            open_or_create(archive.path, hasher="general-16")
        with pytest.raises(HasherMismatchError, match="not general-24@test_resnet="):
            open_or_create(archive.path, hasher="general-24", backbone=same)
        assert open_or_create(archive.path, backbone=same).path == archive.path
        open_or_create(archive.path).add(Scenes(scene_folder), tile_size=TILE)


def test_weights_that_are_gone_or_changed_before_the_fit_are_named(tmp_path, weights, scene_folder):
    archive = make(tmp_path, weights)
    held = weights.read_bytes()
    weights.unlink()
    with pytest.raises(HasherError, match=rf"{re.escape(str(weights))}.*are gone; put it back, or"):
        archive.add(Scenes(scene_folder), tile_size=TILE)
    weights.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    with pytest.raises(HasherError, match="have changed since the archive was made; put it back"):
        archive.add(Scenes(scene_folder), tile_size=TILE)
    weights.write_bytes(held)
    assert archive.add(Scenes(scene_folder), tile_size=TILE).num_tiles == 56


def test_refit_keeps_the_backbone_without_its_file(tmp_path, weights, scene_folder, small):
    archive = make(tmp_path, weights, name="general-16", stages=["layer2"])
    archive.add(Scenes(scene_folder), tile_size=TILE)
    before, title = archive.hasher(), archive.hasher().name.partition("@")[2]
    weights.unlink()
    for name, num_bits in (("general-32", 32), ("itq-24", 24), (None, 24)):
        archive.refit(name)
        now = archive.hasher()
        assert (now.num_bits, now.backbone.stages) == (num_bits, ("layer2",))
        assert now.extractor.equals(before.extractor)
    assert now.name == f"itq-24@{title}"


def test_refit_can_choose_another_backbone(tmp_path, weights, scene_folder, small):
    archive = make(tmp_path, weights, name="itq-16")
    archive.add(Scenes(scene_folder), tile_size=TILE)
    archive.refit(backbone="tf_efficientnet_lite0")
    hasher = archive.hasher()
    assert (hasher.name, hasher.backbone.model_name) == ("itq-16", "tf_efficientnet_lite0")
    archive.refit(backbone="test_resnet", weights=weights)
    assert archive.hasher().name.startswith("itq-16@test_resnet=")


def test_refit_uses_the_vectors_of_a_chosen_backbone(tmp_path, weights, scene_folder, small):
    archive = make(tmp_path, weights, keep_vectors="float16")
    archive.add(Scenes(scene_folder), tile_size=TILE)
    plans = []
    archive.refit("general-24", announce=plans.append)
    assert plans[0].source.startswith("their feature vectors")
    assert archive.hasher().name.startswith("general-24@test_resnet=")
    with pytest.raises(VectorError, match="computes others, from another network"):
        archive.refit("general-24", backbone="tf_efficientnet_lite0")


def test_torchgeo_weights_choose_bands_and_scaling(tmp_path, moco_file, small):
    scene = thirteen(tmp_path / "scenes")
    archive = Archive.create(tmp_path / "archive", hasher="itq-8", backbone=MOCO, weights=moco_file)
    archive.add(Scenes(scene.parent), tile_size=TILE)
    hasher = archive.hasher()
    (record,) = archive.scenes()
    assert record.settings["reading"]["indexes"] == list(range(13, 0, -1))
    assert hasher.bands[:4] == ("coastal", "blue", "green", "red")
    assert hasher.backbone.weights == MOCO
    with rasterio.open(scene) as file:
        tile = torch.from_numpy(file.read()[::-1, :64, :64].astype(np.float32))[None]
    torch.testing.assert_close(hasher.extractor.prepare(tile), tile / 10_000)
    moco_file.unlink()
    archive.refit("itq-16")
    torch.testing.assert_close(archive.hasher().extractor.prepare(tile), tile / 10_000)


def test_reflectance_becomes_the_numbers_that_weights_expect(tmp_path, moco_file, small):
    scene = thirteen(tmp_path / "scenes", dtype=np.float32, factor=0.0012, offset=0.03)
    archive = Archive.create(tmp_path / "archive", hasher="itq-8", backbone=MOCO, weights=moco_file)
    archive.add(Scenes(scene.parent), tile_size=TILE)
    with rasterio.open(scene) as file:
        tile = torch.from_numpy(file.read()[::-1, :64, :64].copy())[None]
    for _ in range(2):
        prepared = archive.hasher().extractor.prepare(tile)
        torch.testing.assert_close(prepared, tile, rtol=1e-5, atol=1e-6)
        archive.refit()


def test_pictures_for_weights_of_a_sensor_are_stretched_with_a_warning(tmp_path, moco_file, small):
    scene = thirteen(tmp_path / "scenes", dtype=np.uint8, factor=1, offset=0)
    archive = Archive.create(tmp_path / "archive", hasher="itq-8", backbone=MOCO, weights=moco_file)
    with pytest.warns(GeoHashRSWarning, match="trained on the numbers of a sensor, such as refl"):
        archive.add(Scenes(scene.parent), tile_size=TILE)


def test_scenes_without_the_bands_of_the_weights_are_refused(tmp_path, moco_file, scene_folder):
    archive = Archive.create(tmp_path / "archive", backbone=MOCO, weights=moco_file)
    message = r"has 3 bands \(red, green, blue, without coastal.* expects 13 .*pass bands="
    with pytest.raises(BandMismatchError, match=message):
        archive.add(Scenes(scene_folder), tile_size=TILE)


def test_vectors_are_not_added_to_an_archive_with_a_backbone(tmp_path, weights):
    from tests.store.helpers import make_grid

    archive = make(tmp_path, weights)
    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    with pytest.raises(HasherError, match="reads pixels, so it cannot hash vectors"):
        archive.add_embeddings(vectors, make_grid(20))


def test_what_is_no_backbone_is_refused_before_an_archive_is_made(tmp_path, weights):
    cases = [
        ({"backbone": "resnet_oops"}, "timm has no model 'resnet_oops'"),
        ({"backbone": "hf-hub:some/one"}, "is not the name of a timm model"),
        ({"backbone": "test_resnet", "stages": ["layer9"]}, r"has no modules \['layer9'\]"),
        ({"weights": tmp_path / "no.pth"}, "there is no file"),
        ({"weights": "https://example.org/w.pth"}, "is an address, but weights are only read from"),
        ({"backbone": "Nothing_Weights.AT_ALL"}, "neither a file nor weights of TorchGeo"),
        ({"weights": MOCO, "backbone": "resnet50"}, "are weights of resnet18, not of resnet50"),
        ({"backbone": "ScaleMAELarge16_Weights.FMOW_RGB"}, "is not a network of timm"),
        ({"backbone": "ViTHuge14_Weights.SENTINEL2_ALL_MAE"}, r"take 2\.5 GB, but a hasher file"),
        ({"backbone": "test_resnet", "weights": False}, "random weights are not for an archive"),
        ({"backbone": "test_resnet", "hasher": "ucmerced-64"}, "does not take another backbone"),
        ({"backbone": "test_resnet", "hasher": "signs-64"}, "does not take another backbone"),
        ({"backbone": "test_resnet", "hasher": "general-rgb-128"}, "does not take another"),
    ]
    for how, message in cases:
        with pytest.raises(HasherError, match=message):
            Archive.create(tmp_path / "archive", **how)
    assert not (tmp_path / "archive").exists()


def test_a_fitted_hasher_takes_no_other_backbone(tmp_path, quick_hasher):
    with pytest.raises(HasherError, match="has a backbone; leave out backbone, weights and stages"):
        Archive.create(tmp_path / "archive", hasher=quick_hasher, backbone="resnet18")


def test_the_text_of_a_choice_is_read_as_it_was_written(weights):
    for choice in (
        BackboneChoice.choose("test_resnet", weights=weights, stages=["layer1", "layer2"]),
        BackboneChoice.choose("test_resnet", stages=["layer1:covariance"]),
        BackboneChoice.choose(weights=MOCO),
    ):
        assert BackboneChoice.parse(str(choice)) == choice
    for text in ("", "resnet50=w.pth", "resnet50=w.pth#12", "resnet50+", "a b", "../x"):
        with pytest.raises(HasherNotFoundError, match="does not name a backbone"):
            BackboneChoice.parse(text)


def test_a_manifest_with_an_unreadable_name_is_refused(tmp_path, weights, monkeypatch):
    archive = make(tmp_path, weights)
    monkeypatch.setattr(manifest_body, "MOST_PENDING", 20)
    with pytest.raises(ArchiveCorruptError, match="pending_hasher is not short text"):
        Archive.open(archive.path)


def test_the_default_backbone_is_that_of_an_archive_that_names_none(tmp_path):
    archive = Archive.create(tmp_path / "archive", backbone="tf_efficientnet_lite0")
    assert archive.pending_hasher == "general-64"
    choice = BackboneChoice.choose("tf_efficientnet_lite0")
    assert open_or_create(archive.path, backbone=choice).pending_hasher == "general-64"
    assert Path(archive.path, "manifest.json").read_text().count('"version": 1') == 1
