"""Dates on the page: the tile that a click takes is the one that is seen, on every date."""

import time
from io import BytesIO

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.transform import from_origin

from geohash_rs import Archive, Scenes
from geohash_rs.errors import GeoHashRSWarning
from tests.serve.browser import WAIT
from tests.serve.conftest import start

pytestmark = pytest.mark.slow
DATES = [
    f"{year}-{month:02}-{year - 2000:02}"
    for year, month in zip(range(2011, 2021), range(1, 11), strict=True)
]
SMALL = {"width": 820, "height": 460}  # drawn fast without a graphics card
TILE, SIDE = 32, 10 * 32  # px; each later scene is a column of tiles narrower


def colour_of(number):
    """Return a colour of a date that no other has."""
    return np.array([20 + 110 * (number % 3), 20 + 70 * (number // 3 % 4), 20 + 23 * number])


def write(path, pixels, left=500_000):
    profile = {
        "driver": "GTiff",
        "width": pixels.shape[2],
        "height": pixels.shape[1],
        "count": 3,
        "dtype": "uint8",
        "crs": "EPSG:32633",
        "transform": from_origin(left, 5_400_000, 10, 10),
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, coast_archive):
    """An archive of ten dates over one place: in a column of tiles, each is the latest."""
    folder = tmp_path_factory.mktemp("dates")
    (folder / "scenes").mkdir()
    for number, date in enumerate(DATES):
        pixels = np.empty((3, SIDE, SIDE - number * TILE), np.uint8)
        pixels[:] = colour_of(number)[:, None, None]
        pixels[:, 0, :2], pixels[:, -1, :2] = 0, 255  # so that colours are drawn as they are
        write(folder / "scenes" / f"ground_{date.replace('-', '')}.tif", pixels)
    return folder


@pytest.fixture(scope="module")
def archive(folder, coast_archive):
    hasher = Archive.open(coast_archive, mode="r").hasher_file
    made = Archive.create(folder / "archive", hasher=hasher)
    with pytest.warns(GeoHashRSWarning, match="does not fit"):  # scenes of one colour
        made.add(Scenes(folder / "scenes"), tile_size=TILE)
    return Archive.open(folder / "archive", mode="r")


@pytest.fixture(scope="module")
def place(archive):
    from geohash_rs.serve.app import create_app

    url, stop = start(create_app(archive))
    yield url
    stop()


def column(seen, number):
    """Return the screen position of a tile in the column whose latest date has this number."""
    across = (SIDE - (number + 0.5) * TILE) * 10
    return at(seen, 500_000 + across, 5_400_000 - 4.5 * TILE * 10)


def at(seen, x, y):
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    box = seen.page.locator("#map canvas").bounding_box()
    point = seen.ask(f"known.view.map.project([{lon}, {lat}])")
    return box["x"] + point["x"], box["y"] + point["y"]


def dates_at(seen, *spots):
    """Return the numbers of the dates whose colours are seen, -1 for another colour."""
    colours = np.array([colour_of(number) for number in range(10)])
    shot = np.asarray(Image.open(BytesIO(seen.page.screenshot())).convert("RGB"), float)
    found = []
    scale = seen.page.evaluate("devicePixelRatio")
    for spot in spots:  # next to the numbers of ranks
        x, y = (int((along + 5) * scale) for along in spot)
        seen_here = shot[y : y + 2, x : x + 2].mean(axis=(0, 1))
        away = np.abs(colours - seen_here).max(axis=1)
        found.append(int(away.argmin()) if away.min() < 12 else -1)
    return found


def wait_for(seen, spots, expected):
    """Wait until these dates are drawn at these places."""
    last = time.monotonic() + WAIT / 1000
    while (found := dates_at(seen, *spots)) != expected:
        assert time.monotonic() < last, (found, expected)
        seen.page.wait_for_timeout(100)


def click(seen, x, y):
    """Click, and return the tile with which the page searches then."""
    before = seen.page.url
    seen.page.mouse.click(x, y)
    seen.until(f"location.href !== {before!r}")
    seen.settle()
    return seen.ask("[state.examples.length, state.examples[0].id]")


def test_on_every_date_a_click_takes_the_tile_that_is_seen(visit, place, archive):
    seen = visit(at=place, viewport=SMALL, scale=0.5).open("#k=1")
    page = seen.page
    page.focus("#date")
    page.keyboard.press("End")
    for number in reversed(range(10)):
        page.focus("#date")
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("#date-text") == DATES[number]
        # in the first column, where all ten lie over each other, and in the last of this date
        spots = [column(seen, 9), column(seen, number)]
        wait_for(seen, spots, [number, number])
        count, tile = click(seen, *spots[number % 2])
        (row,) = archive.tiles([tile]).itertuples()
        assert (count, f"{row.datetime:%Y-%m-%d}") == (1, DATES[number])
        text = page.inner_text("#examples")
        assert [f"tile {tile}", DATES[number], row.scene.split("/")[-1]] == text.split("\n")[:3]
        page.click("#clear")
        assert f"date={DATES[number]}" in page.url
    seen.shoot("20-the-first-of-ten-dates")
    assert page.is_disabled("#date-before")


def test_with_all_dates_a_click_takes_the_latest_tile_there(visit, place, archive):
    seen = visit(at=place, viewport=SMALL, scale=0.5).open("#k=1")
    assert seen.page.inner_text("#date-text") == "10 dates, latest on top"
    spots = [column(seen, number) for number in range(10)]
    wait_for(seen, spots, [*range(10)])
    seen.shoot("21-all-of-ten-dates")
    drawn = seen.ask("known.view.map.getSource('tiles').serialize().data.features.length")
    assert drawn == 100  # of 550: one for each place
    for number in range(10):
        _, tile = click(seen, *spots[number])
        assert f"{archive.tiles([tile])['datetime'].iloc[0]:%Y-%m-%d}" == DATES[number]
        seen.page.click("#clear")


def test_with_all_dates_a_click_on_a_match_under_later_tiles_takes_what_is_seen(
    visit, place, archive
):
    tiles = archive.tiles(np.arange(len(archive)))
    old = tiles[tiles["datetime"].dt.strftime("%Y-%m-%d") == DATES[0]]
    match = int(old["tile_id"].iloc[0])  # in the upper left corner, below nine others
    seen = visit(at=place, viewport=SMALL).open(f"#tiles={old['tile_id'].iloc[9]}&k=100")
    seen.settle()
    assert match in seen.ids()[:100]
    count, tile = click(seen, *at(seen, 500_000 + TILE * 5, 5_400_000 - TILE * 5))
    assert (count, archive.tiles([tile])["datetime"].iloc[0].year) == (1, int(DATES[9][:4]))


def test_back_after_a_range_that_leaves_out_the_date_returns_to_the_date(visit, place):
    seen = visit(at=place, viewport=SMALL).open("#k=1")
    page = seen.page
    text = "document.querySelector('#date-text').textContent"
    page.focus("#date")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    seen.until(f"{text} === '{DATES[9]}'")
    page.click("#filters summary")
    page.fill("#from", "2013-01-01")
    page.fill("#to", "2015-12-31")
    seen.until(f"{text} === '3 dates, latest on top'")
    click(seen, *column(seen, 9))
    assert page.is_hidden("#ask-again")
    page.go_back()
    seen.until("!location.hash.includes('tiles')")
    page.wait_for_timeout(500)
    assert page.inner_text("#date-text") == "3 dates, latest on top"
    page.go_back()
    seen.until(f"{text} === '{DATES[9]}'")
    assert page.input_value("#from") == page.input_value("#to") == ""


def test_when_limits_what_is_seen_and_taken(visit, place, archive):
    seen = visit(at=place, viewport=SMALL, scale=0.5).open(f"#k=1&date={DATES[8]}")
    page = seen.page
    assert page.inner_text("#date-text") == DATES[8]
    page.click("#filters summary")
    page.fill("#from", "2013-01-01")
    page.fill("#to", "2015-12-31")
    seen.until("document.querySelector('#date-text').textContent === '3 dates, latest on top'")
    assert page.get_attribute("#date-all", "aria-pressed") == "true"  # the date was left out
    spot = column(seen, 9)
    wait_for(seen, [spot], [4])
    _, tile = click(seen, *spot)
    assert archive.tiles([tile])["datetime"].dt.year.tolist() == [2015]
    page.click("#clear")
    page.mouse.click(*at(seen, 500_000 + SIDE * 10 + 300, 5_399_000))
    page.wait_for_selector("#problem:not([hidden])", timeout=WAIT)
    assert "no tile of the archive lies at" in page.inner_text("#problem")
    seen.errors.clear()  # the browser's own message about the response


def test_matches_of_other_dates_fade_and_a_card_shows_its_date(visit, place):
    seen = visit(at=place, viewport=SMALL).open(f"#tiles=0&k=50&date={DATES[2]}")
    seen.settle()
    page = seen.page
    found = seen.ask("state.matches.map((one) => one.properties.datetime.slice(0, 10))")
    drawn = "known.view.map.getSource('matches').serialize().data.features"
    away = seen.ask(f"{drawn}.map((one) => one.properties.away)")
    assert away == [one != DATES[2] for one in found]
    other = next(n for n, one in enumerate(found) if one != DATES[2])
    page.locator(".card .picture").nth(other).click()
    assert page.inner_text("#date-text") == found[other]
    assert page.is_hidden("#ask-again")  # what is shown does not change the search
    page.go_back()  # to the date that the map showed
    seen.until(f"document.querySelector('#date-text').textContent === '{DATES[2]}'")
    assert page.is_hidden("#ask-again")


def test_the_link_restores_the_date_and_a_wrong_one_is_no_date(visit, place):
    seen = visit(at=place, viewport=SMALL).open(f"#tiles=0&date={DATES[5]}")
    seen.settle()
    assert seen.page.inner_text("#date-text") == DATES[5]
    asked = [url for url in seen.asked if "/api/tiles?" in url]
    assert all(f"day={DATES[5]}" in url for url in asked)
    other = visit(at=place, viewport=SMALL).open("#tiles=0&date=yesterday")
    other.settle()
    assert other.page.inner_text("#date-text") == "10 dates, latest on top"
    third = visit(at=place, viewport=SMALL).open("#tiles=0&date=1999-12-31")
    third.settle()
    assert third.page.inner_text("#date-text") == "1999-12-31, nothing here"


def test_the_bar_is_absent_from_an_archive_of_one_date(visit, tmp_path, coast_archive):
    from geohash_rs.serve.app import create_app

    pixels = np.random.default_rng(0).integers(0, 255, (3, 128, 128), dtype=np.uint8)
    write(tmp_path / "one_20200101.tif", pixels)
    hasher = Archive.open(coast_archive, mode="r").hasher_file
    Archive.create(tmp_path / "archive", hasher=hasher).add(Scenes(tmp_path), tile_size=64)
    url, stop = start(create_app(Archive.open(tmp_path / "archive", mode="r")))
    try:
        seen = visit(at=url, viewport=SMALL).open("#tiles=0")
        seen.settle()
        assert seen.page.is_hidden("#dates")
    finally:
        seen.check()
        stop()


def test_hundreds_of_dates_undated_tiles_and_scenes_of_a_date_are_stepped_through(visit, tmp_path):
    from geohash_rs.serve.app import create_app

    days = pd.date_range("2001-01-01", periods=300, freq="9D", tz="UTC")
    moments = [pd.NaT, *days, days[-1]]
    names = [f"{number}.tif" for number in range(len(moments))]
    x = np.arange(len(moments)) % 20 / 10  # fifteen tiles lie over each other
    tiles = gpd.GeoDataFrame(
        {"scene": names, "datetime": pd.to_datetime(pd.Series(moments), utc=True)},
        geometry=shapely.box(x, 0, x + 0.1, 0.1),
        crs=4326,
    )
    archive = Archive.create(tmp_path / "archive", num_bits=64)
    archive.add_codes(np.arange(302 * 8, dtype=np.uint64).astype(np.uint8).reshape(302, 8), tiles)
    url, stop = start(create_app(Archive.open(tmp_path / "archive", mode="r")))
    try:
        seen = visit(at=url, viewport=SMALL).open()
        page = seen.page
        assert page.inner_text("#date-text") == "301 dates, latest on top"
        assert page.inner_text("#in-view") == "20 tiles in view"
        last = f"{days[-1]:%Y-%m-%d}"
        for key, text, value in [
            ("Home", "no date", "0"),
            ("ArrowRight", "2001-01-01", "1"),
            ("ArrowLeft", "no date", "0"),
            ("End", "301 dates, latest on top", "301"),
            ("ArrowLeft", last, "300"),
        ]:
            page.focus("#date")
            page.keyboard.press(key)
            assert page.inner_text("#date-text") == text
            assert page.input_value("#date") == value
            spoken = page.get_attribute("#date", "aria-valuetext")
            assert spoken == text if text[-3:] != "top" else spoken == f"all dates: {text}"
        seen.until("document.querySelector('#in-view').textContent === '2 tiles in view'")
        seen.shoot("22-three-hundred-dates")
        assert page.locator("#date-scene option").all_inner_texts() == [
            "all 2 scenes",
            "300.tif",
            "301.tif",
        ]
        page.select_option("#date-scene", "301.tif")
        seen.address_has(f"date={last}&scene=301.tif")
        seen.until("document.querySelector('#in-view').textContent === '1 tile in view'")
        page.click("#date-before")
        before = f"{days[-2]:%Y-%m-%d}"
        seen.until(f"location.hash.endsWith('date={before}')")
        page.click("#date-all")
        seen.until("document.querySelector('#in-view').textContent === '20 tiles in view'")
    finally:
        seen.check()
        stop()
