"""What the page keeps and resets between searches."""

import geopandas as gpd
import pytest

from tests.serve.browser import WAIT

pytestmark = pytest.mark.slow


def test_a_pasted_link_starts_its_search_and_other_fragments_do_not(visit):
    seen = visit().open("#tiles=10")
    found = seen.settle().ids()
    seen.page.evaluate("location.hash = 'panel'")
    seen.page.wait_for_timeout(300)
    assert seen.ids() == found
    assert seen.page.locator("#examples li").count() == 1
    seen.page.evaluate("location.hash = 'k=50'")
    seen.until("!document.querySelector('.card')")
    assert seen.page.input_value("#k") == "50"
    assert seen.page.is_visible("#start")


def test_starting_over_cancels_a_running_search(visit):
    seen = visit().open("#tiles=10")
    page = seen.settle().page
    held = []
    page.route("**/api/search", lambda route: held.append(route))  # never answered
    page.fill("#go", "20")
    page.click("#go-form button")
    page.wait_for_selector("#cards[aria-busy=true]", state="attached", timeout=WAIT)
    busy = page.locator("[aria-busy=true]")
    assert busy.locator("#problem, #results-note").count() == 0  # or they are not recorded
    page.click("#clear")
    page.wait_for_selector("#cards[aria-busy=false]", state="attached", timeout=WAIT)
    assert seen.ids() == []


def test_text_that_is_neither_id_nor_place_is_reported_and_not_searched(visit):
    seen = visit().open()
    for typed in ("12,", "  ", ",12", "12 x", "1 2 3", "0x10", "1e3"):
        seen.page.fill("#go", typed)
        seen.page.press("#go", "Enter")
        said = f"\u201c{typed}\u201d is neither a tile id (such as 12) nor"
        seen.until(f"document.querySelector('#problem').textContent.startsWith('{said}')")
    assert not [url for url in seen.asked if "/api/search" in url or "/api/tile-at" in url]


def test_a_typed_place_is_shown_and_another_tile_is_added(visit):
    seen = visit().open()
    page = seen.page
    page.fill("#go", "11.95, 54.09")
    page.press("#go", "Enter")
    seen.settle()
    first = seen.ask("state.examples[0].id")
    assert first in seen.ids()
    other = 7 if first > 100 else 200
    page.fill("#go", str(other))
    page.click("#go-add")
    seen.address_has("tiles=")
    seen.until("document.querySelectorAll('#examples li').length === 2")
    seen.until("document.querySelector('#cards').getAttribute('aria-busy') === 'false'")
    assert f"tiles={first},{other}" in page.url
    assert {first, other} <= set(seen.ids())


def test_examples_keep_their_outlines_after_many_searches(visit):
    seen = visit().open("#tiles=10")
    seen.settle()
    seen.ask("{ for (let id = 1; id < 6000; id++) places.set(-id, {}) }")
    seen.page.click("#filters summary")
    seen.page.select_option("#k", "12")
    seen.until("document.querySelectorAll('.card').length === 12")
    assert seen.ask("places.has(10) && places.size < 100")


def test_distances_to_different_queries_are_not_saved_in_one_column(visit, tmp_path):
    seen = visit(accept_downloads=True).open("#tiles=10")
    page = seen.settle().page

    def saved():
        with page.expect_download() as download:
            page.click("#download")
        download.value.save_as(tmp_path / "kept.geojson")
        return gpd.read_file(tmp_path / "kept.geojson")

    page.locator(".card .keep").nth(1).click()
    page.click("#filters summary")
    page.select_option("#k", "12")  # still the same query
    seen.until("document.querySelectorAll('.card').length === 12")
    page.locator(".card .keep").nth(2).click()
    assert page.is_hidden("#kept-note")
    assert saved()["distance"].notna().all()

    page.fill("#go", "200")
    page.press("#go", "Enter")
    seen.address_has("tiles=200")
    seen.settle()
    page.locator(".card .keep").first.click()
    assert page.is_visible("#kept-note")
    seen.shoot("14-kept-from-two-searches")
    table = saved()
    assert len(table) == 3
    assert "distance" not in table or table["distance"].isna().all()


BARRED = {
    "without a clipboard": "undefined",
    "refused": "{ writeText: () => Promise.reject(new DOMException('no', 'NotAllowedError')) }",
}


@pytest.mark.parametrize("barred", BARRED)
def test_a_link_that_cannot_be_copied_is_not_called_copied(visit, barred):
    seen = visit()
    seen.context.add_init_script(
        f"Object.defineProperty(navigator, 'clipboard', {{ value: {BARRED[barred]} }})"
    )
    seen.open("#tiles=10").settle()
    seen.page.click("#copy-link")
    seen.until("document.querySelector('#copy-link').textContent.includes('address bar')")


def test_a_copied_link_is_the_address(visit):
    seen = visit(permissions=["clipboard-read", "clipboard-write"]).open("#tiles=10")
    seen.settle().page.click("#copy-link")
    seen.until("document.querySelector('#copy-link').textContent === 'Copied'")
    assert seen.page.evaluate("navigator.clipboard.readText()") == seen.page.url


def test_without_webgl_the_page_says_so_and_still_searches(visit):
    seen = visit()
    seen.context.add_init_script(
        """const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return kind.startsWith("webgl") ? null : real.call(this, kind, ...more);
        };"""
    )
    seen.open("#tiles=10").settle().shoot("15-without-webgl")
    assert "WebGL" in seen.page.inner_text("#no-map")
    assert len(seen.ids()) == 24
    seen.page.locator(".card .picture").nth(3).click()  # no map to show it on
    seen.page.locator(".card .down").nth(3).click()
    seen.page.click("#again")
    seen.address_has("not=")
    seen.settle()
