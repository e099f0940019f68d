"""A read-only session that several threads can share and that reconnects if it was lost."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
from psycopg import sql

from geohash_rs.engines.postgis.connection import Connection, connect, server_errors
from geohash_rs.errors import EngineUnreachableError

__all__ = ["Session"]

Statement = sql.SQL | sql.Composed

ONE_STATE = sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ")


class Session:
    """Runs one statement at a time.

    If the connection was lost since the last statement, the next one reconnects.

    Args:
        dsn: Connection string or postgresql:// URI.
        place: The server and table, for messages.
        prepare: Called first with every new connection.

    Raises:
        EngineUnreachableError: If the server does not answer or rejects the user.
        EngineError: If it is too old or has no PostGIS, or `prepare` fails.
    """

    def __init__(self, dsn: str, *, place: str, prepare: Callable[[Connection], None]) -> None:
        self._dsn, self._place, self._prepare = dsn, place, prepare
        self._lock = threading.RLock()
        self._in_one_state = False
        self._connection = self._connect()

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def ask(
        self, statement: Statement, values: dict[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """Run a statement.

        Args:
            statement: The statement.
            values: Its parameters by name.

        Returns:
            Its rows.

        Raises:
            EngineUnreachableError: If the connection was lost and reconnecting fails.
            EngineError: If the server reports an error.
        """
        with self._lock:
            if self._in_one_state:  # another connection would see another state
                return self._run(statement, values)
            try:
                if not self._connection.closed:
                    return self._run(statement, values)
            except EngineUnreachableError:
                self._connection.close()
            self._connection = self._connect()
            return self._run(statement, values)

    @contextlib.contextmanager
    def one_state(self) -> Iterator[None]:
        """Run all statements inside on the tables as of the first statement.

        Other threads wait meanwhile. Nested inside another `one_state`, the state is the same.

        Yields:
            Nothing.

        Raises:
            EngineUnreachableError: If the connection is lost meanwhile.
            EngineError: If the server reports an error.
        """
        with self._lock:
            if self._in_one_state:
                yield
                return
            self.ask(ONE_STATE)
            self._in_one_state = True
            try:
                yield
            finally:
                self._in_one_state = False
                with contextlib.suppress(psycopg.Error):  # nothing was written
                    self._connection.execute("COMMIT")

    def _connect(self) -> Connection:
        connection = connect(self._dsn, read_only=True)
        try:
            with server_errors(connection, self._place):
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _run(self, statement: Statement, values: dict[str, Any] | None) -> list[tuple[Any, ...]]:
        with server_errors(self._connection, self._place):
            # never prepared: the best plan depends on the region's selectivity
            cursor = self._connection.execute(statement, values, prepare=False)
            return [] if cursor.description is None else cursor.fetchall()
