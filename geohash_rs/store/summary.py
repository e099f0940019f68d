"""Summarise an archive's contents, in figures and as a table of all its tiles."""

import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from geohash_rs.store.code_counts import count_codes, count_sizes
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.health import measure_health
from geohash_rs.store.segment.columns import COLUMNS, SOURCE
from geohash_rs.store.segment.windows import TILE_SIZE

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["exported_tiles", "summarise"]


def summarise(archive: CodeStore) -> dict[str, Any]:
    """Return the figures of an archive.

    Args:
        archive: The archive.

    Returns:
        Path, tiles, how many there are of each size, distinct codes and the most tiles that share
        one (of a million of the tiles of a larger archive), bits, segments, bytes on disk, how
        feature vectors are kept, their length and the bytes of each, hasher, bounding box (degrees;
        east above 180 if it crosses the antimeridian), first and last time, which bands of the
        scenes were read and what decided, how well codes tell the tiles of each sensor apart (see
        `SensorHealth`), and the scenes, all JSON values.
    """
    manifest, counts = archive.manifest, count_codes(archive)
    records = archive.scenes()
    first, last = manifest.times or (None, None)
    sizes = [path.lstat() for path in archive.path.rglob("*")]  # a link may lead elsewhere
    return {
        "archive": str(archive.path),
        "tiles": archive.num_tiles,
        "tile_sizes": {str(size): count for size, count in count_sizes(archive).items()},
        "codes": counts.num_codes,
        "sharing_one_code": counts.num_alike,
        "bits": archive.num_bits,
        "segments": len(manifest.segments),
        "bytes": sum(found.st_size for found in sizes if stat.S_ISREG(found.st_mode)),
        "keep_vectors": archive.keep_vectors,
        "vector_length": manifest.vectors.length if manifest.vectors else None,
        "vector_bytes": manifest.vectors.row_bytes if manifest.vectors else 0,
        "hasher": archive.hasher_file.name if archive.hasher_file else archive.pending_hasher,
        "fingerprint": archive.hasher_fingerprint,
        "bbox": list(manifest.bounds) if manifest.bounds else None,
        "first": _moment(first),
        "last": _moment(last),
        "bands": _readings(records),
        "sensors": [
            {
                "sensor": one.sensor,
                "scenes": len(one.scenes),
                "tiles": one.num_tiles,
                "mean_distance": round(one.mean_distance, 1),
                "constant_bits": one.num_constant,
            }
            for one in (measure_health(archive) if archive.num_bits else [])
        ],
        "scenes": [record.scene for record in records],
    }


def exported_tiles(archive: CodeStore) -> "Iterator[gpd.GeoDataFrame]":
    """Yield all tiles with the columns of a match except rank, distance and similarity.

    Args:
        archive: The archive.

    Yields:
        Batches of tiles; an empty archive yields one empty batch.
    """
    import geopandas as gpd
    import pandas as pd

    from geohash_rs.store.segment.tiles import sizes_of_tiles

    state = archive.snapshot()
    arrays = {name for segment in state.segments for name in segment.index}
    for frame in state.iter_tiles() if state.num_tiles else [state.tiles([])]:
        columns = {name: frame[name] for name in COLUMNS if name != "geometry"}
        # of some segment, so that all batches have the same columns
        for name, array in (("label", "label_ranges"), (SOURCE, f"{SOURCE}_page_rows")):
            if array in arrays:
                texts = frame[name] if name in frame.columns else [None] * len(frame)
                columns[name] = pd.Series(texts, frame.index, dtype="str")
        if f"{TILE_SIZE}_least" in arrays:
            columns[TILE_SIZE] = pd.Series(sizes_of_tiles(frame), frame.index).astype("Int32")
        made = gpd.GeoDataFrame(columns, geometry=frame.geometry)
        made.archive_folder = archive.path  # in which exports look up what was indexed
        yield made


def _readings(records: Iterable[SceneRecord]) -> list[str]:
    """List which bands were read, such as "3,2,1 (red, green, blue) by description: 12 scenes"."""
    counted: Counter[str] = Counter()
    for record in records:
        if reading := record.settings.get("reading"):
            shown = ", ".join(label or "?" for label in reading["labels"])
            indexes = ",".join(map(str, reading["indexes"]))
            counted[f"{indexes} ({shown}) by {reading['by']}"] += 1
    return [f"{what}: {count} scenes" for what, count in counted.most_common()]


def _moment(moment: np.datetime64 | None) -> str | None:
    return None if moment is None else moment.astype(datetime).replace(tzinfo=UTC).isoformat()
