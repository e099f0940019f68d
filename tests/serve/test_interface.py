"""The JSON API: what it answers, and what it refuses."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from shapely.geometry import MultiPolygon, shape

from geohash_rs import Archive
from tests.serve.asking import TIMEOUT, asker, detail, geotiff


@pytest.fixture
def ask(address):
    """Send one request and return status, headers and body."""
    return asker(address)


def test_a_search_answers_like_the_library(ask, coast_archive):
    request = {"tiles": [7, 30], "negatives": [100], "k": 9, "region": None}
    status, headers, body = ask("POST", "/api/search", request)
    assert (status, headers["content-type"]) == (200, "application/geo+json")
    found = gpd.GeoDataFrame.from_features(json.loads(body)["features"], crs="EPSG:4326")
    asked = Archive.open(coast_archive, mode="r").query(tile=[7, 30], negatives=[100], k=9)
    assert found["tile_id"].tolist() == asked["tile_id"].tolist()
    assert found["distance"].tolist() == asked["distance"].tolist()
    assert shapely.equals_exact(found.geometry, asked.geometry, 1e-9).all()


def test_a_patch_answers_like_the_library(ask, coast, coast_archive):
    content = (coast / "patches" / "river.tif").read_bytes()
    status, _, body = ask("POST", "/api/patch", content, **{"X-File-Name": "river.tif"})
    assert status == 200, body
    patch = json.loads(body)
    request = {"codes": patch["codes"], "place": patch["place"], "k": 12}
    body = ask("POST", "/api/search", request)[2]
    found = [one["properties"]["tile_id"] for one in json.loads(body)["features"]]
    asked = Archive.open(coast_archive, mode="r").query(coast / "patches" / "river.tif", k=12)
    assert found == asked["tile_id"].tolist()


def test_kept_matches_say_what_they_were_found_with(ask, coast, tmp_path):
    content = (coast / "patches" / "river.tif").read_bytes()
    patch = json.loads(ask("POST", "/api/patch", content, **{"X-File-Name": "river.tif"})[2])
    shown = {name: patch[name] for name in ("name", "place")}
    match = {"tile_id": 3, "distance": 1, "similarity": 0.5}
    query = {"tiles": [9, 2], "negatives": [5], "patches": [shown]}
    for number, tiles in enumerate(([match], [{"tile_id": 3}])):
        status, _, body = ask(
            "POST", "/api/export", {"format": "gpkg", "tiles": tiles, "query": query}
        )
        assert status == 200, body
        path = tmp_path / f"{number}.gpkg"
        path.write_bytes(body)
        read = gpd.read_file(path, layer="matches_query")
        assert read["example"].tolist() == ["river.tif", "tile 9", "tile 2", "tile 5"]
        assert read["positive"].tolist() == [True, True, True, False]
        assert read.geometry[0].equals(MultiPolygon([shape(patch["place"])]))
        assert read["no_picture"].notna().tolist() == [True, False, False, False]
    gone = {"format": "csv", "tiles": [match], "query": {"tiles": [10**9]}}
    assert ask("POST", "/api/export", gone)[0] == 200  # a CSV has no second layer


def test_the_bands_of_a_patch_can_be_chosen(ask, coast, coast_archive):
    path = coast / "patches" / "river.tif"
    archive = Archive.open(coast_archive, mode="r")
    for text, bands in (("2,2,2", [2, 2, 2]), ("blue, green,red", ["blue", "green", "red"])):
        body = ask("POST", f"/api/patch?bands={quote(text)}", path.read_bytes())[2]
        request = {"codes": json.loads(body)["codes"], "k": 12}
        found = json.loads(ask("POST", "/api/search", request)[2])["features"]
        asked = archive.query(path, k=12, bands=bands)
        assert [one["properties"]["tile_id"] for one in found] == asked["tile_id"].tolist()
        assert [one["properties"]["distance"] for one in found] == asked["distance"].tolist()
    status, _, body = ask("POST", "/api/patch?bands=9,2,1", path.read_bytes())
    assert status == 422
    assert "no band 9" in json.loads(body)["detail"]


def test_the_view_returns_the_tiles_of_a_day_that_meet_it(ask, coast_archive):
    view = (11.92, 54.08, 11.95, 54.1)
    bbox = ",".join(map(str, view))
    archive = Archive.open(coast_archive, mode="r")
    tiles = archive.tiles(np.arange(len(archive)))
    on_days = tiles["datetime"].dt.strftime("%Y-%m-%d")
    meets = tiles.intersects(shapely.box(*view))
    near = tiles.geometry.envelope.intersects(shapely.box(*view).buffer(1e-6))
    dates = json.loads(ask("GET", f"/api/tiles?bbox={bbox}")[2])["dates"]
    assert [one["day"] for one in dates] == sorted(set(on_days[meets]))
    for one in dates:
        answer = json.loads(ask("GET", f"/api/tiles?bbox={bbox}&day={one['day']}")[2])
        given = {feature["properties"]["tile_id"] for feature in answer["features"]}
        mine = on_days == one["day"]
        assert (answer["kind"], answer["dates"]) == ("footprints", dates)
        assert set(tiles["tile_id"][meets & mine]) <= given <= set(tiles["tile_id"][near & mine])
        assert len(given) == one["tiles"] == answer["count"]


def test_the_interface_describes_itself_and_every_page_has_a_strict_policy(ask):
    status, headers, body = ask("GET", "/api/openapi.json")
    assert status == 200
    described = json.loads(body)
    assert described["openapi"].startswith("3.")
    assert {"/api/search", "/api/patch", "/api/tiles", "/api/export"} <= set(described["paths"])
    patch = described["paths"]["/api/patch"]["post"]
    assert patch["requestBody"]["required"] is True
    assert set(patch["requestBody"]["content"]) == {"image/tiff"}
    parameters = {(one["name"], one["in"]) for one in patch["parameters"]}
    assert parameters == {("X-File-Name", "header"), ("tile_size", "query"), ("bands", "query")}
    paths = ("/", "/static/main.js", "/static/maplibre-gl.js")
    for path in (*paths, "/api/archive", "/nothing"):
        policy = ask("GET", path)[1]["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_pictures_are_those_of_the_scene(ask, coast_archive):
    from io import BytesIO

    from PIL import Image

    status, headers, body = ask("GET", "/api/thumbnail/20.webp")
    assert (status, headers["content-type"]) == (200, "image/webp")
    tile = Archive.open(coast_archive, mode="r").tiles([20]).iloc[0]
    with rasterio.open(tile["scene"]) as source:
        window = rasterio.windows.Window(tile["col"], tile["row"], tile["width"], tile["height"])
        pixels = np.moveaxis(source.read([1, 2, 3], window=window), 0, -1)
    seen = np.asarray(Image.open(BytesIO(body)).convert("RGB"), float)
    assert seen.shape == pixels.shape
    assert np.abs(seen - pixels).mean() < 6  # WebP is lossy


MANY = {"codes": ["00" * 8] * 1024}  # of a patch
KEPT = {"format": "gpkg", "tiles": [{"tile_id": 1}]}
REFUSED = [
    ("GET", "/api/thumbnail/999999.webp", None, 404, "999999"),
    ("GET", "/api/thumbnail/-1.webp", None, 422, "tile_id"),
    ("GET", "/api/thumbnail/99999999999999999999.webp", None, 422, "tile_id"),
    ("GET", "/api/thumbnail/..%2F..%2Fetc%2Fpasswd.webp", None, 404, ""),
    ("GET", "/static/../searching.py", None, 404, ""),
    ("GET", "/static/%2e%2e/searching.py", None, 404, ""),
    ("GET", "/api/scene/77.webp", None, 422, "77"),
    ("GET", "/api/tiles?bbox=1,2,3", None, 422, "1,2,3"),
    ("GET", "/api/tiles?bbox=nan,0,1,1", None, 422, "nan"),
    ("GET", "/api/tiles?bbox=0,0,1,1&day=2023-13-01", None, 422, "2023-13-01"),
    ("GET", "/api/tiles?bbox=0,0,1,1&scene=gone.tif", None, 422, "gone.tif"),
    ("GET", "/api/scenes?bbox=0,0,1,1&time=soon", None, 422, "soon"),
    ("GET", "/api/tile-at?lon=0&lat=0", None, 422, "0.0"),
    ("GET", "/api/tile-at?lon=11.95&lat=54.09&day=1999-01-01", None, 422, "2023-"),
    ("GET", "/api/tiles-at?lon=11.95&lat=54.09&day=undated", None, 422, "2023-"),
    ("POST", "/api/search", {"tiles": [1], "k": 0}, 422, "k"),
    ("POST", "/api/search", {"tiles": [1], "secret": 0}, 422, "secret"),
    ("POST", "/api/search", {"tiles": [10**9]}, 404, "1000000000"),
    ("POST", "/api/search", {"tiles": [1], "negatives": [1]}, 422, "tile 1"),
    ("POST", "/api/search", {"codes": ["00ff"]}, 422, "16 bits"),
    ("POST", "/api/search", {"codes": ["../../etc"]}, 422, "codes"),
    ("POST", "/api/search", {}, 422, "tile"),
    ("POST", "/api/search", {"patches": [MANY, MANY], **MANY, "tiles": [1]}, 422, "3,073 codes"),
    ("POST", "/api/search", {**MANY, "negative_patches": [MANY] * 3}, 422, "4,096 codes"),
    ("POST", "/api/search", {"patches": [MANY] * 3, "point": [0, 0]}, 422, "3,073 codes"),
    ("POST", "/api/search", {"tiles": [1], "region": {"type": "Point"}}, 422, "Point"),
    (
        "POST",
        "/api/search",
        {"tiles": [1], "region": {"type": "Polygon", "coordinates": "x"}},
        422,
        "region",
    ),
    ("POST", "/api/search", {"tiles": [1], "time": ["2024", "2023"]}, 422, "2024"),
    ("POST", "/api/export", {"format": "shp", "tiles": [{"tile_id": 1}]}, 422, "format"),
    ("POST", "/api/export", {"format": "csv", "tiles": [{"tile_id": 10**9}]}, 404, "1000000000"),
    ("POST", "/api/export", {**KEPT, "query": {"tiles": [10**9]}}, 404, "1000000000"),
    ("POST", "/api/export", {**KEPT, "query": {"patches": [{"place": {}}]}}, 422, "place of patch"),
]


def test_a_search_takes_as_many_codes_as_can_be_compared(ask):
    other = {"codes": ["ff" * 8] * 1024}
    request = {"patches": [MANY, MANY], "negative_patches": [other], "k": 1}
    assert ask("POST", "/api/search", request)[0] == 200


@pytest.mark.parametrize(("method", "path", "body", "status", "said"), REFUSED)
def test_invalid_requests_are_refused_with_a_message(ask, method, path, body, status, said):
    answer = ask(method, path, body)
    assert answer[0] == status, answer
    assert said in detail(answer)
    assert "Traceback" not in detail(answer)


def test_other_host_names_and_other_sites_are_rejected(ask, address):
    host = urlsplit(address).netloc
    port = host.split(":")[1]
    body = {"tiles": [1]}
    assert ask("GET", "/api/archive", Host=f"rebound.example:{port}")[0] == 421
    assert ask("GET", "/", Host=f"127.0.0.1.rebound.example:{port}")[0] == 421
    assert ask("GET", "/", Host="[::1")[0] == 421
    assert ask("GET", "/api/archive", Host=f"localhost:{port}")[0] == 200
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1"):
        assert ask("POST", "/api/search", body, Origin=origin)[0] == 403
    assert ask("POST", "/api/search", body, **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert ask("GET", "/api/thumbnail/1.webp", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert ask("POST", "/api/search", json.dumps(body), **{"Content-Type": "text/plain"})[0] == 422
    assert ask("POST", "/api/search", body, Origin=address)[0] == 200


VRT = b"""<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32633</SRS>
<GeoTransform>500000,10,0,5400000,0,-10</GeoTransform><VRTRasterBand dataType="Byte" band="1">
<SimpleSource><SourceFilename>/etc/hostname</SourceFilename></SimpleSource></VRTRasterBand>
</VRTDataset>"""


def bad_uploads():
    whole = geotiff()
    return [
        (b"", "not a GeoTIFF"),
        (b"\x89PNG\r\n", "not a GeoTIFF"),
        (VRT, "not a GeoTIFF"),
        (b"II*\0" + VRT, "cannot be"),
        (b"II*\0\x08\0\0\0", "cannot be"),
        (whole[: len(whole) // 3], "cannot be"),
        (geotiff(crs=None), "no CRS"),
        (geotiff(count=1), "1 band "),
        (geotiff(dtype="complex64"), "complex"),
        (geotiff(width=30_000, height=30_000, compress="deflate", SPARSE_OK=True), "MB"),
    ]


@pytest.mark.parametrize(("content", "said"), bad_uploads())
def test_an_unusable_upload_is_refused_with_the_reason(ask, content, said):
    name = "%3Cimg%20src=x%20onerror=alert(1)%3E.tif"
    answer = ask("POST", "/api/patch", content, **{"X-File-Name": name})
    assert answer[0] in {404, 422}, answer
    assert said in detail(answer)
    assert "vsimem" not in detail(answer)


@pytest.mark.parametrize("path", ["/api/patch", "/api/search", "/api/export"])
def test_a_body_is_limited_with_or_without_a_content_length(ask, path):
    most = 64 if path == "/api/patch" else 2
    answer = ask("POST", path, b"x", **{"Content-Length": str(most * 2**20 + 1)})
    assert (answer[0], f"{most} MB" in detail(answer)) == (413, True)
    pieces = (b"II*\0" + bytes(2**20) for _ in range(most + 1))
    try:
        answer = ask("POST", path, pieces, chunked=True, **{"Transfer-Encoding": "chunked"})
        assert (answer[0], f"{most} MB" in detail(answer)) == (413, True)
    except (BrokenPipeError, ConnectionResetError):  # answered while the rest was still being sent
        assert most > 2
    assert ask("GET", "/api/archive")[0] == 200


def test_a_thousand_requests_at_once_are_answered_or_told_to_retry(ask, coast):
    patch = (coast / "patches" / "river.tif").read_bytes()
    ready = threading.Barrier(100)

    def one(number):
        if number < 100:
            ready.wait(TIMEOUT)
        try:
            if number % 20 == 0:
                return "patch", ask("POST", "/api/patch", patch)[0]
            if number % 3:
                return "search", ask("POST", "/api/search", {"tiles": [number % 300], "k": 50})[0]
            return "picture", ask("GET", f"/api/thumbnail/{number % 300}.webp")[0]
        except (ConnectionError, TimeoutError) as error:
            return "failed", repr(error)

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(one, range(1000)))
    assert {status for _, status in answers} <= {200, 503}
    assert answers.count(("search", 200)) > 400
    assert answers.count(("picture", 200)) > 100
    assert answers.count(("patch", 200)) >= 10
    assert ask("GET", "/api/archive")[0] == 200


def test_missing_scenes_and_names_with_markup_do_no_harm(tmp_path):
    from geohash_rs.serve.geojson import feature_collection
    from geohash_rs.serve.messages import SearchRequest
    from geohash_rs.serve.searching import Searcher

    archive = Archive.create(tmp_path / "archive", num_bits=64)
    name = "/gone/<script>alert(1)</script>.tif"
    tiles = gpd.GeoDataFrame(
        {"scene": [name] * 4, "col": 0, "row": 0, "width": 64, "height": 64},
        geometry=[shapely.box(i, 0, i + 1, 1) for i in range(4)],
        crs="EPSG:4326",
    )
    archive.add_codes(np.arange(32, dtype=np.uint8).reshape(4, 8), tiles)
    searcher = Searcher(archive)
    with pytest.raises(ValueError, match="does not exist"):
        searcher.thumbnail(0, 96)
    with pytest.raises(ValueError, match="no hasher"):
        searcher.patch(geotiff(), name="patch.tif")
    found = json.loads(feature_collection(searcher.search(SearchRequest(tiles=[0]))))
    assert found["features"][0]["properties"]["scene"] == name
    assert searcher.describe().takes_patches is False
