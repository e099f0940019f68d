"""Add scenes to an archive: what is new is hashed, what is known is left, what fails is named."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor
from tqdm.auto import tqdm

from geohash_rs.archive import CodeArchive, SceneRecord
from geohash_rs.archive_writer import (
    AddReport,
    ArchiveWriter,
    GridSettings,
    is_unchanged,
    scene_record,
    scene_settings,
)
from geohash_rs.encode import EncodedScene, EncodedTiles, encode_scenes, scene_tiles_frame
from geohash_rs.errors import BandMismatchError, SceneError
from geohash_rs.hashing import Hasher, default_bands
from geohash_rs.pending_hasher import (
    FIT_TILES,
    TRACE_TILES,
    find_pending,
    fit_pending,
    sample_tiles,
)
from geohash_rs.scenes import Scenes
from geohash_rs.tile_grid import TileGrid

__all__ = ["add_scenes"]


def add_scenes(
    archive: CodeArchive,
    scenes: Scenes,
    *,
    hasher: Hasher | None,
    device: str,
    grid: GridSettings,
    batch_size: int,
    workers: int,
    checksum: bool,
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
        checksum: Whether files are compared by checksum rather than by time.
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
    _leave_out_known(scenes, usable, known, settings, report, checksum=checksum, strict=strict)
    if not usable.any():
        return report
    bands = (hasher or find_pending(archive)).bands or _band_names(scenes, usable)
    _leave_out_other_bands(scenes, usable, bands, report, strict=strict)
    tiles = layout.tiles[usable[layout.tiles[:, 0]]]
    shape = None if grid.resolution is None else (grid.tile_size, grid.tile_size)
    if hasher is None:
        sample = sample_tiles(scenes, tiles, bands, shape, grid.max_nodata, workers=workers)
        first = next(sample, None)
        if first is None:
            _skip_empty(scenes, tiles, grid.max_nodata, report, strict=strict)
            return report
        sample = _shown(chain([first], sample), min(len(tiles), FIT_TILES), progress=progress)
        hasher = fit_pending(
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
            _take_scene(
                writer, scenes, encoded, settings, known, report, checksum=checksum, strict=strict
            )
    finally:  # an interrupted run keeps the scenes that it finished
        bar.close()
        writer.commit()
    return report


def _shown(batches: Iterable[Tensor], total: int, *, progress: bool) -> Iterator[Tensor]:
    """Show a bar while batches are gone through."""
    disable = None if progress else True
    with tqdm(total=total, unit=" tiles", desc="fit", disable=disable, leave=False) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def _leave_out_known(
    scenes: Scenes,
    usable: npt.NDArray[np.bool_],
    known: Mapping[str, SceneRecord],
    settings: dict[str, Any],
    report: AddReport,
    *,
    checksum: bool,
    strict: bool,
) -> None:
    for number in np.flatnonzero(usable).tolist():
        file = scenes.scene_files[number]
        try:
            unchanged = is_unchanged(known.get(file.key), file, settings, checksum=checksum)
        except SceneError as error:
            report.skip(file.key, str(error), strict=strict)
            usable[number] = False
            continue
        if unchanged:
            report.unchanged.append(file.key)
            usable[number] = False


def _take_scene(
    writer: ArchiveWriter,
    scenes: Scenes,
    scene: EncodedScene,
    settings: dict[str, Any],
    known: Collection[str],
    report: AddReport,
    *,
    checksum: bool,
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
        record = scene_record(file, len(windows), settings, checksum=checksum)
    except SceneError as error:
        report.skip(file.key, f"{file.name}: {error}", strict=strict)
        return
    encoded = EncodedTiles(codes=np.concatenate(scene.codes), tiles=placed)
    writer.take(encoded, [record])
    if file.key in known:
        report.replaced.append(file.key)
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
