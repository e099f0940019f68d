"""Explain which limits of a search no tile of the archive meets."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from geohash_rs.retrieval.swapped import swapped_region
from geohash_rs.store.search.filters import Region, TimeRange
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where
from geohash_rs.store.searchable import Searchable, bits_of

__all__ = ["explain_unmet"]

MOST_NAMES = 100  # names to look up one by one
MOST_SHOWN = 3
COUNTED_TILES = 1_000_000  # in a larger archive, scenes without a date are counted instead


def explain_unmet(archive: Searchable, where: Where, *, scenes: Iterable[str], found: int) -> str:
    """Report limits that nothing meets; those of time and region only if nothing was found.

    Args:
        archive: The archive.
        where: Limits of the search.
        scenes: Scenes of the matches.
        found: How many matches there are.

    Returns:
        Sentences for a user; empty if there is nothing to say.
    """
    said = []
    unseen = sorted((where.scenes or frozenset()) - set(scenes))[:MOST_NAMES]
    missing = [name for name in unseen if not _exists(archive, Where(scenes=frozenset([name])))]
    said += _absent("scene", missing, "see 'geohash-rs info --json' for its scenes")
    sizes = sorted(where.tile_sizes or frozenset())[:MOST_NAMES]
    sizes = sizes if len(sizes) > 1 or not found else []  # a single size has matches
    lacking = [size for size in sizes if not _exists(archive, Where(tile_sizes=frozenset([size])))]
    said += _absent("tile size", lacking, "see 'geohash-rs info' for its tile sizes, px")
    labels = sorted(where.labels or frozenset())[:MOST_NAMES]
    labels = labels if len(labels) > 1 or not found else []  # a single label has matches
    missing = [name for name in labels if not _exists(archive, Where(labels=frozenset([name])))]
    said += _absent("label", missing, "labels are the names of classes")
    if not found and where.time is not None:
        said += _dates(archive, where)
    if not found and where.region is not None:
        said += _places(archive, where, where.region)
    return " ".join(said)


def _absent(what: str, names: Sequence[str | int], hint: str) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else ""
    shown = ", ".join(map(repr, names[:MOST_SHOWN]))
    return [f"the archive has no {what} {shown}{more}; {hint}."]


def _dates(archive: Searchable, where: Where) -> list[str]:
    """Report when the archive's scenes were taken, and how many tiles lack a date."""
    records = [record for record in archive.scenes() if record.num_tiles]
    dated = [(r.datetime, r.datetime_end or r.datetime) for r in records if r.datetime is not None]
    said = []
    if not _exists(archive, replace(where, region=None, scenes=None, labels=None, tile_sizes=None)):
        said.append("no tile of the archive was taken in this time range")
        if dated:
            first, last = min(start for start, _ in dated), max(end for _, end in dated)
            said.append(f"its scenes are from {first.date()} to {last.date()}")
    if len(archive) <= COUNTED_TILES:
        count = len(archive) - _count(archive, Where(time=TimeRange(start=None, end=None)))
    else:
        count = sum(record.num_tiles for record in records if record.datetime is None)
    if count:
        said.append(
            f"{count} of its {len(archive)} tiles have no date, so no time range includes them "
            "(index their scenes again with a date, see --date and --filename-regex)"
        )
    return [f"{'; '.join(said)}."] if said else []


def _places(archive: Searchable, where: Where, region: Region) -> list[str]:
    """Report that no tile lies in the region, whatever its time, scene, label and size."""
    if _exists(archive, replace(where, time=None, scenes=None, labels=None, tile_sizes=None)):
        return []
    swapped = swapped_region(archive, region)
    if swapped:
        return [f"no tile of the archive lies in the region. {swapped}"]
    where_it_is = ""
    if region.geometry.geom_type == "Polygon":  # the bounds of several parts mislead at 180 degrees
        west, south, east, north = region.geometry.bounds
        where_it_is = f", longitude {west:g} to {east:g} and latitude {south:g} to {north:g}"
    return [
        f"no tile of the archive lies in the region{where_it_is}; 'geohash-rs info' reports where "
        "its tiles lie."
    ]


def _exists(archive: Searchable, where: Where) -> bool:
    return _search(archive, where, k=1) > 0


def _count(archive: Searchable, where: Where) -> int:
    return _search(archive, where, k=None)


def _search(archive: Searchable, where: Where, *, k: int | None) -> int:
    num_bits = bits_of(archive)
    anything = np.zeros((1, num_bits // 8), dtype=np.uint8)
    found = archive.find(anything, limits=Limits(k=k, max_distance=num_bits), where=where)
    return int((found.ids >= 0).sum())
