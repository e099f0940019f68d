"""Where and when scenes are, in the form of TorchGeo's index and slices."""

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geohash_rs.footprints.windows import WGS84, footprints, ground_pixel, window_corners
from geohash_rs.scenes.file import SceneFile

__all__ = ["coverage", "pixel_size", "slices_of"]


def coverage(
    scenes: Sequence[SceneFile], *, undated: tuple[pd.Timestamp, pd.Timestamp]
) -> gpd.GeoDataFrame:
    """Make TorchGeo's index of scenes.

    Args:
        scenes: The scenes, one or more.
        undated: First and last moment of a scene without a date.

    Returns:
        One row per scene: its outline and column ``filepath``, indexed by intervals of time; in the
        CRS that all scenes share, or in EPSG:4326.
    """
    shared = {scene.crs for scene in scenes}
    crs = shared.pop() if len(shared) == 1 else WGS84
    geometries = []
    for scene in scenes:
        whole = [[0, 0, scene.width, scene.height]]
        if crs == scene.crs:
            corners = window_corners(scene.transform, whole)[0]
            geometries.append(shapely.Polygon(corners))
        else:
            geometries.append(footprints(scene.transform, whole, crs=scene.crs)[0])
    known = [scene.dates or undated for scene in scenes]
    first, last = (
        pd.DatetimeIndex([pd.Timestamp(pair[end]).tz_localize(None) for pair in known])
        for end in (0, 1)
    )
    dates = pd.IntervalIndex.from_arrays(first, last, closed="both", name="datetime")
    paths = {"filepath": [scene.key for scene in scenes]}
    return gpd.GeoDataFrame(paths, index=dates, geometry=geometries, crs=crs)


def pixel_size(index: gpd.GeoDataFrame, first: SceneFile) -> tuple[float, float]:
    """Return the size of a pixel in units of an index.

    Args:
        index: As `coverage` makes it.
        first: The scene in its first row.

    Returns:
        Sizes across and down; of the first scene, converted to degrees if scenes differ in CRS.
    """
    if index.crs == first.crs:
        t = first.transform
        return float(np.hypot(t.a, t.d)), float(np.hypot(t.b, t.e))
    across, down = ground_pixel(first.transform, first.width, first.height, crs=first.crs)
    latitude = float(index.geometry.iloc[0].centroid.y)
    shrink = max(np.cos(np.radians(latitude)), 0.01)
    return float(across / (111_320.0 * shrink)), float(down / 111_320.0)


def slices_of(
    scene: SceneFile, window: Sequence[int], dates: pd.Interval
) -> tuple[slice, slice, slice]:
    """Return TorchGeo's slices for a window of a scene.

    Args:
        scene: The scene.
        window: Column, row, width and height, px.
        dates: When it was taken.

    Returns:
        x, y and t slices in the scene's CRS.
    """
    corners = window_corners(scene.transform, [window])[0]
    (xmin, ymin), (xmax, ymax) = corners.min(axis=0), corners.max(axis=0)
    t = scene.transform
    x_res, y_res = float(np.hypot(t.a, t.d)), float(np.hypot(t.b, t.e))
    return (
        slice(float(xmin), float(xmax), x_res),
        slice(float(ymin), float(ymax), y_res),
        slice(dates.left, dates.right, 1),
    )
