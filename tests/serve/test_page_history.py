"""Back, forward, reload, undo and redo of the page."""

import pytest

pytestmark = pytest.mark.slow
IDLE = "document.querySelector('#cards').getAttribute('aria-busy') === 'false'"


def search(seen, tile):
    seen.page.fill("#go", str(tile))
    seen.page.press("#go", "Enter")
    seen.address_has(f"tiles={tile}")
    seen.until(f"{IDLE} && document.querySelector('#examples').textContent.includes('tile {tile}')")
    seen.settle()
    seen.page.wait_for_timeout(1000)  # the map has moved, and the browser knows where to
    return seen.ids()


def view(seen):
    return seen.ask(
        "{ const { map } = known.view; return [...map.getCenter().toArray(), map.getZoom()]; }"
    )


def press(seen, *kinds):
    """Mark matches and return what is marked: good and bad."""
    for kind, at in kinds:
        seen.page.locator(f".card .{kind}").nth(at).click()
    return marks(seen)


def marks(seen):
    return seen.ask("[state.examples.map((one) => one.id), [...state.negatives]]")


def go(seen, way, tiles):
    """Go back or forward to a search, and wait until it is there."""
    seen.page.evaluate(f"history.{way}()")
    seen.address_has(f"tiles={tiles}") if tiles else seen.until("!location.hash")
    seen.until(IDLE)
    seen.page.wait_for_timeout(300)


def test_back_and_forward_restore_the_search_its_matches_its_marks_and_the_map(visit):
    seen = visit().open()
    whole = view(seen)
    first = search(seen, 10)
    over = view(seen)
    marked = press(seen, ("up", 2), ("down", 5))
    assert len(marked[0]) == 2
    seen.page.locator(".card .picture").nth(3).click()  # looks at a match,
    seen.page.wait_for_timeout(800)
    seen.page.locator(".card .picture").nth(4).click()  # and at another: one step
    seen.page.wait_for_timeout(1200)
    near = view(seen)
    second = search(seen, 200)
    there = view(seen)
    press(seen, ("up", 3))
    asked = len([url for url in seen.asked if "/api/search" in url])

    go(seen, "back", 10)
    assert seen.ids() == first
    assert marks(seen) == marked
    assert view(seen) == pytest.approx(near)
    seen.page.evaluate("history.back()")
    seen.page.wait_for_timeout(500)
    assert seen.ids() == first  # as before looking at matches
    assert view(seen) == pytest.approx(over)
    assert view(seen) != pytest.approx(near)
    go(seen, "back", None)
    assert seen.ids() == []
    assert seen.page.is_visible("#start")
    assert view(seen) == pytest.approx(whole)
    for tiles in (10, 10, 200):
        go(seen, "forward", tiles)
    assert seen.ids() == second
    assert len(marks(seen)[0]) == 2
    assert view(seen) == pytest.approx(there)
    assert len([url for url in seen.asked if "/api/search" in url]) == asked  # remembered


def test_undo_after_back_undoes_the_judgement_before_what_is_seen(visit):
    seen = visit().open()
    search(seen, 10)
    one = press(seen, ("up", 2))
    two = press(seen, ("down", 5))
    seen.page.click("#again")
    seen.address_has("not=")
    seen.settle()
    three = press(seen, ("up", 7))
    assert len(three[0]) == 3
    seen.page.evaluate("history.back()")
    seen.until("!location.hash.includes('not=')")
    seen.page.wait_for_timeout(300)
    assert marks(seen) == two
    seen.page.keyboard.press("Control+z")
    assert marks(seen) == one
    seen.page.keyboard.press("Control+y")
    assert marks(seen) == two
    seen.page.keyboard.press("Control+y")
    assert marks(seen) == three
    assert seen.page.locator(".card.bad").count() == 1  # on the matches of the first search


def test_a_slider_is_one_step_and_a_reload_keeps_the_step_and_the_map(visit):
    seen = visit().open()
    search(seen, 10)
    page = seen.page
    page.click("#filters summary")
    for radius in (40, 30, 25):
        page.locator("#radius").fill(str(radius))
        seen.address_has(f"within={radius}")
        seen.until(IDLE)
    found = seen.ids()
    seen.look_at(12, 54.05, zoom=11)
    page.wait_for_timeout(1000)
    page.reload()
    page.wait_for_selector("body[data-view]", state="attached")
    seen.settle()
    assert seen.ids() == found
    page.wait_for_timeout(800)
    assert view(seen) == pytest.approx([12, 54.05, 11])
    page.evaluate("history.back()")
    seen.until("!location.hash.includes('within')")
    seen.settle()
    assert page.input_value("#radius") == "64"


def test_a_search_that_was_left_before_its_answer_is_asked_again(visit):
    seen = visit().open()
    search(seen, 10)
    held = []
    seen.page.route("**/api/search", lambda route: held.append(route))  # never answered
    seen.page.fill("#go", "20")
    seen.page.press("#go", "Enter")
    seen.address_has("tiles=20")
    go(seen, "back", 10)
    assert marks(seen) == [[10], []]
    seen.page.unroute("**/api/search")
    go(seen, "forward", 20)
    assert seen.ids()[0] in seen.ids()
    assert 20 in seen.ids()[:3]
