"""Count the tiles of scenes, and lay the grid a few scenes at a time."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from geohash_rs.indexing.fair_sample import SceneTraits, fair_shares
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.grids import TileGrids

__all__ = ["ScenePlan"]

PART_TILES = 500_000  # approximate number of tiles laid at once: 20 MB


class ScenePlan:
    """The tiles of many scenes, laid only when they are needed.

    All tiles at once would take 40 bytes each, over a gigabyte for a large archive.

    Attributes:
        counts: Number of tiles of each scene, int64, shape (scenes,); 0 for a scene that is not
            included.
    """

    def __init__(self, scenes: Scenes, grids: TileGrids) -> None:
        """Start without scenes.

        Args:
            scenes: The scenes.
            grids: How tiles are cut.
        """
        self.scenes = scenes
        self.grids = grids
        self.counts = np.zeros(len(scenes.scene_files), dtype=np.int64)
        self._by_size = np.zeros((len(self.counts), len(grids.grids)), dtype=np.int64)

    @property
    def num_tiles(self) -> int:
        """Number of tiles of all included scenes."""
        return int(self.counts.sum())

    @property
    def numbers(self) -> list[int]:
        """Positions of the included scenes."""
        numbers: list[int] = np.flatnonzero(self.counts).tolist()
        return numbers

    def add(self, number: int) -> None:
        """Include a scene.

        Args:
            number: Position in ``Scenes.scene_files``.

        Raises:
            SceneError: If the ground size of its pixels cannot be measured.
            TileSizeError: If it is smaller than the smallest tile, or that smaller than a pixel.
        """
        self._by_size[number] = self.grids.counts(self.scenes.scene_files[number])
        self.counts[number] = self._by_size[number].sum()

    def leave_out(self, number: int) -> None:
        """Exclude a scene."""
        self.counts[number] = self._by_size[number] = 0

    def sample(self, size: int, *, seed: int = 0) -> npt.NDArray[np.int64]:
        """Choose tiles at random, as many of each size of a scene as `fair_shares` allows.

        Args:
            size: Number of tiles.
            seed: Seed of the choice.

        Returns:
            Positions among the tiles of all included scenes, ascending.
        """
        files = self.scenes.scene_files
        traits = [SceneTraits.of_file(file) for file in files for _ in self.grids.grids]
        counts = self._by_size.reshape(-1)  # in the order in which tiles are laid
        shares = fair_shares(traits, counts, size=size, seed=seed)
        rng = np.random.default_rng(seed)
        starts = np.cumsum(counts) - counts
        return np.concatenate(
            [
                starts[place] + np.sort(rng.choice(counts[place], share, replace=False))
                for place, share in enumerate(shares.tolist())
                if share
            ]
        )

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Lay some of the tiles.

        Args:
            positions: Positions among the tiles of all included scenes, ascending, one or more.

        Returns:
            int64 (scene, col, row, width, height), shape (positions, 5).
        """
        ends = np.cumsum(self.counts)
        owners = np.searchsorted(ends, positions, side="right")
        inside = positions - (ends - self.counts)[owners]
        parts = [
            self._tiles_of(number)[inside[owners == number]]
            for number in np.unique(owners).tolist()
        ]
        return np.concatenate(parts)

    def parts(self) -> Iterator[npt.NDArray[np.int64]]:
        """Lay the tiles of whole scenes, one part of limited size after another.

        Yields:
            int64 (scene, col, row, width, height), shape (tiles, 5), scene by scene.
        """
        waiting: list[npt.NDArray[np.int64]] = []
        num_waiting = 0
        for number in self.numbers:
            count = int(self.counts[number])
            if waiting and num_waiting + count > PART_TILES:
                yield np.concatenate(waiting)
                waiting, num_waiting = [], 0
            waiting.append(self._tiles_of(number))
            num_waiting += count
        if waiting:
            yield np.concatenate(waiting)

    def _tiles_of(self, number: int) -> npt.NDArray[np.int64]:
        return self.grids.tiles(self.scenes.scene_files[number], number)
