"""Keep one `geohash-rs serve` running for the archive that is open."""

import re

from qgis.PyQt.QtCore import QObject, pyqtSignal

from .client import Client
from .command import Command

ADDRESS = re.compile(r" at (http://127\.0\.0\.1:\d+)/")


class Server(QObject):
    """The server of an archive.

    Signals:
        ready: The description of the archive, a dictionary, once it answers.
        failed: Why there is no server (any more), in words for the user.
    """

    ready = pyqtSignal(dict)
    failed = pyqtSignal(str)

    def __init__(self, parent=None):
        """Start nothing yet."""
        super().__init__(parent)
        self.client = Client(self)
        self.archive = ""
        self._command = None

    def is_running(self):
        """Return whether searches can be asked."""
        return bool(self.client.address)

    def open(self, words, archive, *, remote_scenes=False):
        """Start a server for an archive; the one before is stopped.

        Args:
            words: The program.
            archive: A folder, or an address such as s3://bucket/archive or postgresql://host/db.
            remote_scenes: Whether to draw pictures of scenes from wherever the archive says.
        """
        self.close()
        self.archive = archive
        options = ["--remote-scenes"] if remote_scenes else []
        command = Command([*words, "serve", archive, "--port", "0", "--attached", *options], self)
        command.said.connect(lambda line: self._heard(command, line))
        command.ended.connect(lambda code, last: self._ended(command, last))
        self._command = command
        command.start()

    def close(self):
        """Stop the server, if there is one."""
        command, self._command = self._command, None
        self.client.address = ""
        if command is not None:
            command.stop()

    def end(self):
        """Stop the server and wait for it, for when QGIS closes."""
        command, self._command = self._command, None
        self.client.address = ""
        if command is not None:
            command.end()

    def refresh(self):
        """Ask again what the archive holds; the answer is the signal `ready`."""
        self.client.get("/api/archive", self.ready.emit, self.failed.emit)

    def _heard(self, command, line):
        found = ADDRESS.search(line)
        if found and command is self._command and not self.client.address:
            self.client.address = found[1]
            self.refresh()

    def _ended(self, command, last):
        command.deleteLater()
        if command is self._command:
            problem = "" if self.is_running() else last
            self._command = None
            self.client.address = ""
            self.failed.emit(problem or "geohash-rs has ended; open the archive again.")
