"""Write scores as rasters: one pixel a tile, on the grid of each scene."""

import os
import re
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from affine import Affine

from geohash_rs.concepts.cells import Axis, Grid, grids_of
from geohash_rs.concepts.placing import Cells
from geohash_rs.concepts.tile_rows import rows_by_scene, tile_rows, windows_of
from geohash_rs.errors import ExportError, GeoHashRSWarning
from geohash_rs.export.formats import check_place, reporting
from geohash_rs.store.disk.durable import replacing
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.searchable import Searchable

__all__ = ["raster_of", "write_rasters"]

MOST_STEM = 120  # characters of a scene's name that the name of its raster keeps
UNSAFE = re.compile(r'[\s._]*[<>:"|?*\\/][\s._<>:"|?*\\/]*')  # in names of files on Windows

Scores = npt.NDArray[np.float32]


def write_rasters(
    archive: Searchable,
    ids: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    folder: str | os.PathLike[str],
    *,
    name: str,
    tile_sizes: Collection[int] | None = None,
) -> list[Path]:
    """Write the scores of tiles as cloud-optimised GeoTIFFs, one for each scene and tile size.

    A pixel is a tile: as large as the step between tiles, its middle that of the tile. Only where a
    last tile was moved back into its scene, the pixel stays where the grid would have put it.
    Float32, NaN where the scene has no tile or the filters left it out; with overviews.

    Args:
        archive: One state of it.
        ids: The tiles to be drawn, each once, shape (n,).
        scores: Their scores, shape (n,).
        folder: Where to write; made if it does not exist, files of an earlier run are replaced.
        name: Name of what is scored; it goes into the names of the files and their tags.
        tile_sizes: Only grids of these tile sizes, px; None means all.

    Returns:
        The files, in the order of the scenes: SCENE_CONCEPT.tif; SCENE_CONCEPT_SIZE.tif where a
        scene has several tile sizes; with a number where two scenes have one name.

    Raises:
        ExportError: If no tile is of a scene's grid, the folder lies in an archive, or a file
            cannot be written.
    """
    target = Path(folder)
    check_place(target / "raster.tif" if target.is_dir() else target)
    tiles = tile_rows(archive, ids)
    windows, by_scene = windows_of(tiles), rows_by_scene(tiles)
    drawings: list[tuple[SceneRecord, Cells]] = []
    for record in archive.scenes():
        rows = by_scene.get(record.scene, np.empty(0, np.int64))
        for grid in grids_of(record, sizes=tile_sizes) if len(rows) else []:
            across, down = grid.find(windows[rows])
            cells = Cells(grid=grid, rows=rows, across=across, down=down).chosen(across >= 0)
            if len(cells.rows):
                drawings.append((record, cells))
    drawn = sum(len(cells.rows) for _, cells in drawings)
    if not drawn:
        msg = (
            f"none of the {len(tiles):,} tiles is of a scene's grid, so there is no raster to "
            "write; map them as areas instead."
        )
        raise ExportError(msg)
    if drawn < len(tiles):
        msg = (
            f"{len(tiles) - drawn:,} of {len(tiles):,} tiles are not of a scene's grid and are in "
            "no raster."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
    with reporting(target):
        target.mkdir(exist_ok=True)
    written: list[Path] = []
    stem = _safe(name) or "score"
    for record, cells in drawings:
        grid = cells.grid
        size = f"_{grid.tile_size}" if len(grids_of(record)) > 1 else ""
        path = _unused(target, f"{_stem(record.scene)}_{stem}{size}", written)
        values = np.full((len(grid.rows.starts), len(grid.cols.starts)), np.nan, np.float32)
        values[cells.down, cells.across] = scores[cells.rows]
        _write(path, values, grid, record, name)
        written.append(path)
    return written


def raster_of(grid: Grid) -> Affine:
    """Return the transform of a raster with one pixel for each tile of a grid.

    Args:
        grid: The grid.

    Returns:
        From pixel to the CRS of the scene.
    """
    left, top = _origin(grid.cols), _origin(grid.rows)
    return (
        grid.transform
        @ Affine.translation(left, top)
        @ Affine.scale(grid.cols.stride, grid.rows.stride)
    )


def _origin(axis: Axis) -> float:
    """Return where the first pixel begins so that its middle is that of the first tile."""
    return float(axis.starts[0]) + (axis.size - axis.stride) / 2


def _write(path: Path, values: Scores, grid: Grid, record: SceneRecord, name: str) -> None:
    profile = {
        "driver": "COG",
        "dtype": "float32",
        "count": 1,
        "width": values.shape[1],
        "height": values.shape[0],
        "crs": grid.crs,
        "transform": raster_of(grid),
        "nodata": np.nan,
        "compress": "deflate",
        "predictor": "floating_point",
        "overview_resampling": "average",
    }
    tags = {"TIFFTAG_IMAGEDESCRIPTION": f"score of {name}, one pixel a tile"}
    if record.datetime is not None:
        tags["TIFFTAG_DATETIME"] = f"{record.datetime:%Y:%m:%d %H:%M:%S}"
    with (
        reporting(path),
        replacing(path) as draft,
        rasterio.open(draft, "w", **profile) as file,
    ):
        file.write(values, 1)
        file.set_band_description(1, f"score of {name}")
        file.update_tags(**tags)


def _stem(scene: str) -> str:
    last = scene.rstrip("/").rsplit("/", 1)[-1]
    return _safe(last.rpartition(".")[0] or last)[:MOST_STEM] or "scene"


def _safe(text: str) -> str:
    printable = "".join(c if c.isprintable() else "/" for c in text)
    return UNSAFE.sub("_", printable).strip("._ ")


def _unused(folder: Path, stem: str, written: Iterable[Path]) -> Path:
    """Return a name that no other raster of this run has."""
    names = {path.name.lower() for path in written}
    tries = (f"{stem}{suffix}.tif" for suffix in ("", *(f"_{n}" for n in range(2, len(names) + 3))))
    return folder / next(one for one in tries if one.lower() not in names)
