"""Footprints in any CRS, as an archive stores them."""

import geopandas as gpd
import numpy as np
import pyproj
import pytest
import shapely

from geohash_rs.errors import TileTableError
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.segment.tiles import tiles_from_frame


def frame_of(shape: shapely.Geometry, crs: object) -> gpd.GeoDataFrame:
    """Return a frame of one tile."""
    return gpd.GeoDataFrame({"scene": ["s"]}, geometry=[shape], crs=crs)


def on_the_ground(lon: float, lat: float, crs: object, size: float) -> shapely.Geometry:
    """Make a square around a point in a CRS."""
    x, y = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform(lon, lat)
    return shapely.box(x - size, y - size, x + size, y + size)


def test_a_utm_tile_across_the_antimeridian_is_split_there(tmp_path):
    archive = CodeStore.create(tmp_path / "a", num_bits=8)
    across = on_the_ground(180, -17, "EPSG:32701", 5000)
    beside = on_the_ground(-179.5, -17, "EPSG:32701", 5000)
    code = np.zeros((2, 1), np.uint8)
    frame = gpd.GeoDataFrame({"scene": "s"}, geometry=[across, beside], index=[0, 1], crs=32701)
    first, second = archive.add_codes(code, frame).tolist()
    shape, whole = archive.tiles([first, second]).geometry
    assert shape.geom_type == "MultiPolygon"
    assert shape.bounds == pytest.approx((-180, -17.0455, 180, -16.9545), abs=1e-2)
    assert shape.area == pytest.approx(whole.area, rel=1e-3)
    for region, ids in (
        ((179.96, -17.01, 179.97, -17.0), [first]),
        ((-179.97, -17.01, -179.96, -17.0), [first]),
        ((-179.51, -17.01, -179.5, -17.0), [second]),
        ((0, -18, 1, -16), []),
    ):
        found = archive.search(code[:1], region=region).ids[0]
        assert found[found >= 0].tolist() == ids


def test_a_tile_around_a_pole_covers_it():
    tiles = tiles_from_frame(frame_of(shapely.box(-1e6, -1e6, 1e6, 1e6), "EPSG:3031"))
    shape = shapely.from_wkb(tiles.table.column("geometry")[0].as_py())
    assert shape.is_valid
    assert shape.covers(shapely.MultiPoint([(0, -90), (0, -85), (179, -85), (-100, -82)]))
    assert not shape.intersects(shapely.Point(0, -79))


def test_a_tile_as_wide_as_the_globe_is_unchanged():
    edge = 20037508.342789244
    tiles = tiles_from_frame(frame_of(shapely.box(-edge, -1e6, edge, 1e6), "EPSG:3857"))
    shape = shapely.from_wkb(tiles.table.column("geometry")[0].as_py())
    assert shape.covers(shapely.MultiPoint([(0, 0), (-179, 0), (179, 0)]))


@pytest.mark.parametrize("crs", ["OGC:CRS84", "EPSG:4269", "EPSG:3857"])
def test_a_tile_that_is_already_split_is_accepted_in_any_crs(crs):
    place = pyproj.Transformer.from_crs(4326, crs, always_xy=True).transform
    parts = [shapely.box(179, -17, 180, -16), shapely.box(-180, -17, -179, -16)]
    given = [shapely.transform(part, place, interleaved=False) for part in parts]
    tiles = tiles_from_frame(frame_of(shapely.MultiPolygon(given), crs))
    shape = shapely.from_wkb(tiles.table.column("geometry")[0].as_py())
    assert shape.equals_exact(shapely.MultiPolygon(parts), 1e-6)
    assert tiles.bounds[0] == pytest.approx((179, -17, 181, -16), abs=1e-6)


def test_a_footprint_that_cannot_be_split_is_refused():
    parts = shapely.MultiPolygon(
        [on_the_ground(lon, -17, "EPSG:32701", 500) for lon in (179.9, 180)]
    )
    with pytest.raises(TileTableError, match=r"row 0 of tiles, a MultiPolygon, crosses"):
        tiles_from_frame(frame_of(parts, "EPSG:32701"))
