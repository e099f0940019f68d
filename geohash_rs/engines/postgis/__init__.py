"""An archive in PostGIS, for many users and for QGIS: published from a folder, asked by SQL."""

from geohash_rs.engines.extras import missing_extra

try:
    from geohash_rs.engines.postgis.archive import PostGISArchive
    from geohash_rs.engines.postgis.publish import PublishReport, publish
except ModuleNotFoundError as error:
    raise missing_extra(error, extra="postgis") from error

__all__ = ["PostGISArchive", "PublishReport", "publish"]
