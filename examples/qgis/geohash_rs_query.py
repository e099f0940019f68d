"""Processing script of QGIS: find the tiles that look like a patch, through the command line.

In QGIS: Processing Toolbox > Scripts > Add Script to Toolbox..., and choose this file. The result
is a GeoPackage that opens coloured by distance, with pictures as map tips (View > Show Map Tips).
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
    QgsCoordinateReferenceSystem,
    QgsProcessing,
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterBoolean,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFile,
    QgsProcessingParameterNumber,
    QgsProcessingParameterPoint,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
    QgsProcessingParameterVectorDestination,
)

LONLAT = "EPSG:4326"


# The functions up to the class are also in geohash_rs_index.py: QGIS adds each script alone, so
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


class FindSimilar(QgsProcessingAlgorithm):
    """Find the tiles of an archive that look like a raster layer, or like a place."""

    def createInstance(self):  # noqa: N802 - names of QGIS here and below
        return FindSimilar()

    def name(self):
        return "geohash_rs_query"

    def displayName(self):  # noqa: N802
        return "Find places that look alike"

    def group(self):
        return "geohash_rs"

    def groupId(self):  # noqa: N802
        return "geohash_rs"

    def shortHelpString(self):  # noqa: N802
        return (
            "Search with a raster layer, or with a point in one of the archive's own tiles. "
            "The matches are footprints, best first, coloured by distance in bits. Turn on map "
            "tips to see their pictures."
        )

    def initAlgorithm(self, configuration=None):  # noqa: N802
        folder = QgsProcessingParameterFile.Behavior.Folder
        self.addParameter(QgsProcessingParameterFile("ARCHIVE", "Archive", folder))
        self.addParameter(
            QgsProcessingParameterRasterLayer("PATCH", "Raster to search with", optional=True)
        )
        self.addParameter(
            QgsProcessingParameterPoint("POINT", "or a place to search with", optional=True)
        )
        self.addParameter(QgsProcessingParameterNumber("K", "Matches", defaultValue=20, minValue=1))
        self.addParameter(
            QgsProcessingParameterNumber(
                "MAX_DISTANCE", "Largest distance, bits", optional=True, minValue=0
            )
        )
        self.addParameter(QgsProcessingParameterExtent("EXTENT", "Only within", optional=True))
        self.addParameter(
            QgsProcessingParameterString(
                "TIME", "Only from this time, such as 2023-01-01/2023-12-31", optional=True
            )
        )
        self.addParameter(
            QgsProcessingParameterBoolean(
                "REMOTE_SCENES",
                "Draw scenes from wherever the archive says, if I trust its author",
                defaultValue=False,
            )
        )
        self.addParameter(
            QgsProcessingParameterString("PROGRAM", "Command line", defaultValue="geohash-rs")
        )
        self.addParameter(
            QgsProcessingParameterVectorDestination(
                "OUTPUT",
                "Matches",
                QgsProcessing.SourceType.TypeVectorPolygon,
                defaultValue="matches.gpkg",
            )
        )

    def processAlgorithm(self, parameters, context, feedback):  # noqa: N802
        output = self.parameterAsOutputLayer(parameters, "OUTPUT", context)
        words = [
            *program_words(self.parameterAsString(parameters, "PROGRAM", context)),
            "query",
            self.parameterAsString(parameters, "ARCHIVE", context),
            *self._example(parameters, context),
            "-k",
            str(self.parameterAsInt(parameters, "K", context)),
            *self._filters(parameters, context),
            "-o",
            output,
        ]
        pictures = output.lower().endswith((".gpkg", ".html"))
        if pictures and self.parameterAsBool(parameters, "REMOTE_SCENES", context):
            words.append("--remote-scenes")
        run(words, feedback)
        return {"OUTPUT": output}

    def _example(self, parameters, context):
        patch = self.parameterAsRasterLayer(parameters, "PATCH", context)
        if parameters.get("POINT"):
            lonlat = QgsCoordinateReferenceSystem(LONLAT)
            point = self.parameterAsPoint(parameters, "POINT", context, lonlat)
            place = ["--point", f"{point.x()!r},{point.y()!r}"]
        else:
            place = []
        if (patch is None) == (not place):
            msg = "choose a raster or a place to search with, one of the two."
            raise QgsProcessingException(msg)
        return [patch.source()] if patch is not None else place

    def _filters(self, parameters, context):
        words = []
        if parameters.get("MAX_DISTANCE") is not None:
            distance = self.parameterAsInt(parameters, "MAX_DISTANCE", context)
            words += ["--max-distance", str(distance)]
        if parameters.get("EXTENT"):
            lonlat = QgsCoordinateReferenceSystem(LONLAT)
            box = self.parameterAsExtent(parameters, "EXTENT", context, lonlat)
            edges = (box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum())
            words += ["--bbox", ",".join(repr(edge) for edge in edges)]
        time = self.parameterAsString(parameters, "TIME", context)
        return [*words, "--time", time] if time else words
