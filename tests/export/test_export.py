"""What is written is read back by other programs: GDAL's ogrinfo, geopandas, pyarrow, json."""

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from affine import Affine

from geohash_rs.errors import ArchiveCorruptError, ExportError, GeoHashRSWarning
from geohash_rs.export import ENDINGS, check_ending, write, write_batches
from geohash_rs.footprints.windows import footprints, native_footprints
from geohash_rs.store import CodeStore

ogrinfo = pytest.mark.skipif(
    shutil.which("ogrinfo") is None, reason="ogrinfo is not installed (Debian: gdal-bin)"
)

TABLES = [ending for ending in ENDINGS if ending != ".html"]  # those that can be read back


def table(geometries, crs="EPSG:4326"):
    """Make matches that are hard to write: gaps, quotes, umlauts, no date."""
    count = len(geometries)
    return gpd.GeoDataFrame(
        {
            "rank": np.arange(1, count + 1),
            "distance": np.arange(count, dtype=np.int32) * 3,
            "similarity": np.linspace(1, 0.5, count),
            "scene": ['scenes/a "quoted", köln.tif'] * count,
            "col": pd.array([64] * (count - 1) + [None], dtype="Int64"),
            "datetime": pd.to_datetime(
                ["2023-06-01T10:30:05.25Z"] * (count - 1) + [None], utc=True, format="ISO8601"
            ),
        },
        geometry=list(geometries),
        crs=crs,
    )


@pytest.fixture
def matches():
    """Tiles of one UTM scene, and one that crosses the antimeridian."""
    here = footprints(
        Affine(10, 0, 399960, 0, -10, 5700000), [[0, 0, 64, 64], [64, 0, 64, 64]], crs="EPSG:32632"
    )
    across = footprints(Affine(0.01, 0, 179.5, 0, -0.01, -16), [[0, 0, 100, 50]], crs="EPSG:4326")
    return table([*here, *across])


def test_geojson_follows_rfc_7946(matches, tmp_path):
    write(matches, tmp_path / "m.geojson")
    document = json.loads((tmp_path / "m.geojson").read_text(encoding="utf-8"))
    assert document["type"] == "FeatureCollection"
    assert "crs" not in document
    features = document["features"]
    assert [f["properties"]["rank"] for f in features] == [1, 2, 3]
    assert features[0]["properties"] == {
        "rank": 1,
        "distance": 0,
        "similarity": 1.0,
        "scene": 'scenes/a "quoted", köln.tif',
        "col": 64,
        "datetime": "2023-06-01T10:30:05.250000Z",
    }
    assert features[2]["properties"]["col"] is None
    assert features[2]["properties"]["datetime"] is None
    for feature, footprint in zip(features, matches.geometry, strict=True):
        geometry = shapely.geometry.shape(feature["geometry"])
        assert geometry.equals(footprint), "full precision"
        for part in shapely.get_parts(geometry):
            assert part.exterior.is_ccw
            assert part.bounds[2] - part.bounds[0] < 180
    assert features[2]["geometry"]["type"] == "MultiPolygon"


def test_geojson_of_a_table_in_another_crs_is_in_longitude_and_latitude(tmp_path):
    transform = Affine(10, 0, 399960, 0, -10, 5700000)
    windows = [[0, 0, 64, 64], [5, 7, 30, 20]]
    native = table(native_footprints(transform, windows), crs="EPSG:32632")
    write(native, tmp_path / "m.geojson")
    read = gpd.read_file(tmp_path / "m.geojson")
    assert read.crs == "EPSG:4326"
    expected = gpd.GeoSeries(native.geometry).to_crs("EPSG:4326")
    for got, want in zip(read.geometry, expected, strict=True):
        assert shapely.hausdorff_distance(got, want) < 1e-9


def test_a_utm_tile_across_the_antimeridian_is_split_in_geojson(tmp_path):
    zone_1 = native_footprints(Affine(100, 0, 150000, 0, -100, 8000000), [[0, 0, 400, 100]])
    write(table(zone_1, crs="EPSG:32701"), tmp_path / "m.geojson")
    (feature,) = json.loads((tmp_path / "m.geojson").read_text())["features"]
    parts = shapely.get_parts(shapely.geometry.shape(feature["geometry"]))
    assert len(parts) == 2
    west, east = sorted(parts, key=lambda part: part.bounds[0])
    assert west.bounds[0] == -180
    assert east.bounds[2] == 180
    assert west.bounds[2] - west.bounds[0] < 1
    assert east.bounds[2] - east.bounds[0] < 1
    assert west.exterior.is_ccw
    assert east.exterior.is_ccw


def test_holes_and_several_parts_survive_reprojection(tmp_path):
    ring = shapely.box(500000, 5000000, 501000, 5001000) - shapely.box(
        500400, 5000400, 500600, 5000600
    )
    geometry = shapely.MultiPolygon([ring, shapely.box(502000, 5000000, 502500, 5000500)])
    write(table([geometry, geometry], crs="EPSG:32632"), tmp_path / "m.geojson")
    read = gpd.read_file(tmp_path / "m.geojson")
    want = gpd.GeoSeries([geometry], crs="EPSG:32632").to_crs("EPSG:4326").iloc[0]
    for got in read.geometry:
        assert got.symmetric_difference(want).area < 1e-9 * want.area
        assert sorted(len(part.interiors) for part in got.geoms) == [0, 1]


@ogrinfo
@pytest.mark.parametrize("ending", [".geojson", ".gpkg"])
def test_ogrinfo_and_geopandas_see_the_same_file(matches, tmp_path, ending):
    path = tmp_path / f"m{ending}"
    write(matches, path)
    seen = subprocess.run(
        ["ogrinfo", "-ro", "-al", "-so", str(path)], check=True, capture_output=True, text=True
    ).stdout
    assert "Feature Count: 3" in seen
    assert 'ID["EPSG",4326]' in seen
    for column, kind in {
        "rank": "Integer",
        "distance": "Integer",
        "similarity": "Real",
        "scene": "String",
        "col": "Integer",
        "datetime": "DateTime",
    }.items():
        assert f"\n{column}: {kind}" in seen
    read = gpd.read_file(path)
    assert len(read) == 3
    assert read.crs == "EPSG:4326"
    assert list(read.columns) == list(matches.columns)
    assert read["scene"].tolist() == matches["scene"].tolist()
    assert pd.to_datetime(read["datetime"], utc=True)[0] == matches["datetime"][0]
    assert read["datetime"].isna().tolist() == [False, False, True]
    assert all(a.equals(b) for a, b in zip(read.geometry, matches.geometry, strict=True))


def test_geopackage_keeps_the_crs_and_names_its_layer(tmp_path):
    native = table(
        native_footprints(Affine(10, 0, 399960, 0, -10, 5700000), [[0, 0, 64, 64]]), "EPSG:32632"
    )
    write(native, tmp_path / "m.gpkg", layer="like this field")
    assert gpd.list_layers(tmp_path / "m.gpkg")["name"].tolist() == ["like this field"]
    assert gpd.list_layers(tmp_path / "m.gpkg")["geometry_type"].tolist() == ["MultiPolygon"]
    read = gpd.read_file(tmp_path / "m.gpkg")
    assert read.crs == "EPSG:32632"
    assert read.geometry[0].equals(native.geometry[0])


def test_geoparquet_opens_in_geopandas_with_its_boxes(matches, tmp_path):
    write(matches, tmp_path / "m.parquet")
    read = gpd.read_parquet(tmp_path / "m.parquet")
    assert read.crs == "EPSG:4326"
    assert [c for c in read.columns if c != "bbox"] == [
        *matches.columns.drop("geometry"),
        "geometry",
    ]
    assert all(a.equals(b) for a, b in zip(read.geometry, matches.geometry, strict=True))
    assert read["datetime"][0] == matches["datetime"][0]
    west = gpd.read_parquet(tmp_path / "m.parquet", bbox=(5, 50, 10, 55))
    assert west["rank"].tolist() == [1, 2]
    described = json.loads(pq.read_metadata(tmp_path / "m.parquet").metadata[b"geo"])
    assert described["version"] == "1.1.0"
    assert described["columns"]["geometry"]["bbox"] == pytest.approx(matches.total_bounds)


def test_duckdb_reads_the_geoparquet_as_a_table(matches, tmp_path):
    duckdb = pytest.importorskip("duckdb")
    write(matches, tmp_path / "m.parquet")
    rows = duckdb.sql(
        f"SELECT rank, bbox.xmin FROM read_parquet('{tmp_path}/m.parquet') ORDER BY rank"
    ).fetchall()
    assert [rank for rank, _ in rows] == [1, 2, 3]
    assert [xmin for _, xmin in rows] == pytest.approx(matches.bounds["minx"].tolist())


def test_gdal_reads_the_geometry_of_the_csv(matches, tmp_path):
    write(matches, tmp_path / "m.csv")
    read = pd.read_csv(tmp_path / "m.csv")
    assert read["rank"].tolist() == [1, 2, 3]
    assert read["datetime"][0] == "2023-06-01T10:30:05.250000Z"
    assert read["datetime"].isna().tolist() == [False, False, True]
    placed = gpd.read_file(tmp_path / "m.csv")
    assert all(a.equals(b) for a, b in zip(placed.geometry, matches.geometry, strict=True))


@pytest.mark.parametrize("ending", TABLES)
def test_batches_make_the_same_rows_as_one_table(matches, tmp_path, ending):
    write(matches, tmp_path / f"one{ending}")
    parts = (matches.iloc[i : i + 1] for i in range(len(matches)))
    assert write_batches(parts, tmp_path / f"parts{ending}") == len(matches)
    read = gpd.read_parquet if ending == ".parquet" else gpd.read_file
    one, several = read(tmp_path / f"one{ending}"), read(tmp_path / f"parts{ending}")
    pd.testing.assert_frame_equal(pd.DataFrame(one), pd.DataFrame(several))


@pytest.mark.parametrize("ending", TABLES)
def test_an_empty_table_is_still_a_file(matches, tmp_path, ending):
    write(matches.iloc[:0], tmp_path / f"none{ending}")
    read = gpd.read_parquet if ending == ".parquet" else gpd.read_file
    assert len(read(tmp_path / f"none{ending}")) == 0


def test_non_finite_numbers_become_null(matches, tmp_path):
    matches["similarity"] = [np.nan, np.inf, 0.5]
    write(matches, tmp_path / "m.json")
    features = json.loads((tmp_path / "m.json").read_text())["features"]
    assert [f["properties"]["similarity"] for f in features] == [None, None, 0.5]


def test_an_unknown_extension_lists_the_known_ones():
    with pytest.raises(
        ExportError, match=r"ending '.shp' of out/m.shp; use one of .geojson, .json"
    ):
        check_ending("out/m.shp")


def test_a_missing_extension_is_reported_before_anything_is_written(matches, tmp_path):
    with pytest.raises(ExportError, match="cannot tell a format from the ending ''"):
        write(matches, tmp_path / "matches")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_reported(matches, tmp_path):
    with pytest.raises(ExportError, match="the folder .*nowhere does not exist.*create it"):
        write(matches, tmp_path / "nowhere" / "m.geojson")


def test_a_folder_at_the_path_of_the_file_is_refused(matches, tmp_path):
    (tmp_path / "m.geojson").mkdir()
    with pytest.raises(ExportError, match="is a folder; pass the path of a file"):
        write(matches, tmp_path / "m.geojson")


@pytest.mark.parametrize("name", ["manifest.json", "segments/0/m.parquet"])
def test_a_file_in_the_folder_of_an_archive_is_not_written(matches, tmp_path, name):
    store = CodeStore.create(tmp_path / "a", num_bits=16)
    (tmp_path / "a/segments/0").mkdir(parents=True)
    before = (tmp_path / "a/manifest.json").read_bytes()
    with pytest.raises(ExportError, match=rf"{name} lies in the archive .*a; write to another"):
        write(matches, tmp_path / "a" / name)
    assert (tmp_path / "a/manifest.json").read_bytes() == before
    assert store.num_tiles == 0


def test_a_geopackage_with_other_layers_is_not_replaced(matches, tmp_path):
    path = tmp_path / "project.gpkg"
    matches.to_file(path, layer="my_fields")
    before = path.read_bytes()
    with pytest.raises(ExportError, match=r"also holds the layers my_fields, which would be lost"):
        write(matches, path)
    assert path.read_bytes() == before
    write(matches, path, layer="my_fields")
    assert len(gpd.read_file(path, layer="my_fields")) == len(matches)


def test_styled_matches_replace_the_same_layer(matches, tmp_path):
    full = matches.assign(tile_id=1, row=0, width=64, height=64)
    for _ in range(2):
        with pytest.warns(GeoHashRSWarning, match="2 pictures are missing"):
            write(full, tmp_path / "m.gpkg")
    assert "layer_styles" in gpd.list_layers(tmp_path / "m.gpkg")["name"].to_list()


def test_a_link_stays_a_link_to_the_file_that_is_written(matches, tmp_path):
    real, link = tmp_path / "real.gpkg", tmp_path / "link.gpkg"
    link.symlink_to(real)
    write(matches, link)
    assert link.is_symlink()
    assert gpd.list_layers(real)["name"].to_list() == ["link"]
    (tmp_path / "real.gpkg-wal").touch()
    with pytest.raises(ExportError, match="is open in another program.*real.gpkg-wal is next to"):
        write(matches, link)


def test_a_table_without_crs_is_refused(matches, tmp_path):
    with pytest.raises(ExportError, match="has no CRS.*set_crs"):
        write(matches.set_crs(None, allow_override=True), tmp_path / "m.geojson")


def test_points_are_refused(matches, tmp_path):
    with pytest.raises(ExportError, match="holds Point, but footprints are polygons"):
        write(matches.set_geometry(matches.representative_point()), tmp_path / "m.gpkg")


def test_a_value_that_json_cannot_hold_names_its_column(matches, tmp_path):
    matches["thing"] = [{1, 2}] * len(matches)
    with pytest.raises(ExportError, match="column 'thing' holds .* of type set"):
        write(matches, tmp_path / "m.geojson")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_failure_half_way_leaves_the_old_file_and_nothing_else(matches, tmp_path, ending):
    def frames():
        yield matches
        message = "segment 7 is cut short"
        raise ArchiveCorruptError(message)

    path = tmp_path / f"m{ending}"
    path.write_text("old")
    with pytest.raises(ArchiveCorruptError, match="segment 7 is cut short"):
        write_batches(frames(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_table_at_all_is_an_error(tmp_path):
    with pytest.raises(ExportError, match="there is no table to write"):
        write_batches([], tmp_path / "m.csv")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_reported(matches, tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ExportError, match="cannot write .*Permission denied"):
            write(matches, tmp_path / "m.geojson")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder nobody can write to")
def test_a_path_where_nothing_can_be_created_is_reported(matches):
    with pytest.raises(ExportError, match=r"cannot write /proc/self/m.geojson: .*nothing was"):
        write(matches, "/proc/self/m.geojson")


FULL_DISK = """
import sys, resource, signal, geopandas
from geohash_rs.export import write
from geohash_rs.errors import ExportError
frame = geopandas.read_parquet(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write(frame, sys.argv[2])
except ExportError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize("ending", TABLES)
def test_a_full_disk_is_reported_and_leaves_the_old_file(matches, tmp_path, ending):
    many = pd.concat([matches] * 2000, ignore_index=True)
    many["noise"] = [f"{x:x}" for x in np.random.default_rng(0).integers(2**62, size=len(many))]
    write(many, tmp_path / "many.parquet")
    path = tmp_path / "out" / f"m{ending}"
    path.parent.mkdir()
    path.write_text("old")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FULL_DISK, tmp_path / "many.parquet", path],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == 1, done.stderr
    assert f"cannot write {path}" in done.stderr
    assert "Traceback" not in done.stderr
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def open_geopackage(path):
    """Open a GeoPackage and change it, as QGIS does while a layer is edited."""
    file = sqlite3.connect(path)
    for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        file.execute(f"DROP TRIGGER {name}")
    return file


@pytest.mark.parametrize("journal", ["wal", "delete", "persist"])
def test_a_geopackage_that_another_program_edits_is_not_replaced(matches, tmp_path, journal):
    path = tmp_path / "a.gpkg"
    write(matches, path)
    with contextlib.closing(open_geopackage(path)) as file:
        file.execute(f"PRAGMA journal_mode = {journal}")
        file.execute("UPDATE a SET scene = 'checked by me'")
        if journal == "wal":
            file.commit()
        with pytest.raises(ExportError, match=r"a\.gpkg is open in another program"):
            write(matches, path)
        file.commit()
    assert set(gpd.read_file(path)["scene"]) == {"checked by me"}
    if journal != "persist":
        write(matches, path)
        assert "checked by me" not in set(gpd.read_file(path)["scene"])


def test_a_geopackage_that_another_program_reads_is_not_replaced(matches, tmp_path):
    path = tmp_path / "a.gpkg"
    write(matches, path)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("BEGIN")
        assert file.execute("SELECT count(*) FROM a").fetchone() == (len(matches),)
        with pytest.raises(ExportError, match=r"a\.gpkg is open in .*, which holds a lock on it"):
            write(matches, path)


def test_what_a_crash_left_next_to_a_deleted_geopackage_is_named(matches, tmp_path):
    (tmp_path / "a.gpkg-wal").write_bytes(b"0")
    with pytest.raises(ExportError, match=r"a\.gpkg is open .*: a\.gpkg-wal is next to it"):
        write(matches, tmp_path / "a.gpkg")


def test_a_geopackage_that_is_opened_while_it_is_written_again_stays(matches, tmp_path):
    path = tmp_path / "a.gpkg"
    write(matches, path)
    before = path.read_bytes()

    def frames():
        yield matches
        (tmp_path / "a.gpkg-wal").write_bytes(b"0")

    with pytest.raises(ExportError, match=r"a\.gpkg is open in another program"):
        write_batches(frames(), path)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg", "a.gpkg-wal"]


def test_a_file_that_is_not_a_database_is_replaced(matches, tmp_path):
    (tmp_path / "a.gpkg").write_text("notes")
    write(matches, tmp_path / "a.gpkg")
    assert len(gpd.read_file(tmp_path / "a.gpkg")) == len(matches)


def test_a_column_that_a_format_cannot_hold_is_an_error_of_the_export(matches, tmp_path):
    mixed = matches.assign(note=[1, "a", None])
    with pytest.raises(ExportError, match=r"cannot write .*out.parquet: .* nothing was changed"):
        write(mixed, tmp_path / "out.parquet")
    assert list(tmp_path.iterdir()) == []


def test_a_style_that_cannot_be_stored_is_an_error_of_the_export(matches, tmp_path, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("geohash_rs.export.geopackage.store_style", full)
    found = matches.assign(tile_id=[1, 2, 3], row=0, width=64, height=64)
    with pytest.raises(ExportError, match="disk is full; nothing was changed"):
        write(found, tmp_path / "out.gpkg")
