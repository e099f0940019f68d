"""Regions of any file and CRS, against pyproj and shapes drawn by hand in degrees."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pyproj import Transformer

from geohash_rs.errors import GeoHashRSWarning, RegionError
from geohash_rs.store.search.filters import parse_region
from geohash_rs.store.search.regions import read_region

BOX = shapely.box(14, 53, 16, 54)
BOW = shapely.Polygon([(14, 53), (16, 54), (16, 53), (14, 54)])


def frame(*shapes: object, crs: object = "EPSG:4326") -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"n": range(len(shapes))}, geometry=list(shapes), crs=crs)


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.parquet", "a.fgb", "a.wkt"])
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32633"])
def test_a_file_of_any_format_and_crs_is_one_region(tmp_path: Path, name: str, crs: str) -> None:
    path = tmp_path / name
    if name == "a.wkt":
        path.write_text(BOX.wkt)
    elif name == "a.parquet":
        frame(BOX).to_crs(crs).to_parquet(path)
    else:
        frame(BOX).to_crs(crs).to_file(path)
    region = parse_region(path).geometry
    assert region.symmetric_difference(BOX).area < 0.02 * BOX.area  # edges bend between the CRSs
    assert parse_region(str(path)).geometry.equals(region)


def test_a_zone_across_180_degrees_is_split_there() -> None:
    box = shapely.box(690_000, 5_700_000, 900_000, 5_900_000)
    region = parse_region(frame(box, crs="EPSG:32660")).geometry
    to_lonlat = Transformer.from_crs("EPSG:32660", "EPSG:4326", always_xy=True)
    points = [to_lonlat.transform(x, y) for x in (700_000, 890_000) for y in (5.71e6, 5.89e6)]
    assert {lon > 0 for lon, _ in points} == {True, False}
    assert shapely.covers(region, [shapely.Point(point) for point in points]).all()
    assert not region.covers(shapely.Point(0, 52))
    assert region.bounds[0] == -180
    assert region.bounds[2] == 180


def test_a_region_around_a_pole_covers_the_pole() -> None:
    box = shapely.box(-1e6, -1e6, 1e6, 1e6)
    region = parse_region(frame(box, crs="EPSG:3413")).geometry
    inside = [shapely.Point(lon, 85) for lon in range(-180, 181, 30)]
    assert shapely.covers(region, [*inside, shapely.Point(0, 90)]).all()
    assert region.bounds[1] > 75


def test_edges_that_bend_follow_the_crs() -> None:
    box = shapely.box(-2e6, 1e6, 2e6, 3e6)
    region = parse_region(frame(box, crs="EPSG:3035")).geometry
    to_lonlat = Transformer.from_crs("EPSG:3035", "EPSG:4326", always_xy=True)
    lon, lat = to_lonlat.transform(np.linspace(-2e6, 2e6, 101), np.full(101, 1e6))
    edge = region.boundary.distance(shapely.points(lon, lat))
    assert edge.max() < 0.01


def test_holes_parts_lines_and_points_are_kept() -> None:
    ring = BOX.difference(shapely.box(14.5, 53.2, 15.5, 53.8))
    shapes = [ring, shapely.LineString([(20, 50), (21, 50)]), shapely.Point(30, 50)]
    given = frame(*shapes)
    for crs in ("EPSG:4326", "EPSG:3857"):
        region = parse_region(given.to_crs(crs)).geometry
        for shape in shapes:
            assert region.buffer(1e-6).covers(shape)
        assert not region.intersects(shapely.Point(15, 53.5))


def test_longitudes_from_0_to_360_are_the_same_place() -> None:
    given = frame(shapely.box(190, 10, 200, 20), crs="OGC:CRS84")
    assert parse_region(given).bounds == (-170, 10, -160, 20)
    line = gpd.GeoSeries([shapely.LineString([(19.9e6, 0), (20.2e6, 0)])], crs="EPSG:3857")
    region = parse_region(line).geometry
    assert (region.bounds[0], region.bounds[2]) == (-180, 180)
    assert region.length < 3


def test_an_invalid_polygon_is_repaired_and_said(tmp_path: Path) -> None:
    frame(BOW, BOX.buffer(-0.3)).to_file(tmp_path / "bow.geojson")
    with pytest.warns(GeoHashRSWarning, match=r"1 of 2 geometries of .*bow.geojson are invalid"):
        region = parse_region(tmp_path / "bow.geojson").geometry
    assert region.is_valid
    assert region.covers(shapely.Point(14.1, 53.5))
    assert not region.covers(shapely.Point(15, 53.1))


def test_a_layer_of_several_is_chosen_by_name(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    frame(shapely.box(0, 0, 1, 1)).to_file(path, layer="draft")
    frame(BOX).to_file(path, layer="final")
    with pytest.raises(RegionError, match=r"two.gpkg has 2 layers \(draft, final\); choose one"):
        parse_region(path)
    assert read_region(path, layer="final").equals(BOX)
    with pytest.raises(RegionError, match=r"no layer 'old'; its layers are draft, final"):
        read_region(path, layer="old")


def test_coordinates_without_crs_are_taken_as_degrees_and_said(tmp_path: Path) -> None:
    with pytest.warns(GeoHashRSWarning, match="has no CRS, so .* taken as longitude and latitude"):
        assert parse_region(frame(BOX, crs=None)).geometry.equals(BOX)
    far = frame(shapely.box(5e5, 5e6, 6e5, 6e6), crs=None)
    with (
        pytest.warns(GeoHashRSWarning, match="has no CRS"),
        pytest.raises(RegionError, match="outside longitude -180"),
    ):
        parse_region(far)


def write_bytes(path: Path) -> None:
    path.write_bytes(b"\0\1nothing")


def write_table(path: Path) -> None:
    frame(BOX).drop(columns="geometry").to_parquet(path)


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("gone.gpkg", lambda path: None, "cannot be read as a region"),
        ("a.gpkg", write_bytes, "cannot be read as a region"),
        ("a.parquet", write_bytes, "cannot be read as a region"),
        ("a.parquet", write_table, "cannot be read as a region"),
        ("a.wkt", lambda path: path.write_text("POLYGON ((1"), "cannot be read as a region"),
        ("a.geojson", lambda path: frame(None, shapely.Point()).to_file(path), "no geometry"),
        ("a.csv", lambda path: path.write_text("a,b\n1,2\n"), "holds no geometry"),
    ],
)
def test_a_file_that_is_no_region_is_named(
    tmp_path: Path, name: str, make: object, message: str
) -> None:
    make(tmp_path / name)  # type: ignore[operator]
    with pytest.raises(RegionError, match=rf"{name}.* {message}"):
        parse_region(tmp_path / name)


def test_a_file_with_coordinates_that_are_not_numbers_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nan.gpkg"
    frame(shapely.Point(np.nan, 1), BOX).to_file(path)
    with pytest.raises(RegionError, match=r"nan.gpkg has coordinates that are not finite"):
        parse_region(path)


def test_what_has_no_place_is_named() -> None:
    with pytest.raises(RegionError, match="cannot be brought to longitude and latitude"):
        parse_region(frame(shapely.box(1e9, 1e9, 2e9, 2e9), crs="EPSG:32633"))
    local = 'LOCAL_CS["site",UNIT["metre",1]]'
    with pytest.raises(RegionError, match="cannot be brought to longitude and latitude"):
        parse_region(frame(BOX, crs=local))
    with pytest.raises(RegionError, match="not finite"):
        parse_region(frame(shapely.Point(np.inf, 1)))


FIJI = [(179, -18), (-179, -18), (-179, -16), (179, -16)]


def test_a_ring_from_179_to_minus_179_crosses_180_degrees_and_is_said(tmp_path: Path) -> None:
    path = tmp_path / "fiji.geojson"
    frame(shapely.Polygon(FIJI), BOX).to_file(path)
    told = r"fiji.geojson has an edge from longitude 179 to -179, .* taken to cross 180 degrees"
    with pytest.warns(GeoHashRSWarning, match=told):
        region = parse_region(path).geometry
    sides = [shapely.box(179, -18, 180, -16), shapely.box(-180, -18, -179, -16), BOX]
    assert region.symmetric_difference(shapely.union_all(sides)).area == pytest.approx(0, abs=1e-9)


def test_a_wide_ring_runs_through_0_as_it_is_written_and_is_said() -> None:
    with pytest.warns(GeoHashRSWarning, match="taken to run through longitude 0"):
        region = parse_region(frame(shapely.box(-170, -60, 170, 60))).geometry
    assert region.bounds == (-170, -60, 170, 60)
    assert region.covers(shapely.Point(0, 0))
    parse_region(frame(shapely.box(-180, -90, 180, 90)))  # the whole globe is not in doubt


@pytest.mark.parametrize("name", ["a.shp", "a.gpkg"])
def test_the_order_of_corners_counts_only_in_geojson(tmp_path: Path, name: str) -> None:
    clockwise = shapely.box(-100, 40, 100, 50, ccw=False)
    frame(clockwise).to_file(tmp_path / name)
    with pytest.warns(GeoHashRSWarning, match=f"{name} has .* taken to run through longitude 0"):
        assert parse_region(tmp_path / name).bounds == (-100, 40, 100, 50)


def test_a_file_with_a_region_outside_the_globe_is_named(tmp_path: Path) -> None:
    path = tmp_path / "far.wkt"
    path.write_text("POINT (500000 5000000)")
    with pytest.raises(RegionError, match=r"far.wkt has bounds .* outside longitude -180"):
        parse_region(path)


def test_text_with_a_crs_as_in_postgis_is_read_in_it(tmp_path: Path) -> None:
    projected = frame(BOX).to_crs("EPSG:32633").geometry.iloc[0]
    (tmp_path / "a.wkt").write_text(f"SRID=32633;{projected.wkt}")
    region = read_region(tmp_path / "a.wkt")
    assert region.symmetric_difference(BOX).area < 0.02 * BOX.area


def test_a_folder_of_parquet_files_is_one_region(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    for name, shape in (("a", BOX), ("b", shapely.box(1, 1, 2, 2))):
        frame(shape).to_parquet(tmp_path / "parts" / f"{name}.parquet")
    assert read_region(tmp_path / "parts").bounds == (1, 1, 16, 54)


def test_parts_that_a_file_lacks_are_named(tmp_path: Path) -> None:
    frame(BOX).to_file(tmp_path / "a.shp")
    (tmp_path / "a.shx").unlink()
    with pytest.raises(RegionError, match=r"a\.shx is missing; copy all files of the shapefile"):
        read_region(tmp_path / "a.shp")
    frame(BOX).drop(columns="geometry").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(RegionError, match="it holds no geometry; write it as GeoParquet"):
        read_region(tmp_path / "a.parquet")
