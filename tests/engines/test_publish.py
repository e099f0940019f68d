"""Publishing to a real PostGIS: what is sent, what survives a lost connection, what is refused."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from geohash_rs.errors import (
    ArchiveReadOnlyError,
    CodeLengthError,
    EngineError,
    EngineUnreachableError,
    HasherMismatchError,
    QueryError,
    VectorError,
)
from geohash_rs.store.code_store import CodeStore
from tests.engines.random_archive import make_archive

psycopg = pytest.importorskip("psycopg")

from psycopg import conninfo, sql  # noqa: E402 - after the skip

from geohash_rs.cli import app  # noqa: E402
from geohash_rs.engines.postgis import PostGISArchive, publish  # noqa: E402
from geohash_rs.engines.postgis.connection import connect, server_of  # noqa: E402
from geohash_rs.engines.postgis.publication import _alone  # noqa: E402
from geohash_rs.engines.postgis.schema import Tables  # noqa: E402
from geohash_rs.engines.postgis.transfer import Transfer  # noqa: E402
from tests.engines.published import (  # noqa: E402
    Wire,
    contents,
    fill,
    refit,
    stored,
    two_scenes,
)
from tests.store.helpers import make_grid  # noqa: E402


@pytest.fixture
def archive(tmp_path: Path) -> CodeStore:
    return two_scenes(tmp_path / "archive")


def test_publishing_again_sends_only_what_changed(
    archive: CodeStore, postgis: str, table: str
) -> None:
    first = publish(archive, postgis, table=table)
    assert (first.num_added, first.num_removed, first.num_transactions) == (3500, 0, 2)
    again = publish(archive, postgis, table=table)
    assert (again.num_added, again.num_removed, again.num_transactions) == (0, 0, 0)
    fill(archive, 40, scene="third.tif")
    third = publish(archive, postgis, table=table)
    assert (third.num_added, third.num_removed, third.num_transactions) == (40, 0, 1)
    assert contents(postgis, table) == stored(archive)


def test_publishing_again_renames_relocated_scenes(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    first, second = sorted(archive.scene_names())
    archive.rename_scenes({first: "moved.tif", second: first})
    report = publish(archive, postgis, table=table)
    assert (report.num_added, report.num_removed, report.num_renamed) == (0, 0, 3500)
    assert contents(postgis, table) == stored(archive)
    assert publish(archive, postgis, table=table).num_renamed == 0
    with PostGISArchive.open(postgis, table=table) as published:
        assert set(published.scene_names()) == {"moved.tif", first}
        query = np.zeros((1, (archive.num_bits or 0) // 8), np.uint8)
        for name in ("moved.tif", first):
            same = [one.search(query, k=50, scenes=[name]).ids for one in (archive, published)]
            assert (same[0] == same[1]).all()


def test_scenes_without_a_record_are_named_after_tiles_were_removed(
    archive: CodeStore, postgis: str, table: str
) -> None:
    tiles = make_grid(5, scene="/far/away/plain.tif")
    ids = archive.add_codes(np.zeros((5, (archive.num_bits or 0) // 8), np.uint8), tiles)
    archive.remove_tiles(range(40))  # the records still count them
    publish(archive, postgis, table=table)
    query = np.zeros((1, (archive.num_bits or 0) // 8), np.uint8)
    with PostGISArchive.open(postgis, table=table) as published:
        for name in ("plain.tif", "/far/away/plain.tif"):
            assert set(published.search(query, k=9, scenes=[name]).ids[0]) == set(ids)
        assert set(published.scene_names()) == set(archive.scene_names())
        archive.rename_scenes({"/far/away/plain.tif": "/near/other.tif"})
        publish(archive, postgis, table=table)
        assert set(published.search(query, k=9, scenes=["other.tif"]).ids[0]) == set(ids)


@pytest.mark.parametrize("num_bits", [64, 128])
def test_tables_made_before_a_refit_are_refused(
    archive: CodeStore, postgis: str, table: str, num_bits: int
) -> None:
    publish(archive, postgis, table=table)
    before = contents(postgis, table)
    refit(archive, "first", num_bits)
    with pytest.raises(
        HasherMismatchError, match=f"before .* was refitted to first. Drop the tables of .*{table}"
    ):
        publish(archive, postgis, table=table)
    assert contents(postgis, table) == before
    with PostGISArchive.open(postgis, table=table) as published:  # still whole, and of one hasher
        assert published.num_bits == 64
    publish(archive, postgis, table=f"{table}_2")
    assert contents(postgis, f"{table}_2") == stored(archive)
    refit(archive, "second", 64)
    with pytest.raises(HasherMismatchError, match="hasher first, before .* refitted to second"):
        publish(archive, postgis, table=f"{table}_2")


def test_a_table_half_made_before_a_refit_is_refused(
    archive: CodeStore, postgis: str, table: str
) -> None:
    with pytest.raises(EngineUnreachableError):
        publish(archive, Wire(postgis, 1_100_000).dsn, table=table)
    assert 0 < len(contents(postgis, table)) < 3500
    refit(archive, "first", 64)
    with pytest.raises(HasherMismatchError, match="was refitted to first"):
        publish(archive, postgis, table=table)


def test_vectors_stay_in_the_folder(postgis: str, table: str, tmp_path: Path) -> None:
    archive = CodeStore.create(tmp_path / "kept", num_bits=64, keep_vectors="int8")
    vectors = np.ones((30, 5), np.float32)
    ids = archive.add_codes(np.zeros((30, 8), np.uint8), make_grid(30), vectors=vectors)
    publish(archive, postgis, table=table)
    assert contents(postgis, table) == stored(archive)
    with PostGISArchive.open(postgis, table=table) as published:
        assert len(published.codes(ids)) == 30
        with pytest.raises(VectorError, match="holds no vectors: publishing copies codes"):
            published.vectors(ids)


def test_removed_replaced_and_merged_tiles_are_synced(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    archive.remove_tiles([0, 7, 8, 9, 3100])
    fill(archive, 450, scene="second.tif", replace_scenes=["second.tif"])
    for number in range(12):  # enough for small segments to be merged
        fill(archive, 30, scene=f"small_{number}.tif")
    archive.remove_scenes(["small_3.tif"])
    archive.compact()
    report = publish(archive, postgis, table=table)
    assert (report.num_added, report.num_removed) == (450 + 11 * 30, 4 + 500)
    assert report.num_tiles == len(archive) == 2996 + 450 + 330
    assert contents(postgis, table) == stored(archive)
    with PostGISArchive.open(postgis, table=table) as published:
        assert published.scenes() == archive.scenes()
    archive.remove_scenes([record.scene for record in archive.scenes()])
    assert publish(archive, postgis, table=table).num_removed == 3776
    assert contents(postgis, table) == {}


def test_publishing_in_pieces_equals_publishing_at_once(
    tmp_path: Path, postgis: str, table: str
) -> None:
    truth = make_archive(tmp_path / "archive", seed=5, sizes=(400, 300), num_bits=16)
    archive = CodeStore.open(truth.folder)
    publish(archive, postgis, table=table)
    archive.remove_scenes([archive.scenes()[0].scene])
    report = publish(archive, postgis, table=table)
    assert report.num_removed > 0
    assert contents(postgis, table) == stored(archive)
    assert dataclasses.asdict(report)["num_tiles"] == len(archive)


# a row of these archives takes about 350 bytes: cut within the first segment, the second, ...
@pytest.mark.parametrize("limit", [400, 3_000, 500_000, 1_100_000])
def test_a_connection_lost_while_publishing_leaves_whole_segments_and_the_next_run_completes(
    archive: CodeStore, postgis: str, table: str, limit: int
) -> None:
    with pytest.raises(EngineUnreachableError, match="cannot be used|was lost"):
        publish(archive, Wire(postgis, limit).dsn, table=table)
    try:
        there = set(contents(postgis, table))
    except psycopg.errors.UndefinedTable:
        there = set()
    assert there in (set(), set(range(3000)))
    assert bool(there) == (limit > 1_000_000)
    report = publish(archive, postgis, table=table)
    assert report.num_added == 3500 - len(there)
    assert contents(postgis, table) == stored(archive)


def test_an_archive_that_changes_after_a_lost_connection_is_published_completely(
    archive: CodeStore, postgis: str, table: str
) -> None:
    with pytest.raises(EngineUnreachableError, match="publish again"):
        publish(archive, Wire(postgis, 1_100_000).dsn, table=table)
    archive.remove_tiles([5, 6, 3400])
    archive.compact()
    assert len(archive.manifest.segments) == 1
    report = publish(archive, postgis, table=table)
    assert (report.num_added, report.num_removed) == (499, 2)
    assert contents(postgis, table) == stored(archive)


def test_published_tiles_are_not_queried_one_by_one(
    archive: CodeStore, postgis: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    there = Transfer._there
    monkeypatch.setattr(
        Transfer, "_there", lambda job, ids: (asked.append(len(ids)), there(job, ids))[1]
    )
    with pytest.raises(EngineUnreachableError, match="publish again"):
        publish(archive, Wire(postgis, 1_100_000).dsn, table=table)
    assert publish(archive, postgis, table=table).num_added == 500
    fill(archive, 10, scene="x.tif")
    assert publish(archive, postgis, table=table).num_added == 10
    assert asked == []
    archive.remove_tiles([3, 3505])
    archive.compact()
    assert publish(archive, postgis, table=table).num_removed == 2
    assert asked == [3508]
    assert contents(postgis, table) == stored(archive)


def part_of(archive: CodeStore, folder: Path, first: int, count: int) -> CodeStore:
    """Make tiles with reserved ids, as a cluster's worker does."""
    part = CodeStore.create(folder, num_bits=archive.num_bits)
    part.reserve_ids(first)
    fill(part, count, scene=f"{first}.tif")
    return part


@pytest.mark.parametrize("num_removed", [0, 500])
def test_reserved_ids_that_are_used_late_are_published_late(
    archive: CodeStore, postgis: str, table: str, tmp_path: Path, num_removed: int
) -> None:
    base = archive.reserve_ids(1000)
    archive.adopt([part_of(archive, tmp_path / "high", base + 500, 500)])
    first = publish(archive, postgis, table=table)
    assert first.num_added == first.num_tiles == 4000
    archive.adopt([part_of(archive, tmp_path / "low", base, 500)])
    archive.remove_tiles(range(num_removed))
    for number in range(8):  # segments are merged: one with a new name holds old and new tiles
        fill(archive, 40, scene=f"{number}.tif")
    report = publish(archive, postgis, table=table)
    assert (report.num_added, report.num_removed) == (820, num_removed)
    assert contents(postgis, table) == stored(archive)


def test_tables_with_a_wrong_count_are_refused(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    text = sql.SQL("UPDATE {} SET num_tiles = 7").format(sql.Identifier(f"{table}_archive"))
    with psycopg.connect(postgis) as connection:
        connection.execute(text)
    with pytest.raises(EngineError, match="counts 7 tiles, but .* holds 3500 .* another table"):
        publish(archive, postgis, table=table)
    assert contents(postgis, table) == stored(archive)


def test_a_table_that_publishing_did_not_make_is_left_alone(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    before = contents(postgis, table)
    with psycopg.connect(postgis) as connection:  # as if only the tiles had been restored
        for name in ("archive", "scenes"):
            text = sql.SQL("DROP TABLE {}").format(sql.Identifier(f"{table}_{name}"))
            connection.execute(text)
    fill(archive, 10, scene="x.tif")
    with pytest.raises(EngineError, match=f'is taken: relation "{table}" already .* another'):
        publish(archive, postgis, table=table)
    assert contents(postgis, table) == before


def test_the_table_of_another_archive_is_left_alone(
    archive: CodeStore, postgis: str, table: str, tmp_path: Path
) -> None:
    publish(archive, postgis, table=table)
    before = contents(postgis, table)
    other = CodeStore.create(tmp_path / "other", num_bits=64)
    fill(other, 10, scene="x.tif")
    with pytest.raises(EngineError, match=r"holds a different archive, not .*another table"):
        publish(other, postgis, table=table)
    longer = CodeStore.create(tmp_path / "longer", num_bits=128)
    with pytest.raises(CodeLengthError, match="holds codes of 64 bits, but .* has 128"):
        publish(longer, postgis, table=table)
    assert contents(postgis, table) == before


def test_codes_of_another_hasher_are_refused(
    archive: CodeStore, postgis: str, table: str, tmp_path: Path
) -> None:
    made = CodeStore.create(tmp_path / "hashed", num_bits=64)
    fill(made, 10, scene="x.tif", fingerprint="a" * 64)
    publish(made, postgis, table=table)
    other = CodeStore.create(tmp_path / "other", num_bits=64, attrs=made.attrs)
    fill(other, 10, scene="x.tif", fingerprint="b" * 64)
    with pytest.raises(HasherMismatchError, match="codes of hasher aaaaaaaaaaaaaaaa, but"):
        publish(other, postgis, table=table)


def test_an_older_copy_of_the_archive_is_refused(
    archive: CodeStore, postgis: str, table: str, tmp_path: Path
) -> None:
    publish(archive, postgis, table=table)
    shutil.copytree(archive.path, tmp_path / "copy")
    fill(archive, 10, scene="x.tif")
    publish(archive, postgis, table=table)
    copy = CodeStore.open(tmp_path / "copy")
    with pytest.raises(
        EngineError, match=r"up to id 3509, against commit 3, up to 3499\): this is"
    ):
        publish(copy, postgis, table=table)
    fill(copy, 30, scene="y.tif")  # more than the table has: ids 3500 to 3509 have other codes
    with pytest.raises(EngineError, match="that this archive does not descend from"):
        publish(copy, postgis, table=table)
    assert contents(postgis, table) == stored(archive)


def test_a_copy_is_refused_even_if_publishing_the_other_was_interrupted(
    archive: CodeStore, postgis: str, table: str, tmp_path: Path
) -> None:
    publish(archive, postgis, table=table)
    shutil.copytree(archive.path, tmp_path / "copy")
    fill(archive, 3000, scene="x.tif")
    fill(archive, 1000, scene="z.tif")
    with pytest.raises(EngineUnreachableError, match="publish again"):
        publish(archive, Wire(postgis, 1_100_000).dsn, table=table)
    assert len(contents(postgis, table)) == 6500
    copy = CodeStore.open(tmp_path / "copy")
    fill(copy, 9000, scene="y.tif")
    with pytest.raises(EngineError, match="that this archive does not descend from"):
        publish(copy, postgis, table=table)
    publish(archive, postgis, table=table)
    assert contents(postgis, table) == stored(archive)


def test_segment_names_of_an_unknown_commit_are_not_trusted_after_a_lost_connection(
    archive: CodeStore, postgis: str, table: str, tmp_path: Path
) -> None:
    publish(archive, postgis, table=table)
    shutil.copytree(archive.path, tmp_path / "copy")
    copy = CodeStore.open(tmp_path / "copy")
    archive.compact()
    publish(archive, postgis, table=table)
    with psycopg.connect(postgis) as connection:  # as after more commits than are remembered
        name = sql.Identifier(f"{table}_archive")
        connection.execute(sql.SQL("UPDATE {} SET generation = -1").format(name))
    fill(copy, 3000, scene="x.tif")
    assert copy.manifest.segments[-1].name == archive.manifest.segments[-1].name
    with pytest.raises(EngineUnreachableError, match="publish again"):
        publish(copy, Wire(postgis, 500_000).dsn, table=table)
    assert publish(copy, postgis, table=table).num_added == 3000
    assert contents(postgis, table) == stored(copy)


def test_an_archive_that_was_never_published_must_be_writable_once(
    archive: CodeStore, postgis: str, table: str
) -> None:
    reader = CodeStore.open(archive.path, mode="r")
    with pytest.raises(ArchiveReadOnlyError, match="opened with mode='r'"):
        publish(reader, postgis, table=table)
    publish(archive, postgis, table=table)
    again = publish(CodeStore.open(archive.path, mode="r"), postgis, table=table)
    assert again.num_added == 0


def test_an_archive_without_codes_is_refused(tmp_path: Path) -> None:
    pending = CodeStore.create(tmp_path / "pending", pending_hasher="itq-64")
    with pytest.raises(QueryError, match="is not fitted; add imagery, then publish"):
        publish(pending, "postgresql://nobody@127.0.0.1:1/x")


def test_two_publishers_exclude_each_other(
    archive: CodeStore, postgis: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[publish.__module__], "PATIENCE", "100ms")
    publish(archive, postgis, table=table)
    otherwise_spelt = conninfo.make_conninfo(
        postgis, host="alias.example.org", hostaddr=conninfo.conninfo_to_dict(postgis)["host"]
    )
    assert server_of(otherwise_spelt) != server_of(postgis)
    with connect(otherwise_spelt, read_only=False) as other:
        with _alone(other, Tables("public", f"{table}_2"), "elsewhere"):
            publish(archive, postgis, table=table)
        with (
            _alone(other, Tables("public", table), "there"),
            pytest.raises(EngineError, match="another process is publishing to"),
        ):
            publish(archive, postgis, table=table)
        publish(archive, postgis, table=table)


def test_the_command_publishes_and_reports_what_it_did(
    archive: CodeStore, postgis: str, table: str
) -> None:
    words = ["publish", str(archive.path), postgis, "--table", table]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["num_added"] == 3500
    result = CliRunner().invoke(app, words)
    assert "0 tiles added and 0 removed" in result.output
    archive.close()


def test_tables_of_version_0_1_0_are_refused_with_a_way_out(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    with psycopg.connect(postgis, autocommit=True) as connection:
        for text in (  # as that version made them
            sql.SQL("UPDATE {} SET format = 1").format(sql.Identifier(f"{table}_archive")),
            sql.SQL("ALTER TABLE {} DROP COLUMN tile_size").format(sql.Identifier(table)),
            sql.SQL("ALTER TABLE {} DROP COLUMN source").format(sql.Identifier(table)),
        ):
            connection.execute(text)
    expected = r"has format 1, which an earlier geohash_rs made.*publish the archive to another"
    with pytest.raises(EngineError, match=expected):
        PostGISArchive.open(postgis, table=table)
    with pytest.raises(EngineError, match=expected):
        publish(archive, postgis, table=table)
