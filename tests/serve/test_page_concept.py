"""Concepts on the page: mark, judge by keyboard, move the slider, check, download, keep, open."""

import json
import re
import time

import geopandas as gpd
import pytest

from tests.serve.browser import WAIT
from tests.serve.test_page_reach import PHONE

pytestmark = pytest.mark.slow
MARKED = "#tiles=12,93&not=40"


@pytest.fixture
def map_concept(visit):
    """Open the page with marks, and the part that maps them."""

    def begin(fragment=MARKED, **options):
        seen = visit(accept_downloads=True, **options).open(fragment)
        seen.settle().page.click("#concept summary")
        return drawn(seen)

    return begin


def drawn(seen):
    """Wait until the concept is learned and its areas are drawn."""
    seen.page.wait_for_selector("#areas[aria-busy=false]", timeout=WAIT)
    seen.until("document.querySelector('#concept-state').textContent === ''")
    seen.until("document.querySelector('#area-numbers').textContent.includes('tile')")
    return seen


def marks(seen):
    return seen.page.inner_text("#concept-marks")


def press(seen, keys):
    """Judge tile after tile; a key that comes before the page takes it is pressed again."""
    page = seen.page
    for key in keys:
        page.wait_for_selector("#judge-picture img", timeout=WAIT)
        shown = page.inner_text("#judge-about")
        last = time.monotonic() + WAIT / 1000
        while page.inner_text("#judge-about") == shown:
            assert time.monotonic() < last, f"{key} does nothing at {shown}"
            page.keyboard.press(key)
            for _ in range(60):
                page.wait_for_timeout(50)
                if page.inner_text("#judge-about") != shown:
                    break


def complete(seen):
    """Judge the tiles that are left in a check as right, also those that come in late."""
    page = seen.page
    page.wait_for_selector("#judge-picture img", timeout=WAIT)
    last = time.monotonic() + WAIT / 1000
    while (shown := page.inner_text("#judge-about")) != "This check is complete.":
        assert time.monotonic() < last, shown
        page.keyboard.press("r")
        page.wait_for_timeout(200)


def test_from_marks_to_areas_by_keyboard(map_concept, tmp_path):
    seen = map_concept()
    page = seen.page
    assert marks(seen) == "2 right, 1 wrong"
    assert "Not calibrated: judge" in page.inner_text("#promise")
    seen.shoot("30-concept-learned")
    seen.tab_to("#judge-start")
    page.keyboard.press("Enter")
    assert seen.focused() == "judge-title"
    page.wait_for_selector("#judge-picture img", timeout=WAIT)
    seen.shoot("31-concept-judging")
    press(seen, "rwsr")
    assert marks(seen) == "4 right, 2 wrong"
    press(seen, "w")  # the fourth judgement: the server learns, and the queue is replaced
    drawn(seen)
    assert marks(seen) == "4 right, 3 wrong"
    judged = page.inner_text("#judge-about").split(",")[0]
    press(seen, "r")
    assert page.inner_text("#judge-about").split(",")[0] != judged
    page.keyboard.press("u")
    assert marks(seen) == "4 right, 3 wrong"
    assert page.inner_text("#judge-about").split(",")[0] == judged  # it comes up again
    page.click("#judge-stop")
    drawn(seen)
    numbers = page.inner_text("#area-numbers")
    seen.tab_to("#threshold")
    for _ in range(30):
        page.keyboard.press("ArrowLeft")
    seen.until(f"document.querySelector('#area-numbers').textContent !== {json.dumps(numbers)}")
    drawn(seen).shoot("32-concept-slider")
    assert "score" in page.get_attribute("#threshold", "aria-valuetext")
    told = int(page.inner_text("#area-numbers").split()[0].replace(",", ""))
    page.click("#tool-whole")
    shown = 0
    while shown != told:  # until the view has moved and its areas have arrived
        page.wait_for_timeout(200)
        areas = seen.ask("known.view.map.getSource('areas').getData()")["features"]
        assert shown <= told
        shown = sum(one["properties"]["tiles"] for one in areas)
    with page.expect_download() as download:
        page.click("#area-download")
    download.value.save_as(tmp_path / "areas.gpkg")
    assert gpd.read_file(tmp_path / "areas.gpkg", layer="areas")["tiles"].sum() == told


def left(seen):
    """Return how many tiles of a check are left to judge."""
    about = "document.querySelector('#judge-about').textContent"
    seen.until(f"{about}.includes(' left in ')")
    return int(re.search(r"(\d+) tiles? left", seen.page.inner_text("#judge-about"))[1])


def test_a_check_of_random_tiles_gives_a_promise(map_concept):
    seen = map_concept()
    page = seen.page
    page.focus("#threshold")
    page.keyboard.press("End")  # the highest score, then lower ones
    while int(page.inner_text("#area-numbers").split()[0]) not in range(25, 60):
        for _ in range(4):
            page.keyboard.press("ArrowLeft")
        drawn(seen)
    page.click("#check")
    page.wait_for_selector("#judge-picture img", timeout=WAIT)
    assert page.is_disabled("#judge-skip")
    number = left(seen)
    press(seen, "r" * 12)
    assert left(seen) == number - 12
    page.keyboard.press("Control+z")
    seen.until(f"document.querySelector('#judge-about').textContent.includes('{number - 11} ')")
    page.click("#judge-stop")
    drawn(seen)
    assert f"11 of {number} random tiles are judged" in page.inner_text("#checked")
    assert f"judge {number - 11} more random tiles" in page.inner_text("#promise")
    assert page.inner_text("#check") == "Go on with the check"
    assert page.is_hidden("#check-more")
    page.click("#check")
    complete(seen)
    page.click("#judge-stop")
    drawn(seen)
    seen.until("document.querySelector('#promise').textContent.startsWith('At least')")
    seen.shoot("33-concept-promise")
    assert f"{number} of {number} random tiles were right" in page.inner_text("#checked")
    assert "fails in 10 % of cases" in page.inner_text("#promise")
    assert marks(seen) == "2 right, 1 wrong"  # a check does not teach
    page.click("#promises button:first-child")
    drawn(seen)
    assert page.inner_text("#promise").startswith("At least")
    assert "counts alone" in page.inner_text("#check-cost")
    page.click("#check-more")
    complete(seen)
    page.click("#judge-stop")
    drawn(seen)
    seen.until("document.querySelector('#promise').textContent.includes('in up to 20 % of cases')")
    seen.shoot("35-concept-second-check")
    page.locator(".card .up").nth(3).click()  # what is learned again has no promise
    seen.until("document.querySelector('#promise').textContent.startsWith('Not calibrated')")


def test_areas_are_said_to_be_drawn_only_at_the_last_score(map_concept):
    seen = map_concept()
    seen.page.evaluate(  # move the slider at the moment at which an answer about areas comes in
        """() => {
          const [slider, real] = [document.querySelector("#threshold"), window.fetch];
          const moved = (step) => {
            slider.value = Number(slider.value) + step * Number(slider.step);
            slider.dispatchEvent(new Event("input"));
          };
          const areas = document.querySelector("#areas");
          window.said = [];
          new MutationObserver((changes) => window.said.push(...changes.map(() => areas.ariaBusy)))
            .observe(areas, { attributeFilter: ["aria-busy"] });
          window.fetch = async (...request) => {
            const response = await real(...request);
            if (request[0] === "/api/concept/areas") {
              window.fetch = real;
              moved(-20);
            }
            return response;
          };
          moved(-20);
        }"""
    )
    seen.until("window.said.includes('false')")
    drawn(seen)
    seen.page.wait_for_timeout(500)
    assert seen.page.evaluate("window.said") == ["true", "true", "false"]


def test_judgements_are_undone_and_redone_but_not_while_typing(map_concept):
    seen = map_concept()
    page = seen.page
    page.locator(".card .up").nth(3).click()
    page.locator(".card .down").nth(5).click()
    assert marks(seen) == "3 right, 2 wrong"
    page.keyboard.press("Control+z")
    assert marks(seen) == "3 right, 1 wrong"
    page.keyboard.press("Control+z")
    assert marks(seen) == "2 right, 1 wrong"
    page.keyboard.press("Control+y")
    assert marks(seen) == "3 right, 1 wrong"
    page.click("#judge-start")
    page.wait_for_selector("#judge-picture img", timeout=WAIT)
    page.focus("#concept-name")
    page.keyboard.type("rws")
    page.keyboard.press("Control+z")
    assert marks(seen) == "3 right, 1 wrong"


def test_a_concept_is_kept_by_name_and_another_search_leaves_it_alone(map_concept):
    seen = map_concept()
    page = seen.page
    page.fill("#concept-name", "Wälder")
    page.press("#concept-name", "Tab")
    page.locator(".card .up").nth(3).click()
    page.fill("#go", "200")
    page.press("#go", "Enter")
    seen.address_has("tiles=200")
    assert page.input_value("#concept-name") == ""
    page.reload()
    page.wait_for_selector("#concept-list option[value=Wälder]", state="attached", timeout=WAIT)
    page.click("#concept summary")
    page.select_option("#concept-list", "Wälder")
    drawn(seen)
    assert (page.input_value("#concept-name"), marks(seen)) == ("Wälder", "3 right, 1 wrong")
    page.fill("#concept-name", "Forest")
    page.press("#concept-name", "Tab")
    assert page.locator("#concept-list option").all_inner_texts() == ["Open…", "Forest"]
    page.click("#concept-new")
    seen.until("document.querySelector('#concept-body').hidden")
    page.select_option("#concept-list", "Forest")
    drawn(seen)
    page.click("#concept-delete")
    assert page.locator("#concept-list option").count() == 1
    assert marks(seen) == "3 right, 1 wrong"  # still on the page, but not kept


def test_a_saved_concept_is_opened_and_a_hostile_file_is_refused(map_concept, visit, tmp_path):
    seen = map_concept()
    with seen.page.expect_download() as download:
        seen.page.click("#concept-save")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    other = visit().open()
    other.page.set_input_files("#concept-file", path)
    drawn(other)
    assert marks(other) == "2 right, 1 wrong"
    assert other.page.input_value("#concept-name") == "concept"
    path.write_text(path.read_text(encoding="utf-8")[:300], encoding="utf-8")
    other.page.set_input_files("#concept-file", path)
    other.page.wait_for_selector("#problem:not([hidden])", timeout=WAIT)
    assert "is not a concept, or was cut short" in other.page.inner_text("#problem")
    assert marks(other) == "2 right, 1 wrong"
    assert other.errors == [one for one in other.errors if "422" in one]
    other.errors.clear()


def test_a_click_on_the_map_judges_that_tile_and_keeps_the_marks(map_concept):
    seen = map_concept()
    seen.centre_on(7)
    seen.page.wait_for_timeout(500)
    seen.click_map(0.5, 0.5)
    seen.page.wait_for_selector("#judge-picture img", timeout=WAIT)
    assert marks(seen) == "2 right, 1 wrong"
    seen.page.keyboard.press("w")
    assert marks(seen) == "2 right, 2 wrong"


def test_closing_the_part_brings_the_matches_back(map_concept):
    seen = map_concept()
    visible = "known.view.map.getLayoutProperty('match-edges', 'visibility')"
    assert seen.ask(visible) == "none"
    seen.page.click("#concept summary")
    seen.until("document.querySelector('#areas').hidden")
    assert seen.ask(visible) == "visible"
    assert seen.ask("known.view.map.getSource('areas').getData()")["features"] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["desk", "phone"])
def test_no_serious_accessibility_violation(map_concept, scheme, size):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here")
    options = PHONE if size == "phone" else {}
    seen = map_concept(color_scheme=scheme, bypass_csp=True, **options)
    seen.page.click("#judge-start")
    seen.page.wait_for_selector("#judge-picture img", timeout=WAIT)
    seen.page.wait_for_timeout(500)
    assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    seen.shoot(f"34-concept-{size}-{scheme}")
    found = axe.Axe().run(seen.page).response["violations"]
    serious = [v for v in found if v["impact"] in {"serious", "critical"}]
    about = [(v["id"], [node["html"] for node in v["nodes"]]) for v in serious]
    assert serious == [], json.dumps(about, indent=1)


def test_without_webgl_a_concept_still_counts_and_downloads(visit):
    seen = visit(accept_downloads=True)
    seen.context.add_init_script(
        """const real = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return kind.startsWith("webgl") ? null : real.call(this, kind, ...more);
        };"""
    )
    seen.open(MARKED).settle().page.click("#concept summary")
    drawn(seen)
    seen.page.click("#judge-start")
    press(seen, "r")
    assert marks(seen) == "3 right, 1 wrong"
    with seen.page.expect_download():
        seen.page.click("#area-download")
