"""An archive, its rows in a database, and a connection to the server that breaks."""

import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.records import SceneRecord
from tests.store.helpers import make_grid

psycopg = pytest.importorskip("psycopg")

from psycopg import conninfo, sql  # noqa: E402 - after the skip


def fill(archive: CodeStore, count: int, *, scene: str, **options: object) -> np.ndarray:
    """Add tiles of one scene and return their ids."""
    rng = np.random.default_rng(len(archive))
    codes = rng.integers(0, 256, (count, archive.num_bits // 8), dtype=np.uint8)
    record = SceneRecord(scene=scene, num_tiles=count)
    return archive.add_codes(codes, make_grid(count, scene=scene), scenes=[record], **options)


def two_scenes(folder: Path) -> CodeStore:
    """Make an archive of 3,000 and 500 tiles."""
    made = CodeStore.create(folder, num_bits=64)
    fill(made, 3000, scene="first.tif")
    fill(made, 500, scene="second.tif")
    return made


def refit(archive: CodeStore, fingerprint: str, num_bits: int) -> None:
    """Replace the hasher and the code of every tile."""
    rng = np.random.default_rng(num_bits)
    hasher = HasherFile(data=b"network", fingerprint=fingerprint, num_bits=num_bits)
    archive.replace_codes(
        hasher, lambda _, rows: rng.integers(0, 256, (len(rows), num_bits // 8), dtype=np.uint8)
    )


def contents(dsn: str, table: str) -> dict[int, tuple[str, str]]:
    """Read the table as any other program would."""
    query = sql.SQL("SELECT tile_id, code::text, scene FROM {}").format(sql.Identifier(table))
    with psycopg.connect(dsn) as connection:
        return {tile: (code, scene) for tile, code, scene in connection.execute(query)}


def stored(archive: CodeStore) -> dict[int, tuple[str, str]]:
    """Read the archive the same way."""
    frames = list(archive.iter_tiles())
    ids = np.concatenate([frame["tile_id"].to_numpy() for frame in frames])
    scenes = np.concatenate([frame["scene"].to_numpy(object) for frame in frames])
    bits = np.unpackbits(archive.codes(ids), axis=1)
    texts = ["".join(map(str, row)) for row in bits.tolist()]
    return dict(zip(ids.tolist(), zip(texts, scenes.tolist(), strict=True), strict=True))


class Wire:
    """A proxy to the server that cuts the connection after some bytes."""

    def __init__(self, dsn: str, limit: int) -> None:
        parts = conninfo.conninfo_to_dict(dsn)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.target = (parts["host"], int(parts["port"]))
        self.limit = limit
        port = self.server.getsockname()[1]
        self.dsn = conninfo.make_conninfo(dsn, port=port, sslmode="disable", gssencmode="disable")
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
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


def end_sessions(dsn: str) -> None:
    """End all sessions of a database."""
    with psycopg.connect(dsn, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> "
            "pg_backend_pid() AND datname = current_database()"
        )
