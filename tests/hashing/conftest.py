"""Small hashers and tiles for the tests of hashing."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.heads import LinearHead
from geohash_rs.hashing.network.scaling import Scaling


@pytest.fixture
def tiles():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 3, 40, 40), dtype=torch.uint8, generator=generator)


@pytest.fixture
def make_small():
    """Make a small hasher with random weights, without any file."""

    def make(num_bits=16, bands=("red", "green", "blue"), **settings):
        backbone = Backbone("test_resnet", in_chans=len(bands))
        count = len(bands)
        scaling = Scaling(
            low=(0.0,) * count, high=(255.0,) * count, mean=backbone.mean, std=backbone.std
        )
        with torch.random.fork_rng():
            torch.manual_seed(1)
            head = LinearHead(backbone.num_features, num_bits)
        shown = {k: settings.pop(k) for k in ("views", "name", "notes") if k in settings}
        extractor = Extractor(
            backbone,
            **{"scaling": scaling, "bands": bands, "tile_size": 40, "input_size": 32, **settings},
        )
        return Hasher(extractor, head, **shown)

    return make


def write_pictures(folder):
    """Write pictures of three classes of coloured noise, which any backbone can distinguish."""
    rng = np.random.default_rng(0)
    for index in range(3):
        (folder / f"c{index}").mkdir(parents=True)
        for number in range(10):
            pixels = 60 + 40 * index + rng.normal(0, 5 + 15 * index, (40, 40, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(folder / f"c{index}" / f"{number}.png")


@pytest.fixture
def folder(tmp_path):
    """Make a folder of three classes."""
    write_pictures(tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def moco(tmp_path, monkeypatch):
    """TorchGeo's Sentinel-2 weights, their download replaced by random ones on disk."""
    from torchgeo.models import ResNet18_Weights

    weights = ResNet18_Weights.SENTINEL2_ALL_MOCO
    path = tmp_path / "moco.pth"
    network = timm.create_model("resnet18", in_chans=13, num_classes=0)
    torch.save(network.state_dict(), path)
    monkeypatch.setattr(weights.value, "url", path.as_uri())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    return weights
