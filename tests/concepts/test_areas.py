"""Areas, checked against unions of footprints and an equal-area projection."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod, Transformer

from geohash_rs.concepts.areas import dissolved
from geohash_rs.concepts.regions import regions_of
from geohash_rs.errors import GeoHashRSWarning, QueryError, RegionError
from geohash_rs.footprints.ground import square_km
from tests.concepts.places import UTM, chosen, record_of, tiles_of

EQUAL_AREA = Transformer.from_crs("EPSG:4326", "EPSG:6933", always_xy=True)


def equal_area(geometry):
    """Measure a polygon in longitude and latitude in km2 by projecting it, with many points."""
    dense = shapely.segmentize(geometry, 0.001)
    plane = shapely.transform(dense, lambda xy: np.column_stack(EQUAL_AREA.transform(*xy.T)))
    return plane.area / 1e6


def mapped(tiles, records, **options):
    """Dissolve tiles whose footprints are in their table."""

    def footprints(rows):
        return np.asarray(tiles.geometry.array, dtype=object)[rows]

    return dissolved(
        pd.DataFrame(tiles.drop(columns="geometry")), records, footprints=footprints, **options
    )


def no_footprints(_):
    pytest.fail("footprints of tiles of a grid are not needed")


# --- measuring ground ---


@pytest.mark.parametrize(
    "shape",
    [
        shapely.box(10, 50, 10.02, 50.01),
        shapely.box(-3, -70, 4, -60),
        shapely.Polygon([(0, 0), (30, 5), (12, 40)], [[(10, 10), (12, 10), (11, 12)]]),
        shapely.MultiPolygon([shapely.box(179, -17, 180, -16), shapely.box(-180, -17, -179, -16)]),
        shapely.box(-180, 60, 180, 90),
    ],
)
def test_ground_is_measured_as_by_an_equal_area_projection(shape):
    (found,) = square_km(np.array([shape], dtype=object))
    assert found == pytest.approx(equal_area(shape), rel=1e-6)


def test_ground_is_measured_as_by_geodesics_between_near_points():
    shape = shapely.Polygon([(12, 54), (12.4, 54.02), (12.3, 54.3), (12.05, 54.2)])
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(shapely.segmentize(shape, 1e-4))
    (found,) = square_km(np.array([shape], dtype=object))
    assert found == pytest.approx(area / 1e6, rel=1e-8)


def test_tiny_ground_is_exact_and_missing_ground_is_zero():
    tiny = shapely.box(12, 54, 12 + 1e-6, 54 + 1e-6)
    found = square_km(np.array([None, tiny], dtype=object))
    assert found[0] == 0
    area, _ = Geod(ellps="WGS84").geometry_area_perimeter(tiny)
    assert found[1] == pytest.approx(area / 1e6, rel=1e-5)


# --- one scene ---


def test_neighbours_become_one_area_and_corners_do_not_join():
    record = record_of()
    tiles = chosen(tiles_of(record), [(0, 0), (1, 0), (1, 1), (2, 2), (8, 8)])
    areas = dissolved(
        pd.DataFrame(tiles.drop(columns="geometry")), [record], footprints=no_footprints
    )
    assert areas["tiles"].tolist() == [3, 1, 1]
    assert areas["area"].tolist() == [1, 2, 3]
    assert list(areas.columns) == ["area", "area_km2", "score", "tiles", "date", "geometry"]
    whole = shapely.union_all(tiles.geometry)
    assert shapely.union_all(areas.geometry).symmetric_difference(whole).area < 1e-4 * whole.area
    assert areas["area_km2"].sum() == pytest.approx(equal_area(whole), rel=1e-4)
    assert areas["area_km2"].iloc[0] == pytest.approx(3 * 0.64**2, rel=1e-2)
    assert areas["date"].dt.strftime("%Y-%m-%d").unique().tolist() == ["2023-05-14"]
    assert areas.is_valid.all()


GRIDS = {
    "regular": {},
    "south-up": {"transform": Affine(10, 0, 500_000, 0, 10, 5_400_000)},
    "rotated": {
        "transform": Affine.translation(5e5, 5.4e6) * Affine.rotation(33) * Affine.scale(9)
    },
    "degrees": {"crs": "EPSG:4326", "transform": Affine(2e-3, 0, 12, 0, -1e-3, 54)},
    "wide": {"transform": Affine(3000, 0, 200_000, 0, -3000, 7_800_000)},
    "across 180": {"crs": "EPSG:4326", "transform": Affine(1e-3, 0, 179.7, 0, -1e-3, -16)},
    "across 180, UTM": {
        "crs": "EPSG:32760",
        "transform": Affine(100, 0, 800_000, 0, -100, 8_200_000),
    },
    "pole": {"crs": "EPSG:3413", "transform": Affine(1000, 0, -320_000, 0, -1000, 320_000)},
    "geographic, not WGS 84": {"crs": "EPSG:4267", "transform": Affine(1e-3, 0, -97, 0, -1e-3, 40)},
}


@pytest.mark.parametrize("name", GRIDS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=6, deadline=None)
def test_areas_are_the_union_of_the_footprints_of_any_grid(name, seed):
    record = record_of(**GRIDS[name])
    everything = tiles_of(record)
    pick = np.random.default_rng(seed).random(len(everything)) < 0.5
    tiles = everything[pick].reset_index(drop=True)
    areas = mapped(tiles, [record])
    whole = shapely.union_all(shapely.make_valid(np.asarray(tiles.geometry.array)))
    found = shapely.union_all(areas.geometry)
    # an edge may stray by half a pixel, of which a tile has 64; around a pole by more
    allowed = 0.03 if name == "pole" else 0.01
    apart = square_km(np.array([found.symmetric_difference(whole)], dtype=object))
    assert apart[0] < allowed * equal_area(whole)
    assert areas["area_km2"].sum() == pytest.approx(equal_area(whole), rel=allowed)
    assert areas.is_valid.all()
    assert areas["tiles"].sum() == len(tiles)
    bounds = areas.total_bounds
    assert -180 <= bounds[0] <= bounds[2] <= 180
    assert areas["area_km2"].sum() == pytest.approx(square_km(np.array([found]))[0], rel=1e-9)


def test_an_area_across_180_degrees_is_one():
    record = record_of(**GRIDS["across 180"])
    tiles = tiles_of(record)
    areas = mapped(tiles, [record])
    assert len(areas) == 1
    assert areas.geometry.iloc[0].geom_type == "MultiPolygon"
    assert areas["tiles"].tolist() == [100]


@pytest.mark.parametrize("edges", ["shift", "pad", "drop"])
@pytest.mark.parametrize("stride", [16, 40, 64, 100])
def test_overlaps_strides_and_overhangs_count_each_ground_once(edges, stride):
    record = record_of(width=500, height=333, edges=edges, stride=stride)
    tiles = tiles_of(record)
    areas = mapped(tiles, [record])
    inside = shapely.union_all(tiles.geometry)
    if edges == "pad":  # these overhang
        inside = inside.intersection(scene_outline(record))
    assert areas["area_km2"].sum() == pytest.approx(equal_area(inside), rel=3e-4)
    assert areas["tiles"].sum() == len(tiles)
    assert len(areas) == len(shapely.get_parts(shapely.union_all(inside, grid_size=1e-9)))


def scene_outline(record):
    """Return the ground of a scene."""
    from geohash_rs.footprints.windows import footprints

    window = [[0, 0, record.width, record.height]]
    return footprints(Affine(*record.transform), window, crs=record.crs)[0]


def test_a_tile_of_an_overlapping_grid_claims_only_its_half_of_the_overlap():
    record = record_of(stride=32)
    tiles = tiles_of(record)
    one = tiles[(tiles["col"] == 320) & (tiles["row"] == 320)].reset_index(drop=True)
    areas = mapped(one, [record])
    assert areas["area_km2"].iloc[0] == pytest.approx(
        equal_area(one.geometry.iloc[0]) / 4, rel=1e-6
    )
    corner = tiles[(tiles["col"] == 0) & (tiles["row"] == 0)].reset_index(drop=True)
    assert mapped(corner, [record])["area_km2"].iloc[0] == pytest.approx(0.48**2, rel=1e-3)


def test_tiles_left_out_for_nodata_are_not_bridged():
    record = record_of(width=320, height=64)
    tiles = chosen(tiles_of(record), [(0, 0), (1, 0), (3, 0), (4, 0)])
    assert mapped(tiles, [record])["tiles"].tolist() == [2, 2]


def test_of_several_tile_sizes_the_smallest_that_was_asked_for_decides():
    record = record_of(larger_tiles=[[128, 128]])
    tiles = tiles_of(record)
    small = tiles[(tiles["width"] == 64) & (tiles["col"] == 0) & (tiles["row"] == 0)]
    large = tiles[(tiles["width"] == 128) & (tiles["col"] == 256)]
    both = pd.concat([small, large], ignore_index=True)
    with pytest.warns(GeoHashRSWarning, match="5 larger tiles .* left out, of 128 px; .*size=128"):
        assert mapped(both, [record])["tiles"].tolist() == [1]
    only = mapped(large.reset_index(drop=True), [record], tile_sizes={128})
    assert only["tiles"].tolist() == [5]
    with pytest.warns(GeoHashRSWarning, match="empty: all tiles that pass are of 128 px"):
        assert len(mapped(large.reset_index(drop=True), [record])) == 0


def test_resampled_tiles_are_placed_by_their_windows():
    record = record_of(resolution=25.0)
    tiles = tiles_of(record)
    assert set(tiles["width"]) == {160}
    areas = mapped(tiles, [record])
    assert areas["area_km2"].sum() == pytest.approx(6.4**2, rel=2e-3)


def test_outlines_are_counterclockwise_and_holes_clockwise():
    record = record_of()
    whole = mapped(ring(record), [record])
    assert [len(shape.interiors) for shape in whole.geometry] == [1, 0]
    halves = mapped(ring(record), [record], by=regions_of(by_columns(UTM, shift=-1600.0)))
    assert len(halves) == 3
    for shape in [*whole.geometry, *halves.geometry]:
        size, _ = Geod(ellps="WGS84").geometry_area_perimeter(shape)  # negative if clockwise
        assert size == pytest.approx(square_km(np.array([shape]))[0] * 1e6, rel=1e-5)


# --- several scenes ---


def east(width=640, **options):
    """Make a scene that begins where `record_of` ends."""
    place = Affine(10, 0, 500_000 + 10 * width, 0, -10, 5_400_000)
    return record_of("b.tif", transform=place, **options)


def together(*records, days=("2023-05-14", "2023-05-14")):
    """Lay the tiles of two scenes."""
    tables = [tiles_of(one, day=day) for one, day in zip(records, days, strict=True)]
    return pd.concat(tables, ignore_index=True)


@pytest.mark.parametrize("stride", [64, 48])
def test_scenes_side_by_side_are_joined_without_slivers(stride):
    records = [record_of(), east(stride=stride, height=600)]
    areas = mapped(together(*records), records)
    assert len(areas) == 1
    shape = areas.geometry.iloc[0]
    assert shape.geom_type == "Polygon"
    assert len(shape.interiors) == 0
    whole = sum(equal_area(scene_outline(record)) for record in records)
    assert areas["area_km2"].iloc[0] == pytest.approx(whole, rel=1e-5)
    assert areas["tiles"].iloc[0] == len(together(*records))


def test_scenes_of_unlike_pixels_in_degrees_are_joined_without_slivers():
    left = record_of(crs="EPSG:4326", transform=Affine(1 / 3000, 0, 12.1, 0, -1 / 3000, 54.3))
    edge = Affine(*left.transform) @ (640, 0)
    right = record_of(
        "b.tif", crs="EPSG:4326", transform=Affine(1 / 7000, 0, edge[0], 0, -1 / 7000, 54.29)
    )
    areas = mapped(together(left, right), [left, right])
    assert len(areas) == 1
    assert len(areas.geometry.iloc[0].interiors) == 0


def test_ground_in_two_scenes_of_a_day_counts_once():
    other = record_of("b.tif", transform=Affine(10, 0, 503_215, 0, -10, 5_400_037))
    records = [record_of(), other]
    areas = mapped(together(*records), records)
    whole = shapely.union_all([scene_outline(record) for record in records])
    assert areas["area_km2"].tolist() == [pytest.approx(equal_area(whole), rel=1e-5)]


def test_ground_in_two_zones_counts_once():
    zone = Transformer.from_crs(UTM, "EPSG:32632", always_xy=True)
    x, y = zone.transform(502_000, 5_399_000)
    other = record_of("b.tif", crs="EPSG:32632", transform=Affine(10, 0, x, 0, -10, y))
    records = [record_of(), other]
    areas = mapped(together(*records), records)
    whole = shapely.union_all([scene_outline(record) for record in records])
    assert areas["area_km2"].tolist() == [pytest.approx(equal_area(whole), rel=1e-4)]


@pytest.mark.parametrize("shift", [-360, 0])
def test_scenes_that_meet_or_overlap_at_180_degrees_are_one_area(shift):
    left = record_of(crs="EPSG:4326", transform=Affine(1e-3, 0, 179.36, 0, -1e-3, -16))
    place = Affine(1e-3, 0, 180.0 + shift, 0, -1e-3, -16)
    right = record_of("b.tif", crs="EPSG:4326", transform=place)
    across = record_of("c.tif", crs="EPSG:4326", transform=Affine(1e-3, 0, 179.7, 0, -1e-3, -16.1))
    records = [left, right]
    areas = mapped(together(*records), records)
    assert len(areas) == 1
    whole = shapely.union_all([scene_outline(record) for record in records])
    assert areas["area_km2"].tolist() == [pytest.approx(equal_area(whole), rel=1e-6)]
    records = [right, across]
    areas = mapped(together(*records), records)
    whole = shapely.union_all([scene_outline(record) for record in records])
    assert areas["area_km2"].tolist() == [pytest.approx(equal_area(whole), rel=1e-6)]


def test_dates_are_apart_or_merged():
    spring, autumn = record_of(), record_of("b.tif")
    records, days = [spring, autumn], ("2023-05-14T23:59Z", "2023-09-18T00:00Z")
    tiles = together(*records, days=days)
    at = (tiles["col"] // 64).isin([0, 1]) & (tiles["row"] == 0)
    tiles = tiles[at & ~((tiles["scene"] == "b.tif") & (tiles["col"] == 0))]
    tiles = tiles.reset_index(drop=True)
    apart = mapped(tiles, records)
    assert apart["date"].dt.strftime("%m-%d").tolist() == ["05-14", "09-18"]
    assert apart["tiles"].tolist() == [2, 1]
    assert apart.totals["area_km2"].tolist() == pytest.approx([2 * 0.4096, 0.4096], rel=1e-2)
    merged = mapped(tiles, records, dates="merged")
    assert "date" not in merged.columns
    assert merged["tiles"].tolist() == [3]
    assert merged["area_km2"].iloc[0] == pytest.approx(apart["area_km2"].iloc[0], rel=1e-9)
    assert merged.totals.to_dict("records") == [
        {"area_km2": merged["area_km2"].iloc[0], "areas": 1, "tiles": 3}
    ]


def test_tiles_without_a_date_are_a_group_of_their_own():
    records = [record_of(), east()]
    tiles = together(*records, days=("2023-05-14", None))
    areas = mapped(tiles, records)
    assert areas["date"].isna().tolist() == [False, True]
    assert areas.totals["areas"].tolist() == [1, 1]
    assert areas.totals["date"].isna().tolist() == [False, True]


# --- tiles without a grid ---


def test_codes_made_elsewhere_are_joined_by_their_footprints():
    record = record_of()
    tiles = chosen(tiles_of(record), [(0, 0), (1, 0), (5, 5)])
    nowhere = tiles.iloc[[0]].set_geometry([None], crs="EPSG:4326")
    tiles = pd.concat([tiles, nowhere], ignore_index=True)
    tiles = tiles.astype(dict.fromkeys(("col", "row", "width", "height"), "Int32"))
    tiles.loc[:, ["col", "row", "width", "height"]] = pd.NA
    areas = mapped(tiles, [])
    assert areas["tiles"].tolist() == [2, 1]
    assert areas["area_km2"].tolist() == pytest.approx([2 * 0.4096, 0.4096], rel=1e-2)
    wide = shapely.buffer(np.asarray(tiles.geometry.array), 0.001)  # overlapping chips
    loose = tiles.set_geometry(wide, crs="EPSG:4326")
    assert mapped(loose, [])["tiles"].tolist() == [2, 1]


def test_a_window_that_its_grid_cannot_explain_counts_with_its_footprint():
    record = record_of()
    tiles = tiles_of(record).iloc[[0]].assign(col=3)
    areas = mapped(tiles, [record])
    assert areas["area_km2"].tolist() == pytest.approx([0.4096], rel=1e-2)


def test_a_scene_that_reaches_off_the_earth_is_drawn_by_footprints():
    disc = "+proj=geos +h=35785831 +lon_0=0 +sweep=y"
    record = record_of(crs=disc, transform=Affine(17_000, 0, -5.5e6, 0, -17_000, 5.5e6))
    tiles = tiles_of_disc(record)
    areas = mapped(tiles, [record])
    whole = shapely.union_all(tiles.geometry)
    assert areas["area_km2"].sum() == pytest.approx(equal_area(whole), rel=1e-6)


def tiles_of_disc(record):
    """Lay the tiles in the middle of a disc; those at its corners are off the Earth."""
    from geohash_rs.footprints.windows import footprints

    windows = np.array([[256, 256, 64, 64], [320, 256, 64, 64]])
    frame = pd.DataFrame(windows, columns=["col", "row", "width", "height"]).assign(
        scene=record.scene, datetime=pd.Timestamp("2023-05-14", tz="UTC"), score=0.5
    )
    shapes = footprints(Affine(*record.transform), windows, crs=record.crs)
    return gpd.GeoDataFrame(frame, geometry=shapes, crs="EPSG:4326")


# --- gaps and specks ---


def ring(record):
    """Choose a ring of eight tiles, and a speck."""
    around = [(c, r) for c in (1, 2, 3) for r in (1, 2, 3) if (c, r) != (2, 2)]
    return chosen(tiles_of(record), [*around, (7, 7)])


@pytest.mark.parametrize(
    ("least", "tiles", "holes"),
    [(0.0, [8, 1], [1, 0]), (0.40, [8, 1], [1, 0]), (0.42, [8], [0]), (3.4, [], [])],
)
def test_specks_are_left_out_and_gaps_filled_below_a_size(least, tiles, holes):
    record = record_of()
    if not tiles:
        with pytest.warns(GeoHashRSWarning, match="the map is empty: all areas are smaller"):
            areas = mapped(ring(record), [record], min_area_km2=least)
    else:
        areas = mapped(ring(record), [record], min_area_km2=least)
    assert areas["tiles"].tolist() == tiles
    assert [len(shape.interiors) for shape in areas.geometry] == holes
    sizes = [9 if not hole else 8 for hole in holes[:1]] + [1] * (len(tiles) - 1)
    assert areas["area_km2"].tolist() == pytest.approx([0.4096 * n for n in sizes], rel=1e-2)


def test_a_gap_across_180_degrees_is_filled_as_well():
    record = record_of(crs="EPSG:4326", transform=Affine(1e-3, 0, 179.84, 0, -1e-3, -16))
    areas = mapped(ring(record), [record])
    filled = mapped(ring(record), [record], min_area_km2=60)
    assert areas["tiles"].tolist() == [8, 1]
    assert filled["tiles"].tolist() == [8]
    assert filled["area_km2"].iloc[0] == pytest.approx(areas["area_km2"].iloc[0] * 9 / 8, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dates": "both"}, "dates is 'both'; choose apart or merged"),
        ({"min_area_km2": -1}, "min_area_km2 is -1; it must be 0 or more"),
        ({"min_area_km2": float("nan")}, "min_area_km2 is nan; it must be 0 or more"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    record = record_of()
    with pytest.raises(QueryError, match=message):
        mapped(tiles_of(record), [record], **options)


# --- scores and promises ---


def test_score_is_the_mean_and_precision_that_of_the_least_certain_tile():
    record = record_of()
    tiles = chosen(tiles_of(record), [(0, 0), (1, 0), (5, 5)])
    tiles["score"] = [0.9, 0.5, 0.6]
    tiles["precision"] = [0.95, 0.8, np.nan]
    areas = mapped(tiles, [record])
    assert areas["score"].tolist() == pytest.approx([0.7, 0.6])
    assert areas["precision"].tolist() == pytest.approx([0.8, np.nan], nan_ok=True)


# --- regions ---


def regions(*shapes, crs="EPSG:4326", names=None):
    """Make a layer of regions."""
    table = {"name": names or [f"r{n}" for n in range(len(shapes))]}
    return gpd.GeoDataFrame(table, geometry=list(shapes), crs=crs)


def test_regions_cut_areas_and_list_what_holds_none():
    record = record_of()
    tiles = tiles_of(record)
    west, south, right, north = scene_outline(record).bounds
    middle = (west + right) / 2
    layer = regions(
        shapely.box(west - 1, south - 1, middle, north + 1),
        shapely.box(middle, south - 1, right + 1, north + 1),
        shapely.box(0, 0, 1, 1),
        shapely.box(west - 1, south - 1, right + 1, north + 1),  # overlaps both
    )
    areas = mapped(tiles, [record], by=regions_of(layer, column="name"))
    assert areas["region"].tolist() == ["r0", "r1", "r3"]
    whole = equal_area(scene_outline(record))
    totals = areas.totals
    assert totals["region"].tolist() == ["r0", "r1", "r2", "r3"]
    assert totals["areas"].tolist() == [1, 1, 0, 1]
    assert totals["area_km2"].tolist()[2:] == [0, pytest.approx(whole, rel=1e-6)]
    assert totals["area_km2"].iloc[:2].sum() == pytest.approx(whole, rel=1e-6)
    assert totals["tiles"].tolist() == [50, 50, 0, 100]
    assert totals["region_km2"].tolist() == pytest.approx(
        [equal_area(shape) for shape in layer.geometry], rel=1e-6
    )
    assert (totals["share"] * totals["region_km2"]).tolist() == pytest.approx(
        totals["area_km2"].tolist()
    )
    assert totals.crs == "EPSG:4326"
    assert areas[areas["region"] == "r3"].totals["area_km2"].tolist() == [
        0, 0, 0, pytest.approx(whole, rel=1e-6)
    ]  # fmt: skip


def test_regions_of_each_date():
    records = [record_of(), record_of("b.tif")]
    tiles = together(*records, days=("2023-05-14", "2023-09-18"))
    tiles = tiles[(tiles["scene"] == "a.tif") | (tiles["col"] < 128)].reset_index(drop=True)
    west, south, right, north = scene_outline(records[0]).bounds
    layer = regions(shapely.box(west - 1, south - 1, right + 1, north + 1), shapely.box(0, 0, 1, 1))
    totals = mapped(tiles, records, by=regions_of(layer, column="name")).totals
    assert totals["region"].tolist() == ["r0", "r0", "r1", "r1"]
    assert totals["date"].dt.month.tolist() == [5, 9, 5, 9]
    assert totals["tiles"].tolist() == [100, 20, 0, 0]


def test_a_part_without_the_middle_of_a_tile_has_the_score_of_its_area():
    record = record_of()
    tiles = chosen(tiles_of(record), [(0, 0)]).assign(score=0.77)
    west, south, right, north = tiles.total_bounds
    sliver = regions(shapely.box(west - 1, south - 1, west + (right - west) / 10, north + 1))
    with pytest.warns(GeoHashRSWarning, match="0.3.* of 0.4.* km2 lie outside all regions"):
        areas = mapped(tiles, [record], by=regions_of(sliver))
    assert areas["tiles"].tolist() == [0]
    assert areas["score"].tolist() == pytest.approx([0.77])
    assert areas["region"].tolist() == ["1"]


def by_columns(crs, *, shift=0.0, names=("west", "east")):
    """Make two regions that meet at a column of `record_of`'s tiles, drawn in a CRS by corners."""
    middle = 503_200 + shift
    boxes = [(490_000, 5_390_000, middle, 5_410_000), (middle, 5_390_000, 510_000, 5_410_000)]
    layer = regions(*(shapely.box(*box) for box in boxes), crs=UTM, names=list(names))
    return layer.to_crs(crs)


def test_a_border_along_the_edge_of_tiles_makes_no_slivers():
    record = record_of()
    tiles = chosen(tiles_of(record), [(0, 0), (4, 0), (5, 2), (4, 4), (5, 4), (9, 9)])
    whole = mapped(tiles, [record])
    for shift in (0.0, 3.0, -3.0):  # m, of tiles of 640 m
        areas = mapped(
            tiles,
            [record],
            by=regions_of(by_columns("EPSG:4326", shift=shift), column="name"),
        )
        assert areas["region"].tolist() == ["west"] * 3 + ["east"] * 3
        assert areas["tiles"].tolist() == [1] * 6
        assert areas["area_km2"].min() > 0.4
        assert areas["area_km2"].sum() == pytest.approx(whole["area_km2"].sum(), rel=1e-9)
        assert areas.is_valid.all()


def test_ground_of_slivers_is_said_if_it_is_more_than_rounding():
    record = record_of()
    tiles = chosen(tiles_of(record), [(4, 0), (4, 1), (4, 2)])
    layer = by_columns("EPSG:4326", shift=-4.5)
    with pytest.warns(GeoHashRSWarning, match="0.008.* of 1.2.* km2 are slivers"):
        areas = mapped(tiles, [record], by=regions_of(layer, column="name"))
    assert areas["region"].tolist() == ["west"]
    assert areas["tiles"].tolist() == [3]


def test_narrow_regions_through_areas_are_no_slivers():
    record = record_of()
    river = regions(shapely.box(502_000, 5_390_000, 502_004, 5_410_000), crs=UTM, names=["river"])
    others = by_columns(UTM).iloc[[1]]
    layer = pd.concat([river, others], ignore_index=True)
    with pytest.warns(GeoHashRSWarning, match="lie outside all regions") as said:
        areas = mapped(tiles_of(record), [record], by=regions_of(layer, column="name"))
    assert len(said) == 1
    assert areas["region"].tolist() == ["river", "east"]
    assert areas["area_km2"].iloc[0] == pytest.approx(6400 * 4 / 1e6, rel=1e-2)


def test_a_sliver_of_a_region_that_another_overlaps_counts_next_to_it_as_well():
    record = record_of()
    tiles = chosen(tiles_of(record), [(4, 0), (4, 1)])
    country = regions(shapely.box(490_000, 5_390_000, 510_000, 5_410_000), crs=UTM, names=["all"])
    layer = pd.concat([by_columns(UTM, shift=-0.5), country], ignore_index=True)
    areas = mapped(tiles, [record], by=regions_of(layer, column="name"))
    whole = mapped(tiles, [record])["area_km2"].sum()
    assert areas["region"].tolist() == ["west", "all"]
    assert areas["area_km2"].tolist() == pytest.approx([whole, whole], rel=1e-4)


def test_a_sliver_next_to_no_region_is_outside_of_all():
    record = record_of()
    tiles = chosen(tiles_of(record), [(4, 0), (6, 0)])
    layer = by_columns("EPSG:4326", shift=-0.5).iloc[[1]]
    with pytest.warns(GeoHashRSWarning, match="0.40.* of 0.81.* km2 lie outside all regions"):
        areas = mapped(tiles, [record], by=regions_of(layer, column="name"))
    assert areas["tiles"].tolist() == [1]
    with pytest.warns(GeoHashRSWarning, match="the map is empty: all areas lie outside"):
        mapped(tiles.iloc[[0]].reset_index(drop=True), [record], by=regions_of(layer))


def test_names_are_joined_or_numbered_and_any_crs_is_read(tmp_path):
    record = record_of()
    box = shapely.box(500_000, 5_393_600, 503_200, 5_400_000)
    other = shapely.box(503_200, 5_393_600, 506_400, 5_400_000)
    layer = regions(box, other, shapely.box(0, 0, 1, 1), crs=UTM, names=["x", "x", None])
    layer.to_file(tmp_path / "by.gpkg", layer="districts")
    found = regions_of(tmp_path / "by.gpkg", column="name", layer="districts")
    assert found.names.tolist() == ["x", "3"]
    areas = mapped(tiles_of(record), [record], by=found)
    assert areas["region"].tolist() == ["x"]
    assert areas.totals["share"].tolist() == pytest.approx([1, 0], abs=1e-4)


def test_invalid_regions_are_repaired_and_missing_ones_named():
    bow = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    with pytest.warns(GeoHashRSWarning) as said:
        found = regions_of(regions(bow, None, names=["bow", "gone"]), column="name")
    texts = " ".join(str(one.message) for one in said)
    assert "1 of 2 regions of by have no geometry and are left out, first 'gone'" in texts
    assert "invalid" in texts
    assert found.names.tolist() == ["bow"]
    assert found.km2[0] == pytest.approx(equal_area(shapely.make_valid(bow)), rel=1e-6)


@pytest.mark.parametrize(
    ("layer", "column", "message"),
    [
        (
            regions(shapely.box(0, 0, 1, 1)),
            "district",
            "no column 'district'; its columns are name",
        ),
        (regions(shapely.Point(0, 0)), None, "holds Point, but regions are polygons"),
        (regions(None), None, "holds no geometry, but regions are polygons"),
        (regions(), None, "holds no geometry; pass a file of polygons"),
        (
            regions(shapely.box(4e5, 5.39e6, 5e5, 5.4e6), crs=None),
            None,
            "by has no CRS, so its polygons cannot be placed; set one",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:1 of 1 regions")
def test_what_is_no_layer_of_regions_is_refused(layer, column, message):
    with pytest.raises(RegionError, match=message):
        regions_of(layer, column=column)


# --- nothing, and tables ---


@pytest.mark.parametrize("by", [None, regions_of(regions(shapely.box(0, 0, 1, 1)))])
@pytest.mark.parametrize("dates", ["apart", "merged"])
def test_an_empty_map_has_its_columns_and_totals(by, dates):
    record = record_of()
    tiles = tiles_of(record).iloc[:0].assign(precision=np.array([], float))
    with pytest.warns(GeoHashRSWarning, match="the map is empty: no tile passes"):
        areas = mapped(tiles, [record], by=by, dates=dates)
    expected = ["area", "area_km2", "score", "tiles", "date", "precision", "region", "geometry"]
    expected = [n for n in expected if (n != "date" or dates == "apart") and (n != "region" or by)]
    assert list(areas.columns) == expected
    assert areas.crs == "EPSG:4326"
    totals = areas.totals
    assert totals["area_km2"].tolist() == ([] if dates == "apart" else [0])
    if dates == "merged" and by is not None:
        assert totals["region"].tolist() == ["1"]


def test_areas_stay_areas_and_totals_follow_the_rows():
    record = record_of()
    areas = mapped(chosen(tiles_of(record), [(0, 0), (1, 0), (5, 5)]), [record])
    large = areas[areas["tiles"] > 1]
    assert type(large) is type(areas)
    assert large.totals["areas"].tolist() == [1]
    assert "3 tiles" in areas._repr_html_()
    assert isinstance(areas["score"], pd.Series)
    assert not hasattr(pd.DataFrame(areas.drop(columns="geometry")), "totals")
