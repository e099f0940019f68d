"""Choose which band of a file feeds which input of a hasher: by meaning, otherwise by order."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from geohash_rs.errors import BandMismatchError
from geohash_rs.scenes.band_labels import Band
from geohash_rs.scenes.sensors import RGB, family_of, meanings_of

__all__ = [
    "BY_BANDS",
    "BY_ORDER",
    "BandChoice",
    "are_different",
    "choose_bands",
    "enumerated",
    "is_by_meaning",
    "picture_bands",
    "shared_names",
]

MOST_NAMED = 16  # in a message
BY_BANDS, BY_ORDER = "the bands asked for", "order"
# Names a hasher may expect, and narrower names a file may use.
NARROWER = {
    "nir": ("nir08",),
    "nir08": ("nir",),
    "rededge": ("rededge071", "rededge075", "rededge078"),
    "green": ("green05",),
    "lwir": ("lwir11",),
    "lwir11": ("lwir",),
}


@dataclass(frozen=True, kw_only=True)
class BandChoice:
    """The bands of a file that feed the inputs of a hasher.

    Attributes:
        indexes: One-based, in the order of the inputs.
        labels: Their labels; empty where nothing is known.
        by: What decided: the sources of the meanings, ``order``, or the bands asked for.
        conflict: Where the file contradicts itself on these bands, such as ``band 1 is blue by file
            name but red by colour interpretation``; empty if it does not, or is not relied on.
    """

    indexes: tuple[int, ...]
    labels: tuple[str, ...]
    by: str
    conflict: str = ""

    def __str__(self) -> str:
        """Describe which bands are read and why: ``3,2,1 (red, green, blue) by description``."""
        shown = enumerated([label or "?" for label in self.labels])
        numbers = enumerated(list(map(str, self.indexes))).replace(", ", ",")
        return f"{numbers} ({shown}) by {self.by}"

    @property
    def knows(self) -> bool:
        """Whether meaning decided rather than order."""
        return is_by_meaning(self.by)


def is_by_meaning(by: str) -> bool:
    """Return whether meaning decided a choice of bands.

    Args:
        by: What decided, as in `BandChoice`.
    """
    return by not in (BY_ORDER, BY_BANDS)


def choose_bands(
    bands: Sequence[Band],
    names: Sequence[str] | None,
    *,
    scene: str,
    asked: Sequence[int | str] | None = None,
    alpha: int | None = None,
) -> BandChoice:
    """Choose the bands that feed a hasher.

    Args:
        bands: What is known about the file's bands.
        names: Bands that the hasher expects; None chooses all but alpha.
        scene: Name of the file, for messages.
        asked: One-based indexes or names that the user asked for; they override the choice.
        alpha: One-based index of the alpha band, or None.

    Returns:
        The choice.

    Raises:
        BandMismatchError: If a band does not exist, or the choice is ambiguous.
    """
    usable = [i for i in range(1, len(bands) + 1) if i != alpha]
    if asked is not None:
        choice = _choice(
            bands, [_asked_index(bands, band, scene=scene) for band in asked], BY_BANDS
        )
        named = any(isinstance(band, str) for band in asked)
        return choice if named else replace(choice, conflict="")
    if names is None:
        return _choice(bands, usable, BY_ORDER)
    wanted = list(zip(names, meanings_of(names), strict=True))
    found = [_find(bands, usable, name, meaning) for name, meaning in wanted]
    matched = [i for i in found if i is not None]
    if len(set(matched)) == len(matched) == len(names):
        return _choice(bands, matched, _sources(bands, matched))
    if len(names) == len(usable) and len(set(matched)) == len(matched):
        rest = [i for i in usable if i not in matched]
        missing = [i for i, index in enumerate(found) if index is None]
        strange = not any(bands[i - 1].meaning for i in rest)
        open_names = not any(wanted[i][1] for i in missing)
        alike = len(rest) == 1 and (strange or open_names)
        silent = strange and not _are_described(bands, rest)
        if alike or (strange and open_names) or (not matched and (silent or open_names)):
            for position, index in zip(missing, rest, strict=True):
                found[position] = index
            by = _sources(bands, matched) if matched else BY_ORDER
            return _choice(bands, [i for i in found if i is not None], by)
    raise BandMismatchError(_mismatch(bands, usable, names, found, scene))


def shared_names(layouts: Sequence[Sequence[Band]]) -> tuple[str, ...] | None:
    """Choose the bands that most scenes have, for a hasher that takes any bands.

    Args:
        layouts: What is known about each scene's bands, without alpha.

    Returns:
        Names of all bands if the scenes have the same ones, otherwise of those they share by
        meaning, at least red, green and blue if half of the scenes have these; None if nothing is
        known about them, so their order decides.
    """
    counted = Counter(map(_labels, layouts))
    known = [labels for labels in counted if all(labels) and len(set(labels)) == len(labels)]
    if not known:
        return None
    common = [name for name in known[0] if all(name in labels for labels in known)]
    options = [*known, tuple(common)]
    coloured = sum(n for labels, n in counted.items() if set(RGB) <= set(labels))
    if coloured:
        options.append(RGB)
    if 2 * coloured >= sum(n for labels, n in counted.items() if any(labels)):
        # One file of green alone must not leave all pictures in colour with their green band.
        options = [names for names in options if len(names) >= len(RGB)]

    def worth(names: tuple[str, ...]) -> tuple[int, int]:
        return sum(n for labels, n in counted.items() if _feeds(labels, names)), len(names)

    best = max(filter(None, options), key=worth)
    return RGB if set(best) == set(RGB) else best


def picture_bands(bands: Sequence[Band], *, alpha: int | None = None) -> tuple[int, ...]:
    """Choose the bands that look most like a photograph.

    Args:
        bands: What is known about the file's bands.
        alpha: One-based index of the alpha band, or None.

    Returns:
        One-based indexes of red, green and blue, or of one band.
    """
    usable = [i for i in range(1, len(bands) + 1) if i != alpha]
    found = [_find(bands, usable, name, name) for name in RGB]
    if all(found):
        return tuple(index for index in found if index is not None)
    if len(bands) >= 12 and not any(band.meaning for band in bands):
        return 4, 3, 2  # a full product of Sentinel-2, in the order B01, B02, B03, B04, ...
    return tuple(usable[:3]) if len(usable) >= 3 else tuple(usable[:1])


def _are_described(bands: Sequence[Band], indexes: Sequence[int]) -> bool:
    """Return whether all bands have names that say more than their number."""
    names = [re.sub(r"\d+", "", bands[i - 1].name) for i in indexes]
    return all(names) and len(set(names)) > 1


def _labels(bands: Sequence[Band]) -> tuple[str, ...]:
    """Label all bands if any is known, unknown ones by their number.

    Bands that show the same, such as ``B4_p10`` and ``B4_p90``, keep their own names.
    """
    if not any(band.meaning or band.name for band in bands):
        return ("",) * len(bands)
    shared = Counter(band.meaning for band in bands)
    return tuple(
        (band.name if shared[band.meaning] > 1 and band.name else band.label) or f"band_{i}"
        for i, band in enumerate(bands, 1)
    )


def _choice(bands: Sequence[Band], indexes: Sequence[int], by: str) -> BandChoice:
    labels = tuple(bands[index - 1].label for index in indexes)
    doubtful = [index for index in sorted(set(indexes)) if bands[index - 1].other]
    conflict = ", ".join(f"band {index} is {bands[index - 1].readings}" for index in doubtful)
    return BandChoice(indexes=tuple(indexes), labels=labels, by=by, conflict=conflict)


def _feeds(labels: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether each name occurs once, or all labels are unknown and as many as the names."""
    if not any(labels):
        return len(labels) == len(names)
    return all(list(labels).count(name) == 1 for name in names)


def _find(bands: Sequence[Band], usable: Sequence[int], name: str, meaning: str) -> int | None:
    """Find the only band with a name or meaning."""
    own = _named(bands, usable, name)
    # B8 is near infrared of Sentinel-2 but panchromatic of Landsat
    if own is not None and not are_different(bands[own - 1].meaning, meaning):
        return own
    for each in (meaning, *NARROWER.get(meaning, ())) if meaning else ():
        same = [i for i in usable if bands[i - 1].meaning == each]
        if same:
            return same[0] if len(same) == 1 else None
    return None


def _named(bands: Sequence[Band], usable: Sequence[int], name: str) -> int | None:
    """Find the only band with a name of its own."""
    wanted = _plain(name)
    own = [i for i in usable if _plain(bands[i - 1].name) == wanted]
    return own[0] if len(own) == 1 else None


def are_different(meaning: str, other: str) -> bool:
    """Return whether bands are known to show different things.

    Args:
        meaning: Common name of a band, or an empty string.
        other: The same of another.

    >>> are_different("red", "blue"), are_different("red", "")
    (True, False)
    """
    return bool(meaning and other) and family_of(meaning) != family_of(other)


@lru_cache(maxsize=4096)  # of an embedding, hundreds of names are compared with hundreds
def _plain(name: str) -> str:
    """Normalise a name for comparison: ``B04`` and ``SR_B4`` are the same band of a sensor."""
    return re.sub(r"^(?:sr_)?b0?(?=\d)", "b", name.strip().lower())


def _asked_index(bands: Sequence[Band], band: int | str, *, scene: str) -> int:
    everything = range(1, len(bands) + 1)
    if isinstance(band, str):
        meaning = meanings_of([band])[0] or band.lower()
        own = _named(bands, everything, band)  # whatever it means on other sensors
        found = _find(bands, everything, band, meaning) if own is None else own
        if found is not None:
            return found
    elif 1 <= band <= len(bands):
        return int(band)
    msg = (
        f"{scene} has no band {band!r}; it has {len(bands)} (names: {_listed(bands, everything)}): "
        f"pass one-based indexes from 1 to {len(bands)}, or names."
    )
    raise BandMismatchError(msg)


def _sources(bands: Sequence[Band], indexes: Sequence[int]) -> str:
    """List the sources of the bands' meanings; a band without one counts as ``description``."""
    return " and ".join(sorted({bands[i - 1].source or "description" for i in indexes}))


def _mismatch(
    bands: Sequence[Band],
    usable: Sequence[int],
    names: Sequence[str],
    found: Sequence[int | None],
    scene: str,
) -> str:
    count = len(usable)
    expected = ", ".join(names) if len(names) <= 4 else f"{names[0]}..{names[-1]}"
    missing = [name for name, index in zip(names, found, strict=True) if index is None]
    why = ""
    if any(bands[i - 1].label for i in usable):
        lacking = f", without {', '.join(missing)}" if 0 < len(missing) < len(names) else ""
        why = f" ({_listed(bands, usable)}{lacking})"
    return (
        f"{scene} has {count} band{'s' * (count != 1)}{why} but the hasher expects {len(names)} "
        f"({expected}); pass bands=... (one-based indexes or names) or use another hasher."
    )


def _listed(bands: Sequence[Band], indexes: Sequence[int]) -> str:
    labels = [bands[i - 1].label or "?" for i in indexes]
    return enumerated(labels) if any(label != "?" for label in labels) else "none"


def enumerated(names: Sequence[str]) -> str:
    """List names of bands; of more than 16, only the first three and the last.

    >>> enumerated([f"A{i:02d}" for i in range(64)])
    'A00, A01, A02, ..., A63'
    """
    shown = [*names[:3], "...", names[-1]] if len(names) > MOST_NAMED else names
    return ", ".join(shown)
