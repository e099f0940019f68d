"""Gather encoded tiles and scene records until they are worth a commit to the archive."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from geohash_rs.archive import CodeArchive, SceneRecord
from geohash_rs.encode import EncodedTiles
from geohash_rs.errors import SceneError
from geohash_rs.footprints import ground_pixel
from geohash_rs.located import LocatedTile, located_frame
from geohash_rs.scene_file import SceneFile
from geohash_rs.scene_state import checksum_of, state_of
from geohash_rs.scenes import Scenes
from geohash_rs.tile_grid import Edges

__all__ = [
    "GROUND_SIZE",
    "AddReport",
    "ArchiveWriter",
    "GridSettings",
    "file_record",
    "is_unchanged",
    "scene_record",
    "scene_settings",
]

# Finished scenes are committed together: a commit costs a few file syncs and makes a segment.
COMMIT_TILES = 200_000
COMMIT_SECONDS = 20.0

GROUND_SIZE = "ground_size"  # setting of a scene record: m a pixel of its tiles


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """How tiles are cut; stored with every scene.

    Attributes:
        tile_size: Columns and rows of a tile, px.
        stride: Step between tiles, px.
        edges: ``shift``, ``pad`` or ``drop``.
        max_nodata: Tiles with a larger share of invalid pixels are left out.
        resolution: Ground size that tiles are resampled to, m; None keeps the scene's own.
    """

    tile_size: int
    stride: int
    edges: Edges
    max_nodata: float
    resolution: float | None


@dataclass(kw_only=True)
class AddReport:
    """What adding imagery did.

    Attributes:
        num_tiles: Tiles added.
        num_scenes: Scenes (or files) that they are from.
        num_nodata: Tiles left out because too little of them was seen.
        skipped: Scenes that could not be added, and why.
        unchanged: Scenes that the archive has already, left as they are.
        replaced: Scenes whose file or grid has changed, so that their tiles were replaced.
    """

    num_tiles: int = 0
    num_scenes: int = 0
    num_nodata: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)

    def skip(self, scene: str, reason: str, *, strict: bool) -> None:
        """Note that a scene cannot be added.

        Args:
            scene: Path or URI.
            reason: Why, on one line.
            strict: Stop instead.

        Raises:
            SceneError: If strict.
        """
        if strict:
            raise SceneError(reason)
        self.skipped.append((scene, reason))


class ArchiveWriter:
    """Encoded tiles that wait for the next commit."""

    def __init__(self, archive: CodeArchive, fingerprint: str) -> None:
        """Start with nothing.

        Args:
            archive: Where the tiles go.
            fingerprint: Fingerprint of the hasher that makes the codes.
        """
        self.archive = archive
        self.fingerprint = fingerprint
        self.waiting: list[EncodedTiles] = []
        self.num_waiting = 0
        self.records: list[SceneRecord] = []
        self.last = time.monotonic()

    def take(self, encoded: EncodedTiles, records: Sequence[SceneRecord] = ()) -> None:
        """Take tiles, and commit if many wait or the last commit is long ago.

        Args:
            encoded: Codes and tiles.
            records: Records of the scenes that they are from, all tiles of which these are.
        """
        if len(encoded.codes):
            self.waiting.append(encoded)
            self.num_waiting += len(encoded.codes)
        self.records += records
        many = self.num_waiting >= COMMIT_TILES
        if many or time.monotonic() - self.last >= COMMIT_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Add all that waits to the archive, at once.

        Tiles that a scene has in the archive by then are replaced, whoever added them: another
        process may index the same scenes.
        """
        waiting, records = self.waiting, self.records
        # Before they are added: what is broken off may stand already, and is not to stand twice.
        self.waiting, self.records, self.num_waiting = [], [], 0
        if waiting or records:
            none = np.empty((0, (self.archive.num_bits or 0) // 8), dtype=np.uint8)
            codes = [part.codes for part in waiting] or [none]
            frames = [part.tiles for part in waiting] or [located_frame([])]
            self.archive.add_codes(
                np.concatenate(codes),
                gpd.GeoDataFrame(pd.concat(frames, ignore_index=True)),
                scenes=records,
                replace_scenes={record.scene for record in records},
                fingerprint=self.fingerprint,
            )
        self.last = time.monotonic()


def scene_settings(scenes: Scenes, grid: GridSettings) -> dict[str, Any]:
    """Give all that decides which tiles a scene has and what is in them.

    Args:
        scenes: The scenes.
        grid: How they are cut.

    Returns:
        Settings that JSON can hold.
    """
    bands = None if scenes.bands is None else list(scenes.bands)
    return {**asdict(grid), "bands": bands, "nodata": scenes.nodata}


def is_unchanged(
    record: SceneRecord | None, file: SceneFile, settings: dict[str, Any], *, checksum: bool = False
) -> bool:
    """Tell whether an archive holds a scene as it is now.

    Args:
        record: What the archive remembers of it, or None.
        file: The scene.
        settings: The settings with which it is to be added.
        checksum: Whether checksums decide, where the archive remembers one, rather than times.

    Returns:
        Whether content and settings are the same: by size and time of change, or by checksum.

    Raises:
        SceneError: If the checksum cannot be taken.
    """
    if record is None or {**record.settings, GROUND_SIZE: None} != {**settings, GROUND_SIZE: None}:
        return False
    if checksum and record.checksum is not None:
        return record.size == file.size and record.checksum == checksum_of(file.files)
    return (record.size, record.mtime_ns) == (file.size, file.mtime_ns)


def scene_record(
    file: SceneFile, num_tiles: int, settings: dict[str, Any], *, checksum: bool = False
) -> SceneRecord:
    """Note what an archive is to remember of a scene whose tiles have been read.

    Args:
        file: The scene.
        num_tiles: Tiles that it gave.
        settings: How they were cut.
        checksum: Whether to take a checksum.

    Returns:
        The record, with the ground size of its tiles' pixels among the settings.

    Raises:
        SceneError: If the file is not any more what it was when its header was read.
    """
    digest = checksum_of(file.files) if checksum else None
    if state_of(file.files) != (file.size, file.mtime_ns):
        msg = "its file was changed or deleted while it was read; run again when it stands."
        raise SceneError(msg)
    t = file.transform
    size = settings["resolution"]
    if size is None:
        across, down = ground_pixel(t, file.width, file.height, crs=file.crs)
        size = (across * down) ** 0.5
    return SceneRecord(
        scene=file.key,
        width=file.width,
        height=file.height,
        crs=file.crs,
        transform=(t.a, t.b, t.c, t.d, t.e, t.f),
        dtype=file.dtype,
        count=file.count,
        size=file.size,
        mtime_ns=file.mtime_ns,
        checksum=digest,
        datetime=file.dates[0] if file.dates else None,
        datetime_end=file.dates[1] if file.dates else None,
        num_tiles=num_tiles,
        settings={**settings, GROUND_SIZE: size},
    )


def file_record(tile: LocatedTile, dataset: object) -> SceneRecord:
    """Note what an archive is to remember of a file that is one tile.

    Args:
        tile: The tile.
        dataset: The dataset that it is from.

    Returns:
        The record.
    """
    return SceneRecord(
        scene=tile.scene,
        datetime=tile.dates[0] if tile.dates else None,
        datetime_end=tile.dates[1] if tile.dates else None,
        num_tiles=1,
        settings={"dataset": type(dataset).__name__},
    )
