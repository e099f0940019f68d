"""Find where the samples of a TorchGeo dataset lie, from the sampler's slices or their files."""

from bisect import bisect_right
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import pyproj
import shapely
import torch
from affine import Affine
from rasterio.errors import RasterioError
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchgeo.datasets import GeoDataset

from geohash_rs._compat import GeoSlice, forget_open_files, is_batch_sampler
from geohash_rs.errors import GeoHashRSError, SceneError, one_line
from geohash_rs.footprints.windows import (
    MAX_BEND_PX,
    WGS84,
    footprints_from_rings,
    ground_pixel,
    window_corners,
)
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.indexing.embedded import check_version
from geohash_rs.indexing.settings import SAMPLE_BATCH, IndexSettings
from geohash_rs.scenes.dates import DateRange
from geohash_rs.scenes.file import bands_of_raster, open_raster, read_scene_file, scene_key
from geohash_rs.scenes.pixels import TilePixels, fill_invalid
from geohash_rs.scenes.resampling import is_nodata

__all__ = ["LocatedTile", "Samples", "images_of", "located_frame"]

_Source = tuple[str, pd.Timestamp, pd.Timestamp]  # path, first and last moment
ON_GRID = 0.01  # px by which slices may differ from the pixel grid
JOINT = " + "  # between the names of files that were combined into one tile


@dataclass(frozen=True, kw_only=True)
class LocatedTile:
    """A sample of a dataset, and where it lies.

    Attributes:
        scene: The file that it comes from; several are joined by a plus sign.
        image: Raw pixels, shape (bands, height, width); None if left out or not readable.
        ring: Corners, float64, shape (4, 2).
        crs: CRS of the corners.
        tolerance: Half a pixel, in units of the CRS: how far an edge may bend.
        window: Column, row, width and height in its file, if it is on the grid of one file.
        dates: First and last moment (UTC), or None.
        label: Name of its class, or None.
        dtype: NumPy name of the type in which its file stores pixels; empty if unknown.
        ground_size: Side of its file's pixels on the ground, m; 0 if unknown.
        shows: What each band shows by its file, before transforms; empty strings where unknown.
        whole_file: Whether the sample is a whole file, which makes the file a scene of one tile.
        failure: Why it could not be read, or None.
    """

    scene: str
    image: Tensor | None = None
    ring: npt.NDArray[np.float64] | None = None
    crs: str = WGS84
    tolerance: float | None = None
    window: tuple[int, int, int, int] | None = None
    dates: DateRange | None = None
    label: str | None = None
    dtype: str = ""
    ground_size: float = 0.0
    shows: tuple[str, ...] = ()
    whole_file: bool = False
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """The samples of a dataset, in the order of its sampler.

    Attributes:
        dataset: A TorchGeo geo dataset, or a non-geo dataset of georeferenced files.
        sampler: A sampler of TorchGeo or PyTorch, or a batch sampler. A geo dataset needs one.
        max_nodata: Samples with a larger share of pixels that are 0, nodata or not finite in all
            bands are left out. TorchGeo fills pixels outside its files with such values.
        embedding: The embedding whose vectors the pixels are; None if they are pictures.
    """

    dataset: Dataset[Any]
    sampler: Iterable[Any] | None = None
    max_nodata: float = 0.5
    embedding: PixelEmbedding | None = None

    def read(self, settings: IndexSettings) -> Generator[list[LocatedTile], None, None]:
        """Read samples in batches, each with its location.

        Args:
            settings: Batch size, unless the sampler makes batches, and workers.

        Yields:
            Batches of located tiles.

        Raises:
            SceneError: If the location of samples is unknown.
        """
        source: Dataset[LocatedTile]
        if isinstance(self.dataset, GeoDataset):
            if self.sampler is None:
                msg = (
                    f"{type(self.dataset).__name__} is read by place and time, so it needs "
                    "sampler=..., such as torchgeo.samplers.GridGeoSampler(dataset, size=64, "
                    "stride=64)."
                )
                raise SceneError(msg)
            source = _BySlice(self.dataset, self.max_nodata, self.embedding)
        else:
            source = _ByFile(self.dataset, self.max_nodata, self.embedding)
        options: dict[str, Any] = {"batch_sampler": self.sampler}
        if not is_batch_sampler(self.sampler):
            options = {"sampler": self.sampler, "batch_size": settings.batch_size or SAMPLE_BATCH}
        yield from DataLoader(
            source,
            collate_fn=list,
            num_workers=settings.workers,
            worker_init_fn=_start_worker if settings.workers else None,
            **options,
        )


def images_of(
    batches: Iterable[Sequence[LocatedTile]],
) -> Iterator[tuple[Tensor, list[LocatedTile]]]:
    """Stack neighbouring images of one size and type.

    Args:
        batches: Located tiles, with or without an image.

    Yields:
        Batches of raw tiles, each of shape (tiles, bands, height, width), and where they are from.
    """
    flat = ((tile.image, tile) for batch in batches for tile in batch if tile.image is not None)
    for _, group in groupby(flat, key=lambda one: (one[0].shape, one[0].dtype)):
        while some := list(islice(group, 64)):
            yield torch.stack([image for image, _ in some]), [tile for _, tile in some]


def located_frame(tiles: Sequence[LocatedTile]) -> gpd.GeoDataFrame:
    """Make a table of located tiles, with the columns of an archive.

    Args:
        tiles: Tiles with a ring.

    Returns:
        The columns scene, col, row, width, height (missing where unknown), datetime,
        datetime_end, label and geometry, in EPSG:4326.

    Raises:
        SceneError: If a tile cannot be placed in longitude and latitude.
    """
    geometry = np.empty(len(tiles), dtype=object)
    groups: dict[tuple[str, float | None], list[int]] = {}
    for position, tile in enumerate(tiles):
        groups.setdefault((tile.crs, tile.tolerance), []).append(position)
    for (crs, tolerance), positions in groups.items():
        rings = np.array([tiles[i].ring for i in positions])
        geometry[positions] = footprints_from_rings(rings, crs=crs, tolerance=tolerance)
    windows = [tile.window or (None, None, *_size(tile)) for tile in tiles]
    columns: dict[str, Any] = {"scene": [tile.scene for tile in tiles]}
    for place, name in enumerate(("col", "row", "width", "height")):
        columns[name] = pd.array([window[place] for window in windows], dtype="Int64")
    for end, name in enumerate(("datetime", "datetime_end")):
        moments = [tile.dates[end].replace(tzinfo=None) if tile.dates else None for tile in tiles]
        columns[name] = np.array(moments, dtype="datetime64[us]")
    columns["label"] = np.array([tile.label for tile in tiles], dtype=object)
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=WGS84)


class _BySlice(Dataset[LocatedTile]):
    """A geo dataset whose samples are located by the slices of the sampler."""

    def __init__(
        self, dataset: GeoDataset, max_nodata: float, embedding: PixelEmbedding | None
    ) -> None:
        self.dataset = dataset
        self.max_nodata = max_nodata
        self.embedding = embedding
        self.crs = dataset.crs.to_wkt()
        # In some versions, intersections and unions do not know their files; their parts do.
        parts = _parts(dataset)
        self.parts = [(part.index, part.index.geometry.to_numpy()) for part in parts]
        self.part_of = {
            path: part for part in parts for path in part.index.get("filepath", default=())
        }

    def __getitem__(self, slices: GeoSlice) -> LocatedTile:
        x, y, t = self.dataset._disambiguate_slice(slices)
        ring = np.array(
            [(x.start, y.stop), (x.start, y.start), (x.stop, y.start), (x.stop, y.stop)]
        )
        sources = self._sources(shapely.box(x.start, y.start, x.stop, y.stop), t)
        paths = {path for path, _, _ in sources}
        names = sorted({scene_key(path) for path in paths})
        scene = JOINT.join(names) or type(self.dataset).__name__
        try:
            if self.embedding is not None:
                self._check_pixels(self.embedding, paths, x, y)
            sample = self.dataset[slices]
        except (RasterioError, OSError, IndexError, GeoHashRSError) as error:
            return LocatedTile(scene=scene, failure=one_line(error.__cause__ or error))
        return LocatedTile(
            scene=scene,
            image=self._image(sample, paths),
            ring=ring,
            crs=self.crs,
            tolerance=MAX_BEND_PX * min(abs(x.step), abs(y.step)),
            dates=_shared_dates(sources, t),
            dtype=_stored_type(paths),
            ground_size=_ground_size(paths),
            shows=self._shown(paths),
        )

    def _image(self, sample: dict[str, Any], paths: set[str]) -> Tensor | None:
        """Return the image of a sample, if enough of it is valid."""
        if self.embedding is None:
            return _checked_image(sample, self.dataset, self.max_nodata)
        return _stored_vectors(
            sample, self.dataset, self.max_nodata, self.embedding, dtype=_stored_type(paths)
        )

    def _check_pixels(
        self, embedding: PixelEmbedding, paths: Iterable[str], x: slice, y: slice
    ) -> None:
        """Check that a sample has the version of an embedding, and its pixels as they are stored.

        Raises:
            HasherMismatchError: If it is of another version.
            SceneError: If TorchGeo resamples encoded numbers, which must be decoded first.
        """
        for path in sorted(paths):
            _check_once(embedding, path)
            header = _header(path)
            if header is None or not embedding.encoded or header.dtypes[0] != "int8":
                continue
            grid = header.transform
            offsets = (
                (x.start - grid.c) / grid.a,
                (y.start - grid.f) / grid.e,
                x.step / grid.a,
                y.step / grid.e,
            )
            whole = all(abs(value - round(value)) <= ON_GRID for value in offsets)
            same = abs(abs(offsets[2]) - 1) + abs(abs(offsets[3]) - 1) <= ON_GRID
            if not (whole and same and self.dataset.crs == header.crs):
                msg = (
                    f"{Path(path).name} is resampled by TorchGeo, but its numbers must be decoded "
                    "first; sample on its pixel grid, in its CRS and resolution (such as with "
                    "GridGeoSampler), or pass the files to Scenes(...)."
                )
                raise SceneError(msg)

    def _shown(self, paths: set[str]) -> tuple[str, ...]:
        """Find what the bands of a sample show, if it is made of one file."""
        part = self.part_of.get(*paths) if len(paths) == 1 else None
        indexes = getattr(part, "band_indexes", None)
        # scenes choose bands by what they show
        if part is None or getattr(part, "separate_files", False) or callable(indexes):
            return ()
        if (header := _header(*paths)) is None:
            return ()
        shown = header.shows
        return tuple(shown[i - 1] for i in indexes) if indexes else shown

    def _sources(self, box: shapely.Polygon, t: slice) -> list[_Source]:
        """List the files from which TorchGeo makes a tile: all that intersect the slice."""
        found = []
        for index, geometry in self.parts:
            dates = index.index
            in_time = np.asarray((dates.left <= t.stop) & (dates.right >= t.start))
            meets = shapely.relate_pattern(geometry, box, "T********") & in_time
            if "filepath" not in index:  # a dataset that is not made of files
                continue
            found += [
                (str(index["filepath"].iloc[row]), dates[row].left, dates[row].right)
                for row in np.flatnonzero(meets)
            ]
        return found


class _ByFile(Dataset[LocatedTile]):
    """A non-geo dataset whose files are georeferenced."""

    def __init__(
        self, dataset: Dataset[Any], max_nodata: float, embedding: PixelEmbedding | None
    ) -> None:
        self.dataset = dataset
        self.max_nodata = max_nodata
        self.embedding = embedding

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # Dataset itself declares no length

    def __getitem__(self, index: int) -> LocatedTile:
        paths = _source_files(self.dataset, index)
        scene = scene_key(paths[0] if len(paths) == 1 else Path(paths[0]).parent)
        try:
            file = read_scene_file(paths[0])
            if self.embedding is not None:
                _check_once(self.embedding, paths[0])
            sample = self.dataset[index]
        except (RasterioError, OSError, GeoHashRSError) as error:
            return LocatedTile(scene=scene, whole_file=True, failure=one_line(error))
        whole = (0, 0, file.width, file.height)
        return LocatedTile(
            scene=scene,
            image=_checked_image(sample, self.dataset, self.max_nodata)
            if self.embedding is None
            else _stored_vectors(
                sample, self.dataset, self.max_nodata, self.embedding, dtype=file.dtype
            ),
            ring=window_corners(file.transform, [whole])[0],
            crs=file.crs,
            tolerance=MAX_BEND_PX * float(np.sqrt(abs(file.transform.determinant))),
            window=whole,
            dtype=file.dtype,
            ground_size=file.ground_size(),
            whole_file=True,
            dates=file.dates,
            label=_class_name(self.dataset, index, sample.get("label")),
        )


class _Header(NamedTuple):
    dtypes: tuple[str, ...]
    shows: tuple[str, ...]
    ground_size: float
    transform: Affine
    crs: object


@lru_cache(maxsize=4096)
def _header(path: str) -> _Header | None:
    """Return what a file says of its pixels; None if it cannot be opened."""
    try:
        with open_raster(path) as source:
            shows = tuple(band.meaning for band in bands_of_raster(source, path)[0])
            grid = source.transform, source.width, source.height
            across, down = ground_pixel(*grid, crs=source.crs)
            size = (across * down) ** 0.5
            crs = pyproj.CRS.from_wkt(source.crs.to_wkt())
            return _Header(tuple(source.dtypes), shows, size, source.transform, crs)
    except SceneError:
        return None


def _stored_type(paths: Iterable[str]) -> str:
    """Return the type in which files store their pixels; an empty string if unknown."""
    headers = [_header(path) for path in paths]
    types = {dtype for header in headers if header is not None for dtype in header.dtypes}
    return str(np.result_type(*types)) if types and None not in headers else ""


def _ground_size(paths: Iterable[str]) -> float:
    """Return the side of the smallest pixels of files on the ground, m; 0 if unknown."""
    headers = [header for path in paths if (header := _header(path)) is not None]
    return min((header.ground_size for header in headers), default=0.0)


def _parts(dataset: GeoDataset) -> list[GeoDataset]:
    parts = getattr(dataset, "datasets", None)
    return [leaf for part in parts for leaf in _parts(part)] if parts else [dataset]


def _shared_dates(sources: Sequence[_Source], t: slice) -> DateRange | None:
    """Return the time in which all sources were taken, within the time asked for."""
    lowest, highest = pd.Timestamp.min, pd.Timestamp.max
    if not sources or any(a <= lowest or b >= highest for _, a, b in sources):
        return None
    first = pd.Timestamp(max(min(a for _, a, _ in sources), t.start))
    last = pd.Timestamp(min(max(b for _, _, b in sources), t.stop))
    return first.to_pydatetime(warn=False), last.to_pydatetime(warn=False)


def _size(tile: LocatedTile) -> tuple[int | None, int | None]:
    return (tile.image.shape[-1], tile.image.shape[-2]) if tile.image is not None else (None, None)


def _start_worker(_: int) -> None:
    forget_open_files()


def _checked_image(sample: dict[str, Any], dataset: object, max_nodata: float) -> Tensor | None:
    pixels = _image_of(sample, dataset).numpy()
    nodata = getattr(dataset, "nodata", None)
    gap = (pixels == 0) | is_nodata(pixels, nodata) if nodata is not None else pixels == 0
    if pixels.dtype.kind == "f":
        gap = gap | ~np.isfinite(pixels)
    invalid = gap.all(axis=0)
    if invalid.mean() > max_nodata or invalid.all():
        return None
    return torch.from_numpy(fill_invalid(TilePixels(pixels, invalid), nodata))


def _image_of(sample: dict[str, Any], dataset: object) -> Tensor:
    """Return the image of a sample.

    Raises:
        SceneError: If it has none of shape (bands, height, width).
    """
    image = sample.get("image")
    if not isinstance(image, Tensor) or image.ndim != 3:
        found = (
            f"shape {tuple(image.shape)}" if isinstance(image, Tensor) else f"keys {list(sample)}"
        )
        msg = (
            f"a sample of {type(dataset).__name__} has {found}, not an image of shape (bands, "
            "height, width); use a dataset of images, not of time series."
        )
        raise SceneError(msg)
    return image


@lru_cache(maxsize=4096)
def _check_once(embedding: PixelEmbedding, path: str) -> None:
    check_version(embedding, path)


def _stored_vectors(
    sample: dict[str, Any],
    dataset: object,
    max_nodata: float,
    embedding: PixelEmbedding,
    *,
    dtype: str,
) -> Tensor | None:
    """Return the pixels of a sample of an embedding as its file stores them; None if too few hold.

    TorchGeo turns all numbers into float32, and fills what is outside its files with nodata or 0.
    """
    image = _image_of(sample, dataset)
    if dtype and np.dtype(dtype).kind in "iu":
        stored = image.to(getattr(torch, dtype, torch.float32))
        # a transform may have decoded them
        image = stored if torch.equal(stored.to(image.dtype), image) else image
    nodata = getattr(dataset, "nodata", None)
    pixels = image.numpy()
    if nodata is not None and pixels.dtype.kind == "f":
        pixels = np.where(is_nodata(pixels, nodata).any(axis=0), np.nan, pixels)
    _, valid = embedding.pool(pixels, np.array([[0, 0, *pixels.shape[:0:-1]]], np.int64))
    share = 1 - float(valid[0]) / (pixels.shape[1] * pixels.shape[2])
    return None if share > max_nodata or share == 1.0 else torch.from_numpy(pixels)


def _source_files(dataset: Any, index: int) -> list[str]:  # noqa: ANN401 - any class of TorchGeo
    dataset, index = _innermost(dataset, index)
    if hasattr(dataset, "imgs"):  # an ImageFolder, such as EuroSAT
        return [str(dataset.imgs[index][0])]
    if hasattr(dataset, "_load_paths"):  # BigEarthNet
        return [str(path) for path in dataset._load_paths(index)]
    msg = (
        f"{type(dataset).__name__} does not name the georeferenced file of a sample, so the sample "
        "cannot be placed; pass the folder of its files to Scenes(...)."
    )
    raise SceneError(msg)


def _innermost(dataset: Any, index: int) -> tuple[Any, int]:  # noqa: ANN401 - as above
    """Unwrap PyTorch's subsets and concatenations."""
    while isinstance(dataset, Subset | ConcatDataset):
        if isinstance(dataset, Subset):
            index, dataset = dataset.indices[index], dataset.dataset
        else:
            part = bisect_right(dataset.cumulative_sizes, index)
            index -= dataset.cumulative_sizes[part - 1] if part else 0
            dataset = dataset.datasets[part]
    return dataset, index


def _class_name(dataset: object, index: int, label: object) -> str | None:
    dataset, _ = _innermost(dataset, index)
    classes = getattr(dataset, "classes", None)
    if classes is None or not isinstance(label, Tensor) or label.numel() != 1:
        return None
    return str(classes[int(label)])
