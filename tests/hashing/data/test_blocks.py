"""Parts are on separate ground, as a check of every pair of tiles shows."""

import numpy as np
import pytest
import shapely

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.blocks import block_numbers, split_by_blocks


def grid(count: int, *, step: float = 0.01, size: float = 0.01, lat: float = 0.0) -> np.ndarray:
    """Make count x count tiles, step degrees apart, north-east of (10, lat)."""
    return np.array(
        [
            shapely.box(10 + x * step, lat + y * step, 10 + x * step + size, lat + y * step + size)
            for y in range(count)
            for x in range(count)
        ],
        dtype=object,
    )


@pytest.mark.parametrize("lat", [0.0, 48.0, -60.0, 84.0])
def test_blocks_are_as_large_in_kilometres_everywhere(lat: float) -> None:
    tiles = grid(60, lat=lat, size=0.001)
    numbers = block_numbers(tiles, block_km=20)
    centres = shapely.get_coordinates(shapely.centroid(tiles))
    for block in np.unique(numbers):
        inside = centres[numbers == block]
        spread = np.ptp(inside, axis=0) * 111.32 * [np.cos(np.radians(lat + 0.3)), 1]
        assert (spread <= 20 * 1.02).all()
    assert numbers.max() + 1 >= (60 * 0.01 * 111.32 / 20) ** 2 * np.cos(np.radians(lat)) * 0.9


def test_all_tiles_of_a_block_are_in_one_part() -> None:
    tiles = grid(30)
    labels = np.arange(len(tiles)) % 4
    parts = split_by_blocks(tiles, labels, block_km=4)
    assert sorted(np.concatenate(parts).tolist()) == list(range(900))  # touching is not overlapping
    numbers = block_numbers(tiles, block_km=4)
    blocks = [set(numbers[part].tolist()) for part in parts]
    assert all(not blocks[a] & blocks[b] for a, b in ((0, 1), (0, 2), (1, 2)))


def test_parts_never_share_ground_even_if_tiles_overlap() -> None:
    tiles = grid(24, step=0.005)
    labels = (np.arange(len(tiles)) // 5) % 3
    parts = split_by_blocks(tiles, labels, block_km=3, seed=1)
    kept = np.concatenate(parts)
    assert len(set(kept.tolist())) == len(kept) < len(tiles)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        shared = shapely.area(
            shapely.intersection(tiles[parts[first]][:, None], tiles[parts[second]][None])
        )
        assert shared.max() < 0.01 * shapely.area(tiles[0])


def test_classes_have_their_shares_in_every_part() -> None:
    rng = np.random.default_rng(0)
    tiles = grid(60)
    labels = rng.choice(["common", "rare"], len(tiles), p=[0.95, 0.05])
    parts = split_by_blocks(tiles, labels, block_km=3, fractions=(0.5, 0.3))
    for name in ("common", "rare"):
        total = (labels == name).sum()
        shares = [(labels[part] == name).sum() / total for part in parts]
        assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.05)


def test_a_split_is_fixed_by_its_seed_and_no_part_is_empty() -> None:
    tiles, labels = grid(12), np.zeros(144, int)
    first = split_by_blocks(tiles, labels, block_km=2, seed=3)
    again = split_by_blocks(tiles, labels, block_km=2, seed=3)
    other = split_by_blocks(tiles, labels, block_km=2, seed=4)
    assert [part.tolist() for part in first] == [part.tolist() for part in again]
    assert [part.tolist() for part in first] != [part.tolist() for part in other]
    few = split_by_blocks(tiles[[0, 6, 11]], [0, 0, 0], block_km=2, fractions=(0.9, 0.05))
    assert [len(part) for part in few] == [1, 1, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"block_km": 0}, "block_km is 0"),
        ({"block_km": float("nan")}, "block_km is nan"),
        ({"block_km": 500}, "144 labelled tiles lie in 1 blocks of 500 km, too few for 3 parts"),
        ({"block_km": 2, "fractions": (0.8, 0.2)}, "leave a part without tiles"),
        ({"block_km": 2, "fractions": (0.8, -0.2)}, "leave a part without tiles"),
    ],
)
def test_impossible_splits_are_refused_with_the_reason(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        split_by_blocks(grid(12), np.zeros(144, int), **settings)
