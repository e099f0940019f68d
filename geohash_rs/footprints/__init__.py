"""Where tiles lie on the Earth: polygons from transforms, whatever the projection."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
