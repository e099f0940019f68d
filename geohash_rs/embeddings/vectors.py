"""Hash vectors that somebody else computed, and add them to an archive."""

from collections.abc import Collection, Iterable, Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geohash_rs.embeddings.known import known_embedding
from geohash_rs.errors import HasherError, TileTableError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.fit.by_name import Unfitted
from geohash_rs.hashing.fit.embeddings import fit_embedding
from geohash_rs.hashing.fit.training_free import parse_training_free
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.add import pending_hasher
from geohash_rs.indexing.writer import when_free
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.segment.tiles import tiles_from_frame
from geohash_rs.store.segment.vectors import check_vectors

__all__ = ["add_vectors", "check_addable", "check_embedding", "fit_on_vectors", "fitted_for"]

MOST_SAMPLE = 20_000  # vectors to fit a hasher on


def fit_on_vectors(
    archive: CodeStore, vectors: npt.NDArray[np.floating], embedding: Embedding
) -> Hasher:
    """Fit the hasher that an archive was created for on vectors, and store it there.

    Args:
        archive: The archive, whose hasher is pending.
        vectors: A fair sample of the vectors, float, shape (n, dimensions).
        embedding: Where they come from.

    Returns:
        The hasher.

    Raises:
        HasherError: If there are too few vectors, or the pending hasher reads pixels only.
        HasherMismatchError: If another process has fitted it meanwhile.
        HasherNotFoundError: If this version of the package has no hasher of the pending name.
        VectorError: If vectors are zero, NaN or infinite.
    """
    hasher = fitted_for(pending_hasher(archive), vectors, embedding)
    made, bits = hasher.fingerprint, hasher.num_bits
    when_free(lambda: archive.set_hasher(hasher.to_bytes(), fingerprint=made, num_bits=bits))
    return hasher


def fitted_for(
    pending: Unfitted, vectors: npt.NDArray[np.floating], embedding: Embedding, *, seed: int = 0
) -> Hasher:
    """Fit a hasher that was asked for by name on vectors.

    Args:
        pending: The hasher to fit.
        vectors: Vectors to fit it on; of more than 20,000, an even selection is used.
        embedding: Where they come from.
        seed: Seed of the rotation or the hyperplanes.

    Returns:
        The hasher.

    Raises:
        HasherError: If there are too few vectors, or the hasher reads pixels only.
        VectorError: If vectors are zero, NaN or infinite.
    """
    if pending.reads_pixels:
        msg = f"{pending.name} reads pixels, so it cannot hash vectors; use general-BITS."
        raise HasherError(msg)
    method, num_bits = parse_training_free(pending.name)
    rows = np.unique(np.linspace(0, len(vectors) - 1, MOST_SAMPLE).astype(np.int64))
    sample = vectors if len(vectors) <= MOST_SAMPLE else vectors[rows]
    return fit_embedding(
        sample, embedding=embedding, method=method, num_bits=num_bits, name=pending.name, seed=seed
    )


def check_embedding(
    hasher: Hasher, embedding: Embedding, *, what: str, records: Iterable[SceneRecord] = ()
) -> None:
    """Check that a hasher takes the vectors of an embedding.

    Args:
        hasher: The archive's hasher.
        embedding: Where the vectors come from.
        what: What they are, for the message.
        records: The archive's scenes, which may name a model that the hasher does not.

    Raises:
        HasherError: If it reads pixels.
        HasherMismatchError: If it was made for another embedding.
    """
    if hasher.embedding is None:
        msg = (
            f"the archive's hasher {hasher.name} computes features of pixels with "
            f"{hasher.backbone.model_name}, so {what} of {embedding} cannot be added; use another "
            "archive."
        )
        raise HasherError(msg)
    known_embedding(hasher.embedding, records).check_fits(embedding, what=what)


def check_addable(
    archive: CodeStore, vectors: npt.NDArray[np.floating], tiles: gpd.GeoDataFrame
) -> None:
    """Check vectors and tiles before a hasher is fitted on them, which binds the archive.

    Args:
        archive: The archive.
        vectors: Vectors, float, shape (n, length).
        tiles: As in `CodeStore.add_codes`.

    Raises:
        TileTableError: If vectors and tiles differ in number, or a column is wrong.
        VectorError: If the archive cannot keep such vectors.
    """
    if len(vectors) != len(tiles):
        msg = f"there are {len(vectors)} vectors but {len(tiles)} tiles; pass one vector per tile."
        raise TileTableError(msg)
    if archive.pending_hasher:
        tiles_from_frame(tiles)
        if archive.manifest.vectors is not None:
            check_vectors(vectors, archive.manifest.vectors, count=len(tiles))


def add_vectors(
    archive: CodeStore,
    hasher: Hasher,
    vectors: npt.NDArray[np.floating],
    tiles: gpd.GeoDataFrame,
    *,
    scenes: Sequence[SceneRecord] = (),
    replace_scenes: Collection[str] = (),
) -> npt.NDArray[np.int64]:
    """Hash vectors and add them in one commit.

    Args:
        archive: The archive.
        hasher: Its hasher.
        vectors: Vectors, float, shape (n, num_features).
        tiles: As in `CodeStore.add_codes`.
        scenes: Records of the files that hold the vectors.
        replace_scenes: Scenes whose current tiles are removed in the same commit.

    Returns:
        Ids of the tiles, int64, shape (n,), in the order given.

    Raises:
        HasherError: If the archive's hasher reads pixels.
        TileTableError: If vectors and tiles differ in number, or a column is wrong.
        VectorError: If vectors have another length, or are zero, NaN or infinite.
    """
    check_addable(archive, vectors, tiles)
    kept = archive.manifest.vectors is not None
    return archive.add_codes(
        hasher.codes_of(vectors),
        tiles,
        vectors=vectors if kept else None,
        scenes=scenes,
        replace_scenes=replace_scenes,
        fingerprint=hasher.fingerprint,
    )
