"""Run a command next to QGIS, without ever waiting for it."""

import codecs
import re

from qgis.PyQt.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, pyqtSignal

PATIENCE = 5000  # ms that a command has to end by itself
KEPT = 40  # last lines


class Command(QObject):
    """A running command.

    Signals:
        said: A line that it printed, to either output; a progress bar's states are lines too.
        ended: Its exit code, and its last line. -1 if it could not be started, was stopped or
            crashed.
    """

    said = pyqtSignal(str)
    ended = pyqtSignal(int, str)

    def __init__(self, words, parent=None, *, keep_all=False):
        """Prepare a command; `start` runs it.

        Args:
            words: The program and its arguments.
            parent: What owns it.
            keep_all: Whether `lines` keeps all lines, rather than the last 40.
        """
        super().__init__(parent)
        self.words = list(words)
        self.lines = []
        self._kept = 0 if keep_all else 1 - KEPT
        self.stopped = False
        self._rest = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._process = QProcess(self)
        self._process.setProcessEnvironment(environment())
        self._process.setProcessChannelMode(QProcess.ProcessChannelMode.MergedChannels)
        self._process.readyReadStandardOutput.connect(self._read)
        self._process.errorOccurred.connect(self._error)
        self._process.finished.connect(self._finished)

    def start(self):
        """Run it."""
        self._process.start(self.words[0], self.words[1:])

    def is_running(self):
        """Return whether it has been started and has not ended."""
        return self._process.state() != QProcess.ProcessState.NotRunning

    def stop(self):
        """Ask it to end, and end it by force after five seconds."""
        if self.is_running():
            self.stopped = True
            self._process.closeWriteChannel()  # `serve --attached` ends by this, on any system
            self._process.terminate()
            QTimer.singleShot(PATIENCE, self._process.kill)

    def end(self):
        """End it now and wait, for when QGIS closes."""
        if self.is_running():
            self.stopped = True
            self._process.closeWriteChannel()
            self._process.terminate()
            if not self._process.waitForFinished(2000):
                self._process.kill()
                self._process.waitForFinished(1000)

    def _read(self):
        text = self._decoder.decode(bytes(self._process.readAllStandardOutput()))
        *lines, self._rest = re.split(r"[\r\n]+", self._rest + text)
        for line in lines:
            self._tell(line)

    def _tell(self, line):
        if line.strip():
            self.lines = [*self.lines[self._kept :], line.strip()]
            self.said.emit(line.rstrip())

    def _error(self, error):
        if error == QProcess.ProcessError.FailedToStart:
            self.ended.emit(-1, f"{self.words[0]} cannot be run: {self._process.errorString()}")

    def _finished(self, code, status):
        self._read()
        self._tell(self._rest)
        self._rest = ""
        crashed = self.stopped or status != QProcess.ExitStatus.NormalExit
        self.ended.emit(-1 if crashed else code, self.lines[-1] if self.lines else "")


def environment():
    """Return the environment of QGIS, without the variables that are meant for its own Python."""
    known = QProcessEnvironment.systemEnvironment()
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONEXECUTABLE"):
        known.remove(name)
    known.insert("PYTHONIOENCODING", "utf-8")
    known.insert("PYTHONUNBUFFERED", "1")
    return known
