"""Write footprints and their attributes to the file formats that maps and tables read."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
