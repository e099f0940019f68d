"""Rasters kept open between reads, separately in each thread and process."""

import atexit
import os
import threading
import weakref
from collections import OrderedDict

from rasterio.io import DatasetReader

from geohash_rs.scenes.file import open_raster

__all__ = ["RasterPool"]

OPEN_RASTERS = 32


class RasterPool:
    """The most recently used open rasters, never shared between processes or threads."""

    def __init__(self) -> None:
        self._local = threading.local()
        _pools.add(self)

    def _mine(self) -> OrderedDict[tuple[str, bool], DatasetReader]:
        if getattr(self._local, "process", None) != os.getpid():
            # A forked worker must not touch its parent's handles, not even to close them.
            self._local.process = os.getpid()
            self._local.inherited = getattr(self._local, "rasters", None)
            self._local.rasters = OrderedDict()
        rasters: OrderedDict[tuple[str, bool], DatasetReader] = self._local.rasters
        return rasters

    def open(self, key: str, *, direct: bool = False) -> DatasetReader:
        """Return the raster, opening it if it is not open yet.

        Args:
            key: Path or URI.
            direct: As in `open_raster`.

        Returns:
            An open dataset; the pool closes it.
        """
        rasters = self._mine()
        found = rasters.get((key, direct))
        if found is not None:
            rasters.move_to_end((key, direct))
            return found
        opened = rasters[key, direct] = open_raster(key, direct=direct)
        if len(rasters) > OPEN_RASTERS:
            rasters.popitem(last=False)[1].close()
        return opened

    def close(self, key: str) -> None:
        """Close a raster, so that the next use reopens it.

        Args:
            key: Path or URI.
        """
        for direct in (False, True):
            found = self._mine().pop((key, direct), None)
            if found is not None:
                found.close()

    def close_all(self) -> None:
        """Close the rasters that this thread has open."""
        rasters = self._mine()
        while rasters:
            rasters.popitem()[1].close()


_pools: weakref.WeakSet[RasterPool] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close open rasters before Python shuts down: rasterio 1.5 cannot once modules are gone.

    It prints "Error in sys.excepthook" then: https://github.com/rasterio/rasterio/issues/3563
    """
    for pool in list(_pools):
        pool.close_all()
