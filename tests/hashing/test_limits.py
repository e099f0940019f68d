"""A hasher file from a stranger is refused if it asks for too much, and loads no other code."""

import copy
import os
import sys
from dataclasses import replace

import pytest

from geohash_rs import load_hasher
from geohash_rs.errors import HasherError, HasherNotFoundError
from geohash_rs.hashing.files import HasherContent
from geohash_rs.hashing.hasher import Hasher

NAN, MANY = float("nan"), 10**9
resource = pytest.importorskip("resource", reason="this system does not count memory so")
CASES = {
    "a hub": ({"backbone.model": "hf-hub:someone/model"}, "addresses and paths are not loaded"),
    "a folder": ({"backbone.model": "local-dir:/tmp/model"}, "addresses and paths are not loaded"),
    "a path": ({"backbone.model": "../model"}, "addresses and paths are not loaded"),
    "an address as tag": ({"backbone.model": "resnet18.a:b"}, "addresses and paths are not"),
    "no model": ({"backbone.model": "no_such_model"}, "timm has no model"),
    "a giant network": ({"backbone.model": "vit_giant_patch14_dinov2"}, "would take .* or more"),
    "another network": ({"backbone.model": "resnet18"}, "would take|damaged"),
    "a wide head": ({"head": {"kind": "milan", "num_features": 1280, "num_bits": 16,
                              "hidden": [MANY, MANY]}}, "the head would take .* bytes or more"),
    "many components": ({"head": {"kind": "milan", "num_features": 1280, "num_bits": 16,
                                  "components": MANY}}, "the head would take .* bytes or more"),
    "many anchors": ({"head": {"kind": "kernel", "num_features": 1280, "num_bits": 16,
                               "num_anchors": MANY}}, "the head would take .* bytes or more"),
    "many classes": ({"head": {"kind": "classifier", "num_features": 1280, "num_bits": 16,
                               "num_classes": MANY}}, "the head would take .* bytes or more"),
    "many features": ({"head.num_features": MANY}, "the head would take .* bytes or more"),
    "odd bits": ({"head.num_bits": 13}, "multiple of 8"),
    "another head": ({"head.kind": "os.system"}, "is not one of"),
    "no features": ({"head.num_features": None}, "damaged|does not accept"),
    "a negative width": ({"head.num_features": -1}, "damaged"),
    "many views": ({"views": ["identity"] * MANY.bit_length()}, "30 views, but at most 8"),
    "an unknown view": ({"views": ["zoom"]}, "those known are"),
    "many bands": ({"bands": ["B01"] * 1001}, "1,001 bands, but at most 1,000"),
    "bands without names": ({"bands": [1, 2, 3]}, "not all texts"),
    "a large input": ({"input_size": 1025}, "whole, up to 1,024"),
    "a large tile": ({"tile_size": 30_000}, "takes 10,800,000,000 bytes"),
    "a huge tile": ({"tile_size": MANY}, "whole, up to 65,536"),
    "no tile": ({"tile_size": 0}, "whole, up to 65,536"),
    "half a pixel": ({"input_size": 0.5}, "whole, up to 1,024"),
    "a negative resolution": ({"resolution": -1.0}, "more than 0"),
    "a scaling that is not a number": ({"scaling.low": [NAN] * 3}, "3 finite numbers"),
    "a scaling for other bands": ({"scaling.low": [0.0] * 2}, "3 finite numbers"),
    "many stages": ({"backbone.stages": ["blocks.1"] * 17}, "17 stages, but at most 16"),
    "the whole as a stage": ({"backbone.stages": [""]}, "cannot be pooled"),
    "values that are none": ({"values": [{"low": 3}]}, "damaged"),
    "no backbone": ({"backbone": None}, "backbone of the hasher is missing"),
    "notes that are text": ({"notes": "text"}, "notes of the hasher is missing or not a dict"),
}  # fmt: skip


@pytest.fixture(scope="module")
def content(quick_hasher):
    return HasherContent.from_bytes(quick_hasher.to_bytes(embed_backbone=True))


def changed(content, changes):
    about = copy.deepcopy(dict(content.description))
    for place, value in changes.items():
        *parents, last = place.split(".")
        inner = about
        for name in parents:
            inner = inner[name]
        inner[last] = value
    return replace(content, description=about).to_bytes()


def test_the_unchanged_file_is_read(content, quick_hasher):
    assert Hasher.from_bytes(changed(content, {})).fingerprint == quick_hasher.fingerprint


@pytest.mark.parametrize(("changes", "said"), CASES.values(), ids=CASES)
def test_a_file_that_asks_for_more_or_for_other_things_is_refused(content, changes, said):
    data = changed(content, changes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(HasherError, match=said):
        Hasher.from_bytes(data)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 2**29 or sys.platform == "darwin", "macOS counts bytes"


def test_a_file_of_gigabytes_is_refused_unread(tmp_path):
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
    with pytest.raises(HasherError, match="3,221,225,472 bytes, but at most 2,147,483,648"):
        load_hasher(path)


def test_a_header_of_megabytes_is_refused_unread():
    with pytest.raises(HasherError, match="header has 1,099,511,627,776 bytes, but"):
        Hasher.from_bytes((2**40).to_bytes(8, "little") + b"[" * 9999)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(HasherNotFoundError):
        load_hasher(tmp_path / "a.safetensors")
