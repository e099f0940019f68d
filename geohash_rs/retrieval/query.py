"""Make one query from examples: patches, places and tiles, positive and negative."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from geohash_rs.codes import pack_codes
from geohash_rs.errors import HasherMismatchError, QueryError, TileNotFoundError
from geohash_rs.retrieval.at_point import explain_none, tiles_at
from geohash_rs.retrieval.examples import Example, place_text, tile_examples
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "ActivationHasher",
    "Query",
    "check_hasher",
    "join_queries",
    "query_of_point",
    "query_of_tile",
    "query_of_vectors",
]


class ActivationHasher(Protocol):
    """What a query needs from a hasher."""

    @property
    def fingerprint(self) -> str:
        """Identifies the hasher."""

    def activations(self, tiles: "Tensor") -> "Tensor":
        """Compute activations in [0, 1], shape (tiles, bits), of raw pixels."""

    def features(self, tiles: "Tensor") -> "Tensor":
        """Compute features, shape (tiles, length), of raw pixels."""

    def activations_of(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Compute activations, shape (n, bits), of features."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """Examples of what to find, and of what not to find.

    Attributes:
        codes: Packed codes, uint8, shape (tiles, bits / 8); a tile is compared with the nearest.
        footprint: Ground that the query covers, EPSG:4326, or None if it has no place.
        activations: Activations of the codes, float32, shape (tiles, bits); None for tiles of an
            archive, which stores only bits.
        source: Id of the archive's tile, or path and window of the patch.
        negatives: Packed codes of what not to find, uint8, shape (negatives, bits / 8).
        left_out: Ids of tiles to leave out of the matches.
        vectors: Feature vectors from which the codes were made, float32, shape (tiles, length);
            None unless they are needed to order by.
        notes: What was decided about the bands of a patch and may be wrong, one sentence each.
        hasher: Fingerprint of the hasher that made the codes of a patch; None for other codes.
        examples: What the codes were made of.
        wrong: What the negative codes were made of.
    """

    codes: npt.NDArray[np.uint8]
    footprint: BaseGeometry | None
    activations: npt.NDArray[np.float32] | None = None
    source: int | str | None = None
    negatives: npt.NDArray[np.uint8] | None = None
    left_out: tuple[int, ...] = ()
    vectors: npt.NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
    hasher: str | None = None
    examples: tuple[Example, ...] = ()
    wrong: tuple[Example, ...] = ()


def check_hasher(archive: Searchable, queries: Iterable[Query]) -> None:
    """Check that the codes of patches can be compared with those of an archive.

    Args:
        archive: One state of the archive.
        queries: The queries.

    Raises:
        HasherMismatchError: If the archive has been refitted since a patch was hashed.
    """
    known = archive.hasher_fingerprint
    for query in queries:
        if query.hasher is not None and query.hasher != known:
            msg = (
                f"the patch was hashed by hasher {query.hasher[:16]}, but the codes of "
                f"{archive.path} are of {(known or 'none')[:16]}, perhaps because it was refitted; "
                "hash the patch again."
            )
            raise HasherMismatchError(msg)


def query_of_vectors(
    hasher: ActivationHasher, vectors: npt.NDArray[np.floating], *, source: str
) -> Query:
    """Make a query from feature vectors.

    Args:
        hasher: The hasher of the archive.
        vectors: The vectors, float, shape (n, num_features).
        source: What they are, such as a file's name.

    Returns:
        Their codes and activations; it has no place on the Earth.

    Raises:
        VectorError: If they have another length, or one is zero, NaN or infinite.
    """
    activations = hasher.activations_of(vectors)
    return Query(
        codes=pack_codes(activations),
        footprint=None,
        activations=activations,
        source=source,
        vectors=vectors.astype(np.float32),
        hasher=hasher.fingerprint,
        examples=(Example(name=source),),
    )


def query_of_point(
    archive: Searchable,
    point: Sequence[float],
    *,
    where: Where | None = None,
    with_vectors: bool = False,
) -> Query:
    """Make a query from the archive's tile at a place.

    Args:
        archive: The archive.
        point: Longitude and latitude, degrees.
        where: Limits on the tile; its region is ignored.
        with_vectors: Whether its feature vector is needed to order by.

    Returns:
        The code of the first of `tiles_at`.

    Raises:
        QueryError: If the point is not valid, or no tile is there that passes the limits.
    """
    limits = Where() if where is None else where
    tiles = tiles_at(archive, point, where=limits)
    if tiles.empty:
        raise QueryError(explain_none(archive, point, where=limits))
    ids = tiles["tile_id"].to_numpy()[:1]
    return Query(
        codes=archive.codes(ids),
        footprint=tiles.geometry.iloc[0],
        source=int(ids[0]),
        vectors=archive.vectors(ids) if with_vectors else None,
        examples=tile_examples(tiles.head(1), place=place_text(*point)),
    )


def query_of_tile(archive: Searchable, tile_id: int, *, with_vectors: bool = False) -> Query:
    """Make a query from a tile of the archive.

    Args:
        archive: The archive.
        tile_id: Its id.
        with_vectors: Whether its feature vector is needed to order by.

    Returns:
        Its code.

    Raises:
        QueryError: If the id is not a whole number.
        TileNotFoundError: If the archive has no such tile.
    """
    try:
        tile_id = operator.index(tile_id)
    except TypeError as error:
        msg = f"tile id {tile_id!r} is not a whole number; ids are in the column tile_id."
        raise QueryError(msg) from error
    if not 0 <= tile_id < 2**63:
        msg = f"{archive.path} has no tile with id {tile_id}; ids are in the column tile_id."
        raise TileNotFoundError(msg)
    ids = np.array([tile_id], dtype=np.int64)
    tiles = archive.tiles(ids)
    return Query(
        codes=archive.codes(ids),
        footprint=tiles.geometry.iloc[0],
        source=tile_id,
        vectors=archive.vectors(ids) if with_vectors else None,
        examples=tile_examples(tiles),
    )


def join_queries(positives: Sequence[Query], negatives: Sequence[Query] = ()) -> Query:
    """Join positive and negative examples into one query.

    Args:
        positives: Examples of what to find.
        negatives: Examples of what not to find; the archive's tiles among them are left out of the
            matches.

    Returns:
        One query.

    Raises:
        QueryError: If there is no positive example, or a tile is an example of both.
    """
    if not positives:
        lack = f"only {len(negatives)} negative ones" if negatives else "none"
        msg = (
            f"a search needs a positive example, but has {lack}; pass a patch, a vector, a tile or "
            "a point."
        )
        raise QueryError(msg)
    right = {query.source for query in positives}
    both = [query.source for query in negatives if query.source in right - {None}]
    if both:
        what = f"tile {both[0]}" if isinstance(both[0], int) else both[0]
        msg = f"{what} is both a positive and a negative example; leave one of them out."
        raise QueryError(msg)
    places = [query.footprint for query in positives if query.footprint is not None]
    activations = [query.activations for query in positives if query.activations is not None]
    vectors = [query.vectors for query in positives if query.vectors is not None]
    return Query(
        codes=np.concatenate([query.codes for query in positives]),
        footprint=shapely.union_all(places) if places else None,
        activations=np.concatenate(activations) if len(activations) == len(positives) else None,
        vectors=np.concatenate(vectors) if len(vectors) == len(positives) else None,
        negatives=np.concatenate([query.codes for query in negatives]) if negatives else None,
        left_out=tuple(q.source for q in negatives if isinstance(q.source, int)),
        examples=tuple(example for query in positives for example in query.examples),
        wrong=tuple(example for query in negatives for example in query.examples),
    )
