"""The general head (whitening by views, then ITQ), and hashers that are fitted by name."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geohash_rs.codes import hamming_distances, pack_codes
from geohash_rs.errors import CodeLengthError, HasherError, HasherNotFoundError
from geohash_rs.hashing.fit.by_name import Unfitted, adapt_hasher
from geohash_rs.hashing.fit.general import general_head, view_scatter
from geohash_rs.hashing.fit.itq import itq_head
from geohash_rs.hashing.fit.training_free import fit_hasher
from geohash_rs.hashing.network.heads import LinearHead, make_head
from geohash_rs.hashing.shipped import load_hasher


@pytest.fixture(scope="module")
def turning():
    """Features of 300 tiles of 6 kinds in 3 views; half of the directions change with the view."""
    generator = torch.Generator().manual_seed(0)
    kinds = torch.arange(300) % 6
    place = torch.randn(6, 24, generator=generator)[kinds]
    place = place + 0.3 * torch.randn(300, 24, generator=generator)
    turned = 2.5 * torch.randn(300, 3, 24, generator=generator)
    return torch.cat([place[:, None].expand(-1, 3, -1), turned], dim=2), kinds


def precision_of(head, values, kinds):
    with torch.no_grad():
        codes = pack_codes(head(values[:, 0]).numpy())
    distances = hamming_distances(codes, codes).astype(float)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :10]
    return float((kinds[nearest] == kinds[:, None]).float().mean())


def test_directions_that_change_with_the_view_count_less(turning):
    values, kinds = turning
    plain = precision_of(itq_head(values[:, 0], num_bits=16), values, kinds)
    whitened = precision_of(
        general_head(values[:, 0], values, num_bits=16, strength=0.5), values, kinds
    )
    assert whitened > plain + 0.2


def test_a_strength_of_zero_equals_itq(turning):
    values, _ = turning
    head = general_head(values[:, 0], values, num_bits=16, strength=0, components=48)
    plain = itq_head(values[:, 0], num_bits=16)
    ours, theirs = (h.projection.weight.detach() for h in (head, plain))
    torch.testing.assert_close(ours.T @ ours, theirs.T @ theirs, atol=1e-5, rtol=0)
    torch.testing.assert_close(head.get_buffer("shift"), plain.get_buffer("shift"))


def test_the_scatter_equals_a_plain_loop(turning):
    values = turning[0].double()
    expected = torch.zeros(48, 48, dtype=torch.float64)
    for tile in values:
        for one in tile:
            apart = one - tile.mean(0)
            expected += torch.outer(apart, apart) / (300 * 3)
    torch.testing.assert_close(view_scatter(values), expected)


def test_the_same_seed_makes_the_same_head(turning):
    values, _ = turning
    first, again, other = (
        general_head(values[:, 0], values, num_bits=16, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(first.projection.weight, again.projection.weight)
    assert not torch.equal(first.projection.weight, other.projection.weight)


def test_few_tiles_still_make_all_bits(turning):
    values = turning[0][:5]
    head = general_head(values[:, 0], values, num_bits=48)
    assert bool(torch.isfinite(head.projection.weight).all())


def test_views_that_do_not_fit_are_refused(turning):
    values, _ = turning
    for wrong in (values[:, :1], values[:, 0], values[..., :20]):
        with pytest.raises(HasherError, match="at least 2 views, 48 features"):
            general_head(values[:, 0], wrong, num_bits=16)
    with pytest.raises(HasherError, match="there is one tile"):
        general_head(values[:1, 0], values[:1], num_bits=16)


def test_each_part_of_the_features_has_unit_length():
    features = torch.rand(4, 10, generator=torch.Generator().manual_seed(0)) * 9
    head = LinearHead(10, 8, parts=(7, 3))
    prepared = head.prepare(features)
    torch.testing.assert_close(prepared[:, :7].norm(dim=1), torch.ones(4))
    torch.testing.assert_close(prepared[:, 7:].norm(dim=1), torch.ones(4))
    assert make_head("linear", head.settings | {"num_features": 10}).parts == (7, 3)
    with pytest.raises(HasherError, match=r"parts \[7, 4\] do not sum to 10 features"):
        LinearHead(10, 8, parts=(7, 4))


def test_names_select_the_hasher_to_fit(tmp_path):
    assert Unfitted.find("general-64") == Unfitted(name="general-64", num_bits=64)
    shipped = Unfitted.find("general-rgb-128")
    assert shipped.num_bits == 128
    assert shipped.bands == ("red", "green", "blue")
    assert Unfitted.find("ucmerced-64") is None
    assert Unfitted.find("some-64") is None
    assert Unfitted.find(tmp_path) is None
    with pytest.raises(HasherNotFoundError, match="use general-BITS, itq-BITS, lsh-BITS"):
        Unfitted.find("general-many")
    with pytest.raises(CodeLengthError, match="num_bits is 60"):
        Unfitted.find("general-60")


def test_a_fitted_general_hasher_can_be_loaded_from_its_file(tiles):
    hasher = fit_hasher([tiles], method="general", num_bits=16, input_size=64)
    assert hasher.name == "general-16"
    assert hasher.backbone.stages == ("blocks.5", "blocks.4")
    assert sum(hasher.head.parts) == hasher.backbone.num_features
    again = type(hasher).from_bytes(hasher.to_bytes())
    np.testing.assert_array_equal(again.codes(tiles), hasher.codes(tiles))


def test_the_shipped_head_is_kept_for_few_tiles_and_refitted_for_many():
    shipped = load_hasher("general-rgb-128")
    # a smaller input than it was made for, for a fast test
    shipped = replace(shipped, extractor=replace(shipped.extractor, input_size=32))
    generator = torch.Generator().manual_seed(0)
    tiles = torch.randint(0, 256, (130, 3, 16, 16), dtype=torch.uint8, generator=generator)
    extractor = replace(shipped.extractor, input_size=32)  # small, for a fast test
    shipped = replace(shipped, extractor=extractor)
    few = adapt_hasher(shipped, [tiles[:100]])
    assert torch.equal(few.head.projection.weight, shipped.head.projection.weight)
    assert "fitted_on" not in few.notes
    many = adapt_hasher(shipped, [tiles[:64], tiles[64:]])
    assert not torch.equal(many.head.projection.weight, shipped.head.projection.weight)
    assert many.notes["fitted_on"] == "130 unlabelled tiles"
    assert (many.name, many.num_bits, many.tile_size) == ("general-rgb-128", 128, 16)
    bits = np.unpackbits(many.codes(tiles), axis=1).mean(0)
    assert 0.2 < bits.min() < bits.max() < 0.8
    wide = adapt_hasher(shipped, [tiles.to(torch.int16) * 40])
    assert wide.scaling.high[0] == pytest.approx(255 * 40, rel=0.05)
