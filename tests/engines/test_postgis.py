"""Publishing into a real PostGIS: what is sent, what survives, what is refused."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner

from geohash_rs.archive import CodeArchive, SceneRecord
from geohash_rs.errors import (
    ArchiveReadOnlyError,
    CodeLengthError,
    EngineError,
    EngineMissingError,
    EngineUnreachableError,
    HasherMismatchError,
    QueryError,
    TileNotFoundError,
)
from tests.archive.helpers import make_grid
from tests.engines.random_archive import make_archive

psycopg = pytest.importorskip("psycopg")

from psycopg import conninfo, sql  # noqa: E402 - after the skip

from geohash_rs.engines.postgis import PostGISArchive, publish  # noqa: E402
from geohash_rs.engines.postgis.approximate import SAMPLE  # noqa: E402
from geohash_rs.engines.postgis.connection import check_version, connect, where  # noqa: E402
from geohash_rs.engines.postgis.publish import _alone  # noqa: E402
from geohash_rs.engines.postgis.schema import Tables  # noqa: E402
from geohash_rs.engines.postgis.session import Session  # noqa: E402
from geohash_rs.engines.postgis.transfer import Transfer  # noqa: E402


def fill(archive: CodeArchive, count: int, *, scene: str, **options: object) -> np.ndarray:
    rng = np.random.default_rng(len(archive))
    codes = rng.integers(0, 256, (count, archive.num_bits // 8), dtype=np.uint8)
    record = SceneRecord(scene=scene, num_tiles=count)
    return archive.add_codes(codes, make_grid(count, scene=scene), scenes=[record], **options)


@pytest.fixture
def archive(tmp_path: Path) -> CodeArchive:
    made = CodeArchive.create(tmp_path / "archive", num_bits=64)
    fill(made, 3000, scene="first.tif")
    fill(made, 500, scene="second.tif")
    return made


def contents(dsn: str, table: str) -> dict[int, tuple[str, str]]:
    """Read the table as any other program would."""
    query = sql.SQL("SELECT tile_id, code::text, scene FROM {}").format(sql.Identifier(table))
    with psycopg.connect(dsn) as connection:
        return {tile: (code, scene) for tile, code, scene in connection.execute(query)}


def stored(archive: CodeArchive) -> dict[int, tuple[str, str]]:
    """Read the archive the same way."""
    frames = list(archive.iter_tiles())
    ids = np.concatenate([frame["tile_id"].to_numpy() for frame in frames])
    scenes = np.concatenate([frame["scene"].to_numpy(object) for frame in frames])
    bits = np.unpackbits(archive.codes(ids), axis=1)
    texts = ["".join(map(str, row)) for row in bits.tolist()]
    return dict(zip(ids.tolist(), zip(texts, scenes.tolist(), strict=True), strict=True))


def test_publishing_again_sends_only_what_changed(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    first = publish(archive, postgis, table=table)
    assert (first.num_added, first.num_removed, first.num_transactions) == (3500, 0, 2)
    again = publish(archive, postgis, table=table)
    assert (again.num_added, again.num_removed, again.num_transactions) == (0, 0, 0)
    fill(archive, 40, scene="third.tif")
    third = publish(archive, postgis, table=table)
    assert (third.num_added, third.num_removed, third.num_transactions) == (40, 0, 1)
    assert contents(postgis, table) == stored(archive)


def test_removed_replaced_and_merged_tiles_are_followed(
    archive: CodeArchive, postgis: str, table: str
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


def test_an_open_archive_sees_what_is_published_meanwhile(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        ids = fill(archive, 10, scene="third.tif")
        publish(archive, postgis, table=table)
        assert len(published) == 3510
        assert published.search(archive.codes(ids[:1]), k=1).ids[0, 0] == ids[0]


class Wire:
    """A line to the server that is cut after some bytes."""

    def __init__(self, dsn: str, limit: int) -> None:
        import socket
        import threading

        parts = conninfo.conninfo_to_dict(dsn)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.target = (parts["host"], int(parts["port"]))
        self.limit = limit
        port = self.server.getsockname()[1]
        self.dsn = conninfo.make_conninfo(dsn, port=port, sslmode="disable", gssencmode="disable")
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        import socket
        import threading

        client, _ = self.server.accept()
        upstream = socket.create_connection(self.target)

        def back() -> None:
            try:
                while data := upstream.recv(65536):
                    client.sendall(data)
            except OSError:
                pass

        threading.Thread(target=back, daemon=True).start()
        sent = 0
        while sent < self.limit and (data := client.recv(65536)):
            upstream.sendall(data)
            sent += len(data)
        for end in (client, upstream):
            end.shutdown(socket.SHUT_RDWR)
            end.close()
        self.server.close()


# a row of these archives is about 350 bytes of text: cut within the first segment, the second, ...
@pytest.mark.parametrize("limit", [400, 3_000, 500_000, 1_100_000])
def test_a_line_cut_while_publishing_leaves_whole_segments_and_the_next_run_completes(
    archive: CodeArchive, postgis: str, table: str, limit: int
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


def test_an_archive_that_changes_after_a_cut_is_still_published_whole(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    with pytest.raises(EngineUnreachableError, match="publish again"):
        publish(archive, Wire(postgis, 1_100_000).dsn, table=table)
    archive.remove_tiles([5, 6, 3400])
    archive.compact()
    assert len(archive.manifest.segments) == 1
    report = publish(archive, postgis, table=table)
    assert (report.num_added, report.num_removed) == (499, 2)
    assert contents(postgis, table) == stored(archive)


def end_sessions(dsn: str) -> None:
    """End all sessions of a database."""
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
            "pg_backend_pid() AND datname = current_database()"
        )


def test_a_session_that_was_lost_is_opened_again(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        before = published.search(archive.codes([3]), k=5)
        end_sessions(postgis)
        after = published.search(archive.codes([3]), k=5)
    assert (before.ids == after.ids).all()


def test_threads_that_find_a_lost_session_open_one(
    archive: CodeArchive, postgis: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(archive, postgis, table=table)
    opened = []

    def slowly(*args: object, **options: object) -> object:
        time.sleep(0.2)
        opened.append(connect(*args, **options))
        return opened[-1]

    with PostGISArchive.open(postgis, table=table) as published, ThreadPoolExecutor(4) as pool:
        published._session.close()
        monkeypatch.setattr(sys.modules[Session.__module__], "connect", slowly)
        answers = list(pool.map(lambda tile: published.codes([tile]), range(4)))
    assert len(opened) == 1
    assert (np.concatenate(answers) == archive.codes(range(4))).all()


def test_a_query_sees_one_state_though_tiles_are_removed_meanwhile(
    archive: CodeArchive, postgis: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        before = published.query(tile=3, k=9)
        tiles_of = published.tiles

        def late(ids: np.ndarray) -> gpd.GeoDataFrame:
            if len(ids) > 1 and archive.num_tiles == 3500:
                archive.remove_tiles(ids)
                publish(archive, postgis, table=table)
            return tiles_of(ids)

        monkeypatch.setattr(published, "tiles", late)
        assert published.query(tile=3, k=9).equals(before)
        assert not set(published.query(tile=3000, k=9)["tile_id"]) & set(before["tile_id"])
        with pytest.raises(TileNotFoundError, match="no tile with id 3;"):
            published.query(tile=3)


def test_a_query_whose_session_is_lost_says_so_and_the_next_is_answered(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        with published._session.one_state():
            assert len(published) == 3500
            end_sessions(postgis)
            with pytest.raises(EngineUnreachableError, match=r"was lost: .*Ask again\."):
                len(published)
        assert len(published.query(tile=3, k=9)) == 9


@pytest.mark.parametrize("name", ['x"; DROP TABLE victims; --', "Ünïcode tiles", "select", "a.b"])
def test_any_name_is_only_a_name(archive: CodeArchive, postgis: str, name: str) -> None:
    with psycopg.connect(postgis, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS victims (id int)")
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    publish(archive, postgis, schema=name, table=name)
    with PostGISArchive.open(postgis, schema=name, table=name) as published:
        assert len(published) == 3500
        assert published.search(archive.codes([3]), k=1).ids[0, 0] == 3
    with psycopg.connect(postgis) as connection:
        connection.execute("SELECT FROM victims")


def test_a_hostile_archive_is_only_text(tmp_path: Path, postgis: str, table: str) -> None:
    hostile = ["'); DROP TABLE victims; --", '"quoted", with comma\nand line', "\\N", "\\.", " "]
    made = CodeArchive.create(tmp_path / 'it\'s "odd"; --', num_bits=8)
    tiles = gpd.GeoDataFrame(make_grid(5).assign(scene=hostile, label=hostile[::-1]))
    ids = made.add_codes(np.arange(5, dtype=np.uint8)[:, None], tiles)
    publish(made, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        frame = published.tiles(ids)
        assert frame["scene"].tolist() == hostile
        assert frame["label"].tolist() == hostile[::-1]
        assert published.search(np.zeros((1, 1), np.uint8), scenes=hostile[:1]).ids.shape == (1, 1)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_texts_are_utf8_whatever_the_environment_says(
    postgis: str, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    made = CodeArchive.create(tmp_path / "archive", num_bits=64)
    fill(made, 3, scene="Łódź_ü.tif")
    with monkeypatch.context() as patched:
        patched.setenv("PGCLIENTENCODING", encoding)
        publish(made, postgis, table=table)
        assert publish(made, postgis, table=table).num_added == 0
        with PostGISArchive.open(postgis, table=table) as published:
            assert set(published.tiles([0])["scene"]) == {"Łódź_ü.tif"}
            assert published.scenes() == made.scenes()
    assert contents(postgis, table) == stored(made)


# each fits the arguments better than the one of pg_catalog would without a cast
HIJACKS = (
    "hashtextextended(text, integer) RETURNS bigint",
    "hashint8extended(bigint, integer) RETURNS bigint",
    "hashint8extended(bigint, smallint) RETURNS bigint",
    "unnest(bigint[]) RETURNS SETOF bigint",
    "unnest(text[]) RETURNS SETOF text",
    "array_append(text[], text) RETURNS text[]",
    "max(bigint) RETURNS bigint",
    "times(numeric, integer) RETURNS numeric",
)


def test_functions_that_others_made_beside_postgis_are_not_called(
    archive: CodeArchive, plain: str, table: str
) -> None:
    with psycopg.connect(plain, autocommit=True) as connection:
        for head in HIJACKS:
            text = f"CREATE FUNCTION public.{head} LANGUAGE plpgsql AS $$ BEGIN {RAISE} END $$"
            connection.execute(text.encode())
        connection.execute(
            "CREATE OPERATOR public.* (FUNCTION = public.times, LEFTARG = numeric, "
            "RIGHTARG = integer)"
        )
        with pytest.raises(psycopg.errors.RaiseException, match="called"):
            connection.execute("SELECT hashtextextended('x'::text, 0)")
    publish(archive, plain, table=table)
    archive.remove_tiles([5])
    fill(archive, 10, scene="third.tif")
    assert publish(archive, plain, table=table).num_removed == 1
    with PostGISArchive.open(plain, table=table) as published:
        found = published.search(archive.codes([3]), k=3, max_distance=60, scenes=["first.tif"])
        assert found.ids[0, 0] == 3
        assert len(published.tiles(found.ids[0])) == len(published.codes(found.ids[0])) == 3
        rows = published._session.ask(published._tables.sql(SAMPLE), {"seed": 0, "count": 7})
        assert len(rows) == 7


RAISE = "RAISE EXCEPTION 'called';"


@pytest.mark.parametrize("name", ["", "x" * 60, "zero\0byte"])
def test_a_name_that_cannot_be_one_is_refused(archive: CodeArchive, name: str) -> None:
    with pytest.raises(EngineError, match=r"the table .* cannot be used: give 1 to 54 bytes"):
        publish(archive, "postgresql://nobody@127.0.0.1:1/x", table=name)


def test_the_table_of_another_archive_is_left_alone(
    archive: CodeArchive, postgis: str, table: str, tmp_path: Path
) -> None:
    publish(archive, postgis, table=table)
    before = contents(postgis, table)
    other = CodeArchive.create(tmp_path / "other", num_bits=64)
    fill(other, 10, scene="x.tif")
    with pytest.raises(EngineError, match=r"holds another archive than .*another table"):
        publish(other, postgis, table=table)
    longer = CodeArchive.create(tmp_path / "longer", num_bits=128)
    with pytest.raises(CodeLengthError, match="holds codes of 64 bits, but .* has 128"):
        publish(longer, postgis, table=table)
    assert contents(postgis, table) == before


def test_codes_of_another_hasher_are_refused(
    archive: CodeArchive, postgis: str, table: str, tmp_path: Path
) -> None:
    made = CodeArchive.create(tmp_path / "hashed", num_bits=64)
    fill(made, 10, scene="x.tif", fingerprint="a" * 64)
    publish(made, postgis, table=table)
    other = CodeArchive.create(tmp_path / "other", num_bits=64, attrs=made.attrs)
    fill(other, 10, scene="x.tif", fingerprint="b" * 64)
    with pytest.raises(HasherMismatchError, match="codes of hasher aaaaaaaaaaaaaaaa, but"):
        publish(other, postgis, table=table)


def test_an_older_copy_of_the_archive_is_refused(
    archive: CodeArchive, postgis: str, table: str, tmp_path: Path
) -> None:
    publish(archive, postgis, table=table)
    shutil.copytree(archive.path, tmp_path / "copy")
    fill(archive, 10, scene="x.tif")
    publish(archive, postgis, table=table)
    copy = CodeArchive.open(tmp_path / "copy")
    with pytest.raises(EngineError, match=r"up to id 3509, against commit 3, up to 3499\): it is"):
        publish(copy, postgis, table=table)
    fill(copy, 30, scene="y.tif")  # more than the table has: ids 3500 to 3509 have other codes
    with pytest.raises(EngineError, match="that this one does not come from"):
        publish(copy, postgis, table=table)
    assert contents(postgis, table) == stored(archive)


def test_a_copy_is_refused_also_where_publishing_the_other_was_cut_short(
    archive: CodeArchive, postgis: str, table: str, tmp_path: Path
) -> None:
    publish(archive, postgis, table=table)
    shutil.copytree(archive.path, tmp_path / "copy")
    fill(archive, 3000, scene="x.tif")
    fill(archive, 1000, scene="z.tif")
    with pytest.raises(EngineUnreachableError, match="publish again"):
        publish(archive, Wire(postgis, 1_100_000).dsn, table=table)
    assert len(contents(postgis, table)) == 6500
    copy = CodeArchive.open(tmp_path / "copy")
    fill(copy, 9000, scene="y.tif")
    with pytest.raises(EngineError, match="that this one does not come from"):
        publish(copy, postgis, table=table)
    publish(archive, postgis, table=table)
    assert contents(postgis, table) == stored(archive)


def part_of(archive: CodeArchive, folder: Path, first: int, count: int) -> CodeArchive:
    """Make what a worker of a cluster makes: tiles with ids that were reserved for it."""
    part = CodeArchive.create(folder, num_bits=archive.num_bits)
    part.reserve_ids(first)
    fill(part, count, scene=f"{first}.tif")
    return part


@pytest.mark.parametrize("num_removed", [0, 500])
def test_reserved_ids_that_are_used_late_are_published_late(
    archive: CodeArchive, postgis: str, table: str, tmp_path: Path, num_removed: int
) -> None:
    base = archive.reserve_ids(1000)
    archive.adopt([part_of(archive, tmp_path / "high", base + 500, 500)])
    first = publish(archive, postgis, table=table)
    assert first.num_added == first.num_tiles == 4000
    archive.adopt([part_of(archive, tmp_path / "low", base, 500)])
    archive.remove_tiles(range(num_removed))
    for number in range(8):  # segments are merged: one of a new name holds old tiles and new ones
        fill(archive, 40, scene=f"{number}.tif")
    report = publish(archive, postgis, table=table)
    assert (report.num_added, report.num_removed) == (820, num_removed)
    assert contents(postgis, table) == stored(archive)


def test_tables_that_lost_count_are_refused(archive: CodeArchive, postgis: str, table: str) -> None:
    publish(archive, postgis, table=table)
    text = sql.SQL("UPDATE {} SET num_tiles = 7").format(sql.Identifier(f"{table}_archive"))
    with psycopg.connect(postgis) as connection:
        connection.execute(text)
    with pytest.raises(EngineError, match="counts 7 tiles, but .* holds 3500 .* another table"):
        publish(archive, postgis, table=table)
    assert contents(postgis, table) == stored(archive)


def test_what_is_there_is_not_asked_for_tile_by_tile(
    archive: CodeArchive, postgis: str, table: str, monkeypatch: pytest.MonkeyPatch
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


def test_tables_of_an_earlier_version_are_read_and_brought_up_to_date(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    names = {"tiles": sql.Identifier(table), "archive": sql.Identifier(f"{table}_archive")}
    with psycopg.connect(postgis) as connection:
        # 600 tiles that an earlier version passed over, and 100 above of a run that was cut short
        for text in (
            "DELETE FROM {tiles} WHERE tile_id BETWEEN 2000 AND 2599",
            "ALTER TABLE {archive} DROP generation, DROP commit_id, DROP segments",
            "UPDATE {archive} SET format = 1, next_id = 3400, num_tiles = 2900",
        ):
            connection.execute(sql.SQL(text).format(**names))
    with PostGISArchive.open(postgis, table=table) as published:
        assert published.search(archive.codes([3]), k=1).ids[0, 0] == 3
    assert publish(archive, postgis, table=table).num_added == 600
    assert contents(postgis, table) == stored(archive)
    assert publish(archive, postgis, table=table).num_added == 0


def test_a_table_that_publishing_did_not_make_is_left_alone(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    before = contents(postgis, table)
    with psycopg.connect(postgis) as connection:  # as if only the tiles had been restored
        for name in ("archive", "scenes"):
            text = sql.SQL("DROP TABLE {}").format(sql.Identifier(f"{table}_{name}"))
            connection.execute(text)
    fill(archive, 10, scene="x.tif")
    with pytest.raises(EngineError, match=f'is not free: relation "{table}" already .* another'):
        publish(archive, postgis, table=table)
    assert contents(postgis, table) == before


def test_an_archive_that_was_never_published_must_be_writable_once(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    reader = CodeArchive.open(archive.path, mode="r")
    with pytest.raises(ArchiveReadOnlyError, match="opened with mode='r'"):
        publish(reader, postgis, table=table)
    publish(archive, postgis, table=table)
    again = publish(CodeArchive.open(archive.path, mode="r"), postgis, table=table)
    assert again.num_added == 0


def test_an_archive_without_codes_is_refused(tmp_path: Path) -> None:
    pending = CodeArchive.create(tmp_path / "pending", pending_hasher="itq-64")
    with pytest.raises(QueryError, match="not fitted yet; add imagery, then publish"):
        publish(pending, "postgresql://nobody@127.0.0.1:1/x")


def test_two_publishers_do_not_meet(
    archive: CodeArchive, postgis: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[publish.__module__], "PATIENCE", "100ms")
    publish(archive, postgis, table=table)
    otherwise_spelt = conninfo.make_conninfo(
        postgis, host="alias.example.org", hostaddr=conninfo.conninfo_to_dict(postgis)["host"]
    )
    assert where(otherwise_spelt) != where(postgis)
    with connect(otherwise_spelt, read_only=False) as other:
        with _alone(other, Tables("public", f"{table}_2"), "elsewhere"):
            publish(archive, postgis, table=table)
        with (
            _alone(other, Tables("public", table), "there"),
            pytest.raises(EngineError, match="another process is publishing into"),
        ):
            publish(archive, postgis, table=table)
        publish(archive, postgis, table=table)


def test_a_server_that_is_not_there_is_named_without_the_password() -> None:
    with pytest.raises(
        EngineUnreachableError, match=r"127\.0\.0\.1:1/geo cannot be used"
    ) as caught:
        PostGISArchive.open("postgresql://me:secret@127.0.0.1:1/geo")
    assert "secret" not in str(caught.value)


def test_a_wrong_password_is_said(postgis: str) -> None:
    wrong = conninfo.make_conninfo(postgis, password="wrong-secret")
    with pytest.raises(EngineUnreachableError, match="password authentication failed") as caught:
        PostGISArchive.open(wrong)
    assert "wrong-secret" not in str(caught.value)


def test_an_address_that_is_none_is_refused_without_repeating_it() -> None:
    with pytest.raises(EngineError, match="no connection string") as caught:
        PostGISArchive.open("me:secret at somewhere")
    assert "secret" not in "".join(traceback.format_exception(caught.value)).replace(
        'open("me:secret at somewhere")', ""
    )
    assert caught.value.__cause__ is None


def test_a_database_without_postgis_is_named(archive: CodeArchive, empty_database: str) -> None:
    with pytest.raises(EngineError, match="has no PostGIS; let an administrator run 'CREATE EXT"):
        publish(archive, empty_database)


def test_a_table_where_nothing_was_published_is_named(postgis: str) -> None:
    with pytest.raises(EngineError, match="public.nothing holds no archive; publish one"):
        PostGISArchive.open(postgis, table="nothing")


def test_a_schema_that_is_not_there_is_named(archive: CodeArchive, postgis: str) -> None:
    with pytest.raises(EngineError, match='schema "nowhere" does not exist; let its owner run'):
        publish(archive, postgis, schema="nowhere")


def test_a_server_older_than_bit_count_is_refused() -> None:
    with pytest.raises(EngineError, match=r"runs PostgreSQL 13, .* came with 14; upgrade"):
        check_version(130_011, "db:5432/geo")
    check_version(140_000, "db:5432/geo")


def test_codes_made_elsewhere_have_no_hasher(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    from geohash_rs.errors import HasherError

    publish(archive, postgis, table=table)
    with (
        PostGISArchive.open(postgis, table=table) as published,
        pytest.raises(HasherError, match="holds codes made elsewhere and no hasher"),
    ):
        published.query("patch.tif")


@pytest.fixture
def roles(postgis: str) -> Iterator[tuple[str, str]]:
    """Make the roles of docs/engines.md; give the addresses of a publisher and a reader."""
    names = [f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("publisher", "reader")]
    with psycopg.connect(postgis, autocommit=True) as connection:
        for name in names:
            text = sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(name))
            connection.execute(text)
            text = sql.SQL("GRANT USAGE ON SCHEMA gis TO {}").format(sql.Identifier(name))
            connection.execute(text)
        publisher, reader = map(sql.Identifier, names)
        for text in (
            "CREATE SCHEMA shared AUTHORIZATION {publisher}",
            "GRANT USAGE ON SCHEMA shared TO {reader}",
            "ALTER DEFAULT PRIVILEGES FOR ROLE {publisher} IN SCHEMA shared "
            "GRANT SELECT ON TABLES TO {reader}",
        ):
            connection.execute(sql.SQL(text).format(publisher=publisher, reader=reader))
        first, second = (conninfo.make_conninfo(postgis, user=n, password="x") for n in names)
        yield first, second
        connection.execute("DROP SCHEMA shared CASCADE")
        for name in (publisher, reader):
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(name))


def test_a_publisher_and_a_reader_need_no_more_rights_than_documented(
    archive: CodeArchive, roles: tuple[str, str]
) -> None:
    publisher, reader = roles
    publish(archive, publisher, schema="shared")
    with PostGISArchive.open(reader, schema="shared") as published:
        assert published.search(archive.codes([3]), k=1).ids[0, 0] == 3
        assert len(published.tiles([3])) == len(published.scenes()[:1]) == 1
    fill(archive, 10, scene="x.tif")
    with pytest.raises(EngineError, match="may not do this in .*permission denied"):
        publish(archive, reader, schema="shared")
    with pytest.raises(EngineError, match="may not do this in .*permission denied"):
        publish(archive, publisher, schema="gis")


def test_the_session_that_asks_cannot_write(archive: CodeArchive, postgis: str, table: str) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        text = sql.SQL("DELETE FROM {}").format(sql.Identifier("public", table))
        published._session.ask(sql.SQL("SELECT FROM {}").format(sql.Identifier("public", table)))
        with pytest.raises(EngineError, match="read-only transaction"):
            published._session.ask(text)


def test_the_same_query_answers_the_same_from_folder_and_database(
    postgis: str, table: str, scene_folder: Path, tmp_path: Path
) -> None:
    from geohash_rs import Archive, Scenes

    archive = Archive.create(tmp_path / "archive", hasher="lsh-32")
    archive.add(Scenes(scene_folder), tile_size=64)
    publish(archive, postgis, table=table)
    patch = scene_folder / "b_20230601.tif"
    with PostGISArchive.open(postgis, table=table) as published:
        assert published.hasher_fingerprint == archive.hasher_fingerprint
        mine, theirs = (one.query(patch, k=9) for one in (published, archive))
    assert len(theirs) == 9
    assert type(mine) is type(theirs)
    assert mine.equals(theirs)


def test_the_command_publishes_and_says_what_it_did(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    from geohash_rs.cli import app

    words = ["publish", str(archive.path), postgis, "--table", table]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["num_added"] == 3500
    result = CliRunner().invoke(app, words)
    assert "0 tiles added and 0 removed" in result.output
    archive.close()


def test_the_command_asks_the_database_as_it_asks_the_folder(
    archive: CodeArchive, postgis: str, table: str
) -> None:
    from geohash_rs.cli import app

    publish(archive, postgis, table=table)
    parts = conninfo.conninfo_to_dict(postgis)
    url = "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**parts)
    words = ["query", url, "--table", table, "--tile", "3", "-k", "5", "--json"]
    mine = CliRunner().invoke(app, words)
    assert mine.exit_code == 0, mine.output
    words = ["query", str(archive.path), "--tile", "3", "-k", "5", "--json"]
    assert json.loads(mine.output) == json.loads(CliRunner().invoke(app, words).output)
    assert len(json.loads(mine.output)["features"]) == 5


def test_publishing_in_pieces_is_as_publishing_at_once(
    tmp_path: Path, postgis: str, table: str
) -> None:
    truth = make_archive(tmp_path / "archive", seed=5, sizes=(400, 300), num_bits=16)
    archive = CodeArchive.open(truth.folder)
    publish(archive, postgis, table=table)
    archive.remove_scenes([archive.scenes()[0].scene])
    report = publish(archive, postgis, table=table)
    assert report.num_removed > 0
    assert contents(postgis, table) == stored(archive)
    assert dataclasses.asdict(report)["num_tiles"] == len(archive)


BLOCKED = """
import sys
sys.modules["psycopg"] = None
try:
    import geohash_rs.engines.postgis
except ImportError as error:
    print(type(error).__name__, error)
"""


def test_a_missing_package_names_the_extra() -> None:
    found = subprocess.run(
        [sys.executable, "-c", BLOCKED], check=True, capture_output=True, text=True
    )
    assert found.stdout.startswith(EngineMissingError.__name__)
    assert 'pip install "geohash-rs[postgis]"' in found.stdout
