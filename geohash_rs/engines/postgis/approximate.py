"""pgvector's index of bits: near matches without comparing every row, and how many it misses."""

import time
from dataclasses import dataclass
from typing import LiteralString

import numpy as np
import numpy.typing as npt
from psycopg import sql

from geohash_rs.engines.postgis.connection import Connection
from geohash_rs.engines.postgis.schema import Tables
from geohash_rs.engines.postgis.session import Session
from geohash_rs.errors import EngineError, QueryError
from geohash_rs.retrieval.searchable import Searchable

__all__ = [
    "CANDIDATES",
    "NEAREST",
    "Recall",
    "check_candidates",
    "create_code_index",
    "draw_ids",
    "find_code_index",
    "find_pgvector",
    "measure",
    "use_index",
]

OLDEST = (0, 7)  # pgvector indexes bits since then
CANDIDATES = 200  # that the index gives for a query unless told otherwise
MOST_CANDIDATES = 1000  # pgvector's own limit of hnsw.ef_search

# The index gives candidates in the order of their distance; of equal ones it gives some. They are
# then ordered, cut by the radius and by k like the rows of the exact statement.
NEAREST: LiteralString = """
SELECT tile_id, pg_catalog.bit_count(code # %(query)s::bit({num_bits})) AS distance
FROM (
    SELECT tile_id, code FROM {tiles}
    ORDER BY code OPERATOR({pgvector}.<~>) %(query)s::bit({num_bits})
    LIMIT %(candidates)s
) AS nearest
WHERE {conditions}
ORDER BY distance, tile_id
LIMIT %(k)s"""
# tiles strewn over the table, the same ones for the same seed
SAMPLE: LiteralString = """
SELECT tile_id FROM {tiles}
ORDER BY pg_catalog.hashint8extended(tile_id, %(seed)s::bigint), tile_id
LIMIT %(count)s"""


@dataclass(frozen=True, kw_only=True)
class Recall:
    """How much of the exact answer the index finds.

    Attributes:
        num_queries: Queries that were asked both ways.
        k: Matches for each.
        recall: Share of the exact matches, by tile id, that were found; 1 if none is missing.
        as_near: The same, but other tiles at the distance of the last exact match count as well.
        exact_seconds: Median time of an exact query.
        approximate_seconds: Median time of a query of the index.
    """

    num_queries: int
    k: int
    recall: float
    as_near: float
    exact_seconds: float
    approximate_seconds: float


def find_pgvector(connection: Connection, place: str) -> str:
    """Give the schema of pgvector.

    Args:
        connection: A session.
        place: Which server.

    Returns:
        The schema, not quoted.

    Raises:
        EngineError: If the database has no pgvector, or one that cannot index bits.
    """
    row = connection.execute(
        "SELECT n.nspname, e.extversion FROM pg_catalog.pg_extension e "
        "JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'vector'"
    ).fetchone()
    need = ".".join(map(str, OLDEST))
    if row is None:
        msg = (
            f"the database {place} has no pgvector; let an administrator run 'CREATE EXTENSION "
            f"vector' ({need} or newer), or search exactly, which needs none."
        )
        raise EngineError(msg)
    schema, version = row
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        msg = (
            f"the database {place} has pgvector {version}, but bits are indexed since {need}; let "
            "an administrator install a newer one and run 'ALTER EXTENSION vector UPDATE', or "
            "search exactly."
        )
        raise EngineError(msg)
    return str(schema)


def find_code_index(connection: Connection, tables: Tables, place: str) -> str:
    """Give the schema of pgvector, by whose index the codes can be searched.

    Args:
        connection: A session.
        tables: The archive's tables.
        place: Which server.

    Returns:
        The schema, not quoted.

    Raises:
        EngineError: If the database has no pgvector, an old one, or the table no index of codes.
    """
    pgvector = find_pgvector(connection, place)
    query = (
        "SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid "
        "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = %s AND c.relname = %s AND i.indisvalid"
    )
    found = connection.execute(query, [tables.schema, f"{tables.table}_code"])
    if found.fetchone() is None:
        msg = (
            f"{place}/{tables} has no index of codes; make it with 'geohash-rs publish "
            "--approximate-index', or search exactly."
        )
        raise EngineError(msg)
    return pgvector


def create_code_index(connection: Connection, tables: Tables, pgvector: str) -> None:
    """Make the index of codes if it is not there; the server keeps it up to date from then on.

    Args:
        connection: A session that owns the table.
        tables: The archive's tables.
        pgvector: Schema of pgvector.
    """
    connection.execute(
        tables.sql(
            "CREATE INDEX IF NOT EXISTS {code_index} ON {tiles} "
            "USING hnsw (code {pgvector}.bit_hamming_ops)",
            pgvector=sql.Identifier(pgvector),
        )
    )


def check_candidates(candidates: int) -> None:
    """Check the number of candidates.

    Args:
        candidates: Tiles that the index shall give for a query.

    Raises:
        QueryError: If it is none that pgvector takes.
    """
    if not 1 <= candidates <= MOST_CANDIDATES:
        msg = f"candidates is {candidates}, but pgvector gives from 1 to {MOST_CANDIDATES}."
        raise QueryError(msg)


def use_index(connection: Connection, candidates: int) -> None:
    """Tell pgvector how many candidates to keep while it follows its index.

    Args:
        connection: A session.
        candidates: Tiles that the index shall give for a query.
    """
    connection.execute(
        "SELECT pg_catalog.set_config('hnsw.ef_search', %s, false)", [str(candidates)]
    )


def draw_ids(session: Session, tables: Tables, *, count: int, seed: int) -> list[int]:
    """Draw tiles, by whose codes the index is measured.

    Args:
        session: A session.
        tables: The archive's tables.
        count: How many.
        seed: Draws them.

    Returns:
        Their ids; fewer where there are fewer.
    """
    return [row[0] for row in session.ask(tables.sql(SAMPLE), {"seed": seed, "count": count})]


def measure(
    exact: Searchable, approximate: Searchable, codes: npt.NDArray[np.uint8], *, k: int
) -> Recall:
    """Ask the same queries exactly and of the index, and compare.

    Args:
        exact: The archive.
        approximate: The same one, opened to ask the index.
        codes: Packed codes, uint8, shape (queries, bits / 8).
        k: Matches for each.

    Returns:
        What was found and how long it took; nothing is missing where nothing is asked.
    """
    times: dict[bool, list[float]] = {True: [], False: []}
    wanted = found = as_near = 0
    for code in codes:
        answers = {}
        for is_exact, archive in ((True, exact), (False, approximate)):
            start = time.perf_counter()
            answers[is_exact] = archive.search(code[None], k=k)
            times[is_exact].append(time.perf_counter() - start)
        true, near = answers[True], answers[False]
        wanted += true.ids.size
        found += int(np.isin(near.ids, true.ids).sum())
        as_near += int((near.distances <= true.distances.max(initial=-1)).sum())
    return Recall(
        num_queries=len(codes),
        k=k,
        recall=found / wanted if wanted else 1.0,
        as_near=as_near / wanted if wanted else 1.0,
        exact_seconds=float(np.median(times[True])) if len(codes) else 0.0,
        approximate_seconds=float(np.median(times[False])) if len(codes) else 0.0,
    )
