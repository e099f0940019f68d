"""Index some scenes on a worker, into a small archive that the large one adopts."""

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
from geohash_rs.scenes.grids import TileGrids
from geohash_rs.store.disk.manifest import KeepVectors

__all__ = ["Indexer"]


class Indexer:
    """One actor with one hasher and one thread.

    Args:
        hasher: The content of the hasher's file.
        staging: Folder for the parts, which every node can reach.
        grids: How tiles are cut.
        settings: How tiles are read and hashed.
        keep_vectors: How the archive keeps feature vectors.
    """

    def __init__(
        self,
        hasher: bytes,
        staging: str,
        grids: TileGrids,
        settings: IndexSettings,
        *,
        keep_vectors: KeepVectors = "none",
    ) -> None:
        torch.set_num_threads(1)
        self._hasher = Hasher.from_bytes(hasher, device=settings.device)
        self._staging = Path(staging)
        self._grids = grids
        self._settings = settings
        self._keep_vectors = keep_vectors

    def ready(self) -> bool:
        """Return True once the packages are imported and the hasher is loaded."""
        return True

    def index(self, scenes: Scenes, first_id: int) -> tuple[str, AddReport]:
        """Index scenes into a new archive.

        Args:
            scenes: The scenes.
            first_id: The id of its first tile; enough ids from this one on are reserved for it.

        Returns:
            The folder of the archive, and what was added, left out and skipped.

        Raises:
            BandMismatchError: If ``strict`` and the bands of a scene do not match the hasher's.
            SceneError: If ``strict`` and a scene cannot be added.
            TileSizeError: If ``strict`` and a scene is smaller than a tile.
        """
        folder = self._staging / uuid.uuid4().hex  # a retry never meets an earlier attempt's files
        archive = Archive.create(folder, hasher=self._hasher, keep_vectors=self._keep_vectors)
        archive.reserve_ids(first_id)
        try:
            pixels = self._hasher.pixels
            mine = SceneImagery(archive, scenes, self._grids, self._settings, embedding=pixels)
            report = add_imagery(archive, mine, self._hasher)
        except (BandMismatchError, SceneError, TileSizeError) as error:
            if self._settings.strict:
                raise
            report = AddReport()  # no scene could be added
            for file in scenes.scene_files:
                report.skip(file.key, one_line(error), strict=False)
        archive.close()
        return str(folder), report
