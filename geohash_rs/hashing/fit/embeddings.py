"""Fit the hasher of an embedding on vectors that somebody else computed."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.codes import check_num_bits
from geohash_rs.errors import HasherError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.feature_arrays import check_features
from geohash_rs.hashing.fit.itq import itq_head, lsh_head
from geohash_rs.hashing.fit.nearest import nearest_head
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.heads import LinearHead

__all__ = ["fit_embedding"]


def fit_embedding(
    vectors: npt.ArrayLike,
    *,
    embedding: Embedding,
    method: str = "general",
    num_bits: int = 64,
    name: str = "",
    seed: int = 0,
) -> Hasher:
    """Fit a hasher on vectors, without labels, pixels or a network.

    Args:
        vectors: A sample of the vectors, float, shape (n, dimensions).
        embedding: Where they come from.
        method: "general" (keeps most neighbours), "itq", "lsh" (random hyperplanes) or "signs"
            (one bit for each dimension).
        num_bits: Bits per code.
        name: A display name. Default: method and bits.
        seed: Seed of the rotation or the hyperplanes.

    Returns:
        The hasher.

    Raises:
        HasherError: If the method is unknown, there are too few vectors or all are equal, or it
            cannot make so many bits.
        VectorError: If vectors have another shape, are zero, NaN or infinite.
        CodeLengthError: If the bits cannot be packed.
    """
    check_num_bits(num_bits)
    found = check_features(vectors, length=embedding.dimensions)
    sample = torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))
    if method not in HEADS:
        msg = f"method {method!r} is not one of {', '.join(HEADS)}."
        raise HasherError(msg)
    head = HEADS[method](sample, num_bits=num_bits, seed=seed)
    notes = {"fitted_on": f"{len(sample)} vectors of {embedding}"}
    return Hasher(embedding, head, name=name or f"{method}-{num_bits}", notes=notes)


def _signs(features: Tensor, *, num_bits: int, seed: int) -> LinearHead:  # noqa: ARG001 - as others
    """Take the sign of each dimension.

    Raises:
        HasherError: If there are more or fewer bits than dimensions.
    """
    length = features.shape[1]
    if num_bits != length:
        msg = f"signs of {length} dimensions are {length} bits, not {num_bits}; use signs-{length}."
        raise HasherError(msg)
    head = LinearHead(length, length)
    with torch.no_grad():
        head.projection.weight.copy_(torch.eye(length))
        head.projection.bias.zero_()
    return head


HEADS = {"general": nearest_head, "itq": itq_head, "lsh": lsh_head, "signs": _signs}
