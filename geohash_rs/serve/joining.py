"""Join the tiles of a concept to areas: one map at a time, and no more tiles than join soon."""

import threading

import numpy as np
import numpy.typing as npt

from geohash_rs.concepts.area_table import Areas
from geohash_rs.concepts.areas import areas_of
from geohash_rs.concepts.cells import grids_of
from geohash_rs.concepts.learning import Model
from geohash_rs.concepts.tile_rows import rows_by_scene, tile_rows
from geohash_rs.errors import ConceptError, GeoHashRSWarning, ignore_warnings
from geohash_rs.serve.messages import AreasRequest
from geohash_rs.serve.searching import State
from geohash_rs.trust.promise import Promise

__all__ = ["Joiner"]

MOST_JOINED = 15_000  # tiles of grids that are joined within a second
MOST_LOOSE = 5_000  # tiles without a grid that are: their footprints are joined, not cells
FILES = 10  # times as many tiles go into a file, for which a user waits
SAMPLE = 500  # tiles that show whether an archive has tiles without a grid
FEW = 0.01  # share of them that does not matter

Ids = npt.NDArray[np.int64]


class Joiner:
    """Joins tiles to areas; thread-safe."""

    def __init__(self) -> None:
        """Start without knowing an archive."""
        self._joining = threading.Lock()
        self._most: tuple[str, int] | None = None

    def most(self, state: State) -> int:
        """Return how many tiles of an archive are joined within a second.

        Args:
            state: The archive.

        Returns:
            Tiles.
        """
        known = self._most
        if known is None or known[0] != state.key:
            known = state.key, MOST_LOOSE if _loose(state) > FEW else MOST_JOINED
            self._most = known
        return known[1]

    def check_file(self, state: State, count: int) -> None:
        """Check that so many tiles may go into a file.

        Args:
            state: The archive.
            count: Number of tiles.

        Raises:
            ConceptError: If they would keep the server for too long.
        """
        most = FILES * self.most(state)
        if count > most:
            msg = (
                f"the areas hold {count:,} tiles, more than the {most:,} that a download joins; "
                "raise the score, or save the concept and run 'geohash-rs map ARCHIVE FILE "
                "-o areas.gpkg', which has no limit."
            )
            raise ConceptError(msg)

    def join(
        self,
        state: State,
        model: Model,
        request: AreasRequest,
        ids: Ids,
        costs: npt.NDArray[np.int32],
        *,
        promise: Promise | None = None,
    ) -> Areas:
        """Join tiles to areas.

        Args:
            state: The archive in which they were scored.
            model: What scored them.
            request: How to join them.
            ids: Tile ids, shape (tiles,).
            costs: Their costs, shape (tiles,).
            promise: What is known of their precision, for a column of it.

        Returns:
            The areas.
        """
        # one at a time: it takes memory, and what it warns of is plain to see on the page
        with self._joining, ignore_warnings(GeoHashRSWarning):
            return areas_of(
                state.archive,
                ids,
                costs,
                model=model,
                promise=promise,
                dates=request.dates,
                min_area_km2=request.min_area_km2,
                by=None,
                by_column=None,
                by_layer=None,
                tile_sizes=None if request.tile_sizes is None else set(request.tile_sizes),
            )


def _loose(state: State) -> float:
    """Estimate the share of an archive's tiles that no grid of a scene explains."""
    ids, _ = state.archive.sample(SAMPLE)
    if not len(ids):
        return 0.0
    records = {record.scene: record for record in state.archive.scenes()}
    scenes = rows_by_scene(tile_rows(state.archive, ids)).items()
    placed = [len(rows) for scene, rows in scenes if scene in records and grids_of(records[scene])]
    return 1 - sum(placed) / len(ids)
