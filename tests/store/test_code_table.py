"""All tiles and codes as one table: its schema, what reads it, and archives that change."""

import builtins
import json

import duckdb
import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import xarray

from geohash_rs.errors import ArchiveCorruptError, ExportError, QueryError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.code_table import CodeTable
from geohash_rs.store.segment.read import Segment
from tests.store.helpers import make_grid

COLUMNS = {
    "tile_id": pa.int64(),
    "scene": pa.string(),
    "col": pa.int32(),
    "row": pa.int32(),
    "width": pa.int32(),
    "height": pa.int32(),
    "datetime": pa.timestamp("us", tz="UTC"),
    "datetime_end": pa.timestamp("us", tz="UTC"),
    "label": pa.string(),
    "tile_size": pa.int32(),
    "source": pa.string(),
    "code": pa.binary(8),
    "geometry": pa.binary(),
}


def fill(archive: CodeStore, count: int, *, scene: str) -> None:
    """Add tiles with random codes."""
    rng = np.random.default_rng(len(archive))
    codes = rng.integers(0, 256, (count, archive.num_bits // 8), dtype=np.uint8)
    archive.add_codes(codes, make_grid(count, scene=scene))


@pytest.fixture
def archive(tmp_path):
    """An archive of 40 tiles of two scenes, three of them removed."""
    made = CodeStore.create(tmp_path / "archive", num_bits=64)
    fill(made, 25, scene="first.tif")
    fill(made, 15, scene="second.tif")
    made.remove_tiles([3, 20, 39])
    return made


def ids_of(table: CodeTable) -> list[int]:
    return sorted(table.reader().read_all()["tile_id"].to_pylist())


LEFT = sorted(set(range(40)) - {3, 20, 39})


def test_an_empty_archive_is_an_empty_table_with_every_column(tmp_path):
    table = CodeStore.create(tmp_path / "a", num_bits=64).to_table()
    assert {one.name: one.type for one in table.schema} == COLUMNS
    assert pa.table(table).schema.equals(table.schema, check_metadata=True)
    assert pa.table(table).num_rows == 0
    frame = table.to_geopandas()
    assert (len(frame), list(frame.columns), frame.crs) == (0, list(COLUMNS), "EPSG:4326")
    assert table.to_xarray().code.shape == (0, 8)
    assert table.to_xarray().code.dtype == np.uint8


def test_an_archive_whose_hasher_is_still_to_be_fitted_has_codes_of_the_length_it_will_have(
    tmp_path,
):
    table = CodeStore.create(tmp_path / "a", pending_hasher="general-rgb-128").to_table()
    assert table.schema.field("code").type == pa.binary(16)
    assert pa.table(table).num_rows == 0
    with pytest.raises(QueryError, match="will be fitted on the first imagery"):
        CodeStore.create(tmp_path / "b", pending_hasher="unknown").to_table()


def test_the_schema_says_what_the_bits_mean_and_where_the_footprints_are(archive):
    schema = archive.to_table().schema
    about = json.loads(schema.metadata[b"geohash_rs"])
    assert about == {"num_bits": 64, "bit_order": "big", "hasher": None}
    described = schema.field("geometry").metadata
    assert described[b"ARROW:extension:name"] == b"geoarrow.wkb"
    crs = json.loads(described[b"ARROW:extension:metadata"])
    assert (crs["crs_type"], crs["crs"]["id"]) == ("projjson", {"authority": "EPSG", "code": 4326})
    archive.add_codes(np.zeros((1, 8), np.uint8), make_grid(1), fingerprint="abc")
    about = json.loads(archive.to_table(["code"]).schema.metadata[b"geohash_rs"])
    assert about["hasher"] == "abc"


def test_columns_come_in_the_order_asked_for(archive):
    table = archive.to_table(["label", "code", "tile_id"])
    assert pa.table(table).column_names == ["label", "code", "tile_id"]
    assert pa.table(table)["label"].to_pylist() == [None] * 37
    only = pa.table(archive.to_table(["label"]))
    assert (only.num_rows, only["label"].null_count) == (37, 37)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (["codes"], r"columns is \['codes'\]; pass at least one of \['tile_id', 'scene'"),
        (["code", "code"], "each once"),
        ([], "pass at least one of"),
        ("code", r"the string 'code', but it must be a list; pass \['code'\]"),
    ],
)
def test_columns_that_cannot_be_are_refused(archive, columns, message):
    with pytest.raises(QueryError, match=message):
        archive.to_table(columns)


def test_what_needs_no_footprint_reads_none(archive, monkeypatch):
    def refuse(*_args):
        raise AssertionError

    monkeypatch.setattr(Segment, "_wkb", refuse)
    assert ids_of(archive.to_table(["tile_id", "code", "scene"])) == LEFT


def test_it_is_read_piece_by_piece_and_only_when_it_is_used(tmp_path, monkeypatch):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    frame = pd.concat([make_grid(25_000)] * 6, ignore_index=True)
    archive.add_codes(np.zeros((150_000, 1), np.uint8), frame)
    read = []
    original = Segment.tile_rows

    def counted(self, rows, columns=None):
        read.append(len(rows))
        return original(self, rows, columns)

    monkeypatch.setattr(Segment, "tile_rows", counted)
    table = archive.to_table()
    assert read == []
    reader = table.reader()
    first = reader.read_next_batch()
    assert (first.num_rows, read) == (65_536, [65_536])
    reader.read_all()
    assert read == [65_536, 65_536, 18_928]


def test_it_can_be_read_again_and_by_several_at_once(archive):
    table = archive.to_table()
    one, other = table.reader(), table.reader()
    assert one.read_next_batch().num_rows == other.read_next_batch().num_rows == 25 - 2
    assert ids_of(table) == ids_of(table) == LEFT


def test_rows_are_those_of_the_moment_when_the_table_was_made(archive):
    writer = CodeStore.open(archive.path)
    table = archive.to_table(["tile_id", "scene"])
    reader = table.reader()
    reader.read_next_batch()
    writer.remove_scenes(["first.tif"])
    fill(archive, 9, scene="third.tif")
    writer.refresh()
    writer.compact()
    assert reader.read_all()["scene"].to_pylist() == ["second.tif"] * 14
    assert ids_of(table) == LEFT
    assert set(ids_of(archive.to_table())) == {*range(25, 39), *range(40, 49)}


def test_a_table_outlives_its_archive_and_frees_the_files_with_it(archive):
    with CodeStore.open(archive.path, mode="r") as opened:
        table = opened.to_table()
    archive.remove_scenes(["first.tif"])
    folders = {one.name for one in (archive.path / "segments").iterdir()}
    archive.compact()
    assert ids_of(table) == LEFT  # not one file was mapped before
    assert folders < {one.name for one in (archive.path / "segments").iterdir()}
    del table
    archive.compact()
    assert len(list((archive.path / "segments").iterdir())) == 1


def test_a_closed_archive_names_the_file_that_others_have_deleted_since(archive):
    with CodeStore.open(archive.path, mode="r") as opened:
        pass
    assert ids_of(opened.to_table()) == LEFT
    closed = CodeStore.open(archive.path, mode="r")
    closed.close()
    archive.remove_scenes(["first.tif"])
    archive.compact()
    with pytest.raises(ArchiveCorruptError, match="is missing but the manifest lists it"):
        closed.to_table().to_geopandas()


def test_a_damaged_file_is_named_when_its_rows_are_read(archive):
    tiles = CodeStore.open(archive.path, mode="r").to_table()
    broken = archive.path / "segments" / archive.manifest.segments[1].name / "tiles.parquet"
    broken.write_bytes(b"x" * broken.stat().st_size)
    with pytest.raises(ArchiveCorruptError, match=r"tiles\.parquet cannot be decoded"):
        tiles.to_geopandas()
    assert tiles.schema.names == list(COLUMNS)  # which is known without the rows
    with pytest.raises(duckdb.Error, match=r"tiles\.parquet cannot be decoded"):
        duckdb.execute("SELECT count(*) FROM tiles").fetchall()


def test_a_geodataframe_has_the_rows_of_tiles_and_their_codes(archive):
    frame = archive.to_table().to_geopandas()
    assert type(frame) is gpd.GeoDataFrame
    tiles = archive.tiles(frame["tile_id"])
    for name in tiles.columns:
        assert frame[name].equals(tiles[name]), name
    codes = np.frombuffer(b"".join(frame["code"]), "uint8").reshape(-1, 8)
    np.testing.assert_array_equal(codes, archive.codes(frame["tile_id"]))
    with pytest.raises(QueryError, match="needs 'geometry'"):
        archive.to_table(["code"]).to_geopandas()


def test_geopandas_and_parquet_take_it_as_it_is(archive, tmp_path):
    table = archive.to_table()
    expected = table.to_geopandas()
    frames = [gpd.GeoDataFrame.from_arrow(table)]
    with pq.ParquetWriter(tmp_path / "tiles.parquet", table.schema) as file:
        for batch in table.reader():
            file.write_batch(batch)
    frames.append(gpd.read_parquet(tmp_path / "tiles.parquet"))
    for frame in frames:
        assert frame.crs == "EPSG:4326"
        assert frame["code"].tolist() == expected["code"].tolist()
        assert shapely.equals_identical(frame.geometry, expected.geometry).all()
    schema = pq.read_schema(tmp_path / "tiles.parquet")
    assert json.loads(schema.metadata[b"geohash_rs"])["num_bits"] == 64


def test_duckdb_computes_the_distances_of_a_search(archive):
    tiles = archive.to_table(["tile_id", "code"])
    query = archive.codes([7])
    rows = duckdb.execute(
        "SELECT tile_id, bit_count(xor(code::BIT, $query::BLOB::BIT)) AS distance FROM tiles "
        "ORDER BY distance, tile_id LIMIT 20",
        {"query": query.tobytes()},
    ).fetchall()
    found = archive.search(query, k=20)
    assert rows == list(zip(found.ids[0], found.distances[0], strict=True))
    assert tiles.schema.names == ["tile_id", "code"]


def test_an_xarray_dataset_has_a_dimension_of_tiles_and_one_of_bytes(archive, tmp_path):
    dataset = archive.to_table().to_xarray()
    assert dict(dataset.sizes) == {"tile": 37, "byte": 8}
    ids = dataset.tile_id.to_numpy()
    np.testing.assert_array_equal(dataset.code, archive.codes(ids))
    tiles = archive.tiles(ids)
    assert (dataset.datetime == np.datetime64("2023-06-01")).all()
    assert dataset.datetime.dtype == "datetime64[us]"
    assert dataset.scene.to_numpy().tolist() == tiles["scene"].tolist()
    middle = shapely.centroid(tiles.geometry.to_numpy())
    np.testing.assert_allclose(dataset.lon, shapely.get_x(middle), atol=1e-9)
    np.testing.assert_allclose(dataset.lat, shapely.get_y(middle), atol=1e-9)
    assert dataset.attrs == {"num_bits": 64, "bit_order": "big"}
    only = archive.to_table(["tile_id", "code"]).to_xarray()
    xarray.testing.assert_identical(only, dataset.drop_vars(set(dataset.coords) - {"tile_id"}))


def test_what_is_missing_is_missing_in_xarray_too(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    frame = make_grid(3).assign(label=["farm", None, "sea"], datetime=["2023", None, "2024"])
    frame["col"] = pd.array([1, None, 3], dtype="Int32")
    split = shapely.MultiPolygon([shapely.box(179.5, 0, 180, 2), shapely.box(-180, 0, -179, 2)])
    frame.geometry = [None, shapely.box(5, 5, 7, 6), split]
    archive.add_codes(np.zeros((3, 1), np.uint8), frame)
    dataset = archive.to_table().to_xarray()
    (farm,) = np.flatnonzero(dataset.label == "farm")
    (sea,) = np.flatnonzero(dataset.label == "sea")
    (none,) = np.flatnonzero(dataset.label.isnull())
    assert np.isnan([dataset.lon[farm], dataset.lat[farm]]).all()
    assert (dataset.lon[none], dataset.lat[none]) == (6, 5.5)
    assert (dataset.lon[sea], dataset.lat[sea]) == (-179.5, 1)  # in its wider part
    assert np.isnan(dataset.col[none])
    assert dataset.col.to_numpy()[[farm, sea]].tolist() == [1, 3]
    assert np.isnat(dataset.datetime.to_numpy()[none])


def test_without_xarray_it_says_what_to_install(archive, monkeypatch):
    original = builtins.__import__

    def missing(name, *args, **options):
        if name == "xarray":
            raise ImportError(name)
        return original(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ExportError, match="pip install xarray"):
        archive.to_table().to_xarray()
