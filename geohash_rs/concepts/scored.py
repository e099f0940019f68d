"""Score the tiles of an archive by what marks have taught."""

import dataclasses
import datetime as dt
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geohash_rs.codes import hamming_distances
from geohash_rs.concepts.learning import NUM_BACKGROUND, Model
from geohash_rs.concepts.mark import Mark, codes_of_marks
from geohash_rs.concepts.mark_examples import examples_of_marks
from geohash_rs.concepts.scope import fingerprint_of, other_scope
from geohash_rs.concepts.scores import Histogram, histogram_of
from geohash_rs.concepts.suggestions import choose, num_candidates
from geohash_rs.errors import CalibrationError, ConceptError, GeoHashRSWarning, HasherMismatchError
from geohash_rs.retrieval.image_queries import ImageQueries
from geohash_rs.retrieval.matches import Matches, rank_matches
from geohash_rs.retrieval.ranking import distinct_rows
from geohash_rs.retrieval.unmet import explain_unmet
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where, WhereOptions
from geohash_rs.store.searchable import Searchable, where_in
from geohash_rs.trust.promise import Promise

__all__ = ["LIKELY", "Ids", "ScoredTiles"]

Ids = npt.NDArray[np.int64]

LIKELY = 0.5  # score from which a tile counts as likely
DEEPER = 4  # factor by which a search is widened when too many of its tiles overlap
AT_ONCE = 1 << 22  # pairs of mark and tile in memory
BARS = 40  # of the histogram in a notebook


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoredTiles:
    """The tiles of an archive in the order of their scores.

    Attributes:
        archive: The archive.
        name: What the concept is called.
        marks: The judgements, oldest first.
        model: The weights that they taught.
        hasher: Fingerprint of the hasher whose bits are weighed; None if it is unknown.
        created: When it was learnt, UTC.
        promise: How often it is right, by cost; None until it is calibrated.
        calibrated: How it was calibrated, in words and numbers.
        notes: What is doubtful about the marks, one sentence each.
    """

    archive: ImageQueries = field(repr=False)
    name: str
    marks: tuple[Mark, ...] = field(repr=False)
    model: Model = field(repr=False)
    hasher: str | None
    created: dt.datetime
    promise: Promise | None = field(default=None, repr=False)
    calibrated: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        right = sum(mark.right for mark in self.marks)
        known = "calibrated" if self.promise is not None else "not calibrated"
        bits = 8 * len(self.model.weights.code)
        return f"{self.name}: {right} right, {len(self.marks) - right} wrong, {bits} bits, {known}"

    def _repr_html_(self) -> str:
        from geohash_rs.export.notebook import concept_html

        with self.archive.one_state() as still:
            same = still.hasher_fingerprint == self.hasher
            codes = still.sample(NUM_BACKGROUND)[1] if same else np.empty((0, 1), np.uint8)
        costs = self.model.weights.costs(codes) if same else np.empty(0, np.int32)
        found = histogram_of(self.model, costs, bins=BARS, promise=None)
        return concept_html(self, found.counts.tolist(), tiles=len(costs))

    def query(
        self,
        k: int | None = 20,
        *,
        precision: float | None = None,
        min_score: float | None = None,
        distinct: bool = False,
        exclude_marks: bool = False,
        crs: object = None,
        **where: Unpack[WhereOptions],
    ) -> Matches:
        """Find the tiles with the highest scores, of all tiles, exactly.

        Args:
            k: Number of tiles; None returns all within the limit of precision or score.
            precision: Only tiles of the largest set of best tiles for which this precision can be
                promised, above 0 and below 1. The promise is about the whole set, which k=None
                returns: the first k of it, those of a further min_score, and distinct ones are a
                part, of which nothing is promised.
            min_score: Only tiles with at least this score, 0 to 1.
            distinct: Leave out tiles that overlap a better one.
            exclude_marks: Leave out tiles that are marked.
            crs: CRS of the result; None means EPSG:4326.
            **where: Limits on tiles, as in `Archive.query`: region, within, time, scenes, labels,
                tile_size.

        Returns:
            Matches by falling score, ties by tile id. The column similarity is the score, distance
            the Hamming distance to the nearest mark that is right. If the concept is calibrated for
            these limits, precision is the highest one promised for a set of best tiles that holds
            this one; NaN if none is. Their examples are the marks.

        Raises:
            CalibrationError: If a precision is asked of a concept without calibration, or within
                limits for which it was not calibrated, or labels are too few to promise it.
            ConceptError: If the score is out of range.
            HasherMismatchError: If the archive was refitted.
            QueryError: If k or another limit is not valid.
        """
        Limits(k=k, max_distance=0)
        parsed = where_in(self.archive, **where)
        if exclude_marks:
            parsed = dataclasses.replace(parsed, exclude_ids=self.marked)
        with self.archive.one_state() as still:
            known = self.promise_for(still, parsed, needed=precision is not None)
            most = self.most_cost(promise=known, precision=precision, min_score=min_score)
            ids, costs, tiles = self._best(still, parsed, k=k, most=most, distinct=distinct)
            matches = self.matches(still, ids, costs, tiles, promise=known)
            matches.examples = examples_of_marks(still, self.marks)
            unmet = explain_unmet(still, parsed, scenes=matches["scene"], found=len(matches))
        if unmet:
            warnings.warn(unmet, GeoHashRSWarning, stacklevel=2)
        return matches if crs is None else matches.to_crs(crs)

    def suggest(self, k: int = 8, **where: Unpack[WhereOptions]) -> Matches:
        """Find the tiles whose judgement teaches most: uncertain, and unlike each other.

        Args:
            k: Number of tiles.
            **where: As in `query`.

        Returns:
            Tiles that are not marked yet, in the order in which to judge them; columns as in
            `query`.

        Raises:
            HasherMismatchError: If the archive was refitted.
            QueryError: If a limit is not valid.
        """
        Limits(k=k)
        asked = where_in(self.archive, **where)
        parsed = dataclasses.replace(asked, exclude_ids=self.marked)
        with self.archive.one_state() as still:
            ids, costs = self._find(still, Limits(k=num_candidates(k)), parsed)
            codes = still.codes(ids)
            if asked.is_everything:  # the threshold of a large class lies beyond the best
                more, sample = still.sample(NUM_BACKGROUND)
                new = ~np.isin(more, np.concatenate([ids, self.marked]))
                ids, codes = np.append(ids, more[new]), np.append(codes, sample[new], axis=0)
                costs = np.append(costs, self.model.weights.costs(sample[new]))
            num_bytes = len(self.model.weights.code)
            rows = choose(
                codes,
                costs,
                self.model,
                codes_of_marks(self.marks, right=True, num_bytes=num_bytes),
                codes_of_marks(self.marks, right=False, num_bytes=num_bytes),
                k=min(k, len(ids)),
            )
            known = self.promise_for(still, parsed)
            tiles = still.tiles(ids[rows])
            return self.matches(still, ids[rows], costs[rows], tiles, promise=known)

    def histogram(self, *, bins: int = 64, **where: Unpack[WhereOptions]) -> Histogram:
        """Count the tiles by score.

        Args:
            bins: Number of equal steps of score.
            **where: As in `query`.

        Returns:
            The counts, and what can be promised at each step.
        """
        with self.archive.one_state() as still:
            parsed = where_in(self.archive, **where)
            _, costs = self.scored(still, parsed)
            known = self.promise_for(still, parsed)
        return histogram_of(self.model, costs, bins=bins, promise=known)

    def promise_for(
        self, still: Searchable, where: Where, *, needed: bool = False
    ) -> Promise | None:
        """Return the promise if it holds for the tiles within some limits.

        Args:
            still: One state of the archive.
            where: The limits.
            needed: Whether a precision was asked for.

        Returns:
            The promise; None if there is none for these tiles, with a warning if the tiles from
            which some were drawn have changed.

        Raises:
            CalibrationError: If there is none, and it is needed.
        """
        problem = None
        if self.promise is None:
            problem = (
                f"{self.name} is not calibrated, so no precision can be promised; judge tiles that "
                "Concept.check draws, or pass labels to Concept.calibrate."
            )
        elif other := other_scope(self.calibrated or {}, where, drawn=self.promise.drawn):
            problem = (
                f"no precision of {self.name} can be promised here: {other}; pass the same limits, "
                "or calibrate with these."
            )
        elif self.is_of_other_tiles(still, where):
            problem = self.stale
            if not needed:
                warnings.warn(problem, GeoHashRSWarning, stacklevel=3)
        if problem is None:
            return self.promise
        if needed:
            raise CalibrationError(problem)
        return None

    def is_of_other_tiles(self, still: Searchable, where: Where | None = None) -> bool:
        """Find out whether the tiles from which some were drawn at random are others now.

        Args:
            still: One state of the archive.
            where: The limits of the draw; without them, a limited draw is not looked into.

        Returns:
            Whether they are others; False if none were drawn.
        """
        how = self.calibrated or {}
        limited = other_scope(how, where or Where(), drawn=True) is not None
        if self.promise is None or not self.promise.drawn or limited:
            return False
        score = how.get("min_score")
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            return True
        try:
            found = self._above(still, where or Where(), min_score=score)
        except ConceptError:  # no tile is left
            return True
        return fingerprint_of(*found) != how.get("drawn from")

    @property
    def stale(self) -> str:
        """What to say if `is_of_other_tiles`."""
        return (
            f"the calibration of {self.name} is a random draw from tiles that are not those of "
            f"{self.archive.path} now, so nothing is promised; check it again."
        )

    def _above(
        self, still: Searchable, where: Where, *, min_score: float
    ) -> tuple[Ids, npt.NDArray[np.int32]]:
        """Find the unmarked tiles above a score, from which some are drawn at random.

        Raises:
            ConceptError: If there is none.
        """
        free = dataclasses.replace(where, exclude_ids=self.marked)
        ids, costs = self.scored(still, free, most=self.most_cost(min_score=min_score))
        if not len(ids):
            msg = f"no unmarked tile has a score of {min_score} or more; draw from lower scores."
            raise ConceptError(msg)
        return ids, costs

    def most_cost(
        self,
        *,
        promise: Promise | None = None,
        precision: float | None = None,
        min_score: float | None = None,
    ) -> int:
        """Find the largest cost that a precision or score allows.

        Args:
            promise: The promise for the tiles that are meant; needed for a precision.
            precision: Precision that must be promised, above 0 and below 1.
            min_score: Smallest score, 0 to 1.

        Returns:
            The cost; that of the worst code if there is no limit, below 0 if nothing can pass.

        Raises:
            CalibrationError: If the precision cannot be promised.
            ConceptError: If the score is out of range.
        """
        most = self.model.weights.most
        if min_score is not None:
            if not 0 <= min_score <= 1:
                msg = f"min_score is {min_score}; a score lies between 0 and 1."
                raise ConceptError(msg)
            most = min(most, self.model.cost_at(min_score))
        if precision is not None and promise is not None:
            most = min(most, promise.limit(precision))
        return most

    def scored(
        self, still: Searchable, where: Where, *, most: int | None = None
    ) -> tuple[Ids, npt.NDArray[np.int32]]:
        """Score all tiles.

        Args:
            still: One state of the archive.
            where: Limits on tiles.
            most: Largest cost; None scores all.

        Returns:
            Ids and costs, by cost, ties by id, shape (tiles,).

        Raises:
            HasherMismatchError: If the archive was refitted.
        """
        limit = self.model.weights.most if most is None else most
        if limit < 0:
            return np.empty(0, np.int64), np.empty(0, np.int32)
        return self._find(still, Limits(k=None, max_distance=limit), where)

    def _find(
        self, still: Searchable, limits: Limits, where: Where
    ) -> tuple[Ids, npt.NDArray[np.int32]]:
        if still.hasher_fingerprint != self.hasher:
            msg = (
                f"{still.path} was refitted after {self.name} was learnt, so its bits mean "
                "something else; learn it again from its marks with Concept.learn()."
            )
            raise HasherMismatchError(msg)
        found = still.find(self.model.weights, limits=limits, where=where)
        real = found.ids[0] >= 0
        return found.ids[0][real], found.distances[0][real]

    def _best(
        self, still: Searchable, where: Where, *, k: int | None, most: int, distinct: bool = False
    ) -> tuple[Ids, npt.NDArray[np.int32], gpd.GeoDataFrame]:
        """Find the best tiles; with `distinct`, those that overlap no better one."""
        if most < 0:
            none = np.empty(0, np.int64)
            return none, np.empty(0, np.int32), still.tiles(none)
        depth = k if k is None or not distinct else DEEPER * k
        while True:
            ids, costs = self._find(still, Limits(k=depth, max_distance=most), where)
            tiles = still.tiles(ids)
            if not distinct:
                return ids, costs, tiles
            rows = distinct_rows(tiles.geometry.to_numpy(), most=k)
            if depth is None or len(rows) == k or len(ids) < depth:
                return ids[rows], costs[rows], tiles.iloc[rows]
            depth *= DEEPER

    @property
    def marked(self) -> Ids:
        """Ids of the marked tiles, ascending."""
        return np.array(sorted(m.tile for m in self.marks if m.tile is not None), dtype=np.int64)

    def matches(
        self,
        still: Searchable,
        ids: Ids,
        costs: npt.NDArray[np.int32],
        tiles: gpd.GeoDataFrame,
        *,
        promise: Promise | None = None,
    ) -> Matches:
        """Make matches of scored tiles.

        Args:
            still: One state of the archive.
            ids: Their ids, shape (tiles,).
            costs: Their costs, shape (tiles,).
            tiles: Their rows.
            promise: What is known of their precision.

        Returns:
            Columns as in `query`.
        """
        right = codes_of_marks(self.marks, right=True, num_bytes=len(self.model.weights.code))
        nearest = np.empty(len(ids), np.int32)
        step = max(1, AT_ONCE // len(right))
        for start in range(0, len(ids), step):
            part = slice(start, start + step)
            nearest[part] = hamming_distances(right, still.codes(ids[part])).min(axis=0)
        if promise is not None:
            tiles = tiles.assign(precision=promise.precision_of(costs))
        matches = rank_matches(tiles, nearest, similarity=self.model.scores(costs))
        matches.archive_folder = still.path if isinstance(still.path, Path) else None
        return matches
