"""Scenes that STAC items name."""

import datetime as dt
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pystac
import pytest
from pystac.stac_io import DefaultStacIO

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.errors import SceneError
from geohash_rs.scenes import remote
from geohash_rs.scenes.stac import read_stac
from tests.ground import mosaic
from tests.scenes.range_server import serving

Writer = Callable[..., Path]


def item(name: str, assets: dict[str, dict[str, Any]], **properties: object) -> dict[str, Any]:
    """Write an item as the specification says."""
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
    """Give a saved answer of a STAC API: two items with a scene, one with none to choose."""
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


def test_items_give_scenes_with_their_dates(collection: Path) -> None:
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
    assert "item two has no asset 'visual' but scene, mask" in scenes.unreadable[0][1]
    with pytest.raises(SceneError, match="item one has no asset 'missing'"):
        Scenes.from_stac(collection, asset="missing")


def test_catalogues_and_pystac_objects_are_walked_through(collection: Path, tmp_path: Path) -> None:
    items = list(pystac.ItemCollection.from_file(str(collection)))[:2]
    for one in items:  # an item made in a program knows no file that it is from
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
        assert done.returncode == 1, done.stderr  # one item has no scene
        assert "item three has 2 raster assets" in done.stderr
        archive = Archive.open(tmp_path / "archive")
        names = sorted(record.scene for record in archive.scenes())
        assert names == [f"{server.url}/data/one.tif", f"{server.url}/data/two.tif"]
        assert archive.num_tiles == json.loads(done.stdout)["num_tiles"] == 8


@pytest.mark.parametrize("kind", ["stall", "error_500", "close_early"])
def test_a_server_of_items_that_fails_is_asked_again_and_not_for_ever(
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


def test_paths_and_urls_are_read_by_the_means_that_pystac_was_given(
    collection: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Signing(DefaultStacIO):
        def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
            return super().read_text(str(source).removesuffix("?signed"), *args, **kwargs)

    monkeypatch.setattr(pystac.StacIO, "_default_io", None)  # put back afterwards
    pystac.StacIO.set_default(Signing)
    assert len(read_stac(f"{collection}?signed").dates) == 2


def test_what_cannot_be_read_of_a_catalogue_is_named_and_the_rest_taken(
    collection: Path, tmp_path: Path
) -> None:
    items = list(pystac.ItemCollection.from_file(str(collection)))
    for one in items:
        one.assets = {k: v for k, v in one.assets.items() if k in {"visual", "scene", "B02"}}
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
    own = pystac.Catalog.from_file(str(folder / "catalog.json"))  # reads by pystac's own means
    assert len(read_stac(own).dates) == 2
    assert len(read_stac(own).unusable) == 2


def test_a_file_that_is_no_stac_says_so(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(SceneError, match="other.json cannot be read as STAC items"):
        Scenes.from_stac(tmp_path / "other.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(SceneError, match="list.json .* a list is no STAC object"):
        Scenes.from_stac(tmp_path / "list.json")
    with pytest.raises(SceneError, match="int is no item"):
        Scenes.from_stac(3)
