"""An archive in PostGIS, for many users and QGIS: published from a folder, searched with SQL."""

import lazy_loader

from geohash_rs.engines.extras import require

require("psycopg", extra="postgis")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
