"""A first search on a synthetic landscape: scenes, archive, query, picture."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
