"""An archive in object storage: push it, pull it, or search it in place."""

import lazy_loader

from geohash_rs.engines.extras import require

require("fsspec", extra="cloud")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
