"""Find the program geohash-rs, check its version, and find a Python that can install it."""

import configparser
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from qgis.core import QgsApplication, QgsSettings

from .command import Command

PACKAGE = "geohash-rs[serve,cloud,postgis]"
SETTING = "geohash_rs/program"
PYTHONS = ("python3.13", "python3.12", "python3.11", "python3", "python", "py")
IS_PYTHON = "import sys, venv, ensurepip; print(*sys.version_info[:2])"


def wanted_version():
    """Return the version of the program that this plugin was made for, such as (0, 1).

    It is the plugin's own. Before 1.0 each minor version may change what the program answers.
    """
    known = configparser.ConfigParser(interpolation=None)
    known.read(Path(__file__).with_name("metadata.txt"), encoding="utf-8")
    return tuple(int(part) for part in known["general"]["version"].split(".")[:2])


def environment_folder():
    """Return the folder of the environment that the plugin makes, next to the user's profile."""
    return Path(QgsApplication.qgisSettingsDirPath()) / "geohash_rs" / "environment"


def in_environment(name):
    """Return the path of a program in the plugin's own environment."""
    folder = "Scripts" if os.name == "nt" else "bin"
    return environment_folder() / folder / (f"{name}.exe" if os.name == "nt" else name)


def candidates():
    """List the commands that may be the program, as words: chosen, installed here, on the PATH."""
    chosen = QgsSettings().value(SETTING, "", type=str).strip()
    if chosen:
        return [split(chosen)]
    found = [str(in_environment("geohash-rs")), shutil.which("geohash-rs")]
    return [[path] for path in found if path and Path(path).exists()]


def split(text):
    """Split a command into words, unless it is the path of a program, which may have spaces."""
    if shutil.which(text) or Path(text).is_file():
        return [text]
    try:
        words = shlex.split(text, posix=os.name != "nt")  # Windows paths have backslashes
    except ValueError:
        return [text]
    return [word.strip('"') for word in words]


def find(done, parent):
    """Find a program of the right version.

    Args:
        done: Called with the program's words and "", or with None and what to do.
        parent: What owns the commands that are run.
    """
    left, complaints = candidates(), []

    def following():
        if not left:
            done(None, " ".join(complaints) or missing())
            return
        words = left.pop(0)
        check = Command([*words, "--version"], parent)

        def ended(code, last):
            complaint = complaint_of(words, code, last)
            check.deleteLater()
            if complaint:
                complaints.append(complaint)
                following()
            else:
                done(words, "")

        check.ended.connect(ended)
        check.start()

    following()


def missing():
    """Say that there is no program."""
    return (
        "The program geohash-rs was not found. Choose Install, or enter its path in the field "
        "Program, such as /home/me/env/bin/geohash-rs."
    )


def complaint_of(words, code, said):
    """Return what is wrong with a program, or "".

    Args:
        words: The program.
        code: The exit code of its --version.
        said: The last line that it printed.
    """
    command = " ".join(words)
    if code:
        return f"{command} does not run: {said}"
    version = re.search(r"geohash-rs, version (\d+)\.(\d+)\S*", said)
    if version is None:
        return f"{command} is not geohash-rs: it answered {said[:80]!r} to --version."
    if tuple(int(part) for part in version.groups()) != wanted_version():
        wanted = ".".join(map(str, wanted_version()))
        number = version[0].rpartition(" ")[2]
        return (
            f"{command} is version {number}, but this plugin was made for {wanted}. Update the "
            f"plugin, or choose Install, which installs geohash-rs {wanted} for QGIS alone."
        )
    return ""


def install_commands(python, package):
    """Return the commands that install the program in an environment of its own.

    Args:
        python: Words of a Python 3.11 or later.
        package: What pip installs.
    """
    inside = str(in_environment("python"))
    return [
        [*python, "-m", "venv", "--clear", str(environment_folder())],
        [inside, "-m", "pip", "install", "--disable-pip-version-check", package],
    ]


def wanted_package():
    """Return what pip should install for this version of the plugin."""
    return "{}=={}.{}.*".format(PACKAGE, *wanted_version())


def find_python(done, parent):
    """Find a Python that can make an environment for the program.

    Args:
        done: Called with its words, or with None.
        parent: What owns the commands that are run.
    """
    own = [Path(sys.prefix) / name for name in ("python3.exe", "python.exe", "bin/python3")]
    found = [str(path) for path in own if path.is_file()]
    found += [path for path in map(shutil.which, PYTHONS) if path]
    left = list(dict.fromkeys(found))

    def following():
        if not left:
            done(None)
            return
        path = left.pop(0)
        words = [path, "-3"] if Path(path).stem == "py" else [path]
        check = Command([*words, "-c", IS_PYTHON], parent)

        def ended(code, last):
            check.deleteLater()
            numbers = last.split()
            sound = code == 0 and len(numbers) == 2 and all(part.isdigit() for part in numbers)
            if sound and (3, 11) <= tuple(map(int, numbers)) < (3, 14):
                done(words)
            else:
                following()

        check.ended.connect(ended)
        check.start()

    following()
