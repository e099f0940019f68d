"""Vectors of Zarr stores: TESSERA's layout, other layouts of pixels and chips, and bad stores."""

import itertools

import numpy as np
import pytest
import shapely
import zarr
from affine import Affine
from pyproj import Transformer

from geohash_rs import Archive
from geohash_rs.embeddings.zarr_source import ZarrSource, zarr_sources
from geohash_rs.errors import SceneError, TileSizeError
from geohash_rs.export import write_codes
from tests.store.helpers import make_grid

PLACE = {
    "proj:code": "EPSG:32632",
    "spatial:dimensions": ["y", "x"],
    "spatial:transform": [10.0, 0.0, 500_000.0, 0.0, -10.0, 5_800_000.0],
}
PIXELS = {
    "zarr_conventions": [{"name": "geoemb:", "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c"}],
    "geoemb:type": "pixel",
    "geoemb:dimensions": 8,
    "geoemb:model": "https://geotessera.org/model/1.1",
    "geoemb:source_data": ["https://example.org/sentinel-2"],
    "geoemb:data_type": "int8",
}
SCALED = {
    "method": "per_pixel_scale",
    "original_dtype": "float32",
    "quantized_dtype": "int8",
    "scale": {"type": "array", "array_name": "scales", "nodata": "+inf"},
}


def write_tessera(folder, *, years=(2023, 2024), height=50, width=70, change=None):
    """Write a store as TESSERA publishes them: groups by zone, a scale for each pixel.

    Returns numbers, shape (years, 8, height, width), and scales, shape (years, height, width).
    """
    rng = np.random.default_rng(0)
    numbers = rng.integers(-127, 128, (len(years), 8, height, width)).astype(np.int8)
    scales = rng.uniform(0.001, 0.1, (len(years), height, width)).astype(np.float32)
    scales[:, :20, :20] = np.nan  # water
    scales[:, 20:30, :] = np.inf  # not computed
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    root.attrs.update(PIXELS | {"geoemb:quantization": SCALED})
    for zone in ("utm32", "utm33"):
        group = root.create_group(zone)
        group.attrs.update(PLACE | {"spatial:shape": [height, width]})
        array = group.create_array(
            "embeddings",
            shape=numbers.shape,
            chunks=(1, 8, 16, 16),
            shards=(1, 8, 64, 96),
            dtype=np.int8,
            dimension_names=["time", "band", "y", "x"],
        )
        array[...] = numbers
        array = group.create_array(
            "scales",
            shape=scales.shape,
            chunks=(1, 16, 16),
            dtype=np.float32,
            fill_value=np.inf,
            dimension_names=["time", "y", "x"],
        )
        array[...] = scales
        group.create_array("time", data=np.array(years, np.int32), dimension_names=["time"])
    if change is not None:
        change(zarr.open_group(folder, mode="r+"))
    return numbers, scales


def all_of(source, start=0):
    batches = list(source.batches(start))
    vectors = np.concatenate([batch.vectors for batch in batches])
    rows = [row for batch in batches for row in batch.tiles.itertuples()]
    return batches, vectors, rows


def test_a_store_of_tessera_has_a_source_for_each_zone_and_year(tmp_path):
    write_tessera(tmp_path / "t.zarr")
    sources = zarr_sources(tmp_path / "t.zarr", tile_size=8)
    assert [source.key for source in sources] == [
        f"{(tmp_path / 't.zarr').as_posix()}/{zone}/{year}-01-01"
        for zone, year in itertools.product(("utm32", "utm33"), (2023, 2024))
    ]
    about = sources[1].embedding
    assert (about.model, about.version, about.dimensions) == ("tessera", "1.1", 8)
    record = sources[1].record
    assert (record.width, record.height, record.crs) == (70, 50, "EPSG:32632")
    assert record.datetime.isoformat() == "2024-01-01T00:00:00+00:00"
    assert record.datetime_end.isoformat() == "2024-12-31T23:59:59.999999+00:00"


def test_the_vector_of_a_tile_is_the_mean_of_its_decoded_pixels_at_length_one(tmp_path):
    numbers, scales = write_tessera(tmp_path / "t.zarr")
    source = zarr_sources(tmp_path / "t.zarr", tile_size=8)[1]
    batches, vectors, rows = all_of(source)
    expected = {}
    left_out = 0
    for row, col in itertools.product(range(0, 50, 8), range(0, 70, 8)):
        pixels = [
            numbers[1, :, y, x].astype(np.float32) * scales[1, y, x]
            for y in range(row, min(row + 8, 50))
            for x in range(col, min(col + 8, 70))
            if np.isfinite(scales[1, y, x])
        ]
        area = (min(row + 8, 50) - row) * (min(col + 8, 70) - col)
        if len(pixels) < area / 2:
            left_out += 1
            continue
        mean = np.mean(np.array(pixels, np.float64), axis=0)
        expected[col, row] = mean / np.linalg.norm(mean)
    assert {(row.col, row.row) for row in rows} == set(expected)
    np.testing.assert_allclose(
        vectors, [expected[row.col, row.row] for row in rows], rtol=1e-5, atol=1e-6
    )
    assert sum(batch.num_left_out for batch in batches) == left_out > 0
    assert batches[0].left_out[0].first == "the tile at column 0, row 0 (8 x 8 px)"
    assert source.num_rows == len(rows) + left_out


def test_pixels_are_decoded_bit_for_bit(tmp_path):
    numbers, scales = write_tessera(tmp_path / "t.zarr")
    group = zarr_sources(tmp_path / "t.zarr")[0].group
    vectors, valid = group.read(0, slice(5, 45), slice(3, 60))
    part = np.isfinite(scales[0, 5:45, 3:60])
    np.testing.assert_array_equal(valid, part)
    numbers, scales = numbers[0, :, 5:45, 3:60], scales[0, 5:45, 3:60]
    formula = numbers[:, part].astype(np.float32) * scales[part]
    assert vectors[:, part].tobytes() == formula.tobytes()


def test_footprints_and_dates_are_those_of_the_grid(tmp_path):
    write_tessera(tmp_path / "t.zarr")
    _, _, rows = all_of(zarr_sources(tmp_path / "t.zarr", tile_size=8)[0])
    turn = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True).transform
    for row in rows:
        left, top = 500_000 + 10 * row.col, 5_800_000 - 10 * row.row
        box = shapely.box(left, top - 10 * row.height, left + 10 * row.width, top)
        assert (
            shapely.transform(box, turn, interleaved=False).equals_exact(
                row.geometry.normalize(), 1e-9
            )
            or shapely.hausdorff_distance(
                shapely.transform(box, turn, interleaved=False), row.geometry
            )
            < 1e-9
        )
        assert str(row.datetime) == "2023-01-01 00:00:00"
        assert str(row.datetime_end) == "2023-12-31 23:59:59.999999"
    assert {row.width for row in rows} == {8, 6}  # the last ones are smaller


def test_reading_goes_on_from_any_position_and_gives_the_same(tmp_path, monkeypatch):
    write_tessera(tmp_path / "t.zarr")
    source = zarr_sources(tmp_path / "t.zarr", tile_size=8)[0]
    _, whole, rows = all_of(source)
    monkeypatch.setattr("geohash_rs.embeddings.zarr_source.BLOCK", 8 * 24 * 24)
    batches, parts, places = all_of(source)
    assert len(batches) == 9
    assert [batch.stop for batch in batches] == list(range(1, 10))
    by_place = {(row.col, row.row): one for row, one in zip(rows, whole, strict=True)}
    again = {(row.col, row.row): one for row, one in zip(places, parts, strict=True)}
    assert by_place.keys() == again.keys()
    assert all((by_place[place] == again[place]).all() for place in again)
    _, rest, _ = all_of(source, 4)
    np.testing.assert_array_equal(rest, parts[-len(rest) :])
    assert 0 < len(rest) < len(parts)


def test_a_sample_comes_from_all_over_the_store(tmp_path, monkeypatch):
    write_tessera(tmp_path / "t.zarr")
    monkeypatch.setattr("geohash_rs.embeddings.zarr_source.BLOCK", 8 * 16 * 16)
    source = zarr_sources(tmp_path / "t.zarr", tile_size=4)[0]
    _, vectors, rows = all_of(source)
    sample = source.sample(60)
    assert sample.shape == (60, 8)
    known = {one.tobytes(): row for one, row in zip(vectors, rows, strict=True)}
    places = [known[one.tobytes()] for one in sample]
    assert {(row.col // 35, row.row // 30) for row in places} == {(0, 0), (1, 0), (0, 1), (1, 1)}
    assert len(source.sample(100_000)) == len(vectors)


def test_a_change_to_one_year_changes_the_record_of_that_year_only(tmp_path):
    write_tessera(tmp_path / "t.zarr")
    before = [source.record for source in zarr_sources(tmp_path / "t.zarr")]
    again = [source.record for source in zarr_sources(tmp_path / "t.zarr")]
    assert before == again
    group = zarr.open_group(tmp_path / "t.zarr", mode="r+")
    group["utm32/embeddings"][1, :, 40:, 40:] = 5
    after = [source.record for source in zarr_sources(tmp_path / "t.zarr")]
    assert [one == other for one, other in zip(before, after, strict=True)] == [
        True,
        False,
        True,
        True,
    ]


def write_floats(folder, vectors, about=(), place=(), names=("y", "x", "band")):
    group = zarr.open_group(folder, mode="w", zarr_format=3)
    group.attrs.update(PIXELS | PLACE | dict(about) | dict(place))
    group.create_array("embeddings", data=vectors, dimension_names=list(names))
    return group


def test_axes_are_found_by_their_names_and_zeros_and_nan_are_no_vectors(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(4, 6, 8)).astype(np.float32)
    vectors[0, 0] = 0
    vectors[3, 5, 2] = np.nan
    write_floats(tmp_path / "a.zarr", vectors)
    write_floats(tmp_path / "b.zarr", vectors.transpose(2, 1, 0), names=("band", "x", "y"))
    found = [all_of(zarr_sources(tmp_path / name, tile_size=1)[0]) for name in ("a.zarr", "b.zarr")]
    (batches, first, rows), (_, second, _) = found
    np.testing.assert_array_equal(first, second)
    assert len(first) == 22
    assert {(row.col, row.row) for row in rows} == set(itertools.product(range(6), range(4))) - {
        (0, 0),
        (5, 3),
    }
    assert batches[0].num_left_out == 2
    np.testing.assert_allclose(np.linalg.norm(first, axis=1), 1, rtol=1e-6)


def test_numbers_with_one_scale_are_decoded_and_their_nodata_left_out(tmp_path):
    numbers = np.random.default_rng(1).integers(-127, 128, (4, 6, 8)).astype(np.int8)
    numbers[1, 1] = -128
    scale = {"type": "scalar", "scale": 0.0078125, "offset": 0.25}
    about = {"geoemb:quantization": {**SCALED, "method": "linear", "scale": scale}}
    group = write_floats(tmp_path / "a.zarr", numbers, about)
    group["embeddings"].attrs["nodata"] = -128
    source = zarr_sources(tmp_path / "a.zarr")[0]
    vectors, valid = source.group.read(0, slice(0, 4), slice(0, 6))
    assert np.flatnonzero(~valid.ravel()).tolist() == [7]
    formula = numbers.astype(np.float32) * np.float32(0.0078125) + np.float32(0.25)
    np.testing.assert_array_equal(vectors.transpose(1, 2, 0)[valid], formula[valid])


def test_chips_keep_their_vectors_and_overlap_as_their_layout_says(tmp_path):
    vectors = np.random.default_rng(1).normal(size=(4, 6, 8)).astype(np.float32)
    layout = {"layout_type": "regular_grid", "chip_size": [256, 256], "stride": [128, 256]}
    about = {"geoemb:type": "chip", "geoemb:chip_layout": layout, "geoemb:model": "clay"}
    place = {"spatial:transform": [2560.0, 0.0, 5e5, 0.0, -1280.0, 5.8e6]}
    write_floats(tmp_path / "a.zarr", vectors, about, place)
    (source,) = zarr_sources(tmp_path / "a.zarr")
    _, found, rows = all_of(source)
    np.testing.assert_array_equal(found, vectors.reshape(-1, 8))
    assert source.embedding.model == "clay"
    back = Transformer.from_crs("EPSG:4326", "EPSG:32632", always_xy=True).transform
    bounds = shapely.transform(rows[7].geometry, back, interleaved=False).bounds  # row 1, column 1
    np.testing.assert_allclose(
        bounds, (5e5 + 2560, 5.8e6 - 1280 - 2560, 5e5 + 2 * 2560, 5.8e6 - 1280), atol=1e-3
    )
    with pytest.raises(TileSizeError, match="chips, which are tiles themselves"):
        zarr_sources(tmp_path / "a.zarr", tile_size=2)


def test_a_grid_of_nodes_is_half_a_pixel_further_out(tmp_path):
    vectors = np.ones((2, 2, 8), np.float32)
    write_floats(tmp_path / "a.zarr", vectors, place={"spatial:registration": "node"})
    (source,) = zarr_sources(tmp_path / "a.zarr")
    assert source.group.transform == Affine(10, 0, 499_995, 0, -10, 5_800_005)


@pytest.mark.parametrize(
    ("values", "attributes", "first"),
    [
        (np.array([0, 366]), {"units": "days since 2024-01-01"}, "2024-01-01T00:00:00"),
        (np.array([1, 2]), {"units": "hours since 2024-01-01 12:00:00"}, "2024-01-01T13:00:00"),
        (np.array(["2024-03-01", "2024-04-01"], "datetime64[ns]"), {}, "2024-03-01T00:00:00"),
        (np.array([1, 2]), {}, None),
    ],
)
@pytest.mark.filterwarnings("ignore:The data type:Warning")  # dates: not in the core of version 3
def test_dates_are_read_as_years_numbers_since_or_dates(tmp_path, values, attributes, first):
    group = write_floats(
        tmp_path / "a.zarr", np.ones((2, 8, 4, 4), np.float32), names=("time", "band", "y", "x")
    )
    group.create_array("time", data=values, dimension_names=["time"], attributes=attributes)
    source, _ = zarr_sources(tmp_path / "a.zarr")
    if first is None:
        assert source.group.times == (None, None)
        assert "datetime" not in next(source.batches()).tiles
        assert any("no date can be read on the axis 'time'" in note for note in source.notes)
    else:
        assert str(source.group.times[0][0]) == f"{first}.000000"


def without(name):
    def change(root):
        about = root["utm32"].attrs.asdict()
        del about[name]
        root["utm32"].attrs.clear()
        root["utm32"].attrs.update(about)

    return change


def told(name, value, group=""):
    def change(root):
        (root[group] if group else root).attrs[name] = value

    return change


def drop_scales(root):
    del root["utm32/scales"]


def shrink_scales(root):
    del root["utm32/scales"]
    root["utm32"].create_array("scales", data=np.ones((2, 50, 69), np.float32))


def rename_axes(root):
    del root["utm32/embeddings"]
    root["utm32"].create_array("embeddings", data=np.ones((2, 8, 50, 70), np.int8))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("spatial:transform"), r"utm32 has no spatial:transform of six numbers"),
        (told("spatial:transform", [0, 0, 1, 0, 0, 1], "utm32"), "covers no ground"),
        (without("proj:code"), "has none of proj:code, proj:wkt2, proj:projjson"),
        (told("proj:code", "EPSG:1", "utm32"), "a CRS that PROJ does not know"),
        (
            told("spatial:shape", [50, 71], "utm32"),
            r"spatial:shape \[50, 71\], but its array has",
        ),
        (told("geoemb:dimensions", 128), "geoemb:dimensions 128, but its array 'embeddings' has 8"),
        (told("geoemb:type", "image"), "geoemb:type 'image', but it must be"),
        (told("geoemb:quantization", None), "holds int8 without geoemb:quantization"),
        (told("geoemb:quantization", {"method": "binary"}), "binary codes, which are not vectors"),
        (
            told("geoemb:quantization", {"method": "product_quantization", "scale": {"type": "x"}}),
            "quantised by 'product_quantization' with the scale",
        ),
        (drop_scales, "utm32 has no array 'scales'"),
        (shrink_scales, r"have the shape \(2, 50, 69\), but its vectors need \(2, 50, 70\)"),
        (rename_axes, "has 4 axes without names; it must have an axis of rows"),
    ],
)
def test_a_store_that_does_not_say_what_or_where_is_refused(tmp_path, change, words):
    write_tessera(tmp_path / "t.zarr", change=change)
    with pytest.raises(SceneError, match=words):
        zarr_sources(tmp_path / "t.zarr")


def test_stores_of_version_2_other_stores_and_no_stores_are_refused(tmp_path):
    zarr.open_group(tmp_path / "old.zarr", mode="w", zarr_format=2).attrs.update(PIXELS)
    with pytest.raises(SceneError, match="version 2, and the convention 'geoemb:' is"):
        zarr_sources(tmp_path / "old.zarr")
    zarr.open_group(tmp_path / "other.zarr", mode="w").create_array("embeddings", data=np.ones(3))
    with pytest.raises(SceneError, match="holds no array 'embeddings' in a group with 'geoemb:'"):
        zarr_sources(tmp_path / "other.zarr")
    with pytest.raises(SceneError, match="cannot be read as a Zarr store"):
        zarr_sources(tmp_path / "none.zarr")
    with pytest.raises(TileSizeError, match="tile_size is 0 px"):
        zarr_sources(tmp_path / "none.zarr", tile_size=0)


# --- into an archive ---


def test_a_store_becomes_an_archive_that_is_searched_by_tile_point_and_vector(tmp_path):
    write_tessera(tmp_path / "t.zarr", height=160, width=160)
    archive = Archive.create(tmp_path / "a", hasher="general-8", keep_vectors="float16")
    report = archive.add(tmp_path / "t.zarr", tile_size=8)
    assert report.num_scenes == 4
    assert report.num_tiles == len(archive) > 1000
    tiles = archive.to_table().to_geopandas()
    sources = {one.key: one for one in zarr_sources(tmp_path / "t.zarr", tile_size=8)}
    assert set(tiles["scene"]) == set(sources)
    hasher = archive.hasher()
    for key, source in sources.items():
        _, vectors, rows = all_of(source)
        places = {(row.col, row.row): one for row, one in zip(rows, vectors, strict=True)}
        mine = tiles[tiles["scene"] == key]
        expected = np.array([places[one.col, one.row] for one in mine.itertuples()])
        ids = mine["tile_id"].to_numpy()
        np.testing.assert_array_equal(archive.codes(ids), hasher.codes_of(expected))
        np.testing.assert_allclose(archive.vectors(ids), expected, atol=1e-3)
    found = archive.query(vector=expected[5], k=3)
    assert found["distance"].iloc[0] == 0
    again = archive.add(tmp_path / "t.zarr", tile_size=8)
    assert (again.num_tiles, sorted(again.unchanged)) == (0, sorted(sources))


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr("geohash_rs.embeddings.zarr_source.BLOCK", 8 * 32 * 32)
    write_tessera(tmp_path / "t.zarr", years=(2023,), height=160, width=160)
    whole = Archive.create(tmp_path / "whole", hasher="general-8")
    whole.add(tmp_path / "t.zarr", tile_size=8)
    archive = Archive.create(tmp_path / "a", hasher="general-8")
    read = ZarrSource._block
    numbers = []

    def failing(self, number):
        numbers.append(number)
        if len(numbers) > 80:
            raise SceneError("the disk was unplugged")
        return read(self, number)

    monkeypatch.setattr("geohash_rs.indexing.writer.COMMIT_TILES", 50, raising=False)
    monkeypatch.setattr(ZarrSource, "_block", failing)
    archive.add(tmp_path / "t.zarr", tile_size=8)
    assert len(archive) < len(whole)
    monkeypatch.setattr(ZarrSource, "_block", read)
    archive.add(tmp_path / "t.zarr", tile_size=8)
    names = ["scene", "col", "row"]
    one, other = (
        made.to_table([*names, "tile_id"]).reader().read_all().to_pandas()
        for made in (whole, archive)
    )
    assert sorted(map(tuple, one[names].to_numpy())) == sorted(map(tuple, other[names].to_numpy()))


def test_another_version_of_the_model_is_refused(tmp_path):
    write_tessera(tmp_path / "t.zarr", height=160, width=160)
    archive = Archive.create(tmp_path / "a", hasher="general-8")
    archive.add(tmp_path / "t.zarr", tile_size=8)
    about = told("geoemb:model", "https://geotessera.org/model/2.0")
    write_tessera(tmp_path / "new.zarr", height=160, width=160, change=about)
    report = archive.add(tmp_path / "new.zarr", tile_size=8)
    assert report.num_tiles == 0
    assert all("come from tessera 2.0" in reason for _, reason in report.skipped)


def test_options_of_tables_and_scenes_are_refused(tmp_path):
    write_tessera(tmp_path / "t.zarr")
    archive = Archive.create(tmp_path / "a", hasher="general-8")
    with pytest.raises(SceneError, match="footprint_m=... cannot be used with a Zarr store"):
        archive.add(tmp_path / "t.zarr", footprint_m=10)
    with pytest.raises(SceneError, match="stride=... cannot be used with a Zarr store"):
        archive.add(tmp_path / "t.zarr", stride=8)


@pytest.mark.parametrize("name", ["codes.parquet", "codes.zarr"])
def test_exported_codes_are_not_taken_for_vectors(tmp_path, name):
    made = Archive.create(tmp_path / "codes", num_bits=64)
    made.add_codes(np.arange(240, dtype=np.uint8).reshape(30, 8), make_grid(30))
    write_codes(made.to_table(), tmp_path / name)
    archive = Archive.create(tmp_path / "a", hasher="general-8")
    with pytest.raises(SceneError, match=r"by 'binary' without a scale|holds binary codes"):
        archive.add(tmp_path / name, strict=True)
