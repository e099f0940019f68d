"""Check and read stored footprints.

GEOS reads collections by recursion without a limit, so a few hundred kilobytes of nested
collections would end the process.
"""

import struct
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.errors import ArchiveCorruptError, one_line
from geohash_rs.store.segment.layout import MOST_FOOTPRINT

__all__ = ["check_wkb", "read_shapes"]

SIMPLE = tuple(bytes([1, kind, 0, 0, 0]) for kind in (1, 2, 3))  # little-endian, 2D
MOST_DEPTH = 8  # collections in collections; footprints have one or none
POINT, LINE, POLYGON, COLLECTION = 1, 2, 3, 7


def check_wkb(values: Iterable[bytes | None]) -> None:
    """Check that geometries are of the kinds that are stored, and do not nest deeply.

    Args:
        values: WKB as a segment stores it, None for a missing footprint.

    Raises:
        ValueError: If a value is of another kind, cut short, nested more than eightfold or too
            long.
    """
    for value in values:
        if value is not None and len(value) > MOST_FOOTPRINT:
            msg = f"a geometry of {len(value):,} bytes, over {MOST_FOOTPRINT:,}, is not a footprint"
            raise ValueError(msg)
        if value is not None and not value.startswith(SIMPLE):
            _end(value, 0, depth=0)


def _end(wkb: bytes, place: int, *, depth: int) -> int:
    """Return where a geometry inside a WKB ends.

    Raises:
        ValueError: If it is of another kind, cut short or nested too deeply.
    """
    try:
        order, kind = struct.unpack_from("<BI", wkb, place)
        if order != 1 or not POINT <= kind <= COLLECTION or depth > MOST_DEPTH:
            msg = f"a geometry of kind {kind}, order {order} and depth {depth} is not a footprint"
            raise ValueError(msg)
        place += 5
        if kind == POINT:
            return place + 16
        (count,) = struct.unpack_from("<I", wkb, place)
        place += 4
        if kind == LINE:
            return place + 16 * int(count)
        for _ in range(count):  # each takes bytes, so a false count ends at the end of the value
            if kind == POLYGON:
                place += 4 + 16 * int(struct.unpack_from("<I", wkb, place)[0])
            else:
                place = _end(wkb, place, depth=depth + 1)
    except struct.error as error:
        msg = f"a geometry of {len(wkb)} bytes is cut short"
        raise ValueError(msg) from error
    return place


def read_shapes(values: Sequence[bytes | None]) -> npt.NDArray[np.object_]:
    """Read footprints that `check_wkb` has checked.

    Args:
        values: WKB, n rows, None for a missing footprint.

    Returns:
        Shapely geometries, shape (n,).

    Raises:
        ArchiveCorruptError: If GEOS cannot read one.
    """
    try:
        return np.asarray(shapely.from_wkb(np.array(values, dtype=object)))
    except shapely.errors.GEOSException as error:
        msg = (
            f"a stored footprint cannot be decoded ({one_line(error)}); run 'geohash-rs verify' "
            "and restore the archive from a copy."
        )
        raise ArchiveCorruptError(msg) from error
