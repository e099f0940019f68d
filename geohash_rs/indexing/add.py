"""The steps that add imagery to an archive: plan, sample and fit, read, hash, commit."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import Protocol, TypeVar

from geohash_rs.errors import HasherNotFoundError
from geohash_rs.hashing.fit.by_name import Unfitted
from geohash_rs.hashing.fit.training_free import SensorTiles
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.indexing.encode import EncodedTiles
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.indexing.writer import ArchiveWriter, when_free
from geohash_rs.scenes.values import Values
from geohash_rs.store.code_store import CodeStore

__all__ = ["Imagery", "add_imagery", "fit_pending", "pending_hasher"]

# Tracing the network pays off from this many tiles.
TRACE_TILES = 300

Batch = TypeVar("Batch")


class Imagery(Protocol[Batch]):
    """Scenes or a dataset, as `add_imagery` needs them.

    Attributes:
        settings: How to read and hash it.
        report: What was added so far, and what was not.
        bands: Names of the bands, after `plan`; None names them by number.
        tile_size: Columns and rows of a tile, px; None uses those of the samples.
        embedding: The embedding whose vectors the pixels are; None if they are pictures.
    """

    settings: IndexSettings
    report: AddReport
    bands: Sequence[str] | None
    tile_size: int | None
    embedding: PixelEmbedding | None

    @property
    def values(self) -> Sequence[Values]:
        """Kinds of values of the sample, after it is read; others are converted to the first."""

    @property
    def num_tiles(self) -> int | None:
        """Number of tiles to read, after `plan`; None if unknown."""

    def plan(self, bands: Sequence[str] | None, values: Sequence[Values] = ()) -> None:
        """Choose what to read.

        Args:
            bands: Names of the bands that the hasher expects, or None if it accepts any.
            values: Values that the hasher was made for; empty if it has not been fitted yet.

        Raises:
            BandMismatchError: If nothing has these bands.
            SceneError: If ``strict``, and a scene cannot be added.
            TileSizeError: If every scene is smaller than a tile.
        """

    def sample(self) -> Iterator[SensorTiles] | None:
        """Read a representative sample to fit a hasher on.

        Returns:
            Batches of raw tiles, each of shape (tiles, bands, height, width), and the sensor of
            each tile; None if nothing can be read; the report says why.
        """

    def read(self, bands: Sequence[str]) -> Generator[Batch, None, None]:
        """Read everything that was planned.

        Args:
            bands: Names of the hasher's bands.

        Yields:
            Batches for `encode`.
        """

    def encode(self, batch: Batch, hasher: Hasher) -> Iterator[EncodedTiles]:
        """Hash a batch, and record the outcome in the report.

        Args:
            batch: From `read`.
            hasher: The archive's hasher.

        Yields:
            Codes and tiles that are ready to commit.
        """


def add_imagery(archive: CodeStore, imagery: Imagery[Batch], hasher: Hasher | None) -> AddReport:
    """Add imagery to an archive.

    An interrupted run keeps the scenes that it finished.

    Args:
        archive: The archive.
        imagery: The imagery.
        hasher: The archive's hasher; None fits it on this imagery first.

    Returns:
        What was added, and what was not.

    Raises:
        BandMismatchError: As in `Imagery.plan`.
        HasherError: If there are too few tiles to fit the hasher on, or it is one of pictures but
            the imagery is an embedding.
        HasherNotFoundError: If this version of the package has no hasher of the pending name.
        SceneError: With ``strict``, if a scene cannot be added.
        TileSizeError: As in `Imagery.plan`.
    """
    expected = hasher or pending_hasher(archive)
    if isinstance(expected, Unfitted) and imagery.embedding is not None:
        expected.check_takes(imagery.embedding)
    imagery.plan(expected.bands, () if hasher is None else hasher.values)
    if imagery.num_tiles == 0:
        return imagery.report
    if hasher is None:
        if (hasher := fit_pending(archive, imagery)) is None:
            return imagery.report
    elif (imagery.num_tiles or 0) >= TRACE_TILES:
        hasher.accelerate()
    with (
        ArchiveWriter(archive, hasher.fingerprint) as writer,
        imagery.settings.bar("index", imagery.num_tiles) as bar,
        closing(imagery.read(hasher.bands)) as batches,  # always ends reading processes
    ):
        for batch in batches:
            for encoded in imagery.encode(batch, hasher):
                bar.update(encoded.num_read)
                writer.take(encoded)
    return imagery.report


def pending_hasher(archive: CodeStore) -> Unfitted:
    """Find the hasher that an archive was created for, but that has not been fitted yet.

    Args:
        archive: The archive, whose hasher is to be fitted on the first imagery.

    Returns:
        The hasher, not fitted yet.

    Raises:
        HasherNotFoundError: If this version of the package has no hasher of that name.
    """
    found = Unfitted.find(archive.pending_hasher)
    if found is None:
        msg = (
            f"{archive.path} was created for the hasher {archive.pending_hasher!r}, which this "
            "version does not have; update geohash-rs."
        )
        raise HasherNotFoundError(msg)
    return found


def fit_pending(archive: CodeStore, imagery: Imagery[Batch]) -> Hasher | None:
    """Fit the hasher that an archive was created for, and store it there.

    Args:
        archive: The archive.
        imagery: The imagery, after `Imagery.plan`.

    Returns:
        The hasher; None if nothing can be read; the report says why.

    Raises:
        HasherError: If there are too few tiles.
        HasherNotFoundError: As in `pending_hasher`.
    """
    if (sample := imagery.sample()) is None:
        return None
    hasher = pending_hasher(archive).fit(
        sample,
        bands=imagery.bands,
        values=imagery.values,
        tile_size=imagery.tile_size,
        device=imagery.settings.device,
        # each tile is hashed in two views; a sample of unknown size counts as full
        accelerate=imagery.num_tiles is None or 2 * imagery.num_tiles >= TRACE_TILES,
        embedding=imagery.embedding,
    )
    made, bits = hasher.fingerprint, hasher.num_bits
    when_free(lambda: archive.set_hasher(hasher.to_bytes(), fingerprint=made, num_bits=bits))
    return hasher
