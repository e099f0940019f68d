import pytest
import torch

from geohash_rs.hashing.fit.training_free import fit_hasher
from geohash_rs.hashing.network.input_size import choose_input_size
from geohash_rs.hashing.network.pretrained import load_backbone


@pytest.mark.parametrize(
    ("tile_size", "side"), [(16, 128), (64, 128), (96, 128), (97, 160), (128, 160), (256, 160)]
)
def test_small_tiles_are_seen_in_less_than_the_network_was_trained_with(tile_size, side):
    assert choose_input_size(load_backbone(weights=False), tile_size=tile_size) == side


@pytest.mark.parametrize("tile_size", [257, 512, 4096])
def test_larger_tiles_are_seen_in_the_size_that_the_network_was_trained_with(tile_size):
    backbone = load_backbone(weights=False)
    assert choose_input_size(backbone, tile_size=tile_size) == backbone.input_size == 224


def test_other_networks_see_the_size_that_they_were_trained_with():
    for name in ("resnet18", "vit_tiny_patch16_224"):
        assert choose_input_size(load_backbone(name, weights=False), tile_size=64) == 224


def test_a_network_for_small_pictures_never_sees_larger_ones():
    backbone = load_backbone(weights=False)
    backbone.input_size = 96
    assert choose_input_size(backbone, tile_size=64) == 96


def test_a_fitted_hasher_has_the_side_for_its_tiles_unless_another_is_given():
    tiles = torch.randint(0, 256, (20, 3, 40, 40), dtype=torch.uint8)
    assert fit_hasher([tiles], num_bits=16).input_size == 128
    assert fit_hasher([tiles], num_bits=16, tile_size=300).input_size == 224
    assert fit_hasher([tiles], num_bits=16, input_size=64).input_size == 64
