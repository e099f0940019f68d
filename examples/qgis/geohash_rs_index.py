"""Processing script of QGIS: add GeoTIFF scenes to an archive, through the command line.

In QGIS: Processing Toolbox > Scripts > Add Script to Toolbox..., and choose this file. QGIS needs
no torch; it calls `geohash-rs`, which may live in an environment of its own.
"""

import contextlib
import os
import queue
import shlex
import shutil
import signal
import subprocess
import threading

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterFile,
    QgsProcessingParameterFolderDestination,
    QgsProcessingParameterNumber,
    QgsProcessingParameterString,
)

# The functions up to the class are also in geohash_rs_query.py: QGIS adds each script alone, so
# neither can import from the other.


def run(words, feedback):
    """Run a command, show its output line by line, and stop it if the user cancels."""
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONHOME"}}
    feedback.pushCommandInfo(shlex.join(words))
    try:
        process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        msg = f"{words[0]} cannot be run ({error.strerror}); enter the full path of geohash-rs."
        raise QgsProcessingException(msg) from error
    lines = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(process.stdout, lines), daemon=True).start()
    last = ""
    while not feedback.isCanceled():
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:  # a silent command must stop on cancel too
            continue
        if line is None:
            break
        last = line.strip() or last
        feedback.pushConsoleInfo(line.rstrip())
    if feedback.isCanceled():
        stop(process)
    elif process.wait():
        raise QgsProcessingException(last)


def read_lines(source, lines):
    """Put each line into a queue, then None."""
    with source:
        for line in source:
            lines.put(line)
    lines.put(None)


def stop(process):
    """Stop a command and its children, by force after five seconds."""
    end(process, "SIGTERM")
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        end(process, "SIGKILL")
        process.wait()


def end(process, name):
    """Send a signal to a command and its children, such as the program that a wrapper runs."""
    if os.name == "nt":
        process.terminate()
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, getattr(signal, name))


def program_words(text):
    """Split a command into words, unless it is the path of a program, which may have spaces."""
    if shutil.which(text):
        return [text]
    try:
        words = shlex.split(text, posix=os.name != "nt")  # Windows paths have backslashes
    except ValueError as error:
        msg = f"{text} is not a command ({error}); quote the parts that contain spaces or quotes."
        raise QgsProcessingException(msg) from error
    return [word.strip('"') for word in words]


class IndexScenes(QgsProcessingAlgorithm):
    """Add the tiles of a folder of GeoTIFFs to an archive."""

    def createInstance(self):  # noqa: N802 - names of QGIS here and below
        return IndexScenes()

    def name(self):
        return "geohash_rs_index"

    def displayName(self):  # noqa: N802
        return "Index scenes by what they look like"

    def group(self):
        return "geohash_rs"

    def groupId(self):  # noqa: N802
        return "geohash_rs"

    def shortHelpString(self):  # noqa: N802
        return (
            "Cuts the GeoTIFFs of a folder into tiles, turns each into a short code, and adds "
            "them to an archive, which is made if it does not exist. Scenes that have not "
            "changed are skipped."
        )

    def initAlgorithm(self, configuration=None):  # noqa: N802
        folder = QgsProcessingParameterFile.Behavior.Folder
        self.addParameter(QgsProcessingParameterFile("SCENES", "Folder of GeoTIFFs", folder))
        self.addParameter(
            QgsProcessingParameterNumber("TILE_SIZE", "Tile size, px", defaultValue=64, minValue=8)
        )
        self.addParameter(
            QgsProcessingParameterString("HASHER", "Hasher", defaultValue="general-64")
        )
        self.addParameter(
            QgsProcessingParameterString("PROGRAM", "Command line", defaultValue="geohash-rs")
        )
        text = "Replace tiles of another size (--replace)"
        self.addParameter(QgsProcessingParameterBoolean("REPLACE", text, defaultValue=False))
        self.addParameter(QgsProcessingParameterFolderDestination("ARCHIVE", "Archive"))

    def processAlgorithm(self, parameters, context, feedback):  # noqa: N802
        archive = self.parameterAsString(parameters, "ARCHIVE", context)
        known = os.path.exists(os.path.join(archive, "manifest.json"))
        hasher = self.parameterAsString(parameters, "HASHER", context)
        words = [
            *program_words(self.parameterAsString(parameters, "PROGRAM", context)),
            "index",
            self.parameterAsString(parameters, "SCENES", context),
            "--archive",
            archive,
            "--tile-size",
            str(self.parameterAsInt(parameters, "TILE_SIZE", context)),
            *([] if known else ["--hasher", hasher]),
            *(["--replace"] if self.parameterAsBool(parameters, "REPLACE", context) else []),
        ]
        run(words, feedback)
        return {"ARCHIVE": archive}
