"""Ask an archive in a database, which the server does not open, by `geohash-rs query`."""

import base64
import json
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path, PurePath

from qgis.PyQt.QtCore import QObject, pyqtSignal

from .command import Command
from .strip import RIGHT, WRONG

DATABASES = ("postgresql://", "postgres://")


class CommandSearch(QObject):
    """The same searches as `Search`, each by a command of its own; it takes some seconds.

    Signals:
        found: As in `Search`.
        pictured: A tile id and its picture, bytes.
        placed: As in `Search`.
        failed: As in `Search`.
        begun: As in `Search`.
    """

    found = pyqtSignal(list)
    pictured = pyqtSignal(object, bytes)
    placed = pyqtSignal(object, list)
    failed = pyqtSignal(str)
    begun = pyqtSignal()

    def __init__(self, parent=None):
        """Start without an archive."""
        super().__init__(parent)
        self._folder = tempfile.TemporaryDirectory(prefix="geohash-rs-")
        self._words, self._archive, self._remote = [], "", []
        self._example = []  # words: a patch and its bands, a point, or nothing
        self._command = None

    def open(self, words, archive, *, remote_scenes=False):
        """Ask this archive from now on.

        Args:
            words: The program.
            archive: A postgresql:// address.
            remote_scenes: Whether to draw pictures of scenes from wherever the archive says.
        """
        self.forget()
        self._words, self._archive = list(words), archive
        self._remote = ["--remote-scenes"] if remote_scenes else []

    def close(self):
        """Ask no archive any more."""
        self.forget()
        self._archive = ""

    def is_open(self):
        """Return whether there is an archive to ask."""
        return bool(self._archive)

    def forget(self):
        """Forget the example, for another archive."""
        self.cancel()
        self._example = []

    def cancel(self):
        """Stop the command that runs."""
        command, self._command = self._command, None
        if command is not None:
            command.stop()

    def end(self):
        """Stop the command that runs and wait for it, for when QGIS closes."""
        command, self._command = self._command, None
        if command is not None:
            command.end()
        self._folder.cleanup()

    def with_patch(self, content, name, request, verdicts, *, bands=None):
        """Search with a GeoTIFF; see `Search.with_patch`."""
        plain = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).stem)
        path = Path(self._folder.name) / f"{plain or 'patch'}.tif"
        path.write_bytes(content)
        self._example = [str(path), *([f"--bands={bands}"] if bands else [])]
        self.again(request, verdicts)

    def with_point(self, place, request, verdicts):
        """Search with the archive's tile at a point.

        Args:
            place: Longitude and latitude.
            request: As in `Search.with_patch`.
            verdicts: As in `Search.with_patch`.
        """
        self._example = [f"--point={place[0]!r},{place[1]!r}"]
        self.again(request, verdicts)

    def again(self, request, verdicts):
        """Search with the example in use and what was marked; see `Search.again`."""
        right = [tile for tile, verdict in verdicts.items() if verdict == RIGHT]
        wrong = [tile for tile, verdict in verdicts.items() if verdict == WRONG]
        if not (self._example or right):
            self.failed.emit("Draw a rectangle, click a tile, drop a file or mark a match right.")
            return
        self.cancel()
        self.begun.emit()
        folder = Path(self._folder.name)
        output = folder / "matches.gpkg"
        output.unlink(missing_ok=True)
        words = [*self._words, "query", self._archive, *self._example]
        words += [f"--tile={tile}" for tile in right] + [f"--negative={tile}" for tile in wrong]
        words += [*limits(request, folder / "region.geojson"), *self._remote]
        command = Command([*words, "--json", "-o", str(output)], self, keep_all=True)
        command.ended.connect(lambda code, last: self._ended(command, code, last, output))
        self._command = command
        command.start()

    def written(self):
        """Return the matches as a GeoPackage with style and pictures, bytes.

        Raises:
            OSError: If they were not written.
        """
        return (Path(self._folder.name) / "matches.gpkg").read_bytes()

    def _ended(self, command, code, last, output):
        command.deleteLater()
        if command is not self._command:
            return
        self._command = None
        if code:
            self.failed.emit(last.removeprefix("geohash-rs: "))
            return
        start = next((n for n, line in enumerate(command.lines) if line.startswith("{")), 0)
        try:
            features = json.loads("".join(command.lines[start:]))["features"]
        except ValueError:
            self.failed.emit(f"geohash-rs answered with something else than matches: {last}")
            return
        for one in features:
            one["properties"]["scene_name"] = PurePath(one["properties"]["scene"]).name
        self.placed.emit(None, [line for line in command.lines[:start] if "warning" in line])
        self.found.emit(features)
        for tile_id, picture in pictures_of(output):
            self.pictured.emit(tile_id, picture)


def limits(request, region):
    """Return the options of `query` for the limits of a search.

    Args:
        request: As in `Search.with_patch`.
        region: Where to write the region, if there is one; a path.
    """
    words = ["-k", str(request["k"])]
    if request["max_distance"] is not None:
        words.append(f"--max-distance={request['max_distance']}")
    if request["time"] is not None:
        words.append("--time={}/{}".format(*(end or ".." for end in request["time"])))
    if request["tile_sizes"] is not None:
        words.append(f"--tile-size={','.join(map(str, request['tile_sizes']))}")
    if request["region"] is not None:
        feature = {"type": "Feature", "properties": {}, "geometry": request["region"]}
        collection = {"type": "FeatureCollection", "features": [feature]}
        region.write_text(json.dumps(collection), encoding="utf-8")
        words.append(f"--region={region}")
    words += ["--distinct"] if request["distinct"] else []
    return [*words, *(["--exclude-overlap"] if request["exclude_overlap"] else [])]


def pictures_of(path):
    """Return the pictures in a GeoPackage of matches: tile ids and bytes; [] if it has none."""
    with closing(sqlite3.connect(path)) as file:
        columns = [row[1] for row in file.execute("PRAGMA table_info(matches)")]
        if "picture" not in columns:
            return []
        rows = file.execute("SELECT tile_id, picture FROM matches WHERE picture IS NOT NULL")
        return [(tile, base64.b64decode(uri.partition(",")[2])) for tile, uri in rows]
