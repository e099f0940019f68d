"""The synthetic coast is georeferenced, repeatable, dated, and shows what its names promise."""

import numpy as np
import pytest
import rasterio

from geohash_rs.demo.landscape import Cover
from geohash_rs.demo.scenes import PATCHES, PLACES, cover_shares, write_patches


@pytest.fixture
def scenes(coast):
    names = ("west_20230514", "west_20230918", "east_20230514", "east_20230918")
    return [coast / "scenes" / f"coast_{name}.tif" for name in names]


@pytest.fixture
def patches(coast):
    return {name: coast / "patches" / f"{name}.tif" for name in PATCHES}


def test_there_are_two_zones_and_two_dates(scenes):
    seen = set()
    for path in scenes:
        with rasterio.open(path) as file:
            assert file.dtypes == ("uint8",) * 3
            assert file.transform.a == 10
            assert file.transform.c % 10 == 0
            seen.add((file.crs.to_epsg(), file.tags()["TIFFTAG_DATETIME"][:10]))
    assert seen == {(epsg, day) for epsg in (32632, 32633) for day in ("2023:05:14", "2023:09:18")}


def test_no_pixel_is_nodata_and_the_seasons_differ(scenes):
    spring, autumn = (rasterio.open(path).read() for path in scenes[:2])
    assert spring.min() > 0
    assert np.abs(spring.astype(int) - autumn).mean() > 5


def test_the_same_seed_makes_the_same_pixels_and_another_does_not(patches, tmp_path):
    again = write_patches(tmp_path / "again", seed=0)
    other = write_patches(tmp_path / "other", seed=1)
    for name, path in patches.items():
        pixels = rasterio.open(path).read()
        assert np.array_equal(pixels, rasterio.open(again[name]).read())
        assert not np.array_equal(pixels, rasterio.open(other[name]).read())


def test_neighbouring_zones_show_the_same_landscape(patches, tmp_path):
    """A place in zone 33 drawn on the grid of zone 32 looks the same once warped back."""
    from dataclasses import replace

    from rasterio.warp import Resampling, reproject

    from geohash_rs.demo.landscape import Landscape
    from geohash_rs.demo.render import render

    place = replace(PLACES[1], size=128)
    turned = replace(place, epsg=32632, size=192)
    land = Landscape(seed=0)
    here = render(land, place.surface(land), season="spring")
    there = render(land, turned.surface(land), season="spring")
    back = np.zeros_like(here)
    reproject(
        there,
        back,
        src_transform=turned.transform,
        src_crs="EPSG:32632",
        dst_transform=place.transform,
        dst_crs="EPSG:32633",
        resampling=Resampling.bilinear,
    )
    assert np.corrcoef(here.ravel(), back.ravel())[0, 1] > 0.8


@pytest.mark.parametrize("seed", [0, 7])
def test_the_scenes_contain_every_kind_of_land_cover(seed):
    whole = np.array([[0, 0, place.size, place.size] for place in PLACES])
    for place, window in zip(PLACES, whole, strict=True):
        shares = cover_shares(place, window[None], seed=seed)
        assert sum(share[0] for share in shares.values()) == pytest.approx(1)
        for kind in (Cover.SEA, Cover.BEACH, Cover.FOREST, Cover.FIELDS, Cover.TOWN):
            assert shares[kind][0] > 0.004, (place.name, kind)


def test_patches_are_outside_the_scenes_and_small(patches, scenes):
    from rasterio.warp import transform_bounds

    assert set(patches) == set(PATCHES)
    for path in patches.values():
        with rasterio.open(path) as patch:
            assert patch.shape == (64, 64)
            west, south, east, north = transform_bounds(patch.crs, 4326, *patch.bounds)
        for scene in scenes:
            with rasterio.open(scene) as file:
                w, s, e, n = transform_bounds(file.crs, 4326, *file.bounds)
            assert east < w or west > e or north < s or south > n
