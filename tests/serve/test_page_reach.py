"""Accessibility of the page: keyboard, touch, screen reader, phone."""

import json

import pytest

from tests.serve.browser import WAIT

pytestmark = pytest.mark.slow
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_everything_can_be_done_by_keyboard(visit):
    seen = visit().open()
    page = seen.page
    seen.tab_to("#go")
    page.keyboard.type("12")
    page.keyboard.press("Enter")
    seen.settle()
    assert 12 in seen.ids()[:3]  # others may be at the same distance
    seen.tab_to(".card:nth-child(4) .down")
    page.keyboard.press("Space")
    assert page.get_attribute(".card:nth-child(4) .down", "aria-pressed") == "true"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # keep it
    assert page.inner_text("#kept-title") == "1 tile kept"
    seen.tab_to("#filters summary")
    page.keyboard.press("Enter")
    seen.tab_to("#region-view")
    page.keyboard.press("Enter")
    seen.address_has("region=")
    seen.tab_to("#from")
    page.keyboard.type("0801")
    seen.page.evaluate("import('/static/session.js').then(({ show }) => show())")  # an answer
    page.keyboard.type("2023")
    seen.address_has("time=2023-08-01")
    seen.tab_to("#radius")
    page.keyboard.press("ArrowLeft")
    seen.address_has("within=63")
    seen.tab_to("#go")
    page.keyboard.type("200")
    seen.tab_to("#go-add")
    page.keyboard.press("Enter")
    seen.until("document.querySelectorAll('#examples li').length === 2")
    seen.tab_to("#download")


def test_the_skip_link_skips_the_map_and_keeps_the_search(visit):
    seen = visit().open("#tiles=10")
    found = seen.settle().ids()
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.className") == "skip"
    seen.page.keyboard.press("Enter")
    assert seen.focused() == "panel"
    seen.page.keyboard.press("Tab")
    assert seen.page.evaluate("document.activeElement.closest('#panel') !== null")
    seen.page.wait_for_timeout(300)
    assert seen.page.url.endswith("#tiles=10")
    assert seen.ids() == found
    assert seen.page.locator("#examples li").count() == 1


def test_the_focus_moves_to_the_matches_if_its_element_is_removed(visit):
    seen = visit().open()
    page = seen.page

    def press(selector):
        page.focus(selector)
        page.keyboard.press("Enter")
        seen.until("document.activeElement.id === 'results-title'")
        seen.until("document.querySelector('#cards').getAttribute('aria-busy') === 'false'")

    page.fill("#go", "12")
    page.press("#go", "Enter")
    seen.settle()
    assert seen.focused() == "go"
    page.locator(".card .up").nth(4).press("Enter")
    press("#again")
    page.locator(".card .down").nth(6).press("Enter")
    press("#negatives button")
    press("#examples button")
    press("#clear")
    seen.look_at(11.95, 54.1)
    press("#centre")
    page.focus(".card:nth-child(3) .keep")
    page.evaluate("location.hash = 'tiles=200'")
    seen.until("document.activeElement.id === 'results-title'")


def touch(seen, *events):
    """Send touch events; Playwright itself can only tap."""
    session = seen.context.new_cdp_session(seen.page)
    for kind, *points in events:
        at = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})
        seen.page.wait_for_timeout(60)


def drag(seen, start, end):
    """Drag a finger across the map."""
    (x0, y0), (x1, y1) = seen.on_map(*start), seen.on_map(*end)
    way = [(x0 + (x1 - x0) * i / 5, y0 + (y1 - y0) * i / 5) for i in range(1, 6)]
    touch(seen, ("touchStart", (x0, y0)), *[("touchMove", one) for one in way], ("touchEnd",))


def test_a_finger_draws_a_box_without_scrolling_the_page(visit):
    seen = visit(**PHONE).open("#tiles=40")
    seen.settle().page.tap("#tool-box")
    seen.page.wait_for_timeout(300)
    drag(seen, (0.97, 0.8), (0.55, 0.3))  # upwards, which could scroll the page
    seen.address_has("region=")
    assert seen.page.evaluate("scrollY") == 0
    seen.settle().shoot("19-phone-box")
    assert seen.page.get_attribute("#tool-pick", "aria-pressed") == "true"
    before = seen.page.url
    drag(seen, (0.6, 0.5), (0.5, 0.4))  # moves the map again
    seen.page.wait_for_timeout(300)
    assert seen.page.url == before


def test_an_interrupted_touch_draws_nothing(visit):
    seen = visit(**PHONE).open("#tiles=40")
    seen.settle().page.tap("#tool-box")
    first, second = seen.on_map(0.5, 0.3), seen.on_map(0.9, 0.8)
    touch(seen, ("touchStart", first), ("touchMove", second), ("touchCancel",))
    seen.page.mouse.move(*seen.on_map(0.4, 0.4))
    seen.page.wait_for_timeout(300)
    assert "region" not in seen.page.url
    assert seen.ask("known.view.map.getSource('region').getData()")["features"] == []
    touch(seen, ("touchStart", first), ("touchMove", first, second), ("touchEnd",))  # two fingers
    seen.page.wait_for_timeout(300)
    assert "region" not in seen.page.url
    drag(seen, (0.5, 0.3), (0.9, 0.8))  # the tool is still on
    seen.address_has("region=")


@pytest.mark.parametrize("end", ["first corner", "button"])
def test_a_finger_draws_a_polygon(visit, end):
    seen = visit(**PHONE).open("#tiles=40")
    seen.settle().page.tap("#tool-polygon")
    assert seen.page.is_disabled("#draw-finish")
    corners = [(0.1, 0.55), (0.6, 0.5), (0.6, 0.9)]
    for corner in corners:
        seen.page.touchscreen.tap(*seen.on_map(*corner))
        seen.page.wait_for_timeout(500)
    seen.shoot("20-phone-polygon")
    if end == "button":
        seen.page.tap("#draw-finish")
    else:
        x, y = seen.on_map(*corners[0])
        seen.page.touchscreen.tap(x + 5, y - 5)
    seen.address_has("region=")
    seen.page.wait_for_timeout(500)
    assert "tiles=40&" in seen.page.url
    assert seen.ask("state.region.coordinates[0].length") == 4


def test_a_finger_adds_tiles(visit):
    seen = visit(**PHONE).open("#tiles=40")
    seen.settle().page.tap("#tool-add")
    seen.centre_on(7)
    seen.page.touchscreen.tap(*seen.on_map(0.5, 0.5))
    seen.until("document.querySelectorAll('#examples li').length === 2")
    seen.settle().shoot("21-phone-adding")
    assert "tiles=40," in seen.page.url
    seen.page.tap("#tool-pick")
    seen.page.wait_for_timeout(700)  # or both taps on the map are a double tap
    seen.page.touchscreen.tap(*seen.on_map(0.5, 0.5))
    seen.until("document.querySelectorAll('#examples li').length === 1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desk", "phone"])
def test_no_serious_accessibility_violation(visit, scheme, size):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here")
    options = PHONE if size == "phone" else {}
    seen = visit(color_scheme=scheme, bypass_csp=True, **options).open("#tiles=40&not=3")
    seen.settle()
    seen.page.click("#tool-layers")
    seen.page.click("#scenes summary")
    seen.page.fill("#go", "54.09, 11.95")
    seen.page.click("#go-show")
    seen.page.wait_for_selector("#scene-list li")
    seen.page.click("#filters summary")
    seen.page.click("#keep-all")
    seen.shoot(f"9-{size}-{scheme}")
    seen.page.click("#tool-polygon")
    seen.page.locator(".card .up").nth(1).click()  # and every button is visible
    found = axe.Axe().run(seen.page).response["violations"]
    serious = [v for v in found if v["impact"] in {"serious", "critical"}]
    about = [(v["id"], [node["html"] for node in v["nodes"]]) for v in serious]
    assert serious == [], json.dumps(about, indent=1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_a_phone(visit, scheme):
    seen = visit(color_scheme=scheme, **PHONE)
    seen.open("#tiles=40").settle()
    seen.shoot(f"10-phone-{scheme}")
    width = seen.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    seen.centre_on(7)
    seen.page.touchscreen.tap(*seen.on_map(0.5, 0.5))
    seen.until("!location.hash.endsWith('tiles=40')")
    seen.settle()
    seen.page.locator(".card .up").nth(2).tap()
    seen.page.wait_for_selector("#ask-again", timeout=WAIT)
    seen.page.locator("#cards").scroll_into_view_if_needed()
    seen.shoot(f"10-phone-{scheme}-matches")
