"""Scenes that STAC items name."""

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
import rasterio.shutil
from pystac.stac_io import DefaultStacIO

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.errors import GeoHashRSWarning, SceneError
from geohash_rs.indexing.report import AddReport
from geohash_rs.scenes import remote, stac_walk
from geohash_rs.scenes import state as state_module
from geohash_rs.scenes.stac import read_stac
from tests.ground import mosaic
from tests.scenes.range_server import serving

Writer = Callable[..., Path]


def item(name: str, assets: dict[str, dict[str, Any]], **properties: object) -> dict[str, Any]:
    """Write an item as the STAC specification defines it."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2023-06-01T10:20:30Z", **properties},
        "links": [],
        "assets": assets,
    }


def tiff(href: object, *roles: str) -> dict[str, Any]:
    return {"href": str(href), "type": "image/tiff; application=geotiff", "roles": list(roles)}


@pytest.fixture
def collection(tmp_path: Path, write_scene: Writer) -> Path:
    """Save an answer of a STAC API: two items with one scene, and one whose scene is ambiguous."""
    for name in ("one", "two"):
        write_scene(tmp_path / "data" / f"{name}.tif", mosaic(2, 2, len(name)))
    picture = {"href": "x.png", "type": "image/png", "roles": ["thumbnail"]}
    span = {
        "datetime": None,
        "start_datetime": "2022-01-01T00:00:00Z",
        "end_datetime": "2022-01-31T00:00:00Z",
    }
    features = [
        item("one", {"visual": tiff("./data/one.tif"), "thumbnail": picture}),
        item("two", {"scene": tiff("./data/two.tif", "data"), "mask": tiff("m.tif")}, **span),
        item("three", {"early": tiff("b.tif", "data"), "late": tiff("c.tif", "data")}),
    ]
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_items_name_scenes_and_their_dates(collection: Path) -> None:
    scenes = Scenes.from_stac(collection)
    found = {scene.name: scene.dates for scene in scenes.scene_files}
    moment = dt.datetime(2023, 6, 1, 10, 20, 30, tzinfo=dt.UTC)
    assert found["one.tif"] == (moment, moment)
    assert found["two.tif"] == tuple(dt.datetime(2022, 1, d, tzinfo=dt.UTC) for d in (1, 31))
    ((name, reason),) = scenes.unreadable
    assert name == "three"
    assert "2 raster assets (early, late); choose one with asset=" in reason
    with pytest.raises(SceneError, match="item three has 2 raster assets"):
        Scenes.from_stac(collection, strict=True)


def test_an_asset_can_be_named(collection: Path) -> None:
    scenes = Scenes.from_stac(collection, asset="visual")
    assert [scene.name for scene in scenes.scene_files] == ["one.tif"]
    assert (
        "item two has no asset 'visual'; choose one of its assets: scene, mask."
        in scenes.unreadable[0][1]
    )
    with pytest.raises(SceneError, match="item one has no asset 'missing'"):
        Scenes.from_stac(collection, asset="missing")


def test_catalogues_and_pystac_objects_are_walked_through(collection: Path, tmp_path: Path) -> None:
    items = list(pystac.ItemCollection.from_file(str(collection)))[:2]
    for one in items:  # an item made in a program does not come from a file
        for asset in one.assets.values():
            asset.href = str((tmp_path / asset.href).resolve())
    catalogue = pystac.Catalog("all", "all")
    catalogue.add_items(items)
    catalogue.normalize_and_save(str(tmp_path / "catalogue"), pystac.CatalogType.SELF_CONTAINED)
    saved = tmp_path / "catalogue" / "catalog.json"
    for source in (items, pystac.ItemCollection(items), catalogue, saved):
        scenes = Scenes.from_stac(source)
        assert [scene.name for scene in scenes.scene_files] == ["one.tif", "two.tif"]
        assert all(scene.dates for scene in scenes.scene_files)


def test_the_command_line_indexes_items_behind_http(
    collection: Path, quick_hasher: Hasher, tmp_path: Path
) -> None:
    quick_hasher.save(tmp_path / "quick.safetensors")
    with serving(tmp_path) as server:
        command = [sys.executable, "-m", "geohash_rs", "index", f"{server.url}/items.json"]
        options = ["--archive", "archive", "--hasher", "quick.safetensors", "--json"]
        done = subprocess.run(
            [*command, *options],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done.stderr  # the scene of one item is ambiguous
        assert "item three has 2 raster assets" in done.stderr
        archive = Archive.open(tmp_path / "archive")
        names = sorted(record.scene for record in archive.scenes())
        assert names == [f"{server.url}/data/one.tif", f"{server.url}/data/two.tif"]
        assert archive.num_tiles == json.loads(done.stdout)["num_tiles"] == 8


@pytest.mark.parametrize("kind", ["stall", "error_500", "close_early"])
def test_a_server_of_items_that_fails_is_retried_a_few_times(
    collection: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "PAUSES", (0.05, 0.1))
    monkeypatch.setattr(remote, "STALL_SECONDS", 0.5)
    with serving(tmp_path) as server:
        server.fault(kind, name="items", times=2)
        assert len(read_stac(f"{server.url}/items.json").dates) == 2
        server.fault(kind, name="items")
        with pytest.raises(SceneError, match=r"items\.json cannot be read as STAC items: "):
            read_stac(f"{server.url}/items.json")
        assert len(server.requests()) == 3
        with pytest.raises(SceneError, match=r"none\.json cannot be read as STAC items: 404"):
            read_stac(f"{server.url}/none.json")


def catalogue_of(path: Path, child: str) -> Path:
    links = [{"rel": "child", "href": child}]
    told = {"type": "Catalog", "id": "a", "stac_version": "1.0.0", "description": "a"}
    path.write_text(json.dumps({**told, "links": links}))
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("child", ["/dev/zero", "./pipe.json"])
def test_a_catalogue_that_leads_to_a_device_or_pipe_is_not_read_for_ever(
    tmp_path: Path, child: str
) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    found = read_stac(catalogue_of(tmp_path / "a.json", child))
    assert "is a pipe, a device or a folder, not a file" in found.unusable[0][1]
    with pytest.raises(SceneError, match="is a pipe, a device or a folder, not a file"):
        read_stac(tmp_path / "pipe.json")


def test_catalogues_that_would_fill_the_memory_are_refused(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = tmp_path / "wide.json"
    wide.write_text('{"type": "FeatureCollection", "features": [' + "{}," * 2**20 + "{}]}")
    with pytest.raises(SceneError, match="holds more than 1,000,000 objects and lists"):
        read_stac(wide)
    size = collection.stat().st_size
    for module in (remote, stac_walk):
        monkeypatch.setattr(module, "MOST_ANSWER", size - 1)
    longer = pytest.raises(SceneError, match=f"the server sends more than {size - 1:,} bytes")
    with serving(tmp_path) as server, longer:
        read_stac(f"{server.url}/items.json")
    with pytest.raises(SceneError, match=f"has more than {size - 1:,} bytes; split it"):
        read_stac(collection)


def test_paths_and_urls_are_read_with_the_default_reader_set_in_pystac(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Signing(DefaultStacIO):
        def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
            return super().read_text(str(source).removesuffix("?signed"), *args, **kwargs)

    monkeypatch.setattr(pystac.StacIO, "_default_io", None)  # restored afterwards
    pystac.StacIO.set_default(Signing)
    assert len(read_stac(f"{collection}?signed").dates) == 2


def test_unreadable_parts_of_a_catalogue_are_named_and_the_rest_read(
    collection: Path, tmp_path: Path
) -> None:
    items = list(pystac.ItemCollection.from_file(str(collection)))
    for one in items:
        one.assets = {k: v for k, v in one.assets.items() if k in {"visual", "scene", "early"}}
    catalogue = pystac.Catalog("all", "all")
    catalogue.add_items(items[:2])
    for number in range(2):
        child = pystac.Catalog(f"part{number}", "part")
        child.add_item(items[2].clone())
        catalogue.add_child(child)
    folder = tmp_path / "catalogue"
    catalogue.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    (folder / "two" / "two.json").unlink()
    (folder / "part0" / "catalog.json").write_text("{")
    for name in ("part1/three/b.tif", "one/data/one.tif", "two/data/two.tif"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    with serving(tmp_path) as server:
        for start in (str(folder), f"{server.url}/catalogue"):
            found = read_stac(f"{start}/catalog.json")
            assert [Path(path).name for path in found.dates] == ["one.tif", "b.tif"]
            (two, why), (part, broken) = sorted(found.unusable, reverse=True)
            assert two == f"{start}/two/two.json"
            assert why.startswith(f"{two} cannot be read: ")
            assert part == f"{start}/part0/catalog.json"
            assert broken.startswith(f"{part} cannot be read: Expecting")
    with pytest.raises(SceneError, match=r"two\.json cannot be read: .*No such file"):
        Scenes.from_stac(folder / "catalog.json", strict=True)
    own = pystac.Catalog.from_file(str(folder / "catalog.json"))  # uses pystac's own reader
    assert len(read_stac(own).dates) == 2
    assert len(read_stac(own).unusable) == 2


def test_bad_items_of_a_collection_are_named_and_the_rest_read(
    tmp_path: Path, write_scene: Writer
) -> None:
    write_scene(tmp_path / "im" / "ok 1.tif", mosaic(1, 1, 1))
    good = item("good", {"v": tiff("./im/ok%201.tif")})
    bad = {
        "dead": item("dead", {"v": tiff("im/gone.tif")}),
        "undated": item("undated", {"v": tiff("im/ok 1.tif")}, datetime=None),
        "misdated": item("misdated", {"v": tiff("im/ok 1.tif")}, datetime="soon"),
        "twice": item("twice", {"v": tiff("im/ok 1.tif")}, datetime="1999-01-01T00:00:00Z"),
        "bare": {"type": "Feature", "id": "bare"},
        "null": {**good, "id": "null", "properties": None},
        "assetless": {**good, "id": "assetless", "assets": None},
    }
    features: list[Any] = [good, *bad.values(), None, 7]
    path = tmp_path / "items.json"
    path.write_text(
        json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8-sig"
    )
    found = read_stac(path)
    assert list(found.dates) == [str(tmp_path / "im" / "ok 1.tif")]
    said = " | ".join(reason for _, reason in found.unusable)
    assert len(found.unusable) == len(bad) + 2
    for name in bad:
        assert f"item {name} " in said
    assert f"names {tmp_path}/im/gone.tif, which does not exist" in said
    scenes = Scenes.from_stac(path)
    assert [scene.name for scene in scenes.scene_files] == ["ok 1.tif"]
    assert len(scenes.unreadable) == len(found.unusable)


def test_a_file_url_and_a_name_with_a_percent_sign_are_found(
    tmp_path: Path, write_scene: Writer
) -> None:
    write_scene(tmp_path / "100%25.tif", mosaic(1, 1, 1))
    for href in ("100%25.tif", f"file://{tmp_path}/100%25.tif"):
        (tmp_path / "item.json").write_text(json.dumps(item("one", {"v": tiff(href)})))
        assert list(read_stac(tmp_path / "item.json").dates) == [f"{tmp_path}/100%25.tif"]


def test_an_item_whose_bands_cannot_be_stacked_is_named_and_the_rest_read(
    tmp_path: Path, write_scene: Writer
) -> None:
    write_scene(tmp_path / "a_red.tif", mosaic(1, 1, 1)[:1])
    write_scene(tmp_path / "a_nir.tif", mosaic(1, 1, 2)[:1])
    write_scene(tmp_path / "three_nir.tif", mosaic(1, 1, 2))
    red = tiff("a_red.tif", "data")
    good = item("good", {"red": red, "nir": tiff("a_nir.tif", "data")})
    bad = item("bad", {"red": red, "nir": tiff("three_nir.tif", "data")})
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [bad, good]}))
    scenes = Scenes.from_stac(path)
    assert [scene.name for scene in scenes.scene_files] == ["items.json#good"]
    ((name, reason),) = scenes.unreadable
    assert name.endswith("items.json#bad")
    assert "three_nir.tif has 3 bands but should hold only nir" in reason


def test_a_source_that_cannot_be_read_is_named_and_the_others_read(
    collection: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"type": "Feat')
    alone = tmp_path / "alone.json"
    alone.write_text(json.dumps(item("alone", {"v": tiff("data/one.tif")})))
    for sources, count in (((broken, collection), 2), (([str(broken), str(alone)],), 1)):
        scenes = Scenes.from_stac(*sources)
        assert len(scenes.scene_files) == count
        (reason,) = [why for name, why in scenes.unreadable if name == str(broken)]
        assert "broken.json cannot be read" in reason
        with pytest.raises(SceneError, match=r"broken\.json cannot be read"):
            Scenes.from_stac(*sources, strict=True)


def test_of_several_assets_of_one_band_the_finest_geotiff_is_read(
    tmp_path: Path, write_scene: Writer
) -> None:
    assets = {}
    for number, band in enumerate(("red", "nir")):
        about = {"eo:bands": [{"name": band, "common_name": band}]}
        for ending, kind, size in (("-jp2", "jp2", 10), ("_20m", "tiff", 20), ("", "tiff", 10)):
            write_scene(tmp_path / f"{band}{ending}.tif", mosaic(1, 1, number)[:1])
            asset = tiff(f"{band}{ending}.tif", "data")
            assets[band + ending] = {**asset, **about, "type": f"image/{kind}", "gsd": size}
    (tmp_path / "item.json").write_text(json.dumps(item("one", assets)))
    found = read_stac(tmp_path / "item.json")
    assert list(found.stacks.values()) == [
        [(str(tmp_path / f"{band}.tif"), band, band) for band in ("red", "nir")]
    ]


def test_an_item_without_end_is_dated_until_the_last_moment_of_a_table(
    collection: Path, write_scene: Writer, tmp_path: Path
) -> None:
    undated = write_scene(tmp_path / "undated.tif", mosaic(1, 1, 1))
    data = json.loads(collection.read_text())
    data["features"][1]["properties"]["end_datetime"] = "9999-12-31T23:59:59Z"
    collection.write_text(json.dumps(data))
    scenes = Scenes.from_stac(collection, also=[undated])
    dates = {scene.name: scene.dates for scene in scenes.scene_files}
    assert dates["two.tif"] is not None
    assert [moment.year for moment in dates["two.tif"]] == [2022, 2262]


def test_one_page_of_items_is_read_and_reported_as_incomplete(collection: Path) -> None:
    data = json.loads(collection.read_text())
    data["links"] = [{"rel": "next", "href": "https://example.org/items?page=2"}]
    collection.write_text(json.dumps(data))
    found = read_stac(collection)
    assert len(found.dates) == 2
    assert found.unusable[0] == (
        str(collection),
        f"{collection} is only one page of the items (it links to a 'next' one); save all pages",
    )


def catalogue(path: Path, *links: tuple[str, str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": path.parent.name,
        "description": "a catalogue",
        "links": [{"rel": rel, "href": href} for rel, href in links],
    }
    path.write_text(json.dumps(data))
    return path


def test_a_walk_ends_at_a_circle_of_catalogues(tmp_path: Path, write_scene: Writer) -> None:
    write_scene(tmp_path / "b" / "ok.tif", mosaic(1, 1, 1))
    start = catalogue(tmp_path / "catalog.json", ("child", "b/catalog.json"))
    catalogue(
        tmp_path / "b" / "catalog.json",
        ("child", "../catalog.json"),
        ("child", "catalog.json"),
        ("item", "item.json"),
        ("item", "item.json"),
    )
    (tmp_path / "b" / "item.json").write_text(json.dumps(item("one", {"v": tiff("ok.tif")})))
    found = read_stac(start)
    assert list(found.dates) == [f"{tmp_path}/b/ok.tif"]
    assert found.unusable == [
        (str(place), f"{place} links back to a catalogue that contains it")
        for place in (start, tmp_path / "b" / "catalog.json")
    ]


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ("MAX_DEPTH", "is nested in more than 3 catalogues"),
        ("MAX_BARREN", "3 catalogues had no item"),
    ],
)
def test_endless_catalogues_are_named_and_the_rest_read(
    tmp_path: Path, write_scene: Writer, monkeypatch: pytest.MonkeyPatch, limit: str, reason: str
) -> None:
    monkeypatch.setattr(stac_walk, limit, 3)
    write_scene(tmp_path / "ok.tif", mosaic(1, 1, 1))
    (tmp_path / "item.json").write_text(json.dumps(item("one", {"v": tiff("ok.tif")})))

    class Endless(stac_walk.PatientStacIO):
        def read_text_from_href(self, href: str) -> str:
            if href.endswith(("item.json", "start.json")):
                return super().read_text_from_href(href)
            path = catalogue(Path(href), ("child", f"{Path(href).stem}0.json"))
            return path.read_text()

    monkeypatch.setattr(stac_walk, "PatientStacIO", Endless)
    start = catalogue(tmp_path / "start.json", ("item", "item.json"), ("child", "a.json"))
    found = read_stac(start)
    assert list(found.dates) == [f"{tmp_path}/ok.tif"]
    assert len(found.unusable) == 1
    assert reason in found.unusable[0][1]


def test_a_file_that_is_not_stac_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(SceneError, match="other.json cannot be read as STAC items"):
        Scenes.from_stac(tmp_path / "other.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(SceneError, match="list.json .* a list is not a STAC object"):
        Scenes.from_stac(tmp_path / "list.json")
    with pytest.raises(SceneError, match="int is not an item"):
        Scenes.from_stac(3)


@pytest.mark.parametrize("where", ["item", "asset", "checksum"])
def test_a_remote_scene_is_read_again_once_its_item_says_that_it_has_changed(
    quick: Archive, tmp_path: Path, write_scene: Writer, where: str
) -> None:
    scene = write_scene(tmp_path / "local.tif", mosaic(2, 2, 3))
    remote_name = f"/vsimem/{where}.tif"  # of which no change is seen
    rasterio.shutil.copy(scene, remote_name, driver="GTiff")
    path = tmp_path / "item.json"

    def add(version: str) -> AddReport:
        asset = tiff(remote_name, "data")
        properties = {}
        if where == "item":
            properties["updated"] = version
        else:
            asset["updated" if where == "asset" else "file:checksum"] = version
            properties["updated"] = "2099-01-01T00:00:00Z"
        path.write_text(json.dumps(item("one", {"scene": asset}, **properties)))
        return quick.add(Scenes.from_stac(path))

    try:
        assert add("2023-06-02T00:00:00Z").num_tiles == 4
        assert add("2023-06-02T00:00:00Z").unchanged == [remote_name]  # and no note
        assert add("2023-07-02T00:00:00Z").replaced == [remote_name]
    finally:
        rasterio.shutil.delete(remote_name)


def test_a_scene_indexed_without_its_item_remembers_what_the_item_says_later(
    quick: Archive, tmp_path: Path, write_scene: Writer
) -> None:
    scene = write_scene(tmp_path / "local.tif", mosaic(2, 2, 3))
    name = "/vsimem/later.tif"
    rasterio.shutil.copy(scene, name, driver="GTiff")
    path = tmp_path / "item.json"
    path.write_text(json.dumps(item("one", {"scene": tiff(name, "data")}, updated="2023")))
    try:
        quick.add(Scenes.from_stac(path, datetime="2023"))
        state_module._versions.clear()
        quick.add(Scenes(name, datetime="2024"))
        with pytest.warns(GeoHashRSWarning, match="skipped as indexed before, but nothing shows"):
            quick.add(Scenes.from_stac(path, datetime="2024"))
        assert quick.add(Scenes.from_stac(path, datetime="2024")).unchanged == [name]
    finally:
        rasterio.shutil.delete(name)
