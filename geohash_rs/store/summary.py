"""Summarise what an archive holds, in figures and as a table of all its tiles."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import geopandas as gpd
import numpy as np

from geohash_rs.store.code_counts import count_codes
from geohash_rs.store.code_store import CodeStore

__all__ = ["exported_tiles", "summarise"]


def summarise(archive: CodeStore) -> dict[str, Any]:
    """Gather the figures of an archive.

    Args:
        archive: The archive.

    Returns:
        Path, tiles, distinct codes and the most tiles that share one (of a million of the tiles of
        a larger archive), bits, segments, bytes on disk, hasher, bounding box (degrees; east above
        180 where it crosses the antimeridian), first and last moment, and the scenes, all
        JSON-able.
    """
    manifest, counts = archive.manifest, count_codes(archive)
    first, last = manifest.times or (None, None)
    files = [path for path in archive.path.rglob("*") if path.is_file()]
    return {
        "archive": str(archive.path),
        "tiles": archive.num_tiles,
        "codes": counts.num_codes,
        "sharing_one_code": counts.num_alike,
        "bits": archive.num_bits,
        "segments": len(manifest.segments),
        "bytes": sum(path.stat().st_size for path in files),
        "hasher": archive.hasher_file.name if archive.hasher_file else archive.pending_hasher,
        "fingerprint": archive.hasher_fingerprint,
        "bbox": list(manifest.bounds) if manifest.bounds else None,
        "first": _moment(first),
        "last": _moment(last),
        "scenes": [record.scene for record in archive.scenes()],
    }


def exported_tiles(archive: CodeStore) -> Iterator[gpd.GeoDataFrame]:
    """Return all tiles with the columns of a match except rank, distance and similarity.

    Args:
        archive: The archive.

    Yields:
        Batches of tiles; at least one, which is empty if the archive is.
    """
    empty = True
    for frame in archive.iter_tiles():
        empty = False
        yield frame.drop(columns="datetime_end", errors="ignore")
    if empty:
        none = archive.tiles([])
        yield none.drop(columns="datetime_end", errors="ignore")


def _moment(moment: np.datetime64 | None) -> str | None:
    return None if moment is None else moment.astype(datetime).replace(tzinfo=UTC).isoformat()
