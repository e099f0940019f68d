"""Tile footprints on the Earth: polygons from transforms in any projection."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
