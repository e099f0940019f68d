"""Read and write the GeoJSON that the page and the server exchange."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import geopandas as gpd
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.errors import RegionError, SceneError
from geohash_rs.export.geojson import geojson_features
from geohash_rs.export.plain_text import scene_name

__all__ = ["feature", "feature_collection", "read_polygon", "short_names"]

MOST_CORNERS = 5000  # per region


def feature(frame: gpd.GeoDataFrame) -> str:
    """Convert the first row of a table to a GeoJSON feature in EPSG:4326.

    Args:
        frame: Tiles or matches.

    Returns:
        The feature.
    """
    return next(geojson_features(_shown(frame.head(1))))


def feature_collection(frame: gpd.GeoDataFrame) -> str:
    """Convert a table to GeoJSON.

    Args:
        frame: Tiles or matches.

    Returns:
        A feature collection in EPSG:4326.
    """
    features = ",\n".join(geojson_features(_shown(frame)))
    return f'{{"type": "FeatureCollection", "features": [\n{features}\n]}}'


def read_polygon(value: Mapping[str, Any], name: str) -> BaseGeometry:
    """Parse a GeoJSON polygon.

    Args:
        value: The geometry.
        name: Its name in messages.

    Returns:
        A shapely polygon or multipolygon.

    Raises:
        RegionError: If it is not a polygon, or has too many corners.
    """
    kind = value.get("type")
    if kind not in {"Polygon", "MultiPolygon"}:
        msg = f"{name} is a {kind!r}; pass a GeoJSON geometry of type Polygon or MultiPolygon."
        raise RegionError(msg)
    try:
        geometry: BaseGeometry = shapely.from_geojson(json.dumps(dict(value)))
    except (shapely.GEOSException, ValueError) as error:
        msg = f"{name} is not a GeoJSON geometry: {error}"
        raise RegionError(msg) from error
    if shapely.get_num_coordinates(geometry) > MOST_CORNERS:
        msg = f"{name} has more than {MOST_CORNERS} corners; simplify it."
        raise RegionError(msg)
    return geometry


@contextmanager
def short_names(scene: str) -> Iterator[None]:
    """Name a scene without its folder in errors about it.

    Raises:
        SceneError: Instead of one that names the folder.
    """
    try:
        yield
    except SceneError as error:
        raise SceneError(str(error).replace(scene, scene_name(scene))) from error


def _shown(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    shown = frame["scene"]
    if "source" in frame.columns:  # of a vector: the image, not the table that holds it
        shown = frame["source"].fillna(shown)
    return frame.assign(scene_name=[scene_name(str(name)) for name in shown])
