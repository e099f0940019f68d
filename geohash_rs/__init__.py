"""Content-based retrieval for remote sensing: tiles become binary codes, a patch finds its like.

The pipeline, from the files to the map:

    scenes = Scenes("scenes/")                                # GeoTIFFs, each on its own grid
    archive = Archive.create("archive", hasher="general-64")      # what turns a tile into bits
    archive.add(scenes, tile_size=64)                         # tiles -> codes, on disk
    matches = archive.query("patch.tif", k=20)                # a GeoDataFrame of footprints
    matches.to_file("matches.geojson")                        # ready for QGIS

Names are loaded when first used, so that importing the package costs no torch import.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
