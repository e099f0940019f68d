"""Content-based retrieval for remote sensing: tiles become binary codes, a patch finds its like.

The pipeline, from the files to the map:

    scenes = Scenes("scenes/")                                # GeoTIFFs, each on its own grid
    archive = Archive.create("archive", hasher="general-64")      # what turns a tile into bits
    archive.add(scenes, tile_size=64)                         # tiles -> codes, on disk
    matches = archive.query("patch.tif", k=20)                # a GeoDataFrame of footprints
    matches.to_file("matches.geojson")                        # ready for QGIS

Names are loaded when first used, so that importing the package costs no torch import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from geohash_rs.errors import GeoHashRSError
    from geohash_rs.hashing import Hasher, fit_hasher, load_hasher
    from geohash_rs.hashing.datamodules import ClassFolderDataModule
    from geohash_rs.hashing.places import fit_on_scenes
    from geohash_rs.hashing.scene_datamodule import LabelledSceneDataModule
    from geohash_rs.hashing.task import HashingTask
    from geohash_rs.image_archive import Archive
    from geohash_rs.matches import Matches
    from geohash_rs.scenes import Scenes, Tile
    from geohash_rs.tile_grid import TileGrid

__version__ = "0.1.0"

# In the order of the pipeline: where each public name lives.
_HOMES = {
    "Scenes": "scenes",
    "Tile": "scenes",
    "TileGrid": "tile_grid",
    "Hasher": "hashing",
    "fit_hasher": "hashing",
    "fit_on_scenes": "hashing.places",
    "load_hasher": "hashing",
    "HashingTask": "hashing.task",
    "ClassFolderDataModule": "hashing.datamodules",
    "LabelledSceneDataModule": "hashing.scene_datamodule",
    "Archive": "image_archive",
    "Matches": "matches",
    "GeoHashRSError": "errors",
}

__all__ = [
    "Archive",
    "ClassFolderDataModule",
    "GeoHashRSError",
    "Hasher",
    "HashingTask",
    "LabelledSceneDataModule",
    "Matches",
    "Scenes",
    "Tile",
    "TileGrid",
    "fit_hasher",
    "fit_on_scenes",
    "load_hasher",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
