"""An archive in object storage: brought there, fetched from there, or searched where it lies."""

import lazy_loader

from geohash_rs.engines.extras import require

require("fsspec", extra="cloud")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
