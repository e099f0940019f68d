"""Codes travel: other programs read them back from GeoParquet and Zarr, with what they mean."""

import json
import re

import duckdb
import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pystac
import pytest
import shapely
import xarray
import zarr

from geohash_rs import Archive
from geohash_rs.errors import ArchiveCorruptError, ExportError
from geohash_rs.export import code_order, code_parquet, code_zarr, write_codes
from geohash_rs.store import CodeStore
from geohash_rs.store.segment.curve import hilbert_keys
from tests.store.helpers import make_grid


def fill(archive, count, *, scene, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 256, (count, archive.num_bits // 8), dtype=np.uint8)
    frame = make_grid(count, scene=scene)
    return archive.add_codes(codes, frame.iloc[rng.permutation(count)].reset_index(drop=True))


@pytest.fixture
def archive(tmp_path):
    """An archive of three segments on the same ground, some tiles removed."""
    made = CodeStore.create(tmp_path / "archive", num_bits=64)
    for number, scene in enumerate(["https://host/a.tif", "/data/b.tif", "c.tif"]):
        fill(made, 300, scene=scene, seed=number)
    made.remove_tiles([3, 20, 399])
    return made


def empty_archive(folder):
    return CodeStore.create(folder / "empty", num_bits=64)


def awkward_archive(folder):
    """Tiles without footprint, window, date or label, and one on both sides of 180 degrees."""
    made = CodeStore.create(folder / "awkward", num_bits=16)
    frame = make_grid(4).assign(
        label=["farm", None, "sea", None], datetime=["2023-05-04T01:02:03.000004", None, None, None]
    )
    frame["col"] = pd.array([1, None, 3, 4], dtype="Int32")
    split = shapely.MultiPolygon([shapely.box(179.5, 0, 180, 2), shapely.box(-180, 0, -179, 2)])
    frame.geometry = [None, shapely.box(5, 5, 7, 6), split, shapely.box(1, 1, 2, 2)]
    made.add_codes(np.arange(8, dtype=np.uint8).reshape(4, 2), frame)
    return made


def keys_of(frame):
    middle = frame.geometry.bounds
    longitudes = ((middle.minx + middle.maxx) / 2).to_numpy()
    return hilbert_keys(longitudes, ((middle.miny + middle.maxy) / 2).to_numpy())


# --- GeoParquet ---


def test_geopandas_reads_every_tile_along_a_hilbert_curve_with_its_code(archive, tmp_path):
    assert write_codes(archive.to_table(), tmp_path / "codes.parquet") == 897
    read = gpd.read_parquet(tmp_path / "codes.parquet")
    tiles = archive.tiles(read["tile_id"].to_numpy())
    assert sorted(read["tile_id"]) == sorted(set(range(900)) - {3, 20, 399})
    for name in tiles.columns.drop("geometry"):
        assert read[name].tolist() == tiles[name].tolist(), name
    assert shapely.equals_identical(read.geometry, tiles.geometry).all()
    np.testing.assert_array_equal(
        np.stack(read["embedding"]), archive.codes(read["tile_id"].to_numpy())
    )
    assert read.crs == "EPSG:4326"
    keys = keys_of(read)
    assert (np.diff(keys.astype(object)) >= 0).all()
    assert (np.diff(keys_of(archive.to_table().to_geopandas()).astype(object)) < 0).any()


def test_the_order_is_the_same_when_tiles_are_sorted_in_many_small_files(
    archive, tmp_path, monkeypatch
):
    write_codes(archive.to_table(), tmp_path / "one.parquet")
    monkeypatch.setattr(code_order, "BUCKET", 100)
    monkeypatch.setattr(code_parquet, "ROW_GROUP", 20_000)
    write_codes(archive.to_table(), tmp_path / "many.parquet")
    one, many = (pq.ParquetFile(tmp_path / f"{name}.parquet") for name in ("one", "many"))
    assert one.read().equals(many.read())
    assert (one.num_row_groups, many.num_row_groups > 3) == (1, True)
    assert many.metadata.row_group(0).column(0).compression == "ZSTD"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "archive",
        "many.parquet",
        "one.parquet",
    ]


def test_boxes_let_a_reader_skip_rows_and_the_metadata_say_what_the_numbers_are(archive, tmp_path):
    path = tmp_path / "codes.parquet"
    write_codes(archive.to_table(), path, model="https://host/model")
    whole = gpd.read_parquet(path)
    box = shapely.box(*whole.geometry.iloc[40].bounds)
    some = gpd.read_parquet(path, bbox=box.bounds)
    assert sorted(some["tile_id"]) == sorted(whole["tile_id"][whole.intersects(box)])
    assert 0 < len(some) < len(whole)
    metadata = pq.read_metadata(path).metadata
    about = json.loads(metadata[b"emb"])
    assert about["model"] == {"id": None, "source": "urn:geohash-rs:hasher:unknown"}
    assert about["geohash_rs:features"] == "https://host/model"
    assert about["embedding"] == {
        "dim": 64,
        "data_type": "uint8",
        "bit_order": "big",
        "quantization": "binary",
        "original_dtype": "float32",
    }
    assert about["start_datetime"] == about["end_datetime"] == "2023-06-01T00:00:00Z"
    assert json.loads(metadata[b"geohash_rs"])["num_bits"] == 64


def test_duckdb_finds_the_nearest_codes_in_the_file(archive, tmp_path):
    path = tmp_path / "codes.parquet"
    write_codes(archive.to_table(), path)
    query = archive.codes([7])
    rows = duckdb.execute(
        f"""SELECT tile_id, list_sum(list_transform(range(1, 9),
            lambda i: bit_count(xor(embedding[i], $query[i])))) AS distance
        FROM read_parquet('{path}') ORDER BY distance, tile_id LIMIT 20""",
        {"query": duckdb.Value(query[0].tolist(), duckdb.list_type(duckdb.sqltypes.UTINYINT))},
    ).fetchall()
    found = archive.search(query, k=20)
    assert rows == list(zip(found.ids[0], found.distances[0], strict=True))


def test_what_a_tile_lacks_is_null_in_parquet(tmp_path):
    archive = awkward_archive(tmp_path)
    write_codes(archive.to_table(), tmp_path / "codes.parquet")
    table = pq.read_table(tmp_path / "codes.parquet").to_pylist()
    rows = sorted(table, key=lambda row: row["embedding"])
    assert [row["embedding"] for row in rows] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert rows[0]["geometry"] is rows[0]["bbox"] is None
    assert rows[1]["col"] is rows[1]["datetime"] is rows[1]["label"] is None
    assert rows[2]["bbox"] == {"xmin": -180, "ymin": 0, "xmax": 180, "ymax": 2}


@pytest.mark.parametrize("ending", [".parquet", ".zarr"])
def test_an_empty_archive_gives_all_columns_and_no_rows(tmp_path, ending):
    table = empty_archive(tmp_path).to_table()
    assert write_codes(table, tmp_path / f"codes{ending}") == 0
    if ending == ".parquet":
        read = gpd.read_parquet(tmp_path / "codes.parquet")
        assert (len(read), "embedding" in read.columns) == (0, True)
    else:
        read = zarr.open_group(tmp_path / "codes.zarr", mode="r")
        assert read["embeddings"].shape == (0, 8)


# --- Zarr ---


def test_xarray_reads_every_tile_of_the_zarr_group(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(code_zarr, "CHUNK", 256)
    monkeypatch.setattr(code_order, "BUCKET", 100)
    write_codes(archive.to_table(), tmp_path / "codes.zarr")
    with xarray.open_zarr(tmp_path / "codes.zarr", consolidated=False) as dataset:
        dataset.load()
    assert dict(dataset.sizes) == {"tile": 897, "byte": 8, "side": 4}
    assert list(dataset.data_vars) == ["embeddings"]
    ids = dataset.tile_id.to_numpy()
    assert sorted(ids) == sorted(set(range(900)) - {3, 20, 399})
    np.testing.assert_array_equal(dataset.embeddings, archive.codes(ids))
    tiles = archive.tiles(ids)
    np.testing.assert_array_equal(dataset.bounds, tiles.geometry.bounds)
    assert dataset.scene.to_numpy().tolist() == tiles["scene"].tolist()
    assert (dataset.datetime == np.datetime64("2023-06-01")).all()
    for name in ("col", "row", "width", "height"):
        np.testing.assert_array_equal(dataset[name], tiles[name].astype(int))


def test_what_a_tile_lacks_is_missing_in_zarr(tmp_path):
    archive = awkward_archive(tmp_path)
    write_codes(archive.to_table(), tmp_path / "codes.zarr")
    with xarray.open_zarr(tmp_path / "codes.zarr", consolidated=False) as dataset:
        dataset = dataset.load().sortby(dataset.embeddings[:, 0])
    assert np.isnan(dataset.bounds[0]).all()
    assert dataset.bounds[2].to_numpy().tolist() == [-180, 0, 180, 2]
    assert np.isnan(dataset.col[1])
    assert dataset.col[0] == 1
    assert dataset.datetime[0] == np.datetime64("2023-05-04T01:02:03.000004")
    assert np.isnat(dataset.datetime[1:]).all()
    assert dataset.label.to_numpy().tolist() == ["farm", "", "sea", ""]


def test_the_zarr_group_has_the_attributes_of_the_convention(archive, tmp_path):
    write_codes(archive.to_table(), tmp_path / "codes.zarr", model="clay v1.5")
    raw = json.loads((tmp_path / "codes.zarr" / "zarr.json").read_text())
    assert (raw["zarr_format"], raw["node_type"]) == (3, "group")
    check_geoemb(raw["attributes"])
    about = raw["attributes"]
    assert about["geoemb:model"] == "urn:geohash-rs:hasher:unknown"
    assert about["geohash_rs:features"] == "clay v1.5"
    assert about["geoemb:dimensions"] == 64
    assert about["geoemb:quantization"]["method"] == "binary"
    assert "https://host/a.tif" in about["geoemb:source_data"]
    assert "file:///data/b.tif" in about["geoemb:source_data"]


def check_geoemb(attributes):
    """Check attributes after the text of the convention, version 1."""
    uri = re.compile(r"[a-z][a-z0-9+.-]*:\S+")
    names = [one["name"] for one in attributes["zarr_conventions"]]
    assert {"geoemb:", "proj:"} == set(names)
    assert attributes["geoemb:type"] in {"pixel", "chip"}
    assert attributes["geoemb:dimensions"] >= 1
    assert uri.fullmatch(attributes["geoemb:model"])
    assert attributes["geoemb:source_data"]
    assert all(uri.fullmatch(source) for source in attributes["geoemb:source_data"])
    np.dtype(attributes["geoemb:data_type"])
    layout = attributes["geoemb:chip_layout"]
    assert layout["layout_type"] in {"regular_grid", "irregular"}
    assert len(layout["chip_size"]) == 2
    assert min(layout["chip_size"]) >= 1
    assert {"method", "original_dtype"} <= set(attributes["geoemb:quantization"])
    assert attributes["geoemb:spatial_layout"] in {"utm_zones", "global"}


# --- STAC ---


@pytest.mark.parametrize("ending", [".parquet", ".zarr"])
def test_a_stac_item_and_collection_describe_the_codes(archive, tmp_path, ending):
    write_codes(archive.to_table(), tmp_path / f"codes{ending}", stac=True)
    item = json.loads((tmp_path / f"codes{ending}.item.json").read_text())
    collection = json.loads((tmp_path / f"codes{ending}.collection.json").read_text())
    check_emb(item, collection)
    assert collection["emb:dimensions"] == 64
    assert item["properties"]["emb:quantization"]["original_dtype"] == "float32"
    assert collection["emb:chip_layout"] == {"layout_type": "variable_grid", "chip_size": [64, 64]}
    read = pystac.Item.from_file(tmp_path / f"codes{ending}.item.json")
    assert read.assets["embeddings"].get_absolute_href() == str(tmp_path / f"codes{ending}")
    whole = archive.to_table().to_geopandas().total_bounds
    np.testing.assert_allclose(read.bbox, whole)
    assert read.common_metadata.start_datetime.isoformat() == "2023-06-01T00:00:00+00:00"
    parent = pystac.Collection.from_file(tmp_path / f"codes{ending}.collection.json")
    assert [one.id for one in parent.get_items()] == [f"codes{ending}"]
    sources = [link["href"] for link in item["links"] if link["rel"] == "emb:source-data"]
    assert set(sources) == {
        "file:///data/b.tif",
        "https://host/a.tif",
        "urn:geohash-rs:scene:c.tif",
    }


def check_emb(item, collection):
    """Check both after the text of the extension, version 0.0.1."""
    extension = "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"
    assert extension in item["stac_extensions"]
    assert extension in collection["stac_extensions"]
    assert "embeddings" in item["assets"]
    of_items = {name for name in item["properties"] if name.startswith("emb:")}
    assert of_items <= {
        "emb:runtime_parameters",
        "emb:preprocessing",
        "emb:postprocessing",
        "emb:fit_for_use",
        "emb:spatial_coverage",
        "emb:uncertainty",
        "emb:quantization",
        "emb:energy",
    }
    assert collection["emb:type"] in {"pixel", "chip"}
    assert collection["emb:dimensions"] >= 1
    assert collection["data_type"] == "uint8"
    kinds = {"regular_grid", "variable_grid", "named_grid"}
    assert collection["emb:chip_layout"]["layout_type"] in kinds
    rels = [link["rel"] for link in collection["links"]]
    assert {"emb:model", "emb:source-data", "item"} <= set(rels)
    assert {"license", "description", "extent", "id"} <= set(collection)


def test_each_format_has_documents_of_its_own_that_are_written_again(archive, tmp_path):
    table = archive.to_table()
    for _ in range(2):
        for name in ("codes.parquet", "codes.zarr"):
            write_codes(table, tmp_path / name, stac=True)
    for name in ("codes.parquet", "codes.zarr"):
        item = pystac.Item.from_file(tmp_path / f"{name}.item.json")
        assert item.assets["embeddings"].href == name
        assert item.get_single_link("collection").get_href() == f"{name}.collection.json"
        parent = pystac.Collection.from_file(tmp_path / f"{name}.collection.json")
        assert (parent.id, item.collection_id) == (f"{name}-collection", f"{name}-collection")
        assert [one.id for one in parent.get_items()] == [item.id] == [name]


@pytest.mark.parametrize("kind", ["item", "collection"])
@pytest.mark.parametrize("content", ["my notes", "[]", '{"id": "codes.zarr"}', "other", "folder"])
def test_a_file_that_is_no_document_of_the_output_is_not_replaced(archive, tmp_path, kind, content):
    theirs = tmp_path / f"codes.zarr.{kind}.json"
    if content == "other":
        write_codes(archive.to_table(), tmp_path / "other.zarr", stac=True)
        content = (tmp_path / f"other.zarr.{kind}.json").read_text()
    if content == "folder":
        theirs.mkdir()
    else:
        theirs.write_text(content)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ExportError, match=rf"{theirs.name} does not describe codes\.zarr"):
        write_codes(archive.to_table(), tmp_path / "codes.zarr", stac=True)
    assert sorted(tmp_path.iterdir()) == before
    assert theirs.is_dir() or theirs.read_text() == content
    write_codes(archive.to_table(), tmp_path / "codes.zarr")  # writes no document


def said_of_model(folder):
    """Return the model and the features that each description of codes.* in a folder names."""
    found = []
    for kind in ("parquet.item", "parquet.collection", "zarr.item", "zarr.collection"):
        document = json.loads((folder / f"codes.{kind}.json").read_text())
        links = [link["href"] for link in document["links"] if link["rel"] == "emb:model"]
        features = document.get("properties", document).get("geohash_rs:features")
        found += [(*links, features)]
    emb = json.loads(pq.read_metadata(folder / "codes.parquet").metadata[b"emb"])
    about = json.loads((folder / "codes.zarr" / "zarr.json").read_text())["attributes"]
    found += [(emb["model"]["source"], emb.get("geohash_rs:features"))]
    return [*found, (about["geoemb:model"], about.get("geohash_rs:features"))]


def test_the_model_of_codes_is_their_hasher_and_the_embedding_is_named_apart(tmp_path):
    rng = np.random.default_rng(0)
    urns = []
    for name in ("one", "two"):
        vectors = rng.normal(size=(300, 32)).astype(np.float32)
        frame = make_grid(300)
        archive = Archive.create(tmp_path / name / "archive", hasher="general-64")
        archive.add((vectors, frame), model="clay-v1.5")
        for ending in (".parquet", ".zarr"):
            output = tmp_path / name / f"codes{ending}"
            write_codes(archive.to_table(), output, model="clay-v1.5", stac=True)
        urns.append(f"urn:geohash-rs:hasher:{archive.hasher_fingerprint}")
        assert set(said_of_model(tmp_path / name)) == {(urns[-1], "clay-v1.5")}
        emb = json.loads(pq.read_metadata(tmp_path / name / "codes.parquet").metadata[b"emb"])
        assert emb["model"]["id"] == archive.hasher_fingerprint
    assert urns[0] != urns[1]  # both were fitted as general-64, but cannot be compared


def test_without_a_date_stac_is_refused_and_nothing_is_written(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    archive.add_codes(np.zeros((3, 1), np.uint8), make_grid(3).drop(columns="datetime"))
    with pytest.raises(ExportError, match="no tile of the archive has a date"):
        write_codes(archive.to_table(), tmp_path / "codes.parquet", stac=True)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


# --- whole or not at all ---


@pytest.mark.parametrize("ending", [".parquet", ".zarr"])
def test_a_former_output_stays_when_an_export_fails_and_goes_when_it_succeeds(
    archive, tmp_path, ending
):
    path = tmp_path / f"codes{ending}"
    write_codes(archive.to_table(), path)
    table = CodeStore.open(archive.path, mode="r").to_table()
    broken = archive.path / "segments" / archive.manifest.segments[1].name / "tiles.parquet"
    whole = broken.read_bytes()
    broken.write_bytes(b"x" * len(whole))
    with pytest.raises(ArchiveCorruptError, match=r"tiles\.parquet cannot be decoded"):
        write_codes(table, path)
    assert count(path) == 897
    broken.write_bytes(whole)
    archive.remove_tiles([0])
    assert write_codes(archive.to_table(), path) == count(path) == 896
    assert sorted(one.name for one in tmp_path.iterdir()) == ["archive", path.name]


def count(path):
    if path.suffix == ".parquet":
        return pq.read_metadata(path).num_rows
    return zarr.open_group(path, mode="r")["embeddings"].shape[0]


def test_bad_outputs_are_refused_before_any_work(archive, tmp_path):
    table = archive.to_table()
    (tmp_path / "folder.zarr").mkdir()
    (tmp_path / "folder.parquet").mkdir()
    for name, words in {
        "codes.csv": r"written to \.parquet or \.zarr",
        "folder.zarr": "is a folder without a Zarr group",
        "folder.parquet": "is a folder without a Zarr group",
        "nowhere/codes.zarr": "does not exist",
        "archive/codes.parquet": "lies in the archive",
    }.items():
        with pytest.raises(ExportError, match=words):
            write_codes(table, tmp_path / name)
    fewer = archive.to_table([name for name in table.schema.names if name != "geometry"])
    with pytest.raises(ExportError, match=r"lacks the columns \['geometry'\]"):
        write_codes(fewer, tmp_path / "codes.parquet")


def test_a_table_that_changes_between_its_readings_is_refused(archive, tmp_path):
    table = archive.to_table()
    ranks = code_order.curve_ranks(table)
    with pytest.raises(ExportError, match="had 896 tiles when the export began and 897"):
        list(code_order.in_curve_order(table, ranks[:-1], tmp_path))
