"""The shipped hashers load by name, are small, and say what they were made of."""

import pytest

from geohash_rs.hashing import load_hasher, shipped_hashers


@pytest.mark.parametrize("name", ["ucmerced-64", "eurosat-rgb-64"])
def test_a_shipped_hasher_is_small_and_has_a_card(name, tiles):
    assert shipped_hashers()[name].stat().st_size < 4_000_000
    hasher = load_hasher(name)
    assert hasher.codes(tiles).shape == (6, 8)
    assert hasher.name == name
    assert {"data", "classes", "split", "figures", "licence"} <= set(hasher.notes)
    assert hasher.notes["figures"]["map@20"] > 0.9
