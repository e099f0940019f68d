"""Keep what was computed for a concept; all of it can be computed again from a request."""

import hashlib
from collections.abc import Callable

from geohash_rs.concepts.concept import Concept
from geohash_rs.serve.cache import ByteCache
from geohash_rs.serve.drawn_areas import DrawnAreas
from geohash_rs.serve.learned import learned, where_of
from geohash_rs.serve.messages import AreasRequest, ConceptRequest
from geohash_rs.serve.ranking import InView, Ranking
from geohash_rs.serve.searching import Searcher, State
from geohash_rs.store.searchable import where_in

__all__ = ["Computed", "bytes_of"]

CONCEPT_BYTES = 64 * 2**20
RANKING_BYTES = 256 * 2**20
VIEW_BYTES = 128 * 2**20
AREA_BYTES = 64 * 2**20
MARK_BYTES = 1024  # that a mark takes, about, without its source
TEXT_BYTES = 4  # that a character takes at most
ROW_BYTES = 64  # of a promise

MARKS = {"right", "wrong", "others", "hasher", "file"}
FILTERS = {"region", "time", "tile_sizes"}
MAP = {"max_cost", "dates", "min_area_km2"}

View = tuple[float, float, float, float]


def bytes_of(concept: Concept) -> int:
    """Return about how many bytes a concept takes.

    Args:
        concept: The concept.

    Returns:
        Bytes.
    """
    texts = [*concept.notes, repr(concept.calibrated), *(mark.source for mark in concept.marks)]
    rows = 0 if concept.promise is None else len(concept.promise)
    return MARK_BYTES * len(concept.marks) + TEXT_BYTES * sum(map(len, texts)) + ROW_BYTES * rows


class Computed:
    """Concepts, costs of tiles and areas, the most recently used of them; thread-safe."""

    def __init__(self, searcher: Searcher) -> None:
        """Start empty.

        Args:
            searcher: The archive.
        """
        self.searcher = searcher
        self._concepts = ByteCache[Concept](CONCEPT_BYTES, bytes_of)
        self._rankings = ByteCache[Ranking](RANKING_BYTES, lambda one: one.num_bytes)
        self._views = ByteCache[InView](VIEW_BYTES, lambda one: one.num_bytes)
        self._areas = ByteCache[DrawnAreas](AREA_BYTES, lambda one: one.num_bytes)

    def concept(self, state: State, request: ConceptRequest) -> Concept:
        """Learn the concept of a request.

        Args:
            state: The archive.
            request: The marks.

        Returns:
            The concept, without the judgements of a check.

        Raises:
            GeoHashRSError: If the marks are not valid.
        """
        key = _key(state, request, MARKS)
        return self._concepts.get(key, lambda: learned(self.searcher, state, request))

    def ranking(self, state: State, request: ConceptRequest, concept: Concept) -> Ranking:
        """Score all tiles that pass the filters.

        Args:
            state: The archive.
            request: The marks and filters.
            concept: Its concept.

        Returns:
            Their costs.

        Raises:
            GeoHashRSError: If the filters are not valid, or the archive was refitted.
        """

        def rank() -> Ranking:
            where = where_in(state.archive, **where_of(request))
            return Ranking.of(*concept.scored(state.archive, where))

        return self._rankings.get(_key(state, request, MARKS | FILTERS), rank)

    def in_view(
        self, state: State, request: ConceptRequest, ranking: Ranking, view: View
    ) -> InView:
        """Find the ranked tiles in a view.

        Args:
            state: The archive.
            request: The marks and filters.
            ranking: Its ranking.
            view: (minlon, minlat, maxlon, maxlat) as from `parse_view`.

        Returns:
            Those tiles.
        """
        key = _key(state, request, MARKS | FILTERS), view
        return self._views.get(key, lambda: ranking.in_view(state.archive, view))

    def areas(
        self, state: State, request: AreasRequest, join: Callable[[], DrawnAreas]
    ) -> DrawnAreas:
        """Keep the areas of a request.

        Args:
            state: The archive.
            request: The marks, the filters, and what is drawn.
            join: Makes the areas.

        Returns:
            The areas.
        """
        return self._areas.get(_key(state, request, MARKS | FILTERS | MAP), join)


def _key(state: State, request: ConceptRequest, about: set[str]) -> bytes:
    """Return a short key: a request may hold a file of megabytes."""
    text = f"{state.key} {request.model_dump_json(include=about)}"
    return hashlib.sha256(text.encode()).digest()
