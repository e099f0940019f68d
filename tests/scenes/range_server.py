"""A small HTTP server with range requests, in which a test can switch on faults.

It runs in a separate process, because rasterio holds Python's lock while it opens a file.
"""

import contextlib
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CONTROL = "/control"
STALL_SECONDS = 60.0


class RangeHandler(http.server.BaseHTTPRequestHandler):
    """Serves the files of a folder, whole or in ranges."""

    protocol_version = "HTTP/1.1"
    server: "RangeServer"

    def do_HEAD(self) -> None:  # noqa: N802 - a name of http.server
        self.answer(body=False)

    def do_GET(self) -> None:  # noqa: N802 - a name of http.server
        if self.path == CONTROL:
            self.send(json.dumps(self.server.requests).encode())
        else:
            self.answer(body=True)

    def do_POST(self) -> None:  # noqa: N802 - a name of http.server
        """Clear the list of requests, and set or remove a fault."""
        text = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.requests.clear()
            self.server.seen = 0
            self.server.fault = json.loads(text)
        self.send(b"")

    def send(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer(self, *, body: bool) -> None:
        path = self.server.folder / self.path.lstrip("/").partition("?")[0]
        wanted = self.headers.get("Range", "")
        with self.server.lock:
            self.server.requests.append([self.command, self.path, wanted])
        if self.is_faulty():
            return
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted)
        first, last = 0, len(data) - 1
        if found:
            first = int(found[1])
            last = min(int(found[2] or last), last)
        self.send_response(206 if found else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if found:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
        self.end_headers()
        if body:
            self.wfile.write(data[first : last + 1])

    def is_faulty(self) -> bool:
        """Answer with a fault if this request must fail, and return whether it did."""
        fault = self.server.fault
        if not fault or fault["name"] not in self.path:
            return False
        with self.server.lock:
            self.server.seen += 1
            number = self.server.seen - fault["skip"]
        if not 0 < number <= fault["times"]:
            return False
        getattr(self, fault["kind"])()
        return True

    def stall(self) -> None:
        """Send a header, then nothing."""
        self.promise()
        threading.Event().wait(STALL_SECONDS)
        self.close_connection = True

    def error_500(self) -> None:
        self.send_error(500)

    def error_403(self) -> None:
        self.send_error(403)

    def close_early(self) -> None:
        """Send less than the header promises, and close the connection."""
        self.promise()
        self.wfile.write(b"\0" * 100)
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def promise(self) -> None:
        self.send_response(206)
        self.send_header("Content-Length", "16384")
        self.send_header("Content-Range", "bytes 0-16383/1000000")
        self.end_headers()
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class RangeServer(http.server.ThreadingHTTPServer):
    """Serves a folder on a free port of this machine."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), RangeHandler)
        self.folder = folder
        self.lock = threading.Lock()
        self.requests: list[list[str]] = []
        self.seen = 0
        self.fault: dict[str, Any] | None = None

    def handle_error(self, *_: object) -> None:
        """Ignore clients that close the connection."""


class Remote:
    """The server as a test controls it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def fault(self, kind: str, *, name: str, times: int = 10**9, skip: int = 0) -> None:
        """Fail ``times`` requests for files with this in their name, after ``skip`` good ones."""
        self._post({"kind": kind, "name": name, "times": times, "skip": skip})

    def forget(self) -> None:
        """Remove the fault, and clear the list of requests."""
        self._post(None)

    def requests(self) -> list[list[str]]:
        """List method, path and range of the requests since the last fault was set or removed."""
        with urllib.request.urlopen(self.url + CONTROL, timeout=60) as answer:
            found: list[list[str]] = json.load(answer)
        return found

    def _post(self, fault: dict[str, Any] | None) -> None:
        data = json.dumps(fault).encode()
        with urllib.request.urlopen(self.url + CONTROL, data=data, timeout=60) as answer:
            answer.read()


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Remote]:
    """Serve a folder while the block runs."""
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Remote(int(process.stdout.readline()))
        finally:
            process.kill()


if __name__ == "__main__":
    with RangeServer(Path(sys.argv[1])) as server:
        sys.stdout.write(f"{server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever()
