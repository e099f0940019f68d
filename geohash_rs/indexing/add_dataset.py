"""Add the samples of any TorchGeo dataset to an archive."""

from collections.abc import Iterable, Iterator, Sized
from itertools import chain
from typing import Any

from torch.utils.data import Dataset
from tqdm.auto import tqdm

from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.encode import encode_located
from geohash_rs.indexing.first_fit import FIT_TILES, TRACE_TILES, fit_pending, images_of
from geohash_rs.indexing.records import file_record
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.samples import LocatedTile, located_tiles
from geohash_rs.indexing.writer import ArchiveWriter
from geohash_rs.store.code_store import CodeStore

__all__ = ["add_dataset"]


def add_dataset(
    archive: CodeStore,
    dataset: Dataset[Any],
    *,
    hasher: Hasher | None,
    device: str,
    sampler: Iterable[Any] | None,
    tile_size: int | None,
    max_nodata: float,
    batch_size: int,
    workers: int,
    strict: bool,
    progress: bool,
) -> AddReport:
    """Hash the samples of any TorchGeo dataset and add them.

    Args:
        archive: The archive.
        dataset: A geo dataset, or a non-geo dataset of georeferenced files.
        hasher: The archive's hasher, or None if it is still to be fitted on these samples.
        device: Where a hasher that is fitted runs.
        sampler: A sampler; a geo dataset needs one.
        tile_size: Tile size noted in a hasher that is fitted; that of the samples if None.
        max_nodata: Samples with a larger share of empty pixels are left out.
        batch_size: Samples a pass, unless the sampler makes batches.
        workers: Processes that read.
        strict: Stop at the first sample that cannot be read.
        progress: Show a bar, on a terminal.

    Returns:
        What was added, and what was not.

    Raises:
        BandMismatchError: If the samples do not have the hasher's bands.
        SceneError: If samples cannot be placed; with ``strict``, if one cannot be read.
    """
    report = AddReport()
    batches: Iterator[list[LocatedTile]] = located_tiles(
        dataset, sampler=sampler, batch_size=batch_size, max_nodata=max_nodata, workers=workers
    )
    held: list[list[LocatedTile]] = []
    if hasher is None:
        while sum(map(len, held)) < FIT_TILES and (batch := next(batches, None)) is not None:
            held.append(batch)
        hasher = fit_pending(
            archive,
            images_of(held),
            bands=None,
            tile_size=tile_size,
            device=device,
            accelerate=2 * sum(map(len, held)) >= TRACE_TILES,
        )
    elif isinstance(sampler, Sized) and len(sampler) >= TRACE_TILES:
        hasher.accelerate()
    writer = ArchiveWriter(archive, hasher.fingerprint)
    known = {record.scene for record in archive.scenes()}
    names: set[str] = set()
    bar = tqdm(unit=" tiles", desc="index", disable=None if progress else True)
    try:
        for batch in chain(held, batches):
            bar.update(len(batch))
            fresh = [tile for tile in batch if not (tile.whole_file and tile.scene in known)]
            report.unchanged += sorted({t.scene for t in batch} - {t.scene for t in fresh})
            for tile in fresh:
                if tile.failure is not None:
                    report.skip(tile.scene, tile.failure, strict=strict)
            report.num_nodata += sum(t.image is None and t.failure is None for t in fresh)
            encoded = encode_located(fresh, hasher)
            records = [
                file_record(t, dataset) for t in fresh if t.whole_file and t.image is not None
            ]
            writer.take(encoded, records)
            names.update(encoded.tiles["scene"])
            report.num_tiles += len(encoded.tiles)
    finally:
        bar.close()
        writer.commit()
    report.num_scenes = len(names)
    return report
