"""Ask a running ``geohash-rs serve``, which has loaded everything already."""

import json
import socket
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote, unquote, urlencode, urlsplit

import click

from geohash_rs.cli.asked import options_given
from geohash_rs.cli.terminal import echo
from geohash_rs.cli.tile_table import print_matches
from geohash_rs.errors import (
    EngineError,
    EngineUnreachableError,
    ExportError,
    GeoHashRSError,
    GeoHashRSWarning,
    PatchError,
    QueryError,
    RegionError,
    TimeRangeError,
    one_line,
)
from geohash_rs.serve.addresses import PORT, place_of

if TYPE_CHECKING:
    from email.message import Message

    from geohash_rs.cli.asked import Asked

__all__ = ["AUTO", "Examples", "Limits", "Server", "answered"]

AUTO = "auto"
REACHED_WITHIN = 5  # seconds
ANSWERED_WITHIN = 600  # seconds; a large patch takes minutes on a slow machine
MOST_MATCHES = 1000
KINDS = {".geojson": "geojson", ".json": "geojson", ".gpkg": "gpkg", ".parquet": "parquet", ".csv": "csv"}
UNKNOWN_PATH = "Not Found"  # what FastAPI says of a path that it does not serve
# Errors of wrong use, by name: they end the command as they do without a server.
USAGE: dict[str, type[GeoHashRSError]] = {kind.__name__: kind for kind in (QueryError, RegionError, TimeRangeError, ExportError)}
# What only this process can do, by parameter.
HERE = (
    "vector", "each", "concept", "window", "value_range", "precision", "calibration", "region", "layer",
    "ranking", "engine", "schema", "table", "crs", "device", "remote_scenes",
)  # fmt: skip


class Examples(TypedDict):
    """What to search with."""

    patches: Sequence[str]
    tiles: Sequence[int]
    point: tuple[float, ...] | None
    negatives: Sequence[str]
    bands: str | None


class Limits(TypedDict):
    """How much to find."""

    k: int | None
    max_distance: int | None
    exclude_overlap: bool
    distinct: bool


def _unserved(asked: "Asked", examples: Examples, limits: Limits, output: Path | None) -> str:
    """Return what of the options a server cannot do, and what to do instead; "" if it can do all."""
    sizes = asked["tile_size"] or ()
    if given := " and ".join(options_given(HERE)):
        return f"cannot be used with {given}; leave out --server, or {given}"
    if output is not None and output.suffix.lower() not in KINDS:
        return f"writes {', '.join(KINDS)}, not {output.suffix or output.name}; choose one of them, or leave out --server"
    if limits["k"] is None or limits["k"] > MOST_MATCHES:
        return f"needs -k, at most {MOST_MATCHES}; pass -k {MOST_MATCHES} or less, or leave out --server"
    if len(sizes) > 1 and (examples["patches"] or _files(examples["negatives"])):
        return "takes one --tile-size with a patch; pass one, or leave out --server"
    return ""


def _check_point(point: tuple[float, ...] | None) -> None:
    """Check a longitude and latitude as a query in this process does, which imports numpy.

    Raises:
        QueryError: If one is out of range.
    """
    if point is None or (abs(point[0]) <= 180 and abs(point[1]) <= 90):
        return
    from geohash_rs.retrieval.at_point import check_point

    check_point(point)


def _files(negatives: Sequence[str]) -> list[str]:
    return [text for text in negatives if not text.isdecimal()]


class Server:
    """A running ``geohash-rs serve``."""

    def __init__(self, address: str) -> None:
        """Store the address.

        Args:
            address: As the server printed it, such as ``http://127.0.0.1:8765``.

        Raises:
            click.UsageError: If it is not such an address.
        """
        try:
            parts = urlsplit(address)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
            msg = f"--server is {address!r}; pass the address that 'geohash-rs serve' printed, such as http://127.0.0.1:{PORT}, or {AUTO}"
            raise click.UsageError(msg, click.get_current_context())
        self.address = address.rstrip("/")
        self._secure = parts.scheme == "https"
        self._host = parts.hostname, port

    @classmethod
    def of_archive(cls, archive: str) -> "Server | None":
        """Find the server of an archive at the default address of this machine.

        Args:
            archive: The archive's folder.

        Returns:
            The server; None if there is none, or it serves another archive or another state of it,
            perhaps at the same path of another machine whose port is forwarded.
        """
        if "://" in archive:
            return None
        server = cls(f"http://127.0.0.1:{PORT}")
        try:
            about = server.refresh()
        except (EngineError, EngineUnreachableError):
            return None
        folder = Path(archive)
        same = about["commit"] == _commit_of(folder) and about["place"] == place_of(folder)
        return server if same else None

    def refresh(self) -> dict[str, Any]:
        """Make the server look for a newer state of its archive.

        Returns:
            Its description of the archive.

        Raises:
            EngineError: If it refuses, or is another program.
            EngineUnreachableError: If it does not answer.
        """
        content, _ = self._ask("GET", "/api/archive")
        with self._understood():
            about: dict[str, Any] = json.loads(content)
            return {**about, "place": str(about["place"]), "commit": str(about["commit"])}

    def query(self, examples: Examples, limits: Limits, asked: "Asked", *, kind: str, layer: str = "matches") -> tuple[bytes, int]:
        """Search.

        Args:
            examples: What to search with.
            limits: How much to find.
            asked: Values of the options of `where_options`.
            kind: Ending of the file to return, such as "geojson".
            layer: Layer of a GeoPackage.

        Returns:
            The file, and the number of matches.

        Raises:
            EngineError: If the server refuses, which the message explains, or is another program.
            EngineUnreachableError: If it does not answer.
            GeoHashRSError: One of `USAGE` if the server says that this is why.
            PatchError: If a patch cannot be read.
            TimeRangeError: If the time is empty.
        """
        time = asked["time"]
        if time is not None and not time.strip():
            msg = "--time is empty; write a period, such as 2023-06, or leave it out."
            raise TimeRangeError(msg)
        first, slash, last = (time or "").partition("/")
        size = asked["tile_size"][0] if asked["tile_size"] else None
        bad = examples["negatives"]

        def hashed(paths: Sequence[str]) -> list[dict[str, Any]]:
            return [self._hash(path, tile_size=size, bands=examples["bands"]) for path in paths]

        body = {
            **limits,
            "format": kind,
            "layer": layer,
            "patches": hashed(examples["patches"]),
            "tiles": examples["tiles"],
            "point": examples["point"],
            "negatives": [int(text) for text in bad if text.isdecimal()],
            "negative_patches": hashed(_files(bad)),
            "bbox": asked["bbox"],
            "within": asked["within"],
            "time": None if time is None else (first, last if slash else first),
            "labels": asked["labels"] or None,
            "scenes": [str(Path(name).absolute()) if Path(name).exists() else name for name in asked["scenes"]] or None,
            "tile_sizes": asked["tile_size"],
        }
        content, headers = self._ask("POST", "/api/search/file", json.dumps(body).encode())
        with self._understood():
            note, said = unquote(headers["x-note"]), unquote(headers["x-tile"])
            count = int(headers["x-matches"])
        if note:
            warnings.warn(note, GeoHashRSWarning, stacklevel=2)
        if said:
            echo(said, err=True)
        return content, count

    def _hash(self, path: str, *, tile_size: int | None, bands: str | None) -> dict[str, Any]:
        """Hash a patch.

        Raises:
            PatchError: If it cannot be read.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            msg = f"{path} cannot be read ({error.strerror or error}); pass a GeoTIFF of this machine, as --server sends it to the server."
            raise PatchError(msg) from error
        asked = {"tile_size": tile_size, "bands": bands}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        content, _ = self._ask("POST", f"/api/patch?{query}", content, name=Path(path).name)
        with self._understood():
            answer = json.loads(content)
            notes = list(map(str, answer["notes"]))
            hashed = {
                "name": answer["name"],
                "codes": answer["codes"],
                "hasher": answer["hasher"] or None,
                "place": answer["place"] or None,
            }
        for note in notes:
            warnings.warn(note, GeoHashRSWarning, stacklevel=2)
        return hashed

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Report an answer that lacks what a geohash-rs server says.

        Raises:
            EngineError: In place of what fails while it is read.
        """
        try:
            yield
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            raise self._another_program(f"{type(error).__name__}: {one_line(error)[:100]}") from error

    def _another_program(self, why: str) -> EngineError:
        return EngineError(
            f"what answers at {self.address} is not the 'geohash-rs serve' of this version ({why}); "
            "pass the address that it printed, or leave out --server."
        )

    def _ask(self, method: str, path: str, body: bytes | None = None, *, name: str = "") -> tuple[bytes, "Message"]:
        """Send a request; return the content and the headers of the answer.

        Raises:
            EngineError: If the server refuses it, or is another program.
            EngineUnreachableError: If it does not answer.
            GeoHashRSError: One of `USAGE` if the server refuses it for that reason.
        """
        from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415 - slow to import

        headers = {"content-type": "image/tiff", "x-file-name": quote(name)} if name else {"content-type": "application/json"}
        try:
            kind = HTTPSConnection if self._secure else HTTPConnection
            with closing(kind(*self._host, timeout=REACHED_WITHIN)) as connection:
                connection.connect()
                if isinstance(connection.sock, socket.socket):
                    connection.sock.settimeout(ANSWERED_WITHIN)
                connection.request(method, path, body=body, headers=headers)
                answer = connection.getresponse()
                status, content = answer.status, answer.read()
        except (OSError, HTTPException) as error:
            why = one_line(error) or type(error).__name__
            msg = f"no geohash-rs server answers at {self.address} ({why}); start one with 'geohash-rs serve ARCHIVE', or leave out --server."
            raise EngineUnreachableError(msg) from error
        if status == 200:
            return content, answer.headers
        said, kind_of_error = _refusal(content)
        if status < 500 and said in ("", UNKNOWN_PATH):
            raise self._another_program(f"status {status} {answer.reason}".rstrip())
        raise USAGE.get(kind_of_error, EngineError)(f"{self.address} answers: {said or f'status {status} {answer.reason}'.rstrip()}")


def _commit_of(folder: Path) -> str | None:
    """Return the name of an archive's last commit; None if it has none that can be read.

    Reading it with `read_manifest` would import numpy.
    """
    try:
        return str(json.loads((folder / "manifest.json").read_bytes())["body"]["commit"])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None  # the search itself says why


def _refusal(content: bytes) -> tuple[str, str]:
    """Return what the answer to a refused request says, and the error's name; "" for what it lacks."""
    try:
        answer = json.loads(content)
        return str(answer["detail"]), str(answer.get("kind", ""))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""


def answered(
    address: str | None,
    archive: str,
    examples: Examples,
    limits: Limits,
    asked: "Asked",
    *,
    output: Path | None,
    as_json: bool,
) -> bool:
    """Ask a server instead of answering here, if one can answer.

    Args:
        address: Its address; "auto" asks the one at the default address, if it serves the archive
            and can do what the options say; None asks none.
        archive: The archive; "" for that of the server.
        examples: What to search with.
        limits: How much to find.
        asked: Values of the options of `where_options`.
        output: File to write, if any.
        as_json: Whether to print GeoJSON.

    Returns:
        Whether it has answered.

    Raises:
        click.UsageError: If that at an address cannot do what the options say, or the address is none.
        GeoHashRSError: If the point is out of range, as `Server.query`, or if the file cannot be written.
    """
    if address is None:
        return False
    if problem := _unserved(asked, examples, limits, output):
        if address == AUTO:
            return False
        raise click.UsageError(f"--server {problem}", click.get_current_context())
    _check_point(examples["point"])
    server = Server.of_archive(archive) if address == AUTO else Server(address)
    if server is None:
        return False
    if address != AUTO:
        server.refresh()
    _print_answer(server, examples, limits, asked, output=output, as_json=as_json)
    return True


def _print_answer(server: Server, examples: Examples, limits: Limits, asked: "Asked", *, output: Path | None, as_json: bool) -> None:
    """Ask a server, and print or write what it answers, as a query in this process does."""
    if output is not None:
        from geohash_rs.export.formats import unfinished

        kind = KINDS[output.suffix.lower()]
        content, count = server.query(examples, limits, asked, kind=kind, layer=output.stem)
        with unfinished(output, layers=(output.stem,)) as (draft, _):
            draft.write_bytes(content)
        echo(f"{count} matches written to {output}.", err=True)
    if as_json or output is None:
        content, _ = server.query(examples, limits, asked, kind="geojson")
        if as_json:
            echo(*content.decode().removesuffix("\n").split("\n"))
        else:
            print_matches([feature["properties"] for feature in json.loads(content)["features"]])
