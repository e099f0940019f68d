"""Whatever is wrong with a table is named, counted and leaves the good rows."""

import datetime as dt
import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from geohash_rs import Archive
from geohash_rs.errors import HasherError, SceneError
from geohash_rs.hashing.embedding import Embedding
from tests.embeddings import published
from tests.embeddings.test_layouts import add, read


def table(path, made, **columns):
    """Write a small table, some of its columns replaced; those that are None are left out."""
    whole = {
        "embedding": published.lists(made.vectors),
        "timestamp": pa.array([m.replace(tzinfo=None) for m in made.moments], pa.timestamp("us")),
        "source": made.sources,
        "geometry": shapely.to_wkb(made.shapes),
    } | columns
    metadata = whole.pop("metadata", published.geo())
    how = whole.pop("how", {})
    kept = {name: column for name, column in whole.items() if column is not None}
    return published.write(path, kept, metadata, **how)


@pytest.fixture
def made():
    return published.chips(60, 16)


def changed(vectors, rows, value):
    """Return a copy of vectors, the given rows of which hold a value."""
    found = vectors.copy()
    found[rows] = value
    return found


# --- rows ---


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.nan, "2 with NaN or infinite numbers in 'embedding' (first: row 7 (row group 0))"),
        (-np.inf, "2 with NaN or infinite numbers in 'embedding' (first: row 7 (row group 0))"),
        (0, "2 with a vector of zeros in 'embedding' (first: row 7 (row group 0))"),
    ],
)
def test_vectors_that_cannot_be_used_are_named_and_the_others_added(value, reason, made, tmp_path):
    vectors = published.lists(changed(made.vectors, [7, 9], value))
    path = table(tmp_path / "t.parquet", made, embedding=vectors)
    archive, frame, report = add(tmp_path, path)
    assert (report.num_tiles, report.num_left_out, report.skipped) == (58, 2, [])
    assert f"t.parquet: 2 of 60 rows left out: {reason}." in report.notes
    kept = [shape.wkb for n, shape in enumerate(made.shapes) if n not in (7, 9)]
    assert sorted(g.wkb for g in frame.geometry) == sorted(kept)
    assert archive.scenes()[0].settings["vectors_left_out"] == 2


def test_one_number_that_is_nan_null_or_too_large_leaves_its_row_out(made, tmp_path):
    rows = made.vectors.astype(np.float64).tolist()
    rows[3][5], rows[4][5], rows[5][5] = float("nan"), None, 1e300
    vectors = pa.array(rows, pa.list_(pa.float64()))
    _, batches = read(table(tmp_path / "t.parquet", made, embedding=vectors))
    assert batches[0].num_left_out == 3
    good = [n for n in range(60) if n not in (3, 4, 5)]
    np.testing.assert_array_equal(batches[0].vectors, made.vectors[good])


def test_lists_of_other_lengths_and_missing_lists_are_left_out(made, tmp_path):
    rows = made.vectors.tolist()
    rows[0], rows[1], rows[2], rows[59] = rows[0][:5], None, [], rows[59] * 2
    path = table(tmp_path / "t.parquet", made, embedding=pa.array(rows, pa.list_(pa.float32())))
    _, batches = read(path)
    reasons = {flaw.reason: (flaw.count, flaw.first) for flaw in batches[0].left_out}
    assert reasons == {
        "without a vector in 'embedding'": (1, "row 1 (row group 0)"),
        "whose vector in 'embedding' has not 16 numbers": (3, "row 0 (row group 0)"),
    }
    np.testing.assert_array_equal(batches[0].vectors, made.vectors[3:59])


def test_geometries_that_cannot_be_used_are_named(made, tmp_path):
    shapes = shapely.to_wkb(made.shapes).astype(object)
    shapes[1] = None
    shapes[2] = shapely.to_wkb(shapely.Polygon())
    shapes[3] = b"\x01\x03\x00\x00\x00\x01"
    shapes[4] = shapely.to_wkb(shapely.LineString([(0, 0), (1, 1)]))
    shapes[5] = shapely.to_wkb(shapely.box(500, 10, 501, 11))
    shapes[6] = shapely.to_wkb(shapely.box(10, 90.5, 11, 91))
    shapes[7] = shapely.to_wkb(shapely.Point(3, 4))
    deep = b"\x01\x07\x00\x00\x00\x01\x00\x00\x00" * 100_000
    shapes[8] = deep  # would end the process if GEOS read it
    _, batches = read(table(tmp_path / "t.parquet", made, geometry=shapes))
    reasons = {flaw.reason: flaw.count for flaw in batches[0].left_out}
    assert reasons == {
        "without a geometry in 'geometry'": 1,
        "with an empty geometry in 'geometry'": 1,
        "whose geometry in 'geometry' cannot be read": 2,
        "whose geometry is neither an area nor a point": 1,
        "whose footprint is outside the Earth": 2,
        "with a point, which needs footprint_m=METRES": 1,
    }
    assert len(batches[0].vectors) == 52


def test_footprints_that_cross_themselves_are_repaired_and_counted(made, tmp_path):
    shapes = made.shapes.copy()
    shapes[11] = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    _, batches = read(table(tmp_path / "t.parquet", made, geometry=shapely.to_wkb(shapes)))
    assert [flaw.count for flaw in batches[0].mended] == [1]
    assert batches[0].tiles.geometry.iloc[11].is_valid
    assert batches[0].tiles.geometry.iloc[11].area == pytest.approx(0.5)


@pytest.mark.parametrize("crs", ["OGC:CRS84", "EPSG:32633"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_coordinates_that_are_not_finite_leave_only_their_row_out(crs, number, made, tmp_path):
    boxes = shapely.box(np.arange(60), 40, np.arange(60) + 1, 41)
    if crs != "OGC:CRS84":
        west = np.arange(60) * 1e3 + 4e5
        boxes = shapely.box(west, 5e6, west + 1e3, 5_001_000)
    shapes = list(shapely.to_wkb(boxes))
    start = struct.pack("<BIII", 1, 3, 1, 4)
    shapes[7] = start + struct.pack("<8d", 0, 0, number, 1, 1, 1, 0, 0)
    shapes[9] = shapely.to_wkb(shapely.Polygon([(0, 0), (1e308, 1e308), (1e308, 0), (0, 1e308)]))
    path = table(tmp_path / "t.parquet", made, geometry=shapes, metadata=published.geo(crs))
    archive, _, report = add(tmp_path, path)
    assert (report.num_tiles, report.num_left_out, archive.num_tiles) == (58, 2, 58)
    reason = "2 with NaN, infinite or far too large coordinates in 'geometry' (first: row 7 "
    assert any(reason in note for note in report.notes)


@pytest.mark.parametrize("places", [[3, 1500], range(1030, 2000)])
def test_degrees_among_metres_are_left_out_and_named(places, tmp_path):
    made = published.chips(2000, 16)
    west = np.arange(2000) * 10 + 4e5
    shapes = shapely.box(west, 5e6, west + 10, 5_000_010)
    shapes[list(places)] = shapely.box(13, 45, 13.1, 45.1)
    geometry = shapely.to_wkb(shapes)
    path = table(
        tmp_path / "t.parquet", made, geometry=geometry, metadata=published.geo("EPSG:32633")
    )
    _, frame, report = add(tmp_path, path)
    assert len(frame) == 2000 - len(places)
    assert frame.total_bounds[:2] == pytest.approx([13.73, 45.15], abs=0.02)
    assert any(f"{len(places)} with coordinates that look like degrees" in n for n in report.notes)
    _, batches = read(path, crs="EPSG:32633")
    assert sum(batch.num_left_out for batch in batches) == 0


def test_small_coordinates_inside_the_area_of_a_crs_are_kept(made, tmp_path):
    shapes = shapely.box(np.arange(60) * 100, 50, np.arange(60) * 100 + 100.0, 80)
    geometry = shapely.to_wkb(shapes)
    path = table(
        tmp_path / "t.parquet", made, geometry=geometry, metadata=published.geo("EPSG:3857")
    )
    _, batches = read(path)
    assert len(batches[0].vectors) == 60


@pytest.mark.parametrize("place", [(200.0, 400.0), (10.0, -91.0), (np.nan, 5.0), (None, 5.0)])
def test_centres_outside_the_earth_are_left_out(place, made, tmp_path):
    lon, lat = made.lonlat[:, 0].tolist(), made.lonlat[:, 1].tolist()
    lon[5], lat[5] = place
    columns = {"geometry": None, "metadata": None, "centre_lon": lon, "centre_lat": lat}
    _, batches = read(table(tmp_path / "t.parquet", made, **columns), footprint_m=100)
    assert [(flaw.count, flaw.first) for flaw in batches[0].left_out] == [
        (1, "row 5 (row group 0)")
    ]
    assert len(batches[0].vectors) == 59


def test_rows_that_are_there_twice_are_added_once(made, tmp_path):
    twice = np.r_[np.arange(60), 3, 59, 3]
    again = published.Chips(
        vectors=made.vectors[twice],
        shapes=made.shapes[twice],
        lonlat=made.lonlat[twice],
        moments=[made.moments[n] for n in twice],
        sources=[made.sources[n] for n in twice],
    )
    path = published.clay(tmp_path / "c.parquet", again, row_group_size=20)
    _, _, report = add(tmp_path, path)
    assert (report.num_tiles, report.num_left_out) == (60, 3)
    assert any("3 there twice (first: row 60 (row group 3))" in note for note in report.notes)


def test_equal_vectors_of_different_places_are_all_kept(made, tmp_path):
    vectors = published.lists(np.repeat(made.vectors[:20], 3, axis=0))
    _, batches = read(table(tmp_path / "t.parquet", made, embedding=vectors))
    assert len(batches[0].vectors) == 60


def test_a_row_without_a_date_is_kept_without_one(made, tmp_path):
    moments = [m.replace(tzinfo=None) for m in made.moments]
    moments[4] = None
    stamps = pa.array(moments, pa.timestamp("us"))
    _, frame, report = add(tmp_path, table(tmp_path / "t.parquet", made, timestamp=stamps))
    assert frame.datetime.isna().sum() == 1
    assert len(frame) == 60
    assert any("1 without a date that can be read in 'timestamp'" in note for note in report.notes)


# --- files ---


def skipped(tmp_path, path, **options):
    """Return why a file cannot be added."""
    _, frame, report = add(tmp_path, path, **options)
    assert len(frame) == 0
    ((key, reason),) = report.skipped
    assert key.endswith(path.name)
    assert path.name in reason
    return reason


def test_degrees_under_a_projected_crs_are_refused_unless_they_are_explained(made, tmp_path):
    path = table(tmp_path / "t.parquet", made, metadata=published.geo("EPSG:32633"))
    reason = skipped(tmp_path, path)
    assert "look like degrees" in reason
    assert "WGS 84 / UTM zone 33N" in reason
    assert 'pass crs="EPSG:4326"' in reason
    _, batches = read(path, crs="EPSG:4326")
    assert [g.wkb for g in batches[0].tiles.geometry] == [g.wkb for g in made.shapes]


def test_metres_under_longitude_and_latitude_are_refused_unless_they_are_explained(made, tmp_path):
    metres = shapely.box(np.arange(60) * 100 + 4e5, 5e6, np.arange(60) * 100 + 400_100.0, 5e6 + 100)
    path = table(tmp_path / "t.parquet", made, geometry=shapely.to_wkb(metres))
    reason = skipped(tmp_path, path)
    assert "are not degrees (x from 400000 to 406000, y from 5000000 to 5000100)" in reason
    _, batches = read(path, crs="EPSG:32633")
    assert batches[0].tiles.total_bounds == pytest.approx([13.72, 45.14, 13.80, 45.16], abs=0.02)


def test_text_in_a_column_named_embedding_is_refused(made, tmp_path):
    path = table(tmp_path / "t.parquet", made, embedding=["clay"] * 60)
    reason = skipped(tmp_path, path)
    assert "its column 'embedding' is of type string, not lists of numbers" in reason
    assert "vector_column=..." in reason


def test_text_in_a_column_named_embedding_does_not_hide_the_vectors(made, tmp_path):
    vectors = published.lists(made.vectors)
    source, batches = read(table(tmp_path / "t.parquet", made, embedding=["clay"] * 60, v=vectors))
    assert len(batches[0].vectors) == 60
    assert any("so vectors are read from 'v'" in note for note in source.notes)


def test_several_lists_without_a_known_name_are_not_guessed(made, tmp_path):
    vectors = published.lists(made.vectors)
    path = table(tmp_path / "t.parquet", made, embedding=None, a=vectors, b=vectors)
    assert "('a', 'b'); choose with vector_column" in skipped(tmp_path, path)
    assert len(read(path, vector_column="b")[1][0].vectors) == 60


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("vector_column", "nothing", "it has no column 'nothing', as vector_column says"),
        ("vector_column", "source", "is of type string, not lists of numbers"),
        ("time_column", "embedding", "not dates; correct time_column"),
        ("geometry_column", "source", "not geometries; correct geometry_column"),
        ("scale_column", "source", "not numbers; correct scale_column"),
        ("crs", "EPSG:999999", "its CRS 'EPSG:999999' cannot be read"),
        ("crs", "+proj=longlat +nadgrids=/tmp/x", "names a file"),
        ("model", Embedding("clay", 5), "have 16 numbers, but model=... says clay"),
    ],
)
def test_columns_that_a_user_names_must_fit(option, value, said, made, tmp_path):
    path = table(tmp_path / "t.parquet", made)
    assert said in skipped(tmp_path, path, **{option: value})


def test_a_table_without_rows_vectors_or_places_is_named(made, tmp_path):
    empty = table(tmp_path / "empty.parquet", published.chips(0, 16))
    bare = published.write(tmp_path / "bare.parquet", {"a": [1, 2]})
    placeless = published.write(
        tmp_path / "placeless.parquet", {"embedding": published.lists(made.vectors)}
    )
    archive = Archive.create(tmp_path / "archive", hasher="lsh-32")
    report = archive.add([empty, bare, placeless])
    reasons = {key.rsplit("/", 1)[-1]: reason for key, reason in report.skipped}
    assert "it has no rows" in reasons["empty.parquet"]
    assert "it has no column of vectors, only a (int64)" in reasons["bare.parquet"]
    assert "it has neither geometries nor centres" in reasons["placeless.parquet"]
    with pytest.raises(SceneError, match=r"empty\.parquet: it has no rows"):
        archive.add(empty, strict=True)


def test_a_file_cut_short_is_named_and_the_others_are_added(made, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    whole = published.clay(folder / "b.parquet", made)
    (folder / "a.parquet").write_bytes(whole.read_bytes()[:-1000])
    (folder / "c.parquet").write_bytes(b"")
    _, frame, report = add(tmp_path, folder)
    assert len(frame) == 60
    assert [key.rsplit("/", 1)[-1] for key, _ in report.skipped] == ["a.parquet", "c.parquet"]
    assert all("copy or download it again" in reason for _, reason in report.skipped)


def test_a_damaged_row_group_is_named_and_the_others_are_added(made, tmp_path):
    path = table(tmp_path / "t.parquet", made, how={"row_group_size": 20, "compression": "zstd"})
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data = bytearray(path.read_bytes())
    data[start + 40 : start + 400] = bytes(360)
    path.write_bytes(data)
    _, batches = read(path)
    assert sum(len(batch.vectors) for batch in batches) == 40
    (flaw,) = [flaw for batch in batches for flaw in batch.left_out]
    assert flaw.count == 20
    assert flaw.first == "row 20 (row group 1)"
    assert "of a row group that cannot be read" in flaw.reason


def test_two_models_in_one_folder_are_not_mixed(made, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    published.earth_index(folder / "a.parquet", made)
    published.earth_index(
        folder / "b.parquet", made, emb={"model": {"id": "other", "version": "1"}}
    )
    published.earth_index(
        folder / "c.parquet",
        made,
        emb={"model": {"id": "dinov2_vits14_softcon", "version": "3.0.0"}},
    )
    published.clay(folder / "d.parquet", published.chips(60, 16, seed=4))  # does not say
    published.clay(folder / "e.parquet", published.chips(60, 24))
    _, frame, report = add(tmp_path, folder)
    assert {scene.rsplit("/", 1)[-1] for scene in frame.scene} == {"a.parquet", "d.parquet"}
    reasons = {key.rsplit("/", 1)[-1]: reason for key, reason in report.skipped}
    assert sorted(reasons) == ["b.parquet", "c.parquet", "e.parquet"]
    assert "other 1 (16 dimensions)" in reasons["b.parquet"]
    assert "dinov2_vits14_softcon 3.0.0" in reasons["c.parquet"]
    assert "24 dimensions" in reasons["e.parquet"]


def test_dimensions_that_differ_from_the_archive_are_refused(made, tmp_path):
    archive, _, _ = add(tmp_path, published.clay(tmp_path / "a.parquet", made))
    other = published.clay(tmp_path / "b.parquet", published.chips(60, 8))
    report = archive.add(other)
    assert "8 dimensions" in report.skipped[0][1]
    with pytest.raises(SceneError, match="8 dimensions"):
        archive.add(other, strict=True)


def test_metadata_that_contradict_the_vectors_are_refused(made, tmp_path):
    path = published.earth_index(tmp_path / "e.parquet", made, emb={"embedding": {"dim": 384}})
    assert "say 384 dimensions, but the vectors in 'embedding' have 16" in skipped(tmp_path, path)


def test_vectors_that_are_all_equal_are_refused_when_a_hasher_is_fitted(made, tmp_path):
    vectors = published.lists(np.ones((60, 16), np.float32))
    path = table(tmp_path / "t.parquet", made, embedding=vectors)
    archive = Archive.create(tmp_path / "archive", hasher="general-16")
    with pytest.raises(HasherError, match=r"all 60 vectors of t\.parquet .* are equal"):
        archive.add(path)


def test_an_archive_of_scenes_takes_no_tables(made, tmp_path, quick_hasher):
    archive = Archive.create(tmp_path / "archive", hasher=quick_hasher)
    with pytest.raises(HasherError, match="computes features of pixels"):
        archive.add(published.clay(tmp_path / "a.parquet", made))


# --- types of numbers ---


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.int8, np.uint8])
@pytest.mark.parametrize("as_lists", [True, False])
def test_numbers_of_every_type_are_read(kind, as_lists, made, tmp_path):
    numbers = np.rint(made.vectors * 9).clip(0 if kind is np.uint8 else -99, 99).astype(kind)
    column = published.fixed(numbers)
    if as_lists:
        column = column.cast(pa.list_(column.type.value_type))
    source, batches = read(table(tmp_path / "t.parquet", made, embedding=column))
    good = np.flatnonzero(np.abs(numbers).max(axis=1))
    np.testing.assert_array_equal(batches[0].vectors, numbers[good].astype(np.float32))
    taken = any("they are taken as they are" in note for note in source.notes)
    assert taken == np.issubdtype(kind, np.integer)


def test_int8_with_a_scale_column_is_decoded(made, tmp_path):
    scale = np.abs(made.vectors).max(axis=1) / np.float32(127)
    numbers = np.rint(made.vectors / scale[:, None]).astype(np.int8)
    columns = {"embedding": published.fixed(numbers), "scale": scale}
    source, batches = read(table(tmp_path / "t.parquet", made, **columns))
    wanted = numbers.astype(np.float32) * scale[:, None]
    assert batches[0].vectors.tobytes() == wanted.tobytes()
    assert "their scale from 'scale'" in source.notes[0]
    columns["scale"] = np.where(np.arange(60) == 8, np.nan, scale)
    _, batches = read(table(tmp_path / "t.parquet", made, **columns))
    assert [(f.reason, f.count) for f in batches[0].left_out] == [
        ("without a finite scale in 'scale'", 1)
    ]


def test_int8_with_a_scale_in_the_metadata_is_decoded(made, tmp_path):
    numbers = np.rint(made.vectors * 9).clip(-127, 127).astype(np.int8)
    said = {"emb:quantization": {"method": "linear", "scale": 0.125, "offset": 2.0}}
    metadata = {**published.geo(), "emb": json.dumps(said)}
    path = table(
        tmp_path / "t.parquet", made, embedding=published.fixed(numbers), metadata=metadata
    )
    _, batches = read(path)
    np.testing.assert_array_equal(batches[0].vectors, numbers * np.float32(0.125) + np.float32(2))


def test_int8_of_a_method_that_cannot_be_undone_is_refused(made, tmp_path):
    numbers = np.rint(made.vectors * 9).clip(-127, 127).astype(np.int8)
    metadata = {**published.geo(), "emb": json.dumps({"embedding": {"quantization": "pq"}})}
    path = table(
        tmp_path / "t.parquet", made, embedding=published.fixed(numbers), metadata=metadata
    )
    assert "quantized by 'pq' without a scale, which cannot be undone" in skipped(tmp_path, path)


# --- dates ---


MOMENT = dt.datetime(2021, 3, 4, 5, 6, 7, 891234)
DAY = (dt.datetime(2021, 3, 4), dt.datetime(2021, 3, 4, 23, 59, 59, 999999))


@pytest.mark.parametrize(
    ("column", "first", "last"),
    [
        (pa.array([MOMENT], pa.timestamp("us")), MOMENT, MOMENT),
        (pa.array([1614834367891234567], pa.timestamp("ns")), MOMENT, MOMENT),
        (pa.array([-1], pa.timestamp("ns")), dt.datetime(1969, 12, 31, 23, 59, 59, 999999), None),
        (pa.array([1614834367891], pa.timestamp("ms")), MOMENT.replace(microsecond=891000), None),
        (pa.array([1614834367], pa.timestamp("s")), MOMENT.replace(microsecond=0), None),
        (pa.array([MOMENT], pa.timestamp("us", tz="Europe/Rome")), MOMENT, MOMENT),
        (pa.array([DAY[0].date()], pa.date32()), *DAY),
        (pa.array([DAY[0].date()], pa.date64()), *DAY),
        (pa.array(["2021-03-04"]), *DAY),
        (pa.array(["2021-03-04"]).dictionary_encode(), *DAY),
        (pa.array(["2021-03-04T05:06:07.891234Z"], pa.large_string()), MOMENT, MOMENT),
        (pa.array(["20210304T050607"]), MOMENT.replace(microsecond=0), None),
        (pa.array(["2021-03-04 07:06:07.891234+02:00"]), MOMENT, MOMENT),
        (
            pa.array(["2021"]),
            dt.datetime(2021, 1, 1),
            dt.datetime(2021, 12, 31, 23, 59, 59, 999999),
        ),
    ],
)
def test_dates_of_every_type_are_read_to_the_microsecond(column, first, last, made, tmp_path):
    whole = pa.concat_arrays([column] * 60)
    _, batches = read(table(tmp_path / "t.parquet", made, timestamp=whole))
    tiles = batches[0].tiles
    assert tiles.datetime.iloc[0].to_pydatetime() == first
    assert tiles.datetime_end.iloc[0].to_pydatetime() == (first if last is None else last)


def test_text_that_is_no_date_is_no_date(made, tmp_path):
    source, batches = read(table(tmp_path / "t.parquet", made, timestamp=["soon"] * 60))
    assert batches[0].tiles.datetime.isna().all()
    assert batches[0].mended[0].count == 60
    assert len(batches[0].vectors) == 60
    source, _ = read(table(tmp_path / "t.parquet", made, timestamp=np.arange(60)))
    assert any("'timestamp' is of type int64, which says no date" in note for note in source.notes)


def test_two_columns_are_the_first_and_last_moment(made, tmp_path):
    start = pa.array([MOMENT] * 60, pa.timestamp("us"))
    end = pa.array([DAY[1]] * 59 + [DAY[0]], pa.timestamp("us"))
    columns = {"timestamp": None, "start_datetime": start, "end_datetime": end}
    path = table(tmp_path / "t.parquet", made, **columns)
    _, batches = read(path)
    assert set(batches[0].tiles.datetime_end[:59]) == {DAY[1]}
    assert batches[0].tiles.datetime.isna().sum() == 1  # it ends before it starts
    _, chosen = read(path, time_column="end_datetime, end_datetime")
    assert set(chosen[0].tiles.datetime[:59]) == {DAY[1]}


def test_a_date_that_a_user_gives_is_that_of_all_rows(made, tmp_path):
    _, batches = read(table(tmp_path / "t.parquet", made), datetime="2020-05")
    assert set(batches[0].tiles.datetime) == {dt.datetime(2020, 5, 1)}


def test_the_date_in_the_name_of_a_file_is_used_last_and_said(made, tmp_path):
    source, batches = read(table(tmp_path / "s2_20200501.parquet", made, timestamp=None))
    assert set(batches[0].tiles.datetime) == {dt.datetime(2020, 5, 1)}
    assert any("the name of the file says 2020-05-01" in note for note in source.notes)


def test_an_unknown_option_and_options_for_scenes_are_refused(made, tmp_path):
    path = table(tmp_path / "t.parquet", made)
    archive = Archive.create(tmp_path / "archive", hasher="lsh-16")
    with pytest.raises(SceneError, match=r"tile_size=\.\.\. cannot be used with a table"):
        archive.add(path, tile_size=64)
    with pytest.raises(SceneError, match=r"vectors_column=\.\.\. cannot be used"):
        archive.add(path, vectors_column="x")
    with pytest.raises(SceneError, match="footprint_m is -1"):
        archive.add(path, footprint_m=-1)
    with pytest.raises(SceneError, match=r"nothing\.parquet does not exist"):
        archive.add(tmp_path / "nothing.parquet")
