"""Make queries from patches: read them as the archive's scenes were read, and hash them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from geohash_rs.errors import GeoHashRSError, GeoHashRSWarning, PatchError
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.retrieval.patch import Patch
from geohash_rs.retrieval.patch_reading import Hashing, Reading
from geohash_rs.retrieval.query import Query

__all__ = ["hash_patch", "hash_patches"]

TILES_AT_ONCE = 256  # hashed together
MOST_NOTES = 3  # patches whose notes a warning repeats


def hash_patch(
    archive: Hashing,
    path: str | Path,
    *,
    window: Sequence[int] | None = None,
    bands: Sequence[int | str] | None = None,
    value_range: tuple[float, float] | None = None,
    stretch: bool = False,
    device: str = "cpu",
    tile_sizes: frozenset[int] | None = None,
    extractor: Extractor | None = None,
    with_vectors: bool = False,
) -> Query:
    """Read a patch as the archive's scenes were read, and hash it.

    Args:
        archive: The archive.
        path: Path or URI of a georeferenced raster.
        window: Column, row, width and height of the part to use, px.
        bands: As in `ImageQueries.query`.
        value_range: As in `ImageQueries.query`; None uses the one with which this scene was
            indexed, if any.
        stretch: Whether to stretch a patch of another kind of values, with a warning, or refuse it.
        device: Device that runs the network.
        tile_sizes: Those of the archive's tile sizes that the search is limited to, px.
        extractor: As in `ImageQueries.query`.
        with_vectors: Whether features are needed to order by.

    Returns:
        The patch as a query.

    Raises:
        HasherError: If the archive has no hasher (yet).
        HasherMismatchError: If the patch holds another version of the archive's embedding.
        QueryError: If a range of values is given for vectors.
        PatchError: If the patch cannot be read.
        SceneError: If it cannot be placed.
        BandMismatchError: If its bands do not fit the hasher.
        ValueMismatchError: If its values do not fit the hasher, and ``stretch`` is false.
    """
    reading = Reading.of(
        archive,
        bands=bands,
        value_range=value_range,
        stretch=stretch,
        device=device,
        tile_sizes=tile_sizes,
        extractor=extractor,
    )
    patch = reading.read(path, window=window)
    for note in patch.notes:
        warnings.warn(note, GeoHashRSWarning, stacklevel=2)
    (found,) = reading.queries_of([patch], with_vectors=with_vectors)
    return found


def hash_patches(
    archive: Hashing,
    paths: Sequence[str | Path],
    *,
    with_vectors: bool = False,
    **settings: Any,  # noqa: ANN401 - those of `Reading.of`
) -> list[Query | GeoHashRSError]:
    """Read and hash many patches, several at a time.

    One warning says what is doubtful about them.

    Args:
        archive: The archive.
        paths: Paths or URIs of georeferenced rasters.
        with_vectors: Whether features are needed to order by.
        **settings: ``bands``, ``value_range``, ``stretch``, ``device``, ``tile_sizes`` and
            ``extractor`` of `hash_patch`.

    Returns:
        Each patch as a query, or the reason why it cannot be used.

    Raises:
        HasherError: If the archive has no hasher (yet).
        QueryError: If a range of values is given for vectors.
    """
    reading = Reading.of(archive, **settings)
    found: list[Query | GeoHashRSError] = []
    waiting: list[Patch] = []
    places: list[int] = []
    notes: list[str] = []

    def hash_waiting() -> None:
        for place, query in zip(
            places, reading.queries_of(waiting, with_vectors=with_vectors), strict=True
        ):
            found[place] = query
        waiting.clear()
        places.clear()

    for path in paths:
        try:
            patch = reading.read(path)
        except GeoHashRSError as error:
            found.append(error)
            continue
        notes += [" ".join(patch.notes)] if patch.notes else []
        places.append(len(found))
        waiting.append(patch)
        found.append(PatchError())  # until it is hashed
        if sum(len(one.tiles) for one in waiting) >= TILES_AT_ONCE:
            hash_waiting()
    hash_waiting()
    if notes:
        more = " ..." if len(notes) > MOST_NOTES else ""
        msg = f"{len(notes)} of {len(paths)} patches are doubtful: {' '.join(notes[:MOST_NOTES])}"
        warnings.warn(f"{msg}{more}", GeoHashRSWarning, stacklevel=2)
    return found
