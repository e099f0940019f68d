"""Tables are added once, continued after a kill, replaced when changed, and taken in any form."""

import os
import subprocess
import sys
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
import torch

from geohash_rs import Archive
from geohash_rs.embeddings import tables
from geohash_rs.embeddings.inputs import open_files
from geohash_rs.embeddings.options import TableSettings
from geohash_rs.embeddings.repeats import Repeats
from geohash_rs.errors import HasherMismatchError, SceneError, VectorError
from geohash_rs.hashing import Embedding
from geohash_rs.indexing import writer
from geohash_rs.indexing.report import AddReport
from tests.embeddings import published
from tests.embeddings.test_layouts import add

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def made():
    return published.chips(90, 16)


@pytest.fixture
def small(monkeypatch):
    """Read 10 rows at once, and commit every 20."""
    monkeypatch.setattr(tables, "MOST_ROWS", 10)
    monkeypatch.setattr(writer, "COMMIT_TILES", 20)


def sources_of(archive):
    return sorted(archive.to_table(columns=["source"]).reader().read_all()["source"].to_pylist())


def footprints_of(archive):
    return sorted(shape.wkb for shape in archive.to_table().to_geopandas().geometry)


def test_a_file_is_skipped_until_it_changes_and_then_replaced(made, tmp_path):
    path = published.clay(tmp_path / "c.parquet", made)
    archive, _, _ = add(tmp_path, path)
    report = archive.add(path)
    assert (report.num_tiles, report.unchanged) == (0, [path.as_posix()])
    other = published.chips(70, 16, seed=9)
    published.clay(path, other)
    report = archive.add(path)
    assert (report.num_tiles, report.replaced) == (70, [path.as_posix()])
    assert footprints_of(archive) == sorted(shape.wkb for shape in other.shapes)


def test_other_choices_replace_a_file(made, tmp_path):
    path = published.earth_embeddings(tmp_path / "e.parquet", made)
    archive, _, _ = add(tmp_path, path, footprint_m=100)
    assert archive.add(path, footprint_m=100).unchanged
    assert archive.add(path, footprint_m=200).replaced == [path.as_posix()]
    assert archive.num_tiles == 90


def test_a_touched_file_is_the_same_by_checksum(made, tmp_path):
    path = published.clay(tmp_path / "c.parquet", made)
    archive, _, _ = add(tmp_path, path, checksum=True)
    os.utime(path, ns=(1, 1))
    assert archive.add(path, checksum=True).unchanged == [path.as_posix()]
    assert archive.add(path).replaced == [path.as_posix()]


@pytest.mark.usefixtures("small")
def test_a_large_file_is_added_in_parts_and_whole(made, tmp_path):
    path = published.clay(tmp_path / "c.parquet", made, row_group_size=20)
    archive, frame, report = add(tmp_path, path)
    assert report.num_tiles == len(frame) == 90
    (record,) = archive.scenes()
    assert record.num_tiles == 90
    assert "vectors_read" not in record.settings
    published.clay(path, published.chips(80, 16, seed=3), row_group_size=7)
    assert archive.add(path).replaced == [path.as_posix()]
    assert archive.num_tiles == 80


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("after", [1, 3, 4])
def test_an_interrupted_run_is_continued_without_adding_a_row_twice(
    after, made, tmp_path, monkeypatch
):
    twice = np.r_[np.arange(90), 5, 6]  # the repeats are found although their firsts came before
    again = published.Chips(
        vectors=made.vectors[twice],
        shapes=made.shapes[twice],
        lonlat=made.lonlat[twice],
        moments=[made.moments[n] for n in twice],
        sources=[made.sources[n] for n in twice],
    )
    path = published.clay(tmp_path / "c.parquet", again, row_group_size=20)
    archive = Archive.create(tmp_path / "archive", hasher="lsh-32")
    commit, count = Archive.add_codes, [0]

    def failing(self, *arguments, **options):
        count[0] += 1
        if count[0] > after:
            raise KeyboardInterrupt
        return commit(self, *arguments, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Archive, "add_codes", failing)
        with pytest.raises(KeyboardInterrupt):
            archive.add(path)
    archive = Archive.open(tmp_path / "archive")
    assert archive.num_tiles == 20 * after
    assert archive.scenes()[0].settings["vectors_read"] == 20 * after
    report = archive.add(path)
    assert (report.num_tiles, report.num_left_out, report.replaced) == (90 - 20 * after, 2, [])
    assert footprints_of(archive) == sorted(shape.wkb for shape in made.shapes)
    assert archive.add(path).unchanged


def test_a_killed_process_leaves_what_it_committed(made, tmp_path):
    path = published.clay(tmp_path / "c.parquet", made, row_group_size=20)
    code = f"""
import os
from geohash_rs import Archive
from geohash_rs.embeddings import tables
from geohash_rs.hashing import Embedding
from geohash_rs.indexing import writer
from geohash_rs.indexing.report import AddReport
tables.MOST_ROWS, writer.COMMIT_TILES = 10, 20
archive = Archive.create({str(tmp_path / "archive")!r}, hasher="lsh-32")
commit, count = Archive.add_codes, [0]
def killed(self, *arguments, **options):
    done = commit(self, *arguments, **options)
    count[0] += 1
    if count[0] == 2:
        os.kill(os.getpid(), 9)
    return done
Archive.add_codes = killed
archive.add({str(path)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -9
    archive = Archive.open(tmp_path / "archive")
    assert archive.num_tiles == 40
    assert archive.add(path).num_tiles == 50
    assert footprints_of(archive) == sorted(shape.wkb for shape in made.shapes)


@pytest.mark.usefixtures("small")
def test_a_file_that_changed_after_an_interruption_is_replaced(made, tmp_path, monkeypatch):
    path = published.clay(tmp_path / "c.parquet", made, row_group_size=20)
    archive = Archive.create(tmp_path / "archive", hasher="lsh-32")
    with monkeypatch.context() as patched:
        patched.setattr(tables.TableSource, "batches", broken(tables.TableSource.batches))
        report = archive.add(path)
    assert "the disk is gone" in report.skipped[0][1]
    assert archive.num_tiles == 30
    other = published.chips(80, 16, seed=5)
    published.clay(path, other)
    archive.add(path)
    assert footprints_of(archive) == sorted(shape.wkb for shape in other.shapes)


def broken(batches):
    """Return a reader that fails after three batches."""

    def read(self, start=0):
        for number, batch in enumerate(batches(self, start)):
            if number == 3:
                raise SceneError("the disk is gone.")
            yield batch

    return read


@pytest.mark.usefixtures("small")
def test_another_process_that_adds_the_same_file_meanwhile_is_noticed(made, tmp_path, monkeypatch):
    path = published.clay(tmp_path / "c.parquet", made, row_group_size=20)
    archive = Archive.create(tmp_path / "archive", hasher="lsh-32")
    take, count = writer.ArchiveWriter.take, [0]

    def taking(self, encoded):
        count[0] += 1
        if count[0] == 6:
            other = Archive.open(tmp_path / "archive")
            other.remove_scenes([path.as_posix()])
            other.add(path)
        take(self, encoded)

    monkeypatch.setattr(writer.ArchiveWriter, "take", taking)
    report = archive.add(path)
    assert "another process has added or removed" in report.skipped[0][1]
    archive.refresh()
    assert footprints_of(archive) == sorted(shape.wkb for shape in made.shapes)


def test_a_file_changed_while_it_is_read_is_named(made, tmp_path, monkeypatch):
    path = published.clay(tmp_path / "c.parquet", made)
    batches = tables.TableSource.batches

    def read(self, start=0):
        for batch in batches(self, start):
            published.clay(path, published.chips(50, 16))
            yield batch

    monkeypatch.setattr(tables.TableSource, "batches", read)
    _, _, report = add(tmp_path, path)
    assert "was changed or deleted while it was read" in report.skipped[0][1]


def test_folders_are_searched_and_the_sample_is_taken_from_all_files(made, tmp_path):
    folder = tmp_path / "tables"
    (folder / "deep").mkdir(parents=True)
    published.clay(folder / "a.gpq", made)
    published.clay(folder / "deep" / "b.PARQUET", published.chips(40, 16, seed=1))
    (folder / "readme.txt").write_text("no table")
    archive = Archive.create(tmp_path / "archive", hasher="general-16")
    report = archive.add(folder)
    assert (report.num_tiles, report.num_scenes, report.skipped) == (130, 2, [])
    assert "130 vectors" in archive.hasher().notes["fitted_on"]
    assert report.notes[0].startswith("a.gpq and 1 more: vectors of 16 numbers")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SceneError, match="holds no Parquet file"):
        archive.add(tmp_path / "empty")


def test_a_sample_is_taken_from_all_row_groups(tmp_path):
    made = published.chips(3000, 8)
    made.vectors[:, 0] = np.arange(3000)
    for size in (100, 3000):
        path = published.clay(tmp_path / f"{size}.parquet", made, row_group_size=size)
        (source,) = open_files([path], TableSettings(), AddReport(), strict=True)
        rows = source.sample(300)[:, 0]
        assert 250 < len(rows) <= 300
        assert len(np.unique(rows)) == len(rows)
        assert np.ptp(rows) > 2800
        assert len(source.sample(9000)) == 3000


# --- what is not a file ---


def as_frame(made, **columns):
    vectors = [row.tolist() for row in made.vectors]
    table = {"embedding": vectors, "source": made.sources, **columns}
    return gpd.GeoDataFrame(table, geometry=made.shapes, crs=4326)


class TestInMemory:
    """Tables that are not files; each test gives the same rows in another form."""

    def check(self, tmp_path, data, made, **options):
        archive, _, report = add(tmp_path, data, **options)
        assert (report.num_tiles, report.skipped) == (90, [])
        assert footprints_of(archive) == sorted(shape.wkb for shape in made.shapes)
        return archive

    def test_a_geodataframe(self, made, tmp_path):
        frame = as_frame(made)
        archive = self.check(tmp_path, frame, made)
        assert sources_of(archive) == sorted(made.sources)
        shuffled = frame.sample(frac=1, random_state=1)
        assert archive.add(shuffled).unchanged == [archive.scenes()[0].scene]
        frame.loc[3, "embedding"][0] += 1
        assert archive.add(frame).num_tiles == 90  # another table

    def test_a_geodataframe_of_a_projected_crs(self, made, tmp_path):
        frame = as_frame(made).to_crs(3857)
        archive, _, _ = add(tmp_path, frame)
        found = shapely.centroid(archive.to_table().to_geopandas().geometry.array)
        wanted = shapely.centroid(made.shapes)
        assert sorted(shapely.get_x(found)) == pytest.approx(sorted(shapely.get_x(wanted)))

    @pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, np.ndarray.tolist])
    def test_vectors_and_a_geodataframe(self, kind, made, tmp_path):
        tiles = as_frame(made).drop(columns="embedding")
        archive = self.check(tmp_path, (kind(made.vectors), tiles), made)
        assert sources_of(archive) == sorted(made.sources)
        assert archive.hasher().num_features == 16

    def test_vectors_that_do_not_match_their_tiles_are_refused(self, made, tmp_path):
        tiles = as_frame(made)
        archive = Archive.create(tmp_path / "archive", hasher="lsh-16")
        with pytest.raises(VectorError, match=r"of shape \(90, dimensions\)"):
            archive.add((made.vectors[:5], tiles))

    def test_an_arrow_table(self, made, tmp_path):
        path = published.clay(tmp_path / "c.parquet", made)
        self.check(tmp_path, pq.read_table(path), made)

    def test_a_stream_that_can_be_read_once(self, made, tmp_path):
        table = pq.read_table(published.clay(tmp_path / "c.parquet", made))
        reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=7))
        archive = self.check(tmp_path, reader, made, name="clay")
        assert [record.scene for record in archive.scenes()] == ["clay"]
        other = published.chips(50, 16, seed=2)
        table = pq.read_table(published.clay(tmp_path / "c.parquet", other))
        report = archive.add(table.to_reader(), name="clay")
        assert (report.num_tiles, report.replaced, archive.num_tiles) == (50, ["clay"], 50)

    def test_a_relation_of_duckdb(self, made, tmp_path):
        duckdb = pytest.importorskip("duckdb")
        path = published.clay(tmp_path / "c.parquet", made)
        with duckdb.connect() as connection:
            relation = connection.sql(f"SELECT * FROM read_parquet('{path}')")
            self.check(tmp_path, relation, made)

    def test_a_plain_dataframe_with_centres(self, made, tmp_path):
        frame = pd.read_parquet(published.earth_embeddings(tmp_path / "e.parquet", made))
        _, found, report = add(tmp_path, frame, footprint_m=2240)
        assert (len(found), report.skipped) == (90, [])

    def test_a_table_without_places_is_refused(self, made, tmp_path):
        with pytest.raises(SceneError, match="neither geometries nor centres"):
            add(tmp_path, pd.DataFrame({"embedding": made.vectors.tolist()}))


def torchgeo_like(name, data, root):
    """Make a dataset as TorchGeo 0.10 has it, which 0.8 has not."""
    kind = type(name, (torch.utils.data.Dataset,), {"__module__": "torchgeo.datasets.clay"})
    dataset = kind()
    dataset.data, dataset.root = data, root
    return dataset


@pytest.mark.parametrize(
    ("name", "layout", "how"),
    [
        ("ClayEmbeddings", "clay", {}),
        ("EarthIndexEmbeddings", "earth_index", {}),
        ("MajorTOMEmbeddings", "major_tom", {}),
        ("EarthEmbeddings", "earth_embeddings", {"footprint_m": 3840}),
    ],
)
def test_embeddings_of_torchgeo_are_added_like_their_files(name, layout, how, made, tmp_path):
    path = getattr(published, layout)(tmp_path / "f.parquet", made)
    read = pd.read_parquet if layout == "earth_embeddings" else gpd.read_parquet
    dataset = torchgeo_like(name, read(path), path)
    archive, frame, report = add(tmp_path, dataset, **how)
    assert (report.num_tiles, report.skipped) == (90, [])
    assert set(frame.scene) == {path.as_posix()}
    other = Archive.create(tmp_path / "other", hasher=archive.hasher())
    other.add(path, **how)
    theirs = other.to_table().to_geopandas()
    columns = ["source", "datetime", "datetime_end"]
    mine, others = (
        one.assign(wkb=one.geometry.to_wkb()).sort_values("wkb", ignore_index=True)
        for one in (frame, theirs)
    )
    pd.testing.assert_frame_equal(mine[[*columns, "code"]], others[[*columns, "code"]])
    assert archive.hasher().embedding.model == other.hasher().embedding.model


def test_an_archive_that_began_unnamed_takes_one_named_model(tmp_path):
    archive = Archive.create(tmp_path / "archive", hasher="lsh-16")
    made = [published.chips(60, 16, seed=seed) for seed in range(4)]
    paths = [published.clay(tmp_path / f"{n}.parquet", one) for n, one in enumerate(made)]
    assert archive.add(paths[0]).skipped == []
    report = archive.add(paths[1], model=Embedding("clay", 16, version="1.5"))
    told = [note for note in report.notes if "only their length was compared" in note]
    assert len(told) == 1
    assert told[0].startswith("1.parquet: the model is clay")
    for other in (Embedding("tessera", 16), Embedding("clay", 16, version="1")):
        report = archive.add(paths[2], model=other)
        ((_, reason),) = report.skipped
        assert f"from {other}, but the archive's from clay 1.5 (16 dimensions)" in reason
        with pytest.raises(HasherMismatchError, match=r"the archive's from clay 1\.5"):
            archive.add_embeddings(
                made[2].vectors,
                gpd.GeoDataFrame(geometry=made[2].shapes, crs=4326),
                embedding=other,
            )
    report = archive.add(paths[3], model="clay")
    assert (report.num_tiles, report.skipped) == (60, [])
    assert not any("only their length" in note for note in report.notes)
    assert archive.add(paths).unchanged == [str(paths[n]) for n in (0, 1, 3)]


def test_naming_the_model_later_records_it(tmp_path):
    archive = Archive.create(tmp_path / "archive", hasher="lsh-16")
    path = published.clay(tmp_path / "a.parquet", published.chips(60, 16))
    other = published.clay(tmp_path / "b.parquet", published.chips(60, 16, seed=1))
    archive.add(path)
    assert archive.add(path, model="clay").replaced == [str(path)]
    assert archive.add(path).unchanged == [str(path)]
    assert "the archive's from clay" in archive.add(other, model="tessera").skipped[0][1]


def test_rows_that_two_files_of_a_run_hold_are_counted(made, tmp_path):
    folder = tmp_path / "tables"
    folder.mkdir()
    published.clay(folder / "a.parquet", made)
    published.clay(folder / "b.parquet", made)
    published.clay(folder / "c.parquet", published.chips(90, 16, seed=5))
    _, frame, report = add(tmp_path, folder)
    assert len(frame) == 270
    (note,) = [note for note in report.notes if "also in a file before them" in note]
    assert note.startswith("b.parquet: 90 rows")


def test_repeats_remember_no_more_rows_than_they_may():
    seen = Repeats(most=10)
    digests, every = np.arange(20, dtype=np.uint64), np.ones(20, np.bool_)
    assert not seen.find(digests, every).any()
    assert seen.find(digests, every).sum() == 10
