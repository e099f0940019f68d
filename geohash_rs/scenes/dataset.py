"""Read tiles of GeoTIFF scenes, each on its own pixel grid and in its own CRS."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
import torch
from affine import Affine
from rasterio.errors import RasterioError
from rasterio.windows import Window
from torchgeo.datasets import RasterDataset

from geohash_rs._compat import GeoSlice, location_keys
from geohash_rs.errors import SceneError, one_line
from geohash_rs.footprints.windows import footprints
from geohash_rs.scenes.band_labels import remember_names
from geohash_rs.scenes.bands import shared_names
from geohash_rs.scenes.coverage import coverage, pixel_size, slices_of
from geohash_rs.scenes.dates import DateArgument, DateRule
from geohash_rs.scenes.file import SceneFile, read_scene_file
from geohash_rs.scenes.finding import FoundScenes, find_scenes, scene_paths
from geohash_rs.scenes.pixels import TilePixels, read_window
from geohash_rs.scenes.pool import RasterPool
from geohash_rs.scenes.remote import is_remote, read_patiently
from geohash_rs.scenes.sensors import RGB
from geohash_rs.scenes.stac import StacScenes, read_stac
from geohash_rs.scenes.stacks import remember_stack
from geohash_rs.scenes.value_sample import (
    Sample,
    sample_of_header,
    sample_values,
    scene_conversion,
)
from geohash_rs.scenes.values import Conversion, Values, check_value_range
from geohash_rs.scenes.yearly import dates_by_convention, year_of_folder

__all__ = ["Scenes", "Tile"]

T = TypeVar("T")


class Tile(NamedTuple):
    """A window of one scene, in pixels of that scene.

    Attributes:
        scene: Position of the scene in ``Scenes.scene_files``.
        col: First column; negative or beyond the scene where edges are padded.
        row: First row.
        width: Columns.
        height: Rows.
    """

    scene: int
    col: int
    row: int
    width: int
    height: int


class Scenes(RasterDataset):  # type: ignore[misc]  # TorchGeo's classes are untyped to mypy here
    """A TorchGeo dataset of GeoTIFF scenes that are never warped, merged or mixed.

    Index it with a `Tile` (from `TileGrid`), or with the slices of any TorchGeo sampler; slices
    read a window of the same size in pixels from the scene that covers most of the slice. A sample
    holds ``image`` (float32, shape (bands, height, width), GDAL's scale and offset applied),
    ``tile`` (int64: scene, col, row, width, height), and TorchGeo's location keys.

    Attributes:
        scene_files: The readable scenes, in the order of their paths.
        unreadable: Path and reason for each file that cannot be used.
        other_layers: Quality layers and preview pictures of these scenes, which are not scenes.
        passed_over: Path and reason for each file or folder that was skipped: hidden ones, link
            loops, and those already found under another name.
        containers: Path, and what to do with it, of each file that was found and holds other files
            or several rasters.
        index: TorchGeo's index, in the CRS shared by all scenes, otherwise in EPSG:4326.
    """

    def __init__(
        self,
        paths: str | Path | Iterable[str | Path],
        *,
        bands: Sequence[int | str] | None = None,
        nodata: float | None = None,
        value_range: tuple[float, float] | None = None,
        filename_regex: str | None = None,
        date_format: str = "%Y%m%d",
        datetime: DateArgument | None = None,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        strict: bool = False,
    ) -> None:
        """Read the headers of all scenes.

        Args:
            paths: Folders (searched recursively for .tif, .tiff, .vrt, .jp2 and .img), files or
                URIs.
            bands: One-based indexes or band names; None means all but alpha.
            nodata: Value of pixels without data; None uses each file's own.
            value_range: Values, with scale and offset applied, to map to the lowest and highest
                values that a hasher was made for. None compares each scene's own values with the
                hasher's.
            filename_regex: Pattern with a group ``date``, or ``start`` and ``stop``, at the start
                of the file name. None finds dates such as 20230601 or 2023-06-01.
            date_format: Format of those groups.
            datetime: Date of the scenes (a date, a pair, or a function of the path). It takes
                precedence over the file name, and the file name over the TIFF tag.
            transforms: Function of a sample, as in TorchGeo.
            strict: Raise for the first unusable file instead of listing it in ``unreadable``.

        Raises:
            GeoHashRSError: With ``strict``, if a file cannot be used.
            SceneError: If no scene can be read.
            ValueMismatchError: If the range is empty.
        """
        self.paths = [paths] if isinstance(paths, str | Path) else list(paths)
        value_range = check_value_range(value_range)  # before anything is read
        rule = DateRule(argument=datetime, filename_regex=filename_regex, date_format=date_format)
        found = find_scenes(self.paths, rule=rule, bands=bands, strict=strict)
        self._take(found, rule, bands=bands, nodata=nodata, value_range=value_range)
        self.transforms = transforms

    @classmethod
    def of_files(
        cls,
        files: Sequence[SceneFile],
        *,
        bands: Sequence[int | str] | None = None,
        nodata: float | None = None,
        value_range: tuple[float, float] | None = None,
    ) -> "Scenes":
        """Take scenes whose headers were read, in the given order, each as it is.

        Args:
            files: The scenes.
            bands: As for the class.
            nodata: As for the class.
            value_range: As for the class.

        Returns:
            The scenes.

        Raises:
            ValueMismatchError: If the range is empty.
        """
        scenes = cls.__new__(cls)
        scenes.paths = [file.key for file in files]
        found = FoundScenes(scene_files=list(files))
        scenes._take(found, DateRule(), bands=bands, nodata=nodata, value_range=value_range)
        return scenes

    def _take(
        self,
        found: FoundScenes,
        rule: DateRule,
        *,
        bands: Sequence[int | str] | None,
        nodata: float | None,
        value_range: tuple[float, float] | None,
    ) -> None:
        """Take the scenes that were found."""
        self.bands = bands
        self.nodata = nodata
        self.value_range = check_value_range(value_range)
        self.transforms = None
        self.date_rule = rule
        self.separate_files = False
        self.scene_files = found.scene_files
        self.unreadable = found.unreadable
        self.passed_over = found.passed_over
        self.other_layers = found.other_layers
        self.containers = found.containers
        self._found: tuple[gpd.GeoDataFrame, object, shapely.STRtree] | None = None
        self._pool = RasterPool()
        self._set_index()

    @classmethod
    def from_stac(
        cls,
        *sources: object,
        asset: str | None = None,
        also: Iterable[str | Path] = (),
        **options: Any,  # noqa: ANN401 - those of the class
    ) -> "Scenes":
        """Read the headers of scenes named by STAC items; the items give their dates.

        Args:
            sources: Paths or URLs of item collections, items or catalogues, or pystac objects of
                these kinds.
            asset: Key of the asset that is the scene; None takes an item's only raster with the
                role ``data``, or its only raster.
            also: More folders, files or URIs, dated as usual.
            options: As for the class; ``datetime`` takes precedence over the items' dates.

        Returns:
            The scenes; items without a scene, and sources that cannot be read, are listed in
            ``unreadable``.

        Raises:
            SceneError: If pystac is not installed, or no scene can be read; with ``strict``, also
                if a source cannot be read or an item names no scene.
        """
        found = StacScenes()
        for source in sources:
            try:
                part = read_stac(source, asset=asset)
            except SceneError as error:
                found.unusable.append((str(source), str(error)))
                continue
            found.dates.update(part.dates)
            found.unusable += part.unusable
            for name, assets in part.stacks.items():
                remember_stack(name, assets)
            for href, names in part.names.items():
                remember_names(href, names)
        others = list(also)
        if found.unusable and (options.get("strict") or not (found.dates or others)):
            raise SceneError(found.unusable[0][1])
        if options.get("datetime") is None:
            options["datetime"] = found
        scenes = cls([*others, *found.dates], **options)
        scenes.unreadable += found.unusable
        return scenes

    @property
    def files(self) -> list[str]:
        """List the given files and those found in the given folders, sorted.

        Raises:
            SceneError: If a path does not exist.
        """
        return scene_paths(self.paths)

    def __getitem__(self, index: Tile | GeoSlice) -> dict[str, Any]:
        """Read one sample.

        Args:
            index: A tile, or x, y and optionally t slices in the CRS of the index.

        Returns:
            ``image``, ``tile`` and TorchGeo's location keys.

        Raises:
            IndexError: If there is no scene.
            SceneError: If the scene can no longer be read.
        """
        parts = index if isinstance(index, tuple) else (index,)
        tile = self.tile_of(parts) if isinstance(parts[0], slice) else Tile(*map(int, parts))
        scene = self.scene_files[tile.scene]
        pixels = self.read(tile)
        image = pixels.image.astype(np.float32)
        rescaling = scene.rescaling(scene.band_indexes(self.bands))
        if rescaling is not None:
            # nodata keeps its value, which identifies it
            seen = pixels.image != self.nodata_of(tile.scene)
            image = np.where(seen, rescaling.apply(pixels.image), image)
        transform = scene.transform @ Affine.translation(tile.col, tile.row)
        slices = slices_of(scene, tile[1:], self._dates[tile.scene])
        sample: dict[str, Any] = {
            "image": torch.from_numpy(image),
            "tile": torch.tensor(tile, dtype=torch.int64),
            **location_keys(scene.crs, slices, transform),
        }
        return self.transforms(sample) if self.transforms is not None else sample

    def read(
        self,
        tile: Tile,
        *,
        indexes: Sequence[int] | None = None,
        shape: tuple[int, int] | None = None,
        out: npt.NDArray[Any] | None = None,
    ) -> TilePixels:
        """Read the pixels of a tile in the scene's own dtype.

        Args:
            tile: Window of one scene; pixels outside the scene are filled with nodata, or 0.
            indexes: One-based bands; None means those of this dataset.
            shape: Height and width to resample the tile to; None keeps its own.
            out: Array to read into if the tile is inside the scene, as in `read_window`.

        Returns:
            The pixels, and which of them are invalid.

        Raises:
            SceneError: If the scene cannot be read.
        """
        scene = self.scene_files[tile.scene]

        def read() -> TilePixels:
            return read_window(
                self._pool.open(scene.source, direct=scene.plain and shape is None),
                tile[1:],
                indexes=indexes or scene.band_indexes(self.bands),
                nodata=self.nodata_of(tile.scene),
                masked=scene.masked,
                shape=shape,
                out=out,
            )

        return self._patiently(scene, read, what=f" at {tuple(tile[1:])}")

    def read_block(
        self,
        number: int,
        window: tuple[int, int, int, int],
        *,
        indexes: Sequence[int],
        out: npt.NDArray[Any],
    ) -> npt.NDArray[np.bool_] | None:
        """Read a window of a scene as it is stored.

        Args:
            number: Position in ``scene_files``.
            window: Column, row, width and height, px, inside the scene.
            indexes: One-based bands.
            out: Array to read into, shape (bands, height, width).

        Returns:
            Pixels that the scene's own mask hides, shape (height, width); None if it has none.

        Raises:
            SceneError: If the scene cannot be read.
        """
        scene = self.scene_files[number]

        def read() -> npt.NDArray[np.bool_] | None:
            source = self._pool.open(scene.source, direct=scene.plain)
            place = Window(*window)
            source.read(list(indexes), window=place, out=out)
            return source.dataset_mask(window=place) == 0 if scene.masked else None

        return self._patiently(scene, read, what=f" at {window}")

    def block_shape(self, number: int) -> tuple[int, int]:
        """Return the height and width of the blocks of a scene, px.

        Args:
            number: Position in ``scene_files``.

        Raises:
            SceneError: If the scene cannot be opened.
        """
        high, wide = self._pool.open(self.scene_files[number].source).block_shapes[0]
        return int(high), int(wide)

    def nodata_of(self, number: int) -> float | None:
        """Return the nodata value of a scene, or None.

        Args:
            number: Position in ``scene_files``.
        """
        return self.scene_files[number].nodata if self.nodata is None else self.nodata

    def sample(self, number: int, *, indexes: Sequence[int]) -> Sample | None:
        """Sample some pixels of a scene, unless its header determines its values.

        Args:
            number: Position in ``scene_files``.
            indexes: One-based bands.

        Returns:
            Pixels and their values; None if hardly any valid pixel was found.

        Raises:
            SceneError: If the scene cannot be read.
        """
        scene = self.scene_files[number]

        def look() -> Sample | None:
            source = self._pool.open(scene.source)
            return sample_values(source, scene, indexes=indexes, nodata=self.nodata_of(number))

        return sample_of_header(scene, indexes) or self._patiently(scene, look, what="")

    def conversion(
        self, number: int, *, indexes: Sequence[int], known: Sequence[Values]
    ) -> Conversion | None:
        """Choose the conversion of a scene's pixels to the values that a hasher was made for.

        Args:
            number: Position in ``scene_files``.
            indexes: One-based bands.
            known: Values that the hasher was made for, its own first; empty accepts any.

        Returns:
            The conversion; None leaves the pixels as they are.

        Raises:
            SceneError: If the scene cannot be read.
            ValueMismatchError: If the hasher was made for different values.
        """
        look = known and self.value_range is None
        sample = self.sample(number, indexes=indexes) if look else None
        return scene_conversion(
            self.scene_files[number],
            indexes,
            found=None if sample is None else sample.values,
            known=known,
            value_range=self.value_range,
        )

    def of_whole_years(self) -> "Scenes":
        """Return scenes that are dated by the folders whose names are years.

        Dates that were given, and those of conventions for file names, stay.

        Returns:
            The scenes; these if no date changes.
        """
        rule = self.date_rule
        given = rule.argument if callable(rule.argument) else None  # such as STAC items
        if rule.filename_regex is not None or (rule.argument is not None and given is None):
            return self
        files = [
            file
            if given is not None and given(file.source) is not None
            else replace(
                file, dates=dates_by_convention(file.key) or year_of_folder(file.key) or file.dates
            )
            for file in self.scene_files
        ]
        if files == self.scene_files:
            return self
        other = copy.copy(self)
        other._pool = RasterPool()
        other.scene_files = files
        other._set_index()
        return other

    def on_grid_of(self, names: Sequence[str]) -> "Scenes":
        """Return scenes whose separate band files are read on the finest grid of the given bands.

        Args:
            names: Bands that the hasher expects.

        Returns:
            Scenes on that grid; these scenes if nothing changes.

        Raises:
            SceneError: If a scene can no longer be opened.
        """
        if self.bands is not None or not any(file.is_stack for file in self.scene_files):
            return self
        other = copy.copy(self)
        other._pool = RasterPool()
        other.scene_files = [
            read_scene_file(file.key, rule=self.date_rule, bands=names) if file.is_stack else file
            for file in self.scene_files
        ]
        other._set_index()
        return other

    def shared_bands(self) -> tuple[str, ...] | None:
        """Name the bands that the scenes offer to a hasher that takes any bands.

        Returns:
            The labels of the bands asked for; otherwise all bands if the scenes have the same ones,
            or those they share by meaning, such as red, green and blue. None if nothing is known
            about them, so their order decides.
        """
        scenes = self.scene_files
        if self.bands is not None:
            first = scenes[0]
            indexes = first.band_indexes(self.bands)
            labels = tuple(first.bands[index - 1].label for index in indexes)
            # Red, green and blue in another order: the file's flags are ignored.
            distinct = all(labels) and len(set(labels)) == len(labels) and set(labels) != set(RGB)
            return labels if distinct else None
        layouts = [[s.bands[i - 1] for i in s.color_bands] for s in scenes]
        return shared_names(layouts)

    def band_indexes(
        self, tiles: npt.NDArray[np.int64], names: Sequence[str] | None
    ) -> list[tuple[int, ...]]:
        """Choose the bands to read from each scene.

        Args:
            tiles: int64 (scene, col, row, width, height), shape (tiles, 5).
            names: Bands that the hasher expects, as in `SceneFile.band_indexes`.

        Returns:
            One-based indexes for each of ``scene_files``; empty for scenes without tiles.

        Raises:
            BandMismatchError: If the bands of a scene do not match.
        """
        indexes: list[tuple[int, ...]] = [()] * len(self.scene_files)
        for number in np.unique(tiles[:, 0]).tolist():
            indexes[number] = self.scene_files[number].band_indexes(self.bands, names=names)
        return indexes

    def close(self, number: int) -> None:
        """Close a scene's file in this thread, and free its decoded blocks.

        Reading it opens it again.

        Args:
            number: Position in ``scene_files``.
        """
        self._pool.close(self.scene_files[number].source)

    def prefetch(self, tiles: Sequence[Tile], *, indexes: Sequence[int]) -> None:
        """Fetch the blocks of tiles in one row of a remote scene in one request rather than many.

        The blocks stay in GDAL's cache; nothing is done for a local scene.

        Args:
            tiles: Adjacent tiles of one scene.
            indexes: One-based bands.

        Raises:
            SceneError: If the scene cannot be read.
        """
        scene = self.scene_files[tiles[0].scene]
        if len(tiles) > 1 and is_remote(scene.key):
            first, last = min(t.col for t in tiles), max(t.col + t.width for t in tiles)
            top, bottom = min(t.row for t in tiles), max(t.row + t.height for t in tiles)
            self.read(Tile(tiles[0].scene, first, top, last - first, bottom - top), indexes=indexes)

    def tile_of(self, slices: GeoSlice) -> Tile:
        """Find the tile for TorchGeo's slices.

        Args:
            slices: x, y and optionally t slices in the CRS of the index.

        Returns:
            A window of the scene that covers most of the slice, with the same centre, and as many
            pixels as the slice has at its own step.

        Raises:
            IndexError: If there is no scene at that place and time.
        """
        x, y, t = self._disambiguate_slice(slices)
        box = shapely.box(x.start, y.start, x.stop, y.stop)
        hits = self._tree().query(box, predicate="intersects")
        dates = self.index.index
        shared = [
            (-self.index.geometry.iloc[i].intersection(box).area, int(i))
            for i in hits
            if dates[i].left <= t.stop and dates[i].right >= t.start
        ]
        if not shared:
            msg = f"no scene at x {x}, y {y}, t {t}; the scenes span {self.bounds}."
            raise IndexError(msg)
        number = self._numbers[self.index.filepath.iloc[min(shared)[1]]]
        scene = self.scene_files[number]
        width = max(1, round((x.stop - x.start) / x.step))
        height = max(1, round((y.stop - y.start) / y.step))
        middle = gpd.GeoSeries([box.centroid], crs=self.crs).to_crs(scene.crs).iloc[0]
        col, row = ~scene.transform @ (middle.x, middle.y)
        return Tile(number, round(col - width / 2), round(row - height / 2), width, height)

    def tile_footprints(
        self, tiles: Sequence[Tile] | npt.NDArray[np.int64]
    ) -> npt.NDArray[np.object_]:
        """Compute the footprints of tiles in longitude and latitude.

        Args:
            tiles: Tiles of these scenes.

        Returns:
            Polygons in EPSG:4326, shape (tiles,).

        Raises:
            SceneError: If a tile cannot be placed in longitude and latitude.
        """
        rows = np.asarray(tiles, dtype=np.int64).reshape(-1, 5)
        geometries = np.empty(len(rows), dtype=object)
        for number in np.unique(rows[:, 0]):
            scene = self.scene_files[number]
            mine = rows[:, 0] == number
            geometries[mine] = footprints(scene.transform, rows[mine, 1:], crs=scene.crs)
        return geometries

    def _patiently(self, scene: SceneFile, read: Callable[[], T], *, what: str) -> T:
        """Read from an open scene, retrying network failures.

        Raises:
            SceneError: If it cannot be read.
        """
        try:
            return read_patiently(scene.key, read, forget=lambda: self._pool.close(scene.source))
        except (RasterioError, OSError) as error:
            cause = error.__cause__ or error
            msg = f"{scene.name} cannot be read{what}: {one_line(cause)}"
            raise SceneError(msg) from error

    def __getstate__(self) -> dict[str, Any]:
        """Drop open files and the search tree when sent to another process."""
        return {k: v for k, v in self.__dict__.items() if k != "_pool"} | {"_found": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start in another process without open files."""
        self.__dict__.update(state)
        self._pool = RasterPool()

    def _tree(self) -> shapely.STRtree:
        # TorchGeo's splits replace a copy's index, and its intersections the CRS.
        found = self._found
        if found is None or found[0] is not self.index or found[1] != self.index.crs:
            tree = shapely.STRtree(self.index.geometry.to_numpy())
            self._found = found = (self.index, self.index.crs, tree)
        return found[2]

    def _set_index(self) -> None:
        self.index = coverage(self.scene_files, undated=(self.mint, self.maxt))
        self._res = pixel_size(self.index, self.scene_files[0])
        self._dates = self.index.index
        self._numbers = {scene.key: number for number, scene in enumerate(self.scene_files)}
        self._found = None
