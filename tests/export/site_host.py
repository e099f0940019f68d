"""A small web host of one folder on the loopback address that knows byte ranges."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}
PIECE = 16_384  # bytes between two looks at the clock


class Host:
    """Serves a folder; counts bytes and requests, and can be as slow as a line.

    Args:
        folder: What to serve.
        ranges: Whether to answer requests for parts of files.
        bits_per_second: Of all connections together; None is as fast as it goes.
    """

    def __init__(self, folder: Path, *, ranges: bool = True, bits_per_second: float | None = None):
        self.folder, self.ranges = folder, ranges
        self.pace = 8 / bits_per_second if bits_per_second else 0.0  # seconds per byte
        self.lock, self.free_at = threading.Lock(), 0.0
        self.asked: list[tuple[str, int]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                host.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        name = unquote(urlsplit(request.path).path).lstrip("/") or "index.html"
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.is_file():
            request.send_error(404)
            return
        size = path.stat().st_size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("Range", ""))
        start, end = 0, size
        if wanted and self.ranges:
            start, end = int(wanted[1]), min(int(wanted[2]) + 1, size)
            request.send_response(206)
            request.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        else:
            request.send_response(200)
        request.send_header("Content-Type", KINDS.get(path.suffix, "application/octet-stream"))
        request.send_header("Content-Length", str(end - start))
        request.end_headers()
        with self.lock:
            self.asked.append((name, end - start))
        with path.open("rb") as file:
            file.seek(start)
            left = end - start
            while left:
                piece = file.read(min(PIECE, left))
                self.wait(len(piece))
                request.wfile.write(piece)
                left -= len(piece)

    def wait(self, count: int) -> None:
        """Wait until the line has carried some bytes; connections share it."""
        if not self.pace:
            return
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic()) + count * self.pace
            until = self.free_at
        time.sleep(max(0.0, until - time.monotonic()))

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
