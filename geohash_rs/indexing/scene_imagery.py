"""Add scenes to an archive: hash new ones, skip known ones, name those that fail."""

import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from geohash_rs.errors import (
    BandMismatchError,
    GeoHashRSWarning,
    HasherMismatchError,
    SceneError,
    TileSizeError,
    ValueMismatchError,
    one_line,
)
from geohash_rs.hashing.fit.training_free import SensorTiles, default_bands
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.indexing.embedded import check_version
from geohash_rs.indexing.encode import EncodedScene, EncodedTiles, SceneEncoder, scene_tiles_frame
from geohash_rs.indexing.fair_sample import SceneTraits, sensors_of
from geohash_rs.indexing.known_scenes import check_grids, find_moved, rename_moved
from geohash_rs.indexing.notes import (
    band_notes,
    conflict_notes,
    container_notes,
    date_notes,
    moved_note,
    range_notes,
    size_notes,
    stack_notes,
    unseen_note,
    vector_notes,
)
from geohash_rs.indexing.plan import ScenePlan
from geohash_rs.indexing.records import (
    FORMER,
    READING,
    VERSION,
    is_unchanged,
    reading_of,
    scene_record,
    scene_settings,
    under_known_names,
    with_former_dates,
    without_outdated_names,
)
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.samples import located_frame
from geohash_rs.indexing.settings import SAMPLE_BATCH, SCENE_BATCH, IndexSettings, fit_tiles
from geohash_rs.scenes.ahead import read_ahead
from geohash_rs.scenes.bands import BandChoice
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.file import SceneFile
from geohash_rs.scenes.grids import TileGrids
from geohash_rs.scenes.kinds import kinds_of_scenes
from geohash_rs.scenes.reader import TileBatch, TileReader
from geohash_rs.scenes.sources import is_seen
from geohash_rs.scenes.value_doubts import doubt_range, find_fill
from geohash_rs.scenes.value_sample import range_applies
from geohash_rs.scenes.values import Values
from geohash_rs.scenes.vector_reader import VectorReader, few_blocks
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["SceneImagery"]

FIT_VECTORS = 8192  # on which a hasher of an embedding is fitted
KEPT_BYTES = 256_000_000  # of vectors that are kept while a hasher is fitted on some
SPREAD = 16  # times as many tiles are drawn as are read, from one block in about so many


class SceneImagery:
    """Scenes, the grid on which their tiles are cut, and the outcome for each; an `Imagery`.

    Steps and errors are those of `Imagery`.

    Attributes:
        counts: Number of tiles to read from each scene, int64, shape (scenes,).
        known: The archive's records by scene, from the start of the run.
        keeps_vectors: Whether `sample` may keep the vectors of an embedding that it reads, so that
            `read` need not read them again.
    """

    def __init__(
        self,
        archive: CodeStore,
        scenes: Scenes,
        grids: TileGrids,
        settings: IndexSettings,
        *,
        bands: Sequence[str] | None = None,
        embedding: PixelEmbedding | None = None,
    ) -> None:
        """Read which scenes the archive has.

        Args:
            archive: The archive.
            scenes: The scenes.
            grids: How tiles are cut.
            settings: How to read and hash them.
            bands: Names of the bands that the hasher expects, or on which to fit it; None uses the
                bands that the scenes share.
            embedding: The embedding whose vectors the pixels are; None if they are pictures.
        """
        self.archive, self.scenes, self.grids, self.settings = archive, scenes, grids, settings
        self.report = AddReport()
        self.embedding = embedding
        self.bands = bands if embedding is None else embedding.bands
        self.values: Sequence[Values] = ()
        self.keeps_vectors = True
        self._vectors: list[TileBatch] = []
        self.tile_size: int | None = grids.tile_size
        self.known: dict[str, SceneRecord] = {record.scene: record for record in archive.scenes()}
        files = under_known_names(scenes.scene_files, self.known)
        self._moved = find_moved(archive, files, self.known)
        for before, record in self._moved:
            del self.known[before.scene]
            self.known[record.scene] = record
        self.known = without_outdated_names(files, self.known, checksum=settings.checksum)
        scenes.scene_files = with_former_dates(files, self.known)
        self._recorded = scene_settings(scenes, grids)
        self._plan = ScenePlan(scenes, grids)
        self._encoder = SceneEncoder(
            scenes, self.counts, folder=archive.path, form=archive.manifest.vectors
        )

    @property
    def counts(self) -> npt.NDArray[np.int64]:
        """Number of tiles to read from each scene."""
        return self._plan.counts

    @property
    def num_tiles(self) -> int:
        """Number of tiles to read from all scenes."""
        return self._plan.num_tiles

    def choose(self) -> None:
        """Choose the scenes that are new or have changed.

        Scenes that cannot be added are listed in the report.

        Raises:
            SceneError: If strict and a scene cannot be added.
            TileSizeError: If every scene is smaller than a tile.
            TilesReplacedError: If tiles of another size would be replaced, but must not.
        """
        for scene, reason in self.scenes.unreadable:
            self._skip(scene, reason)
        if self.bands is None:
            first = self.scenes.scene_files[0].band_indexes(self.scenes.bands)
            self.bands = self.scenes.shared_bands() or default_bands(len(first))
        files = self.scenes.scene_files
        self._lay_grids(files)
        renewed: list[SceneRecord] = []
        for number in self._plan.numbers:
            if self._is_done(files[number], renewed):
                self._plan.leave_out(number)
        chosen = [files[number] for number in self._plan.numbers]
        notes = check_grids(chosen, self.known, self._recorded, replace=self.settings.replace)
        renewed = self._rename_moved(renewed)  # once nothing is left to ask
        if self.archive.mode == "r":  # a preview
            self.report.notes += notes
        self._note_unseen()
        if renewed:
            none = np.empty((0, (self.archive.num_bits or 0) // 8), dtype=np.uint8)
            self.archive.add_codes(none, located_frame([]), scenes=renewed)

    def plan(self, bands: Sequence[str] | None, values: Sequence[Values] = ()) -> None:
        """Choose the scenes that are new or have changed, and that have the hasher's bands."""
        self.bands = bands or self.bands
        self.choose()
        if self.num_tiles:
            self._leave_out_other_bands(self.bands or ())
            if self.embedding is not None:
                self._leave_out_other_versions(self.embedding)
            self.note_choices()
            if self.embedding is None:
                self.values = values or self.values or self._kinds(self.bands or ())

    def sample(self) -> Iterator[SensorTiles] | None:
        """Read random tiles, about as many of each sensor, place, date and scene."""
        if self.embedding is not None:
            return self._sample_vectors(self.embedding)
        numbers = self._plan.numbers
        sensors = dict(zip(numbers, self._sensors(numbers), strict=True))
        positions = self._plan.sample(fit_tiles(len(set(sensors.values()))))
        tiles = self._plan.take(positions)
        read = self._read_ahead(tiles, self.bands or (), batch_size=SAMPLE_BATCH)
        failures: dict[int, str] = {}
        batches = (
            (batch.images, [sensors[number] for number in batch.tiles[:, 0].tolist()])
            for batch in _noting(read, failures)
            if len(batch.tiles)
        )
        if (first := next(batches, None)) is None:
            self._skip_empty(failures)
            return None
        return self._shown(chain([first], batches), len(positions))

    def read(self, bands: Sequence[str]) -> Generator[TileBatch, None, None]:
        """Read all tiles, scene by scene."""
        if self._vectors:
            known, self._vectors = self._vectors, []
            yield from known
            return
        for tiles in self._plan.parts():
            batches = self._read_ahead(
                tiles, bands, batch_size=self.settings.batch_size or SCENE_BATCH
            )
            with closing(batches):  # always ends reading processes
                yield from batches

    def encode(self, batch: TileBatch, hasher: Hasher) -> Iterator[EncodedTiles]:
        """Hash a batch, and yield the scenes that it completes."""
        for scene in self._encoder.encode(batch, hasher):
            yield self._finish(scene) or _nothing(scene)

    def _lay_grids(self, files: Sequence[SceneFile]) -> None:
        """Count the tiles of each scene, and skip scenes without any.

        Raises:
            TileSizeError: If no scene has any.
        """
        gridless: list[tuple[str, str]] = []
        for number, file in enumerate(files):
            try:
                self._plan.add(number)
            except (SceneError, TileSizeError) as error:
                gridless.append((file.key, str(error)))
        if len(gridless) == len(files):
            raise TileSizeError(gridless[0][1])
        for scene, reason in gridless:
            self._skip(scene, reason)

    def _rename_moved(self, renewed: Sequence[SceneRecord]) -> list[SceneRecord]:
        """Rename scenes of the archive whose files were moved, unless it is read-only.

        Args:
            renewed: Records that are to be written.

        Returns:
            These, without those of scenes that another process changed meanwhile; such scenes are
            read instead.
        """
        moved = self._moved
        lost = rename_moved(self.archive, moved) if moved and self.archive.mode == "a" else set()
        for number, file in enumerate(self.scenes.scene_files):
            if file.key in lost:
                del self.known[file.key]
                if file.key in self.report.unchanged:
                    self.report.unchanged.remove(file.key)
                    self._plan.add(number)
        kept = [(before, record) for before, record in moved if record.scene not in lost]
        if kept:
            self.report.moved = [(before.scene, record.scene) for before, record in kept]
            count = sum(record.num_tiles for _, record in kept)
            self.report.notes.append(moved_note(self.report.moved, count))
        return [record for record in renewed if record.scene not in lost]

    def _kinds(self, bands: Sequence[str]) -> tuple[Values, ...]:
        """Find the kinds of values on which a hasher will be fitted."""
        indexes: list[Sequence[int]] = [()] * len(self.counts)
        for number in self._plan.numbers:
            file = self.scenes.scene_files[number]
            indexes[number] = file.band_indexes(self.scenes.bands, names=bands)
        return kinds_of_scenes(self.scenes, self.counts, indexes=indexes)

    def _sample_vectors(self, embedding: PixelEmbedding) -> Iterator[SensorTiles] | None:
        """Read vectors to fit a hasher on: all that are to be read, or those of some blocks.

        A tile is a small part of a block, so that random tiles would cost as much as all.
        """
        failures: dict[int, str] = {}
        everything = self.num_tiles * embedding.num_features * 4 <= KEPT_BYTES
        if everything and self.keeps_vectors:
            with self.settings.bar("read", self.num_tiles, leave=False) as bar:
                for batch in _noting(self.read(embedding.bands), failures):
                    self._vectors.append(batch)
                    bar.update(len(batch.planned))
            found = [batch.images for batch in self._vectors]
        else:
            drawn = self._plan.take(self._plan.sample(SPREAD * FIT_VECTORS))
            tiles = few_blocks(drawn, size=FIT_VECTORS)
            read = self._read_ahead(tiles, embedding.bands, batch_size=SAMPLE_BATCH)
            found = [batch.images for batch in _noting(read, failures)]
        if not any(map(len, found)):
            self._skip_empty(failures)
            return None
        vectors = torch.cat([part for part in found if len(part)])
        rows = np.sort(np.random.default_rng(0).permutation(len(vectors))[:FIT_VECTORS])
        return iter([(vectors[rows], [""] * len(rows))])

    def _read_ahead(
        self, tiles: npt.NDArray[np.int64], bands: Sequence[str], *, batch_size: int
    ) -> Generator[TileBatch, None, None]:
        if self.embedding is not None:
            vectors = VectorReader(
                self.scenes,
                tiles,
                indexes=self.scenes.band_indexes(tiles, bands),
                pool=self.embedding.pool,
                max_nodata=self.grids.max_nodata,
            )
            return read_ahead(vectors, workers=self.settings.workers)
        reader = TileReader(
            self.scenes,
            tiles,
            indexes=self.scenes.band_indexes(tiles, bands),
            batch_size=batch_size,
            values=self.values,
            max_nodata=self.grids.max_nodata,
            shape=self.grids.shapes(self.scenes.scene_files, tiles),
        )
        return read_ahead(reader, workers=self.settings.workers)

    def _finish(self, scene: EncodedScene) -> EncodedTiles | None:
        """Locate the tiles of a completed scene; None if it cannot be added.

        Raises:
            SceneError: If strict and it cannot be added.
        """
        file = self.scenes.scene_files[scene.number]
        if scene.failure is not None:  # half a scene is not a scene
            self._skip(file.key, scene.failure)
            return None
        count, checksum = scene.num_tiles, self.settings.checksum
        self.report.num_nodata += scene.num_read - count
        done = _nothing(scene)
        try:
            if count:
                windows = np.concatenate(scene.windows)
                known = np.concatenate(scene.footprints) if scene.footprints else None
                tiles = scene_tiles_frame(self.scenes, windows, footprints=known)
                if self.grids.resolution is not None:
                    tiles["tile_size"] = self.grids.sides(file, windows)
                codes, vectors = np.concatenate(scene.codes), scene.vectors.joined()
                done = replace(done, codes=codes, tiles=tiles, vectors=vectors)
            recorded = self._settings_of(file)
            record = scene_record(file, count, recorded, checksum=checksum)
        except SceneError as error:
            self._skip(file.key, f"{file.name}: {error}")
            return None
        earlier = self.known.get(file.key)
        if not count:
            self._note_empty(file, earlier)
        elif earlier is not None:
            self.report.replaced.append(file.key)
        if count and self.embedding is None:
            self._doubt_values(file, np.concatenate(scene.pixels, axis=1))
        self.report.num_scenes += count > 0
        self.report.num_tiles += count
        return replace(done, records=[record])  # even without tiles, so that it is not read again

    def _doubt_values(self, file: SceneFile, pixels: npt.NDArray[Any]) -> None:
        """Record what is doubtful about the values of a scene."""
        if self.values and (doubt := doubt_range(pixels, self.values[0], name=file.name)):
            self.report.clipped.append(file.key)
            self.report.doubts.append(doubt)
        fill = find_fill(Values.of_pixels(pixels, dtype=str(pixels.dtype)))
        if fill is not None:
            self.report.fills.append((fill, file.name))

    def _note_empty(self, file: SceneFile, earlier: SceneRecord | None) -> None:
        reason = (
            f"{file.name} has no tile with at most {self.grids.max_nodata:.0%} nodata, so it "
            "has none to add."
        )
        if self.settings.strict:  # ends the run before anything is removed
            self._skip(file.key, reason)
        if earlier is not None and earlier.num_tiles:
            reason = f"{reason[:-1]}; its {earlier.num_tiles} earlier tiles are removed."
        self.report.skip(file.key, reason, strict=False)

    def _is_done(self, file: SceneFile, renewed: list[SceneRecord]) -> bool:
        """Return whether a scene is already indexed; renew a record without signs of changes."""
        record = self.known.get(file.key)
        try:
            recorded = self._settings_of(file)
            if not is_unchanged(record, file, recorded, checksum=self.settings.checksum):
                return False
            if record is not None:
                renewed += self._fuller(record, file, recorded)
        except SceneError as error:
            self._skip(file.key, f"{file.name}: {error}")
        else:
            self.report.unchanged.append(file.key)
        return True

    def _fuller(
        self, record: SceneRecord, file: SceneFile, recorded: dict[str, Any]
    ) -> list[SceneRecord]:
        """Return the record with a checksum or version that it lacks, or nothing."""
        lacks_sum = self.settings.checksum and record.checksum is None
        lacks_version = bool(file.version) and VERSION not in record.settings
        if not (lacks_sum or lacks_version):
            return []
        fuller = scene_record(file, record.num_tiles, recorded, checksum=self.settings.checksum)
        return [fuller] if lacks_version or fuller.checksum is not None else []

    def _note_unseen(self) -> None:
        """Warn once about scenes that count as unchanged because no change could be detected."""
        unchanged = set(self.report.unchanged)
        compared = {
            scene
            for scene in unchanged
            if self.settings.checksum and self.known[scene].checksum is not None
        }
        unseen = [
            (file.name, next(name for name in file.files if not is_seen(name)))
            for file in self.scenes.scene_files
            if file.key in unchanged - compared
            and not all(map(is_seen, file.files))
            and not (file.version and VERSION in self.known[file.key].settings)
        ]
        if unseen:
            warnings.warn(unseen_note(unseen), GeoHashRSWarning, stacklevel=2)

    def _leave_out_other_bands(self, names: Sequence[str]) -> None:
        """Exclude scenes whose bands do not fit the hasher.

        Raises:
            BandMismatchError: If no scene fits and none is unchanged; if strict, if any scene does
                not fit.
        """
        bands = self.scenes.bands
        first: BandMismatchError | None = None
        for number in self._plan.numbers:
            file = self.scenes.scene_files[number]
            try:
                file.band_indexes(bands, names=names)
                if bands is not None and len(bands) != len(names):
                    _raise_wrong_choice(bands, names)
            except BandMismatchError as error:
                first = first or error
                self._plan.leave_out(number)
                if self.settings.strict:
                    raise
                self._skip(file.key, str(error))
        if first is not None and not self.num_tiles and not self.report.unchanged:
            raise first

    def _leave_out_other_versions(self, embedding: PixelEmbedding) -> None:
        """Exclude scenes whose tags name another version or variant of an embedding."""
        for number in self._plan.numbers:
            file = self.scenes.scene_files[number]
            try:
                check_version(embedding, file)
            except (HasherMismatchError, SceneError) as error:
                self._plan.leave_out(number)
                self._skip(file.key, str(error))

    def _skip_empty(self, failures: Mapping[int, str]) -> None:
        """Record that there is nothing in the scenes to fit a hasher on.

        Args:
            failures: Why scenes could not be read, by their number.
        """
        for number in self._plan.numbers:
            file = self.scenes.scene_files[number]
            empty = (
                f"{file.name} has no tile that can be read with at most "
                f"{self.grids.max_nodata:.0%} nodata, so there is nothing to fit a hasher on."
            )
            self._skip(file.key, failures.get(number, empty))

    def _skip(self, scene: str, reason: str) -> None:
        """Record that a scene cannot be added, and that its earlier tiles stay."""
        record = self.known.get(scene)
        if record is not None and record.num_tiles:
            reason = (
                f"{reason.removesuffix('.')}; its {record.num_tiles} earlier tiles stay until it "
                "can be added, or 'geohash-rs remove' removes them."
            )
        self.report.skip(scene, reason, strict=self.settings.strict)

    def _sensors(self, numbers: Sequence[int]) -> list[str]:
        files = self.scenes.scene_files
        return sensors_of([SceneTraits.of_file(files[number]) for number in numbers])

    def _shown(self, batches: Iterable[SensorTiles], total: int) -> Iterator[SensorTiles]:
        """Show a progress bar while a hasher is fitted on batches."""
        with self.settings.bar("fit", total, leave=False) as bar:
            for images, sensors in batches:
                yield images, sensors
                bar.update(len(images))

    def _reading(self, file: SceneFile) -> dict[str, Any]:
        """Return the setting that says which bands of a scene are read; none if they do not fit."""
        choice = self._choice(file)
        return {} if choice is None else {READING: reading_of(file, choice)}

    def _settings_of(self, file: SceneFile) -> dict[str, Any]:
        """Return the settings that decide a scene's tiles, as its record keeps them."""
        found = self._recorded | self._reading(file)
        if self._is_out_of_range(file):
            found.pop("value_range", None)
        record = self.known.get(file.key)
        if record is not None and FORMER in record.settings:
            found[FORMER] = record.settings[FORMER]
        return found

    def _is_out_of_range(self, file: SceneFile) -> bool:
        """Return whether a range of values was given that is not meant for a scene."""
        given, choice = self.scenes.value_range, self._choice(file)
        return (
            given is not None
            and choice is not None
            and not range_applies(file, choice.indexes, given)
        )

    def _choice(self, file: SceneFile) -> BandChoice | None:
        """Choose the bands of a scene; None if they do not fit."""
        try:
            return file.choose(self.scenes.bands, names=self.bands)
        except BandMismatchError:
            return None

    def leave_out_other_values(self) -> None:
        """Exclude scenes with values that the hasher was not made for, as `read` will.

        Raises:
            SceneError: If strict and there is one.
        """
        for number in self._plan.numbers:
            file = self.scenes.scene_files[number]
            indexes = file.band_indexes(self.scenes.bands, names=self.bands)
            if self.embedding is not None:
                continue
            try:
                self.scenes.conversion(number, indexes=indexes, known=self.values)
            except (SceneError, ValueMismatchError) as error:
                self._plan.leave_out(number)
                self._skip(file.key, one_line(error))

    def note_choices(self) -> None:
        """Add to the report, once, what was decided about the bands and tiles of the scenes."""
        files = [self.scenes.scene_files[number] for number in self._plan.numbers]
        self.report.notes += size_notes(files, [self.grids.left_out(file) for file in files])
        self.report.notes += stack_notes(files, other_layers=self.scenes.other_layers)
        self.report.notes += container_notes(self.scenes.containers)
        choices = [self._choice(file) for file in files]
        if self.scenes.bands is None and self.bands is not None:
            self.report.notes += band_notes(files, choices, names=self.bands)
        if self.scenes.bands is None and self.embedding is None:
            self.report.notes += vector_notes(files)
        self.report.notes += conflict_notes(files, choices)
        self.report.notes += date_notes(files)
        out_of_range = [file for file in files if self._is_out_of_range(file)]
        if self.scenes.value_range is not None and out_of_range:
            self.report.notes += range_notes(files, out_of_range, self.scenes.value_range)


def _noting(batches: Iterable[TileBatch], failures: dict[int, str]) -> Iterator[TileBatch]:
    """Yield batches, and note why scenes could not be read."""
    for batch in batches:
        failures.update(batch.failures)
        yield batch


def _nothing(scene: EncodedScene) -> EncodedTiles:
    none = np.empty((0, 0), dtype=np.uint8)
    return EncodedTiles(num_read=scene.num_read, codes=none, tiles=located_frame([]))


def _raise_wrong_choice(bands: Sequence[int | str], names: Sequence[str]) -> None:
    msg = (
        f"bands={list(bands)} are {len(bands)} but the hasher expects {len(names)} "
        f"({', '.join(names)}); choose {len(names)} bands."
    )
    raise BandMismatchError(msg)
