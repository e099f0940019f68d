"""Queries of an archive with several tile sizes."""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import shapely
from affine import Affine

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.codes import hamming_distances
from geohash_rs.errors import GeoHashRSWarning, QueryError
from geohash_rs.retrieval.patch_query import hash_patch
from geohash_rs.retrieval.query import query_of_point
from geohash_rs.store.search.where import Where
from tests.ground import mosaic

Writer = Callable[..., Path]
SIZES = (64, 128, 256)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, write_scene: Writer) -> Path:
    """Write a scene of 320 x 256 px, with pixels of 10 m."""
    return write_scene(tmp_path_factory.mktemp("scenes") / "a.tif", mosaic(5, 4, 1))


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory, quick_hasher: Hasher, scene: Path) -> Archive:
    """Make an archive of 20 tiles of 64 px, 6 of 128 px and 2 of 256 px."""
    path = tmp_path_factory.mktemp("archive") / "sized"
    archive = Archive.create(path, hasher=quick_hasher)
    assert archive.add(Scenes(scene), tile_size=SIZES).num_tiles == 28
    return Archive.open(path, mode="r")


@pytest.mark.parametrize("size", SIZES)
def test_a_patch_finds_the_tile_of_its_own_size(sized: Archive, scene: Path, size: int) -> None:
    matches = sized.query(scene, window=(0, 0, size, size), k=28)
    assert set(matches["width"]) == set(SIZES)  # without a filter, of all sizes
    own = matches[(matches["col"] == 0) & (matches["row"] == 0) & (matches["width"] == size)]
    assert own["distance"].tolist() == [0]


@pytest.mark.parametrize(
    ("window", "asked", "count"),
    [
        ((0, 0, 64, 64), None, 1),
        ((0, 0, 100, 100), None, 1),  # nearest to 128 px
        ((0, 0, 85, 85), None, 4),  # nearest to 64 px, too large for one
        ((0, 0, 256, 256), None, 1),
        ((0, 0, 320, 70), None, 10),  # the shorter side decides
        ((0, 0, 256, 256), {64}, 16),
        ((0, 0, 256, 256), {64, 128}, 4),
        ((0, 0, 64, 64), {256}, 1),
        ((0, 0, 64, 64), {999}, 1),  # no tile has this size
        ((0, 0, 8, 8), None, 1),
    ],
)
def test_a_patch_is_cut_into_tiles_of_the_nearest_size(
    sized: Archive, scene: Path, window: tuple[int, ...], asked: set[int] | None, count: int
) -> None:
    sizes = None if asked is None else frozenset(asked)
    assert len(hash_patch(sized, scene, window=window, tile_sizes=sizes).codes) == count


def test_a_patch_with_pixels_of_another_size_is_cut_by_its_ground(
    sized: Archive, write_scene: Writer, tmp_path: Path
) -> None:
    coarse = Affine(20, 0, 500_000, 0, -20, 5_400_000)  # 64 px cover the ground of 128
    patch = write_scene(tmp_path / "coarse.tif", mosaic(1, 1, 5), transform=coarse)
    assert len(hash_patch(sized, patch).codes) == 1
    assert len(hash_patch(sized, patch, tile_sizes=frozenset([64])).codes) == 4


def test_a_patch_is_cut_by_the_sizes_of_the_sensor_with_its_pixels(
    quick: Archive, scene: Path, write_scene: Writer, tmp_path: Path
) -> None:
    coarse = Affine(40, 0, 500_000, 0, -40, 5_400_000)
    other = write_scene(tmp_path / "coarse.tif", mosaic(5, 4, 2), transform=coarse)
    quick.add(Scenes(scene), tile_size=128)
    quick.add(Scenes(other), tile_size=64)
    window = (0, 0, 128, 128)
    assert len(hash_patch(quick, scene, window=window).codes) == 1
    assert len(hash_patch(quick, other, window=window).codes) == 4
    asked = frozenset([64])  # a tile of 64 px of the other covers 256 px of this scene
    assert len(hash_patch(quick, scene, window=window, tile_sizes=asked).codes) == 1


@pytest.mark.parametrize("sizes", [64, [128, 256], (64, 999), np.array([256])])
def test_only_tiles_of_the_given_sizes_are_found(sized: Archive, sizes: object) -> None:
    tiles = sized.tiles(range(28))
    right = tiles[tiles["width"].isin(np.atleast_1d(sizes))]
    distances = hamming_distances(sized.codes([3]), sized.codes(right["tile_id"]))[0]
    expected = sorted(zip(distances.tolist(), right["tile_id"].tolist(), strict=True))
    for k in (1, 5, 28):
        with pytest.warns(GeoHashRSWarning) if 999 in np.atleast_1d(sizes) else nullcontext():
            found = sized.query(tile=3, k=k, tile_size=sizes)  # type: ignore[arg-type]
        pairs = list(zip(found["distance"].tolist(), found["tile_id"].tolist(), strict=True))
        assert pairs == expected[:k]


def test_a_point_means_the_smallest_tile_there_unless_the_filter_says_otherwise(
    sized: Archive,
) -> None:
    tiles = sized.tiles(range(28))
    place = tiles[(tiles["col"] == 64) & (tiles["row"] == 64) & (tiles["width"] == 64)].iloc[0]
    point = shapely.centroid(place.geometry)
    for size, expected in ((None, 64), (128, 128), ((128, 256), 128), (256, 256)):
        query = query_of_point(sized, (point.x, point.y), where=Where.parse(tile_size=size))
        (own,) = sized.tiles([query.source]).itertuples()
        assert (own.width, shapely.contains(own.geometry, point)) == (expected, True)
        found = sized.query(point=(point.x, point.y), tile_size=size, k=28)
        assert own.tile_id in set(found["tile_id"][found["distance"] == 0])  # others may be equal
    with pytest.raises(
        QueryError, match=r"no tile at .* has 32 px; there are tiles of 64 px, 128 px, 256 px"
    ):
        sized.query(point=(point.x, point.y), tile_size=32)


def test_distinct_matches_of_several_sizes_do_not_overlap(sized: Archive) -> None:
    large = next(row.tile_id for row in sized.tiles(range(28)).itertuples() if row.width == 256)
    matches = sized.query(tile=large, k=28, distinct=True)
    assert matches["width"].tolist()[0] == 256
    assert set(matches["width"]) > {256}
    for one, other in combinations(matches.geometry, 2):
        assert one.intersection(other).area < 0.02 * min(one.area, other.area)
    for footprint in sized.query(tile=large, k=28).geometry:  # all others overlap a match
        assert any(footprint.intersection(kept).area > 0 for kept in matches.geometry)


def test_tiles_of_all_sizes_that_overlap_the_query_can_be_left_out(sized: Archive) -> None:
    tiles = sized.tiles(range(28))
    query = tiles[(tiles["col"] == 64) & (tiles["row"] == 64) & (tiles["width"] == 64)].iloc[0]
    found = set(sized.query(tile=int(query["tile_id"]), k=28, exclude_overlap=True)["tile_id"])
    for tile in tiles.itertuples():
        across = min(tile.col + tile.width, 128) - max(tile.col, 64)
        down = min(tile.row + tile.height, 128) - max(tile.row, 64)
        if across > 0 and down > 0:
            assert tile.tile_id not in found
        elif across < 0 or down < 0:  # those that touch may bend over the edge by a hair
            assert tile.tile_id in found


def test_negative_examples_keep_to_the_given_sizes(sized: Archive) -> None:
    found = sized.query(tile=0, negatives=[1, 27], k=28, tile_size=[64, 256])
    tiles = sized.tiles(range(28))
    expected = set(tiles["tile_id"][tiles["width"] != 128]) - {1, 27}
    assert set(found["tile_id"]) == expected


def test_a_size_that_no_tile_has_is_named(sized: Archive) -> None:
    expected = r"no tile size 32, 99; see 'geohash-rs info' for its tile sizes"
    with pytest.warns(GeoHashRSWarning, match=expected):
        assert len(sized.query(tile=0, k=3, tile_size=(99, 32))) == 0
    with pytest.warns(GeoHashRSWarning, match=r"no tile size 99"):
        assert len(sized.query(tile=0, k=3, tile_size=(99, 64))) == 3


@pytest.mark.parametrize("size", [0, -64, 64.0, "64", True, [64, None], ["6", "4"]])
def test_a_size_that_is_not_a_number_of_pixels_is_refused(sized: Archive, size: object) -> None:
    with pytest.raises(QueryError, match=r"tile_size is .*, but it must be a whole number"):
        sized.query(tile=0, tile_size=size)  # type: ignore[arg-type]
