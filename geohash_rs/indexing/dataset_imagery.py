"""Add the samples of any TorchGeo dataset to an archive."""

import warnings
from collections.abc import Generator, Iterable, Iterator, Sequence, Sized
from contextlib import closing
from dataclasses import replace
from itertools import chain

from geohash_rs._compat import is_batch_sampler
from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.hashing.fit.training_free import SensorTiles
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.indexing.encode import EncodedTiles, encode_located
from geohash_rs.indexing.records import file_record
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.sample_values import SampleValues
from geohash_rs.indexing.samples import LocatedTile, Samples, images_of
from geohash_rs.indexing.settings import FIT_TILES, IndexSettings
from geohash_rs.scenes.bands import are_different
from geohash_rs.scenes.sensors import meanings_of
from geohash_rs.scenes.values import Values
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.health import name_sensors

__all__ = ["DatasetImagery"]

Batch = list[LocatedTile]


class DatasetImagery:
    """A geo dataset with its sampler, or a non-geo dataset of georeferenced files; an `Imagery`.

    Steps and errors are those of `Imagery`.
    """

    def __init__(
        self,
        archive: CodeStore,
        samples: Samples,
        settings: IndexSettings,
        *,
        tile_size: int | None = None,
        embedding: PixelEmbedding | None = None,
    ) -> None:
        """Read which scenes the archive has.

        Args:
            archive: The archive.
            samples: The dataset's samples.
            settings: How to read and hash them.
            tile_size: Tile size to store in a newly fitted hasher; None uses that of the samples.
            embedding: The embedding whose vectors the pixels are; None if they are pictures.
        """
        self.embedding = embedding
        self.samples, self.settings, self.tile_size = samples, settings, tile_size
        self.report = AddReport()
        self.bands: Sequence[str] | None = None
        self.num_tiles: int | None = None
        self._known = {record.scene for record in archive.scenes()}
        self._form = archive.manifest.vectors
        self._values = SampleValues()
        self._names: set[str] = set()
        self._told: set[tuple[str, str | None]] = set()  # failures of a scene with many samples
        self._sampled: list[Batch] = []
        self._warned = False

    def plan(self, bands: Sequence[str] | None, values: Sequence[Values] = ()) -> None:
        """Start reading; the bands of a dataset are known only from its samples."""
        del bands
        self._values = SampleValues(values)
        sampler = self.samples.sampler
        # The length of a batch sampler counts batches, not tiles. A length of 0 counts as unknown,
        # so that reading reports it.
        if isinstance(sampler, Sized) and not is_batch_sampler(sampler):
            self.num_tiles = len(sampler) or None
        self._batches: Generator[Batch, None, None] = self.samples.read(self.settings)

    @property
    def values(self) -> Sequence[Values]:
        """Kinds of values of the samples; others are converted to the first."""
        return self._values.known

    def sample(self) -> Iterator[SensorTiles] | None:
        """Read the first samples, and keep them."""
        count = 0
        while count < FIT_TILES and (batch := next(self._batches, None)) is not None:
            self._sampled.append(batch)
            count += len(batch)
        if count < FIT_TILES:
            self.num_tiles = count  # there are no others
        tiles = [tile for batch in self._sampled for tile in batch]
        if tiles and all(tile.failure is not None for tile in tiles):
            self._report_failures(tiles)
            return None
        if self.embedding is None:
            self._values.gather(self._sampled)
        return self._of_sensors()

    def _of_sensors(self) -> Iterator[SensorTiles]:
        """Yield the first samples, with the sensor of each."""
        kinds = sorted({(t.ground_size, t.dtype) for batch in self._sampled for t in batch})
        sensors = dict(
            zip(
                kinds,
                name_sensors([size for size, _ in kinds], [dtype for _, dtype in kinds]),
                strict=True,
            )
        )
        for images, tiles in images_of(self._values.convert(batch) for batch in self._sampled):
            yield images, [sensors[tile.ground_size, tile.dtype] for tile in tiles]

    def read(self, bands: Sequence[str]) -> Generator[Batch, None, None]:
        """Read all samples, starting with those on which a hasher was fitted."""
        del bands
        with closing(self._batches) as batches:  # always ends reading processes
            yield from chain(self._sampled, batches)

    def encode(self, batch: Batch, hasher: Hasher) -> Iterator[EncodedTiles]:
        """Hash samples, except files that the archive already has."""
        fresh = [tile for tile in batch if not (tile.whole_file and tile.scene in self._known)]
        self.report.unchanged += sorted({t.scene for t in batch} - {t.scene for t in fresh})
        fresh = self._values.convert(fresh)
        self._report_failures(fresh)
        self.report.num_nodata += sum(t.image is None and t.failure is None for t in fresh)
        files = [t for t in fresh if t.whole_file and t.image is not None]
        records = [file_record(tile, self.samples.dataset) for tile in files]
        self._warn_of_bands(fresh, hasher)
        encoded = encode_located(fresh, hasher, form=self._form)
        self._names.update(encoded.tiles["scene"])
        self.report.num_tiles += len(encoded.tiles)
        self.report.num_scenes = len(self._names)
        yield replace(encoded, num_read=len(batch), records=records)

    def _report_failures(self, tiles: Iterable[LocatedTile]) -> None:
        """Report why samples could not be read, once for each scene and reason."""
        for tile in tiles:
            told = (tile.scene, tile.failure)
            if tile.failure is not None and told not in self._told:
                self._told.add(told)
                self.report.skip(tile.scene, tile.failure, strict=self.settings.strict)

    def _warn_of_bands(self, tiles: Iterable[LocatedTile], hasher: Hasher) -> None:
        """Warn once if bands show something else than the hasher expects.

        The dataset's transforms may bring them into its order, so they are read all the same.
        """
        if self._warned:
            return
        expected = meanings_of(hasher.bands)
        for tile in tiles:
            same_count = len(tile.shows) == len(expected)
            if same_count and any(map(are_different, tile.shows, expected)):
                self._warned = True
                msg = (
                    f"the bands of {tile.scene} are {', '.join(s or '?' for s in tile.shows)}, but "
                    f"the hasher expects {', '.join(hasher.bands)}, and a dataset is read in its "
                    "own order. Pass bands=... to the dataset, or its files to Scenes(...), unless "
                    "its transforms reorder them."
                )
                warnings.warn(msg, GeoHashRSWarning, stacklevel=2)
                return
