"""Add scenes to an archive: what is new is hashed, what is known is left, what fails is named."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain

import numpy as np
from torch import Tensor
from tqdm.auto import tqdm

from geohash_rs.errors import BandMismatchError, SceneError, TileSizeError
from geohash_rs.hashing.fit.training_free import default_bands
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.encode import EncodedScene, EncodedTiles, encode_scenes, scene_tiles_frame
from geohash_rs.indexing.first_fit import (
    FIT_TILES,
    TRACE_TILES,
    find_pending,
    fit_pending,
    sample_tiles,
)
from geohash_rs.indexing.plan import ScenePlan
from geohash_rs.indexing.records import is_unchanged, scene_record, scene_settings
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.samples import located_frame
from geohash_rs.indexing.writer import ArchiveWriter
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.file import SceneFile
from geohash_rs.scenes.grid import GridSettings
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["IndexRun", "add_scenes"]


def add_scenes(
    archive: CodeStore,
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
    run = IndexRun(archive, scenes, grid, checksum=checksum, strict=strict)
    plan = run.plan()
    if not plan.num_tiles:
        return run.report
    bands = (hasher or find_pending(archive)).bands or _band_names(scenes, plan.numbers[0])
    run.leave_out_other_bands(plan, bands)
    shape = None if grid.resolution is None else (grid.tile_size, grid.tile_size)
    if hasher is None:
        sample = sample_tiles(plan, bands, shape, workers=workers)
        first = next(sample, None)
        if first is None:
            run.skip_empty(plan)
            return run.report
        sample = _shown(chain([first], sample), min(plan.num_tiles, FIT_TILES), progress=progress)
        hasher = fit_pending(
            archive,
            sample,
            bands=bands,
            tile_size=grid.tile_size,
            device=device,
            accelerate=2 * plan.num_tiles >= TRACE_TILES,  # each is looked at twice
        )
    elif plan.num_tiles >= TRACE_TILES:
        hasher.accelerate()
    writer = ArchiveWriter(archive, hasher.fingerprint)
    disable = None if progress else True
    bar = tqdm(total=plan.num_tiles, unit=" tiles", desc="index", disable=disable)
    try:
        for tiles in plan.parts():
            done = encode_scenes(
                scenes,
                tiles,
                hasher,
                batch_size=batch_size,
                max_nodata=grid.max_nodata,
                shape=shape,
                workers=workers,
            )
            with closing(done):  # reading processes end, whatever happens here
                for encoded in done:
                    bar.update(encoded.num_read)
                    run.take(encoded, writer)
    finally:  # an interrupted run keeps the scenes that it finished
        bar.close()
        writer.commit()
    return run.report


class IndexRun:
    """What is known while scenes are indexed, and what became of each.

    Attributes:
        report: What was added so far, and what was not.
        known: The archive's records by scene, as they were when the run began.
    """

    def __init__(
        self,
        archive: CodeStore,
        scenes: Scenes,
        grid: GridSettings,
        *,
        checksum: bool,
        strict: bool,
    ) -> None:
        """Look at what the archive has.

        Args:
            archive: The archive.
            scenes: The scenes.
            grid: How to cut tiles.
            checksum: Whether files are compared by checksum rather than by time.
            strict: Stop at the first scene that cannot be added.
        """
        self.archive, self.scenes, self.grid = archive, scenes, grid
        self.checksum, self.strict = checksum, strict
        self.report = AddReport()
        self.known: dict[str, SceneRecord] = {record.scene: record for record in archive.scenes()}
        self.settings = scene_settings(scenes, grid)

    def plan(self) -> ScenePlan:
        """Choose the scenes that are new or have changed.

        Returns:
            Their tiles, counted. Scenes that cannot be added are in the report.

        Raises:
            SceneError: If strict and a scene cannot be added.
            TileSizeError: If every scene is smaller than a tile, or a setting is out of range.
        """
        for scene, reason in self.scenes.unreadable:
            self.skip(scene, reason)
        plan = ScenePlan(self.scenes, self.grid)
        files = self.scenes.scene_files
        gridless: list[tuple[str, str]] = []
        for number, file in enumerate(files):
            try:
                plan.add(number)
            except (SceneError, TileSizeError) as error:
                gridless.append((file.key, str(error)))
        if len(gridless) == len(files):
            raise TileSizeError(gridless[0][1])
        for scene, reason in gridless:
            self.skip(scene, reason)
        renewed: list[SceneRecord] = []
        for number in plan.numbers:
            if self._is_done(files[number], renewed):
                plan.leave_out(number)
        if renewed:
            none = np.empty((0, (self.archive.num_bits or 0) // 8), dtype=np.uint8)
            self.archive.add_codes(none, located_frame([]), scenes=renewed)
        return plan

    def _is_done(self, file: SceneFile, renewed: list[SceneRecord]) -> bool:
        """Tell whether nothing is to be done for a scene; with a checksum that was lacking."""
        record = self.known.get(file.key)
        try:
            if not is_unchanged(record, file, self.settings, checksum=self.checksum):
                return False
            if self.checksum and record is not None and record.checksum is None:
                fuller = scene_record(file, record.num_tiles, self.settings, checksum=True)
                renewed += [fuller] if fuller.checksum is not None else []
        except SceneError as error:
            self.skip(file.key, f"{file.name}: {error}")
        else:
            self.report.unchanged.append(file.key)
        return True

    def leave_out_other_bands(self, plan: ScenePlan, names: Sequence[str]) -> None:
        """Take scenes whose bands do not fit the hasher out of a plan.

        Args:
            plan: The plan.
            names: The hasher's bands.

        Raises:
            BandMismatchError: If no scene fits; if strict, at the first that does not.
        """
        bands = self.scenes.bands
        first: BandMismatchError | None = None
        for number in plan.numbers:
            file = self.scenes.scene_files[number]
            try:
                file.band_indexes(bands, names=names)
                if bands is not None and len(bands) != len(names):
                    _raise_wrong_choice(bands, names)
            except BandMismatchError as error:
                first = first or error
                plan.leave_out(number)
                if self.strict:
                    raise
                self.skip(file.key, str(error))
        if first is not None and not plan.num_tiles:
            raise first

    def take(self, scene: EncodedScene, writer: ArchiveWriter) -> None:
        """Take a scene that is done, or note why it cannot be added.

        Args:
            scene: The scene, with its codes.
            writer: What commits it.

        Raises:
            SceneError: If strict and it cannot be added.
        """
        file = self.scenes.scene_files[scene.number]
        if scene.failure is not None:
            self.skip(file.key, scene.failure)
            return
        self.report.num_nodata += scene.num_nodata
        count = sum(map(len, scene.windows))
        try:
            tiles = _encoded_tiles(self.scenes, scene) if count else None
            record = scene_record(file, count, self.settings, checksum=self.checksum)
        except SceneError as error:
            self.skip(file.key, f"{file.name}: {error}")
            return
        earlier = self.known.get(file.key)
        if not count:
            reason = (
                f"{file.name} has no tile with at most {self.grid.max_nodata:.0%} nodata, so it "
                "has none to add."
            )
            if self.strict:  # ends the run before anything is removed
                self.skip(file.key, reason)
            if earlier is not None and earlier.num_tiles:
                reason = f"{reason[:-1]}; its {earlier.num_tiles} earlier tiles are removed."
            self.report.skip(file.key, reason, strict=False)
        writer.take(tiles, [record])  # also of a scene without tiles: it is not read again
        if count and earlier is not None:
            self.report.replaced.append(file.key)
        self.report.num_scenes += count > 0
        self.report.num_tiles += count

    def skip_empty(self, plan: ScenePlan) -> None:
        """Note that scenes have nothing to fit a hasher on.

        Args:
            plan: The scenes.

        Raises:
            SceneError: If strict.
        """
        for number in plan.numbers:
            file = self.scenes.scene_files[number]
            reason = (
                f"{file.name} has no tile that can be read with at most "
                f"{self.grid.max_nodata:.0%} nodata, so there is nothing to fit a hasher on."
            )
            self.skip(file.key, reason)

    def skip(self, scene: str, reason: str) -> None:
        """Note that a scene cannot be added, and that its earlier tiles stay.

        Args:
            scene: Path or URI.
            reason: Why, on one line.

        Raises:
            SceneError: If strict.
        """
        record = self.known.get(scene)
        if record is not None and record.num_tiles:
            reason = (
                f"{reason.removesuffix('.')}; its {record.num_tiles} earlier tiles stay until it "
                "can be added, or 'geohash-rs remove' takes them out."
            )
        self.report.skip(scene, reason, strict=self.strict)


def _encoded_tiles(scenes: Scenes, scene: EncodedScene) -> EncodedTiles:
    placed = scene_tiles_frame(scenes, np.concatenate(scene.windows))
    return EncodedTiles(codes=np.concatenate(scene.codes), tiles=placed)


def _shown(batches: Iterable[Tensor], total: int, *, progress: bool) -> Iterator[Tensor]:
    """Show a bar while batches are gone through."""
    disable = None if progress else True
    with tqdm(total=total, unit=" tiles", desc="fit", disable=disable, leave=False) as bar:
        for batch in batches:
            yield batch
            bar.update(len(batch))


def _band_names(scenes: Scenes, number: int) -> tuple[str, ...]:
    """Name the bands of the first usable scene: by description or colour, else by number."""
    file = scenes.scene_files[number]
    indexes = file.band_indexes(scenes.bands)
    for known in (file.descriptions, file.colors):
        names = tuple(known[index - 1] for index in indexes)
        if all(names) and len(set(names)) == len(names):
            return names
    return default_bands(len(indexes))


def _raise_wrong_choice(bands: Sequence[int | str], names: Sequence[str]) -> None:
    msg = (
        f"bands={list(bands)} are {len(bands)} but the hasher expects {len(names)} "
        f"({', '.join(names)}); choose as many."
    )
    raise BandMismatchError(msg)
