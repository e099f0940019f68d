"""Classes of tiles from polygons equal shares that are counted by hand or on a fine raster."""

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from geohash_rs.errors import GeoHashRSWarning, LabelError
from geohash_rs.footprints.windows import footprints
from geohash_rs.hashing.data.polygons import label_tiles, read_labels

CRS = "EPSG:32633"


def layer(*rows: tuple[str, shapely.Polygon], crs: str = CRS) -> gpd.GeoDataFrame:
    names, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame({"label": list(names)}, geometry=list(shapes), crs=crs)


def tile(x: float, y: float, size: float = 100) -> np.ndarray:
    """Make a tile of size x size metres with its lower left corner at (x, y)."""
    transform = Affine(size / 10, 0, x, 0, -size / 10, y + size)
    return footprints(transform, [(0, 0, 10, 10)], crs=CRS)


def box(x: float, y: float, width: float, height: float) -> shapely.Polygon:
    return shapely.box(5e5 + x, 54e5 + y, 5e5 + x + width, 54e5 + y + height)


HERE = (5e5, 54e5)


def test_a_tile_gets_the_class_that_covers_most_of_it() -> None:
    found = label_tiles(
        tile(*HERE),
        layer(("field", box(0, 0, 30, 100)), ("wood", box(30, 0, 70, 100))),
    )
    assert found.tolist() == ["wood"]


def test_parts_of_one_class_count_together_and_their_overlap_once() -> None:
    rows = [("field", box(0, 0, 30, 100)), ("field", box(70, 0, 30, 100))]
    rows += [("wood", box(30, 0, 40, 100)), ("wood", box(30, 0, 40, 100))]
    assert label_tiles(tile(*HERE), layer(*rows)).tolist() == ["field"]


def test_a_tile_has_no_class_below_the_limit_but_has_one_at_it() -> None:
    covered = layer(("field", box(0, 0, 40, 100)))
    assert label_tiles(tile(*HERE), covered, min_share=0.5).tolist() == [None]
    assert label_tiles(tile(*HERE), covered, min_share=0.4).tolist() == ["field"]
    assert label_tiles(tile(*HERE), covered, min_share=0.41).tolist() == [None]
    assert label_tiles(tile(5e5 + 5000, 54e5), covered).tolist() == [None]


def test_a_polygon_that_only_touches_a_tile_does_not_label_it() -> None:
    assert label_tiles(tile(*HERE), layer(("x", box(-100, 0, 100, 100)))).tolist() == [None]


def test_polygons_of_any_crs_cover_the_same_tiles() -> None:
    rows = [("field", box(0, 0, 45, 100)), ("wood", box(45, 0, 55, 100))]
    for crs in ("EPSG:4326", "EPSG:3857", "EPSG:32632", "EPSG:3035"):
        there = layer(*rows).to_crs(crs)
        assert label_tiles(tile(*HERE), there).tolist() == ["wood"], crs


def test_tiles_across_the_antimeridian_are_covered_by_polygons_on_both_sides() -> None:
    transform = Affine(0.01, 0, 179.95, 0, -0.01, 10.05)
    across = footprints(transform, [(0, 0, 10, 10)], crs="EPSG:4326")
    west, east = shapely.box(179, 9, 180, 11), shapely.box(-180, 9, -179, 11)
    both = layer(("sea", west), ("sea", east), crs="EPSG:4326")
    assert label_tiles(across, both, min_share=0.99).tolist() == ["sea"]
    assert label_tiles(across, both.iloc[:1], min_share=0.6).tolist() == [None]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.integers(0, 9),
            st.integers(0, 9),
            st.integers(1, 8),
            st.integers(1, 8),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([0.1, 0.35, 0.65]),
)
def test_labels_equal_a_count_of_cells(
    boxes: list[tuple[str, int, int, int, int]], min_share: float
) -> None:
    cells = {name: np.zeros((20, 20), bool) for name in "abc"}
    for name, x, y, width, height in boxes:
        cells[name][x : x + width, y : y + height] = True
    shares = {name: cells[name][:10, :10].mean() for name in "abc"}
    best = max("abc", key=lambda name: (round(shares[name], 9), -ord(name)))
    rows = [(name, box(10 * x, 10 * y, 10 * w, 10 * h)) for name, x, y, w, h in boxes]
    found = label_tiles(tile(*HERE), layer(*rows), min_share=min_share)
    ties = sum(abs(share - shares[best]) < 1e-9 for share in shares.values()) > 1
    if shares[best] < min_share - 1e-3:
        assert found.tolist() == [None]
    elif not ties:
        assert found.tolist() == [best]


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "parquet"])
def test_files_are_read_in_every_format(tmp_path: Path, ending: str) -> None:
    made = gpd.GeoDataFrame({"kind": [3, 7]}, geometry=[box(0, 0, 9, 9), box(9, 0, 9, 9)], crs=CRS)
    path = tmp_path / f"labels.{ending}"
    made = made.to_crs("EPSG:4326") if ending == "geojson" else made
    made.to_parquet(path) if ending == "parquet" else made.to_file(path)
    read = read_labels(path, column="kind")
    assert read["label"].tolist() == ["3", "7"]
    assert read.crs == ("EPSG:4326" if ending == "geojson" else CRS)


def write_points(path: Path) -> None:
    gpd.GeoDataFrame({"class": ["a"]}, geometry=[shapely.Point(1, 2)], crs=CRS).to_file(path)


def write_gaps(path: Path) -> None:
    shapes = [box(0, 0, 9, 9), box(9, 0, 9, 9)]
    gpd.GeoDataFrame({"class": ["a", None]}, geometry=shapes, crs=CRS).to_file(path)


def write_without_column(path: Path) -> None:
    gpd.GeoDataFrame({"kind": ["a"]}, geometry=[box(0, 0, 9, 9)], crs=CRS).to_file(path)


def write_without_crs(path: Path) -> None:
    gpd.GeoDataFrame({"class": ["a"]}, geometry=[box(0, 0, 9, 9)]).to_parquet(path)


def write_text(path: Path) -> None:
    path.write_text("no polygons")


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.gpkg", write_points, "holds Point; labels must be polygons"),
        ("a.gpkg", write_gaps, "1 of 2 polygons of .* have no class; fill the column"),
        ("a.gpkg", write_without_column, "has no column 'class'; its columns are kind"),
        ("a.parquet", write_without_crs, "has no CRS"),
        ("a.gpkg", write_text, "cannot be read as labels"),
        ("missing.gpkg", lambda _: None, "cannot be read as labels"),
    ],
)
def test_unusable_labels_are_refused_with_the_reason(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(LabelError, match=message):
        read_labels(tmp_path / name, column="class")


def test_labels_are_read_like_regions(tmp_path: Path) -> None:
    path = tmp_path / "two.gpkg"
    bow = shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])
    gpd.GeoDataFrame({"class": ["a"]}, geometry=[bow], crs=CRS).to_file(path, layer="bow")
    ring = [(179, -18), (-179, -18), (-179, -16), (179, -16)]
    fiji = gpd.GeoDataFrame({"class": ["b"]}, geometry=[shapely.Polygon(ring)], crs="EPSG:4326")
    fiji.to_file(path, layer="fiji")
    fiji.to_file(tmp_path / "fiji.geojson")
    with pytest.raises(LabelError, match=r"2 layers \(bow, fiji\); choose one with layer="):
        read_labels(path, column="class")
    with pytest.warns(GeoHashRSWarning, match="1 of 1 geometries of .* were repaired"):
        assert read_labels(path, column="class", layer="bow").geometry.is_valid.all()
    with pytest.warns(GeoHashRSWarning, match="taken to cross 180 degrees"):
        labels = read_labels(tmp_path / "fiji.geojson", column="class")
    tiles = np.array([shapely.box(-179.9, -17, -179.8, -16.9), shapely.box(0, -17, 0.1, -16.9)])
    assert label_tiles(tiles, labels).tolist() == ["b", None]


@pytest.mark.parametrize("share", [0, -1, 1.1, float("nan")])
def test_an_invalid_share_is_refused(share: float) -> None:
    with pytest.raises(LabelError, match="min_share is"):
        label_tiles(tile(*HERE), layer(("a", box(0, 0, 9, 9))), min_share=share)
