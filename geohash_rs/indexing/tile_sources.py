"""What the new codes of an archive's tiles are made from: pixels, or feature vectors it keeps."""

import warnings
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from geohash_rs.codes import pack_codes
from geohash_rs.errors import GeoHashRSWarning, HasherError, SceneError
from geohash_rs.hashing.fit.by_name import Unfitted, fit_again, fit_to_kept
from geohash_rs.hashing.fit.training_free import TURNED_TILES
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.add import TRACE_TILES
from geohash_rs.indexing.archived_scenes import ArchivedScenes, in_order
from geohash_rs.indexing.fair_sample import SceneTraits, draw_tiles, drawn_rows, sensors_of
from geohash_rs.indexing.settings import IndexSettings, fit_tiles
from geohash_rs.store.disk.manifest import VectorsEntry
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.scene_counts import count_tiles
from geohash_rs.store.segment.read import Segment
from geohash_rs.store.segment.vectors import parts_of
from geohash_rs.store.snapshot import Snapshot

__all__ = ["PixelSource", "TileSource", "VectorSource", "required"]

Rows = npt.NDArray[np.int64]
Coded = Generator[tuple[Rows, npt.NDArray[np.uint8]], None, None]


class TileSource(Protocol):
    """What tiles are hashed from again.

    Attributes:
        name: What it is, for users.
        num_tiles: Number of live tiles.
        num_scenes: Number of scenes that they come from.
        renewed: New records of scenes.
    """

    name: str
    num_tiles: int
    num_scenes: int
    renewed: Sequence[SceneRecord]

    def digests(self) -> dict[str, int]:
        """Return a number for each scene that changes if its tiles are to be hashed again."""

    def check(self, hasher: Hasher) -> None:
        """Check that a hasher can hash all tiles.

        Raises:
            SceneError: If it cannot.
        """

    def fit(self, segments: Sequence[Segment], own: Hasher | None, new: Unfitted | None) -> Hasher:
        """Fit a hasher on a sample of all tiles.

        Args:
            segments: The segments of the archive.
            own: The archive's hasher.
            new: The hasher to fit; None fits the own one again.

        Raises:
            HasherError: If there are too few tiles.
            SceneError: If pixels are needed that cannot be read.
        """

    def hashed(self, segment: Segment, rows: Rows, hasher: Hasher) -> Coded:
        """Hash tiles.

        Args:
            segment: A segment of the archive.
            rows: Live rows, shape (n,).
            hasher: The new hasher.

        Yields:
            Positions among the rows, and their codes.
        """

    def check_unchanged(self, segment: Segment, rows: Rows) -> None:
        """Check that what tiles were hashed from has not changed meanwhile.

        Raises:
            SceneError: If it has.
        """


class PixelSource:
    """The pixels of the scenes; a `TileSource`."""

    name = "the pixels of the scenes"

    def __init__(self, scenes: ArchivedScenes) -> None:
        """Take the scenes that were checked.

        Args:
            scenes: The scenes of all live tiles.
        """
        self.scenes = scenes
        self.num_tiles, self.num_scenes = scenes.num_tiles, len(scenes.files)
        self.renewed: Sequence[SceneRecord] = scenes.renewed

    def digests(self) -> dict[str, int]:
        """Return a number for each scene that changes with its record."""
        return self.scenes.digests()

    def check(self, hasher: Hasher) -> None:
        """Check that the values of all scenes can be converted to those of a hasher."""
        if hasher.pixels is None:
            self.scenes.check_values(hasher.values)

    def fit(self, segments: Sequence[Segment], own: Hasher | None, new: Unfitted | None) -> Hasher:
        """Fit a hasher on a sample of all scenes."""
        scenes = self.scenes
        values = () if scenes.embedding is not None else scenes.kinds()
        tile_size = scenes.tile_size() or (own.tile_size if own else None)
        fast = 2 * scenes.num_tiles >= TRACE_TILES  # each tile is hashed in two views
        names = _sensors(scenes.records)
        size = fit_tiles(len(set(names.values())))
        with closing(scenes.sample(segments, values, names=names, size=size)) as sample:
            if new is None and scenes.embedding is not None:
                new = Unfitted(name=required(own).name, num_bits=required(own).num_bits)
            if new is None:
                own = required(own)
                return fit_again(own, sample, values=values, tile_size=tile_size, accelerate=fast)
            return new.fit(
                sample,
                bands=scenes.bands,
                values=values,
                tile_size=tile_size,
                device=scenes.settings.device,
                accelerate=fast,
                embedding=scenes.embedding,
            )

    def hashed(self, segment: Segment, rows: Rows, hasher: Hasher) -> Coded:
        """Read and hash tiles, those of a scene in order."""
        tiles = self.scenes.windows(segment, rows)
        order = in_order(tiles)
        numbers, first = np.unique(tiles[order, 0], return_index=True)
        begin = dict(zip(numbers.tolist(), first.tolist(), strict=True))
        with closing(self.scenes.read(tiles[order], hasher.values)) as batches:
            for batch, read in batches:
                places = np.empty(len(read), np.int64)
                for number in np.unique(read[:, 0]).tolist():  # scenes may change places
                    own = np.flatnonzero(read[:, 0] == number)
                    places[own] = begin[number] + np.arange(len(own))
                    begin[number] += len(own)
                yield order[places], hasher.codes(batch.images)

    def check_unchanged(self, segment: Segment, rows: Rows) -> None:
        """Check that the files of the tiles' scenes are still those that were checked."""
        self.scenes.check_unchanged(np.unique(self.scenes.windows(segment, rows)[:, 0]).tolist())


class VectorSource:
    """The feature vectors that an archive keeps; a `TileSource`."""

    def __init__(
        self, state: Snapshot, form: VectorsEntry, settings: IndexSettings, *, turns: bool
    ) -> None:
        """Count the tiles.

        Args:
            state: The state of the archive.
            form: How it keeps vectors.
            settings: How to read scenes.
            turns: Whether a general hasher will be fitted, which compares views of some tiles.
        """
        self.name = "their feature vectors"
        if turns:
            self.name += (
                f" (and the pixels of about {TURNED_TILES} of each sensor, if they can be read)"
            )
        self.state, self.form, self.settings, self.turns = state, form, settings, turns
        self.counts = count_tiles(state)
        self.num_tiles, self.num_scenes = sum(self.counts.values()), len(self.counts)
        self.renewed: Sequence[SceneRecord] = ()

    def digests(self) -> dict[str, int]:
        """Return nothing, as a tile's vector never changes."""
        return {}

    def check(self, hasher: Hasher) -> None:
        """Check that all tiles have the ground size that a hasher asks for.

        Raises:
            SceneError: If they do not.
        """
        if hasher.resolution is None:
            return
        records = (self.state.records.get(name) for name in self.counts)
        sizes = {record.settings.get("resolution") if record else None for record in records}
        if sizes - {hasher.resolution}:
            cut = sorted("their own size" if one is None else f"{one:g} m" for one in sizes)
            msg = (
                f"tiles have pixels of {', '.join(cut)}, but the hasher is made for "
                f"{hasher.resolution:g} m per pixel; make another archive with that hasher."
            )
            raise SceneError(msg)

    def fit(self, segments: Sequence[Segment], own: Hasher | None, new: Unfitted | None) -> Hasher:
        """Fit a hasher on a sample of the vectors; a general one also turns tiles, if it can."""
        own = required(own)
        records = [self.state.records.get(name) or SceneRecord(scene=name) for name in self.counts]
        names = _sensors(records)
        kept = self._sample(segments, records, names)
        if not self.turns:
            return fit_to_kept(own, kept, (), unfitted=new)
        scenes = ArchivedScenes(
            self.state, self.settings, bands=own.bands, same_bands=True, all_of_them=False
        )
        self._warn_of_unreadable(scenes, names)
        if not scenes.files:
            return fit_to_kept(own, kept, (), unfitted=new)
        size = TURNED_TILES * len(kept)
        if 2 * size >= TRACE_TILES:
            own.accelerate()
        with closing(scenes.sample(segments, own.values, names=names, size=size)) as turned:
            return fit_to_kept(own, kept, turned, unfitted=new)

    def _warn_of_unreadable(self, scenes: ArchivedScenes, names: dict[str, str]) -> None:
        """Warn of each sensor of which no scene can be read; name one of its scenes."""
        known = {names[file.key] for file in scenes.files}
        for scene, why in scenes.problems:
            if (sensor := names[scene]) not in known:
                known.add(sensor)
                msg = (
                    f"no scene of {sensor} can be read ({scene}: {why.rstrip('.')}), so the "
                    "general hasher is fitted to its feature vectors without seeing how they "
                    "change when a tile is turned. To let it see that, put one back and refit "
                    "again."
                )
                warnings.warn(msg, GeoHashRSWarning, stacklevel=2)

    def _sample(
        self, segments: Sequence[Segment], records: Sequence[SceneRecord], names: dict[str, str]
    ) -> dict[str, torch.Tensor]:
        """Draw vectors of each sensor."""
        size = fit_tiles(len(set(names.values())))
        found: dict[str, list[torch.Tensor]] = {}
        wanted = draw_tiles(segments, records, size=size)
        for segment, scene, rows in drawn_rows(segments, wanted):
            vectors = torch.from_numpy(segment.vectors(self.form).decoded(rows))
            found.setdefault(names[scene], []).append(vectors)
        return {sensor: torch.cat(parts) for sensor, parts in found.items()}

    def hashed(self, segment: Segment, rows: Rows, hasher: Hasher) -> Coded:
        """Pass vectors to the head."""
        stored = segment.vectors(self.form)
        for part in parts_of(len(rows), self.form.length or 1):
            vectors = torch.from_numpy(stored.decoded(rows[part])).to(hasher.device)
            with torch.inference_mode():
                activations = hasher.head(vectors).cpu().numpy()
            yield np.arange(part.start, part.start + len(vectors)), pack_codes(activations)

    def check_unchanged(self, segment: Segment, rows: Rows) -> None:
        """Do nothing, as a segment never changes."""


def required(own: Hasher | None) -> Hasher:
    """Return an archive's hasher.

    Args:
        own: The hasher, or None if the archive has none.

    Returns:
        The same hasher.

    Raises:
        HasherError: If there is none.
    """
    if own is None:
        msg = "the archive has no hasher to fit again; name one, such as general-64."
        raise HasherError(msg)
    return own


def _sensors(records: Sequence[SceneRecord]) -> dict[str, str]:
    """Name the sensor of each scene."""
    names = sensors_of([SceneTraits.of_record(record) for record in records])
    return {record.scene: name for record, name in zip(records, names, strict=True)}
