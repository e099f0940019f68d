"""Make concepts of what the page sends: marks, a file, and the judgements of a check."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geohash_rs.concepts.concept import Concept
from geohash_rs.concepts.concept_file import parse_concept
from geohash_rs.concepts.mark import Mark, tiles_by_id
from geohash_rs.concepts.marking import marks_of_tiles
from geohash_rs.errors import CalibrationError, ConceptError
from geohash_rs.export.plain_text import scene_name
from geohash_rs.serve.codes import check_fresh
from geohash_rs.serve.geojson import read_polygon
from geohash_rs.serve.messages import ConceptRequest
from geohash_rs.serve.ranking import Ranking
from geohash_rs.serve.searching import Searcher, State
from geohash_rs.store.search.where import WhereOptions
from geohash_rs.store.searchable import where_in
from geohash_rs.trust.promise import Promise

__all__ = ["Checked", "checked", "learned", "opened", "where_of"]

DELTA = 0.1  # failure rate of one check


def where_of(request: ConceptRequest) -> WhereOptions:
    """Read the filters of a request.

    Args:
        request: The request.

    Returns:
        Limits on tiles.

    Raises:
        RegionError: If the region is not a polygon.
    """
    region = None if request.region is None else read_polygon(request.region, "region")
    return WhereOptions(region=region, time=request.time, tile_size=request.tile_sizes)


def learned(searcher: Searcher, state: State, request: ConceptRequest) -> Concept:
    """Learn a concept from its marks, or take it from its file.

    Args:
        searcher: The archive.
        state: The state in which tiles are looked up.
        request: Marks or a file.

    Returns:
        The concept.

    Raises:
        ConceptError: If there are both, or the marks teach nothing.
        HasherMismatchError: If another hasher made the codes of the marks.
        TileNotFoundError: If a marked tile is not in the archive.
    """
    if request.file is not None:
        if request.right or request.wrong or request.others:
            msg = "the request has both marks and a file; send one of them."
            raise ConceptError(msg)
        return opened(searcher, state, request.file.encode())
    if request.others:
        check_fresh(state.archive, request.hasher)
    marks = [
        mark
        for right, ids in ((True, request.right), (False, request.wrong))
        for mark in marks_of_tiles(state.archive, _unique(ids), right=right)
    ]
    marks += [
        Mark(right=one.right, code=bytes.fromhex(one.code), source=one.source, place=one.place)
        for one in request.others
    ]
    # if the archive is refitted at this moment, the codes are looked up again or refused
    hasher = state.archive.hasher_fingerprint
    return Concept.of_marks(searcher.archive, marks, name=request.name, hasher=hasher)


def opened(searcher: Searcher, state: State, content: bytes) -> Concept:
    """Read a concept from a file.

    Args:
        searcher: The archive.
        state: The state in which tiles are looked up.
        content: The file, which may come from a stranger.

    Returns:
        The concept.

    Raises:
        ConceptError: If it is not a concept, or is damaged.
        HasherMismatchError: If another hasher made the archive's codes.
    """
    saved = parse_concept(content, name="the file")
    if searcher.hides_folders:  # where files name scenes without their folders
        ids = (mark.tile for mark in saved.marks if mark.tile is not None)
        scenes = {tile: scene for tile, (_, scene) in tiles_by_id(state.archive, ids).items()}
        marks = tuple(_with_folder(mark, scenes) for mark in saved.marks)
        saved = dataclasses.replace(saved, marks=marks)
    return Concept(archive=searcher.archive, **vars(saved)).on(searcher.archive)


def _with_folder(mark: Mark, scenes: dict[int, str]) -> Mark:
    """Name the folder of a mark's scene again, if the file left it out as this server does."""
    scene = scenes.get(-1 if mark.tile is None else mark.tile)
    if scene is None or scene_name(scene) != mark.source:
        return mark
    return dataclasses.replace(mark, source=scene)


def _unique(ids: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.array([*dict.fromkeys(ids)], dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """A concept and what is known of its precision.

    Attributes:
        concept: The concept, calibrated if the check is complete.
        promise: What can be promised for the tiles that pass the filters; None if nothing can.
        left: Tiles of the check that are still to be judged.
        about: What the promise rests on, or why there is none.
    """

    concept: Concept
    promise: Promise | None
    left: int
    about: str


def checked(concept: Concept, state: State, request: ConceptRequest, ranking: Ranking) -> Checked:
    """Calibrate a concept with the judgements of a check, if all its tiles are judged.

    A promise that is shown while judging tempts to stop when it is good, and then fails more often
    than it says. A further check is one more chance of a wrong promise, so failure rates add up.

    Args:
        concept: The concept.
        state: The archive.
        request: The judgements, and what the check was drawn from.
        ranking: All tiles that pass the filters, with their costs.

    Returns:
        The concept, and what can be promised.

    Raises:
        ConceptError: If no tile reaches the score of the check.
        RegionError: If the region is not a polygon.
    """
    count = len(request.checks)
    most = concept.most_cost(min_score=request.check_score)
    unmarked = ranking.count(most) - ranking.count_of(concept.marked, most)
    left = max(0, min(request.check_tiles, unmarked) - count)
    if count and not left:
        return _complete(concept, request)
    promise, about = _of_before(concept, state, request)
    if count:
        about = (
            f"{count} of {count + left} random tiles are judged; what they promise is shown when "
            "all of them are."
        )
    return Checked(concept=concept, promise=promise, left=left, about=about)


def _complete(concept: Concept, request: ConceptRequest) -> Checked:
    """Calibrate with a check whose tiles are all judged."""
    right = [one.tile_id for one in request.checks if one.right]
    wrong = [one.tile_id for one in request.checks if not one.right]
    about = f"{len(right)} of {len(request.checks)} random tiles were right"
    before = concept.promise
    spent = before.delta if before is not None and before.drawn else 0.0
    try:
        found = concept.checked(
            right=right,
            wrong=wrong,
            k=request.check_tiles,
            min_score=request.check_score,
            seed=request.seed,
            delta=spent + DELTA,
            **where_of(request),
        )
    except CalibrationError as error:
        return Checked(concept=concept, promise=None, left=0, about=f"{about}. {error}")
    promise, how = found.promise, dict(found.calibrated or {})
    if promise is not None and request.seed:
        promise = dataclasses.replace(promise, delta=spent + DELTA * (request.seed + 1))
        how["checks"] = int(how["checks"]) + request.seed
    found = dataclasses.replace(found, promise=promise, calibrated=how)
    return Checked(concept=found, promise=promise, left=0, about=about)


def _of_before(
    concept: Concept, state: State, request: ConceptRequest
) -> tuple[Promise | None, str]:
    """Return the promise that a file holds, if it is about the tiles that pass the filters."""
    if concept.promise is None:
        return None, ""
    where = where_in(state.archive, **where_of(request))
    try:
        promise = concept.promise_for(state.archive, where, needed=True)
    except CalibrationError as error:
        return None, str(error)
    return promise, str((concept.calibrated or {}).get("by", ""))
