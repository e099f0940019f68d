"""Count the live tiles of each scene."""

import numpy as np

from geohash_rs.store.snapshot import Snapshot

__all__ = ["count_tiles"]


def count_tiles(snapshot: Snapshot) -> dict[str, int]:
    """Count the live tiles of each scene.

    Args:
        snapshot: The state of an archive.

    Returns:
        The counts; without scenes that have none.
    """
    counts: dict[str, int] = {}
    for segment in snapshot.segments:
        rows = np.flatnonzero(~segment.removed_rows())
        texts = segment.texts("scene")
        numbers = segment.numbers("scene", rows).astype(np.int64)
        for text, count in zip(texts, np.bincount(numbers, minlength=len(texts)), strict=False):
            if count:
                counts[text] = counts.get(text, 0) + int(count)
    return counts
