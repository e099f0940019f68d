"""The demo, run as a new user would."""

import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio

from geohash_rs.demo.landscape import Cover
from geohash_rs.demo.scenes import PLACES, cover_shares
from geohash_rs.store.code_store import CodeStore


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "geohash-demo"
    done = subprocess.run(
        [sys.executable, "-m", "geohash_rs", "demo", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.slow
def test_it_prints_what_it_did_and_what_to_do_next(demo):
    folder, done = demo
    lines = done.stdout.splitlines()
    assert [line[:2] for line in lines[:4]] == ["1.", "2.", "3.", "4."]
    river = folder / "patches" / "river.tif"
    assert f"geohash-rs query {folder / 'archive'} {river}" in done.stdout
    assert done.stderr == "", "no bar and no warning off a terminal"


@pytest.mark.slow
def test_most_matches_of_the_town_are_towns_from_both_zones(demo):
    folder, _ = demo
    matches = gpd.read_file(folder / "matches.geojson")
    assert len(matches) == 8
    assert matches["distance"].is_monotonic_increasing
    town = []
    for match in matches.itertuples():
        place = next(place for place in PLACES if f"coast_{place.name}_" in match.scene)
        window = np.array([[match.col, match.row, match.width, match.height]])
        town.append(cover_shares(place, window, seed=0)[Cover.TOWN][0])
    assert np.mean(np.array(town) > 0.5) >= 0.75
    assert matches["scene"].nunique() >= 2


# rasterio 1.4 multiplies transforms with *: https://github.com/rasterio/affine
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.slow
def test_footprints_match_rasterio(demo):
    folder, _ = demo
    for match in gpd.read_file(folder / "matches.geojson").itertuples():
        with rasterio.open(match.scene) as scene:
            window = rasterio.windows.Window(match.col, match.row, match.width, match.height)
            bounds = rasterio.windows.bounds(window, scene.transform)
            native = gpd.GeoSeries([match.geometry], crs=4326).to_crs(scene.crs).total_bounds
        assert native == pytest.approx(bounds, abs=1e-5), "metres"


@pytest.mark.slow
def test_the_picture_can_be_opened(demo):
    from matplotlib.image import imread

    image = imread(demo[0] / "matches.png")
    assert image.shape[1] == 1540
    assert image[..., :3].std() > 0.1


@pytest.mark.slow
def test_a_second_run_reuses_the_archive_with_another_patch(demo):
    folder, _ = demo
    done = subprocess.run(
        [sys.executable, "-m", "geohash_rs", "demo", str(folder), "--patch", "coast"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(CodeStore.open(folder / "archive", mode="r")) == 324, "nothing twice"
    matches = gpd.read_file(folder / "matches.geojson")
    place = {place.name: place for place in PLACES}
    best = matches.iloc[0]
    name = "west" if "coast_west" in best["scene"] else "east"
    window = best[["col", "row", "width", "height"]].to_numpy(dtype=int)[None]
    shares = cover_shares(place[name], window, seed=0)
    assert shares[Cover.BEACH][0] > 0
