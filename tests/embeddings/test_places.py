"""Footprints of tables: every encoding of GeoParquet, any CRS, and squares around points."""

import json

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import CRS, Geod

from geohash_rs.embeddings.squares import squares_around
from geohash_rs.footprints.windows import footprints_from_rings
from tests.embeddings import published
from tests.embeddings.test_layouts import read

EARTH = Geod(ellps="WGS84")


@pytest.fixture
def made():
    return published.chips(60, 16)


def frame_of(made, **columns):
    vectors = [row.tolist() for row in made.vectors]
    return gpd.GeoDataFrame({"embedding": vectors, **columns}, geometry=made.shapes, crs=4326)


def footprints(path, **options):
    _, batches = read(path, **options)
    return np.concatenate([np.asarray(batch.tiles.geometry.array) for batch in batches])


@pytest.mark.parametrize(
    "how",
    [
        {"schema_version": "1.0.0"},
        {"schema_version": "1.1.0", "write_covering_bbox": True},
        {"schema_version": "1.1.0", "geometry_encoding": "geoarrow"},
    ],
)
def test_each_version_and_encoding_of_geoparquet_is_read_bit_for_bit(how, made, tmp_path):
    frame_of(made).to_parquet(tmp_path / "t.parquet", **how)
    found = footprints(tmp_path / "t.parquet")
    assert [shape.wkb for shape in found] == [shape.wkb for shape in made.shapes]


@pytest.mark.parametrize("version", ["V2", "NONE"])
@pytest.mark.parametrize("crs", [None, "EPSG:32633"])
def test_native_geometries_of_parquet_are_read(version, crs, made, tmp_path):
    duckdb = pytest.importorskip("duckdb", minversion="1.5")
    shapes = made.shapes if crs is None else shapely.box(4e5, 5e6, np.arange(60) + 400_001.0, 6e6)
    table = pa.table({"v": published.lists(made.vectors), "wkb": shapely.to_wkb(shapes)})
    said = "" if crs is None else json.dumps(CRS(crs).to_json_dict()).replace("'", "''")
    kind = "GEOMETRY" if crs is None else f"GEOMETRY('{said}')"
    path = tmp_path / "t.parquet"
    with duckdb.connect() as connection:
        connection.register("made", table)
        connection.execute(
            f"COPY (SELECT v, ST_GeomFromWKB(wkb)::{kind} AS place FROM made) TO '{path}' "
            f"(FORMAT parquet, GEOPARQUET_VERSION '{version}')"
        )
    assert "GEOMETRY" in str(pq.read_metadata(path).schema).upper()
    found = footprints(path)
    if crs is None:
        assert [shape.wkb for shape in found] == [shape.wkb for shape in made.shapes]
    else:
        wanted = gpd.GeoSeries(shapes, crs=crs).to_crs(4326)
        assert shapely.hausdorff_distance(found, wanted.array).max() < 1e-9


def test_the_primary_column_of_several_is_read(made, tmp_path):
    points = shapely.to_wkb(shapely.points(made.lonlat))
    columns = {
        "embedding": published.lists(made.vectors),
        "centroid": points,
        "outline": shapely.to_wkb(made.shapes),
    }
    said = json.loads(published.geo(column="outline")["geo"])
    said["columns"]["centroid"] = {"encoding": "WKB", "geometry_types": ["Point"]}
    path = published.write(tmp_path / "t.parquet", columns, {"geo": json.dumps(said)})
    assert [g.wkb for g in footprints(path)] == [g.wkb for g in made.shapes]
    assert len(footprints(path, geometry_column="centroid", footprint_m=100)) == 60


def test_footprints_of_a_projected_crs_are_converted(made, tmp_path):
    boxes = shapely.box(4e5 + np.arange(60) * 50, 5e6, 4e5 + np.arange(60) * 50 + 100, 5_000_100.0)
    frame_of(made).set_geometry(boxes, crs=32633).to_parquet(tmp_path / "t.parquet")
    wanted = gpd.GeoSeries(boxes, crs=32633).to_crs(4326)
    found = footprints(tmp_path / "t.parquet")
    assert shapely.hausdorff_distance(found, wanted.array).max() < 1e-9


def test_footprints_across_the_antimeridian_are_split(made, tmp_path):
    shapes = made.shapes.copy()
    shapes[0] = shapely.box(179.99, 10, 180.01, 10.02)
    shapes[1] = shapely.Polygon([(179.99, 10), (-179.99, 10), (-179.99, 10.02), (179.99, 10.02)])
    path = tmp_path / "t.parquet"
    frame_of(made).set_geometry(shapes, crs=4326).to_parquet(path)
    found = footprints(path)
    halves = shapely.union(
        shapely.box(179.99, 10, 180, 10.02), shapely.box(-180, 10, -179.99, 10.02)
    )
    assert shapely.equals(shapely.normalize(found[0]), halves)
    assert shapely.equals(shapely.normalize(found[1]), halves)


def test_a_crs_that_nobody_states_is_longitude_and_latitude_and_said(made, tmp_path):
    path = tmp_path / "t.parquet"
    columns = {"embedding": published.lists(made.vectors), "geom": shapely.to_wkb(made.shapes)}
    published.write(path, columns, published.geo(crs=None, column="geom"))
    source, batches = read(path)
    assert any("no CRS is stated for 'geom'" in note for note in source.notes)
    published.write(path, columns)
    source, batches = read(path)
    assert any("no CRS is stated for 'geom'" in note for note in source.notes)
    assert len(batches[0].vectors) == 60


def test_points_need_a_size(made, tmp_path):
    path = tmp_path / "t.parquet"
    frame_of(made).set_geometry(shapely.points(made.lonlat), crs=4326).to_parquet(path)
    with pytest.raises(
        ValueError, match="'geometry' holds only points, .* pass footprint_m=METRES"
    ):
        read(path)
    found = footprints(path, footprint_m=320)
    areas = [abs(EARTH.geometry_area_perimeter(shape)[0]) for shape in found]
    assert areas == pytest.approx([320**2] * 60, rel=1e-4)


def test_centres_in_columns_of_another_crs_are_converted(made, tmp_path):
    columns = {"embedding": published.lists(made.vectors), "e": np.full(60, 5e5)}
    path = published.write(tmp_path / "t.parquet", {**columns, "n": np.full(60, 5e6)})
    found = footprints(path, geometry_column="e,n", crs="EPSG:32633", footprint_m=1000)
    assert shapely.centroid(found[0]).x == pytest.approx(15, abs=1e-6)


@pytest.mark.parametrize("side", [10.0, 320.0, 10_000.0])
def test_squares_have_their_size_everywhere(side):
    places = [(0, 0), (12.3, 45.6), (-70.5, -66.6), (179.9999, 30), (-180, -5), (25, 82), (3, 89)]
    places += [(5, 90), (-100, -90), (40, 89.99)]
    squares = squares_around(np.array(places, dtype=float), side)
    assert shapely.is_valid(squares).all()
    for (lon, lat), square in zip(places, squares, strict=True):
        area = sum(
            abs(EARTH.geometry_area_perimeter(shapely.segmentize(part, 0.01))[0])
            for part in shapely.get_parts(square)
        )
        assert area == pytest.approx(side**2, rel=0.01)
        reach = max(
            EARTH.inv(lon, lat, *point)[2] for point in shapely.get_coordinates(square).tolist()
        )
        if abs(lat) < 89:  # at a pole, one corner is the pole
            assert reach == pytest.approx(side / np.sqrt(2), rel=1e-3)


def test_squares_are_those_of_an_equidistant_projection_around_each_centre():
    rng = np.random.default_rng(2)
    places = np.column_stack([rng.uniform(-180, 180, 50), rng.uniform(-80, 80, 50)])
    squares = squares_around(places, 2240)
    ring = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 1120.0
    for (lon, lat), square in zip(places.tolist(), squares, strict=True):
        local = CRS(f"+proj=aeqd +lat_0={lat!r} +lon_0={lon!r} +datum=WGS84")
        wanted = footprints_from_rings(ring[None], crs=local)[0]
        assert shapely.hausdorff_distance(square, wanted) < 1e-6
