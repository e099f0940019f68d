"""Print how far footprints and pixels are from rasterio's own: ``[--json FILE]``."""

import argparse
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.enums import ColorInterp, Resampling
from rasterio.shutil import copy as copy_raster
from rasterio.windows import Window
from torchgeo import __version__ as torchgeo_version

from geohash_rs import Scenes, TileGrid
from tests.footprints.test_footprints import ORDINARY, POLAR, corner_error_px
from tests.scenes.range_server import serving

# rasterio multiplies affines with *: https://github.com/rasterio/rasterio/issues/3634
warnings.filterwarnings("ignore", "Use `@` matmul", PendingDeprecationWarning)

HEIGHT, WIDTH, SIZE = 301, 517, 64
PLAIN = ("EPSG:32632", ORDINARY["UTM 32"][1])
GRIDS = {
    **ORDINARY,
    "mirrored": ("EPSG:32632", Affine(-10, 0, 5e5, 0, -10, 5e6)),
    "mirrored and south-up": ("EPSG:32632", Affine(-10, 0, 5e5, 0, 10, 5e6)),
    "pixels not square": ("EPSG:32632", Affine(10, 0, 5e5, 0, -25, 5e6)),
    "500 m": ("EPSG:32632", Affine(500, 0, 3e5, 0, -500, 5e6)),
    # PROJ 9.5's own way there and back is 0.6 mm off in this projection; 9.8's is not.
    "equal-area (EASE-Grid 2.0) 500 m": ("EPSG:6933", Affine(500, 0, 1e6, 0, -500, 5e6)),
    **{f"pole {name}": grid for name, grid in POLAR.items() if "turned 0" in name},
}
Options = dict[str, object]


def noise(seed: int, *, dtype: str = "uint16", count: int = 3) -> np.ndarray:
    """Make pixels without zeros."""
    values = np.random.default_rng(seed).integers(1, 60_000, (count, HEIGHT, WIDTH))
    return values.astype(dtype)


def write(path: Path, pixels: np.ndarray, **options: object) -> Path:
    """Write one scene."""
    crs, transform = PLAIN
    profile = {"driver": "GTiff", "crs": crs, "transform": transform, "dtype": pixels.dtype}
    size = {"count": len(pixels), "height": HEIGHT, "width": WIDTH}
    with rasterio.open(path, "w", **{**profile, **size, **options}) as target:
        target.write(pixels)
    return path


def hole() -> np.ndarray:
    """Return which pixels are nodata: a slanted half."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    return rows * 2 > cols


def by_value(folder: Path) -> None:
    """Mark nodata by a value."""
    write(folder / "a.tif", np.where(hole(), 0, noise(1)).astype("uint16"), nodata=0)


def by_nan(folder: Path) -> None:
    """Mark nodata by NaN."""
    pixels = np.where(hole(), np.nan, noise(1)).astype("float32")
    write(folder / "a.tif", pixels, nodata=float("nan"))


def by_mask(folder: Path) -> None:
    """Mark nodata by a mask inside the file."""
    write(folder / "a.tif", noise(1))
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(folder / "a.tif", "r+") as file:
        file.write_mask(~hole())


def by_alpha(folder: Path) -> None:
    """Mark nodata by an alpha band."""
    pixels = noise(1, dtype="uint8", count=4)
    pixels[3] = np.where(hole(), 0, 255)
    write(folder / "a.tif", pixels, photometric="RGB", alpha="unspecified")
    with rasterio.open(folder / "a.tif", "r+") as file:
        file.colorinterp = [
            ColorInterp.red,
            ColorInterp.green,
            ColorInterp.blue,
            ColorInterp.alpha,
        ]


def overlapping(folder: Path) -> None:
    """Write two dates over one place, and a neighbour that is off by part of a pixel."""
    write(folder / "a_20230601.tif", noise(1))
    write(folder / "a_20230901.tif", noise(2))
    crs, transform = PLAIN
    shifted = transform @ Affine.translation(200.3, 100.7)
    write(folder / "b_20230601.tif", noise(3), transform=shifted, crs=crs)


def several_crs(folder: Path) -> None:
    """Write neighbouring zones, degrees and Mercator into one folder."""
    for number, name in enumerate(("UTM 32", "UTM 33", "lat/lon", "Pacific Mercator", "0.3 m")):
        crs, transform = ORDINARY[name]
        write(folder / f"{number}.tif", noise(number), crs=crs, transform=transform)


def virtual(folder: Path) -> None:
    """Write a VRT over a file elsewhere."""
    source = write(folder / "hidden.data", noise(1))
    copy_raster(source, folder / "a.vrt", driver="VRT")


def layout(**options: object) -> Callable[[Path], None]:
    """Write one scene in a layout."""
    return lambda folder: write(folder / "a.tif", noise(1), **options) and None


SETS: dict[str, tuple[Callable[[Path], None], Options]] = {
    "striped, deflate": (layout(compress="deflate"), {}),
    "tiled, zstd": (layout(tiled=True, blockxsize=128, blockysize=128, compress="zstd"), {}),
    "bands one after another": (layout(interleave="band", tiled=True), {}),
    "edges padded": (layout(nodata=0), {"edges": "pad"}),
    "tiles that overlap": (layout(), {"stride": 23}),
    "resampled to 20 m": (layout(), {"resolution": 20.0}),
    "overlapping dates": (overlapping, {}),
    "several CRS": (several_crs, {}),
    "VRT": (virtual, {}),
    "/vsicurl": (layout(tiled=True), {"remote": True}),
    "nodata by value": (by_value, {}),
    "nodata by NaN": (by_nan, {}),
    "nodata by mask": (by_mask, {}),
    "nodata by alpha": (by_alpha, {}),
}


def measure(name: str, scenes: Scenes, options: Options) -> dict[str, object]:
    """Hold every tile of some scenes against rasterio's windows."""
    resolution = options.get("resolution")
    settings = {key: value for key, value in options.items() if key != "remote"}
    tiles = list(TileGrid(scenes, tile_size=SIZE, **settings))  # type: ignore[arg-type]
    shape = (SIZE, SIZE) if resolution else None
    worst, equal = 0.0, 0
    for tile, footprint in zip(tiles, scenes.tile_footprints(tiles), strict=True):
        scene = scenes.scene_files[tile.scene]
        window = Window(*tile[1:])
        with rasterio.open(scene.key) as source:
            grid = source.window_transform(window)
            inside = window.intersection(Window(0, 0, source.width, source.height))
            rows, cols = inside.toslices()
            bands = list(scene.color_bands)
            out = {} if shape is None else {"out_shape": (len(bands), *shape)}
            expected = source.read(bands, window=inside, resampling=Resampling.average, **out)
            valid = source.dataset_mask(window=inside, out_shape=shape or expected.shape[1:])
        pixels = scenes.read(tile, shape=shape)
        part = pixels.image[:, : expected.shape[1], : expected.shape[2]]
        seen = np.ones(pixels.image.shape[1:], bool)
        seen = seen if pixels.invalid is None else ~pixels.invalid
        there = seen[: valid.shape[0], : valid.shape[1]]
        beyond = seen.sum() - there.sum()  # outside the scene nothing was seen
        same = np.array_equal(part, expected, equal_nan=part.dtype.kind == "f")
        equal += bool(same and np.array_equal(there, valid > 0) and beyond == 0)
        corners = np.array([grid @ at for at in [(0, 0), (0, tile.height)]])
        far = np.array([grid @ at for at in [(tile.width, tile.height), (tile.width, 0)]])
        corners = np.concatenate([corners, far])
        if name.startswith("pole "):  # a pole has any longitude: its own corner is held by tests
            corners = corners[np.hypot(*corners.T) > 1]
        error = corner_error_px(footprint, corners, scene.crs, scene.transform)
        worst = max(worst, float(error))
        worst = max(worst, 0.0 if shapely.is_valid(footprint) else np.inf)
        assert (rows.stop, cols.stop) <= (scene.height, scene.width)
    return {"case": name, "tiles": len(tiles), "error_px": worst, "equal": equal}


def main() -> None:
    """Print the table, and write it as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    path = parser.parse_args().json
    rows: list[dict[str, object]] = []
    print(f"TorchGeo {torchgeo_version}: scenes of {WIDTH} x {HEIGHT} px, tiles of {SIZE} px")
    print(f"{'case':32} {'tiles':>5} {'largest error, px':>18} {'pixels equal':>13}")

    def show(row: dict[str, object]) -> None:
        rows.append(row)
        print(f"{row['case']:32} {row['tiles']:5} {row['error_px']:18.2e} {row['equal']:13}")

    for name, (crs, transform) in GRIDS.items():
        with tempfile.TemporaryDirectory() as folder:
            scene = write(Path(folder) / "scene.tif", noise(0), crs=crs, transform=transform)
            show(measure(name, Scenes(scene), {}))
    for name, (make, options) in SETS.items():
        with tempfile.TemporaryDirectory() as folder:
            make(Path(folder))
            if options.get("remote"):
                with serving(Path(folder)) as server:
                    show(measure(name, Scenes(f"/vsicurl/{server.url}/a.tif"), options))
            else:
                show(measure(name, Scenes(folder), options))
    worst = max(float(str(row["error_px"])) for row in rows)
    unequal = sum(int(str(row["tiles"])) - int(str(row["equal"])) for row in rows)
    print(f"largest error of all: {worst:.2e} px; tiles with other pixels: {unequal}")
    if path:
        path.write_text(json.dumps({"torchgeo": torchgeo_version, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
