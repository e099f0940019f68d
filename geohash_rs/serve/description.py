"""Describe the archive for the page."""

from typing import Any

import numpy as np

from geohash_rs.archive import Archive
from geohash_rs.errors import GeoHashRSError
from geohash_rs.hashing.description import describe_hasher
from geohash_rs.serve.messages import ArchiveAnswer

__all__ = ["describe_archive"]


def describe_archive(
    archive: Archive,
    *,
    place: str,
    key: str,
    base_map: str | None = None,
    attribution: str | None = None,
) -> ArchiveAnswer:
    """Return what the page shows about an archive, without loading its hasher.

    Args:
        archive: The archive.
        place: Identifies where the archive lies.
        key: Identifies the archive and its state.
        base_map: URL template of raster tiles.
        attribution: Credit line of the base map.

    Returns:
        Counts, bounds, range of days and the bands of a patch. If the hasher cannot be read, bands
        are empty: searching by tile still works, and uploading a patch reports the error.
    """
    about, times = _hasher(archive), archive.manifest.times
    return ArchiveAnswer(
        name=archive.path.resolve().name,
        place=place,
        key=key,
        commit=archive.manifest.commit,
        num_tiles=len(archive),
        num_scenes=len(archive.scenes()),
        num_bits=archive.num_bits,
        bounds=archive.manifest.bounds,
        time=(_day(times[0]), _day(times[1])) if times else None,
        tile_sizes=sorted(_sizes(archive)),
        takes_patches=about is not None and ("embedding" not in about or bool(about["bands"])),
        bands=(about or {}).get("bands", []),
        base_map=base_map,
        attribution=attribution,
    )


def _sizes(archive: Archive) -> set[int]:
    """Return the tile sizes, without going through the tiles, some of which may be removed."""
    segments = archive.snapshot().segments
    return {size for segment in segments for size in segment.index["size_values"].tolist()}


def _hasher(archive: Archive) -> dict[str, Any] | None:
    """Return the description of the hasher; empty if it cannot be read, None if there is none."""
    try:
        file = archive.hasher_file
        return None if file is None else describe_hasher(file)
    except (GeoHashRSError, OSError):
        return {}


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))
