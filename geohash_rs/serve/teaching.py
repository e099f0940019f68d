"""Answer the page's requests about concepts: learn, judge, draw areas; nothing is ever written."""

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from geohash_rs.concepts.concept import Concept
from geohash_rs.concepts.concept_file import check_name
from geohash_rs.errors import ConceptError, GeoHashRSWarning, ignore_warnings
from geohash_rs.export.formats import write
from geohash_rs.export.plain_text import scene_name
from geohash_rs.serve.computed import Computed, View
from geohash_rs.serve.drawn_areas import DrawnAreas
from geohash_rs.serve.geojson import feature_collection
from geohash_rs.serve.joining import Joiner
from geohash_rs.serve.learned import Checked, checked, opened, where_of
from geohash_rs.serve.messages import (
    AreasExportRequest,
    AreasRequest,
    ConceptAnswer,
    ConceptRequest,
    JudgeRequest,
    MarksAnswer,
    OtherMark,
)
from geohash_rs.serve.promises import limit_answers, promise_answer
from geohash_rs.serve.ranking import InView, Ranking
from geohash_rs.serve.searching import Searcher, State
from geohash_rs.serve.view import cells_in_view, parse_view

__all__ = ["Teacher"]

BARS = 96  # of the histogram
MOST_POLYGONS = 4000  # in view; more are shown as counts
MOST_JUDGED = 1000  # tiles that one request asks for


class Teacher:
    """The concepts of an archive as the page sees them; thread-safe.

    Every request carries the marks. What is kept here can be computed again from them.
    """

    def __init__(self, searcher: Searcher) -> None:
        """Start without concepts.

        Args:
            searcher: The archive.
        """
        self.searcher = searcher
        self._computed = Computed(searcher)
        self._joiner = Joiner()

    def learn(self, request: ConceptRequest) -> ConceptAnswer:
        """Learn a concept and score all tiles.

        Args:
            request: The marks and filters.

        Returns:
            The histogram of scores, and what can be promised.

        Raises:
            GeoHashRSError: If the marks or filters are not valid.
        """
        known, ranking = self._checked(self.searcher.state(), request)
        concept, promise = known.concept, known.promise
        low, high, counts = ranking.bars(BARS)
        codes = np.frombuffer(b"".join(mark.code for mark in concept.marks), np.uint8)
        costs = concept.model.weights.costs(codes.reshape(len(concept.marks), -1)).tolist()
        marked = list(zip(concept.marks, costs, strict=True))
        return ConceptAnswer(
            tiles=len(ranking.ids),
            low=low,
            high=high,
            width=(high + 1 - low) / BARS,
            counts=counts.tolist(),
            offset=concept.model.offset,
            unit=concept.model.unit,
            right_costs=[cost for mark, cost in marked if mark.right],
            wrong_costs=[cost for mark, cost in marked if not mark.right],
            promise=promise_answer(promise),
            limits=limit_answers(promise),
            checked=known.about,
            check_left=known.left,
            notes=list(concept.notes),
        )

    def judge(self, request: JudgeRequest) -> str:
        """Choose tiles to judge.

        Args:
            request: The marks, the filters and the kind of choice.

        Returns:
            GeoJSON, in the order in which to judge them.

        Raises:
            GeoHashRSError: If the marks or filters are not valid.
        """
        state, where = self.searcher.state(), where_of(request)
        concept = self._computed.concept(state, request)
        more = min(request.k + len(request.without), MOST_JUDGED)
        if request.kind == "marked":
            ids = [mark.tile for mark in concept.marks if mark.tile is not None]
            tiles = state.archive.tiles(np.array(ids, dtype=np.int64))
            return feature_collection(self.searcher.shown(tiles))
        with ignore_warnings(GeoHashRSWarning):  # the page says itself what is found and promised
            if request.kind == "check":
                found = concept.check(
                    request.k, min_score=request.check_score, seed=request.seed, **where
                )
            elif request.kind == "best":
                found = concept.query(more, exclude_marks=True, **where)
            else:
                found = concept.suggest(more, **where)
        if request.kind == "check":  # all of them: leaving out what is hard would flatter it
            return feature_collection(self.searcher.shown(found))
        fresh = found[~found["tile_id"].isin(request.without)].head(request.k)
        return feature_collection(self.searcher.shown(fresh))

    def areas(self, request: AreasRequest) -> str:
        """Draw the areas up to a cost in a view.

        Args:
            request: The marks, the filters, the cost and the view.

        Returns:
            GeoJSON with the members ``kind``, ``tiles``, ``areas`` and ``km2``: the ``areas`` that
            meet the view, or ``counts`` of tiles in squares if there are too many. The members
            tell of all areas, in view or not; of more than `Joiner.most` tiles only their number
            is known, and the others are null.

        Raises:
            GeoHashRSError: If the marks, the filters or the view are not valid.
        """
        state = self.searcher.state()
        concept = self._computed.concept(state, request)
        ranking = self._computed.ranking(state, request, concept)
        view = None if request.view is None else parse_view(request.view)
        tiles = ranking.count(request.max_cost)
        if tiles > self._joiner.most(state):  # only a part of them can be joined in time
            if view is None:
                return _collection("counts", [], tiles=tiles)
            return self._part(state, request, concept, ranking, view)
        best = ranking.best(request.max_cost)
        drawn = self._computed.areas(
            state,
            request,
            lambda: DrawnAreas.of(self._joiner.join(state, concept.model, request, *best)),
        )
        features: Sequence[str] = [] if view is None else drawn.in_view(view)
        kind = "areas"
        if view is not None and len(features) > MOST_POLYGONS:
            seen = self._computed.in_view(state, request, ranking, view)
            kind, features = "counts", _cells(seen, request, view)
        return _collection(
            kind, features, tiles=drawn.tiles, areas=len(drawn.features), km2=drawn.km2
        )

    def export(self, request: AreasExportRequest) -> bytes:
        """Write all areas up to a cost to a file.

        Args:
            request: The marks, the filters, the cost and the format.

        Returns:
            The file's content.

        Raises:
            ConceptError: If there are no areas, or too many tiles to join.
            GeoHashRSError: If the marks or filters are not valid.
        """
        state = self.searcher.state()
        known, ranking = self._checked(state, request)
        self._joiner.check_file(state, ranking.count(request.max_cost))
        best = ranking.best(request.max_cost)
        areas = self._joiner.join(state, known.concept.model, request, *best, promise=known.promise)
        if areas.empty:
            msg = "there are no areas to save; lower the score, or the smallest area."
            raise ConceptError(msg)
        return _written(f"areas.{request.format}", lambda path: write(areas, path))

    def save(self, request: ConceptRequest) -> bytes:
        """Write a concept to a file.

        Args:
            request: The marks.

        Returns:
            The file's content.

        Raises:
            GeoHashRSError: If the marks are not valid.
        """
        known, _ = self._checked(self.searcher.state(), request)
        named = dataclasses.replace(known.concept, name=check_name(request.name))
        if self.searcher.hides_folders:
            marks = tuple(
                dataclasses.replace(mark, source=scene_name(mark.source)) for mark in named.marks
            )
            named = dataclasses.replace(named, marks=marks)
        return _written("saved.concept", named.save)

    def open(self, content: bytes) -> MarksAnswer:
        """Read a concept's file.

        Args:
            content: The file, which may come from a stranger.

        Returns:
            Its marks: ids of tiles of this archive, and codes of others.

        Raises:
            ConceptError: If it is not a concept, or is damaged.
            HasherMismatchError: If another hasher made the archive's codes.
        """
        concept = opened(self.searcher, self.searcher.state(), content)
        return MarksAnswer(
            name=concept.name,
            right=_tiles(concept, right=True),
            wrong=_tiles(concept, right=False),
            others=[
                OtherMark(
                    right=mark.right, code=mark.code.hex(), source=mark.source, place=mark.place
                )
                for mark in concept.marks
                if mark.tile is None
            ],
            hasher=concept.hasher,
        )

    def _checked(self, state: State, request: ConceptRequest) -> tuple[Checked, Ranking]:
        concept = self._computed.concept(state, request)
        ranking = self._computed.ranking(state, request, concept)
        return checked(concept, state, request, ranking), ranking

    def _part(
        self,
        state: State,
        request: AreasRequest,
        concept: Concept,
        ranking: Ranking,
        view: View,
    ) -> str:
        """Draw areas of the tiles in view, or their counts; ground out of view is left out."""
        tiles = ranking.count(request.max_cost)
        seen = self._computed.in_view(state, request, ranking, view)
        chosen = seen.costs <= request.max_cost
        if np.count_nonzero(chosen) <= self._joiner.most(state):
            ids, costs = seen.ids[chosen], seen.costs[chosen].astype(np.int32)
            drawn = DrawnAreas.of(self._joiner.join(state, concept.model, request, ids, costs))
            if len(drawn.features) <= MOST_POLYGONS:
                return _collection("areas", drawn.features, tiles=tiles)
        return _collection("counts", _cells(seen, request, view), tiles=tiles)


def _cells(seen: InView, request: AreasRequest, view: View) -> Sequence[str]:
    chosen = seen.boxes[seen.costs <= request.max_cost]
    return cells_in_view([chosen], view) if len(chosen) else []


def _tiles(concept: Concept, *, right: bool) -> list[int]:
    return [one.tile for one in concept.marks if one.right == right and one.tile is not None]


def _written(name: str, save: Callable[[Path], None]) -> bytes:
    """Return the content of a file that is written to a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="geohash-rs-") as folder:
        path = Path(folder) / name
        save(path)
        return path.read_bytes()


def _collection(
    kind: str,
    features: Sequence[str],
    *,
    tiles: int,
    areas: int | None = None,
    km2: float | None = None,
) -> str:
    about = json.dumps({"kind": kind, "tiles": tiles, "areas": areas, "km2": km2})[1:-1]
    joined = ",".join(features)
    return f'{{"type":"FeatureCollection",{about},"features":[{joined}]}}'
