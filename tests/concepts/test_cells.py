"""The cells of a grid: each tile's own ground, checked against plain loops over pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geohash_rs.concepts.cells import Axis, grids_of
from geohash_rs.scenes.grid import grid_starts
from geohash_rs.scenes.grids import TileGrids
from tests.concepts.places import Header, record_of, tiles_of


def stretches(axis):
    """Return where the stretch of each tile begins and ends."""
    return [(axis.borders[slot], axis.borders[slot + 1]) for slot in axis.slots]


@given(
    length=st.integers(1, 120),
    size=st.integers(1, 40),
    stride=st.integers(1, 50),
    edges=st.sampled_from(["shift", "pad", "drop"]),
)
def test_tiles_share_what_they_cover_without_gap_or_overlap(length, size, stride, edges):
    if edges != "pad" and size > length:
        size = length
    starts = grid_starts(length, size, stride, edges)
    parts = stretches(Axis.of(starts, size=size, stride=stride, length=length))
    ends = [min(start + size, length) for start in starts]
    for quarter in np.arange(0.25, length, 0.5):  # between all borders, which are halves
        owners = [number for number, (a, b) in enumerate(parts) if a < quarter < b]
        covering = [n for n, (a, b) in enumerate(zip(starts, ends, strict=True)) if a < quarter < b]
        assert len(owners) == min(1, len(covering))
        assert set(owners) <= set(covering)
    for one, other in zip(range(len(starts)), range(1, len(starts)), strict=False):
        if starts[other] < ends[one]:
            assert parts[one][1] == parts[other][0] == (starts[other] + ends[one]) / 2


def test_a_shifted_last_tile_divides_its_overlap_in_the_middle():
    axis = Axis.of(np.array([0, 64, 86]), size=64, stride=64, length=150)
    assert stretches(axis) == [(0, 64), (64, 107), (107, 150)]


def test_what_overhangs_the_scene_and_gaps_belong_to_nobody():
    padded = Axis.of(grid_starts(100, 64, 64, "pad"), size=64, stride=64, length=100)
    assert stretches(padded) == [(0, 64), (64, 100)]
    wide = Axis.of(grid_starts(200, 64, 100, "drop"), size=64, stride=100, length=200)
    assert stretches(wide) == [(0, 64), (100, 164)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 24},
        {"edges": "pad", "stride": 100},
        {"edges": "drop"},
        {"resolution": 25.0},
        {"larger_tiles": [[128, 64]]},
    ],
)
def test_a_record_alone_explains_the_windows_that_indexing_cuts(settings):
    record = record_of(width=700, height=333, **settings)
    tiles = tiles_of(record)
    windows = tiles[["col", "row", "width", "height"]].to_numpy()
    found = np.zeros(len(windows), int)
    for grid in grids_of(record):
        across, down = grid.find(windows)
        mine = across >= 0
        assert (grid.cols.starts[across[mine]] == windows[mine, 0]).all()
        assert (grid.rows.starts[down[mine]] == windows[mine, 1]).all()
        found += mine
    assert (found == 1).all()
    assert [grid.tile_size for grid in grids_of(record)] == [
        grid.tile_size for grid in TileGrids.of_settings(record.settings).grids
    ]
    strange = windows[:3] + [[1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, -1]]
    assert all((grid.find(strange)[0] == -1).all() for grid in grids_of(record))


def test_only_the_tile_sizes_that_were_asked_for():
    record = record_of(larger_tiles=[[128, 128], [256, 256]])
    assert [grid.tile_size for grid in grids_of(record, sizes={256, 128})] == [128, 256]
    assert grids_of(record, sizes={32}) == []


def test_vectors_of_a_store_have_a_grid_whose_last_tiles_are_cut_off():
    record = record_of(width=10, height=7)
    object.__setattr__(record, "settings", {"tile_size": 4, "max_nodata": 0.5})
    (grid,) = grids_of(record)
    across, down = grid.find(np.array([[8, 4, 2, 3], [8, 4, 3, 3], [0, 0, 4, 4]]))
    assert (across.tolist(), down.tolist()) == ([2, -1, 0], [1, -1, 0])


@pytest.mark.parametrize(
    "change",
    [
        {"crs": None},
        {"transform": None},
        {"width": None},
        {"width": 1 << 62, "height": 1 << 62},
        {"settings": {"dataset": "Files"}},
        {"width": 10},  # smaller than a tile
    ],
)
def test_a_record_without_a_grid_or_with_an_impossible_one_has_none(change):
    record = record_of()
    for name, value in change.items():
        object.__setattr__(record, name, value)
    assert grids_of(record) == []


def test_the_middle_of_a_cell_is_inside_its_own_tile():
    record = record_of(width=150, height=100)
    (grid,) = grids_of(record)
    tiles = tiles_of(record)
    across, down = grid.find(tiles[["col", "row", "width", "height"]].to_numpy())
    x, y = grid.centres(across, down).T
    t = Header(record).transform
    col, row = (x - t.c) / t.a, (y - t.f) / t.e
    assert sorted(set(col)) == [32.0, 85.5, 128.5]
    assert sorted(set(row)) == [25.0, 75.0]
