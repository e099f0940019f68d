"""What a worker does: index some scenes into a small archive of their own, beside the big one."""

import uuid
from pathlib import Path

import torch

from geohash_rs.archive import Archive
from geohash_rs.errors import BandMismatchError, SceneError, TileSizeError, one_line
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.add import add_imagery
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.scene_imagery import SceneImagery
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.grid import GridSettings

__all__ = ["Indexer"]


class Indexer:
    """One actor: one hasher, one thread.

    Args:
        hasher: The bytes of its file.
        staging: Folder that every node sees, for the parts.
        grid: How tiles are cut.
        settings: How they are read and hashed.
    """

    def __init__(
        self, hasher: bytes, staging: str, grid: GridSettings, settings: IndexSettings
    ) -> None:
        torch.set_num_threads(1)
        self._hasher = Hasher.from_bytes(hasher, device=settings.device)
        self._staging = Path(staging)
        self._grid = grid
        self._settings = settings

    def ready(self) -> bool:
        """Answer, and so tell that the packages are imported and the hasher is loaded."""
        return True

    def index(self, scenes: Scenes, first_id: int) -> tuple[str, AddReport]:
        """Index scenes into a new archive.

        Args:
            scenes: The scenes.
            first_id: The id of its first tile; enough ids from there on are reserved for it.

        Returns:
            The folder of the archive, and what was added to it and what was not.

        Raises:
            BandMismatchError: If ``strict`` and the bands of a scene do not fit.
            SceneError: If ``strict`` and a scene cannot be added.
            TileSizeError: If ``strict`` and a scene is smaller than a tile.
        """
        folder = self._staging / uuid.uuid4().hex  # a second try never meets what a first one left
        archive = Archive.create(folder, hasher=self._hasher)
        archive.reserve_ids(first_id)
        try:
            mine = SceneImagery(archive, scenes, self._grid, self._settings)
            report = add_imagery(archive, mine, self._hasher)
        except (BandMismatchError, SceneError, TileSizeError) as error:
            if self._settings.strict:
                raise
            report = AddReport()  # none of them could be added
            for file in scenes.scene_files:
                report.skip(file.key, one_line(error), strict=False)
        archive.close()
        return str(folder), report
