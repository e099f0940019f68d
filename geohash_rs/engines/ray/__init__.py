"""An archive on a Ray cluster: indexed by many workers, searched by many nodes."""

import lazy_loader

from geohash_rs.engines.extras import require

require("ray", extra="ray")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
