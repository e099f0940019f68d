"""Make a query from a patch: read it as the archive's scenes were read, and hash it."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, Protocol

from geohash_rs.codes import pack_codes
from geohash_rs.errors import QueryError
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.embedded import check_version
from geohash_rs.indexing.records import GROUND_SIZE, READING
from geohash_rs.retrieval.examples import Example
from geohash_rs.retrieval.patch import Patch, read_patch
from geohash_rs.retrieval.query import ActivationHasher, Query
from geohash_rs.scenes.band_labels import NAME_SAYS
from geohash_rs.scenes.bands import BY_ORDER, is_by_meaning
from geohash_rs.scenes.file import scene_key
from geohash_rs.scenes.grids import recorded_sizes
from geohash_rs.scenes.sensors import RGB
from geohash_rs.scenes.values import Values
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.searchable import Searchable

__all__ = ["hash_patch", "query_of_patch", "sizes_by_ground"]


class Hashing(Searchable, Protocol):
    """An archive with a hasher."""

    def hasher(self, *, device: str = "cpu") -> Hasher:
        """Return the hasher that makes the codes."""


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
    own = archive.hasher(device=device)
    if own.embedding is not None and not own.reads_pixels and extractor is None:
        own.embedding.refuse_pixels()
    hasher = own if extractor is None else Hasher(extractor, own.head, views=own.views)
    records = [record for record in archive.scenes() if record.num_tiles]
    sizes = sizes_by_ground(records, only=tile_sizes) or {None: {hasher.tile_size}}
    key = scene_key(path)
    if hasher.pixels is not None:
        check_version(hasher.pixels, str(path))
        if value_range is not None:
            msg = (
                f"value_range stretches pictures, but patches hold vectors of {hasher.pixels}, "
                "which are never stretched; leave it out."
            )
            raise QueryError(msg)
    patch = read_patch(
        path,
        names=_names_of_scenes(records) or hasher.bands,
        tile_sizes=sizes,
        window=window,
        bands=bands if bands is not None else _bands_of_scene(records, key),
        named=bool(records) and all(_says_what_it_shows(record) for record in records),
        unnamed=_shared([record.settings.get("bands") for record in records]),
        by_name=_shared([_indexes_by_name(record) for record in records]),
        nodata=_setting_of_scene(records, key, "nodata"),
        values=[*hasher.values, *_ranges_of_scenes(records, len(hasher.bands))],
        value_range=value_range or _setting_of_scene(records, key, "value_range"),
        stretch=stretch,
        pool=None if hasher.pixels is None else hasher.pixels.pool,
    )
    found = query_of_patch(hasher, patch, with_vectors=with_vectors)
    return found if extractor is None else replace(found, hasher=own.fingerprint)


def query_of_patch(hasher: ActivationHasher, patch: Patch, *, with_vectors: bool = False) -> Query:
    """Make a query from a patch.

    Args:
        hasher: The hasher of the archive.
        patch: The patch.
        with_vectors: Whether features are needed to order by.

    Returns:
        The codes and activations of its tiles.
    """
    activations = hasher.activations(patch.tiles).numpy()
    start = patch.windows[:, :2].min(axis=0)
    size = (patch.windows[:, :2] + patch.windows[:, 2:]).max(axis=0) - start
    col, row, width, height = map(int, (*start, *size))
    example = Example(
        name=PurePath(patch.source).name,
        footprint=patch.footprint,
        scene=patch.source,
        window=(col, row, width, height),
    )
    return Query(
        codes=pack_codes(activations),
        footprint=patch.footprint,
        activations=activations,
        source=f"{patch.source}, window {col},{row},{width},{height},",
        vectors=hasher.features(patch.tiles).numpy() if with_vectors else None,
        notes=patch.notes,
        hasher=hasher.fingerprint,
        examples=(example,),
    )


def sizes_by_ground(
    records: Iterable[SceneRecord], *, only: frozenset[int] | None = None
) -> dict[float | None, set[int]]:
    """List the tile sizes of an archive for each ground size of their pixels.

    Args:
        records: The archive's scenes.
        only: Sizes that a search is limited to, px; ignored if no tile has one of them.

    Returns:
        Sizes, px, by metres; metres within two percent of each other count once, None is unknown.
    """
    found: dict[float, set[int]] = {}
    unknown: set[int] = set()
    for record in records:
        if not (own := recorded_sizes(record.settings)):
            continue
        ground = record.settings.get(GROUND_SIZE)
        sizes = unknown if ground is None else found.setdefault(float(ground), set())
        sizes.update(own)
    distinct: dict[float | None, set[int]] = {None: unknown} if unknown else {}
    last = 0.0
    for ground in sorted(found):
        if ground > last * 1.02:
            last = ground
            distinct[last] = set()
        distinct[last] |= found[ground]
    limited = {ground: sizes & (only or sizes) for ground, sizes in distinct.items()}
    return {ground: sizes for ground, sizes in limited.items() if sizes} or distinct


def _bands_of_scene(records: Sequence[SceneRecord], key: str) -> list[int | str] | None:
    """Return the bands that a scene was read with; None for a file that is not in the archive."""
    for record in records:
        if record.scene == key:
            reading = record.settings.get(READING) or {}
            found: list[int | str] | None = reading.get("indexes", record.settings.get("bands"))
            return found
    return None


def _names_of_scenes(records: Sequence[SceneRecord]) -> list[str] | None:
    """Return what the bands chosen for all scenes show, unless it is red, green and blue.

    If scenes feed near infrared, red and green to a hasher of photographs, a patch must do the
    same. Red, green and blue in another order only mean that the flags of a file were overridden.
    """
    asked = [record for record in records if record.settings.get("bands") is not None]
    if not asked or len(asked) < len(records):
        return None
    labels = _shared([(r.settings.get(READING) or {}).get("labels") for r in asked])
    known = labels is not None and all(labels) and len(set(labels)) == len(labels)
    return labels if known and labels is not None and set(labels) != set(RGB) else None


def _says_what_it_shows(record: SceneRecord) -> bool:
    """Return whether a scene's bands were chosen by what they show."""
    return is_by_meaning((record.settings.get(READING) or {}).get("by", BY_ORDER))


def _indexes_by_name(record: SceneRecord) -> list[int] | None:
    """Return the bands of a scene if its file name says what they show."""
    reading = record.settings.get(READING) or {}
    return reading.get("indexes") if NAME_SAYS in reading.get("by", "") else None


def _shared(choices: Sequence[list[Any] | None]) -> list[Any] | None:
    """Return the choice that all share, or None."""
    distinct = {tuple(choice or ()) for choice in choices}
    return list(distinct.pop()) or None if len(distinct) == 1 else None


def _ranges_of_scenes(records: Sequence[SceneRecord], num_bands: int) -> list[Values]:
    """Describe the values that the user's range converted to the hasher's, if it was one range."""
    ranges = {tuple(r.settings["value_range"]) for r in records if "value_range" in r.settings}
    if len(ranges) != 1:
        return []
    low, high = ranges.pop()
    given = Values.of_range([low] * num_bands, [high] * num_bands)
    return [given, replace(given, physical=True)]


def _setting_of_scene(records: Sequence[SceneRecord], key: str, name: str) -> Any:  # noqa: ANN401
    """Return a setting that a scene was read with; None for a file that is not in the archive."""
    return next((r.settings.get(name) for r in records if r.scene == key), None)
