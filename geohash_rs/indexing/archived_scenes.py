"""Read the tiles of an archive again, from the scenes and with the settings that it records."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import GeoHashRSError, SceneError, one_line
from geohash_rs.hashing.fit.training_free import SensorTiles
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.indexing.archived_scene import archived_scene, scene_digest
from geohash_rs.indexing.fair_sample import draw_tiles, drawn_rows
from geohash_rs.indexing.settings import SCENE_BATCH, IndexSettings
from geohash_rs.pictures.permission import Permission
from geohash_rs.scenes.ahead import read_ahead
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.file import SceneFile
from geohash_rs.scenes.grids import LARGER, TileGrids, recorded_sizes
from geohash_rs.scenes.kinds import kinds_of_scenes
from geohash_rs.scenes.reader import TileBatch, TileReader
from geohash_rs.scenes.state import state_of
from geohash_rs.scenes.values import Values
from geohash_rs.scenes.vector_reader import VectorReader
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.scene_counts import count_tiles
from geohash_rs.store.segment.layout import BLOCK
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.segment.windows import WINDOW, window_numbers
from geohash_rs.store.snapshot import Snapshot

__all__ = ["ArchivedScenes", "in_order"]

NAMED = 5  # scenes named in a message
NEXT_STEP = (
    "Nothing was changed. Put missing files back, or name their new place with 'geohash-rs "
    "relocate', run 'geohash-rs index' again for scenes that have changed, pass the STAC items of "
    "scenes that came from such, or remove scenes with 'geohash-rs remove', then run this "
    "again."
)

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Scenes that were read with the same settings.

    Attributes:
        scenes: The scenes.
        grids: How their tiles were cut.
        numbers: Position of each among all scenes.
    """

    scenes: Scenes
    grids: TileGrids
    numbers: list[int]


class ArchivedScenes:
    """The scenes of an archive's live tiles, checked to be those that were indexed.

    Attributes:
        files: The scenes.
        counts: Number of live tiles of each, int64, shape (scenes,).
        records: The archive's records of them.
        problems: Scenes that cannot be read again, and why.
        renewed: Records of the scenes of which other bands are read than before.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        settings: IndexSettings,
        *,
        bands: Sequence[str],
        same_bands: bool,
        resolution: float | None = None,
        all_of_them: bool = True,
        embedding: PixelEmbedding | None = None,
    ) -> None:
        """Read the headers of all scenes that have tiles.

        Args:
            snapshot: The state of the archive.
            settings: How to read.
            bands: Bands that the new hasher expects.
            same_bands: Whether these are the bands with which the archive was made.
            resolution: Ground size of a pixel that the new hasher asks for, m; None for any.
            all_of_them: Whether all must be readable; scenes that are not are left out otherwise.
            embedding: The embedding whose vectors the pixels are; None if they are pictures.

        Raises:
            SceneError: If tiles cannot be read again; it names their scenes and says why.
        """
        self.settings, self.embedding = settings, embedding
        self.bands = tuple(bands)
        tiles = count_tiles(snapshot)
        permission = Permission(remote_scenes=settings.remote_scenes)
        self.renewed: list[SceneRecord] = []
        self.problems: list[tuple[str, str]] = []
        self.files: list[SceneFile] = []
        self.records: list[SceneRecord] = []
        self._indexes: list[tuple[int, ...]] = []
        for name in sorted(tiles):
            try:
                found = archived_scene(
                    snapshot.records.get(name),
                    bands=self.bands,
                    same_bands=same_bands,
                    resolution=resolution,
                    permission=permission,
                )
            except GeoHashRSError as error:
                self.problems.append((name, one_line(error)))
                continue
            self.files.append(found.file)
            self.records.append(found.record)
            self._indexes.append(found.indexes)
            if found.renewed is not None:
                self.renewed.append(found.renewed)
        if all_of_them:
            self._refuse(self.problems, tiles)
        self.counts = np.array([tiles[file.key] for file in self.files], np.int64)
        self._numbers = {file.key: number for number, file in enumerate(self.files)}
        self._groups = self._grouped()

    @property
    def num_tiles(self) -> int:
        """Number of live tiles."""
        return int(self.counts.sum())

    def _refuse(self, problems: Sequence[tuple[str, str]], tiles: Mapping[str, int]) -> None:
        """Raise an error that names scenes whose tiles cannot be read again, if there are any.

        Raises:
            SceneError: If there are.
        """
        if not problems:
            return
        count = sum(tiles[name] for name, _ in problems)
        listed = "; ".join(f"{name}: {why.rstrip('.')}" for name, why in problems[:NAMED])
        more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        msg = (
            f"{count} tiles of {len(problems)} scenes cannot be read again ({listed}{more}). "
            f"{NEXT_STEP}"
        )
        raise SceneError(msg)

    def _grouped(self) -> list[_Group]:
        """Group the scenes by the settings with which they are read."""
        by_settings: dict[str, list[int]] = {}
        for number, record in enumerate(self.records):
            chosen = [
                record.settings.get(name)
                for name in (
                    "bands",
                    "nodata",
                    "value_range",
                    "resolution",
                    "edges",
                    "tile_size",
                    LARGER,
                )
            ]
            by_settings.setdefault(repr(chosen), []).append(number)
        groups = []
        for numbers in by_settings.values():
            settings = self.records[numbers[0]].settings
            given = settings.get("value_range")
            scenes = Scenes.of_files(
                [self.files[number] for number in numbers],
                bands=settings.get("bands"),
                nodata=settings.get("nodata"),
                value_range=None if given is None else (given[0], given[1]),
            )
            grids = TileGrids.of_settings(settings)
            groups.append(_Group(scenes=scenes, grids=grids, numbers=numbers))
        return groups

    def digests(self) -> dict[str, int]:
        """Return a number for each scene that changes with its record, the bands read included."""
        return {
            record.scene: scene_digest(record, indexes)
            for record, indexes in zip(self.records, self._indexes, strict=True)
        }

    def tile_size(self) -> int | None:
        """Return the smallest tile size of all scenes, px; None if they were cut in others."""
        sizes = {tuple(recorded_sizes(record.settings)) for record in self.records}
        return sizes.pop()[0] if len(sizes) == 1 else None

    def kinds(self) -> tuple[Values, ...]:
        """Find the kinds of values on which a hasher will be fitted, the most frequent first."""
        found: list[Values] = []
        for group in sorted(self._groups, key=lambda one: -int(self.counts[one.numbers].sum())):
            indexes = [self._indexes[number] for number in group.numbers]
            for kind in kinds_of_scenes(group.scenes, self.counts[group.numbers], indexes=indexes):
                if not any(kind.fits(known) for known in found):
                    found.append(kind)
        return tuple(found)

    def check_values(self, known: Sequence[Values]) -> None:
        """Check that the values of all scenes can be converted to those of a hasher.

        Args:
            known: Values that the hasher was made for, its own first.

        Raises:
            SceneError: If a scene holds others; it names the scenes.
        """
        problems = []
        for group in self._groups:
            for place, number in enumerate(group.numbers):
                try:
                    group.scenes.conversion(place, indexes=self._indexes[number], known=known)
                except GeoHashRSError as error:
                    problems.append((self.files[number].key, one_line(error)))
        self._refuse(problems, dict(zip(self._numbers, self.counts.tolist(), strict=True)))

    def check_unchanged(self, numbers: Sequence[int]) -> None:
        """Check that the files of scenes are still those whose headers were read.

        Args:
            numbers: Positions of the scenes.

        Raises:
            SceneError: If one was changed or deleted meanwhile.
        """
        for number in numbers:
            file = self.files[number]
            if state_of(file.files) != (file.size, file.mtime_ns):
                msg = f"{file.key} was changed or deleted while it was read. {NEXT_STEP}"
                raise SceneError(msg)

    def windows(self, segment: Segment, rows: Ints) -> Ints:
        """Return where tiles lie.

        Args:
            segment: A segment of the archive.
            rows: Live rows, shape (n,).

        Returns:
            int64 (scene, col, row, width, height), shape (n, 5).

        Raises:
            SceneError: If a tile has no window in a scene.
        """
        tiles = np.empty((len(rows), 5), np.int64)
        numbers = np.array([self._numbers.get(text, -1) for text in segment.texts("scene")])
        tiles[:, 0] = numbers[segment.numbers("scene", rows)]
        if (tiles[:, 0] < 0).any():
            msg = f"{segment.folder} has tiles of scenes that were not there before. {NEXT_STEP}"
            raise SceneError(msg)
        for column, name in enumerate(WINDOW, start=1):
            found = window_numbers(segment.index, name, rows, block=BLOCK)
            if found.null_count:
                msg = f"{found.null_count} tiles have no window in a scene. {NEXT_STEP}"
                raise SceneError(msg)
            tiles[:, column] = found
        return tiles

    def sample(
        self,
        segments: Sequence[Segment],
        values: Sequence[Values],
        *,
        names: Mapping[str, str],
        size: int,
        seed: int = 0,
    ) -> Generator[SensorTiles, None, None]:
        """Read a sample to fit a hasher on, fair to sensors, places, dates, scenes and tile sizes.

        Args:
            segments: The segments of the archive.
            values: Kinds of values, as from `kinds`.
            names: The sensor of each scene.
            size: Most tiles to read.
            seed: Seed of the choice.

        Yields:
            Batches of raw tiles, and the sensor of each tile.
        """
        wanted = draw_tiles(segments, self.records, size=size, seed=seed)
        drawn = [self.windows(segment, rows) for segment, _, rows in drawn_rows(segments, wanted)]
        chosen = np.concatenate([np.empty((0, 5), np.int64), *drawn])
        chosen = chosen[in_order(chosen)]
        with self.settings.bar("fit", len(chosen), leave=False) as bar:
            for batch, tiles in self.read(chosen, values):
                files = [self.files[number] for number in tiles[:, 0].tolist()]
                yield batch.images, [names[file.key] for file in files]
                bar.update(len(tiles))

    def read(
        self, tiles: Ints, values: Sequence[Values]
    ) -> Generator[tuple[TileBatch, Ints], None, None]:
        """Read tiles as they are read when scenes are indexed.

        Args:
            tiles: int64 (scene, col, row, width, height), ordered by scene, row and column or as
                you like, shape (n, 5).
            values: Values that the hasher was made for, its own first.

        Yields:
            Batches, and their tiles in the order of the images. Tiles of scenes that were read
            with the same settings stay in order.

        Raises:
            SceneError: If a scene can no longer be read.
        """
        for group in self._groups:
            place = np.full(len(self.files), -1, np.int64)
            place[group.numbers] = np.arange(len(group.numbers))
            mine = tiles[place[tiles[:, 0]] >= 0].copy()
            mine[:, 0] = place[mine[:, 0]]
            if not len(mine):
                continue
            indexes = [self._indexes[number] for number in group.numbers]
            reader: TileReader | VectorReader
            if self.embedding is not None:
                pool = self.embedding.pool
                reader = VectorReader(group.scenes, mine, indexes=indexes, pool=pool, in_order=True)
            else:
                reader = TileReader(
                    group.scenes,
                    mine,
                    indexes=indexes,
                    batch_size=self.settings.batch_size or SCENE_BATCH,
                    values=values,
                    shape=group.grids.shapes(group.scenes.scene_files, mine),
                )
            with closing(read_ahead(reader, workers=self.settings.workers)) as batches:
                for batch in batches:
                    _check_complete(batch, group.scenes)
                    whole = batch.tiles.copy()
                    whole[:, 0] = np.array(group.numbers)[whole[:, 0]]
                    yield batch, whole


def in_order(tiles: Ints) -> Ints:
    """Order tiles as they are laid when scenes are indexed: by scene, size, row and column.

    Args:
        tiles: int64 (scene, col, row, width, height), shape (n, 5).

    Returns:
        Positions, int64, shape (n,).
    """
    return np.lexsort((tiles[:, 1], tiles[:, 2], tiles[:, 4], tiles[:, 3], tiles[:, 0]))


def _check_complete(batch: TileBatch, scenes: Scenes) -> None:
    """Check that every tile of a batch was read.

    Raises:
        SceneError: If one was not.
    """
    if batch.failures:
        number, reason = batch.failures[0]
        msg = f"{scenes.scene_files[number].key}: {reason} {NEXT_STEP}"
        raise SceneError(msg)
    if len(batch.tiles) < len(batch.planned):
        lost = np.setdiff1d(batch.planned, batch.tiles[:, 0])
        name = scenes.scene_files[int(lost[0])].key if len(lost) else "a scene"
        count = len(batch.planned) - len(batch.tiles)
        msg = f"{count} tiles have no valid pixel in the bands to be read ({name}). {NEXT_STEP}"
        raise SceneError(msg)
