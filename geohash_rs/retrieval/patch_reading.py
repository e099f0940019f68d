"""How patches are read and hashed for an archive: as its scenes were."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch

from geohash_rs.codes import pack_codes
from geohash_rs.errors import QueryError
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.records import GROUND_SIZE, READING
from geohash_rs.retrieval.examples import Example
from geohash_rs.retrieval.patch import Patch, read_patch
from geohash_rs.retrieval.query import Query
from geohash_rs.scenes.band_labels import NAME_SAYS
from geohash_rs.scenes.bands import BY_ORDER, is_by_meaning
from geohash_rs.scenes.file import scene_key
from geohash_rs.scenes.grids import recorded_sizes
from geohash_rs.scenes.sensors import RGB
from geohash_rs.scenes.values import Values
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.searchable import Searchable

__all__ = ["Hashing", "Reading"]


class Hashing(Searchable, Protocol):
    """An archive with a hasher."""

    def hasher(self, *, device: str = "cpu") -> Hasher:
        """Return the hasher that makes the codes."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Reading:
    """How patches are read and hashed for an archive.

    Attributes:
        hasher: Hashes the patches.
        fingerprint: Identifies the archive's own hasher.
        records: The archive's scenes that have tiles.
        sizes: Tile sizes, px, by the ground size of their pixels, m; None is unknown.
        bands: As in `hash_patch`.
        value_range: As in `hash_patch`.
        stretch: As in `hash_patch`.
    """

    hasher: Hasher
    fingerprint: str
    records: Sequence[SceneRecord]
    sizes: Mapping[float | None, Collection[int]]
    bands: Sequence[int | str] | None
    value_range: tuple[float, float] | None
    stretch: bool

    @classmethod
    def of(
        cls,
        archive: Hashing,
        *,
        bands: Sequence[int | str] | None = None,
        value_range: tuple[float, float] | None = None,
        stretch: bool = False,
        device: str = "cpu",
        tile_sizes: frozenset[int] | None = None,
        extractor: Extractor | None = None,
    ) -> Self:
        """Read from an archive how its scenes were read.

        Args:
            archive: The archive.
            bands: As in `hash_patch`.
            value_range: As in `hash_patch`.
            stretch: As in `hash_patch`.
            device: As in `hash_patch`.
            tile_sizes: As in `hash_patch`.
            extractor: As in `hash_patch`.

        Returns:
            How to read patches.

        Raises:
            HasherError: If the archive has no hasher (yet).
            QueryError: If a range of values is given for vectors.
        """
        own = archive.hasher(device=device)
        if own.embedding is not None and not own.reads_pixels and extractor is None:
            own.embedding.refuse_pixels()
        hasher = own if extractor is None else Hasher(extractor, own.head, views=own.views)
        if hasher.pixels is not None and value_range is not None:
            msg = (
                f"value_range stretches pictures, but patches hold vectors of {hasher.pixels}, "
                "which are never stretched; leave it out."
            )
            raise QueryError(msg)
        records = [record for record in archive.scenes() if record.num_tiles]
        return cls(
            hasher=hasher,
            fingerprint=own.fingerprint,
            records=records,
            sizes=_sizes_by_ground(records, only=tile_sizes) or {None: {hasher.tile_size}},
            bands=bands,
            value_range=value_range,
            stretch=stretch,
        )

    def read(self, path: str | Path, *, window: Sequence[int] | None = None) -> Patch:
        """Read a patch.

        Args:
            path: As in `hash_patch`.
            window: As in `hash_patch`.

        Returns:
            Its tiles. Raises the errors of `hash_patch`.
        """
        hasher, records, key = self.hasher, self.records, scene_key(path)
        if hasher.pixels is not None:
            from geohash_rs.indexing.embedded import check_version

            check_version(hasher.pixels, str(path))
        return read_patch(
            path,
            names=self._names,
            tile_sizes=self.sizes,
            window=window,
            bands=self.bands if self.bands is not None else _bands_of_scene(records, key),
            named=self._named,
            unnamed=self._unnamed,
            by_name=self._by_name,
            nodata=_setting_of_scene(records, key, "nodata"),
            values=self._values,
            value_range=self.value_range or _setting_of_scene(records, key, "value_range"),
            stretch=self.stretch,
            pool=None if hasher.pixels is None else hasher.pixels.pool,
        )

    def queries_of(self, patches: Sequence[Patch], *, with_vectors: bool = False) -> list[Query]:
        """Hash patches; those whose tiles have the same size together.

        Args:
            patches: The patches.
            with_vectors: Whether features are needed to order by.

        Returns:
            Each patch as a query.
        """
        alike: dict[Any, list[int]] = {}
        for place, patch in enumerate(patches):
            alike.setdefault((patch.tiles.dtype, patch.tiles.shape[1:]), []).append(place)
        found: dict[int, Query] = {}
        for places in alike.values():
            tiles = torch.cat([patches[place].tiles for place in places])
            activations = self.hasher.activations(tiles).numpy()
            features = self.hasher.features(tiles).numpy() if with_vectors else None
            start = 0
            for place in places:
                mine = slice(start, start := start + len(patches[place].tiles))
                found[place] = _query_of_patch(
                    patches[place],
                    activations[mine],
                    vectors=None if features is None else features[mine],
                    fingerprint=self.fingerprint,
                )
        return [found[place] for place in range(len(patches))]

    @cached_property
    def _names(self) -> Sequence[str]:
        return _names_of_scenes(self.records) or self.hasher.bands

    @cached_property
    def _named(self) -> bool:
        return bool(self.records) and all(map(_says_what_it_shows, self.records))

    @cached_property
    def _unnamed(self) -> list[int | str] | None:
        return _shared([record.settings.get("bands") for record in self.records])

    @cached_property
    def _by_name(self) -> list[int] | None:
        return _shared([_indexes_by_name(record) for record in self.records])

    @cached_property
    def _values(self) -> list[Values]:
        return [*self.hasher.values, *_ranges_of_scenes(self.records, len(self.hasher.bands))]


def _query_of_patch(
    patch: Patch,
    activations: npt.NDArray[np.float32],
    *,
    vectors: npt.NDArray[np.float32] | None,
    fingerprint: str,
) -> Query:
    """Make a query from a patch.

    Args:
        patch: The patch.
        activations: Those of its tiles, shape (tiles, bits).
        vectors: Features of its tiles, shape (tiles, length), if they are needed to order by.
        fingerprint: Identifies the archive's hasher.

    Returns:
        The codes and activations of its tiles.
    """
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
        vectors=vectors,
        notes=patch.notes,
        hasher=fingerprint,
        examples=(example,),
    )


def _sizes_by_ground(
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
