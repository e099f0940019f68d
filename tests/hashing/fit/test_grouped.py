"""Heads for imagery of several sensors."""

import numpy as np
import pytest
import torch

from geohash_rs.codes import hamming_distances, pack_codes
from geohash_rs.hashing.fit.general import general_head
from geohash_rs.hashing.fit.grouped import grouped_head
from geohash_rs.hashing.network.heads import GroupedHead, LinearHead, make_head

KINDS, BITS, FEATURES = 8, 16, 64


def seen_by(sensor, *, tiles=300, seed=0, apart=4.0, contrast=1.0):
    """Features of tiles of 8 kinds, as a sensor sees them: moved, scaled and a little turned."""
    shared = torch.Generator().manual_seed(7)
    kinds = torch.randn(KINDS, FEATURES, generator=shared)
    moved = apart * torch.randn(10, FEATURES, generator=shared)[sensor]
    turns = torch.randn(10, FEATURES, FEATURES, generator=shared)
    turned = torch.eye(FEATURES) + 0.02 * turns[sensor]
    own = torch.Generator().manual_seed(100 * sensor + seed)
    which = torch.arange(tiles) % KINDS
    place = kinds[which] + 0.4 * torch.randn(tiles, FEATURES, generator=own)
    views = place[:, None] + 0.2 * torch.randn(tiles, 2, FEATURES, generator=own)
    return (views * contrast * (1 + 0.05 * sensor)) @ turned + moved, which.numpy()


def codes_of(head, values):
    with torch.no_grad():
        return pack_codes(head(values[:, 0]).numpy())


def precision(queries, kinds, codes, others):
    distances = hamming_distances(queries, codes)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, 1:11]
    return float((others[nearest] == kinds[:, None]).mean())


def fit(*sensors, **options):
    samples = [seen_by(sensor)[0] for sensor in sensors]
    return grouped_head([(one[:, 0], one) for one in samples], num_bits=BITS, **options)


def test_one_sensor_gets_the_plain_general_head():
    values, _ = seen_by(0)
    head, plain = fit(0), general_head(values[:, 0], values, num_bits=BITS)
    assert type(head) is LinearHead
    assert all(torch.equal(head.state_dict()[name], t) for name, t in plain.state_dict().items())


def test_each_sensor_is_found_as_well_as_with_a_head_of_its_own():
    head = fit(0, 1, 2)
    assert head.num_groups == 3
    for sensor in range(3):
        values, kinds = seen_by(sensor, seed=1)
        alone = codes_of(fit(sensor), values)
        mixed = codes_of(head, values)
        assert precision(mixed, kinds, mixed, kinds) > precision(alone, kinds, alone, kinds) - 0.03
        share = np.unpackbits(mixed, axis=1).mean(0)
        assert ((share > 0.1) & (share < 0.9)).all(), "no bit is constant"


def test_one_head_for_all_would_lose_what_the_groups_keep():
    samples = [seen_by(sensor)[0] for sensor in range(3)]
    together = torch.cat(samples)
    plain = general_head(together[:, 0], together, num_bits=BITS)
    values, kinds = seen_by(0, seed=1)
    lost, kept = codes_of(plain, values), codes_of(fit(0, 1, 2), values)
    assert precision(lost, kinds, lost, kinds) < precision(kept, kinds, kept, kinds) - 0.1


@pytest.mark.parametrize("kind", [0, 3, 5])
def test_a_sensor_that_saw_one_kind_of_ground_does_not_lose_it(kind):
    whole, kinds = seen_by(0, apart=1.5)
    other, others = seen_by(1, apart=1.5, tiles=800)
    only = other[others == kind]
    head = grouped_head([(one[:, 0], one) for one in (whole, only)], num_bits=BITS)
    assert head.num_groups == 2
    codes = codes_of(head, seen_by(0, seed=1, apart=1.5)[0])
    queries = codes_of(head, only)
    assert precision(queries, np.full(len(only), kind), codes, kinds) > 0.5  # by chance 0.125


def test_a_faint_sensor_is_not_taken_for_one_that_saw_one_kind_of_ground():
    clear, kinds = seen_by(0)
    faint, others = seen_by(1, contrast=0.4)
    head = grouped_head([(one[:, 0], one) for one in (clear, faint)], num_bits=BITS)
    codes = codes_of(head, seen_by(1, seed=1, contrast=0.4)[0])
    share = np.unpackbits(codes, axis=1).mean(0)
    assert ((share > 0.1) & (share < 0.9)).all(), "no bit is constant"
    assert precision(codes, others, codes_of(head, clear), kinds) > 0.9


def test_a_place_is_found_across_sensors():
    head = fit(0, 1)
    first, kinds = seen_by(0, seed=1)
    second, others = seen_by(1, seed=1)
    queries, codes = codes_of(head, first), codes_of(head, second)
    within = precision(queries, kinds, queries, kinds)
    assert precision(queries, kinds, codes, others) > 0.9 * within


def test_unseen_tiles_are_given_to_their_sensor():
    head = fit(0, 1, 2)
    for group, sensor in enumerate(range(3)):
        values, _ = seen_by(sensor, seed=1)
        found = head.groups(head.prepare(values[:, 0]))
        assert float((found == group).float().mean()) > 0.98


def test_sensors_that_cannot_be_told_apart_share_a_head():
    same = [seen_by(0, seed=seed)[0] for seed in (0, 1)]
    head = grouped_head([(one[:, 0], one) for one in same], num_bits=BITS)
    assert type(head) is LinearHead


def test_a_sensor_with_few_tiles_joins_the_nearest():
    near, far = seen_by(0)[0], seen_by(1)[0]
    few = seen_by(0, seed=3, tiles=4)[0]
    head = grouped_head([(one[:, 0], one) for one in (far, near, few)], num_bits=BITS)
    assert head.num_groups == 2
    assert head.groups(head.prepare(few[:, 0])).tolist() == [1] * 4


def test_a_sensor_with_too_few_tiles_for_axes_of_its_own_still_has_its_offset():
    samples = [seen_by(0)[0], seen_by(1, tiles=20)[0]]
    head = grouped_head([(one[:, 0], one) for one in samples], num_bits=BITS)
    values, kinds = seen_by(1, seed=1)
    codes = codes_of(head, values)
    assert precision(codes, kinds, codes, kinds) > 0.7


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_makes_it_repeatable(seed):
    first, again = fit(0, 1, seed=seed), fit(0, 1, seed=seed)
    assert all(torch.equal(again.state_dict()[name], t) for name, t in first.state_dict().items())


def test_a_stored_head_makes_the_same_codes():
    head = fit(0, 1)
    copy = make_head(head.kind, head.settings)
    copy.load_state_dict(head.state_dict())
    values, _ = seen_by(1, seed=1)
    assert isinstance(copy, GroupedHead)
    np.testing.assert_array_equal(codes_of(copy, values), codes_of(head, values))
