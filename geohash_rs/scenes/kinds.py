"""Find the kinds of values in scenes on which a hasher will be fitted."""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import GeoHashRSWarning, SceneError, ValueMismatchError
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.value_doubts import doubt_scales
from geohash_rs.scenes.value_sample import Sample
from geohash_rs.scenes.values import Values, gather_values

__all__ = ["kinds_of_scenes", "warn_of_kinds"]

LOOKED_AT = 64  # scenes sampled per pixel type
NAMED = 3  # scenes named per kind in a warning
NARROW = 0.2  # a range this narrow, relative to another, is one kind of ground such as water


def kinds_of_scenes(
    scenes: Scenes,
    counts: npt.NDArray[np.int64],
    *,
    indexes: Sequence[Sequence[int]],
) -> tuple[Values, ...]:
    """Find the kinds of values among scenes, and warn if there are several.

    Args:
        scenes: The scenes.
        counts: Tiles of each scene, shape (scenes,); scenes without tiles are left out.
        indexes: One-based bands to read from each scene.

    Returns:
        One entry per kind, the one with the most tiles first. If a value range was given, only
        pictures, since the range turns all scenes into pictures.
    """
    numbers = np.flatnonzero(counts).tolist()
    # Scenes with another number of bands are refused when their tiles are read.
    numbers = [n for n in numbers if len(indexes[n]) == len(indexes[numbers[0]])]
    if scenes.value_range is not None and numbers:
        bands = len(indexes[numbers[0]])
        return (Values.of_range([0.0] * bands, [255.0] * bands),)
    by_type: dict[tuple[str, bool], list[int]] = {}
    for number in numbers:
        file, bands_read = scenes.scene_files[number], indexes[number]
        kind = file.dtype_of(bands_read), file.rescaling(bands_read) is not None
        by_type.setdefault(kind, []).append(number)
    found: list[tuple[str, Sample, int]] = []
    for group in by_type.values():
        chosen = [group[i] for i in _evenly(len(group), LOOKED_AT)]
        tiles = int(counts[group].sum()) // len(chosen)
        for number in chosen:
            with suppress(SceneError, ValueMismatchError):  # reading its tiles reports the error
                if (sample := scenes.sample(number, indexes=indexes[number])) is not None:
                    found.append((scenes.scene_files[number].name, sample, tiles))
    kinds = gather_values([(sample.values, sample.pixels, count) for _, sample, count in found])
    warn_of_kinds(kinds, [(name, sample.values) for name, sample, _ in found])
    return kinds


def warn_of_kinds(kinds: Sequence[Values], found: Iterable[tuple[str, Values]]) -> None:
    """Warn if scenes hold several kinds of values, or numbers on two scales.

    Args:
        kinds: The kinds.
        found: Names of scenes and their values.
    """
    members: list[list[tuple[str, Values]]] = [[] for _ in kinds]
    for name, values in found:
        fitting = (i for i, kind in enumerate(kinds) if values.fits(kind))
        members[next(fitting, 0)].append((name, values))
    for group in members:
        _warn_of_scales(group)
    if len(kinds) < 2:
        return
    names = [[name for name, _ in group] for group in members]
    parts = [f"{kind}: {_listed(some)}" for kind, some in zip(kinds, names, strict=True)]
    msg = (
        f"the scenes hold {len(kinds)} kinds of values ({'; '.join(parts)}), and nothing in the "
        "files says how to convert between them. Each kind is stretched by its own range, so "
        "tiles of different kinds are compared only by appearance. Index each kind into its own "
        "archive, or pass value_range=(LOW, HIGH) to convert all to pictures in the same way."
    )
    warnings.warn(msg, GeoHashRSWarning, stacklevel=2)


def _warn_of_scales(found: Sequence[tuple[str, Values]]) -> None:
    """Warn if numbers of scenes have two scales in all bands, as those of two sensors do.

    Scenes of one sensor can lie apart too: dark water next to desert. So the ranges must be wide,
    and the gap between them wider than the lower one. Elevations have one band. Ranges that overlap
    may still look like one another multiplied, see `doubt_scales`.
    """
    unsure = [(n, v) for n, v in found if v.kind == "number" and not (v.physical or v.unit)]
    unsure.sort(key=lambda pair: sum(pair[1].low))
    if len(unsure) < 2 or len({len(v.low) for _, v in unsure}) > 1 or len(unsure[0][1].low) < 2:
        return
    low, high = np.array([v.low for _, v in unsure]), np.array([v.high for _, v in unsure])
    # row i: the scenes up to i, against those after it
    first, top = (f.accumulate(v)[:-1] for f, v in ((np.minimum, low), (np.maximum, high)))
    bottom, last = (
        f.accumulate(v[::-1])[::-1][1:] for f, v in ((np.minimum, low), (np.maximum, high))
    )
    apart = (bottom - top > top - first) & (top - first >= NARROW * (last - bottom))
    larger = doubt_scales([values for _, values in unsure])
    for i in np.flatnonzero(apart.all(axis=1))[:1].tolist():
        larger = np.arange(len(unsure)) > i
    if larger is not None:
        parts = []
        for group in (~larger, larger):
            ends = f"{low[group].min():.4g} to {high[group].max():.4g}"
            parts.append(f"{ends}: {_listed([unsure[i][0] for i in np.flatnonzero(group)])}")
        msg = (
            f"the scenes hold numbers on two scales ({'; '.join(parts)}), "
            "and nothing in the files says how to convert between them, so they are compared as "
            "they are. If they come from different sensors or levels of processing, index each "
            "into its own archive, or write scale and offset into the files."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _evenly(count: int, most: int) -> Iterator[int]:
    """Choose evenly spaced positions."""
    yield from np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
