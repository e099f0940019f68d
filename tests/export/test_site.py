"""A static folder finds in a browser what the archive finds, from a host and from a disk."""

import json
import os
import shutil
import time
import warnings
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

import geohash_rs
from geohash_rs import Archive
from geohash_rs.errors import ExportError, GeoHashRSWarning
from geohash_rs.export.site import folder
from geohash_rs.export.site.folder import check_site_output, is_site_path, site_size, write_site
from geohash_rs.pictures.world import FILE, unpack_lines
from geohash_rs.retrieval.at_point import tiles_at
from geohash_rs.store.search.where import Where
from tests.export.site_host import Host

NAMES = [
    "/none/a.tif",
    "<img src=x onerror=alert(1)>.tif",
    "=1+1\u202egpj.tif",
    "</script>\x1b[2J.tif",
]
LABELS = ["lake", "town", "=wood\u202e", None]
WAIT = 120  # s; a busy machine draws slowly


def until(page, script):
    """Wait until a script is true; Playwright's own wait needs eval, which is forbidden."""
    last = time.monotonic() + WAIT
    while not page.evaluate(script):
        assert time.monotonic() < last, script
        page.wait_for_timeout(50)


def make_tiles(count, rng, *, first=0):
    """Lay quadrilaterals over two degrees of ground, some turned, some at the same place."""
    x, y = 9 + 2 * rng.random(count), 47 + 2 * rng.random(count)
    turn = rng.random(count) * np.pi / 2
    size = np.where(rng.random(count) < 0.5, 0.01, 0.02)
    corners = np.stack([turn + k * np.pi / 2 for k in range(4)], axis=1)
    xy = np.stack([np.cos(corners), np.sin(corners)], axis=2) * size[:, None, None]
    shapes = shapely.polygons(xy + np.stack([x, y], axis=1)[:, None, :])
    days = rng.integers(0, 700, count)
    start = np.datetime64("2022-01-01", "us") + days * np.timedelta64(86_400_000_000, "us")
    start = pd.Series(pd.to_datetime(start))
    start[rng.random(count) < 0.05] = pd.NaT
    end = start + pd.to_timedelta(rng.integers(0, 20, count), unit="D")
    end[rng.random(count) < 0.5] = pd.NaT
    shapes[rng.random(count) < 0.02] = None
    return gpd.GeoDataFrame(
        {
            "scene": [NAMES[number % len(NAMES)] for number in range(first, first + count)],
            "col": np.arange(count),
            "row": 0,
            "width": rng.choice([64, 128], count),
            "height": 64,
            "label": rng.choice(LABELS, count),
            "datetime": start,
            "datetime_end": end,
        },
        geometry=shapes,
        crs="EPSG:4326",
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """20,000 tiles of 16 bits, so that many share a distance, in three additions, with gaps."""
    path = tmp_path_factory.mktemp("site") / "a<b>"
    rng = np.random.default_rng(7)
    made = Archive.create(path, num_bits=16)
    for first in (0, 8000, 12_000):
        count = 4000 if first == 8000 else 8000
        codes = rng.integers(0, 256, (count, 2), dtype=np.uint8)
        made.add_codes(codes, make_tiles(count, rng, first=first))
    across = gpd.GeoDataFrame(
        {"scene": "/none/pacific.tif", "col": 0, "row": 0, "width": 64, "height": 64},
        index=range(3),
        geometry=[
            shapely.union_all([shapely.box(179.9, 0, 180, 1), shapely.box(-180, 0, -179.8, 1)]),
            shapely.box(179, 2, 179.5, 3),
            shapely.box(-179, 2, -178.5, 3),
        ],
        crs="EPSG:4326",
    )
    made.add_codes(np.zeros((3, 2), np.uint8), across)
    made.remove_scenes([NAMES[3]])
    return made


@pytest.fixture(scope="module")
def site(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "site"
    write_site(archive.to_table(), folder, name=archive.path.name)
    return folder


@pytest.fixture(scope="module")
def host(site):
    made = Host(site)
    yield made
    made.stop()


@pytest.fixture
def open_page(chromium):
    """Open a page; check at the end that nothing went wrong in it."""
    opened, errors = [], []

    def begin(address, *, ready="archive !== null"):
        page = chromium.new_context(viewport={"width": 1200, "height": 800}).new_page()
        page.on("console", lambda m: m.type == "error" and errors.append(m.text))
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("dialog", lambda d: errors.append(d.message))
        opened.append(page)
        page.goto(address)
        until(page, ready)
        return page

    yield begin
    assert errors == []
    for page in opened:
        page.context.close()


ASK = """async ({ good, bad, k, region, time, kinds }) => {
  const range = time && time.map(BigInt);
  const found = await search(archive, { good, bad, k, region, time: range, kinds });
  return found.map(({ tile_id, distance, similarity }) => [tile_id, distance, similarity]);
}"""


def random_query(archive, ids, rng):
    """Choose examples, a region and a time, for the page and for the archive."""
    good = [int(one) for one in rng.choice(ids, rng.integers(1, 4), replace=False)]
    bad = [int(one) for one in rng.choice(ids, rng.integers(1, 3))] * (rng.random() < 0.4)
    bad = sorted(set(bad) - set(good))
    page = {"good": good, "bad": bad, "k": int(rng.integers(1, 40)), "region": None, "time": None}
    options = {"tile": good, "k": page["k"]} | ({"negatives": bad} if bad else {})
    kind = rng.integers(0, 4)
    x, y = 9 + 1.5 * rng.random(), 47 + 1.5 * rng.random()
    if kind == 1:
        box = [x, y, x + rng.random(), y + rng.random()]
        page["region"], options["region"] = [box], tuple(box)
    elif kind == 2:
        shape = (
            shapely.Point(x, y)
            .buffer(0.1 + 0.4 * rng.random())
            .difference(shapely.Point(x, y).buffer(0.05))
        )
        page["region"] = [
            [list(map(list, ring.coords)) for ring in (shape.exterior, *shape.interiors)]
        ]
        options["region"] = shape
    elif kind == 3:  # a tile's own corners touch it, or nearly
        shape = archive.tiles([good[0]]).geometry.iloc[0]
        if shape is not None:
            page["region"] = [[list(map(list, shape.exterior.coords))]]
            options["region"] = shape
    if rng.random() < 0.4:
        first = int(rng.integers(0, 650))
        begin = np.datetime64("2022-01-01") + np.timedelta64(first, "D")
        days = [begin, begin + np.timedelta64(60, "D")]
        start = int(days[0].astype("datetime64[us]").astype(int))
        end = int(days[1].astype("datetime64[us]").astype(int)) + 86_400_000_000 - 1
        page["time"], options["time"] = [str(start), str(end)], (str(days[0]), str(days[1]))
    page["kinds"] = {}
    for kind, names in (("scene", NAMES[:3]), ("label", LABELS[:3]), ("tile_size", [64, 128])):
        if rng.random() < 0.2:
            page["kinds"][kind] = names[rng.integers(len(names))]
            options[kind] = page["kinds"][kind]
    for kind in {"scene", "label"} & set(options):
        options[f"{kind}s"] = [options.pop(kind)]
    return page, options


def same_scores(found, expected):
    """Check scores, and the order but for tiles whose scores differ by rounding alone."""
    scores, wanted = np.array([one[2] for one in found]), expected["similarity"].to_numpy()
    assert np.abs(scores - wanted).max(initial=0) < 1e-12
    last = wanted.min(initial=1) + 1e-12  # which of those at the end are in, rounding decides
    one = [(round(score, 10), tile) for tile, _, score in found if score > last]
    two = zip(wanted.round(10).tolist(), expected["tile_id"].tolist(), wanted, strict=True)
    assert sorted(one) == sorted((score, tile) for score, tile, exact in two if exact > last)


def test_the_page_finds_what_the_archive_finds(archive, host, open_page):
    page = open_page(host.address)
    rng = np.random.default_rng(11)
    ids = archive.to_table(["tile_id"]).reader().read_all()["tile_id"].to_numpy()
    for _ in range(60):
        asked, options = random_query(archive, ids, rng)
        found = page.evaluate(ASK, asked)
        with warnings.catch_warnings():  # that some tiles have no date
            warnings.simplefilter("ignore", GeoHashRSWarning)
            expected = archive.query(**options)
        assert len(found) == len(expected)
        if asked["bad"]:
            same_scores(found, expected)
        else:
            assert [one[:2] for one in found] == expected[
                ["tile_id", "distance"]
            ].to_numpy().tolist()


def test_a_region_across_180_degrees_finds_tiles_on_both_sides(archive, host, open_page):
    page = open_page(host.address)
    tile = int(archive.query(point=(179.2, 2.5), k=1)["tile_id"].iloc[0])
    asked = {"good": [tile], "bad": [], "k": 9, "time": None}
    asked["region"] = page.evaluate("splitBox([539.4, 0.5, 541.5, 2.5])")  # 179.4 to -178.5
    assert asked["region"] == [[179.4, 0.5, 180, 2.5], [-180, 0.5, -178.5, 2.5]]
    found = [one[0] for one in page.evaluate(ASK, asked)]
    expected = archive.query(tile=tile, k=9, region=(179.4, 0.5, -178.5, 2.5))
    assert found == expected["tile_id"].tolist()
    assert len(found) == 3


def test_touching_counts_and_a_hair_apart_does_not(host, open_page):
    page = open_page(host.address)
    meet = "([a, b]) => shapesMeet(polygonShape([[a]]), polygonShape([[b]]))"
    square = [[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]
    for shape in ("POLYGON((1 1, 2 1, 2 2, 1 1))", "POLYGON((1 .5, 2 0, 2 1, 1 .5))",
                  "POLYGON((.2 .2, .4 .2, .4 .4, .2 .2))", "POLYGON((-9 -9, 9 -9, 0 9, -9 -9))",
                  f"POLYGON(({np.nextafter(1, 2)} .5, 2 0, 2 1, {np.nextafter(1, 2)} .5))",
                  "POLYGON((0.1 1.3, 1.3 0.1, 1.7 2, 0.1 1.3))",
                  "POLYGON((0.7 1.3, 1.3 0.7, 1.7 2, 0.7 1.3))"):  # fmt: skip
        other = shapely.from_wkt(shape)
        ring = [list(corner) for corner in other.exterior.coords]
        expected = bool(shapely.intersects(shapely.Polygon(square), other))
        assert page.evaluate(meet, [square, ring]) is expected, shape
        assert page.evaluate(meet, [ring, square]) is expected, shape


def test_search_marks_and_downloads_by_hand(archive, site, open_page, tmp_path):
    """From a disk, as a person would: a folder without a server."""
    page = open_page((site / "index.html").as_uri())
    assert page.inner_text("#name") == "a<b>"
    ids = archive.to_table(["tile_id", "scene"]).reader().read_all().to_pandas()
    tile = int(ids[ids.scene == NAMES[1]].tile_id.iloc[0])
    page.fill("#tile", str(tile))
    page.click("#form .main")
    page.wait_for_selector(".card")
    shown = [int(one.get_attribute("data-tile")) for one in page.query_selector_all(".card")]
    assert shown == archive.query(tile=tile, k=20)["tile_id"].tolist()
    page.click(f".card[data-tile='{shown[3]}'] .down")
    until(page, f"!document.querySelector('.card[data-tile=\"{shown[3]}\"]')")
    marked = archive.query(tile=tile, negatives=[shown[3]], k=20)
    left = [int(one.get_attribute("data-tile")) for one in page.query_selector_all(".card")]
    assert set(left) & set(marked["tile_id"]) == set(left)
    assert f"bad={shown[3]}" in page.url
    scenes = " ".join(page.locator(".card .show span:last-child").all_inner_texts())
    assert "\u202e" not in scenes
    assert "\x1b" not in scenes
    with page.expect_download() as caught:
        page.click("#geojson")
    caught.value.save_as(tmp_path / "matches.geojson")
    frame = gpd.read_file(tmp_path / "matches.geojson")
    assert frame["tile_id"].tolist() == left
    stored = archive.tiles(left)
    assert frame["scene"].tolist() == stored["scene"].tolist()
    assert [a.equals(b) for a, b in zip(frame.geometry, stored.geometry, strict=True) if b] == [
        True
    ] * stored.geometry.notna().sum()
    with page.expect_download() as caught:
        page.click("#csv")
    caught.value.save_as(tmp_path / "matches.csv")
    table = pd.read_csv(tmp_path / "matches.csv")
    assert table["tile_id"].tolist() == left
    assert not table["scene"].str.startswith("=").any()


def test_tiles_at_a_place_have_the_order_of_the_archive(archive, host, open_page):
    page = open_page(host.address)
    rng = np.random.default_rng(5)
    places = [(9 + 2 * rng.random(), 47 + 2 * rng.random()) for _ in range(60)]
    places += [(179.95, 0.5), (-179.9, 0.5), (180.0, 0.5), (-150.0, 40.0)]
    at = "async ([lng, lat]) => (await tilesAt(archive, { lat, lng })).map((one) => one.tile_id)"
    several = 0
    for place in places:
        expected = tiles_at(archive, place, where=Where())["tile_id"].tolist()
        assert page.evaluate(at, list(place)) == expected
        several += len(expected) > 1
    assert several > 20


def test_the_nearest_centre_is_taken_across_180_degrees(tmp_path, open_page):
    """Of tiles of one size and date, which overlap and lie on either side or on both."""
    split = shapely.union_all([shapely.box(179.6, 0, 180, 1), shapely.box(-180, 0, -179.8, 1)])
    east, west = shapely.box(-180, 0, -179.2, 1), shapely.box(179.2, 0, 180, 1)
    centres = [-179.6, 179.9, 179.6]  # of tiles 0, 1 and 2
    windows = {"scene": "/none/pacific.tif", "col": 0, "row": 0, "width": 64, "height": 64}
    made = Archive.create(tmp_path / "archive", num_bits=16)
    tiles = gpd.GeoDataFrame(windows, index=range(3), geometry=[east, split, west], crs=4326)
    made.add_codes(np.zeros((3, 2), np.uint8), tiles)
    write_site(made.to_table(), tmp_path / "site", name="pacific")
    page = open_page((tmp_path / "site" / "index.html").as_uri())
    at = "async ([lng, lat]) => (await tilesAt(archive, { lat, lng })).map((one) => one.tile_id)"
    for lon, covering in ((-179.95, (0, 1)), (-179.85, (0, 1)), (179.65, (1, 2)), (179.95, (1, 2))):
        away = [abs((centre - lon + 180) % 360 - 180) for centre in centres]
        assert page.evaluate(at, [lon, 0.5]) == sorted(covering, key=lambda tile: away[tile]), lon
    edge = page.evaluate(at, [180, 0.5])  # at the edge as the archive takes it
    assert edge == tiles_at(made, (180, 0.5), where=Where())["tile_id"].tolist()


def place_of(archive, **limits):
    """Find a place at which some tiles pass the limits and others, which come first, do not."""
    rng = np.random.default_rng(9)
    for _ in range(1000):
        place = (9 + 2 * rng.random(), 47 + 2 * rng.random())
        first = tiles_at(archive, place, where=Where())["tile_id"].head(1).tolist()
        passing = tiles_at(archive, place, where=Where.parse(**limits))["tile_id"].head(1).tolist()
        if passing and first != passing:
            return place
    raise AssertionError(limits)


def choose(page, name, text):
    page.select_option(f"#{name}", label=text)


def test_a_click_takes_the_archives_tile_among_those_that_pass(archive, host, open_page):
    page = open_page(host.address)
    limits = {"labels": ["lake"], "tile_size": 128, "scenes": [NAMES[0]]}
    lon, lat = place_of(archive, **limits)
    page.evaluate(f"map.fit([{lon - 0.05}, {lat - 0.05}, {lon + 0.05}, {lat + 0.05}])")
    choose(page, "label", "lake")
    choose(page, "tile_size", "128 px")
    choose(page, "scene", "a.tif")
    until(page, "map.tiles.length > 0 && map.tiles.every(passes)")
    box = page.locator("#map").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".card")
    place = page.evaluate("map.toPlace(map.size.map((length) => length / 2))")
    expected = archive.query(point=place, k=20, **limits)
    assert page.evaluate("state.good") == expected.examples["tile_id"].tolist()
    shown = [int(one.get_attribute("data-tile")) for one in page.query_selector_all(".card")]
    assert shown == expected["tile_id"].tolist()
    assert "label=lake" in page.url
    again = open_page(page.url.replace("#", "?again#"))
    again.wait_for_selector(".card")
    assert again.evaluate("chosenKinds()") == page.evaluate("chosenKinds()")


def test_going_to_a_place_searches_like_the_tile_there(archive, site, open_page):
    page = open_page((site / "index.html").as_uri())
    lon, lat = place_of(archive, labels=["town"])
    choose(page, "label", "town")
    page.fill("#place", f"{lat}, {lon}")
    page.press("#place", "Enter")
    page.wait_for_selector(".card")
    expected = archive.query(point=(lon, lat), labels=["town"], k=20)
    shown = [int(one.get_attribute("data-tile")) for one in page.query_selector_all(".card")]
    assert shown == expected["tile_id"].tolist()
    tile = expected.examples["tile_id"].iloc[0]
    assert f"20 tiles like tile {tile}, at {round(lat, 5)}" in page.inner_text("#note")
    west, south, east, north = page.evaluate("map.view()")
    assert (west < lon < east, south < lat < north) == (True, True)
    swapped = f"{lon} N, {lat} E"
    for text, said in (
        ("8.2 S, 46.9 E", "No tile lies at 8.2° S, 46.9° E."),
        ("north", "is neither a tile id"),
        ("7000000", "There is no tile 7000000"),
        ("95, 200", "not on the globe"),
        (swapped, f"One lies at {lat:.3f}"[:-1]),
    ):
        page.fill("#place", text)
        page.click("#go")
        page.wait_for_selector("#problem:not([hidden])")
        until(page, f"document.querySelector('#problem').textContent.includes({json.dumps(said)})")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("47.5, 9.5", [9.5, 47.5]),  # latitude first
        ("9.5 47.5", [9.5, 47.5]),  # longitude first, since the archive lies there
        ("9.5, 12", [12, 9.5]),
        ("120; 46", [120, 46]),
        ("46 N 7.5 W", [-7.5, 46]),
        ("7.5°E, 46°S", [7.5, -46]),
        ("−46, 325", [325, -46]),
        ("46°12′30″N 7°06′00″E", [7.1, 46 + 12.5 / 60]),
        ("46,25; 7,5", [7.5, 46.25]),  # decimal commas
    ],
)
def test_places_are_read_as_people_write_them(host, open_page, text, place):
    page = open_page(host.address)
    page.evaluate("ABOUT.bounds = [9, 47, 11, 49]")
    found = page.evaluate(f"readPlace({json.dumps(text)}, ABOUT.bounds)")
    assert [found["lng"], found["lat"]] == pytest.approx(place)


def test_the_page_shares_scripts_with_the_page_of_the_server(site):
    static = Path(geohash_rs.__file__).parent / "serve" / "static"
    for name in ("coordinates.js", "world.js"):
        module = (static / name).read_text(encoding="utf-8")
        script = (site / name).read_text(encoding="utf-8")
        assert module.replace("export ", "") in script  # browsers load no modules from a disk
        assert "import " not in module
        assert not (Path(folder.__file__).parent / "page" / name).exists()


def test_going_to_a_tile_shows_it_and_searches(site, open_page, archive):
    tiles = archive.to_table(["tile_id", "geometry"]).to_geopandas().dropna(subset="geometry")
    tile, shape = tiles.iloc[9][["tile_id", "geometry"]]
    page = open_page((site / "index.html").as_uri())
    page.fill("#place", str(tile))
    page.press("#place", "Enter")
    page.wait_for_selector(".card")
    assert page.evaluate("state.good") == [tile]
    west, south, east, north = page.evaluate("map.view()")
    assert west < shape.centroid.x < east < west + 1
    assert south < shape.centroid.y < north


def test_scenes_of_one_file_name_are_told_apart_and_links_hold_no_folders(tmp_path, open_page):
    scenes = ["/home/ann/north/a.tif", "/home/ann/south/a.tif", "/home/ann/b.tif"]
    made = Archive.create(tmp_path / "archive", num_bits=16)
    tiles = make_tiles(3, np.random.default_rng(1)).assign(scene=scenes)
    made.add_codes(np.eye(3, 2, dtype=np.uint8), tiles)
    write_site(made.to_table(), tmp_path / "site", name="three")
    page = open_page((tmp_path / "site" / "index.html").as_uri())
    offered = page.locator("#scene option").all_inner_texts()
    assert offered == ["any", "b.tif", "north/a.tif", "south/a.tif"]
    choose(page, "scene", "south/a.tif")
    page.fill("#tile", "0")
    page.click("#form .main")
    page.wait_for_selector(".card")
    assert page.locator(".card .show").all_inner_texts()[0].count("south/a.tif") == 1
    assert "scene=south%2Fa.tif" in page.url
    assert "ann" not in page.url.partition("#")[2]
    for written in ("south/a.tif", scenes[1]):  # links of former exports hold the whole path
        again = open_page(f"{page.url.partition('#')[0]}?{len(written)}#good=0&scene={written}")
        assert again.evaluate("chosenKinds()") == {"scene": scenes[1]}
    names = "([names]) => shortNames(names)"
    for paths, short in (
        (["a.tif", "/x/a.tif", "/y/a.tif"], ["a.tif", "x/a.tif", "y/a.tif"]),
        (["/x/1/a.tif", "/y/1/a.tif", "/y/2/b.tif"], ["x/1/a.tif", "y/1/a.tif", "b.tif"]),
        ([r"C:\x\a.tif", r"C:\x\b.tif"], ["a.tif", "b.tif"]),
    ):
        assert page.evaluate(names, [paths]) == short


def test_a_map_without_coastlines_is_no_problem(site, tmp_path, open_page):
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    broken = 'siteData("world", "bm8gbGluZXM="); siteData("told", "");'
    (copy / "data" / "world.js").write_text(broken)
    page = open_page((copy / "index.html").as_uri())
    until(page, 'scripts.has("told")')
    page.wait_for_timeout(300)
    assert page.evaluate("map.world") == []
    assert not page.is_visible("#problem")


def test_dates_are_shown_in_full(host, open_page):
    page = open_page(host.address)
    for first, last, said in (
        ("2023-06-01T00:00:00Z", "2023-06-01T23:59:59.999999Z", "2023-06-01"),
        ("2023-06-01T00:00:00Z", None, "2023-06-01"),
        ("2023-06-01T10:15:31.5Z", None, "2023-06-01 10:15:31 UTC"),
        ("2023-06-01T00:00:00Z", "2023-06-30T23:59:59.999999Z", "2023-06-01 to 2023-06-30"),
        (
            "2023-06-01T10:00:00Z",
            "2023-06-02T11:00:00Z",
            "2023-06-01 10:00:00 to 2023-06-02 11:00:00 UTC",
        ),
        (None, None, "no date"),
    ):
        tile = {"datetime": first, "datetime_end": last}
        assert page.evaluate(f"fullDate({json.dumps(tile)})") == said


def test_coasts_and_borders_come_with_the_folder(site, open_page):
    page = open_page((site / "index.html").as_uri())
    until(page, "map.world.length > 0")
    coasts, borders = unpack_lines(FILE.read_bytes())
    counts = "[map.world.filter((one) => !one.border).length, map.world.length]"
    assert page.evaluate(counts) == [len(coasts), len(coasts) + len(borders)]
    east, down = page.evaluate("map.world.at(-1).points.at(-1)")
    lon, lat = borders[-1][-1]
    assert abs(east * 360 - 180 - lon) < 1e-9
    assert abs(page.evaluate(f"latitude({down})") - lat) < 1e-9


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_accessibility_violation(archive, site, chromium, scheme, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not here")
    options = {"color_scheme": scheme, "bypass_csp": True}
    context = chromium.new_context(viewport={"width": 1200, "height": 900}, **options)
    page = context.new_page()
    page.goto((site / "index.html").as_uri() + "#good=12&k=20&label=lake")
    page.wait_for_selector(".card")
    until(page, "map.world.length > 0")
    if folder := os.environ.get("GEOHASH_RS_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/40-site-{scheme}.png")
    found = axe.Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in {"serious", "critical"}]
    about = [(one["id"], [node["html"] for node in one["nodes"]]) for one in serious]
    context.close()
    assert serious == [], json.dumps(about, indent=1)


def test_there_is_no_filter_where_tiles_do_not_differ(tmp_path, open_page):
    made = Archive.create(tmp_path / "archive", num_bits=16)
    tiles = make_tiles(3, np.random.default_rng(1)).drop(columns="label")
    tiles[["scene", "width"]] = ["/none/a.tif", 64]
    made.add_codes(np.eye(3, 2, dtype=np.uint8), tiles)
    write_site(made.to_table(), tmp_path / "site", name="one")
    names = {path.name for path in (tmp_path / "site" / "data").iterdir()}
    assert {"scene.bin", "label.bin", "tile_size.bin"} & names == set()
    page = open_page((tmp_path / "site" / "index.html").as_uri())
    for name in ("scene", "label", "tile_size"):
        assert not page.is_visible(f"#{name}")


def test_a_click_obeys_the_days(archive, host, open_page):
    page = open_page(host.address)
    page.evaluate("map.fit([9.9, 47.9, 10.1, 48.1])")
    until(page, "map.tiles.length > 0")
    page.fill("#from", "2022-06-01")
    page.fill("#to", "2022-09-30")
    page.dispatch_event("#to", "change")
    until(page, "map.tiles.every(inDays)")
    shown = page.evaluate("map.tiles.map((tile) => tile.tile_id)")
    view = page.evaluate("map.view()")
    options = {"region": tuple(view), "time": ("2022-06-01", "2022-09-30")}
    there = archive.search(np.zeros((1, 2), np.uint8), k=None, max_distance=16, **options)
    assert len(there.ids[0]) > 3
    assert set(there.ids[0].tolist()) <= set(shown)


def test_a_large_folder_on_a_disk_is_chosen_by_hand(site, tmp_path, open_page, archive):
    large = tmp_path / "large"
    shutil.copytree(site, large)
    about = (large / "data" / "site.js").read_text()
    (large / "data" / "site.js").write_text(about.replace('"scripts": true', '"scripts": false'))
    for script in (large / "data").glob("*.bin.js"):
        script.unlink()
    page = open_page((large / "index.html").as_uri(), ready="map !== null")
    assert "opened from a disk" in page.inner_text("#choose-why")
    page.set_input_files("#folder", str(large / "data"))
    until(page, "archive !== null")
    tile = int(archive.to_table(["tile_id"]).reader().read_all()["tile_id"][5].as_py())
    found = page.evaluate(ASK, {"good": [tile], "bad": [], "k": 5, "region": None, "time": None})
    assert [one[0] for one in found] == archive.query(tile=tile, k=5)["tile_id"].tolist()


def test_a_host_without_ranges_works_for_small_files_and_says_so_for_large(
    site, open_page, archive
):
    plain = Host(site, ranges=False)
    page = open_page(plain.address)
    tile = int(archive.to_table(["tile_id"]).reader().read_all()["tile_id"][5].as_py())
    asked = {"good": [tile], "bad": [], "k": 5, "region": None, "time": None}
    found = page.evaluate(ASK, asked)
    assert [one[0] for one in found] == archive.query(tile=tile, k=5)["tile_id"].tolist()
    page.evaluate("ABOUT.sizes['codes.bin'] = 1e9")
    read = "new WebSource().read('codes.bin', 0, 8)"
    said = page.evaluate(f"{read}.catch((error) => error.message)")
    assert "does not send parts of files" in said
    assert "1,000 MB" in said
    plain.stop()


def test_a_large_search_asks_first(host, open_page, archive):
    page = open_page(host.address)
    tile = int(archive.to_table(["tile_id"]).reader().read_all()["tile_id"][5].as_py())
    page.evaluate("askFirst(80_000_000)")
    assert page.inner_text("#ask-go") == "Read 80 MB and search"
    assert "80 MB of codes" in page.inner_text("#ask-why")
    page.evaluate(f"state.good = [{tile}]")
    page.click("#ask-go")
    page.wait_for_selector(".card")


def test_what_cannot_be_searched_is_said(host, open_page):
    page = open_page(host.address)
    for text, said in (("7000000", "There is no tile 7000000"), ("north", "whole number")):
        page.fill("#tile", text)
        page.click("#form .main")
        page.wait_for_selector("#problem:not([hidden])")
        assert said in page.inner_text("#problem")
    page.fill("#from", "2023-02-02")
    page.fill("#to", "2023-01-01")
    page.evaluate("state.good = [1], run()")
    until(page, "document.querySelector('#problem').textContent.includes('ends before')")


def test_pictures_are_copied_if_asked(tmp_path, write_scene, open_page):
    from tests.ground import mosaic

    scene = write_scene(tmp_path / "a.tif", mosaic(4, 4, 1))
    made = Archive.create(tmp_path / "archive", num_bits=16)
    from geohash_rs.scenes.file import scene_key

    tiles = gpd.GeoDataFrame(
        {"scene": scene_key(scene), "col": [0, 64, 128], "row": 0, "width": 64, "height": 64},
        geometry=[shapely.box(x, 48, x + 0.01, 48.01) for x in (9, 9.01, 9.02)],
        crs="EPSG:4326",
    )
    made.add_codes(np.eye(3, 2, dtype=np.uint8), tiles)
    write_site(made.to_table(), tmp_path / "site", name="ground", pictures=True)
    host = Host(tmp_path / "site")
    page = open_page(f"{host.address}/#good=1&k=10")
    until(page, "document.querySelectorAll('.card img').length === 3")
    until(page, "[...document.images].every((one) => one.naturalWidth === 64)")
    assert "under its licence" in page.inner_text("#about")
    host.stop()


def test_missing_pictures_are_counted_once_with_the_reason(tmp_path, write_scene, monkeypatch):
    from tests.ground import mosaic

    scene = write_scene(tmp_path / "a.tif", mosaic(4, 4, 1))
    made = Archive.create(tmp_path / "archive", num_bits=16)
    tiles = gpd.GeoDataFrame(
        {"scene": [str(scene), *[f"/gone/{n // 2}.tif" for n in range(4)]], "col": 0, "row": 0},
        geometry=[shapely.box(x, 48, x + 0.01, 48.01) for x in (9, 9.01, 9.02, 9.03, 9.04)],
        crs="EPSG:4326",
    )
    made.add_codes(np.eye(5, 2, dtype=np.uint8), tiles.assign(width=64, height=64))
    monkeypatch.setattr("geohash_rs.export.site.folder.PIECE", 2)
    with pytest.warns(GeoHashRSWarning, match=r"^4 pictures are missing: .*tif.*1 more") as said:
        write_site(made.to_table(), tmp_path / "site", name="ground", pictures=True)
    assert len(said) == 1


def test_the_size_that_is_said_before_is_about_that_of_the_folder(site, archive, tmp_path):
    few = Archive.create(tmp_path / "few", num_bits=16)
    few.add_codes(archive.codes([0]), archive.tiles([0]))
    write_site(few.to_table(), tmp_path / "site", name="few")
    for written, count in ((site, len(archive)), (tmp_path / "site", 1)):
        size = sum(path.stat().st_size for path in written.rglob("*") if path.is_file())
        assert size / 2 < site_size(count, 16, pictures=False) < size * 2


def test_a_folder_is_told_from_a_file_and_not_lost(site, tmp_path, archive):
    assert [is_site_path(one) for one in ("a/", "a.b/", "a", "a.html")] == [True, True, True, False]
    taken = tmp_path / "photos"
    taken.mkdir()
    (taken / "holiday.jpg").write_bytes(b"")
    with pytest.raises(ExportError, match="folder with other files"):
        check_site_output(taken)
    with pytest.raises(ExportError, match="lies in the archive"):
        check_site_output(archive.path / "site")
    with pytest.raises(ExportError, match="is a file"):
        check_site_output(taken / "holiday.jpg")
    check_site_output(site)  # a former export is replaced
    empty = Archive.create(tmp_path / "empty", num_bits=16)
    with pytest.raises(ExportError, match="no tiles to write"):
        write_site(empty.to_table(), tmp_path / "new", name="empty")
    assert not (tmp_path / "new").exists()
