"""Fit the training-free hasher that a new archive waits for, on the first imagery added."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice

import numpy as np
import torch
from torch import Tensor

from geohash_rs.errors import HasherNotFoundError
from geohash_rs.hashing.fit.by_name import Unfitted
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.plan import ScenePlan
from geohash_rs.indexing.samples import LocatedTile
from geohash_rs.scenes.reader import TileReader, read_ahead
from geohash_rs.store.code_store import CodeStore

__all__ = [
    "FIT_TILES",
    "TRACE_TILES",
    "find_pending",
    "fit_pending",
    "images_of",
    "sample_tiles",
]

# Tiles on which a training-free hasher is fitted, at most: more change few bits and cost time.
FIT_TILES = 2048
# From so many tiles on, tracing the network pays.
TRACE_TILES = 300


def sample_tiles(
    plan: ScenePlan, bands: Sequence[str], shape: tuple[int, int] | None, *, workers: int
) -> Iterator[Tensor]:
    """Read a fair sample of the tiles, in the order of the files.

    Args:
        plan: The tiles.
        bands: Names of the bands.
        shape: Height and width that tiles are brought to; their own if None.
        workers: Processes that read; 0 reads in a thread.

    Returns:
        Batches of raw tiles, each of shape (tiles, bands, height, width).
    """
    rng = np.random.default_rng(0)
    size = min(plan.num_tiles, FIT_TILES)
    positions = rng.choice(plan.num_tiles, size, replace=False, shuffle=False)
    tiles = plan.take(np.sort(positions))
    scenes = plan.scenes
    used = set(np.unique(tiles[:, 0]).tolist())
    indexes = [
        file.band_indexes(scenes.bands, names=bands) if number in used else ()
        for number, file in enumerate(scenes.scene_files)
    ]
    reader = TileReader(
        scenes,
        tiles,
        indexes=indexes,
        batch_size=64,
        max_nodata=plan.grid.max_nodata,
        shape=shape,
    )
    batches = read_ahead(reader, workers=workers)
    return (batch.images for batch in batches if len(batch.tiles))


def images_of(batches: Iterable[Sequence[LocatedTile]]) -> Iterator[Tensor]:
    """Stack neighbouring images of one size.

    Args:
        batches: Located tiles, with or without an image.

    Yields:
        Batches of raw tiles, each of shape (tiles, bands, height, width).
    """
    flat = (tile.image for batch in batches for tile in batch if tile.image is not None)
    for _, group in groupby(flat, key=lambda image: tuple(image.shape)):
        while images := list(islice(group, 64)):
            yield torch.stack(images)


def find_pending(archive: CodeStore) -> Unfitted:
    """Find the hasher that an archive still waits for.

    Args:
        archive: The archive.

    Returns:
        What is to be fitted.

    Raises:
        HasherNotFoundError: If this version of the package has no hasher of that name.
    """
    found = Unfitted.find(archive.pending_hasher)
    if found is None:
        msg = (
            f"{archive.path} waits for the hasher {archive.pending_hasher!r}, which this version "
            "does not have; update geohash-rs."
        )
        raise HasherNotFoundError(msg)
    return found


def fit_pending(
    archive: CodeStore,
    tiles: Iterable[Tensor],
    *,
    bands: Sequence[str] | None,
    tile_size: int | None,
    device: str,
    accelerate: bool,
) -> Hasher:
    """Fit the hasher that an archive still waits for, and keep it there.

    Args:
        archive: The archive.
        tiles: Batches of raw tiles, each of shape (tiles, bands, height, width).
        bands: Names of the bands, or None for names by their number.
        tile_size: Tile size noted in the hasher; that of the tiles if None.
        device: Where it runs.
        accelerate: Whether so many tiles follow that tracing the network pays.

    Returns:
        The hasher.

    Raises:
        HasherError: If there are too few tiles.
    """
    hasher = find_pending(archive).fit(
        tiles, bands=bands, tile_size=tile_size, device=device, accelerate=accelerate
    )
    archive.set_hasher(hasher.to_bytes(), fingerprint=hasher.fingerprint, num_bits=hasher.num_bits)
    return hasher
