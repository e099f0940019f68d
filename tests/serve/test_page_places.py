"""Places of the page: typed coordinates, the list of scenes, layers, coastlines and the legend."""

import json

import pytest

from geohash_rs import Archive
from tests.serve.browser import WAIT
from tests.serve.conftest import start

pytestmark = pytest.mark.slow
COAST = [11.5, 53.9, 12.5, 54.3]  # bounds of an archive
READ = {
    "12": {"id": 12},
    "46.2, 7.1": (46.2, 7.1, "latitude first"),
    "46.2 7.1": (46.2, 7.1, "latitude first"),
    "7.1E 46.2N": (46.2, 7.1, "46.2° N, 7.1° E"),
    "n46.2e7.1": (46.2, 7.1, "46.2° N, 7.1° E"),
    "46.2 N, 7.1 W": (46.2, -7.1, "46.2° N, 7.1° W"),
    "46°12′30″N 7°06′00″E": (46.208333, 7.1, "46.20833° N, 7.1° E"),
    "46°12'30\" 7°6'0\"": (46.208333, 7.1, "latitude first"),
    "S 33 51 31, E 151 12 51": (-33.858611, 151.214167, "33.85861° S, 151.21417° E"),
    "46:12.5N 7:06:15E": (46.208333, 7.104167, "46.20833° N"),
    "46,2; 7,1": (46.2, 7.1, "46.2° N, 7.1° E"),
    "−33.9, 151.2": (-33.9, 151.2, "33.9° S, 151.2° E"),
    "151.2, -33.9": (-33.9, 151.2, "longitude first, since 151.2 is not a latitude"),
    "11.95, 54.09": (54.09, 11.95, "longitude first, since the archive lies there"),
    "54.09, 11.95": (54.09, 11.95, "latitude first"),
    "7.1E 8E": "names two longitudes",
    "91N 7E": "is not on the globe",
    "46°72'N 7E": "is not on the globe",
    "200, 100": "is not on the globe",
    "46N 190E": (46, 190, "46° N, 170° W"),
    "1 2 3": "is neither a tile id",
    "46.5.5, 7": "is neither a tile id",
}


def test_coordinates_are_read_as_people_write_them_and_say_how(visit):
    seen = visit().open()
    script = "([text, box]) => import('/static/coordinates.js').then((m) => m.readPlace(text, box))"
    for text, expected in READ.items():
        found = seen.page.evaluate(script, [text, COAST])
        if isinstance(expected, str):
            assert expected in found["problem"], text
        elif isinstance(expected, dict):
            assert found == expected, text
        else:
            assert (found["lat"], found["lng"]) == pytest.approx(expected[:2], abs=1e-5), text
            assert expected[2] in found["said"], text


def test_a_typed_place_is_shown_without_a_search_and_can_be_read_the_other_way_round(visit):
    seen = visit().open()
    page = seen.page
    page.fill("#go", "12.02, 54.1")
    page.click("#go-show")
    centre = "known.view.map.getCenter().toArray()"
    page.wait_for_timeout(1500)
    assert seen.ask(centre) == pytest.approx([12.02, 54.1], abs=1e-6)
    assert page.inner_text("#go-said") == (
        "Read as 54.1° N, 12.02° E: longitude first, since the archive lies there."
    )
    assert "tiles=" not in page.url
    seen.shoot("22-typed-place")
    page.click("#go-swap")
    page.wait_for_timeout(1500)
    assert seen.ask(centre) == pytest.approx([54.1, 12.02], abs=1e-6)
    assert page.inner_text("#go-said") == "Read as 12.02° N, 54.1° E."
    page.evaluate("history.back()")
    page.wait_for_timeout(500)
    assert seen.ask(centre)[0] == pytest.approx(12, abs=0.3)


def test_what_is_typed_and_has_no_tile_leaves_the_search_and_the_map_as_they_are(visit):
    seen = visit().open("#tiles=40&k=3")
    seen.settle()
    page = seen.page
    page.wait_for_timeout(1000)  # the map has moved to the matches
    now = "[...known.view.map.getCenter().toArray(), known.view.map.getZoom()]"
    before, found, address = seen.ask(now), seen.ids(), page.url
    for text, said in [
        ("999999", "the archive has no tile 999999; click one on the map, or press All"),
        ("10 N 20 E", "no tile of the archive lies at 20.0, 10.0; press All to see where"),
    ]:
        page.fill("#go", text)
        page.press("#go", "Enter")
        page.wait_for_selector("#problem:not([hidden])", timeout=WAIT)
        assert said in page.inner_text("#problem")
        page.wait_for_timeout(1000)
        assert seen.ask(now) == before
        assert (seen.ids(), page.url) == (found, address)
        assert page.inner_text("#examples").split("\n")[0] == "tile 40"
    seen.errors.clear()  # the browser's own messages about the answers


def test_scenes_are_listed_with_dates_and_a_click_shows_one(visit):
    seen = visit().open()
    page = seen.page
    page.click("#scenes summary")
    page.wait_for_selector("#scene-list li", timeout=WAIT)
    rows = page.locator("#scene-list .scene").all_inner_texts()
    assert len(rows) == 4
    dates = [row.split("\n")[1].split(",")[0] for row in rows]
    assert dates == sorted(dates, reverse=True)
    assert all("81 tiles" in row for row in rows)
    assert page.inner_text("#scenes-said") == "4 scenes"
    assert page.is_hidden("#scene-find")  # so few need no search
    zoom = seen.ask("known.view.map.getZoom()")
    page.locator("#scene-list .scene").nth(2).press("Enter")
    seen.address_has(f"date={dates[2]}")  # or a later scene would hide it
    page.wait_for_timeout(1500)
    assert seen.ask("known.view.map.getZoom()") > zoom + 0.5
    seen.shoot("23-scenes")
    page.evaluate("history.back()")
    seen.until("!location.hash")
    page.wait_for_timeout(500)
    assert seen.ask("known.view.map.getZoom()") == pytest.approx(zoom)
    assert seen.ask("state.day") == ""


def test_ten_thousand_scenes_are_listed_a_hundred_at_a_time(visit):
    seen = visit()
    scenes = [
        {"number": n, "name": f"scene_{n:05}.tif", "date": None, "num_tiles": 1, "bounds": None}
        for n in range(10_000)
    ]
    texts = []

    def answer(route):
        text, begin = (part.split("=")[1] for part in route.request.url.split("?")[1].split("&"))
        texts.append(text)
        found = [one for one in scenes if text in one["name"]]
        page = found[int(begin) : int(begin) + 100]
        route.fulfill(json={"total": len(found), "scenes": page})

    def whole(route):
        route.fulfill(json={**route.fetch().json(), "num_scenes": 10_000})

    seen.page.route("**/api/scene-list?*", answer)
    seen.page.route("**/api/archive", whole)
    seen.open()
    page = seen.page
    page.click("#scenes summary")
    page.wait_for_selector("#scene-list li", timeout=WAIT)
    assert page.inner_text("#scenes-said") == "100 of 10,000 scenes"
    page.click("#scenes-more")
    seen.until("document.querySelectorAll('#scene-list li').length === 200")
    page.locator("#scene-text").press_sequentially("0777")
    seen.until("document.querySelectorAll('#scene-list li').length === 11")
    assert page.inner_text("#scenes-said") == "11 scenes"
    assert page.is_hidden("#scenes-more")
    assert texts[-1] == "0777"
    page.fill("#scene-text", "nothing")
    seen.until("!document.querySelector('#scene-list li')")
    assert "No scene has such a name" in page.inner_text("#scenes-said")


def paint(seen, layer, name):
    return seen.ask(f"known.view.map.getPaintProperty({json.dumps(layer)}, {json.dumps(name)})")


def test_layers_are_faded_and_hidden_and_the_legend_names_what_is_drawn(visit):
    seen = visit().open("#tiles=40&not=3")
    seen.settle()
    page = seen.page
    page.click("#tool-layers")
    assert page.get_attribute("#tool-layers", "aria-expanded") == "true"
    lines = page.locator("#legend li:visible")
    assert [line.split()[0] for line in lines.all_inner_texts()] == [
        *("tile;", "match,", "searched", "wrong"),
    ]
    seen.shoot("24-layers")
    scene = seen.ask("known.view.map.getStyle().layers.find((one) => one.type === 'raster').id")
    page.fill("#imagery-opacity", "40")
    assert paint(seen, scene, "raster-opacity") == 0.4
    page.fill("#footprints-opacity", "50")
    assert paint(seen, "tile-edges", "line-opacity") == pytest.approx(0.375)
    page.uncheck("#footprints-on")
    assert page.is_disabled("#footprints-opacity")
    hidden = "known.view.map.getLayoutProperty('tiles', 'visibility')"
    assert seen.ask(hidden) == "none"
    assert page.is_hidden("#means-tiles")
    page.uncheck("#imagery-on")
    page.wait_for_timeout(800)
    assert seen.ask(f"known.view.map.getLayer({json.dumps(scene)}) === undefined")
    page.check("#footprints-on")
    assert seen.ask(hidden) == "visible"
    page.press("#layers #imagery-on", "Escape")
    assert page.is_hidden("#layers")
    assert seen.focused() == "tool-layers"


DRAWN = "known.view.map.queryRenderedFeatures({ layers: ['coasts', 'borders'] }).length"


def test_coastlines_are_drawn_far_out_and_not_where_they_would_mislead(visit):
    seen = visit().open()
    page = seen.page
    page.wait_for_timeout(500)
    assert not page.evaluate("document.body.hasAttribute('data-world')")
    seen.look_at(12, 54, zoom=5)
    seen.until("document.body.hasAttribute('data-world')")
    page.wait_for_timeout(1000)
    assert seen.ask(DRAWN) > 10
    page.click("#tool-layers")
    assert "Natural Earth" in page.inner_text("#means-world")
    seen.shoot("25-coastlines")
    world = seen.ask(
        "import('/static/api.js').then((api) => api.world()).then((file) => "
        "import('/static/world.js').then((m) => m.readWorld(file))).then(({ features }) => "
        "[features.length, features.filter((one) => one.properties.border).length, "
        "features[0].geometry.coordinates])"
    )
    from geohash_rs.pictures.world import FILE, unpack_lines

    coasts, borders = unpack_lines(FILE.read_bytes())
    assert world[0] == len(coasts) + len(borders)
    assert world[1] == len(borders)
    assert world[2] == coasts[0].round(2).tolist()


def test_coastlines_that_cannot_be_read_are_no_problem(visit):
    seen = visit()
    seen.page.route("**/world_lines.gz", lambda route: route.fulfill(body="no lines"))
    seen.open()
    seen.look_at(12, 54, zoom=5)
    until_asked = (
        "performance.getEntriesByType('resource').some((one) => /world_lines/.test(one.name))"
    )
    seen.until(until_asked)
    seen.page.wait_for_timeout(500)
    assert not seen.page.is_visible("#problem")
    assert not seen.page.evaluate("document.body.hasAttribute('data-world')")


def test_a_base_map_takes_the_place_of_coastlines(visit, coast_archive):
    from geohash_rs.serve.app import create_app

    archive = Archive.open(coast_archive, mode="r")
    url, stop = start(create_app(archive, base_map="http://127.0.0.1:9/{z}/{x}/{y}.png"))
    try:
        seen = visit(at=url)
        seen.page.route("http://127.0.0.1:9/**", lambda route: route.abort())
        seen.open()
        seen.look_at(12, 54, zoom=5)
        seen.page.wait_for_timeout(2500)
        assert not [one for one in seen.asked if "world_lines" in one]
        seen.errors.clear()  # about the base map, which is not there
        seen.asked = [one for one in seen.asked if "127.0.0.1:9/" not in one]
    finally:
        stop()
