"""``geohash-rs doctor``: show versions, find what does not work, and say what to do about it."""

import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from geohash_rs import __version__
from geohash_rs.cli.checks import CHECKS, REINSTALL
from geohash_rs.cli.terminal import echo

__all__ = ["Outcome", "doctor_command", "run_check"]

TIMEOUT = 300  # seconds; the slowest check imports PyTorch on a busy machine
# The check imports from this process's own path, never from the current folder.
CHILD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from geohash_rs.cli.checks import answer; answer(sys.argv[2])"
)
PACKAGES = (
    "numpy", "torch", "torchvision", "torchgeo", "timm", "rasterio", "pyproj", "pyogrio", "geopandas",
    "shapely", "pyarrow", "numba", "onnxruntime",
)
EXTRAS = ("ray", "psycopg", "fsspec", "s3fs", "pystac", "fastapi", "uvicorn", "folium")
# Only these variables are shown, since values of others may be secret.
VARIABLES = sorted({name for _, suspects in CHECKS.values() for name in suspects})
# What to reinstall if a check shows only an error of a library and is not named like its package.
PARTS = {"hasher": "torch torchvision torchgeo", "requirements": "packaging", "folders": "numba"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a check found.

    Attributes:
        ok: Whether everything works.
        found: What was found, on one line.
        remedy: What to do if not, on one line.
    """

    ok: bool
    found: str
    remedy: str


@click.command("doctor")
def doctor_command() -> int:
    """Show versions and check that everything works here; exit with code 1 if something does not."""
    for name, value in _versions():
        echo(f"{name:<13} {value}")
    echo("")
    failed = []
    with ThreadPoolExecutor(4) as threads:
        for name, outcome in zip(CHECKS, threads.map(diagnose, CHECKS), strict=True):
            echo(f"{'ok' if outcome.ok else 'FAILED':<7} {name:<13} {outcome.found}")
            if not outcome.ok:
                echo(f"{'':<21} to do: {outcome.remedy}")
                failed.append(name)
    if failed:
        names = ", ".join(failed)
        msg = f"{len(failed)} of {len(CHECKS)} checks failed ({names}); what to do is below each."
        echo(f"geohash-rs: {msg}", err=True)
    return 1 if failed else 0


def diagnose(name: str) -> Outcome:
    """Run a check; if it fails, find out whether an environment variable causes it.

    Args:
        name: A name in `CHECKS`.

    Returns:
        Its outcome, with a remedy if it failed.
    """
    outcome = run_check(name)
    if outcome.ok:
        return outcome
    suspects = [one for one in CHECKS[name][1] if one in os.environ]
    trials = [[one] for one in suspects] + ([suspects] if len(suspects) > 1 else [])
    for without in trials:
        if run_check(name, without=without).ok:
            values = " and ".join(f"{one} (now {os.environ[one]!r})" for one in without)
            remedy = f"unset {values}: it works without; another program may have set it"
            return replace(outcome, remedy=remedy)
    return replace(outcome, remedy=outcome.remedy or REINSTALL.format(PARTS.get(name, name)))


def run_check(
    name: str, *, without: tuple[str, ...] | list[str] = (), timeout: float = TIMEOUT
) -> Outcome:
    """Run a check in its own process.

    Args:
        name: A name in `CHECKS`.
        without: Environment variables to hide from the process.
        timeout: Seconds until the process is killed.

    Returns:
        Its outcome; a check that crashes or takes too long fails.
    """
    words = [sys.executable, "-P", "-c", CHILD, json.dumps(sys.path), name]
    environment = {key: value for key, value in os.environ.items() if key not in without}
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return Outcome(ok=False, found=f"it did not end within {timeout:g} s", remedy="")
    try:
        return Outcome(**json.loads(done.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        last = (done.stderr.split("\n\n")[0].strip().splitlines() or ["no error message"])[-1]
        return Outcome(ok=False, found=f"it crashed (exit code {done.returncode}): {last}", remedy="")


def _versions() -> list[tuple[str, str]]:
    """List the versions in use, without importing the packages."""
    rows = [
        ("geohash_rs", f"{__version__} in {Path(__file__).parents[1]}"),
        ("Python", f"{platform.python_version()} in {sys.prefix}"),
        ("system", platform.platform()),
        ("processor", f"{_processor()}, {os.cpu_count()} threads"),
    ]
    rows += [(name, _version(name)) for name in PACKAGES]
    rows.append(("extras", ", ".join(f"{name} {_version(name)}" for name in EXTRAS)))
    seen = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    rows.append(("environment", ", ".join(seen) or "nothing that changes GDAL, PROJ or Numba"))
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Return the processor's name; on Linux it is in a file that Python does not read."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
