"""An archive in object storage: brought there, fetched from there, or searched where it lies."""

from geohash_rs.engines.extras import missing_extra

try:
    import fsspec as _fsspec  # noqa: F401 - to say at once if it is absent
except ModuleNotFoundError as error:
    raise missing_extra(error, extra="cloud") from error

from geohash_rs.engines.cloud.cache import open_archive
from geohash_rs.engines.cloud.sync import pull, push

__all__ = ["open_archive", "pull", "push"]
