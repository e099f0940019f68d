import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from rasterio.crs import CRS as GDAL_CRS
from rasterio.warp import transform as warp_points
from rasterio.windows import Window, bounds

from geohash_rs.errors import SceneError
from geohash_rs.footprints.windows import (
    footprints,
    footprints_from_rings,
    ground_pixel,
    native_footprints,
    split_at_antimeridian,
    window_corners,
)

HALF_EQUATOR = 20037508.342789244
SIZE = 64


def north_up(pixel, x, y):
    return Affine(pixel, 0, x, 0, -pixel, y)


def square(side, x, y, *, turn=0.0):
    """Make a window of 64 px with one corner at (x, y), rotated around the CRS's origin."""
    return Affine.rotation(turn) @ north_up(side / SIZE, x, y)


ORDINARY = {
    "UTM 32": ("EPSG:32632", north_up(10, 500_000, 5_000_000)),
    "UTM 33": ("EPSG:32633", north_up(10, 300_000, 5_300_000)),
    "UTM south": ("EPSG:32733", north_up(30, 300_000, 8_300_000)),
    "0.3 m": ("EPSG:26910", north_up(0.3, 551_000.15, 4_180_000.45)),
    "lat/lon": ("EPSG:4326", Affine(1e-4, 0, 11.123, 0, -1e-4, 48.321)),
    "south-up": ("EPSG:32632", Affine(10, 0, 500_000, 0, 10, 5_000_000)),
    "rotated": ("EPSG:32632", Affine.translation(5e5, 5e6) @ Affine.rotation(31) @ Affine.scale(9)),
    "sheared": ("EPSG:32632", Affine(10, 2, 5e5, 1, -8, 5e6)),
    "northing first": ("EPSG:2193", north_up(0.3, 1.5e6, 5.1e6)),
    "metres west and south": ("EPSG:2053", Affine(-30, 0, 1_000, 0, 30, 2_800_000)),
    "zone 60 across 180": ("EPSG:32660", north_up(10, 833_700, 50_000)),
    "zone 1 across 180": ("EPSG:32601", north_up(10, 166_000, 50_000)),
    "Pacific Mercator": ("EPSG:3832", north_up(10, 3_339_500, 50_000)),
    "0 to 360": ("EPSG:4326", Affine(1e-3, 0, 179.95, 0, -1e-3, 10)),
    "NAD83 beyond 180": ("EPSG:4269", Affine(1e-3, 0, 179.95, 0, -1e-3, 52)),
    "Antarctic": ("EPSG:3031", north_up(30, -1_300_000, 900_000)),
    "Arctic": ("EPSG:3413", north_up(30, -1_300_000, 900_000)),
}

POLAR = {
    f"{crs} {x:g} {y:g} turned {turn:g}": (crs, square(1e6, x * 1e6, y * 1e6, turn=turn))
    for crs in ("EPSG:3031", "EPSG:3413")
    for x, y in [(0, 0), (-1, 0), (-1, 1), (0, 1), (-0.5, 0), (-0.5, 1), (0, 0.5), (-1, 0.5)]
    + [(-0.6, 0.55), (-1e-7, 0), (0.001, 0.3), (-0.5, 0.5), (-1e-12, 0)]
    for turn in (0.0, 30.0)
}

WIDE = {
    "world in Mercator": (
        "EPSG:3857",
        Affine(HALF_EQUATOR / 32, 0, -HALF_EQUATOR, 0, -HALF_EQUATOR / 32, HALF_EQUATOR),
    ),
    "200 degrees in Mercator": ("EPSG:3857", square(2.2e7, -1.1e7, 1e7)),
    "beyond the edge of Mercator": ("EPSG:3857", square(4e6, 1.9e7, 1e7)),
    "world in degrees": ("EPSG:4326", Affine(360 / 64, 0, -180, 0, -170 / 64, 85)),
    "world from 0 to 360": ("EPSG:4326", Affine(360 / 64, 0, 0, 0, -170 / 64, 85)),
    "world and a pixel": ("EPSG:4326", Affine(362 / 64, 0, -181, 0, -170 / 64, 85)),
    "190 degrees from 90 east": ("EPSG:4269", Affine(190 / 64, 0, 90, 0, -1, 40)),
    "bent Lambert": ("EPSG:3034", Affine(6e6 / 64, 0, 1e6, 0, -5e6 / 64, 6e6)),
    "bent Albers": ("EPSG:5070", Affine(5e6 / 64, 0, -2.5e6, 0, -3e6 / 64, 3.2e6)),
    "wide UTM 60": ("EPSG:32660", north_up(5_000, 600_000, 6_500_000)),
    "UTM over the pole": ("EPSG:32632", north_up(1_000, 468_000, 10_030_000)),
    "rotated pole": (
        "+proj=ob_tran +o_proj=longlat +o_lon_p=0 +o_lat_p=39.25 +lon_0=18 +R=6371000 +type=crs",
        Affine(60 / 64, 0, -30, 0, -60 / 64, 60),
    ),
}


def windows_over(count=6, size=SIZE):
    return [
        [c * size // 2 - 7, r * size // 2 + 3, size, size] for c in range(count) for r in (0, 1)
    ]


def corner_error_px(footprint, corners, crs, transform):
    """Reproject a footprint to its CRS and measure how far a window's corners are from it."""
    back = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    lonlat = shapely.get_coordinates(footprint)
    native = CRS(crs)
    x, y = back.transform(*lonlat.T)
    dx, dy = (corners[:, None, axis] - np.asarray(values) for axis, values in ((0, x), (1, y)))
    if native.is_geographic:
        dx -= 360 * np.round(dx / 360)
    inverse = np.linalg.inv([[transform.a, transform.b], [transform.d, transform.e]])
    cols, rows = np.einsum("ij,jnm->inm", inverse, np.stack([dx, dy]))
    return np.hypot(cols, rows).min(axis=1).max()


@pytest.mark.parametrize("case", ORDINARY)
def test_every_corner_of_a_footprint_comes_back_to_its_window(case):
    crs, transform = ORDINARY[case]
    windows = windows_over()
    corners = window_corners(transform, windows)
    for footprint, window in zip(footprints(transform, windows, crs=crs), corners, strict=True):
        assert footprint.is_valid
        assert corner_error_px(footprint, window, crs, transform) < 1e-6


# rasterio 1.4 multiplies affines with *: https://github.com/rasterio/rasterio/issues/3634
@pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")
@pytest.mark.parametrize("case", ["UTM 32", "0.3 m", "lat/lon", "zone 60 across 180"])
def test_native_footprints_have_the_bounds_of_rasterio(case):
    _, transform = ORDINARY[case]
    windows = windows_over()
    for polygon, window in zip(native_footprints(transform, windows), windows, strict=True):
        np.testing.assert_array_equal(polygon.bounds, bounds(Window(*window), transform))
        assert polygon.exterior.is_ccw


@pytest.mark.parametrize("case", ["UTM 33", "0.3 m", "northing first", "metres west and south"])
def test_longitudes_and_latitudes_match_gdal(case):
    crs, transform = ORDINARY[case]
    window = [[5, 9, 64, 64]]
    corners = window_corners(transform, window)[0]
    lon, lat = warp_points(GDAL_CRS.from_user_input(crs), "EPSG:4326", *corners.T)
    ours = shapely.get_coordinates(footprints(transform, window, crs=crs)[0])
    for point in zip(lon, lat, strict=True):
        assert np.abs(ours - point).max(axis=1).min() < 1e-9


def membership_errors(footprint, crs, transform, rng):
    """Count points over 0.6 px from the border that lie in only one of footprint and window."""
    west, south, east, north = footprint.bounds
    lon = np.r_[rng.uniform(west, east, 1500), rng.uniform(-180, 180, 1500)]
    lat = np.r_[rng.uniform(south, north, 1500), rng.uniform(-90, 90, 1500)]
    x, y = (
        np.asarray(v) for v in Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    )
    placed = np.isfinite(x) & np.isfinite(y)
    x, y, lon, lat = x[placed], y[placed], lon[placed], lat[placed]
    period = 360 if CRS(crs).is_geographic else 2 * HALF_EQUATOR if crs == "EPSG:3857" else 0
    outside = np.full(len(x), np.inf)  # px beyond the border, negative inside
    for turn in (-1, 0, 1) if period else (0,):
        cols, rows = ~transform @ (x + turn * period, y)
        outside = np.minimum(outside, np.max([-cols, cols - SIZE, -rows, rows - SIZE], axis=0))
    wrong = shapely.contains_xy(footprint, lon, lat) != (outside < 0)
    assert (outside < 0).sum() > 10
    return (wrong & (np.abs(outside) > 0.6)).sum()


@pytest.mark.parametrize("case", {**POLAR, **WIDE})
def test_a_point_is_in_the_footprint_exactly_if_its_pixel_is_in_the_window(case):
    crs, transform = {**POLAR, **WIDE}[case]
    (footprint,) = footprints(transform, [[0, 0, SIZE, SIZE]], crs=crs)
    assert footprint.is_valid
    west, south, east, north = footprint.bounds
    assert west >= -180
    assert east <= 180
    assert south >= -90
    assert north <= 90
    assert all(part.exterior.is_ccw for part in shapely.get_parts(footprint))
    assert membership_errors(footprint, crs, transform, np.random.default_rng(0)) == 0


@given(
    zone=st.integers(1, 60),
    x=st.floats(2e5, 8e5),
    y=st.floats(1e4, 9e6),
    pixel=st.sampled_from([0.3, 1.0, 10.0, 60.0]),
    turn=st.floats(0, 360),
)
def test_any_grid_in_any_utm_zone_is_placed_to_a_millionth_of_a_pixel(zone, x, y, pixel, turn):
    transform = Affine.translation(x, y) @ Affine.rotation(turn) @ Affine.scale(pixel, -pixel)
    window = [[100, 50, 64, 33]]
    (footprint,) = footprints(transform, window, crs=f"EPSG:{32600 + zone}")
    assert footprint.is_valid
    corners = window_corners(transform, window)[0]
    assert corner_error_px(footprint, corners, f"EPSG:{32600 + zone}", transform) < 1e-6


def test_a_footprint_across_180_degrees_has_two_narrow_parts():
    crs, transform = ORDINARY["zone 60 across 180"]
    (footprint,) = footprints(transform, [[0, 0, 2000, 64]], crs=crs)
    assert len(footprint.geoms) == 2
    assert footprint.area < 1
    assert {part.bounds[0] == -180 or part.bounds[2] == 180 for part in footprint.geoms} == {True}


def test_latitudes_are_clipped_at_the_pole_if_a_grid_extends_half_a_pixel_beyond():
    (footprint,) = footprints(
        Affine(0.5, 0, -0.25, 0, -0.5, 90.25), [[0, 0, 4, 4]], crs="EPSG:4326"
    )
    assert footprint.bounds == (-0.25, 88.25, 1.75, 90)


def test_at_the_edge_of_a_geostationary_disc_the_footprint_is_the_part_on_the_earth():
    crs = "+proj=geos +h=35785831 +lon_0=0"
    transform = north_up(11e6 / SIZE, -5.5e6, 5.5e6)
    (disc,) = footprints(transform, [[0, 0, SIZE, SIZE]], crs=crs)
    assert disc.is_valid
    assert disc.covers(shapely.box(-40, -40, 40, 40))
    assert max(np.abs(disc.bounds)) < 82


@pytest.mark.parametrize("crs", ["EPSG:4978", 'LOCAL_CS["yard",UNIT["metre",1]]'])
def test_a_crs_that_cannot_be_converted_to_longitude_and_latitude_is_refused(crs):
    with pytest.raises(SceneError, match="cannot be converted to longitude and latitude"):
        footprints(north_up(10, 0, 0), [[0, 0, 1, 1]], crs=crs)


def test_a_window_off_the_earth_is_refused_with_its_position():
    with pytest.raises(SceneError, match=r"around \[-18500000.0, 8500000.0\]"):
        footprints(north_up(1e6, -1.9e7, 9e6), [[0, 0, 1, 1]], crs="ESRI:54009")


def test_no_windows_make_no_footprints():
    assert len(footprints(north_up(10, 0, 0), [], crs="EPSG:32632")) == 0


def test_rings_of_other_sizes_are_split_too():
    ring = [[179, 0], [180, -1], [181, 0], [181, 1], [179, 1]]
    (split,) = footprints_from_rings([ring], crs="EPSG:4326")
    assert split.area == pytest.approx(shapely.Polygon(ring).area)
    assert len(split.geoms) == 2


def test_a_ring_around_the_pole_is_closed_along_it():
    cap = split_at_antimeridian([[0, 60], [90, 60], [180, 60], [-90, 60]])
    assert cap.bounds == (-180, 60, 180, 90)
    assert cap.area == pytest.approx(360 * 30)


def test_a_pixel_is_measured_on_the_ground():
    across, down = ground_pixel(north_up(10, 500_000, 5_000_000), 100, 100, crs="EPSG:32632")
    assert (across, down) == pytest.approx((10, 10), rel=1e-3)
    across, down = ground_pixel(north_up(0.001, 10, 60), 10, 10, crs="EPSG:4326")
    assert across == pytest.approx(111.32 / 2, rel=1e-2)
    assert down == pytest.approx(111.4, rel=1e-2)


def test_a_centre_off_the_earth_cannot_be_measured():
    with pytest.raises(SceneError, match="no longitude and latitude"):
        ground_pixel(north_up(10, -1.9e7, 9e6), 10, 10, crs="ESRI:54009")


@pytest.mark.parametrize("transform", [(1e300, 0, 0, 0, -1e300, 0), (1, 0, 1e30, 0, -1, 0)])
def test_absurd_longitudes_are_refused_and_not_counted_turn_by_turn(transform):
    with pytest.raises(SceneError, match="which is not on the Earth"):
        footprints(Affine(*transform), [[0, 0, 64, 64]], crs="EPSG:4326")
