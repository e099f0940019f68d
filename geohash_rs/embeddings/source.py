"""What a file of published vectors gives to an archive: a door for every format."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geohash_rs.hashing.embedding import Embedding
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["LEFT_OUT", "PROGRESS", "Flaw", "VectorBatch", "VectorSource", "Vectors"]

# Settings of a record: the position up to which its source is in the archive, while it is not yet
# complete, and the number of vectors left out.
PROGRESS = "vectors_read"
LEFT_OUT = "vectors_left_out"

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Flaw:
    """Rows of a batch that have something wrong.

    Attributes:
        reason: What, the same text for all of them, such as "with NaN in 'embedding'".
        count: How many.
        first: Where the first of them is, such as "row 17 (row group 0)".
    """

    reason: str
    count: int
    first: str


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorBatch:
    """Vectors and their tiles, in the order of their source.

    Attributes:
        vectors: Finite vectors, none of them zero, float32, shape (n, dimensions); n may be 0.
        tiles: n rows with the columns of `CodeStore.add_codes`; `scene` is the key of the source.
        stop: Position in the source from which to go on after this batch.
        left_out: What was read for this batch and is not in it.
        mended: What is in it although something of it was missing or had to be repaired.
        digests: A number for each row, to find equal rows of other sources, uint64, shape (n,);
            None if equal rows mean nothing.
    """

    vectors: Vectors
    tiles: gpd.GeoDataFrame
    stop: int
    left_out: Sequence[Flaw] = ()
    mended: Sequence[Flaw] = ()
    digests: npt.NDArray[np.uint64] | None = None

    @property
    def num_left_out(self) -> int:
        """Number of vectors that were read for this batch and are not in it."""
        return sum(part.count for part in self.left_out)


class VectorSource(Protocol):
    """A file, table or group of a store that holds vectors of one model.

    Making one reads at most a few vectors.
    """

    @property
    def key(self) -> str:
        """Name of the scene in an archive: absolute path or URI, or a name given to a table."""

    @property
    def name(self) -> str:
        """A short name for messages."""

    @property
    def embedding(self) -> Embedding:
        """The model of the vectors, and their number of dimensions."""

    @property
    def record(self) -> SceneRecord:
        """The present state of the source and all choices that decide on its tiles.

        Without `num_tiles`, `PROGRESS` and `LEFT_OUT`, which are added: a source whose record is
        otherwise the same is not read again.
        """

    @property
    def files(self) -> Sequence[str]:
        """The local files that it is made of, to compare by checksum.

        None for a table in memory, whose record has a checksum itself.
        """

    @property
    def notes(self) -> Sequence[str]:
        """Choices made for the user, one sentence each."""

    @property
    def num_rows(self) -> int | None:
        """Number of vectors, for a progress bar; None if unknown."""

    def sample(self, size: int, *, seed: int = 0) -> Vectors:
        """Read vectors from all parts of the source, to fit a hasher on.

        Args:
            size: Most vectors.
            seed: Seed of the choice.

        Returns:
            Good vectors as in `VectorBatch`, shape (at most size, dimensions).

        Raises:
            SceneError: If the source cannot be read.
        """

    def batches(self, start: int = 0) -> Iterator[VectorBatch]:
        """Read all vectors from a position on, always in the same order.

        Args:
            start: 0, or the `stop` of a batch of an earlier run.

        Yields:
            Batches of bounded size.

        Raises:
            SceneError: If the source can no longer be read, or was changed meanwhile.
        """
