"""The set of tiles about which a calibration says something, compared with another set."""

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geohash_rs.store.search.filters import Region
from geohash_rs.store.search.where import Where

__all__ = ["fingerprint_of", "other_scope", "scope_of"]

ONLY = "only "  # begins the entries of a calibration that say what it was limited to
PLACES = {"only region", "only within", "only time", "only scenes"}  # limits where, not to a kind
LONGEST = 200  # characters of names that are written out


def scope_of(where: Where) -> dict[str, str]:
    """Describe the limits of a set of tiles, so that a person can read and a program compare them.

    Args:
        where: The limits; what is excluded does not count.

    Returns:
        A text for each limit that is set, by a name that begins with "only".
    """
    found: dict[str, str] = {}
    if where.region is not None:
        found["region"] = _region(where.region)
        if where.within:
            found["within"] = "yes"
    if where.time is not None:
        found["time"] = f"{_moment(where.time.start)}/{_moment(where.time.end)}"
    for name, values in (("scenes", where.scenes), ("labels", where.labels)):
        if values is not None:
            found[name] = _names(sorted(values))
    if where.tile_sizes is not None:
        found["tile_size"] = ", ".join(str(size) for size in sorted(where.tile_sizes))
    return {ONLY + name: text for name, text in found.items()}


def other_scope(calibrated: Mapping[str, Any], where: Where, *, drawn: bool) -> str | None:
    """Report how a set of tiles differs from the one that was calibrated.

    A random draw speaks for the tiles that it was drawn from, and for no other set. Labels speak
    for places like those that were labelled, so a part of them by place or date is for the user to
    judge; other kinds of tiles, by label or size, are another mixture.

    Args:
        calibrated: How the concept was calibrated.
        where: The limits of the set.
        drawn: Whether tiles were drawn at random.

    Returns:
        A sentence without its full stop, or None if a promise holds for the set.
    """
    known = {
        str(name): str(text) for name, text in calibrated.items() if str(name).startswith(ONLY)
    }
    asked = scope_of(where)
    more = asked.keys() - known.keys()
    same = all(asked.get(name) == text for name, text in known.items())
    if same and not (more if drawn else more - PLACES):
        return None
    return f"it was calibrated with {_said(known)}, and this is {_said(asked)}"


def fingerprint_of(ids: npt.NDArray[np.int64], costs: npt.NDArray[np.int32]) -> str:
    """Identify the tiles from which some were drawn.

    Args:
        ids: Their ids, shape (tiles,).
        costs: Their costs, shape (tiles,).

    Returns:
        Their number, and a hash that any change of a tile changes.
    """
    order = np.argsort(ids, kind="stable")
    digest = hashlib.sha256(ids[order].astype("<i8").tobytes())
    digest.update(costs[order].astype("<i4").tobytes())
    return f"{len(ids)} tiles, sha256 {digest.hexdigest()}"


def _said(scope: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {text}" for name, text in scope.items()) or "all tiles"


def _region(region: Region) -> str:
    bounds = " ".join(f"{value:.6g}" for value in region.bounds)
    exact = (
        region.targets.astype("<f8").tobytes()
        if region.is_boxes
        else shapely.to_wkb(shapely.normalize(region.geometry), byte_order=1)
    )
    return f"in {bounds} ({hashlib.sha256(exact).hexdigest()[:16]})"


def _moment(micros: int | None) -> str:
    if micros is None:
        return ".."
    return (dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=micros)).isoformat()  # noqa: DTZ001


def _names(names: list[str]) -> str:
    text = ", ".join(names)
    if len(text) <= LONGEST:
        return text or "none"
    digest = hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]
    return f"{len(names)} of them ({digest})"
