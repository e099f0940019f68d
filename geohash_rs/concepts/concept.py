"""A concept: what marks have taught, applied to every tile of an archive."""

import dataclasses
import datetime as dt
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

import geopandas as gpd

from geohash_rs.concepts.calibrated import Calibrated
from geohash_rs.concepts.concept_file import Saved, read_concept, write_concept
from geohash_rs.concepts.learning import NUM_BACKGROUND, fit_model
from geohash_rs.concepts.mark import Mark, check_marks, codes_of_marks, joined, recognised, renewed
from geohash_rs.concepts.marking import Shown, new_marks
from geohash_rs.concepts.scored import LIKELY
from geohash_rs.errors import ConceptError, GeoHashRSWarning, HasherMismatchError
from geohash_rs.retrieval.image_queries import ImageQueries
from geohash_rs.store.search.where import WhereOptions
from geohash_rs.store.searchable import bits_of, where_in

if TYPE_CHECKING:
    from geohash_rs.concepts.area_table import Areas

__all__ = ["Concept"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Concept(Calibrated):
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
    def of_marks(
        cls, archive: ImageQueries, marks: Iterable[Mark], *, name: str, hasher: str | None
    ) -> Self:
        """Learn from marks.

        Args:
            archive: The archive.
            marks: The judgements, at most one of each tile.
            name: What the concept is called.
            hasher: Fingerprint of the hasher that made the codes of the marks.

        Returns:
            The concept, not calibrated.

        Raises:
            ConceptError: If no mark is right, or a code is not as long as the archive's.
            HasherMismatchError: If another hasher made the archive's codes, and a mark has no tile
                whose code can be looked up again.
        """
        with archive.one_state() as still:
            known = tuple(renewed(still, marks, hasher=hasher))
            notes = check_marks(known)
            num_bytes = bits_of(still) // 8
            if wrong := [mark for mark in known if len(mark.code) != num_bytes]:
                msg = (
                    f"a mark has a code of {8 * len(wrong[0].code)} bits, but those of "
                    f"{still.path} have {8 * num_bytes}; mark tiles of this archive."
                )
                raise ConceptError(msg)
            background = still.sample(NUM_BACKGROUND)[1]
            present = still.hasher_fingerprint
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
            hasher=present,
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
        calibration by labels stays: it holds for places like those that were labelled. One by a
        random draw holds for the tiles it was drawn from, and is dropped with a warning if they
        are others here. If it was limited to some tiles, that is found out when it is used.

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
            here = dataclasses.replace(self, archive=archive, marks=marks)
            if here.is_of_other_tiles(still):
                warnings.warn(f"{here.stale} It is dropped.", GeoHashRSWarning, stacklevel=3)
                return dataclasses.replace(here, promise=None, calibrated=None)
        return here

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

        If the archive was refitted meanwhile, the codes of the marked tiles are looked up again;
        without new marks, this learns the same from the new codes.

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
            HasherMismatchError: If the archive was refitted and a mark has only a code, since it
                is of a patch, of another archive, or of a removed tile.
            GeoHashRSError: As `Archive.learn`.
        """
        new, hasher = new_marks(
            self.archive,
            right=right,
            wrong=wrong,
            layer=layer,
            where=where_in(self.archive, **where),
            device=device,
        )
        gone = set(forget)
        if unknown := gone - {mark.tile for mark in self.marks}:
            msg = f"tile {min(unknown)} is not marked in {self.name}, so it cannot be forgotten."
            raise ConceptError(msg)
        kept = [mark for mark in self.marks if mark.tile is None or mark.tile not in gone]
        with self.archive.one_state() as still:
            marks = joined(renewed(still, kept, hasher=self.hasher), new)
            if still.hasher_fingerprint != hasher:
                msg = f"{still.path} was refitted while it learnt; call learn again."
                raise HasherMismatchError(msg)
        return self.of_marks(self.archive, marks, name=self.name, hasher=hasher)

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
    ) -> "Areas":
        """Draw the ground of all tiles above a precision or a score as dissolved polygons.

        Of several tile sizes in a scene only the smallest is drawn; `tile_size` chooses another.

        Args:
            precision: Precision that must be promised, above 0 and below 1. The promise is about
                the share of tiles, as `query` finds them, not of km2: areas that are dropped, gaps
                that are filled and overlaps change the ground, and nothing is promised of that.
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
        from geohash_rs.concepts.areas import areas_of  # slow to import, as what it draws with

        if precision is None and min_score is None:
            min_score = LIKELY
            if self.promise is None:
                msg = (
                    f"{self.name} is not calibrated, so nobody knows how often its areas are "
                    f"right; drawn from score {min_score}. See Concept.check and Concept.calibrate."
                )
                warnings.warn(msg, GeoHashRSWarning, stacklevel=2)
        parsed = where_in(self.archive, **where)
        with self.archive.one_state() as still:
            known = self.promise_for(still, parsed, needed=precision is not None)
            most = self.most_cost(promise=known, precision=precision, min_score=min_score)
            ids, costs = self.scored(still, parsed, most=most)
            return areas_of(
                still,
                ids,
                costs,
                model=self.model,
                promise=known,
                dates=dates,
                min_area_km2=min_area_km2,
                by=by,
                by_column=by_column,
                by_layer=by_layer,
                tile_sizes=parsed.tile_sizes,
                name=self.name,
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
        from geohash_rs.concepts.raster import write_rasters  # slow to import

        parsed = where_in(self.archive, **where)
        with self.archive.one_state() as still:
            ids, costs = self.scored(still, parsed)
            scores = self.model.scores(costs)
            return write_rasters(
                still, ids, scores, folder, name=self.name, tile_sizes=parsed.tile_sizes
            )
