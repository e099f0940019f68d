"""The checks of ``geohash-rs doctor``, each in its own process so that a crash ends only one."""

import json
import os
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

__all__ = ["CHECKS", "REINSTALL", "NotWorkingError", "answer"]

REINSTALL = "python -m pip install --force-reinstall --no-deps {}"

# UTM zone 33: by definition, its central meridian meets the equator at 500,000 m east, 0 m north.
LON_LAT, EAST_NORTH, UTM33 = (15.0, 0.0), (500_000.0, 0.0), "EPSG:32633"
GDAL_FILE = "gdalvrt.xsd"  # every GDAL data folder has it


class NotWorkingError(Exception):
    """A check found a problem; the second argument says what to do about it."""


def check_requirements() -> str:
    """Compare the installed packages with those that geohash_rs requires.

    Returns:
        What was found.

    Raises:
        NotWorkingError: If a package is missing or has another version.
    """
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in distribution("geohash-rs").requires or []]
    except PackageNotFoundError as error:
        msg = "geohash_rs is not installed; Python only finds its folder"
        raise NotWorkingError(msg, "python -m pip install .") from error
    wanted = [one for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [f"{one.name}{one.specifier} ({have})" for one, have in _unmet(wanted)]
    if wrong:
        names = " ".join(f'"{one.name}{one.specifier}"' for one, _ in _unmet(wanted))
        msg = f"geohash_rs requires {', '.join(wrong)}"
        raise NotWorkingError(msg, f"python -m pip install {names}")
    return f"{len(wanted)} packages, each in a version that geohash_rs accepts"


def _unmet(wanted: list[Any]) -> Iterator[tuple[Any, str]]:
    """Yield the requirements that are not met, each with the reason."""
    for one in wanted:
        try:
            have = version(one.name)
        except PackageNotFoundError:
            yield one, "not installed"
            continue
        if not one.specifier.contains(have, prereleases=True):
            yield one, f"{have} is installed"


def check_rasterio() -> str:
    """Transform a point, and write and read a GeoTIFF, with rasterio's GDAL and PROJ.

    Returns:
        What was found.

    Raises:
        NotWorkingError: If a result is wrong, or GDAL's data files are missing.
    """
    import numpy as np
    import rasterio
    from rasterio.env import GDALDataFinder, PROJDataFinder
    from rasterio.io import MemoryFile
    from rasterio.warp import transform

    warnings.simplefilter("ignore")
    x, y = transform("EPSG:4326", UTM33, [LON_LAT[0]], [LON_LAT[1]])
    _expect_point("rasterio", x[0], y[0])
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 4)
    shape = {"driver": "GTiff", "count": 1, "height": 3, "width": 4, "dtype": "uint8"}
    with MemoryFile() as memory:
        with memory.open(crs=UTM33, **shape) as scene:
            scene.write(pixels)
        with memory.open() as scene:
            same = bool((scene.read() == pixels).all()) and scene.crs.to_epsg() == 32633
    if not same:
        msg = "GDAL wrote a GeoTIFF, but read back different pixels or a different CRS"
        raise NotWorkingError(msg, REINSTALL.format("rasterio"))
    gdal_data = os.environ.get("GDAL_DATA") or GDALDataFinder().search()
    if gdal_data and not (Path(gdal_data) / GDAL_FILE).exists():
        msg = f"GDAL's data files are not in {gdal_data}: {GDAL_FILE} is missing"
        raise NotWorkingError(msg, REINSTALL.format("rasterio"))
    asked = os.environ.get("PROJ_DATA") or os.environ.get("PROJ_LIB")
    folder = (asked or "").split(os.pathsep)[0] or PROJDataFinder().search()
    data = _proj_data(Path(folder)) if folder else "in PROJ's own folder"
    return f"GDAL {rasterio.__gdal_version__}, PROJ {rasterio.__proj_version__}, data {data}"


def _expect_point(library: str, x: float, y: float) -> None:
    if abs(x - EAST_NORTH[0]) > 0.001 or abs(y - EAST_NORTH[1]) > 0.001:
        msg = f"{library} places longitude 15, latitude 0 at {x}, {y} in {UTM33}, not {EAST_NORTH}"
        raise NotWorkingError(msg, REINSTALL.format(library))


def _proj_data(folder: Path) -> str:
    """Read the versions of PROJ and of the EPSG registry from ``proj.db``."""
    path = folder / "proj.db"
    if not path.is_file():
        return f"in {folder}"
    query = "SELECT key, value FROM metadata"
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        found = dict(database.execute(query))
    finally:
        database.close()
    return f"of PROJ {found.get('PROJ.VERSION', '?')} and EPSG {found.get('EPSG.VERSION', '?')}"


def check_pyproj() -> str:
    """Transform a point with pyproj's own PROJ.

    Returns:
        What was found.

    Raises:
        NotWorkingError: If the result is wrong.
    """
    import pyproj
    from pyproj.database import get_database_metadata

    found = pyproj.Transformer.from_crs("EPSG:4326", UTM33, always_xy=True).transform(*LON_LAT)
    _expect_point("pyproj", *found)
    data = f"PROJ {get_database_metadata('PROJ.VERSION')}"
    data += f" and EPSG {get_database_metadata('EPSG.VERSION')}"
    return f"PROJ {pyproj.proj_version_str}, data of {data}"


def check_pyogrio() -> str:
    """Write and read a GeoPackage with pyogrio's own GDAL.

    Returns:
        What was found.

    Raises:
        NotWorkingError: If it reads another place or CRS than it wrote.
    """
    import geopandas as gpd
    import pyogrio
    import shapely

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "point.gpkg"
        gpd.GeoDataFrame(geometry=[shapely.Point(EAST_NORTH)], crs=UTM33).to_file(path)
        read = gpd.read_file(path)
    if read.crs != UTM33 or read.geometry[0] != shapely.Point(EAST_NORTH):
        msg = f"a point in {UTM33} is read from a GeoPackage as {read.geometry[0]} in {read.crs}"
        raise NotWorkingError(msg, REINSTALL.format("pyogrio"))
    return f"GDAL {pyogrio.__gdal_version_string__}, a GeoPackage keeps its CRS"


def check_numba() -> str:
    """Compile the kernel that compares codes, and find a code with it.

    Returns:
        What was found.

    Raises:
        NotWorkingError: If it does not compile, or finds another code.
    """
    import numba

    from geohash_rs.store.search.compiled import numba_works

    if numba.config.DISABLE_JIT:
        msg = "Numba is set not to compile, so a search takes hundreds of times as long"
        raise NotWorkingError(msg, "unset NUMBA_DISABLE_JIT, or remove it from .numba_config.yaml")
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        if not numba_works():
            msg = " ".join(str(one.message) for one in heard)
            raise NotWorkingError(msg, REINSTALL.format("numba llvmlite"))
    return f"Numba {numba.__version__} compiles the search"


def check_folders() -> str:
    """Write to the folders for compiled kernels, temporary files and fetched archives.

    Returns:
        What was found.

    Raises:
        NotWorkingError: If one of them is not writable.
    """
    temporary = Path(tempfile.gettempdir())
    _try_to_write(temporary, "set TMPDIR to a folder that you can write")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    _try_to_write(home / "geohash_rs", "set XDG_CACHE_HOME to a folder that you can write")
    from geohash_rs.store.search import kernels

    kept = getattr(getattr(kernels.scan, "_cache", None), "cache_path", None)
    if kept is None:
        msg = "no folder can store the compiled search, so each process compiles it again"
        raise NotWorkingError(msg, "set NUMBA_CACHE_DIR to a folder that you can write")
    return f"compiled search in {kept}, temporary files in {temporary}, cache in {home}"


def _try_to_write(folder: Path, remedy: str) -> None:
    """Write a file to a folder, or to its nearest parent that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"geohash_rs")
    except OSError as error:
        msg = f"{folder} cannot be written: {error.strerror or error}"
        raise NotWorkingError(msg, remedy) from error


def check_onnxruntime() -> str:
    """Run a small network with ONNX Runtime.

    Returns:
        What was found.

    Raises:
        NotWorkingError: If the result is wrong.
    """
    import numpy as np
    from onnx import TensorProto, helper

    from geohash_rs.hashing.network.telemetry import quiet_onnxruntime

    onnxruntime = quiet_onnxruntime()

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "relu", value[:1], value[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"x": np.array([-1, 0, 2], np.float32)})[0].tolist()
    if found != [0.0, 0.0, 2.0]:
        msg = f"ONNX Runtime computes relu of [-1, 0, 2] as {found}"
        raise NotWorkingError(msg, REINSTALL.format("onnxruntime"))
    return f"ONNX Runtime {onnxruntime.__version__} runs a network"


def check_hasher() -> str:
    """Hash a tile with a hasher that comes with the package.

    Returns:
        What was found.

    Raises:
        NotWorkingError: If the weights are missing, or two runs make different codes.
    """
    import torch

    from geohash_rs.hashing.shipped import load_hasher, shipped_hashers

    names = list(shipped_hashers())
    if not names:
        msg = "the weights that come with geohash_rs are missing"
        raise NotWorkingError(msg, f"{REINSTALL.format('geohash-rs')} (in a clone: .)")
    pixels = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    hasher = load_hasher(names[0])
    once, again = (hasher.codes(pixels.to(torch.uint8)).tobytes() for _ in range(2))
    if once != again:
        msg = f"{names[0]} hashes the same tile to {once.hex()} and then to {again.hex()}"
        raise NotWorkingError(msg, REINSTALL.format("torch"))
    gpu = "CUDA" if torch.cuda.is_available() else "no CUDA"
    return f"{names[0]} hashes a tile into {hasher.num_bits} bits; PyTorch sees {gpu}"


# Name, function, and the variables that can break it: doctor names one if the check works without.
CHECKS: dict[str, tuple[Callable[[], str], tuple[str, ...]]] = {
    "requirements": (check_requirements, ()),
    "rasterio": (check_rasterio, ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA", "GDAL_DRIVER_PATH")),
    "pyproj": (check_pyproj, ("PROJ_DATA", "PROJ_LIB")),
    "pyogrio": (check_pyogrio, ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA", "GDAL_DRIVER_PATH")),
    "numba": (check_numba, ("NUMBA_DISABLE_JIT", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")),
    "folders": (check_folders, ("NUMBA_DISABLE_JIT", "XDG_CACHE_HOME", "TMPDIR")),
    "onnxruntime": (check_onnxruntime, ("LD_LIBRARY_PATH",)),
    "hasher": (check_hasher, ("LD_LIBRARY_PATH",)),
}


def answer(name: str) -> None:
    """Run one check and write its outcome as JSON, on the last line of standard output.

    Args:
        name: A name in `CHECKS`.
    """
    try:
        outcome = {"ok": True, "found": CHECKS[name][0](), "remedy": ""}
    except NotWorkingError as error:
        outcome = {"ok": False, "found": error.args[0], "remedy": error.args[1]}
    except Exception as error:  # noqa: BLE001 - reports whatever a broken library raises
        words = " ".join(str(error).split())
        outcome = {"ok": False, "found": f"{type(error).__name__}: {words}", "remedy": ""}
    if name == "rasterio" and not outcome["ok"]:
        outcome["found"] = f"{outcome['found']}{_gdal_and_proj()}"
    sys.stdout.write(f"\n{json.dumps(outcome)}\n")
    sys.stdout.flush()
    os._exit(0)  # skips what libraries do at exit


def _gdal_and_proj() -> str:
    """Return rasterio's versions of GDAL and PROJ in brackets, or nothing if it is not imported."""
    rasterio = sys.modules.get("rasterio")
    gdal, proj = (getattr(rasterio, f"__{name}_version__", "") for name in ("gdal", "proj"))
    return f" (GDAL {gdal}, PROJ {proj})" if gdal else ""
