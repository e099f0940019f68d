"""How fast searches are while idle and slow clients besiege `geohash-rs serve`.

    python -m tests.benchmarks.siege [--tiles 1000000] [--folder DIR] [--idle 1000] [--slow 100]

Serves an archive of invented tiles (see `tests.benchmarks.serve`) in a process of its own. Idle
clients connect and send nothing; slow ones send a byte a second, half of them of a request's head,
half of its body. All connect again when they are dropped. Searches come once from the same address
as all of them, and once from another.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import resource
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.benchmarks.serve import make_archive

HEAD = b"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\n"
BODY = b"Content-Type: application/json\r\nContent-Length: 10000\r\n\r\n"


class Siege:
    """Clients that hold connections from 127.0.0.1, and connect again when they are dropped."""

    def __init__(self, port: int, *, idle: int, slow: int) -> None:
        self.port, self.idle, self.slow = port, idle, slow
        self.dropped = multiprocessing.Value("l", 0)
        self.ended, self.ready = multiprocessing.Event(), multiprocessing.Event()
        self._process = multiprocessing.Process(target=self._hold, daemon=True)

    def __enter__(self) -> "Siege":
        self._process.start()
        self.ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self._process.join()

    def _connect(self, kind: str) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        if kind == "body":
            made.sendall(HEAD + BODY)
        made.setblocking(False)
        self._watched.register(made, selectors.EVENT_READ, kind)
        return made

    def _hold(self) -> None:
        self._watched = selectors.DefaultSelector()
        kinds = ["idle"] * self.idle + ["head", "body"] * (self.slow // 2)
        for kind in kinds:
            self._connect(kind)
        self.ready.set()
        while not self.ended.is_set():
            begun = time.monotonic()
            for key, _ in self._watched.select(timeout=0.05):
                with contextlib.suppress(OSError):
                    if key.fileobj.recv(4096):
                        continue
                self._again(key)
            for key in list(self._watched.get_map().values()):
                if key.data != "idle":
                    try:
                        key.fileobj.send(b"x")
                    except OSError:
                        self._again(key)
            self.ended.wait(max(0.0, 1 - time.monotonic() + begun))
        for key in list(self._watched.get_map().values()):
            key.fileobj.close()

    def _again(self, key: selectors.SelectorKey) -> None:
        self.dropped.value += 1
        self._watched.unregister(key.fileobj)
        key.fileobj.close()
        with contextlib.suppress(OSError):
            self._connect(key.data)


def search(port: int, source: str, tile: int) -> tuple[float, int]:
    """Search over a new connection; return the ms that it took, and the status."""
    begun = time.perf_counter()
    connection = http.client.HTTPConnection(
        "127.0.0.1", port, timeout=60, source_address=(source, 0)
    )
    try:
        body = json.dumps({"tiles": [tile], "k": 24})
        connection.request("POST", "/api/search", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return 1000 * (time.perf_counter() - begun), answer.status
    except OSError:
        return 1000 * (time.perf_counter() - begun), 0
    finally:
        connection.close()


def measure(name: str, port: int, source: str, seconds: float) -> None:
    end, times, failed = time.monotonic() + seconds, [], 0
    while time.monotonic() < end:
        took, status = search(port, source, len(times))
        times.append(took)
        failed += status != 200
        time.sleep(0.05)
    middle, worst = statistics.median(times), max(times)
    print(f"{name:<44} {middle:6.0f} ms {worst:6.0f} ms   {len(times)} searches, {failed} failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the archive is kept between runs")
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--slow", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=40.0, help="of each siege")
    settings = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * settings.idle + 1024), hard))
    with tempfile.TemporaryDirectory() as temporary:
        folder = settings.folder or Path(temporary)
        if not (folder / "archive" / "manifest.json").exists():
            make_archive(folder, settings.tiles)
        server = subprocess.Popen(
            [sys.executable, "-m", "geohash_rs", "serve", str(folder / "archive"), "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard)),
        )
        try:
            port = int(server.stdout.readline().rsplit(":", 1)[1].strip(" /\n"))
            time.sleep(5)  # what is compiled at the start
            print(
                f"{settings.tiles:,} tiles, {settings.idle} idle and {settings.slow} slow clients"
            )
            measure("nobody else", port, "127.0.0.1", settings.seconds / 4)
            with Siege(port, idle=settings.idle, slow=settings.slow) as siege:
                time.sleep(3)  # until all of them were accepted
                measure("besieged, from another address", port, "127.0.0.2", settings.seconds)
                measure("besieged, from the same address", port, "127.0.0.1", settings.seconds)
                status = Path(f"/proc/{server.pid}/status").read_text()
                handles = sum(1 for _ in Path(f"/proc/{server.pid}/fd").iterdir())
                peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
                print(f"{siege.dropped.value:,} connections dropped, {handles} files open, {peak}")
            measure("afterwards", port, "127.0.0.1", settings.seconds / 4)
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
