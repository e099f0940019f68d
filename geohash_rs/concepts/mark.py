"""A mark: the judgement that a tile or a patch is right or wrong."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import ConceptError, HasherMismatchError, TileNotFoundError
from geohash_rs.store.searchable import Searchable

__all__ = [
    "Mark",
    "check_marks",
    "codes_of_marks",
    "joined",
    "recognised",
    "renewed",
    "tiles_by_id",
]

MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A judgement of one tile.

    Attributes:
        right: Whether it shows what is wanted.
        code: Its packed code, bits / 8 bytes.
        tile: Its id in the archive; None for a tile of a patch, or of another archive.
        source: Its scene, or the path and window of the patch.
        place: Longitude and latitude of its centre, degrees, or None if it has no place.
    """

    right: bool
    code: bytes
    tile: int | None = None
    source: str = ""
    place: tuple[float, float] | None = None

    @property
    def key(self) -> tuple[int | None, str, bytes]:
        """Identifies what was judged: a tile by its id, part of a patch by its code."""
        return (self.tile, "", b"") if self.tile is not None else (None, self.source, self.code)


def codes_of_marks(marks: Iterable[Mark], *, right: bool, num_bytes: int) -> npt.NDArray[np.uint8]:
    """Return the codes of the marks of one kind.

    Args:
        marks: Marks.
        right: Which kind.
        num_bytes: Bytes of a code.

    Returns:
        Packed codes, uint8, shape (marks of this kind, num_bytes).
    """
    chosen = b"".join(mark.code for mark in marks if mark.right == right)
    return np.frombuffer(chosen, np.uint8).reshape(-1, num_bytes)


def joined(old: Iterable[Mark], new: Sequence[Mark]) -> tuple[Mark, ...]:
    """Add marks; a new judgement replaces an older one of the same tile.

    Args:
        old: Earlier marks.
        new: Later marks, each of another tile.

    Returns:
        All of them, the earlier ones first.
    """
    again = {mark.key for mark in new}
    return (*(mark for mark in old if mark.key not in again), *new)


def check_marks(marks: Sequence[Mark]) -> tuple[str, ...]:
    """Check that marks can teach something.

    Args:
        marks: All marks of a concept.

    Returns:
        What is doubtful about them, one sentence each.

    Raises:
        ConceptError: If none is right, or one tile is both right and wrong.
    """
    right = {mark.key: mark for mark in marks if mark.right}
    wrong = {mark.key: mark for mark in marks if not mark.right}
    if not right:
        lack = f"only {len(wrong)} wrong ones" if wrong else "none"
        msg = f"a concept needs a mark that is right, but has {lack}; pass right=[...]."
        raise ConceptError(msg)
    if both := [_name(right[key]) for key in right if key in wrong]:
        more = f" and {len(both) - MOST_NAMED} more" if len(both) > MOST_NAMED else ""
        msg = (
            f"{', '.join(both[:MOST_NAMED])}{more} is marked both right and wrong; leave one of "
            "the two out."
        )
        raise ConceptError(msg)
    notes = []
    if not wrong:
        notes.append(
            "no mark is wrong, so the rest of the archive stands for what is not wanted; judge "
            "suggestions to tell the two apart."
        )
    alike = {mark.code for mark in right.values()} & {mark.code for mark in wrong.values()}
    if alike:
        several = sum(mark.code in alike for mark in marks)
        notes.append(
            f"{several} marks contradict each other: their tiles have the same codes, but some are "
            "right and some wrong. The codes cannot tell them apart."
        )
    return tuple(notes)


def recognised(archive: Searchable, marks: Iterable[Mark]) -> list[Mark]:
    """Drop the ids of marks that mean no tile of an archive, or another one.

    Args:
        archive: One state of the archive.
        marks: Marks.

    Returns:
        The marks; what is left without an id still has its code.
    """
    given = list(marks)
    here = tiles_by_id(archive, (mark.tile for mark in given if mark.tile is not None))
    return [
        mark
        if mark.tile is None or here.get(mark.tile) == (mark.code, mark.source)
        else dataclasses.replace(mark, tile=None)
        for mark in given
    ]


def renewed(archive: Searchable, marks: Iterable[Mark], *, hasher: str | None) -> list[Mark]:
    """Look up the codes of marks again if another hasher has made them since.

    Args:
        archive: One state of the archive.
        marks: Marks of it.
        hasher: Fingerprint of the hasher that made their codes.

    Returns:
        The marks with the archive's codes.

    Raises:
        HasherMismatchError: If another hasher made them, and a mark has no tile to look up.
    """
    given = list(marks)
    if archive.hasher_fingerprint == hasher:
        return given
    here = tiles_by_id(archive, (mark.tile for mark in given if mark.tile is not None))
    lost = [mark for mark in given if mark.tile not in here]
    if lost:
        msg = (
            f"{archive.path} was refitted, and {len(lost)} of {len(given)} marks have only a code "
            f"of the former hasher, such as {_name(lost[0])}: they are of patches, of another "
            "archive, or of removed tiles. Learn a new concept from tiles and patches."
        )
        raise HasherMismatchError(msg)
    return [
        dataclasses.replace(mark, code=here[mark.tile][0]) for mark in given if mark.tile in here
    ]


def tiles_by_id(archive: Searchable, ids: Iterable[int]) -> dict[int, tuple[bytes, str]]:
    """Look up tiles, all at once.

    Args:
        archive: One state of the archive.
        ids: Tile ids, 0 to 2**63 - 1; those without a tile are passed over.

    Returns:
        The packed code and the scene of each tile, by id.
    """
    wanted = np.array(sorted(set(ids)), dtype=np.int64)
    try:
        codes = archive.codes(wanted)
    except TileNotFoundError as error:
        wanted = wanted[~np.isin(wanted, list(error.missing))]
        codes = archive.codes(wanted)
    scenes = archive.tiles(wanted)["scene"].astype(str)
    found = zip(map(bytes, codes), scenes, strict=True)
    return dict(zip(wanted.tolist(), found, strict=True))


def _name(mark: Mark) -> str:
    return f"tile {mark.tile}" if mark.tile is not None else mark.source
