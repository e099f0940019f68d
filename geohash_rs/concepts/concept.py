"""A concept: what marks have taught, applied to every tile of an archive."""

import dataclasses
import datetime as dt
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, Unpack

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from geohash_rs.concepts.area_table import Areas
from geohash_rs.concepts.areas import areas_of
from geohash_rs.concepts.concept_file import Saved, read_concept, write_concept
from geohash_rs.concepts.draw import drawn, judged
from geohash_rs.concepts.learning import NUM_BACKGROUND, fit_model
from geohash_rs.concepts.mark import Mark, check_marks, codes_of_marks, joined, recognised
from geohash_rs.concepts.marking import Shown, new_marks
from geohash_rs.concepts.raster import write_rasters
from geohash_rs.concepts.scored import Ids, ScoredTiles
from geohash_rs.errors import CalibrationError, ConceptError, GeoHashRSWarning, HasherMismatchError
from geohash_rs.retrieval.image_queries import ImageQueries
from geohash_rs.retrieval.matches import Matches
from geohash_rs.store.search.nearest import Limits
from geohash_rs.store.search.where import Where, WhereOptions
from geohash_rs.store.searchable import Searchable, bits_of
from geohash_rs.trust.labels import label_archive
from geohash_rs.trust.promise import promise_of
from geohash_rs.trust.total_ratio import ratio_of

__all__ = ["Concept"]

LIKELY = 0.5  # score from which a tile counts as likely


@dataclass(frozen=True, kw_only=True, eq=False)
class Concept(ScoredTiles):
    """What marks have taught about an archive; made by `Archive.learn` or `Archive.concept`.

    It gives each tile a cost, the sum of the weights of the bits that differ from a code, and a
    score from 0 to 1 that falls with the cost. A score ranks; only a calibration says how often it
    is right. The archive is never changed: save the concept to a file of your own.

    >>> concept = archive.learn(right=[12, "pit.tif"], wrong=[7])  # doctest: +SKIP
    >>> concept.suggest(8)  # to be judged next  # doctest: +SKIP
    >>> concept = concept.learn(right=[40, 41], wrong=[95])  # doctest: +SKIP
    >>> concept.save("pits.concept")  # doctest: +SKIP

    Its attributes are those of `ScoredTiles`.
    """

    @classmethod
    def of_marks(cls, archive: ImageQueries, marks: Iterable[Mark], *, name: str) -> Self:
        """Learn from marks.

        Args:
            archive: The archive.
            marks: The judgements, at most one of each tile.
            name: What the concept is called.

        Returns:
            The concept, not calibrated.

        Raises:
            ConceptError: If no mark is right, or a code is not as long as the archive's.
        """
        known = tuple(marks)
        notes = check_marks(known)
        with archive.one_state() as still:
            num_bytes = bits_of(still) // 8
            if wrong := [mark for mark in known if len(mark.code) != num_bytes]:
                msg = (
                    f"a mark has a code of {8 * len(wrong[0].code)} bits, but those of "
                    f"{still.path} have {8 * num_bytes}; mark tiles of this archive."
                )
                raise ConceptError(msg)
            background = still.sample(NUM_BACKGROUND)[1]
            hasher = still.hasher_fingerprint
        model = fit_model(
            codes_of_marks(known, right=True, num_bytes=num_bytes),
            codes_of_marks(known, right=False, num_bytes=num_bytes),
            background,
        )
        return cls(
            archive=archive,
            name=name,
            marks=known,
            model=model,
            hasher=hasher,
            created=dt.datetime.now(dt.UTC).replace(microsecond=0),
            notes=notes,
        )

    @classmethod
    def open(cls, path: str | Path, archive: ImageQueries) -> Self:
        """Read a concept from a file, for an archive with codes of the same hasher.

        Args:
            path: The file.
            archive: The archive whose tiles it will score.

        Returns:
            The concept.

        Raises:
            ConceptError: If the file is not a concept, or is damaged.
            HasherMismatchError: If another hasher made the codes of the archive.
        """
        saved = read_concept(path)
        return cls(archive=archive, **vars(saved)).on(archive)

    def save(self, path: str | Path) -> None:
        """Write the concept to one small JSON file; an existing one is replaced as a whole.

        Args:
            path: The file, such as "pits.concept".

        Raises:
            ExportError: If it cannot be written, or lies in an archive.
        """
        names = [item.name for item in dataclasses.fields(Saved)]
        write_concept(Saved(**{name: getattr(self, name) for name in names}), path)

    def on(self, archive: ImageQueries) -> Self:
        """Apply the concept to another archive with codes of the same hasher.

        Ids of marked tiles that mean other tiles there are dropped; their codes still teach. A
        calibration stays: it holds for places like those that were labelled.

        Args:
            archive: The other archive.

        Returns:
            The concept for that archive.

        Raises:
            HasherMismatchError: If another hasher made its codes.
        """
        bits = 8 * len(self.model.weights.code)
        if archive.hasher_fingerprint != self.hasher or bits_of(archive) != bits:
            msg = (
                f"{self.name} weighs {bits} bits of the hasher {(self.hasher or 'unknown')[:16]}, "
                f"but the codes of {archive.path} have {bits_of(archive)} bits of "
                f"{(archive.hasher_fingerprint or 'unknown')[:16]}; learn it again there."
            )
            raise HasherMismatchError(msg)
        with archive.one_state() as still:
            marks = tuple(recognised(still, self.marks))
        return dataclasses.replace(self, archive=archive, marks=marks)

    def learn(
        self,
        *,
        right: Shown = None,
        wrong: Shown = None,
        forget: Iterable[int] = (),
        layer: str | None = None,
        device: str = "cpu",
        **where: Unpack[WhereOptions],
    ) -> Self:
        """Learn from more marks. A calibration does not hold for what is learnt, and is dropped.

        Args:
            right: As in `Archive.learn`; a new judgement of a tile replaces the old one.
            wrong: As in `Archive.learn`.
            forget: Ids of tiles whose marks are taken back.
            layer: As in `Archive.learn`.
            device: As in `Archive.learn`.
            **where: As in `Archive.learn`.

        Returns:
            The new concept; this one stays as it is.

        Raises:
            ConceptError: As `Archive.learn`, or if a tile to forget is not marked.
            GeoHashRSError: As `Archive.learn`.
        """
        new = new_marks(
            self.archive,
            right=right,
            wrong=wrong,
            layer=layer,
            where=Where.parse(**where),
            device=device,
        )
        gone = set(forget)
        if unknown := gone - {mark.tile for mark in self.marks}:
            msg = f"tile {min(unknown)} is not marked in {self.name}, so it cannot be forgotten."
            raise ConceptError(msg)
        kept = [mark for mark in self.marks if mark.tile is None or mark.tile not in gone]
        return self.of_marks(self.archive, joined(kept, new), name=self.name)

    def check(
        self,
        k: int = 60,
        *,
        min_score: float = LIKELY,
        seed: int = 0,
        **where: Unpack[WhereOptions],
    ) -> Matches:
        """Draw tiles at random from those above a score, to find out how many are right.

        Judge every one of them, then call `checked`. Marked tiles are not drawn.

        Args:
            k: Number of tiles to judge.
            min_score: Smallest score of the tiles drawn, 0 to 1.
            seed: Seed of the draw.
            **where: As in `query`.

        Returns:
            Fewer than k tiles if there are not so many, in a random order; columns as in `query`.

        Raises:
            ConceptError: If the score is out of range, or no tile reaches it.
            HasherMismatchError: If the archive was refitted.
            QueryError: If a limit is not valid.
        """
        Limits(k=k)
        with self.archive.one_state() as still:
            ids, costs = self._draw(still, min_score=min_score, seed=seed, where=where)
            ids, costs = ids[:k], costs[:k]
            return self.matches(still, ids, costs, still.tiles(ids))

    def checked(
        self,
        *,
        right: Iterable[int],
        wrong: Iterable[int],
        min_score: float = LIKELY,
        seed: int = 0,
        delta: float = 0.1,
        **where: Unpack[WhereOptions],
    ) -> Self:
        """Calibrate with the judgement of tiles that `check` drew.

        They must be the first of that draw, without gaps: whoever judges only clear cases would
        promise too much. The tiles were drawn from this archive, so the promise is about it.

        Args:
            right: Ids of tiles that are right.
            wrong: Ids of the others; count those that you cannot judge as wrong.
            min_score: As given to `check`.
            seed: As given to `check`.
            delta: Failure rate of a promise, 0 to 1.
            **where: As given to `check`.

        Returns:
            The calibrated concept.

        Raises:
            CalibrationError: If the tiles are not those of the draw, or too few.
            ConceptError: As `check`.
        """
        with self.archive.one_state() as still:
            ids, costs = self._draw(still, min_score=min_score, seed=seed, where=where)
        is_right = judged(ids, right=right, wrong=wrong)
        count = len(is_right)
        # drawn at random from the tiles themselves, so each is a block of its own
        known = promise_of(costs[:count], is_right, np.arange(count), delta=delta)
        # every tile up to the smallest score could be drawn, so all that were drawn speak for it
        values = np.append(known.values[:-1], self.most_cost(min_score=min_score))
        promise = dataclasses.replace(known, values=values)
        how = {
            "by": "random tiles of the archive, judged one by one",
            "tiles": count,
            "seed": seed,
            "min_score": min_score,
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
        counted in blocks of ground, because neighbours are alike. Marked tiles do not count, but
        for totals: there, they are part of the mixture.

        Args:
            labels: Polygons or points with a class, in any vector file or as a table.
            column: Column with the class.
            right: The classes that are right; all others are wrong.
            layer: Layer of a file that has several.
            min_share: Smallest share of a tile that a polygon must cover.
            block_km: Side of a block of ground, km; None chooses it by the size of tiles.
            delta: Failure rate of a promise, 0 to 1.
            **where: Limits on the tiles that count, as in `query`.

        Returns:
            The calibrated concept.

        Raises:
            CalibrationError: If a class is not in the labels, or there are too few.
            LabelError: If the labels cannot be read or cover no tile.
        """
        classes = {right} if isinstance(right, str) else {str(name) for name in right}
        with self.archive.one_state() as still:
            found = label_archive(
                still,
                labels,
                column=column,
                layer=layer,
                min_share=min_share,
                block_km=block_km,
                where=Where.parse(**where),
            )
            names = {str(name) for name in found.labels}
            if missing := sorted(classes - names):
                msg = (
                    f"no labelled tile has the class {missing[0]!r}; their classes are "
                    f"{', '.join(sorted(names))}."
                )
                raise CalibrationError(msg)
            costs = self.model.weights.costs(still.codes(found.ids))
        rows = np.flatnonzero(~np.isin(found.ids, self.marked))
        is_right = np.isin(found.labels.astype(str), sorted(classes))
        known = promise_of(costs[rows], is_right[rows], found.blocks[rows], delta=delta)
        totals = ratio_of(costs, is_right, found.blocks, thresholds=known.values, delta=delta)
        promise = dataclasses.replace(known, totals=totals)
        how = {
            "by": f"labels in the column {column}: {', '.join(sorted(classes))} is right",
            "tiles": len(rows),
            "blocks": len(np.unique(found.blocks[rows])),
            "block_km": found.block_km,
        }
        return dataclasses.replace(self, promise=promise, calibrated=how)

    def table(self) -> pd.DataFrame:
        """Return what is known at each threshold of the calibration.

        Returns:
            The columns cost, score, tiles (labelled, with this score or more), blocks, share (that
            is right), low and high (an interval for it), and promised (precision, NaN if none).

        Raises:
            CalibrationError: If the concept is not calibrated.
        """
        if self.promise is None:
            msg = f"{self.name} is not calibrated; see Concept.check and calibrate."
            raise CalibrationError(msg)
        table = self.promise.table().rename(columns={"value": "cost"})
        table.insert(1, "score", self.model.scores(table["cost"].to_numpy()).round(4))
        return table

    def map(
        self,
        *,
        precision: float | None = None,
        min_score: float | None = None,
        dates: str = "apart",
        min_area_km2: float = 0.0,
        by: gpd.GeoDataFrame | str | Path | None = None,
        by_column: str | None = None,
        by_layer: str | None = None,
        **where: Unpack[WhereOptions],
    ) -> Areas:
        """Draw the ground of all tiles above a precision or a score as dissolved polygons.

        Args:
            precision: Precision that must be promised, above 0 and below 1.
            min_score: Smallest score, 0 to 1. Without either it is 0.5, with a warning that nobody
                knows how often this is right.
            dates: "apart" draws each day by itself, "merged" all ground that is found on any day.
            min_area_km2: Areas below this and gaps below this are dropped and filled.
            by: Polygons of regions, a file or a table, to cut areas at and to sum up by.
            by_column: Column of their names; None numbers them.
            by_layer: Layer of a file that has several.
            **where: As in `query`.

        Returns:
            Areas, with area, mean score and number of tiles; totals are in `Areas.totals`.

        Raises:
            CalibrationError: As `query`.
            ConceptError: If another argument is not valid.
            HasherMismatchError: If the archive was refitted.
            RegionError: If the regions cannot be read.
        """
        if precision is None and min_score is None:
            min_score = LIKELY
            if self.promise is None:
                msg = (
                    f"{self.name} is not calibrated, so nobody knows how often its areas are "
                    f"right; drawn from score {min_score}. See Concept.check and calibrate."
                )
                warnings.warn(msg, GeoHashRSWarning, stacklevel=2)
        most = self.most_cost(precision=precision, min_score=min_score)
        parsed = Where.parse(**where)
        with self.archive.one_state() as still:
            ids, costs = self.scored(still, parsed, most=most)
            return areas_of(
                still,
                ids,
                costs,
                model=self.model,
                promise=self.promise,
                dates=dates,
                min_area_km2=min_area_km2,
                by=by,
                by_column=by_column,
                by_layer=by_layer,
                tile_sizes=parsed.tile_sizes,
            )

    def rasters(self, folder: str | Path, **where: Unpack[WhereOptions]) -> list[Path]:
        """Write the scores as Cloud Optimized GeoTIFFs with a pixel for each tile.

        Args:
            folder: Where to write; made if it is missing.
            **where: As in `query`.

        Returns:
            The files.

        Raises:
            ExportError: If they cannot be written.
            HasherMismatchError: If the archive was refitted.
        """
        parsed = Where.parse(**where)
        with self.archive.one_state() as still:
            ids, costs = self.scored(still, parsed)
            scores = self.model.scores(costs)
            return write_rasters(
                still, ids, scores, folder, name=self.name, tile_sizes=parsed.tile_sizes
            )

    def _draw(
        self, still: Searchable, *, min_score: float, seed: int, where: WhereOptions
    ) -> tuple[Ids, npt.NDArray[np.int32]]:
        """Order the tiles above a score at random.

        Raises:
            ConceptError: If there is none.
        """
        parsed = dataclasses.replace(Where.parse(**where), exclude_ids=self.marked)
        ids, costs = self.scored(still, parsed, most=self.most_cost(min_score=min_score))
        if not len(ids):
            msg = f"no unmarked tile has a score of {min_score} or more; draw from lower scores."
            raise ConceptError(msg)
        order = drawn(ids, seed=seed)
        return ids[order], costs[order]
