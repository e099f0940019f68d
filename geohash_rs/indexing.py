"""Add imagery to an archive: what is new is hashed, what is known is left, what fails is named."""

from collections.abc import Collection, Iterable, Iterator, Sequence, Sized
from itertools import chain, groupby, islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from geohash_rs.archive import CodeArchive
from geohash_rs.archive_writer import (
    AddReport,
    ArchiveWriter,
    GridSettings,
    file_record,
    is_unchanged,
    scene_record,
    scene_settings,
)
from geohash_rs.encode import (
    EncodedScene,
    EncodedTiles,
    encode_located,
    encode_scenes,
    scene_tiles_frame,
)
from geohash_rs.errors import BandMismatchError, SceneError
from geohash_rs.hashing import Hasher, default_bands, fit_hasher, parse_training_free
from geohash_rs.located import LocatedTile, located_tiles
from geohash_rs.scenes import Scenes
from geohash_rs.tile_grid import TileGrid
from geohash_rs.tile_reader import TileReader, read_ahead

__all__ = ["AddReport", "GridSettings", "add_dataset", "add_scenes"]

# Tiles on which a training-free hasher is fitted, at most: more change few bits and cost time.
FIT_TILES = 2048
# From so many tiles on, tracing the network pays.
TRACE_TILES = 300
# Finished scenes are committed together: a commit costs a few file syncs and makes a segment.
COMMIT_TILES = 200_000
COMMIT_SECONDS = 20.0


def add_scenes(
    archive: CodeArchive,
    scenes: Scenes,
    *,
    hasher: Hasher | None,
    device: str,
    grid: GridSettings,
    batch_size: int,
    workers: int,
    strict: bool,
    progress: bool,
) -> AddReport:
    """Hash the tiles of scenes and add them, scene by scene.

    Args:
        archive: The archive.
        scenes: The scenes.
        hasher: The archive's hasher, or None if it is still to be fitted on these scenes.
        device: Where a hasher that is fitted runs.
        grid: How to cut tiles.
        batch_size: Most tiles a pass.
        workers: Processes that read.
        strict: Stop at the first scene that cannot be added.
        progress: Show a bar, on a terminal.

    Returns:
        What was added, and what was not.

    Raises:
        BandMismatchError: If no scene has bands that fit the hasher.
        SceneError: With ``strict``, if a scene cannot be added.
        TileSizeError: If every scene is smaller than a tile.
    """
    report = AddReport()
    for scene, reason in scenes.unreadable:
        report.skip(scene, reason, strict=strict)
    layout = TileGrid(
        scenes,
        tile_size=grid.tile_size,
        stride=grid.stride,
        edges=grid.edges,
        resolution=grid.resolution,
    )
    for number, reason in layout.skipped:
        report.skip(scenes.scene_files[number].key, reason, strict=strict)
    known = {record.scene: record for record in archive.scenes()}
    settings = scene_settings(scenes, grid)
    usable = np.zeros(len(scenes.scene_files), dtype=bool)
    usable[np.unique(layout.tiles[:, 0])] = True
    for number in np.flatnonzero(usable).tolist():
        file = scenes.scene_files[number]
        if is_unchanged(known.get(file.key), file, settings):
            report.unchanged.append(file.key)
            usable[number] = False
    if not usable.any():
        return report
    bands = hasher.bands if hasher is not None else _band_names(scenes, usable)
    _leave_out_other_bands(scenes, usable, bands, report, strict=strict)
    tiles = layout.tiles[usable[layout.tiles[:, 0]]]
    shape = None if grid.resolution is None else (grid.tile_size, grid.tile_size)
    if hasher is None:
        sample = _sample(scenes, tiles, bands, shape, grid.max_nodata, workers=workers)
        first = next(sample, None)
        if first is None:
            _skip_empty(scenes, tiles, grid.max_nodata, report, strict=strict)
            return report
        sample = chain([first], sample)
        hasher = _fit(
            archive,
            sample,
            bands=bands,
            tile_size=grid.tile_size,
            device=device,
            accelerate=2 * len(tiles) >= TRACE_TILES,  # each is looked at twice
        )
    elif len(tiles) >= TRACE_TILES:
        hasher.accelerate()
    done = encode_scenes(
        scenes,
        tiles,
        hasher,
        batch_size=batch_size,
        max_nodata=grid.max_nodata,
        shape=shape,
        workers=workers,
    )
    writer = ArchiveWriter(archive, hasher.fingerprint)
    bar = tqdm(total=len(tiles), unit=" tiles", desc="index", disable=None if progress else True)
    try:
        for encoded in done:
            bar.update(encoded.num_read)
            _take_scene(writer, scenes, encoded, settings, known, report, strict=strict)
    finally:  # an interrupted run keeps the scenes that it finished
        bar.close()
        writer.commit()
    return report


def add_dataset(
    archive: CodeArchive,
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
        hasher = _fit(
            archive,
            _images(held),
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


def _take_scene(
    writer: ArchiveWriter,
    scenes: Scenes,
    scene: EncodedScene,
    settings: dict[str, Any],
    known: Collection[str],
    report: AddReport,
    *,
    strict: bool,
) -> None:
    file = scenes.scene_files[scene.number]
    if scene.failure is not None:
        report.skip(file.key, scene.failure, strict=strict)
        return
    report.num_nodata += scene.num_nodata
    if not scene.windows:
        share = settings["max_nodata"]
        reason = f"{file.name} has no tile with at most {share:.0%} nodata, so it has none to add."
        report.skip(file.key, reason, strict=strict)
        return
    windows = np.concatenate(scene.windows)
    try:
        placed = scene_tiles_frame(scenes, windows)
        record = scene_record(file, len(windows), settings)
    except SceneError as error:
        report.skip(file.key, f"{file.name}: {error}", strict=strict)
        return
    encoded = EncodedTiles(codes=np.concatenate(scene.codes), tiles=placed)
    replaces = [file.key] if file.key in known else []
    writer.take(encoded, [record], replaces=replaces)
    report.replaced += replaces
    report.num_scenes += 1
    report.num_tiles += len(windows)


def _skip_empty(
    scenes: Scenes,
    tiles: npt.NDArray[np.int64],
    max_nodata: float,
    report: AddReport,
    *,
    strict: bool,
) -> None:
    for number in np.unique(tiles[:, 0]).tolist():
        file = scenes.scene_files[number]
        reason = (
            f"{file.name} has no tile that can be read with at most {max_nodata:.0%} nodata, so "
            "there is nothing to fit a hasher on."
        )
        report.skip(file.key, reason, strict=strict)


def _band_names(scenes: Scenes, usable: npt.NDArray[np.bool_]) -> tuple[str, ...]:
    """Name the bands of the first usable scene: by description or colour, else by number."""
    file = scenes.scene_files[int(np.flatnonzero(usable)[0])]
    indexes = file.band_indexes(scenes.bands)
    for known in (file.descriptions, file.colors):
        names = tuple(known[index - 1] for index in indexes)
        if all(names) and len(set(names)) == len(names):
            return names
    return default_bands(len(indexes))


def _leave_out_other_bands(
    scenes: Scenes,
    usable: npt.NDArray[np.bool_],
    names: Sequence[str],
    report: AddReport,
    *,
    strict: bool,
) -> None:
    first: BandMismatchError | None = None
    for number in np.flatnonzero(usable):
        file = scenes.scene_files[number]
        try:
            file.band_indexes(scenes.bands, names=names)
            if scenes.bands is not None and len(scenes.bands) != len(names):
                _raise_wrong_choice(scenes.bands, names)
        except BandMismatchError as error:
            first = first or error
            usable[number] = False
            if strict:
                raise
            report.skip(file.key, str(error), strict=False)
    if first is not None and not usable.any():
        raise first


def _raise_wrong_choice(bands: Sequence[int | str], names: Sequence[str]) -> None:
    msg = (
        f"bands={list(bands)} are {len(bands)} but the hasher expects {len(names)} "
        f"({', '.join(names)}); choose as many."
    )
    raise BandMismatchError(msg)


def _sample(
    scenes: Scenes,
    tiles: npt.NDArray[np.int64],
    bands: Sequence[str],
    shape: tuple[int, int] | None,
    max_nodata: float,
    *,
    workers: int,
) -> Iterator[Tensor]:
    """Read a fair sample of the tiles, in the order of the files."""
    rng = np.random.default_rng(0)
    chosen = np.sort(rng.permutation(len(tiles))[:FIT_TILES])
    indexes = [
        file.band_indexes(scenes.bands, names=bands) if number in tiles[:, 0] else ()
        for number, file in enumerate(scenes.scene_files)
    ]
    reader = TileReader(
        scenes,
        tiles[chosen],
        indexes=indexes,
        batch_size=64,
        max_nodata=max_nodata,
        shape=shape,
    )
    batches = read_ahead(reader, workers=workers)
    return (batch.images for batch in batches if len(batch.tiles))


def _images(batches: Iterable[Sequence[LocatedTile]]) -> Iterator[Tensor]:
    """Stack neighbouring images of one size."""
    flat = (tile.image for batch in batches for tile in batch if tile.image is not None)
    for _, group in groupby(flat, key=lambda image: tuple(image.shape)):
        while images := list(islice(group, 64)):
            yield torch.stack(images)


def _fit(
    archive: CodeArchive,
    tiles: Iterable[Tensor],
    *,
    bands: Sequence[str] | None,
    tile_size: int | None,
    device: str,
    accelerate: bool,
) -> Hasher:
    method, num_bits = parse_training_free(archive.pending_hasher or "itq-64")
    hasher = fit_hasher(
        tiles,
        num_bits=num_bits,
        method=method,
        bands=bands,
        tile_size=tile_size,
        device=device,
        accelerate=accelerate,
    )
    archive.set_hasher(hasher.to_bytes(), fingerprint=hasher.fingerprint, num_bits=hasher.num_bits)
    return hasher
