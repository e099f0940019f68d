"""Dates on the page: the tile that a click takes is the one that is seen, on every date."""

from io import BytesIO

import numpy as np
import pytest
import rasterio
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


def still(seen):
    """Wait until the map is drawn."""
    seen.page.wait_for_timeout(150)
    seen.page.wait_for_load_state("networkidle", timeout=WAIT)
    drawn = "known.view.map.triggerRepaint() ?? known.view.map.once('idle', done)"
    seen.ask(f"new Promise((done) => {drawn})")


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


def colour_at(seen, x, y):
    """Return the colour of a place on the screen, between the lines of footprints."""
    clip = {"x": x + 2, "y": y + 2, "width": 4, "height": 4}
    shot = Image.open(BytesIO(seen.page.screenshot(clip=clip))).convert("RGB")
    return np.asarray(shot, float).reshape(-1, 3).mean(axis=0)


def seen_date(seen, x, y):
    """Return the number of the date whose colour is seen."""
    colours = np.array([colour_of(number) for number in range(10)])
    away = np.abs(colours - colour_at(seen, x, y)).max(axis=1)
    assert away.min() < 12, away
    return int(away.argmin())


def click(seen, x, y):
    """Click, and return the tile with which the page searches then."""
    before = seen.page.url
    seen.page.mouse.click(x, y)
    seen.until(f"location.href !== {before!r}")
    seen.settle()
    return seen.ask("[state.examples.length, state.examples[0].id]")


def test_on_every_date_a_click_takes_the_tile_that_is_seen(visit, place, archive):
    seen = visit(at=place).open()
    page = seen.page
    page.focus("#date")
    page.keyboard.press("End")
    for number in reversed(range(10)):
        page.focus("#date")
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("#date-text") == DATES[number]
        still(seen)
        # in the first column, where all ten lie over each other, and in that of the date itself
        for x, y in (column(seen, 9), column(seen, number)):
            assert seen_date(seen, x, y) == number
            count, tile = click(seen, x, y)
            (row,) = archive.tiles([tile]).itertuples()
            assert (count, f"{row.datetime:%Y-%m-%d}") == (1, DATES[number])
            text = page.inner_text("#examples")
            assert f"tile {tile}" in text
            assert DATES[number] in text
            assert row.scene.split("/")[-1] in text
            page.click("#clear")
            still(seen)
        assert f"date={DATES[number]}" in page.url
    seen.shoot("20-the-first-of-ten-dates")
    assert page.is_disabled("#date-before")


def test_with_all_dates_a_click_takes_the_latest_tile_there(visit, place, archive):
    seen = visit(at=place).open()
    assert seen.page.inner_text("#date-text") == "10 dates, latest on top"
    still(seen)
    seen.shoot("21-all-of-ten-dates")
    drawn = seen.ask("known.view.map.getSource('tiles').serialize().data.features.length")
    assert drawn == 100  # of 550: one for each place
    for number in range(10):
        x, y = column(seen, number)
        assert seen_date(seen, x, y) == number
        _, tile = click(seen, x, y)
        assert f"{archive.tiles([tile])['datetime'].iloc[0]:%Y-%m-%d}" == DATES[number]
        seen.page.click("#clear")
        still(seen)


def test_when_limits_what_is_seen_and_taken(visit, place, archive):
    seen = visit(at=place).open(f"#date={DATES[8]}")
    page = seen.page
    assert page.inner_text("#date-text") == DATES[8]
    page.click("#filters summary")
    page.fill("#from", "2013-01-01")
    page.fill("#to", "2015-12-31")
    seen.until("document.querySelector('#date-text').textContent === '3 dates, latest on top'")
    assert page.get_attribute("#date-all", "aria-pressed") == "true"  # the date was left out
    still(seen)
    x, y = column(seen, 9)
    assert seen_date(seen, x, y) == 4
    _, tile = click(seen, x, y)
    assert archive.tiles([tile])["datetime"].dt.year.tolist() == [2015]
    page.click("#clear")
    still(seen)
    page.mouse.click(*at(seen, 500_000 + SIDE * 10 + 300, 5_399_000))
    page.wait_for_selector("#problem:not([hidden])", timeout=WAIT)
    assert "no tile of the archive lies at" in page.inner_text("#problem")
    seen.errors.clear()  # the browser's own message about the response


def test_matches_of_other_dates_fade_and_a_card_shows_its_date(visit, place):
    seen = visit(at=place).open(f"#tiles=0&k=50&date={DATES[2]}")
    seen.settle()
    still(seen)
    page = seen.page
    found = seen.ask("state.matches.map((one) => one.properties.datetime.slice(0, 10))")
    drawn = "known.view.map.getSource('matches').serialize().data.features"
    away = seen.ask(f"{drawn}.map((one) => one.properties.away)")
    assert away == [one != DATES[2] for one in found]
    other = next(n for n, one in enumerate(found) if one != DATES[2])
    page.locator(".card .picture").nth(other).click()
    assert page.inner_text("#date-text") == found[other]
    assert page.is_hidden("#ask-again")  # what is shown is no part of the search
    page.go_back()  # to where the map was, and then to the date that it showed
    page.go_back()
    seen.until(f"document.querySelector('#date-text').textContent === '{DATES[2]}'")
    assert page.is_hidden("#ask-again")


def test_the_link_restores_the_date_and_a_wrong_one_is_no_date(visit, place):
    seen = visit(at=place).open(f"#tiles=0&date={DATES[5]}")
    seen.settle()
    assert seen.page.inner_text("#date-text") == DATES[5]
    asked = [url for url in seen.asked if "/api/tiles?" in url]
    assert all(f"day={DATES[5]}" in url for url in asked)
    other = visit(at=place).open("#tiles=0&date=yesterday")
    other.settle()
    assert other.page.inner_text("#date-text") == "10 dates, latest on top"
    third = visit(at=place).open("#tiles=0&date=1999-12-31")
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
        seen = visit(at=url).open("#tiles=0")
        seen.settle()
        assert seen.page.is_hidden("#dates")
    finally:
        seen.check()
        stop()
