"""One page on this machine to search an archive on a map; needs the extra ``serve``."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
