"""Files of published vectors keep every footprint, date and source image."""

import datetime as dt

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import shapely
from pyproj import Geod

from geohash_rs import Archive
from geohash_rs.embeddings.inputs import open_files
from geohash_rs.embeddings.options import TableSettings
from geohash_rs.indexing.report import AddReport
from tests.conftest import SHARED_DATA
from tests.embeddings import published

REAL = SHARED_DATA / "embeddings" / "03WVN_20220610_20220610_v001.gpq"
SCHEMA = SHARED_DATA / "embeddings" / "21MNT.parquet"
DAY = dt.timedelta(days=1) - dt.timedelta(microseconds=1)


def add(tmp_path, data, **options):
    """Add tables to a new archive; return it, what it holds and the report."""
    archive = Archive.create(tmp_path / "archive", hasher="lsh-32", keep_vectors="float16")
    report = archive.add(data, **options)
    frame = archive.to_table().to_geopandas().sort_values("tile_id", ignore_index=True)
    return archive, frame, report


def read(path, **options):
    """Read all batches of a file."""
    report = AddReport()
    sources = open_files([path], TableSettings(**options), report, strict=True)
    return sources[0], list(sources[0].batches())


def same(found, wanted):
    """Return whether each wanted footprint, date and source is found once, bit for bit."""
    keys = [(shape.wkb, first, last, source) for shape, first, last, source in wanted]
    held = zip(found.geometry, found.datetime, found.datetime_end, found.source, strict=True)
    mine = [(shape.wkb, first, last, source) for shape, first, last, source in held]
    return sorted(mine, key=repr) == sorted(keys, key=repr)


def stamps(moments):
    return [pd.Timestamp(moment) for moment in moments]


def test_clay_keeps_footprints_days_and_sources(tmp_path):
    made = published.chips()
    _, frame, report = add(tmp_path, published.clay(tmp_path / "clay.gpq", made))
    days = [m.replace(hour=0, minute=0, second=0, microsecond=0) for m in made.moments]
    wanted = zip(
        made.shapes, stamps(days), stamps([d + DAY for d in days]), made.sources, strict=True
    )
    assert same(frame, wanted)
    assert (report.num_tiles, report.num_left_out, report.skipped) == (80, 0, [])
    assert "from 'embeddings'" in report.notes[0]
    assert "source images from 'source_url'" in report.notes[0]
    assert "no model is named" in report.notes[0]


def test_earth_index_keeps_footprints_and_takes_model_and_dates_from_the_file(tmp_path):
    made = published.chips()
    archive, frame, report = add(tmp_path, published.earth_index(tmp_path / "e.parquet", made))
    assert sorted(g.wkb for g in frame.geometry) == sorted(g.wkb for g in made.shapes)
    assert set(frame.datetime) == {pd.Timestamp("2023-01-01T00:00Z")}
    assert set(frame.datetime_end) == {pd.Timestamp("2024-01-01T00:00Z")}
    embedding = archive.hasher().embedding
    assert (embedding.model, embedding.version) == ("dinov2_vits14_softcon", "2.0.0")
    assert any("metadata of the file say 2023-01-01/2024-01-01" in note for note in report.notes)


def test_major_tom_keeps_footprints_moments_and_products(tmp_path):
    made = published.chips()
    _, frame, _ = add(tmp_path, published.major_tom(tmp_path / "m.parquet", made))
    moments = stamps(made.moments)
    assert same(frame, zip(made.shapes, moments, moments, made.sources, strict=True))


def test_earth_embeddings_get_squares_of_the_size_that_is_given(tmp_path):
    made = published.chips()
    path = published.earth_embeddings(tmp_path / "ee.parquet", made)
    _, frame, report = add(tmp_path, path, footprint_m=3840)
    assert any("square of 3840 m" in note for note in report.notes)
    whole = stamps([moment.replace(microsecond=0) for moment in made.moments])
    assert sorted(frame.datetime) == sorted(whole)
    assert sorted(frame.source) == sorted(made.sources)
    earth = Geod(ellps="WGS84")
    for shape in frame.geometry:
        x, y = np.array(shape.exterior.coords).T
        _, _, sides = earth.inv(x[:-1], y[:-1], x[1:], y[1:])
        assert np.abs(sides - 3840).max() < 0.01
    middles = shapely.get_coordinates(shapely.centroid(np.array(frame.geometry)))
    distance = np.abs(middles[:, None] - made.lonlat[None]).max(axis=2).min(axis=1)
    assert distance.max() < 1e-4


def test_earth_embeddings_without_a_size_are_refused_with_the_next_step(tmp_path):
    path = published.earth_embeddings(tmp_path / "ee.parquet", published.chips())
    _, frame, report = add(tmp_path, path)
    assert len(frame) == 0
    assert "pass footprint_m=METRES" in report.skipped[0][1]


@pytest.mark.parametrize("layout", ["clay", "earth_index", "major_tom"])
def test_vectors_arrive_bit_for_bit(layout, tmp_path):
    made = published.chips()
    path = getattr(published, layout)(tmp_path / "f.parquet", made)
    source, batches = read(path)
    assert np.concatenate([b.vectors for b in batches]).tobytes() == made.vectors.tobytes()
    assert source.embedding.dimensions == 48


@pytest.mark.skipif(not REAL.exists(), reason="the file is not here")
def test_the_real_clay_file_arrives_whole(tmp_path):
    _, frame, report = add(tmp_path, REAL)
    known = gpd.read_parquet(REAL)
    days = pd.to_datetime(known.date).dt.tz_localize("UTC")
    wanted = zip(known.geometry, days, days + DAY, known.source_url, strict=True)
    assert same(frame, [(shape, pd.Timestamp(a), pd.Timestamp(b), s) for shape, a, b, s in wanted])
    assert (report.num_tiles, report.num_left_out) == (417, 0)
    _, batches = read(REAL)
    vectors = np.stack(known.embeddings.to_list()).astype(np.float32)
    assert np.concatenate([b.vectors for b in batches]).tobytes() == vectors.tobytes()


@pytest.mark.skipif(not SCHEMA.exists(), reason="the file is not here")
def test_a_file_with_earth_index_own_schema_is_read(tmp_path):
    schema = pq.read_schema(SCHEMA)
    made = published.chips(length=384)
    columns = {"id": [str(n) for n in range(80)], "geometry": shapely.to_wkb(made.shapes)}
    table = {**columns, "embedding": published.fixed(made.vectors)}
    path = published.write(tmp_path / "e.parquet", table, schema.metadata)
    source, batches = read(path)
    assert source.embedding.model == "dinov2_vits14_softcon"
    assert len(batches[0].vectors) == 80
    _, _, report = add(tmp_path, SCHEMA)
    assert "it has no rows" in report.skipped[0][1]
