"""Print how far footprints and pixels are from rasterio's own; an argument names a JSON file."""

import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import rasterio
import shapely
from affine import Affine
from rasterio.windows import Window
from torchgeo import __version__ as torchgeo_version

from geohash_rs import Scenes, TileGrid
from tests.test_footprints import ORDINARY, POLAR, corner_error_px

# rasterio multiplies affines with *: https://github.com/rasterio/rasterio/issues/3634
warnings.filterwarnings("ignore", "Use `@` matmul", PendingDeprecationWarning)

HEIGHT, WIDTH, SIZE = 301, 517, 64


def truth(name: str, crs: str, transform: Affine, folder: Path) -> dict[str, object]:
    """Write one scene, read its tiles and hold them against rasterio's windows."""
    path = folder / "scene.tif"
    pixels = np.random.default_rng(0).integers(0, 65535, (3, HEIGHT, WIDTH), dtype="uint16")
    profile = {"driver": "GTiff", "count": 3, "dtype": "uint16", "crs": crs}
    size = {"height": HEIGHT, "width": WIDTH}
    with rasterio.open(path, "w", transform=transform, **profile, **size) as target:
        target.write(pixels)
    scenes = Scenes(path)
    tiles = list(TileGrid(scenes, tile_size=SIZE))
    worst, equal = 0.0, 0
    with rasterio.open(path) as source:
        for tile, footprint in zip(tiles, scenes.tile_footprints(tiles), strict=True):
            window = Window(*tile[1:])
            grid = source.window_transform(window)
            ends = [(0, 0), (0, SIZE), (SIZE, SIZE), (SIZE, 0)]
            corners = np.array([grid @ end for end in ends])
            if name in POLAR:  # a pole has any longitude: its own corner is held by the tests
                corners = corners[np.hypot(*corners.T) > 1]
            worst = max(worst, corner_error_px(footprint, corners, crs, transform))
            worst = max(worst, 0.0 if shapely.is_valid(footprint) else np.inf)
            equal += np.array_equal(scenes.read(tile).image, source.read(window=window))
    return {"case": name, "tiles": len(tiles), "error_px": worst, "equal": equal}


def main() -> None:
    """Print the table, and write it as JSON if asked."""
    cases = ORDINARY | {f"pole {k}": v for k, v in POLAR.items() if "turned 0" in k}
    rows = []
    print(f"TorchGeo {torchgeo_version}: scenes of {WIDTH} x {HEIGHT} px, tiles of {SIZE} px")
    print(f"{'case':32} {'tiles':>5} {'largest error, px':>18} {'pixels equal':>13}")
    for name, (crs, transform) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            row = truth(name.removeprefix("pole "), crs, transform, Path(folder))
        rows.append(row)
        print(f"{name:32} {row['tiles']:5} {row['error_px']:18.2e} {row['equal']:13}")
    worst = max(float(str(row["error_px"])) for row in rows)
    print(f"largest of all: {worst:.2e} px")
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(json.dumps({"torchgeo": torchgeo_version, "rows": rows}))


if __name__ == "__main__":
    main()
