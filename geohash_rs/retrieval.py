"""Ask an archive for the tiles that look like a patch, a place or a tile of its own."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError
from shapely.geometry.base import BaseGeometry

from geohash_rs.archive import CodeArchive, SceneRecord
from geohash_rs.archive.filters import RegionLike, TimeLike
from geohash_rs.archive_writer import GROUND_SIZE
from geohash_rs.encode import TileHasher
from geohash_rs.errors import QueryError, TileNotFoundError
from geohash_rs.matches import Matches, rank_matches
from geohash_rs.patches import Patch

__all__ = ["Query", "query_of_patch", "query_of_point", "query_of_tile", "resolutions", "retrieve"]


@dataclass(frozen=True, kw_only=True)
class Query:
    """What is searched for.

    Attributes:
        codes: Packed codes, uint8, shape (tiles, bits / 8); the nearest of them counts.
        footprint: What the query covers, EPSG:4326, or None if it lies nowhere.
    """

    codes: npt.NDArray[np.uint8]
    footprint: BaseGeometry | None


def query_of_patch(hasher: TileHasher, patch: Patch) -> Query:
    """Search with a patch.

    Args:
        hasher: The hasher of the archive.
        patch: Tiles to look for.

    Returns:
        Their codes.
    """
    return Query(codes=hasher.codes(patch.tiles), footprint=patch.footprint)


def query_of_point(archive: CodeArchive, point: Sequence[float]) -> Query:
    """Search with the tile of the archive at a place.

    Args:
        archive: The archive.
        point: Longitude and latitude, degrees.

    Returns:
        The code of the tile that has the point nearest to its centre; of several, the first.

    Raises:
        QueryError: If the point is none, or no tile is there.
    """
    if len(point) != 2 or not all(np.isfinite(point)):
        msg = f"point is {tuple(point)}; give longitude and latitude in degrees."
        raise QueryError(msg)
    lon, lat = float(point[0]), float(point[1])
    if abs(lon) > 180 or abs(lat) > 90:
        msg = (
            f"point is {lon}, {lat}; longitude comes first and lies in -180..180, "
            "latitude in -90..90."
        )
        raise QueryError(msg)
    place = shapely.Point(lon, lat)
    num_bits = _bits_of(archive)
    anything = np.zeros((1, num_bits // 8), dtype=np.uint8)
    here = archive.search(anything, k=None, max_distance=num_bits, region=place)
    ids = np.sort(here.ids[0][here.ids[0] >= 0])
    if len(ids) == 0:
        msg = f"no tile of the archive lies at {lon}, {lat}; see its extent with 'geohash-rs info'."
        raise QueryError(msg)
    tiles = archive.tiles(ids)
    nearest = np.argmin(shapely.distance(shapely.centroid(tiles.geometry.to_numpy()), place))
    return query_of_tile(archive, int(ids[nearest]))


def query_of_tile(archive: CodeArchive, tile_id: int) -> Query:
    """Search with a tile of the archive.

    Args:
        archive: The archive.
        tile_id: Its id.

    Returns:
        Its code.

    Raises:
        TileNotFoundError: If the archive has no such tile.
    """
    if not 0 <= tile_id < 2**63:
        msg = f"{archive.path} has no tile with id {tile_id}; ids are in the column tile_id."
        raise TileNotFoundError(msg)
    ids = np.array([tile_id], dtype=np.int64)
    return Query(codes=archive.codes(ids), footprint=archive.tiles(ids).geometry.iloc[0])


def resolutions(records: Iterable[SceneRecord]) -> list[float]:
    """List the ground sizes of the pixels that an archive's tiles have.

    Args:
        records: The archive's scenes.

    Returns:
        Metres, ascending; sizes within two percent of each other count once.
    """
    sizes = {record.settings.get(GROUND_SIZE) for record in records}
    distinct: list[float] = []
    for size in sorted(float(size) for size in sizes if size is not None):
        if not distinct or size > distinct[-1] * 1.02:
            distinct.append(size)
    return distinct


def retrieve(
    archive: CodeArchive,
    query: Query,
    *,
    k: int | None = 20,
    max_distance: int | None = None,
    region: RegionLike | None = None,
    time: TimeLike | None = None,
    within: bool = False,
    scenes: Sequence[str] | None = None,
    labels: Sequence[str] | None = None,
    exclude_overlap: bool = False,
    crs: object = None,
) -> Matches:
    """Find the tiles nearest to a query.

    Args:
        archive: The archive.
        query: What is searched for. With several codes a tile counts by the nearest of them.
        k: Matches asked for; None gives all within ``max_distance``.
        max_distance: Largest distance, bits, inclusive.
        region: Only tiles that meet this: a geometry in lon/lat or (minlon, minlat, maxlon,
            maxlat).
        time: Only tiles of this range: first and last moment, inclusive, None for open.
        within: Only tiles that lie in the region altogether.
        scenes: Only tiles of these scenes.
        labels: Only tiles with these labels.
        exclude_overlap: Leave out tiles that overlap the query.
        crs: CRS of the result; EPSG:4326 if None.

    Returns:
        Matches by ascending distance, ties by lowest tile id.

    Raises:
        QueryError: If k or max_distance make no sense, the CRS is unknown, or there is nothing
            to leave out.
        RegionError: If the region is empty, invalid or out of range.
        TimeRangeError: If the time range cannot be read or is turned round.
    """
    num_bits = _bits_of(archive)
    _check_query(k, max_distance, num_bits)
    target = _known_crs(crs)
    found = archive.search(
        query.codes,
        k=k,
        max_distance=max_distance,
        region=region,
        time=time,
        within=within,
        scenes=scenes,
        labels=labels,
        exclude_region=_place_of(query) if exclude_overlap else None,
    )
    ids, distances = _merge(found.ids, found.distances)
    if k is not None:
        ids, distances = ids[:k], distances[:k]
    matches = rank_matches(archive.tiles(ids), distances, num_bits=num_bits)
    return matches if target is None else matches.to_crs(target)


def _bits_of(archive: CodeArchive) -> int:
    if archive.num_bits is None:
        msg = (
            f"{archive.path} is empty: its hasher {archive.pending_hasher} is fitted on the first "
            "imagery that is added; add some, then search."
        )
        raise QueryError(msg)
    return archive.num_bits


def _check_query(k: int | None, max_distance: int | None, num_bits: int) -> None:
    if k is not None and k < 1:
        msg = f"k is {k}; ask for 1 match or more."
        raise QueryError(msg)
    if k is None and max_distance is None:
        msg = "k and max_distance are both None; give one of them, or the whole archive matches."
        raise QueryError(msg)
    if max_distance is not None and max_distance < 0:
        msg = f"max_distance is {max_distance}; it counts bits, from 0 to {num_bits}."
        raise QueryError(msg)


def _known_crs(crs: object) -> CRS | None:
    if crs is None:
        return None
    try:
        return CRS.from_user_input(crs)
    except CRSError as error:
        msg = f"crs {crs!r} is not known; use a form such as 'EPSG:32633'."
        raise QueryError(msg) from error


def _place_of(query: Query) -> BaseGeometry:
    if query.footprint is None:
        msg = "the query has no place on the Earth, so no tile overlaps it; drop exclude_overlap."
        raise QueryError(msg)
    return query.footprint


def _merge(
    ids: npt.NDArray[np.int64], distances: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Keep every tile once, at its least distance, in the order of matches."""
    real = ids >= 0
    flat_ids, flat_distances = ids[real], distances[real]
    order = np.lexsort((flat_ids, flat_distances))
    _, first = np.unique(flat_ids[order], return_index=True)
    kept = order[np.sort(first)]
    return flat_ids[kept], flat_distances[kept]
