"""A static folder finds in a browser what the archive finds, from a host and from a disk."""

import io
import json
import warnings
from datetime import UTC, datetime

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.errors import ExportError, GeoHashRSWarning
from geohash_rs.export.site.folder import check_site_output, is_site_path, write_site
from tests.export.site_host import Host

NAMES = ["/none/a.tif", "<img src=x onerror=alert(1)>.tif", "=1+1\u202egpj.tif", "</script>\x1b[2J.tif"]
WAIT = 60_000  # ms


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
            "width": 64,
            "height": 64,
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
        page.wait_for_function(ready, timeout=WAIT)
        return page

    yield begin
    assert errors == []
    for page in opened:
        page.context.close()


ASK = """async ({ good, bad, k, region, time }) => {
  const range = time && time.map(BigInt);
  const found = await search(archive, { good, bad, k, region, time: range });
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
        shape = shapely.Point(x, y).buffer(0.1 + 0.4 * rng.random()).difference(
            shapely.Point(x, y).buffer(0.05)
        )
        page["region"] = [[list(map(list, ring.coords)) for ring in (shape.exterior, *shape.interiors)]]
        options["region"] = shape
    elif kind == 3:  # a tile's own corners touch it, or nearly
        shape = archive.tiles([good[0]]).geometry.iloc[0]
        if shape is not None:
            page["region"] = [[list(map(list, shape.exterior.coords))]]
            options["region"] = shape
    if rng.random() < 0.4:
        first = int(rng.integers(0, 650))
        days = [np.datetime64("2022-01-01") + first, np.datetime64("2022-01-01") + first + 60]
        start = int(days[0].astype("datetime64[us]").astype(int))
        end = int(days[1].astype("datetime64[us]").astype(int)) + 86_400_000_000 - 1
        page["time"], options["time"] = [str(start), str(end)], (str(days[0]), str(days[1]))
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
    for _ in range(150):
        asked, options = random_query(archive, ids, rng)
        found = page.evaluate(ASK, asked)
        with warnings.catch_warnings():  # that some tiles have no date
            warnings.simplefilter("ignore", GeoHashRSWarning)
            expected = archive.query(**options)
        assert len(found) == len(expected)
        if asked["bad"]:
            same_scores(found, expected)
        else:
            assert [one[:2] for one in found] == expected[["tile_id", "distance"]].to_numpy().tolist()
