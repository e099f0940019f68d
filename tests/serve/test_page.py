"""The page in a real browser: what a person does, with nothing but this machine to talk to."""

import json
import re
import time

import geopandas as gpd
import pytest

pytestmark = pytest.mark.slow
WAIT = 30_000  # ms; a loaded machine draws maps slowly without a graphics card


class Page:
    """The page, what it said on the console, and which hosts it asked."""

    def __init__(self, browser, address, screenshots, **options):
        self.context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 860}, **options}
        )
        self.page = self.context.new_page()
        self.address, self.screenshots = address, screenshots
        self.errors, self.asked = [], []
        self.page.on("console", lambda m: m.type == "error" and self.errors.append(m.text))
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.asked.append(r.url))

    def open(self, fragment=""):
        self.page.goto(f"{self.address}/{fragment}")
        self.page.wait_for_selector("body[data-view]", state="attached", timeout=WAIT)
        return self

    def settle(self):
        """Wait until the search is answered and every picture is there."""
        self.page.wait_for_selector("#cards[aria-busy=false] .card", timeout=WAIT)
        self.until(
            "![...document.querySelectorAll('.card img')].slice(0, 3).some((i) => !i.complete)"
        )
        return self

    def until(self, script):
        """Wait until a script is true; Playwright's own wait would need eval, which is barred."""
        last = time.monotonic() + WAIT / 1000
        while not self.page.evaluate(script):
            assert time.monotonic() < last, script
            self.page.wait_for_timeout(50)

    def address_has(self, text):
        """Wait until the address restores what was just asked."""
        self.until(f"location.hash.includes('{text}')")

    def click_map(self, across, down, **options):
        box = self.page.locator("#map canvas").bounding_box()
        x, y = box["x"] + box["width"] * across, box["y"] + box["height"] * down
        self.page.mouse.click(x, y, **options)

    def shoot(self, name):
        self.page.wait_for_timeout(700)  # the map draws a moment after its data
        self.page.screenshot(path=self.screenshots / f"{name}.png")

    def ids(self):
        return [int(c.get_attribute("data-tile")) for c in self.page.query_selector_all(".card")]

    def check(self):
        """Nothing was wrong, and nobody else was asked."""
        assert self.errors == []
        local = ("blob:", "data:", self.address)
        assert [url for url in self.asked if not url.startswith(local)] == []
        self.context.close()


@pytest.fixture
def visit(chromium, address, screenshots):
    opened = []

    def begin(**options):
        opened.append(Page(chromium, address, screenshots, **options))
        return opened[-1]

    yield begin
    for one in opened:
        one.check()


def test_a_person_searches_judges_draws_keeps_downloads_and_comes_back(visit, tmp_path):
    seen = visit(accept_downloads=True).open()
    page = seen.page
    assert page.inner_text("#archive-facts") == "324 tiles · 4 scenes · 64 bits"
    assert page.evaluate("document.body.dataset.view") == "footprints"
    seen.shoot("1-first-view")

    seen.click_map(0.2, 0.55)
    seen.settle().shoot("2-matches")
    first = seen.ids()
    assert len(first) == 24
    distances = [int(text.split()[0]) for text in page.locator(".facts b").all_inner_texts()]
    assert distances[0] == 0
    assert distances == sorted(distances)
    assert page.locator(".card img").first.evaluate("(image) => image.naturalWidth") == 64

    rejected = first[5]
    page.locator(".card .down").nth(5).click()
    page.locator(".card .up").nth(2).click()
    assert page.locator("#negatives li").count() == 1
    assert "2 good and 1 bad" in page.inner_text("#again-note")
    seen.shoot("3-judged")
    page.click("#again")
    page.wait_for_selector("#ask-again", state="hidden", timeout=WAIT)
    seen.settle().shoot("4-searched-again")
    assert rejected not in seen.ids()

    page.click("#filters summary")
    page.click("#tool-box")
    box = page.locator("#map canvas").bounding_box()
    corners = [(0.52, 0.2), (0.97, 0.8)]
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=4)
    page.mouse.up()
    seen.address_has("region=")
    seen.settle().shoot("5-in-a-box")
    ring = re.search(r"region=([^&]*)", page.url).group(1).split(";")
    west, east = (pick(float(c.split(",")[0]) for c in ring) for pick in (min, max))

    page.fill("#from", "2023-08-01")
    seen.address_has("time=")
    seen.settle()
    assert {d[:7] for d in page.locator(".facts span:nth-of-type(1)").all_inner_texts()} == {
        "2023-09"
    }
    page.locator("#radius").fill("20")
    seen.address_has("within=20")
    seen.settle()
    narrowed = [int(text.split()[0]) for text in page.locator(".facts b").all_inner_texts()]
    assert max(narrowed) <= 20

    page.click("#keep-all")
    kept = seen.ids()
    assert page.inner_text("#kept-title").startswith(f"{len(kept)} tile")
    seen.shoot("6-kept")
    for ending in ("geojson", "gpkg", "parquet"):
        page.select_option("#format", ending)
        with page.expect_download() as download:
            page.click("#download")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        layer = "matches" if ending == "gpkg" else None  # beside it stands its style
        parquet = ending == "parquet"
        read = gpd.read_parquet(path) if parquet else gpd.read_file(path, layer=layer)
        assert read["tile_id"].tolist() == kept
        assert read.crs.to_epsg() == 4326
        bounds = read.total_bounds
        assert bounds[2] > west
        assert bounds[0] < east

    again = visit().open("#" + page.url.split("#")[1])
    again.settle().shoot("7-restored-from-the-link")
    assert again.ids() == kept
    assert again.page.locator("#negatives li").count() == 1
    assert again.page.input_value("#from") == "2023-08-01"


def test_tiles_too_small_to_be_seen_are_dots_that_can_be_clicked(visit):
    seen = visit().open()
    for _ in range(5):
        seen.page.click(".maplibregl-ctrl-zoom-out")
        seen.page.wait_for_timeout(500)
    seen.shoot("11-far-out")
    seen.click_map(0.5, 0.5)  # between the scenes: no tile is there, but dots are near
    seen.settle().shoot("12-matches-far-out")
    assert len(seen.ids()) == 24
    assert not seen.page.is_visible("#problem")


def test_a_geotiff_is_dropped_and_its_link_restores_the_search(visit, coast):
    seen = visit().open()
    seen.page.set_input_files("#file", coast / "patches" / "town.tif")
    seen.settle().shoot("8-geotiff")
    assert seen.page.inner_text("#examples span") == "town.tif"
    found = seen.ids()
    other = visit().open("#" + seen.page.url.split("#")[1])
    other.settle()
    assert other.ids() == found


def test_a_file_that_is_no_geotiff_is_refused_in_words(visit, tmp_path):
    wrong = tmp_path / "holiday.tif"
    wrong.write_bytes(b"\x89PNG not a tiff")
    seen = visit().open()
    seen.page.set_input_files("#file", wrong)
    seen.page.wait_for_selector("#problem:not([hidden])", timeout=WAIT)
    assert "holiday.tif is no GeoTIFF" in seen.page.inner_text("#problem")
    seen.shoot("13-refused")
    refused = [e for e in seen.errors if "422" in e]
    assert seen.errors == refused  # the browser's own line about the answer
    seen.errors.clear()


def test_a_polygon_is_drawn_by_clicks_and_left_by_escape(visit):
    seen = visit().open("#tiles=10")
    seen.settle()
    page = seen.page
    page.click("#tool-polygon")
    for corner in [(0.1, 0.3), (0.4, 0.3), (0.4, 0.8)]:
        seen.click_map(*corner, delay=30)
        page.wait_for_timeout(400)
    page.keyboard.press("Enter")
    seen.address_has("region=")
    drawn = re.search(r"region=([^&]*)", page.url).group(1)
    assert len(drawn.split(";")) == 4
    page.click("#tool-polygon")
    seen.click_map(0.6, 0.3)
    page.keyboard.press("Escape")
    assert drawn in page.url
    assert page.get_attribute("#tool-pick", "aria-pressed") == "true"


def test_everything_can_be_done_by_keyboard(visit):
    seen = visit().open()
    page = seen.page
    page.focus("#go")
    page.keyboard.type("12")
    page.keyboard.press("Enter")
    seen.settle()
    assert seen.ids()[0] == 12
    page.locator(".card .down").nth(3).focus()
    page.keyboard.press("Space")
    assert page.get_attribute(".card:nth-child(4) .down", "aria-pressed") == "true"
    page.focus("#filters summary")
    page.keyboard.press("Enter")
    page.focus("#region-view")
    page.keyboard.press("Enter")
    seen.address_has("region=")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_violation(visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here")
    seen = visit(color_scheme=scheme, bypass_csp=True).open("#tiles=40&not=3")
    seen.settle()
    seen.page.click("#filters summary")
    seen.page.click("#keep-all")
    seen.shoot(f"9-{scheme}")
    found = axe.Axe().run(seen.page).response["violations"]
    serious = [v for v in found if v["impact"] in {"serious", "critical"}]
    about = [(v["id"], [node["html"] for node in v["nodes"]]) for v in serious]
    assert serious == [], json.dumps(about, indent=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(visit, scheme):
    size = {"width": 390, "height": 844}
    seen = visit(viewport=size, color_scheme=scheme, has_touch=True, is_mobile=True)
    seen.open("#tiles=40").settle()
    seen.shoot(f"10-phone-{scheme}")
    width = seen.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    seen.page.locator("#cards").scroll_into_view_if_needed()
    seen.page.screenshot(path=seen.screenshots / f"10-phone-{scheme}-matches.png")
