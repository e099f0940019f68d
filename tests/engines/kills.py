"""Kill -9 every command that writes, at random moments: nothing is lost, nothing half there.

    GEOHASH_RS_TEST_POSTGRES=... python -m tests.engines.kills [--kills 500] [--only NAME]

Each round changes an archive in a process that is killed. What is left must be the state before or
the one after, and the one after if the process had said that it was done; the same change, made
again, must then lead to the state after. Where a command commits several times, what is left must
consist of whole scenes. Needs moto for S3; without PostgreSQL nothing is published.
"""

# ruff: noqa: T201 - a program

import argparse
import contextlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.manifest import KeepVectors
from geohash_rs.store.disk.records import SceneRecord
from tests.store.helpers import NOTHING, everything, make_grid, make_vectors

ROOT = Path(__file__).resolve().parents[2]


def in_child(call: Callable[[], Any], *, kill_after: float | None = None) -> tuple[bool, Any]:
    """Call a function in a process of its own.

    Args:
        call: The function.
        kill_after: Seconds until the process is killed.

    Returns:
        Whether it was done, and what it returned.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            done = pickle.dumps((True, call()))
        except BaseException as error:  # noqa: BLE001 - reported by the parent
            done = pickle.dumps((False, repr(error)))
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(done)
        os._exit(0)
    os.close(writing)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if not said:
        return False, None
    sound, value = pickle.loads(said)
    assert sound, value
    return True, value


def called(call: Callable[[], Any]) -> Any:
    """Call a function in a process of its own, and return what it returns."""
    done, value = in_child(call)
    assert done, "the process ended before it was done"
    return value


def add(store: CodeStore, scene: str, count: int, **options: object) -> None:
    codes = np.full((count, 8), count % 251, np.uint8)
    record = SceneRecord(scene=scene, num_tiles=count)
    vectors = make_vectors(store, count)
    tiles = make_grid(count, scene=scene)
    store.add_codes(codes, tiles, vectors=vectors, scenes=[record], **options)


class Kind:
    """A change of the archive in `home`; the next round starts from the state after it."""

    keep_vectors: KeepVectors = "none"

    def __init__(self, root: Path, name: str) -> None:
        self.home = root / name.replace(" ", "-")
        self.number = 0
        called(self.begin)

    def begin(self) -> None:
        CodeStore.create(self.home, num_bits=64, keep_vectors=self.keep_vectors).close()

    def prepare(self) -> None:
        """Make what the next change needs."""

    def change(self, home: Path) -> None:
        raise NotImplementedError

    def look(self) -> Any:
        return everything(self.home)

    def expected(self) -> Any:
        """Return the state after the change, made in a copy."""
        with tempfile.TemporaryDirectory() as scratch:
            copy = shutil.copytree(self.home, Path(scratch) / "copy")
            self.change(copy)
            return everything(copy)

    def is_whole(self, before: Any, left: Any, after: Any) -> bool:
        return left in (before, after)


class Add(Kind):
    keep_vectors = "int8"

    def change(self, home: Path) -> None:
        with CodeStore.open(home) as store:
            name = f"{self.number % 9}.tif"
            add(store, name, 50 + 7 * self.number % 300, replace_scenes=[name])


class Remove(Kind):
    """A scene, then some tiles of another."""

    def prepare(self) -> None:
        with CodeStore.open(self.home) as store:
            store.remove_scenes([record.scene for record in store.scenes()][:-8])
            for part in "ab":
                add(store, f"{self.number}{part}.tif", 100)

    def change(self, home: Path) -> None:
        with CodeStore.open(home) as store:
            store.remove_scenes([f"{self.number}a.tif"])
            rows = [frame[frame["scene"] == f"{self.number}b.tif"] for frame in store.iter_tiles()]
            ids = [tile for frame in rows for tile in frame["tile_id"][frame["col"] == 0]]
            store.remove_tiles(ids)

    def is_whole(self, before: Any, left: Any, after: Any) -> bool:
        missing = len(before[0]) - len(left[0])
        return set(after[0]) <= set(left[0]) <= set(before[0]) and missing in (0, 100, 105)


class Compact(Kind):
    keep_vectors = "float16"

    def prepare(self) -> None:
        with CodeStore.open(self.home) as store:
            store.remove_scenes([record.scene for record in store.scenes()][:-2])
            for part in "abcd":
                add(store, f"{self.number}{part}.tif", 100)
            store.remove_scenes([f"{self.number}b.tif"])

    def change(self, home: Path) -> None:
        with CodeStore.open(home) as store:
            store.compact()


class Hasher(Kind):
    def change(self, home: Path) -> None:
        with CodeStore.open(home) as store:
            data = f"network {self.number}".encode() * 5000
            store.set_hasher(data, fingerprint=f"f{self.number}", num_bits=64)


class Create(Kind):
    def begin(self) -> None:
        pass

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)

    def change(self, home: Path) -> None:
        if everything(home) == NOTHING:
            hasher = HasherFile(data=b"network" * 50_000, fingerprint="f", num_bits=64)
            CodeStore.create(home, hasher=hasher).close()

    def expected(self) -> Any:
        with tempfile.TemporaryDirectory() as scratch:
            self.change(Path(scratch) / "copy")
            return everything(Path(scratch) / "copy")


class Index(Kind):
    """Scenes, read and hashed by a real network."""

    def begin(self) -> None:
        import torch

        from geohash_rs import fit_hasher
        from tests.ground import KINDS, TILE, ground, mosaic, write

        tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, i) for i in range(32)]))
        fit_hasher([tiles], num_bits=16, input_size=32).save(f"{self.home}.safetensors")
        self.scenes().mkdir()
        for day in range(1, 5):
            write(self.scenes() / f"a_2023060{day}.tif", mosaic(3, 2, day))

    def scenes(self) -> Path:
        return self.home.with_name(f"{self.home.name}-scenes")

    def prepare(self) -> None:
        from geohash_rs import Archive

        shutil.rmtree(self.home, ignore_errors=True)
        made = f"{self.home}.safetensors"
        Archive.create(self.home, hasher=made, keep_vectors="float16").close()

    def change(self, home: Path) -> None:
        from geohash_rs import Archive, Scenes
        from tests.ground import TILE

        with Archive.open(home) as archive:
            archive.add(Scenes(self.scenes()), tile_size=TILE)

    def is_whole(self, before: Any, left: Any, after: Any) -> bool:
        counts = Counter(scene for _, scene, _ in left[0])
        whole = Counter(scene for _, scene, _ in after[0])
        scenes = {*left[1]} == {*counts}
        return scenes and all(whole[scene] == count for scene, count in counts.items())


class Refit(Index):
    """From one of two hashers to the other, and back."""

    def begin(self) -> None:
        import torch

        from geohash_rs import fit_hasher
        from tests.ground import KINDS, TILE, ground

        super().begin()
        super().prepare()
        super().change(self.home)
        tiles = torch.from_numpy(np.stack([ground(i % KINDS, TILE, 50 + i) for i in range(32)]))
        fit_hasher([tiles], num_bits=24, input_size=32).save(f"{self.home}-1.safetensors")
        shutil.copy(f"{self.home}.safetensors", f"{self.home}-0.safetensors")

    def prepare(self) -> None:
        pass

    def change(self, home: Path) -> None:
        from geohash_rs import Archive

        with Archive.open(home) as archive:
            archive.refit(f"{self.home}-{self.number % 2}.safetensors", batch_size=4)

    def is_whole(self, before: Any, left: Any, after: Any) -> bool:
        return left in (before, after)


class Push(Kind):
    """From the archive in `home` to an address."""

    keep_vectors = "int8"

    def __init__(self, root: Path, name: str, url: str, options: dict[str, Any]) -> None:
        self.url, self.options = url, options
        super().__init__(root, name)

    def prepare(self) -> None:
        with CodeStore.open(self.home) as store:
            name = f"{self.number % 3}.tif"
            add(store, name, 50 + self.number % 100, replace_scenes=[name])

    def change(self, home: Path) -> None:
        from geohash_rs.engines.cloud import push

        push(self.home, self.url, options=self.options)

    def look(self) -> Any:
        from geohash_rs.engines.cloud import pull
        from geohash_rs.errors import ArchiveNotFoundError

        with tempfile.TemporaryDirectory() as scratch:
            try:
                return everything(pull(self.url, Path(scratch) / "copy", options=self.options))
            except ArchiveNotFoundError:
                return NOTHING

    def expected(self) -> Any:
        return everything(self.home)


class Pull(Push):
    """From the address that `home` is pushed to; into a new folder every third time."""

    def prepare(self) -> None:
        super().prepare()
        super().change(self.home)
        if self.number % 3 == 0:
            shutil.rmtree(self.copy(), ignore_errors=True)

    def copy(self) -> Path:
        return self.home.with_name(self.home.name + "-copy")

    def change(self, home: Path) -> None:
        from geohash_rs.engines.cloud import pull

        pull(self.url, self.copy(), options=self.options)

    def look(self) -> Any:
        return everything(self.copy())


class Publish(Push):
    """To a table of a database."""

    def change(self, home: Path) -> None:
        from geohash_rs.engines.postgis import publish

        publish(CodeStore.open(self.home), self.url, table="killed")

    def look(self) -> Any:
        import psycopg

        from tests.engines.published import contents

        try:
            return contents(self.url, "killed")
        except psycopg.errors.UndefinedTable:
            return {}

    def expected(self) -> Any:
        from tests.engines.published import stored

        return stored(CodeStore.open(self.home, mode="r"))

    def is_whole(self, before: Any, left: Any, after: Any) -> bool:
        return left.items() <= {**before, **after}.items()


@contextlib.contextmanager
def s3() -> Iterator[dict[str, Any]]:
    """Serve an S3 with a bucket in a process of its own; yield the options to reach it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "key": "k", "secret": "s"}

    def make_bucket() -> None:
        import fsspec

        fsspec.filesystem("s3", **options).mkdir("tiles")

    try:
        until = time.monotonic() + 60
        while socket.socket().connect_ex(("127.0.0.1", port)) and time.monotonic() < until:
            time.sleep(0.1)
        called(make_bucket)
        yield options
    finally:
        server.terminate()
        server.wait()


@contextlib.contextmanager
def all_kinds(root: Path, dsn: str | None) -> Iterator[dict[str, Callable[[], Kind]]]:
    """Yield what makes each kind."""
    simple = {"add": Add, "remove": Remove, "compact": Compact, "hasher": Hasher}
    simple |= {"create": Create, "index": Index, "refit": Refit}
    kinds: dict[str, Callable[[], Kind]] = {
        name: lambda name=name, kind=kind: kind(root, name) for name, kind in simple.items()
    }
    with s3() as options:
        places = {"file": (f"file://{root}", {}), "s3": ("s3://tiles", options)}
        for name, kind in (("push", Push), ("pull", Pull)):
            for place, (url, how) in places.items():
                made = f"{name} {place}"
                kinds[made] = lambda made=made, kind=kind, url=url, how=how: kind(
                    root, made, f"{url}/remote-{made.replace(' ', '-')}", how
                )
        if dsn:
            kinds["publish"] = lambda: Publish(root, "publish", dsn, {})
        yield kinds


@contextlib.contextmanager
def database() -> Iterator[str | None]:
    """Yield the address of a new database with PostGIS, or None without a server."""
    server = os.environ.get("GEOHASH_RS_TEST_POSTGRES")
    if not server:
        yield None
        return
    from tests.engines.conftest import new_database

    with contextlib.contextmanager(new_database)(server, ["CREATE EXTENSION postgis"]) as dsn:
        yield dsn


def import_everything() -> None:
    """Import what the processes need, so that they are killed at work."""
    import psycopg  # noqa: F401
    import s3fs  # noqa: F401

    import geohash_rs.indexing.writer  # noqa: F401


def kill_rounds(kind: Kind, rounds: int, *, seed: int = 0) -> Counter[str]:
    """Kill a change at random moments, and check what each leaves."""
    rng = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    usual = 0.0
    for kind.number in range(rounds + 1):  # the first is not killed, to see how long one takes
        called(kind.prepare)
        before, after = called(kind.look), called(kind.expected)
        begun = time.monotonic()
        delay = None if kind.number == 0 else float(rng.uniform(0, 1.1 * usual))
        done, _ = in_child(lambda: kind.change(kind.home), kill_after=delay)
        usual = usual or time.monotonic() - begun
        left = called(kind.look)
        assert kind.is_whole(before, left, after), f"{before} -> {left} instead of {after}"
        assert not done or kind.number == 0 or same(left, after), "an acknowledged change is lost"
        if delay is not None:
            counts["acknowledged" if done else "killed"] += 1
            counts["old"] += left == before
            counts["new"] += left == after != before
            counts["between"] += left not in (before, after)
        called(lambda: kind.change(kind.home))
        assert same(called(kind.look), after), "the same change, made again, ends elsewhere"
    return counts


def same(left: Any, after: Any) -> bool:
    """Return whether two states hold the same tiles and scenes; ids may differ if made again."""
    if not isinstance(left, tuple) or left == NOTHING:
        return bool(left == after)
    tiles = [sorted((scene, code) for _, scene, code in state[0]) for state in (left, after)]
    return tiles[0] == tiles[1] and left[1:3] == after[1:3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--only", nargs="*", help="such as 'push s3'; all by default")
    chosen = parser.parse_args()
    import_everything()
    total: Counter[str] = Counter()
    with (
        tempfile.TemporaryDirectory() as scratch,
        database() as dsn,
        all_kinds(Path(scratch), dsn) as kinds,
    ):
        names = [name for name in kinds if not chosen.only or name in chosen.only]
        for place, name in enumerate(names):
            rounds = chosen.kills // len(names) + (place < chosen.kills % len(names))
            counts = kill_rounds(kinds[name](), rounds)
            total += counts
            print(f"{name:10} {dict(counts)}", flush=True)
    print(f"{'all':10} {dict(total)}")


if __name__ == "__main__":
    main()
