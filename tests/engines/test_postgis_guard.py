"""Connecting to a database safely: addresses, privileges, names, hostile texts."""

import subprocess
import sys
import traceback
import uuid
from collections.abc import Iterator
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from geohash_rs.errors import EngineError, EngineMissingError, EngineUnreachableError
from geohash_rs.store.code_store import CodeStore
from tests.store.helpers import make_grid

psycopg = pytest.importorskip("psycopg")

from psycopg import conninfo, sql  # noqa: E402 - after the skip

from geohash_rs.engines.postgis import PostGISArchive, publish  # noqa: E402
from geohash_rs.engines.postgis.connection import check_version  # noqa: E402
from tests.engines.published import contents, fill, stored, two_scenes  # noqa: E402


@pytest.fixture
def archive(tmp_path: Path) -> CodeStore:
    return two_scenes(tmp_path / "archive")


@pytest.mark.parametrize("name", ['x"; DROP TABLE victims; --', "Ünïcode tiles", "select", "a.b"])
def test_any_name_is_only_a_name(archive: CodeStore, postgis: str, name: str) -> None:
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
    made = CodeStore.create(tmp_path / 'it\'s "odd"; --', num_bits=8)
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
    made = CodeStore.create(tmp_path / "archive", num_bits=64)
    fill(made, 3, scene="Łódź_ü.tif")
    with monkeypatch.context() as patched:
        patched.setenv("PGCLIENTENCODING", encoding)
        publish(made, postgis, table=table)
        assert publish(made, postgis, table=table).num_added == 0
        with PostGISArchive.open(postgis, table=table) as published:
            assert set(published.tiles([0])["scene"]) == {"Łódź_ü.tif"}
            assert published.scenes() == made.scenes()
    assert contents(postgis, table) == stored(made)


# each matches the arguments better than pg_catalog's function would without a cast
HIJACKS = (
    "hashtextextended(text, integer) RETURNS bigint",
    "unnest(bigint[]) RETURNS SETOF bigint",
    "unnest(text[]) RETURNS SETOF text",
    "array_append(text[], text) RETURNS text[]",
    "max(bigint) RETURNS bigint",
    "times(numeric, integer) RETURNS numeric",
)


RAISE = "RAISE EXCEPTION 'called';"


def test_functions_that_others_define_in_the_schema_of_postgis_are_not_called(
    archive: CodeStore, plain: str, table: str
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


@pytest.mark.parametrize("name", ["", "x" * 60, "zero\0byte"])
def test_an_impossible_table_name_is_refused(archive: CodeStore, name: str) -> None:
    with pytest.raises(EngineError, match=r"the table .* cannot be used: pass a name of 1 to 54"):
        publish(archive, "postgresql://nobody@127.0.0.1:1/x", table=name)


def test_an_unreachable_server_is_reported_without_the_password() -> None:
    with pytest.raises(
        EngineUnreachableError, match=r"127\.0\.0\.1:1/geo cannot be used"
    ) as caught:
        PostGISArchive.open("postgresql://me:secret@127.0.0.1:1/geo")
    assert "secret" not in str(caught.value)


def test_a_wrong_password_is_reported(postgis: str) -> None:
    wrong = conninfo.make_conninfo(postgis, password="wrong-secret")
    with pytest.raises(EngineUnreachableError, match="password authentication failed") as caught:
        PostGISArchive.open(wrong)
    assert "wrong-secret" not in str(caught.value)


def test_an_invalid_address_is_refused_without_repeating_it() -> None:
    with pytest.raises(EngineError, match="not a connection string") as caught:
        PostGISArchive.open("me:secret at somewhere")
    assert "secret" not in "".join(traceback.format_exception(caught.value)).replace(
        'open("me:secret at somewhere")', ""
    )
    assert caught.value.__cause__ is None


def test_a_database_without_postgis_is_reported(archive: CodeStore, empty_database: str) -> None:
    with pytest.raises(
        EngineError, match="has no PostGIS; ask an administrator to run 'CREATE EXT"
    ):
        publish(archive, empty_database)


def test_a_missing_schema_is_reported(archive: CodeStore, postgis: str) -> None:
    with pytest.raises(EngineError, match='schema "nowhere" does not exist; ask the database'):
        publish(archive, postgis, schema="nowhere")


def test_a_server_older_than_bit_count_is_refused() -> None:
    with pytest.raises(EngineError, match=r"runs PostgreSQL 13, .* of PostgreSQL 14; upgrade"):
        check_version(130_011, "db:5432/geo")
    check_version(140_000, "db:5432/geo")


@pytest.fixture
def roles(postgis: str) -> Iterator[tuple[str, str]]:
    """Make the roles of docs/guides/postgis.md; return the addresses of both users."""
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


def test_a_publisher_and_a_reader_need_only_the_documented_privileges(
    archive: CodeStore, roles: tuple[str, str]
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


def test_the_reading_session_cannot_write(archive: CodeStore, postgis: str, table: str) -> None:
    publish(archive, postgis, table=table)
    with PostGISArchive.open(postgis, table=table) as published:
        text = sql.SQL("DELETE FROM {}").format(sql.Identifier("public", table))
        published._session.ask(sql.SQL("SELECT FROM {}").format(sql.Identifier("public", table)))
        with pytest.raises(EngineError, match="read-only transaction"):
            published._session.ask(text)


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
