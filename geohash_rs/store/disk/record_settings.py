"""Check how a scene's tiles were cut, as its record says, before anything is computed from it."""

import math
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["check_settings", "is_finite"]

LIMIT = 1 << 31  # of sizes in pixels and of band indexes


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the settings that this version knows; others may hold anything.

    Args:
        settings: JSON, from anybody.

    Raises:
        ValueError: If the type of one is never written.
    """
    for name, holds in KINDS.items():
        if name in settings and not holds(settings[name]):
            msg = f"the setting {name} of a scene is {str(settings[name])[:80]!r}"
            raise ValueError(msg)


def is_finite(value: object) -> bool:
    """Return whether a value is a number that a float can hold, and neither infinite nor NaN."""
    return _is_number(value) and math.isfinite(value)  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < 1 << 63)


def _is_whole(value: object) -> bool:
    return type(value) is int and 1 <= value < LIMIT


def _is_text(value: object) -> bool:
    if isinstance(value, str):
        value.encode()  # half of a character is a ValueError
    return isinstance(value, str)


def _several(
    holds: Callable[[object], bool], *, count: int | None = None
) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        fits = isinstance(value, list) and count in (None, len(value))
        return fits and all(holds(one) for one in value)  # type: ignore[attr-defined]  # a list

    return check


def _or_none(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: value is None or holds(value)


def _is_reading(value: object) -> bool:
    """Return whether a value says which bands were read."""
    return isinstance(value, dict) and (
        _several(_is_whole)(value.get("indexes"))
        and _several(_or_none(_is_text))(value.get("labels"))
        and _is_text(value.get("by"))
        and _or_none(_several(_several(is_finite), count=2))(value.get("rescaling"))
    )


KINDS: dict[str, Callable[[object], bool]] = {
    "tile_size": _is_whole,
    "stride": _is_whole,
    "larger_tiles": _several(_several(_is_whole, count=2)),
    "edges": _is_text,
    "max_nodata": is_finite,
    "resolution": _or_none(is_finite),
    "bands": _or_none(_several(lambda band: _is_whole(band) or _is_text(band))),
    "nodata": _or_none(_is_number),
    "value_range": _or_none(_several(is_finite, count=2)),
    "ground_size": _or_none(is_finite),
    "version": _is_text,
    "dataset": _is_text,
    "reading": _or_none(_is_reading),
}
