"""EfficientNet-Lite0 without timm, against timm's."""

import pytest
import timm
import torch

from geohash_rs.hashing.network.backbones import Backbone, check_input_size
from geohash_rs.hashing.network.lite0 import LITE0
from geohash_rs.hashing.network.lite0_network import Lite0
from geohash_rs.hashing.network.pretrained import load_backbone


@pytest.fixture
def both():
    theirs = timm.create_model(LITE0, num_classes=0, in_chans=4)
    mine = Lite0(4)
    mine.load_state_dict(theirs.state_dict())
    return theirs, mine


@pytest.mark.parametrize("size", [64, 97, 224])
@pytest.mark.parametrize("training", [True, False])
def test_the_network_computes_bit_for_bit_what_timm_computes(both, size, training):
    images = torch.randn(2, 4, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs, mine = (network.train(mode=training)(images) for network in both)
    assert torch.equal(theirs, mine)


def test_weights_have_the_names_and_order_of_timm(both):
    theirs, mine = (network.state_dict() for network in both)
    assert list(theirs) == list(mine)
    assert all(torch.equal(theirs[name], mine[name]) for name in theirs)


def test_the_input_is_described_as_by_timm(both):
    theirs, mine = both
    for name, value in mine.pretrained_cfg.items():
        assert theirs.pretrained_cfg[name] == value
    assert mine.num_features == theirs.num_features
    assert [one["module"] for one in theirs.feature_info] == [
        one["module"] for one in mine.feature_info
    ]


def test_stages_have_the_lengths_that_timm_gives():
    stages = ["blocks.2", "blocks.4", "blocks.4:covariance"]
    mine = load_backbone(LITE0, stages=stages)
    assert isinstance(mine.network, Lite0)
    check_input_size(mine, 40)
    assert mine.parts == Backbone(LITE0, stages=stages).parts
