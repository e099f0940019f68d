"""GeoTIFF scenes: files found and described, cut on a grid, read as tiles."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
