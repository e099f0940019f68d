"""A second, plain implementation of the search filters."""

import numpy as np
import shapely


def in_region(region, shapes, *, within=False):
    """Return which shapes are in a region; None is in no region."""
    if region is None:
        return np.ones(len(shapes), bool)
    return shapely.covers(region, shapes) if within else shapely.intersects(region, shapes)


def overlaps(region, shapes):
    """Return which shapes overlap a region."""
    if region is None:
        return np.zeros(len(shapes), bool)
    shared = shapely.area(shapely.intersection(region, shapes))
    return shared > 1e-9 * np.minimum(shapely.area(shapes), region.area)


def in_time(time, row):
    """Return whether a tile was taken within a range whose ends may be open."""
    first, last = time
    start, end = row["datetime"], row.get("datetime_end")
    if start is None or start != start:
        return False
    end = start if end is None or end != end else end
    return (last is None or start <= last) and (first is None or end >= first)
