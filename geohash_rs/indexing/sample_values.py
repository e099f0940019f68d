"""Compare the values of a dataset's samples with those that a hasher was made for."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np
import torch

from geohash_rs.errors import ValueMismatchError
from geohash_rs.indexing.samples import LocatedTile
from geohash_rs.scenes.kinds import warn_of_kinds
from geohash_rs.scenes.value_sample import Sample
from geohash_rs.scenes.values import Conversion, Values, gather_values, match_values

__all__ = ["SampleValues"]

STEP = 4  # px between sampled pixels of a tile


class SampleValues:
    """Kinds of values of a dataset's files, each found from the file's first samples.

    Attributes:
        known: Values that the hasher accepts, its own first; empty until it is fitted.
    """

    def __init__(self, known: Sequence[Values] = ()) -> None:
        """Start without files.

        Args:
            known: Values that the hasher accepts.
        """
        self.known = tuple(known)
        self._chosen: dict[str, Conversion | str | None] = {}

    def gather(self, batches: Iterable[Sequence[LocatedTile]]) -> None:
        """Find the kinds of values in samples to fit a hasher on; warn if there are several.

        Args:
            batches: The samples.
        """
        tiles = sorted((t for b in batches for t in b if t.image is not None), key=_scene_of)
        found = [(scene, part) for scene, part in _by_scene(tiles)]
        samples = [(_sample_of(part), len(part)) for _, part in found]
        self.known = gather_values([(s.values, s.pixels, count) for s, count in samples])
        names = [scene.rsplit("/", 1)[-1] for scene, _ in found]
        warn_of_kinds(self.known, [(n, s.values) for n, (s, _) in zip(names, samples, strict=True)])

    def convert(self, tiles: Sequence[LocatedTile]) -> list[LocatedTile]:
        """Convert samples to the hasher's values.

        Args:
            tiles: Samples, with or without an image.

        Returns:
            The converted samples; those whose values do not fit have a failure instead of an image.
        """
        seen = sorted((tile for tile in tiles if tile.image is not None), key=_scene_of)
        for scene, part in _by_scene(seen):
            if scene not in self._chosen:
                self._chosen[scene] = self._choose(scene, part)
        return [self._converted(tile) for tile in tiles]

    def _choose(self, scene: str, tiles: Sequence[LocatedTile]) -> Conversion | str | None:
        try:
            name = scene.rsplit("/", 1)[-1]
            return match_values(_sample_of(tiles).values, self.known, name=name)
        except ValueMismatchError as error:
            return str(error)

    def _converted(self, tile: LocatedTile) -> LocatedTile:
        chosen = self._chosen.get(tile.scene)
        if tile.image is None or chosen is None:
            return tile
        if isinstance(chosen, str):
            return replace(tile, image=None, failure=chosen)
        return replace(tile, image=torch.from_numpy(chosen.apply(tile.image.numpy())))


def _scene_of(tile: LocatedTile) -> str:
    return tile.scene


def _by_scene(tiles: Iterable[LocatedTile]) -> list[tuple[str, list[LocatedTile]]]:
    return [(scene, list(part)) for scene, part in groupby(tiles, key=_scene_of)]


def _sample_of(tiles: Sequence[LocatedTile]) -> Sample:
    """Describe the values of samples of one file; the dataset may have changed them."""
    images = [tile.image.numpy() for tile in tiles if tile.image is not None]
    pixels = np.concatenate(
        [image[:, ::STEP, ::STEP].reshape(len(image), -1) for image in images], axis=1
    )
    stored = tiles[0].dtype
    if stored and not _could_be(pixels, stored):
        stored = ""
    return Sample(Values.of_pixels(pixels, dtype=stored or str(images[0].dtype)), pixels)


def _could_be(pixels: np.ndarray, dtype: str) -> bool:
    """Return whether pixels could be the stored values of a file, in another type."""
    if np.dtype(dtype).kind not in "iu":
        return np.dtype(dtype).kind == pixels.dtype.kind
    limits = np.iinfo(dtype)
    inside = pixels.min() >= limits.min and pixels.max() <= limits.max
    return bool(inside and (pixels == np.round(pixels)).all())
