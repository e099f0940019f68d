"""Draw whole scenes as small pictures in web map projection."""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from affine import Affine
from pyproj.exceptions import ProjError
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import from_bounds
from rasterio.warp import reproject, transform_bounds

from geohash_rs.errors import SceneError, one_line
from geohash_rs.footprints.projection import projection_of
from geohash_rs.footprints.web_mercator import HALF_WORLD, LIMIT
from geohash_rs.pictures.tiles import MOST_PIXELS, Thumbnails, hidden_pixels, to_rgba
from geohash_rs.scenes.bands import picture_bands
from geohash_rs.scenes.file import open_raster
from geohash_rs.scenes.pixels import TilePixels

__all__ = ["PlacedScene", "draw_scene", "place_scene", "scenes_in_view"]

SIZE = 1024  # px of the longer side
MOST_IN_VIEW = 12
SMALLEST = 1 / 30  # of a view's longer side; smaller scenes are not drawn
WEB_MAP = "EPSG:3857"
METRES = HALF_WORLD / 180  # of web maps per degree of longitude
# Web maps around the antimeridian, where EPSG:3857 ends.
OTHER_SIDE = "+proj=merc +a=6378137 +b=6378137 +lon_0=180 +units=m +nadgrids=@null +no_defs"

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class PlacedScene:
    """A scene and its box on the map.

    Attributes:
        scene: Path or URI.
        date: Acquisition time, or its start.
        end: End of the acquisition, if it covers a time range.
        box: (xmin, ymin, xmax, ymax) in metres of web maps (EPSG:3857).
        bounds: The same box in degrees. Across the antimeridian, both continue beyond 180 degrees
            on one side; the middle lies in -180..180.
    """

    scene: str
    date: dt.datetime | None
    end: dt.datetime | None = None
    box: tuple[float, float, float, float]
    bounds: tuple[float, float, float, float]


def place_scene(
    scene: str,
    *,
    crs: str | None,
    transform: Sequence[float] | None,
    size: tuple[int | None, int | None],
    date: dt.datetime | None,
    end: dt.datetime | None = None,
) -> PlacedScene | None:
    """Place a scene on the web map.

    Args:
        scene: Path or URI.
        crs: Its coordinate reference system.
        transform: The six numbers of its affine transform.
        size: Columns and rows.
        date: Acquisition time, or its start.
        end: End of the acquisition, if it covers a time range.

    Returns:
        The scene, or None if it cannot be placed: its location or CRS is unknown, it lies at a
        pole, or it lies across the antimeridian and is wider than half the globe.
    """
    width, height = size
    if crs is None or transform is None or width is None or height is None:
        return None
    grid = Affine(*transform[:6])
    corners = [grid @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    xs, ys = zip(*corners, strict=True)
    own = (min(xs), min(ys), max(xs), max(ys))
    try:
        with rasterio.Env():  # outside, GDAL prints its errors as well
            # GDAL would fetch a CRS that is an address; PROJ does not
            known = CRS.from_wkt(projection_of(crs).crs.to_wkt())
            lonlat = transform_bounds(known, "EPSG:4326", *own)
            west, south, east, north = _turned(*lonlat)
            if max(abs(south), abs(north)) > LIMIT:
                return None
            _, low, _, high = transform_bounds("EPSG:4326", WEB_MAP, -1, south, 1, north)
    except (SceneError, ProjError, RasterioError, CRSError, ValueError, RecursionError):
        return None
    is_over = max(-west, east) > 180.2
    if not all(np.isfinite((west, low, east, high))) or (is_over and east - west > 180):
        return None
    box = west * METRES, low, east * METRES, high
    bounds = west, south, east, north
    return PlacedScene(scene=scene, date=date, end=end, box=box, bounds=bounds)


def _turned(west: float, south: float, east: float, north: float) -> Box:
    """Return a box with its middle in -180..180; of one across the antimeridian, east is lower."""
    if east < west:
        east += 360
    turn = 360 * np.floor(((west + east) / 2 + 180) / 360)
    return float(west - turn), south, float(east - turn), north


def scenes_in_view(
    placed: Mapping[int, PlacedScene], view: Sequence[float]
) -> list[tuple[int, PlacedScene]]:
    """Choose the scenes in view that are large enough to draw.

    Args:
        placed: Scenes by number.
        view: (minlon, minlat, maxlon, maxlat); longitudes may lie beyond 180.

    Returns:
        Up to `MOST_IN_VIEW` scenes with their numbers, sorted by date so that the latest is drawn
        on top: first the largest of those that are not covered by later ones.
    """
    west, south, east, north = view
    middle = (west + east) / 2
    extent = max(east - west, north - south)
    seen = []
    for number, scene in placed.items():
        left, bottom, right, top = scene.bounds
        turn = 360 * round((middle - (left + right) / 2) / 360)  # a view may lie beyond 180
        apart = right + turn < west or left + turn > east or top < south or bottom > north
        if not apart and max(right - left, top - bottom) >= extent * SMALLEST:
            inside = (
                max(left + turn, west),
                max(bottom, south),
                min(right + turn, east),
                min(top, north),
            )
            seen.append((number, scene, shapely.box(*inside)))
    seen.sort(key=lambda item: str(item[1].date or ""))
    if len(seen) > MOST_IN_VIEW:
        covered = _covered([part for *_, part in seen])
        order = sorted(range(len(seen)), key=lambda at: (covered[at], -_area(seen[at][1])))
        seen = [seen[at] for at in sorted(order[:MOST_IN_VIEW])]
    return [(number, scene) for number, scene, _ in seen]


def _covered(parts: Sequence[shapely.Polygon]) -> list[bool]:
    """Return which parts of a view are covered by the parts after them."""
    above: shapely.Geometry = shapely.Polygon()
    found = []
    for part in reversed(parts):
        found.append(bool(shapely.covers(above, part)))
        if not found[-1]:
            above = shapely.union(above, part)
    return found[::-1]


def _area(scene: PlacedScene) -> float:
    left, bottom, right, top = scene.box
    return (right - left) * (top - bottom)


def draw_scene(
    scene: PlacedScene, thumbnails: Thumbnails, *, size: int = SIZE
) -> npt.NDArray[np.uint8]:
    """Draw a scene in web map projection.

    Args:
        scene: The scene.
        thumbnails: Checks scenes, and provides their brightness range.
        size: Pixels of the longer side.

    Returns:
        RGBA, uint8, shape (height, width, 4), transparent outside the scene.

    Raises:
        SceneError: If it may not or cannot be read, or is large and has no overviews.
    """
    key = scene.scene
    header = thumbnails.header(key)
    try:
        with thumbnails.permission.sealed(), open_raster(key) as source:
            bands = picture_bands(header.bands, alpha=header.alpha)
            if source.width * source.height > MOST_PIXELS and not source.overviews(1):
                msg = f"{key} is large and has no overviews; add some with 'rio overview'."
                raise SceneError(msg)
            scale = min(1.0, size / max(source.width, source.height))
            shape = max(1, round(source.height * scale)), max(1, round(source.width * scale))
            image = source.read(
                list(bands), out_shape=(len(bands), *shape), resampling=Resampling.average
            )
            hidden = hidden_pixels(source, header, shape)
            limits = thumbnails.limits(key, source, bands)
            picture = np.moveaxis(to_rgba(TilePixels(image, hidden), limits), -1, 0)
            grid = source.transform @ Affine.scale(
                source.width / shape[1], source.height / shape[0]
            )
            return np.moveaxis(_warp(picture, grid, source.crs, scene.box, size), 0, -1)
    except SceneError:
        raise
    except (RasterioError, OSError, ValueError) as error:
        msg = f"no picture of {key}: {one_line(error)}"
        raise SceneError(msg) from error


def _warp(
    picture: npt.NDArray[np.uint8], grid: Affine, crs: object, box: Sequence[float], size: int
) -> npt.NDArray[np.uint8]:
    width, height = box[2] - box[0], box[3] - box[1]
    scale = size / max(width, height)
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    target = np.zeros((4, *shape), np.uint8)
    west, south, east, north = box
    is_over = max(-west, east) > HALF_WORLD
    if is_over:
        turn = np.copysign(HALF_WORLD, west + east)
        west, east = west - turn, east - turn
    reproject(
        picture,
        target,
        src_transform=grid,
        src_crs=crs,
        dst_transform=from_bounds(west, south, east, north, shape[1], shape[0]),
        dst_crs=OTHER_SIDE if is_over else WEB_MAP,
        resampling=Resampling.bilinear,
        init_dest_nodata=True,
        src_alpha=4,
        dst_alpha=4,
    )
    return target
