"""Read a query patch: a raster file or a window of one, resampled to the hasher's grid."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import rasterio.windows
import torch
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from shapely.geometry.base import BaseGeometry
from torch import Tensor

from geohash_rs.errors import BandMismatchError, PatchError, ValueMismatchError, one_line
from geohash_rs.footprints.windows import footprints, ground_pixel
from geohash_rs.retrieval.patch_size import Fit, coarse_notes, too_many_tiles
from geohash_rs.scenes.band_labels import COLOURS_SAY
from geohash_rs.scenes.bands import BY_ORDER, BandChoice, enumerated
from geohash_rs.scenes.file import SceneFile, open_raster, read_scene_file
from geohash_rs.scenes.grid import grid_starts
from geohash_rs.scenes.pixels import fill_invalid, north_up, read_window, stack_images
from geohash_rs.scenes.value_doubts import doubt_range, explain_fill, find_fill
from geohash_rs.scenes.value_sample import sample_of_header, sample_values, scene_conversion
from geohash_rs.scenes.values import Conversion, Values, stretch_values

if TYPE_CHECKING:
    from geohash_rs.scenes.vector_reader import Pool

__all__ = ["Patch", "read_patch"]

Window = tuple[int, int, int, int]  # column, row, width, height

MAX_TILES = 1024
MOST_PIXELS = 65536  # of a patch whose values are compared
# A patch up to this much larger or smaller than a tile counts as one tile.
NEAR_TILE = 1.25
# Resolutions that differ by less count as equal: UTM scale and datum shifts change them this much.
SAME_RESOLUTION = 1.02


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A query patch on the hasher's grid.

    Attributes:
        source: Path or URI that it was read from.
        tiles: Raw pixels with north up, shape (tiles, bands, height, width); or vectors of an
            embedding, shape (tiles, length).
        windows: Where the tiles lie in the source, (col, row, width, height) px, shape (tiles, 4).
        footprint: What the patch covers, EPSG:4326.
        notes: What may be wrong about its bands and values, one sentence each.
    """

    source: str
    tiles: Tensor
    windows: npt.NDArray[np.int64]
    footprint: BaseGeometry
    notes: tuple[str, ...] = ()


def read_patch(
    path: str | Path,
    *,
    names: Sequence[str],
    tile_sizes: Mapping[float | None, Collection[int]],
    window: Sequence[int] | None = None,
    bands: Sequence[int | str] | None = None,
    unnamed: Sequence[int | str] | None = None,
    by_name: Sequence[int] | None = None,
    named: bool = False,
    nodata: float | None = None,
    values: Sequence[Values] = (),
    value_range: tuple[float, float] | None = None,
    stretch: bool = False,
    pool: "Pool | None" = None,
) -> Patch:
    """Read a patch as tiles for a hasher.

    The patch keeps its own pixel grid and CRS. Each of its tiles covers as much ground as a tile
    of the archive and is resampled to as many pixels, so both look alike to the network. A patch
    much larger than a tile is cut into tiles; the last one of a row or column is moved inside. Of
    several tile sizes, the one nearest to the patch's shorter side is used, by ratio.

    Args:
        path: Path or URI of a georeferenced raster.
        names: Bands that the hasher expects.
        tile_sizes: Columns and rows of the archive's tiles, px, for each ground size of a pixel, m.
            The one nearest to the patch's own is used; None stands for the patch's own.
        window: Column, row, width and height of the part to search with, px; all if None.
        bands: One-based indexes or names of the bands to use.
        unnamed: Bands to use if the file does not say what its bands show.
        by_name: Bands of the archive's scenes whose file names say what they show; a patch that
            only has colours, and in another order, gets a note.
        named: Whether the archive's scenes say what their bands show; if so, a patch that does not
            gets a note.
        nodata: Value of missing pixels; None uses the file's own.
        values: Values that the hasher accepts, its own first; empty if it accepts any.
        value_range: The patch's values that correspond to the lowest and highest of the hasher's.
        stretch: Whether to stretch a patch of another kind of values by its own range, with a
            note, or refuse it.
        pool: Turns the patch's own pixels into vectors, if it is of an embedding; they are neither
            converted nor resampled.

    Returns:
        The tiles of the patch, or their vectors.

    Raises:
        SceneError: If the file cannot be opened or placed.
        BandMismatchError: If its bands do not fit the hasher.
        PatchError: If the window is outside the file, has no valid pixel, or makes too many tiles;
            or a tile of the archive covers less than a pixel of the file.
        ValueMismatchError: If the hasher was made for different values.
    """
    scene = read_scene_file(path, bands=bands)
    choice = _choose_bands(scene, bands, names, unnamed)
    in_archive = [band for band in unnamed or by_name or () if isinstance(band, int)]
    notes = _band_notes(scene, choice, names, named=named, in_archive=in_archive)
    indexes = choice.indexes
    whole = _check_window(scene, window)
    fit = _fitting_size(scene, whole, tile_sizes)
    doubts = coarse_notes(scene.name, fit)
    windows = _cut(whole, fit.shape)
    if len(windows) > MAX_TILES:
        raise PatchError(too_many_tiles(scene.name, whole, fit, count=len(windows), most=MAX_TILES))
    nodata = scene.nodata if nodata is None else nodata
    with open_raster(scene.source) as source:
        if pool is not None:
            tiles, kept = _vectors(
                source, scene, windows, indexes=indexes, nodata=nodata, pool=pool
            )
        else:
            if value_range is not None or not values:
                conversion = scene_conversion(
                    scene, indexes, found=None, known=values, value_range=value_range
                )
            else:
                found = _sample(source, scene, indexes, nodata)
                conversion, forced = _fitting(scene, indexes, found, values, stretch=stretch)
                notes += forced
            images, kept = _images(
                source,
                scene,
                windows,
                indexes=indexes,
                nodata=nodata,
                side=fit.tile_size,
                conversion=conversion,
            )
            tiles = stack_images(images)
            doubts += _value_notes(scene, images, values) if images else []
    if not kept:
        msg = (
            f"{scene.name} holds nothing but nodata in window {','.join(map(str, whole))} "
            "(col, row, width, height); choose another window."
        )
        raise PatchError(msg)
    return Patch(
        source=scene.key,
        tiles=tiles,
        windows=np.array(kept, dtype=np.int64),
        footprint=footprints(scene.transform, [whole], crs=scene.crs)[0],
        notes=(*notes, *doubts),
    )


def _images(
    source: DatasetReader,
    scene: SceneFile,
    windows: Sequence[Window],
    *,
    indexes: Sequence[int],
    nodata: float | None,
    side: int,
    conversion: Conversion | None,
) -> tuple[list[npt.NDArray[Any]], list[Window]]:
    """Read windows as pictures of a hasher's tile size, and say which have valid pixels.

    Raises:
        PatchError: If one cannot be read.
    """
    images, kept = [], []
    for one in windows:
        try:
            pixels = read_window(
                source,
                one,
                indexes=indexes,
                nodata=nodata,
                masked=scene.masked,
                shape=(side, side),
            )
        except (RasterioError, OSError) as error:
            raise PatchError(_unreadable(scene, one, error)) from error
        if pixels.invalid is None or not pixels.invalid.all():
            image = fill_invalid(pixels, nodata)
            image = image if conversion is None else conversion.apply(image)
            images.append(north_up(image, scene.transform))
            kept.append(one)
    return images, kept


def _vectors(
    source: DatasetReader,
    scene: SceneFile,
    windows: Sequence[Window],
    *,
    indexes: Sequence[int],
    nodata: float | None,
    pool: "Pool",
) -> tuple[Tensor, list[Window]]:
    """Turn the stored pixels of windows into vectors, and say which have one.

    Raises:
        PatchError: If one cannot be read.
    """
    found, kept = [torch.empty(0)], []
    for one in windows:
        place = rasterio.windows.Window(*one)
        try:
            pixels = source.read(list(indexes), window=place)
            hidden = source.dataset_mask(window=place) == 0 if scene.masked else None
        except (RasterioError, OSError) as error:
            raise PatchError(_unreadable(scene, one, error)) from error
        whole = np.array([[0, 0, *one[2:]]], np.int64)
        rescaling = scene.rescaling(indexes)
        vectors, _ = pool(pixels, whole, hidden=hidden, nodata=nodata, rescaling=rescaling)
        if vectors.any():
            found.append(torch.from_numpy(vectors))
            kept.append(one)
    return torch.cat(found[1:] or found), kept


def _unreadable(scene: SceneFile, window: Window, error: Exception) -> str:
    return f"{scene.name} cannot be read at {window}: {one_line(error.__cause__ or error)}"


def _sample(
    source: DatasetReader, scene: SceneFile, indexes: Sequence[int], nodata: float | None
) -> Values | None:
    """Sample some pixels of the patch's file.

    Raises:
        PatchError: If it cannot be read.
    """
    try:
        sample = sample_of_header(scene, indexes) or sample_values(
            source, scene, indexes=indexes, nodata=nodata
        )
    except (RasterioError, OSError) as error:
        msg = f"{scene.name} cannot be read: {one_line(error.__cause__ or error)}"
        raise PatchError(msg) from error
    return None if sample is None else sample.values


def _fitting(
    scene: SceneFile,
    indexes: Sequence[int],
    found: Values | None,
    known: Sequence[Values],
    *,
    stretch: bool,
) -> tuple[Conversion | None, list[str]]:
    """Choose the conversion from the patch's pixels to the values that the hasher was made for.

    Returns:
        The conversion, and a sentence for the user if it is only approximate.

    Raises:
        ValueMismatchError: If the hasher was made for different values, and ``stretch`` is false.
    """
    try:
        return scene_conversion(scene, indexes, found=found, known=known), []
    except ValueMismatchError as error:
        if not stretch or found is None:
            raise
        note = (
            f"{error} This search stretches the patch from its own range to the hasher's, so its "
            "distances are only approximate."
        )
    after = stretch_values(found, known[0])
    rescaling = scene.rescaling(indexes)
    return after if rescaling is None else rescaling.then(after), [note]


def _value_notes(
    scene: SceneFile, images: Sequence[npt.NDArray[Any]], known: Sequence[Values]
) -> list[str]:
    """Report what is doubtful about the values of a patch.

    Args:
        scene: The patch's file.
        images: Its tiles, converted to the hasher's values, each (bands, height, width).
        known: Values that the hasher accepts.

    Returns:
        Sentences for a user.
    """
    if not known:
        return []
    pixels = np.concatenate([image.reshape(len(image), -1) for image in images], axis=1)
    pixels = pixels[:, :: max(1, pixels.shape[1] // MOST_PIXELS)]
    doubt = doubt_range(pixels, known[0], name=scene.name)
    fill = find_fill(Values.of_pixels(pixels, dtype=str(pixels.dtype)))
    filled = [] if fill is None else [explain_fill([scene.name], fill, is_patch=True)]
    return [doubt, *filled] if doubt else filled


def _choose_bands(
    scene: SceneFile,
    bands: Sequence[int | str] | None,
    names: Sequence[str],
    unnamed: Sequence[int | str] | None,
) -> BandChoice:
    """Choose a patch's bands: as asked, otherwise by meaning, otherwise as in the archive.

    Raises:
        BandMismatchError: If not as many are asked for as the hasher expects, or as
            `SceneFile.choose`.
    """
    if bands is not None and len(bands) != len(names):
        expected = ", ".join(names) if len(names) <= 4 else f"{names[0]}..{names[-1]}"
        msg = (
            f"bands={list(bands)} are {len(bands)}, but the hasher expects {len(names)} "
            f"({expected}); choose {len(names)} bands of {scene.name}."
        )
        raise BandMismatchError(msg)
    if bands is not None:
        return scene.choose(bands)
    numbers = [band for band in unnamed or () if isinstance(band, int)]
    says_nothing = not any(band.label for band in scene.bands)
    if says_nothing and numbers and max(numbers) <= scene.count:
        return scene.choose(unnamed)
    return scene.choose(names=names)


def _band_notes(
    scene: SceneFile,
    choice: BandChoice,
    names: Sequence[str],
    *,
    named: bool,
    in_archive: Sequence[int],
) -> list[str]:
    """Report what may be wrong about the bands of a patch.

    Args:
        scene: The patch's file.
        choice: The bands chosen.
        names: Bands that the hasher expects.
        named: As in `read_patch`.
        in_archive: Bands that the archive's scenes were read with, where these were asked for or
            their file names say what they show.

    Returns:
        Sentences for a user.
    """
    notes = []
    if named and choice.by == BY_ORDER and len(names) > 1:
        notes.append(
            f"{scene.name} does not say what its bands show, so they are read in order as "
            f"{enumerated(names)}; pass bands=... if that is wrong."
        )
    if in_archive and choice.indexes != tuple(in_archive) and COLOURS_SAY in choice.by:
        notes.append(
            f"the archive's scenes were read with bands {','.join(map(str, in_archive))}, but "
            f"{scene.name} with bands {','.join(map(str, choice.indexes))}, by its colour "
            f"interpretation as {', '.join(names)}; pass bands=... if its order is that of the "
            "scenes."
        )
    if choice.conflict:
        notes.append(
            f"{scene.name} contradicts itself on what its bands show: {choice.conflict}. The first "
            "reading is used; pass bands=... if it is wrong."
        )
    return notes


def _check_window(scene: SceneFile, window: Sequence[int] | None) -> tuple[int, int, int, int]:
    if window is None:
        return 0, 0, scene.width, scene.height
    if len(window) != 4:
        msg = f"window has {len(window)} numbers; pass column, row, width and height in px."
        raise PatchError(msg)
    col, row, width, height = (int(value) for value in window)
    inside = col >= 0 and row >= 0 and col + width <= scene.width and row + height <= scene.height
    if width < 1 or height < 1 or not inside:
        msg = (
            f"window {col},{row},{width},{height} is not inside {scene.name} ({scene.width} x "
            f"{scene.height} px); pass column, row, width and height in its pixels."
        )
        raise PatchError(msg)
    return col, row, width, height


def _fitting_size(
    scene: SceneFile,
    whole: tuple[int, int, int, int],
    tile_sizes: Mapping[float | None, Collection[int]],
) -> Fit:
    """Choose a tile size, and count the patch's pixels that cover its ground, across and down."""
    own = nearest = None
    known = [size for size in tile_sizes if size is not None]
    if not known:
        shapes = {size: (size, size) for size in sorted(tile_sizes[None])}
    else:
        across, down = ground_pixel(scene.transform, scene.width, scene.height, crs=scene.crs)
        own = float(np.sqrt(across * down))
        nearest = min(known, key=lambda value: abs(np.log(value / own)))
        same = 1 / SAME_RESOLUTION < nearest / own < SAME_RESOLUTION
        shapes = {
            size: (size, size)
            if same
            else (max(1, round(size * nearest / across)), max(1, round(size * nearest / down)))
            for size in sorted(tile_sizes[nearest])
        }

    def ratio(size: int) -> float:
        across, down = shapes[size]
        return float(abs(np.log(min(whole[2] / across, whole[3] / down))))

    chosen = min(shapes, key=ratio)
    return Fit(tile_size=chosen, shape=shapes[chosen], pixel=own, archive_pixel=nearest)


def _cut(
    whole: tuple[int, int, int, int], size: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    (col, row, width, height), (tile_width, tile_height) = whole, size
    if width <= tile_width * NEAR_TILE and height <= tile_height * NEAR_TILE:
        return [whole]
    tile_width, tile_height = min(tile_width, width), min(tile_height, height)
    return [
        (col + int(x), row + int(y), tile_width, tile_height)
        for y in grid_starts(height, tile_height, tile_height, "shift")
        for x in grid_starts(width, tile_width, tile_width, "shift")
    ]
