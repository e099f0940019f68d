"""pgvector's index of bits: asked for by name, refused where it is not there, its misses counted.

What needs no pgvector is tested on any server with PostGIS; the rest skips where it is not there.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from geohash_rs.errors import EngineError, QueryError
from geohash_rs.store.code_store import CodeStore
from tests.engines.random_archive import RandomArchive, make_archive

psycopg = pytest.importorskip("psycopg")

from psycopg import sql  # noqa: E402 - after the skip

from geohash_rs.cli import app  # noqa: E402
from geohash_rs.engines.postgis import PostGISArchive, publish  # noqa: E402
from geohash_rs.engines.postgis.session import ONE_STATE  # noqa: E402

MAKE = "CREATE SCHEMA IF NOT EXISTS vectors; CREATE EXTENSION IF NOT EXISTS vector SCHEMA vectors"


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> RandomArchive:
    return make_archive(tmp_path_factory.mktemp("archive") / "archive", seed=11, num_bits=64)


@pytest.fixture(scope="module")
def pgvector(postgis: str) -> str:
    with psycopg.connect(postgis, autocommit=True) as connection:
        found = connection.execute(
            "SELECT FROM pg_available_extension_versions WHERE name = 'vector' AND version >= '0.7'"
        )
        if found.fetchone() is None:
            pytest.skip("the server has no pgvector of 0.7 or newer (docs/engines.md)")
        connection.execute(MAKE)
    return postgis


@pytest.fixture(scope="module")
def indexed(pgvector: str, truth: RandomArchive) -> tuple[str, str]:
    """Publish with an index of codes; give address and table."""
    with CodeStore.open(truth.folder) as archive:
        report = publish(archive, pgvector, table="approximate", approximate_index=True)
    assert report.recall is not None
    assert report.recall.num_queries == 30
    assert report.recall.as_near > 0.8
    return pgvector, "approximate"


def steps_of(opened: PostGISArchive, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the planner prefer an index; collect how the server goes about each statement."""
    opened._session.ask(
        sql.Composed([sql.SQL("SELECT set_config('enable_seqscan', 'off', false)")])
    )
    run, steps = opened._session._run, []

    def explain(statement: sql.Composed, values: object) -> list[object]:
        if statement is ONE_STATE:
            return run(statement, values)
        plan = opened._session._connection.execute(
            sql.SQL("EXPLAIN ") + statement, values, prepare=False
        ).fetchall()
        steps.append("\n".join(row[0] for row in plan))
        return run(statement, values)

    monkeypatch.setattr(opened._session, "_run", explain)
    return steps


def test_the_index_is_asked_and_its_matches_are_true_tiles_in_order(
    indexed: tuple[str, str], truth: RandomArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, table = indexed
    ids_of = {tile: row for row, tile in enumerate(truth.tiles["tile_id"])}
    with PostGISArchive.open(dsn, table=table, approximate=True) as opened:
        steps = steps_of(opened, monkeypatch)
        queries = truth.codes[[5, 700, 2900]]
        found = opened.search(queries, k=20)
    assert len(steps) == 3
    assert all("Index Scan using approximate_code on" in step for step in steps), steps[0]
    assert found.ids.shape == (3, 20)
    for code, ids, distances in zip(queries, found.ids, found.distances, strict=True):
        rows = [ids_of[tile] for tile in ids.tolist()]
        assert len(set(rows)) == 20
        true = np.unpackbits(truth.codes[rows] ^ code, axis=1).sum(axis=1)
        np.testing.assert_array_equal(distances, true)
        pairs = list(zip(distances.tolist(), ids.tolist(), strict=True))
        assert pairs == sorted(pairs)


def test_a_radius_holds_for_what_the_index_finds(
    indexed: tuple[str, str], truth: RandomArchive
) -> None:
    dsn, table = indexed
    with PostGISArchive.open(dsn, table=table, approximate=True, candidates=50) as opened:
        found = opened.search(truth.codes[:1] ^ 1, k=50, max_distance=8)
    assert found.ids.size
    assert found.distances.max() <= 8


@pytest.mark.parametrize(
    "options",
    [
        {"region": (10.0, 50.0, 10.35, 50.45)},
        {"time": ("2023-01-01", "2023-03-31")},
        {"labels": ["field"]},
        {"exclude_ids": [1, 2, 3]},
        {"k": 201},
        {"k": None, "max_distance": 9},
    ],
)
def test_what_the_index_cannot_answer_is_exact(
    indexed: tuple[str, str],
    truth: RandomArchive,
    options: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dsn, table = indexed
    query = truth.codes[7] ^ 1
    with PostGISArchive.open(dsn, table=table, approximate=True) as opened:
        steps = steps_of(opened, monkeypatch)
        found = opened.search(query[None], **options)
    assert "approximate_code" not in steps[0]
    pairs = list(zip(found.distances[0], found.ids[0], strict=True))
    assert pairs == truth.loop(query, **options)


def test_where_the_index_gives_too_few_the_answer_is_exact(
    indexed: tuple[str, str], truth: RandomArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, table = indexed
    query = truth.codes[7] ^ 1
    with PostGISArchive.open(dsn, table=table, approximate=True) as opened:
        nearest = opened._nearest
        monkeypatch.setattr(opened, "_nearest", lambda *args: nearest(*args)[:19])
        found = opened.search(query[None], k=20)
    assert list(zip(found.distances[0], found.ids[0], strict=True)) == truth.loop(query, k=20)


def test_recall_is_that_of_the_same_queries_asked_both_ways(
    indexed: tuple[str, str], truth: RandomArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn, table = indexed
    codes = truth.codes[100:110]
    with PostGISArchive.open(dsn, table=table, approximate=True) as opened:
        good = opened.recall(codes, k=10)
        assert (good.num_queries, good.k) == (10, 10)
        assert 0 <= good.recall <= good.as_near <= 1
        found = opened.search(codes, k=10).ids
        exact = [{tile for _, tile in truth.loop(code, k=10)} for code in codes]
        pairs = zip(exact, found.tolist(), strict=True)
        hits = sum(len(wanted & set(ids)) for wanted, ids in pairs)
        assert good.recall == hits / 100
        assert opened.recall(num_queries=7).num_queries == 7
        missed = [(10**6 + n, 64) for n in range(10)]
        monkeypatch.setattr(opened, "_nearest", lambda *_: missed)
        bad = opened.recall(codes, k=10)
        assert (bad.recall, bad.as_near) == (0, 0)
        others = [(10**6 + n, 0) for n in range(10)]
        monkeypatch.setattr(opened, "_nearest", lambda *_: others)
        equal = opened.recall(codes, k=10)
        assert (equal.recall, equal.as_near) == (0, 1)


def test_the_index_follows_what_is_published_later(
    pgvector: str, table: str, tmp_path: Path
) -> None:
    truth = make_archive(tmp_path / "archive", seed=3, sizes=(400, 300), num_bits=16)
    with CodeStore.open(truth.folder) as archive:
        publish(archive, pgvector, table=table)
        with pytest.raises(
            EngineError, match="no index of codes; make it with 'geohash-rs publish"
        ):
            PostGISArchive.open(pgvector, table=table, approximate=True)
        assert publish(archive, pgvector, table=table, approximate_index=True).num_added == 0
        gone = archive.search(truth.codes[:1], k=1).ids[0, 0]
        archive.remove_tiles([gone])
        publish(archive, pgvector, table=table)
        with PostGISArchive.open(pgvector, table=table, approximate=True) as opened:
            assert gone not in opened.search(truth.codes[:1], k=200).ids


def test_a_lost_session_asks_the_index_as_before(
    indexed: tuple[str, str], truth: RandomArchive
) -> None:
    dsn, table = indexed
    with PostGISArchive.open(dsn, table=table, approximate=True, candidates=123) as opened:
        opened._session._connection.close()
        assert opened.search(truth.codes[:1], k=5).ids.shape == (1, 5)
        show = sql.Composed([sql.SQL("SELECT current_setting('hnsw.ef_search')")])
        assert opened._session.ask(show) == [("123",)]


def test_the_commands_index_say_the_recall_and_ask(
    pgvector: str, truth: RandomArchive, table: str
) -> None:
    folder = str(truth.folder)
    url = url_of(pgvector)
    result = CliRunner().invoke(
        app, ["publish", folder, url, "--table", table, "--approximate-index"]
    )
    assert result.exit_code == 0, result.output
    assert "The approximate index finds" in result.output
    words = ["query", url, "--table", table, "--tile", "3", "-k", "5", "--json", "--approximate"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert len(json.loads(result.output)["features"]) == 5
    result = CliRunner().invoke(app, ["query", folder, "--tile", "3", "--approximate"])
    assert result.exit_code == 2
    assert "--approximate is for an archive in PostGIS" in result.output


def url_of(dsn: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return "postgresql://{user}:{password}@{host}:{port}/{dbname}".format(**parts)


@pytest.mark.parametrize("candidates", [0, 1001])
def test_candidates_that_pgvector_cannot_give_are_refused(candidates: int) -> None:
    with pytest.raises(QueryError, match=f"candidates is {candidates}, but .* from 1 to 1000"):
        PostGISArchive.open("postgresql://nobody@127.0.0.1:1/x", candidates=candidates)


def test_a_database_without_pgvector_is_named_before_anything_is_sent(
    plain: str, truth: RandomArchive, table: str
) -> None:
    with (
        CodeStore.open(truth.folder) as archive,
        pytest.raises(EngineError, match="has no pgvector; let an administrator run 'CREATE EXT"),
    ):
        publish(archive, plain, table=table, approximate_index=True)
    with pytest.raises(EngineError, match=f"{table} holds no archive"):
        PostGISArchive.open(plain, table=table)


def test_exact_archives_know_no_recall_and_an_old_pgvector_is_refused(
    plain: str, truth: RandomArchive, table: str
) -> None:
    with CodeStore.open(truth.folder) as archive:
        publish(archive, plain, table=table)
    with PostGISArchive.open(plain, table=table) as opened:
        with pytest.raises(QueryError, match="searches for 20 matches are exact; open"):
            opened.recall()
        with psycopg.connect(plain) as connection:  # rolled back
            connection.execute(
                "UPDATE pg_extension SET extname = 'vector', extversion = '0.4.4' "
                "WHERE extname = 'plpgsql'"
            )
            from geohash_rs.engines.postgis.approximate import find_pgvector

            with pytest.raises(EngineError, match=r"has pgvector 0\.4\.4, but bits .* since 0\.7"):
                find_pgvector(connection, "db:5432/geo")
            connection.rollback()
