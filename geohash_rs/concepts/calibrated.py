"""Find out how often a concept is right: with labels, or with tiles drawn at random."""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, Unpack

import geopandas as gpd
import numpy as np
import pandas as pd

from geohash_rs.concepts.draw import drawn, judged
from geohash_rs.concepts.scope import fingerprint_of, scope_of
from geohash_rs.concepts.scored import LIKELY, ScoredTiles
from geohash_rs.errors import CalibrationError
from geohash_rs.retrieval.matches import Matches
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import WhereOptions
from geohash_rs.store.searchable import where_in
from geohash_rs.trust.labels import label_archive
from geohash_rs.trust.promise import check_delta, promise_of
from geohash_rs.trust.total_ratio import ratio_of

__all__ = ["CHECKED", "Calibrated"]

CHECKED = 60  # tiles to judge


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibrated(ScoredTiles):
    """Scored tiles for which a precision can be promised."""

    def check(
        self,
        k: int = CHECKED,
        *,
        min_score: float = LIKELY,
        seed: int = 0,
        **where: Unpack[WhereOptions],
    ) -> Matches:
        """Draw tiles at random from those above a score, to find out how many are right.

        Judge every one of them, then call `checked` with the same arguments. Marked tiles are not
        drawn.

        Args:
            k: Number of tiles to judge.
            min_score: Smallest score of the tiles drawn, 0 to 1.
            seed: Seed of the draw.
            **where: As in `query`.

        Returns:
            Fewer than k tiles if there are not so many, in a random order; columns as in `query`,
            without precision.

        Raises:
            ConceptError: If the score is out of range, or no tile reaches it.
            HasherMismatchError: If the archive was refitted.
            QueryError: If a limit is not valid.
        """
        Limits(k=k)
        with self.archive.one_state() as still:
            ids, costs = self._above(still, where_in(self.archive, **where), min_score=min_score)
            order = drawn(ids, seed=seed)[:k]
            return self.matches(still, ids[order], costs[order], still.tiles(ids[order]))

    def checked(
        self,
        *,
        right: Iterable[int],
        wrong: Iterable[int],
        k: int = CHECKED,
        min_score: float = LIKELY,
        seed: int = 0,
        delta: float = 0.1,
        **where: Unpack[WhereOptions],
    ) -> Self:
        """Calibrate with the judgement of the tiles that `check` drew, all of them.

        Whoever judges only clear cases, or stops as soon as the result is good, would promise too
        much. The promise is about the tiles from which these were drawn: this archive as it is now,
        within the same limits. Of other tiles it says nothing, and it is dropped with a warning
        when tiles are added or removed.

        A second check of the same concept is a second chance to be lucky. Failure rates add up, so
        pass a larger delta, of which it uses what earlier checks have left.

        Args:
            right: Ids of tiles that are right.
            wrong: Ids of the others; count those that you cannot judge as wrong.
            k: As given to `check`.
            min_score: As given to `check`.
            seed: As given to `check`.
            delta: Failure rate of the promise, and of those of earlier checks together, from 0.001
                to below 0.5.
            **where: As given to `check`.

        Returns:
            The calibrated concept.

        Raises:
            CalibrationError: If the tiles are not those of the draw, are too few, or earlier checks
                have spent delta.
            ConceptError: As `check`.
        """
        Limits(k=k)
        looks, spent = self._spent()
        check_delta(delta)
        if delta - spent < 0.001:
            msg = (
                f"{self.name} was checked before with failure rate {spent:g}, and a promise chosen "
                f"from several checks fails as often as they do together; pass delta="
                f"{spent + 0.1:g} to spend 0.1 more, or judge one larger draw from the start."
            )
            raise CalibrationError(msg)
        parsed = where_in(self.archive, **where)
        with self.archive.one_state() as still:
            ids, costs = self._above(still, parsed, min_score=min_score)
        order = drawn(ids, seed=seed)[:k]
        is_right = judged(ids[order], right=right, wrong=wrong)
        # drawn at random from the tiles themselves, so each is a block of its own
        blocks = np.arange(len(order))
        known = promise_of(costs[order], is_right, blocks, delta=delta - spent, drawn=True)
        # every tile up to the smallest score could be drawn, so all that were drawn speak for it
        values = np.append(known.values[:-1], self.most_cost(min_score=min_score))
        promise = dataclasses.replace(known, values=values, delta=delta)
        how: dict[str, Any] = {
            "by": "random tiles of the archive, judged one by one",
            "tiles": len(order),
            "checks": looks + 1,
            "k": k,
            "seed": seed,
            "min_score": min_score,
            **scope_of(parsed),
            "drawn from": fingerprint_of(ids, costs),
        }
        return dataclasses.replace(self, promise=promise, calibrated=how)

    def calibrate(
        self,
        labels: gpd.GeoDataFrame | str | Path,
        /,
        *,
        column: str,
        right: str | Iterable[str],
        layer: str | None = None,
        min_share: float = 0.5,
        block_km: float | None = None,
        delta: float = 0.1,
        **where: Unpack[WhereOptions],
    ) -> Self:
        """Find out with a layer of labels how often the concept is right, by score.

        The promise holds for places like those that are labelled, in the same mixture. Tiles are
        counted in blocks of ground, because neighbours are alike. Blocks that hold a mark do not
        count, but for totals, where they are part of the mixture: what was marked is known better
        than other places. A mark without a place, such as
        that of a patch without coordinates, cannot be told from other places.

        Args:
            labels: Polygons or points with a class, in any vector file or as a table.
            column: Column with the class.
            right: The classes that are right; all others are wrong.
            layer: Layer of a file that has several.
            min_share: Smallest share of a tile that a polygon must cover.
            block_km: Side of a block of ground, km; None chooses it by the size of tiles.
            delta: Failure rate of a promise, from 0.001 to below 0.5.
            **where: Limits on the tiles that count, as in `query`. A precision is then promised
                only with the same limits.

        Returns:
            The calibrated concept.

        Raises:
            CalibrationError: If a class is not in the labels, all labels are right, or there are
                too few.
            LabelError: If the labels cannot be read or cover no tile.
        """
        classes = {right} if isinstance(right, str) else {str(name) for name in right}
        parsed = where_in(self.archive, **where)
        with self.archive.one_state() as still:
            found = label_archive(
                still,
                labels,
                column=column,
                layer=layer,
                min_share=min_share,
                block_km=block_km,
                where=parsed,
            )
            names = {str(name) for name in found.labels}
            if missing := sorted(classes - names):
                msg = (
                    f"no labelled tile has the class {missing[0]!r}; their classes are "
                    f"{', '.join(sorted(names))}."
                )
                raise CalibrationError(msg)
            if names <= classes:
                msg = (
                    f"every labelled tile is right ({', '.join(sorted(names))}), so the labels say "
                    "nothing about what is wrong; label other ground, too, or judge a random draw."
                )
                raise CalibrationError(msg)
            costs = self.model.weights.costs(still.codes(found.ids))
        is_right = np.isin(found.labels.astype(str), sorted(classes))
        apart = found.away_from(mark.place for mark in self.marks if mark.place is not None)
        rows = np.flatnonzero(apart & ~np.isin(found.ids, self.marked))
        left_out = len(np.unique(found.blocks)) - len(np.unique(found.blocks[rows]))
        try:
            known = promise_of(costs[rows], is_right[rows], found.blocks[rows], delta=delta)
        except CalibrationError as error:
            if not left_out:
                raise
            msg = f"{error} Blocks that hold marks do not count; they are {left_out}."
            raise CalibrationError(msg) from error
        totals = ratio_of(costs, is_right, found.blocks, thresholds=known.values, delta=delta)
        promise = dataclasses.replace(known, totals=totals)
        how: dict[str, Any] = {
            "by": f"labels in the column {column}: {', '.join(sorted(classes))} is right",
            "tiles": len(rows),
            "blocks": len(np.unique(found.blocks[rows])),
            "blocks with marks, left out": left_out,
            "block_km": found.block_km,
            **scope_of(parsed),
        }
        return dataclasses.replace(self, promise=promise, calibrated=how)

    def table(self) -> pd.DataFrame:
        """Return what is known at each threshold of the calibration.

        Returns:
            The columns cost, score, tiles (labelled, with this score or more), blocks, share (that
            is right), low and high (an interval for it), and promised (precision up to this
            threshold, NaN if none).

        Raises:
            CalibrationError: If the concept is not calibrated.
        """
        if self.promise is None:
            msg = f"{self.name} is not calibrated; see Concept.check and Concept.calibrate."
            raise CalibrationError(msg)
        table = self.promise.table().rename(columns={"value": "cost"})
        table.insert(1, "score", self.model.scores(table["cost"].to_numpy()).round(4))
        return table

    def _spent(self) -> tuple[int, float]:
        """Return how many checks were made of this concept, and their failure rates together."""
        if self.promise is None or not self.promise.drawn:
            return 0, 0.0
        looks = (self.calibrated or {}).get("checks")
        return looks if isinstance(looks, int) else 1, self.promise.delta
