"""Vectors of a Zarr store: tiles of pixels, whose vector is their mean, or chips as they are."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geohash_rs.embeddings.known import MODEL, said_of
from geohash_rs.embeddings.source import Flaw, VectorBatch, Vectors
from geohash_rs.embeddings.zarr_groups import DamagedChunkError, ZarrGroup, open_groups
from geohash_rs.errors import TileSizeError, one_line
from geohash_rs.footprints.windows import footprints
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.scenes.state import state_of
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.segment.shapes import lonlat_crs

__all__ = ["ZarrSource", "zarr_sources"]

TILE_SIZE = 16  # px, of pixels; that of published rasters of embeddings
BLOCK = 1 << 25  # numbers that are read at once; 128 MiB as vectors
PARTS = 16  # blocks that a sample is taken from

Windows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ZarrSource:
    """One step in time of one group; attributes as in `VectorSource`.

    Attributes:
        group: The group.
        step: Number of the step in time.
        tile_size: Side of a tile, px; 1 of chips.
        max_nodata: Largest share of a tile's pixels without vector.
    """

    key: str
    name: str
    group: ZarrGroup
    step: int
    tile_size: int
    max_nodata: float
    files: Sequence[str]
    notes: Sequence[str]

    @property
    def embedding(self) -> Embedding:
        """The model of the vectors."""
        return self.group.embedding

    @property
    def num_rows(self) -> int:
        """Number of tiles, those without vectors included."""
        height, width = self.group.shape
        return -(-height // self.tile_size) * -(-width // self.tile_size)

    @property
    def record(self) -> SceneRecord:
        """The state of the files and the choices that decide on the tiles."""
        size, mtime = state_of(self.files)
        height, width = self.group.shape
        decoding = self.group.decoding
        first, last = self._span
        settings: dict[str, Any] = {
            "tile_size": self.tile_size,
            "max_nodata": self.max_nodata,
            "scale": decoding.scale,
            "offset": decoding.offset,
            "cell": list(self.group.cell),
            MODEL: said_of(self.embedding),
        }
        return SceneRecord(
            scene=self.key,
            width=width,
            height=height,
            crs=self.group.crs,
            transform=tuple(self.group.transform)[:6],
            dtype=str(self.group.array.dtype),
            count=self.embedding.dimensions,
            size=size,
            mtime_ns=mtime,
            datetime=first,
            datetime_end=last,
            settings=settings,
        )

    def sample(self, size: int, *, seed: int = 0) -> Vectors:
        """Read vectors of blocks chosen at random, as in `VectorSource`."""
        rng = np.random.default_rng(seed)
        share = -(-size // min(PARTS, self._num_blocks))
        found: list[Vectors] = []
        for number in rng.permutation(self._num_blocks):
            vectors = self._block(int(number)).vectors
            found.append(vectors[rng.permutation(len(vectors))[:share]])
            if sum(map(len, found)) >= size:
                break
        none = np.empty((0, self.embedding.dimensions), np.float32)
        return np.concatenate([none, *found])[:size]

    def batches(self, start: int = 0) -> Iterator[VectorBatch]:
        """Read the blocks from a position on, row by row, as in `VectorSource`."""
        for number in range(start, self._num_blocks):
            yield self._block(number)

    @property
    def _span(self) -> tuple[datetime | None, datetime | None]:
        span = self.group.times[self.step]
        if span is None:
            return None, None
        first, last = (cast("datetime", moment.item()) for moment in span)
        return first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)

    @property
    def _side(self) -> int:
        """Rows and columns of a block: whole tiles, about as long as the chunks of the store."""
        pixels = BLOCK // self.embedding.dimensions
        chunk = max(self.group.array.chunks[axis] for axis in self.group.axes[2:])
        side = min(int(pixels**0.5), max(512, chunk))
        return max(1, side // self.tile_size) * self.tile_size

    @property
    def _across(self) -> int:
        return -(-self.group.shape[1] // self._side)

    @property
    def _num_blocks(self) -> int:
        return self._across * -(-self.group.shape[0] // self._side)

    def _block(self, number: int) -> VectorBatch:
        """Read the tiles of a block."""
        row, col = (part * self._side for part in divmod(number, self._across))
        height, width = self.group.shape
        rows = slice(row, min(row + self._side, height))
        cols = slice(col, min(col + self._side, width))
        windows = _windows((rows.stop - row, cols.stop - col), self.tile_size)
        try:
            pixels, valid = self.group.read(self.step, rows, cols)
        except DamagedChunkError as error:
            return self._lost(number, len(windows), one_line(error))
        sums, counts = _tile_sums(pixels, valid, self.tile_size)
        with np.errstate(invalid="ignore", divide="ignore"):
            vectors = sums / counts[:, None]
        if not self.group.is_chip:
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
        places = windows + [col, row, 0, 0]
        area = windows[:, 2] * windows[:, 3]
        empty = (counts == 0) | (area - counts > self.max_nodata * area)
        zero = ~empty & ~vectors.any(axis=1)
        left_out = [
            Flaw(reason=reason, count=int(bad.sum()), first=_where(places[bad][0]))
            for bad, reason in (
                (empty, f"with more than {self.max_nodata:.0%} of the pixels without a vector"),
                (zero, "with a mean of length zero"),
            )
            if bad.any()
        ]
        good = ~(empty | zero)
        return VectorBatch(
            vectors=np.ascontiguousarray(vectors[good], np.float32),
            tiles=self._tiles(places[good]),
            stop=number + 1,
            left_out=left_out,
        )

    def _lost(self, number: int, count: int, why: str) -> VectorBatch:
        """Return the batch of a block that cannot be decoded."""
        # nobody sees whether a store elsewhere was restored
        first = "" if self.files else ", remove this scene"
        reason = (
            f"of a block that cannot be read; restore the store from its source{first} and add it "
            "again"
        )
        return VectorBatch(
            vectors=np.empty((0, self.embedding.dimensions), np.float32),
            tiles=self._tiles(np.empty((0, 4), np.int64)),
            stop=number + 1,
            left_out=[Flaw(reason=reason, count=count, first=why.rstrip("."))],
        )

    def _tiles(self, windows: Windows) -> gpd.GeoDataFrame:
        """Describe tiles."""
        across, down = self.group.cell
        ground = windows * [1, 1, across, down]
        shapes = footprints(self.group.transform, ground, crs=self.group.crs)
        columns: dict[str, Any] = {"scene": np.full(len(windows), self.key, dtype=object)}
        columns |= dict(zip(("col", "row", "width", "height"), windows.T, strict=True))
        span = self.group.times[self.step]
        if span is not None:
            for name, moment in zip(("datetime", "datetime_end"), span, strict=True):
                columns[name] = np.full(len(windows), moment)
        return gpd.GeoDataFrame(columns, geometry=shapes, crs=lonlat_crs())


def zarr_sources(
    path: str | os.PathLike[str],
    *,
    tile_size: int | None = None,
    max_nodata: float = 0.5,
    embedding: Embedding | str | None = None,
) -> list[ZarrSource]:
    """Open a Zarr store of vectors.

    Args:
        path: Folder or URI of the store, by the convention `geoemb:`.
        tile_size: Side of a tile of pixels, px; None uses 16. Tiles at the lower and right edge may
            be smaller. Chips are tiles themselves.
        max_nodata: Largest share of a tile's pixels that have no vector.
        embedding: Model of the vectors, whatever the store says; or its name.

    Returns:
        One source for each group and step in time, none of which is read yet.

    Raises:
        SceneError: As `open_groups`.
        TileSizeError: If the tile size is below 1, or is given for chips.
    """
    if tile_size is not None and tile_size < 1:
        msg = f"tile_size is {tile_size} px, but it must be at least 1."
        raise TileSizeError(msg)
    text = os.fspath(path).rstrip("/")
    is_local = "://" not in text
    whole = Path(os.path.realpath(text)).as_posix() if is_local else text
    sources = []
    for group in open_groups(text, embedding=embedding):
        if group.is_chip and tile_size not in (None, 1):
            msg = f"{text} holds chips, which are tiles themselves; leave out the tile size."
            raise TileSizeError(msg)
        size = 1 if group.is_chip else tile_size or TILE_SIZE
        notes = [f"tiles of {size} px"] if tile_size is None and not group.is_chip else []
        if group.time_name and None in group.times:
            notes.append(f"no date can be read on the axis {group.time_name!r}")
        for step, label in enumerate(_step_labels(group)):
            key = "/".join(part for part in (whole, group.name, label) if part)
            sources.append(
                ZarrSource(
                    key=key,
                    name=key.removeprefix(f"{Path(whole).parent.as_posix()}/"),
                    group=group,
                    step=step,
                    tile_size=size,
                    max_nodata=max_nodata,
                    files=_files(Path(whole), group, step) if is_local else (),
                    notes=notes,
                )
            )
    return sources


def _step_labels(group: ZarrGroup) -> list[str]:
    """Name the steps in time: by day, by moment if that is not midnight, or by number."""
    if not group.time_name:
        return [""]
    labels: list[str] = []
    for step, span in enumerate(group.times):
        label = str(step) if span is None else str(span[0]).removesuffix("T00:00:00.000000")
        labels.append(f"{label} (step {step})" if label in labels else label)
    return labels


def _files(store: Path, group: ZarrGroup, step: int) -> list[str]:
    """List the files of a step in time; of all steps if their chunks cannot be told apart."""
    folder = store / group.name
    found: list[Path] = []
    arrays = [(group.array, group.axes[0])]
    if group.decoding.array is not None:
        arrays.append((group.decoding.array, group.decoding.axes[0]))
    for array, time in arrays:
        chunks = folder / array.basename
        shards = array.shards or array.chunks
        if time == 0 and shards[0] == 1 and (chunks / "c" / str(step)).is_dir():
            chunks = chunks / "c" / str(step)
        found += [path for path in chunks.rglob("*") if path.is_file() and path.name != "zarr.json"]
    return sorted(map(str, found))


def _windows(shape: tuple[int, ...], size: int) -> Windows:
    """Return the tiles of a block: (col, row, width, height), shape (tiles, 4), row by row."""
    rows, cols = (np.arange(0, length, size) for length in shape)
    heights, widths = np.minimum(size, shape[0] - rows), np.minimum(size, shape[1] - cols)
    grid = np.meshgrid(rows, cols, indexing="ij")
    sides = np.meshgrid(heights, widths, indexing="ij")
    parts = (grid[1], grid[0], sides[1], sides[0])
    return np.stack([part.ravel() for part in parts], axis=1).astype(np.int64)


def _tile_sums(
    pixels: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_], size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Add the vectors of each tile: (tiles, dimensions), and how many there are, (tiles,)."""
    rows, cols = (np.arange(0, length, size) for length in valid.shape)
    counts = np.add.reduceat(np.add.reduceat(valid.astype(np.int64), rows, axis=0), cols, axis=1)
    sums = np.add.reduceat(np.add.reduceat(pixels, rows, axis=1, dtype=np.float64), cols, axis=2)
    return sums.reshape(len(sums), -1).T, counts.ravel()


def _where(window: Windows) -> str:
    col, row, width, height = window.tolist()
    return f"the tile at column {col}, row {row} ({width} x {height} px)"
