"""Searching an archive in a real PostGIS, one session and one state at a time."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner

from geohash_rs.errors import (
    EngineError,
    EngineUnreachableError,
    HasherError,
    QueryError,
    TileNotFoundError,
)
from geohash_rs.store.code_store import CodeStore

psycopg = pytest.importorskip("psycopg")

from psycopg import conninfo, sql  # noqa: E402 - after the skip

from geohash_rs.cli import app  # noqa: E402
from geohash_rs.engines.postgis import PostGISArchive, publish  # noqa: E402
from geohash_rs.engines.postgis.connection import connect  # noqa: E402
from geohash_rs.engines.postgis.session import Session  # noqa: E402
from tests.engines.published import end_sessions, fill, refit, two_scenes  # noqa: E402


@pytest.fixture
def archive(tmp_path: Path) -> CodeStore:
    return two_scenes(tmp_path / "archive")


def test_an_open_archive_sees_what_is_published_meanwhile(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        ids = fill(archive, 10, scene="third.tif")
        publish(archive, postgis, table=table)
        assert len(published) == 3510
        assert published.search(archive.codes(ids[:1]), k=1).ids[0, 0] == ids[0]


def test_a_lost_session_reconnects(archive: CodeStore, postgis: str, table: str) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        before = published.search(archive.codes([3]), k=5)
        end_sessions(postgis)
        after = published.search(archive.codes([3]), k=5)
    assert (before.ids == after.ids).all()


def test_threads_that_find_a_lost_session_open_a_single_new_one(
    archive: CodeStore, postgis: str, table: str, monkeypatch: pytest.MonkeyPatch
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


def test_a_query_sees_one_state_even_if_tiles_are_removed_meanwhile(
    archive: CodeStore, postgis: str, table: str, monkeypatch: pytest.MonkeyPatch
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


def test_a_query_whose_session_is_lost_fails_and_the_next_succeeds(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        with published._session.one_state():
            assert len(published) == 3500
            end_sessions(postgis)
            with pytest.raises(EngineUnreachableError, match=r"was lost: .*Try again\."):
                len(published)
        assert len(published.query(tile=3, k=9)) == 9


def test_a_table_without_an_archive_is_reported(postgis: str) -> None:
    with pytest.raises(EngineError, match="public.nothing does not hold an archive; publish one"):
        PostGISArchive.open(postgis, table="nothing")


def test_a_database_chooses_its_threads(archive: CodeStore, postgis: str, table: str) -> None:
    publish(archive, postgis, table=table)
    with (
        PostGISArchive.open(postgis, table=table) as published,
        pytest.raises(QueryError, match="num_threads is 2, but the database decides"),
    ):
        published.search(archive.codes([3]), num_threads=2)


def test_codes_made_elsewhere_have_no_hasher(archive: CodeStore, postgis: str, table: str) -> None:
    publish(archive, postgis, table=table)
    with (
        PostGISArchive.open(postgis, table=table) as published,
        pytest.raises(HasherError, match="holds codes made elsewhere and no hasher"),
    ):
        published.query("patch.tif")


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


def test_the_command_queries_a_database_like_a_folder(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    parts = conninfo.conninfo_to_dict(postgis)
    url = "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**parts)
    words = ["query", url, "--table", table, "--tile", "3", "-k", "5", "--json"]
    mine = CliRunner().invoke(app, words)
    assert mine.exit_code == 0, mine.output
    words = ["query", str(archive.path), "--tile", "3", "-k", "5", "--json"]
    assert json.loads(mine.output) == json.loads(CliRunner().invoke(app, words).output)
    assert len(json.loads(mine.output)["features"]) == 5


def test_a_table_is_read_from_one_state_and_hinders_no_search(
    archive: CodeStore, postgis: str, table: str
) -> None:
    fill(archive, 20_000, scene="large.tif")
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        whole = published.to_table(["tile_id", "scene"])
        reader = whole.reader()
        first = reader.read_next_batch()
        assert 0 < len(first) < 20_000
        archive.remove_scenes(["large.tif"])
        publish(archive, postgis, table=table)
        assert published.search(archive.codes([3]), k=1).ids[0, 0] == 3
        assert len(first) + len(reader.read_all()) == 23_500
    assert whole.reader().read_all()["tile_id"].to_pylist() == list(range(3500))
    with psycopg.connect(postgis, autocommit=True) as other:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        query += " AND backend_type = 'client backend'"
        for _ in range(100):  # a server notices only after a moment that a connection was closed
            connections = other.execute(query).fetchone()
            if connections == (1,):  # this one
                break
            time.sleep(0.1)
        assert connections == (1,)


def test_a_table_of_codes_that_were_published_again_by_another_hasher_is_refused(
    archive: CodeStore, postgis: str, table: str
) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        before = published.to_table(["code"])
        assert len(before.reader().read_all()) == 3500
        with psycopg.connect(postgis) as other:
            for name in (table, f"{table}_archive", f"{table}_scenes"):
                other.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
        with pytest.raises(EngineError, match="is not a complete archive"):
            before.reader().read_all()
        refit(archive, "another", 64)
        publish(archive, postgis, table=table)
        with pytest.raises(EngineError, match="codes of another hasher, than when the table"):
            before.reader().read_all()
