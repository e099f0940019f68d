"""The map of the page: what a click means, regions, and the antimeridian."""

import re
from io import BytesIO

import numpy as np
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio.transform import from_origin

from geohash_rs import Archive, Scenes
from tests.serve.conftest import start

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=document.title='hit'>&amp;.tif"


@pytest.fixture(scope="module")
def islands(tmp_path_factory, coast_archive):
    """A server of two scenes at the antimeridian; one's name contains markup."""
    from geohash_rs.serve.app import create_app

    folder = tmp_path_factory.mktemp("islands")
    pixels = np.random.default_rng(0).integers(0, 255, (3, 256, 256), dtype=np.uint8)
    for name, north in ((HOSTILE, 8_130_000), ("plain_20230701.tif", 8_120_000)):
        profile = {
            "driver": "GTiff",
            "width": 256,
            "height": 256,
            "count": 3,
            "dtype": "uint8",
            "crs": "EPSG:32760",
            "transform": from_origin(818_700, north, 10, 10),
        }
        with rasterio.open(folder / name, "w", **profile) as target:
            target.write(pixels)
    hasher = Archive.open(coast_archive, mode="r").hasher_file
    Archive.create(folder / "archive", hasher=hasher).add(Scenes(folder), tile_size=64)
    url, stop = start(create_app(Archive.open(folder / "archive", mode="r")))
    yield url
    stop()


def test_a_clicked_match_is_used_rather_than_a_later_tile_at_the_same_place(visit, coast_archive):
    seen = visit().open("#tiles=10&time=2023-05-01/2023-05-31")
    found = seen.settle().ids()
    chosen = next(one for one in found if one != 10)
    x, y = seen.ask(
        f"""{{ const ring = places.get({chosen}).coordinates[0].slice(0, 4);
        const middle = [0, 1].map((axis) => ring.reduce((sum, one) => sum + one[axis] / 4, 0));
        const {{ x, y }} = known.view.map.project(middle);
        return [x, y]; }}"""
    )
    tiles = Archive.open(coast_archive, mode="r").tiles([chosen])
    assert tiles["datetime"].dt.month.tolist() == [5]
    seen.page.wait_for_timeout(700)  # drawn by then
    seen.page.mouse.click(x, y)
    seen.until("document.querySelector('#examples').textContent.includes('tile ')")
    seen.address_has(f"tiles={chosen}&")


def test_a_click_in_box_mode_does_not_pick_a_tile(visit):
    seen = visit().open("#tiles=10")
    seen.settle().page.click("#tool-box")
    seen.click_map(0.2, 0.55)
    seen.page.wait_for_timeout(500)
    assert "tiles=10" in seen.page.url
    assert "region" not in seen.page.url
    assert seen.page.get_attribute("#tool-box", "aria-pressed") == "true"
    seen.shoot("16-box-mode")
    seen.page.click("#draw-cancel")
    assert seen.page.get_attribute("#tool-pick", "aria-pressed") == "true"
    assert seen.focused() == "tool-pick"


def test_a_small_box_is_drawn_and_the_click_that_ends_it_picks_nothing(visit):
    seen = visit().open("#tiles=10")
    seen.settle().page.click("#tool-box")
    x, y = seen.on_map(0.2, 0.55)
    seen.page.mouse.move(x, y)
    seen.page.mouse.down()
    seen.page.mouse.move(x + 6, y + 6, steps=3)
    seen.page.mouse.up()
    seen.address_has("region=")
    seen.page.wait_for_timeout(500)
    assert "tiles=10&" in seen.page.url


def test_a_drag_that_ends_outside_the_map_is_a_box(visit):
    seen = visit().open("#tiles=10")
    seen.settle().page.click("#tool-box")
    seen.page.mouse.move(*seen.on_map(0.5, 0.2))
    seen.page.mouse.down()
    seen.page.mouse.move(*seen.on_map(1.2, 0.8), steps=4)  # on the panel
    seen.page.mouse.up()
    seen.address_has("region=")


def test_a_polygon_is_drawn_by_clicks_and_cancelled_by_escape(visit):
    seen = visit().open("#tiles=10")
    seen.settle()
    page = seen.page
    page.click("#tool-polygon")
    for corner in [(0.1, 0.3), (0.4, 0.3), (0.4, 0.8)]:
        seen.click_map(*corner, delay=30)
        page.wait_for_timeout(400)
    seen.shoot("17-polygon")
    page.keyboard.press("Enter")
    seen.address_has("region=")
    drawn = re.search(r"region=([^&]*)", page.url).group(1)
    assert len(drawn.split(";")) == 4
    page.click("#tool-polygon")
    seen.click_map(0.6, 0.3)
    page.keyboard.press("Escape")
    assert drawn in page.url
    assert page.get_attribute("#tool-pick", "aria-pressed") == "true"


def test_an_answered_search_keeps_the_corners_being_drawn(visit):
    seen = visit().open("#tiles=10")
    seen.settle()
    seen.page.click("#tool-polygon")
    for corner in [(0.1, 0.3), (0.4, 0.3)]:
        seen.click_map(*corner, delay=30)
        seen.page.wait_for_timeout(400)
    drawn = "known.view.map.getSource('region').serialize().data.features.length"
    assert seen.ask(drawn) == 3
    seen.page.evaluate("import('/static/search.js').then((page) => page.search())")
    assert seen.ask(drawn) == 3


def test_a_view_wider_than_half_the_globe_is_a_region(visit):
    seen = visit(viewport={"width": 1280, "height": 500}).open("#tiles=10")
    seen.settle()
    seen.look_at(230, 0, zoom=0.9)
    west, east = seen.ask(
        "{ const b = known.view.map.getBounds(); return [b.getWest(), b.getEast()]; }"
    )
    assert 180 < east - west < 360
    assert east > 360
    seen.page.click("#filters summary")
    seen.page.click("#region-view")
    seen.address_has("region=")
    seen.until("document.querySelector('#cards').getAttribute('aria-busy') === 'false'")
    assert seen.page.is_hidden("#problem")


def test_scenes_across_the_antimeridian_are_shown_together(visit, islands):
    seen = visit(at=islands).open("#tiles=3")
    seen.settle().shoot("18-antimeridian")
    marks = seen.ask(
        "known.view.map.getSource('ranks').getData().then((d) => "
        "d.features.map((one) => one.geometry.coordinates[0]))"
    )
    assert len(marks) == 24
    assert min(abs(lon) for lon in marks) > 179
    split = seen.ask(
        "state.matches.find((one) => one.geometry.type === 'MultiPolygon').properties.rank"
    )
    seen.page.locator(".card .picture").nth(split - 1).click()
    wide = "{ const b = known.view.map.getBounds(); return b.getEast() - b.getWest(); }"
    seen.page.wait_for_timeout(1500)
    assert seen.ask(wide) < 1
    assert abs(seen.ask("known.view.map.getCenter().lng")) > 179
    seen.page.click("#tool-whole")
    seen.page.wait_for_timeout(1500)
    assert seen.ask(wide) < 2


def test_imagery_across_the_antimeridian_is_drawn_on_both_sides(visit, islands):
    seen = visit(at=islands, scale=1).open()
    seen.page.click("#tool-layers")
    seen.page.uncheck("#footprints-on")
    seen.page.click("#tool-layers")
    for centre in (179.995, -179.995):  # the map's world, and the next
        seen.look_at(centre, -16.903, zoom=13)
        seen.page.wait_for_load_state("networkidle")
        seen.page.wait_for_timeout(1500)
        assert seen.ask("known.view.map.getLayer('scene-0') !== undefined")
        x, y = seen.ask(
            "{ const { x, y } = known.view.map.project([known.view.map.getCenter().lng > 0"
            " ? 180 : -180, -16.903]); return [x, y]; }"
        )
        box = seen.page.locator("#map canvas").bounding_box()
        shot = np.asarray(Image.open(BytesIO(seen.page.screenshot())).convert("RGB"), float)
        row = slice(int(box["y"] + y) - 10, int(box["y"] + y) + 10)
        for way in (-40, 20):  # px from the meridian
            left = int(box["x"] + x) + way
            assert shot[row, left : left + 20].std() > 20
    seen.shoot("18-imagery-across")


def test_markup_in_a_scene_name_is_shown_as_text(visit, islands):
    seen = visit(at=islands).open("#tiles=3")
    seen.settle()
    assert HOSTILE in seen.page.locator("#cards .facts span").all_inner_texts()
    assert seen.page.locator("img[src='x']").count() == 0
    assert seen.page.title() == "archive – search by appearance"


def boxes(*geometries):
    return [shapely.geometry.mapping(one) for one in geometries]


BOUNDS = [
    (boxes(shapely.box(10, 0, 12, 1), shapely.box(-30, 2, -20, 5)), [-30, 0, 12, 5]),
    (
        boxes(shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)])),
        [179, 0, 181, 1],
    ),
    (boxes(shapely.box(170, 0, 190, 1), shapely.box(-175, 0, -172, 1)), [170, 0, 190, 1]),
    (boxes(shapely.box(170, 0, 172, 1), shapely.box(-175, 0, -172, 1)), [170, 0, 188, 1]),
    (boxes(shapely.box(-180, -90, 180, 90)), [-180, -90, 180, 90]),
    (boxes(shapely.Point(5, 6)), [5, 6, 5, 6]),
    ([{}, None], None),
]


def test_bounds_are_the_narrowest_around_the_globe(visit):
    seen = visit().open()
    script = "(given) => import('/static/bounds.js').then((m) => m.boundsOf(given))"
    for geometries, expected in BOUNDS:
        assert seen.page.evaluate(script, geometries) == expected
