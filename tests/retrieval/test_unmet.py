"""A search warns about limits that nothing in the archive meets."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSWarning
from tests.ground import mosaic


@pytest.fixture
def mixed(quick: Archive, write_scene: Callable[..., Path], tmp_path: Path) -> Archive:
    """Make an archive of a scene from June 2023 and one without a date, with four tiles each."""
    write_scene(tmp_path / "s" / "a_20230601.tif", mosaic(2, 2, 1))
    write_scene(tmp_path / "s" / "undated.tif", mosaic(2, 2, 2))
    quick.add(Scenes(tmp_path / "s"), tile_size=64)
    return quick


def test_a_scene_that_does_not_exist_is_named(mixed: Archive) -> None:
    known = mixed.scenes()[0].scene
    with pytest.warns(GeoHashRSWarning, match=r"no scene 'gone\.tif'; see 'geohash-rs info"):
        found = mixed.query(tile=0, k=3, scenes=["gone.tif", known])
    assert set(found["scene"]) == {known}


def test_labels_that_do_not_exist_are_named(mixed: Archive) -> None:
    with pytest.warns(GeoHashRSWarning, match=r"no label 'lake', 'moor'; labels are the names"):
        assert len(mixed.query(tile=0, k=3, labels=["moor", "lake"])) == 0


def test_a_time_without_tiles_reports_the_dates_and_counts_undated_tiles(mixed: Archive) -> None:
    expected = (
        r"no tile of the archive was taken in this time range; its scenes are from 2023-06-01 to "
        r"2023-06-01; 4 of its 8 tiles have no date"
    )
    with pytest.warns(GeoHashRSWarning, match=expected):
        assert len(mixed.query(tile=0, k=3, time=("2020", "2021"))) == 0


def test_a_region_without_tiles_is_reported_with_its_bounds(mixed: Archive) -> None:
    expected = r"no tile .* lies in the region, longitude 52 to 53 and latitude 13 to 14"
    with pytest.warns(GeoHashRSWarning, match=expected):
        assert len(mixed.query(tile=0, k=3, region=(52, 13, 53, 14))) == 0


def test_a_search_whose_limits_exist_does_not_warn(mixed: Archive) -> None:
    known = mixed.scenes()[0].scene
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeoHashRSWarning)
        found = mixed.query(tile=0, k=8, scenes=[known], time=("2023", "2023"))
    assert len(found) == 4
