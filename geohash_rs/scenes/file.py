"""Read the header of one georeferenced raster file: its grid, its bands and its date."""

import os
import re
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import MaskFlags
from rasterio.errors import CRSError, NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader

from geohash_rs.errors import GeoHashRSError, SceneError, ignore_warnings, one_line
from geohash_rs.footprints.projection import projection_of
from geohash_rs.footprints.windows import ground_pixel
from geohash_rs.scenes.alpha import alpha_band
from geohash_rs.scenes.band_labels import Band, label_bands
from geohash_rs.scenes.bands import BandChoice, choose_bands, enumerated
from geohash_rs.scenes.containers import container_of
from geohash_rs.scenes.dates import DateRange, DateRule
from geohash_rs.scenes.folders import shown_name
from geohash_rs.scenes.palette import in_colours
from geohash_rs.scenes.remote import is_remote, is_virtual, read_patiently, unless_set
from geohash_rs.scenes.sensors import product_rescaling
from geohash_rs.scenes.sources import deciding_files, missing_source
from geohash_rs.scenes.stack_vrt import stack_at
from geohash_rs.scenes.stacks import without_grid
from geohash_rs.scenes.state import state_of, version_of
from geohash_rs.scenes.values import Conversion, rescaling_of

__all__ = [
    "SceneFile",
    "bands_of_raster",
    "open_raster",
    "read_scene_file",
    "real_path",
    "scene_key",
]

# Side files are looked up by name: listing a folder of thousands takes longer than reading a tile.
LOCAL = {"GDAL_DISABLE_READDIR_ON_OPEN": "TRUE"}
MOST_PAGES = 4  # named in a message
FIRST_PAGE = re.compile(r"^(?:file://|GTIFF_DIR:1:)", re.IGNORECASE)
DIRECT = LOCAL | {"GTIFF_DIRECT_IO": "YES"}


@dataclass(frozen=True, kw_only=True)
class SceneFile:
    """One scene as described by its header.

    Attributes:
        key: Name of the scene in an archive: absolute path or URI; for separate band files, the
            path of their product.
        source: What GDAL opens: path or URI, or the text of a virtual raster.
        width: Columns.
        height: Rows.
        count: Bands, an alpha band included.
        dtypes: NumPy names of the bands' pixel types.
        crs: ``EPSG:n`` if there is a code, otherwise WKT.
        transform: Affine transform, pixel to CRS.
        nodata: Value of pixels without data, or None.
        masked: Whether a mask band or alpha band says which pixels are valid.
        alpha: One-based index of the alpha band, or None.
        bands: What is known about the bands.
        dates: First and last moment (UTC) of acquisition, or None.
        files: Paths of the files that decide its pixels, as in `deciding_files`.
        size: Bytes of the files, 0 if unknown.
        mtime_ns: Time of its last change in nanoseconds, or a number derived from the times of
            several files; 0 if unknown.
        plain: Whether it is a local, uncompressed, tiled GeoTIFF.
        scales: Factor of each band from pixels to physical values; empty if all are 1.
        offsets: Term added to each band after scaling.
        units: Unit of each band; empty strings if none is declared.
        version: What a catalogue says that differs once its files are others, such as checksums;
            empty if no catalogue names it.
    """

    key: str
    source: str
    width: int
    height: int
    count: int
    dtypes: tuple[str, ...]
    crs: str
    transform: Affine
    nodata: float | None
    masked: bool
    alpha: int | None
    bands: tuple[Band, ...]
    dates: DateRange | None
    files: tuple[str, ...]
    size: int
    mtime_ns: int
    plain: bool
    scales: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    version: str = ""

    @property
    def name(self) -> str:
        """Return the file's name without its folder."""
        return self.key.rstrip("/").rsplit("/", 1)[-1]

    @property
    def is_stack(self) -> bool:
        """Whether its bands are separate files."""
        return self.source.startswith("<")

    @property
    def dtype(self) -> str:
        """Return the NumPy name of the type that holds the pixels of all bands."""
        return str(np.result_type(*set(self.dtypes)))

    def ground_size(self) -> float:
        """Return the side of its centre pixel on the ground, m; 0 if it cannot be measured."""
        with suppress(SceneError):
            across, down = ground_pixel(self.transform, self.width, self.height, crs=self.crs)
            return float(np.sqrt(across * down))
        return 0.0

    def dtype_of(self, indexes: Sequence[int]) -> str:
        """Return the NumPy name of the type that holds the pixels of the given bands."""
        return str(np.result_type(*{self.dtypes[index - 1] for index in indexes}))

    @property
    def color_bands(self) -> tuple[int, ...]:
        """Return the one-based indexes of all bands but alpha."""
        return tuple(i for i in range(1, self.count + 1) if i != self.alpha)

    def rescaling(self, indexes: Sequence[int]) -> Conversion | None:
        """Return the conversion of bands to physical values, or None if they stay as stored.

        Args:
            indexes: One-based bands.
        """
        if not self.scales:
            return None
        scales, offsets = ([v[i - 1] for i in indexes] for v in (self.scales, self.offsets))
        if set(scales) == {1.0} and set(offsets) == {0.0}:
            return None
        return Conversion(gain=tuple(scales), shift=tuple(offsets))

    @property
    def listed(self) -> str:
        """List the bands, such as ``red, green, blue, nir``; unnamed ones by number."""
        labels = [self.bands[index - 1].label or str(index) for index in self.color_bands]
        return enumerated(labels)

    def choose(
        self, bands: Sequence[int | str] | None = None, *, names: Sequence[str] | None = None
    ) -> BandChoice:
        """Choose the bands to read, as `choose_bands` does.

        Args:
            bands: One-based indexes or band names; None leaves the choice to ``names``.
            names: Bands that the hasher expects; None chooses all but alpha.

        Returns:
            The choice, in the order to read.

        Raises:
            BandMismatchError: If a band does not exist, or the choice is ambiguous.
        """
        return choose_bands(self.bands, names, scene=self.name, asked=bands, alpha=self.alpha)

    def band_indexes(
        self, bands: Sequence[int | str] | None, *, names: Sequence[str] | None = None
    ) -> tuple[int, ...]:
        """Choose the bands to read, like `choose`, and return only their indexes.

        Args:
            bands: As in `choose`.
            names: As in `choose`.

        Returns:
            One-based band indexes in the order to read.

        Raises:
            BandMismatchError: As `choose`.
        """
        return self.choose(bands, names=names).indexes


def scene_key(path: str | Path) -> str:
    """Return the name of a scene in an archive.

    Args:
        path: Path of a file; or a URI or GDAL virtual path, which are kept unchanged.

    Returns:
        Absolute path with forward slashes, or the URI.
    """
    text = str(path)
    if is_virtual(text):
        return text
    return Path(os.path.abspath(text)).as_posix()  # noqa: PTH100 (resolve would follow links)


def real_path(key: str) -> str:
    """Return the one path of a file that links and URIs may name in other ways.

    Args:
        key: Name of a scene in an archive.

    Returns:
        The path without links of a local file, which may be named by a URI or as its first page;
        other names unchanged.
    """
    path = FIRST_PAGE.sub("", key) or key
    return key if is_virtual(path) else Path(os.path.realpath(path)).as_posix()


def open_raster(path: str | Path, *, direct: bool = False) -> DatasetReader:
    """Open a raster; any failure becomes a SceneError.

    Args:
        path: Path or URI of the raster.
        direct: Read without GDAL's block cache, if the raster is plain (`SceneFile.plain`). Only
            for windows that are not resampled: GDAL 3.10 would choose other neighbours, and would
            not notice truncated files in stripes.

    Returns:
        An open rasterio dataset; the caller closes it.

    Raises:
        SceneError: If the file is missing, empty, truncated or not a raster, or its name is not
            UTF-8 or not read as such.
    """
    if (shown := shown_name(path)) != str(path):
        ours = sys.getfilesystemencoding()
        why, advice = "is not UTF-8", "rename it"
        if ours != "utf-8" and _is_utf8(str(path)):
            why, advice = f"Python reads as {ours}", "set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
        msg = f"{Path(shown).name} has a name that {why}, which GDAL cannot open; {advice}."
        raise SceneError(msg)
    with ignore_warnings(NotGeoreferencedWarning):  # files are opened in several threads
        try:
            with _local_settings(str(path), direct=direct):
                return read_patiently(str(path), lambda: _open(path), forget=lambda: None)
        except (RasterioError, OSError) as error:
            virtual = str(path).startswith("<")
            name = "a virtual raster of several files" if virtual else Path(str(path)).name
            advice = "" if is_virtual(path) else container_of(str(path))
            if advice and Path(str(path)).exists():
                msg = f"{name} cannot be opened as a scene: it is {advice}."
            elif source := missing_source(str(path)):
                msg = f"{name} is made of {source}, which does not exist; restore it."
            else:
                msg = f"{name} cannot be opened: {one_line(error)}"
            raise SceneError(msg) from error


def _is_utf8(path: str) -> bool:
    """Return whether a name is UTF-8 on disk, however Python reads it."""
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeError:
        return False
    return True


def _open(path: str | Path) -> DatasetReader:
    """Open a file, a stack of separate band files, or a palette as colours.

    Raises:
        SceneError: If a stack or a palette cannot be read.
    """
    if not str(path).startswith("<") and (stack := stack_at(str(path))) is not None:
        return rasterio.open(stack.vrt)
    source = rasterio.open(path)
    try:
        colours = in_colours(source)
    except SceneError:
        source.close()
        raise
    if colours is None:
        return source
    source.close()
    return rasterio.open(colours)


def _local_settings(path: str, *, direct: bool) -> AbstractContextManager[object]:
    """Return the GDAL settings for opening a local raster; remote ones have their own."""
    if is_remote(path):
        return nullcontext()
    settings: AbstractContextManager[object] = rasterio.Env(
        **unless_set(DIRECT if direct else LOCAL)
    )
    return settings


def read_scene_file(
    path: str | Path,
    *,
    rule: DateRule | None = None,
    bands: Sequence[int | str] | None = None,
) -> SceneFile:
    """Read the header of one scene.

    Args:
        path: Path or URI of a georeferenced raster.
        rule: Sources of its date.
        bands: Bands that were asked for. They decide whether a band that is flagged as alpha but
            does not look like a mask is a band of measurements.

    Returns:
        The scene's grid, bands and date.

    Raises:
        GeoHashRSError: Errors of the package, unchanged.
        SceneError: If it cannot be opened, has no bands, no CRS or no geotransform, or complex
            pixels.
    """
    try:
        return _read_header(path, rule=rule, bands=bands)
    except GeoHashRSError:
        raise
    except Exception as error:  # GDAL and PROJ raise errors without a common class
        msg = f"{Path(str(path)).name} has a header that cannot be read: {one_line(error)}"
        raise SceneError(msg) from error


def _read_header(
    path: str | Path, *, rule: DateRule | None, bands: Sequence[int | str] | None
) -> SceneFile:
    """Read the header of one scene.

    Raises:
        SceneError: As in `read_scene_file`.
    """
    # Before opening: a file replaced in the meantime must not look unchanged later.
    before = state_of([str(path)])
    stack = stack_at(str(path), bands=bands or ())
    opened = str(path) if stack is None else stack.vrt
    with open_raster(opened) as source:
        name = Path(str(path)).name
        _check_header(source, name, str(path))
        _check_place(source, name)
        files = deciding_files(str(path), source)
        if state_of([str(path)]) != before:
            msg = f"{name} changed while its header was read; run again once it is complete."
            raise SceneError(msg)
        state = state_of(files)
        # An EPSG code is short and exact; rasterio returns only a certain match.
        epsg = source.crs.to_epsg(confidence_threshold=100)
        flagged, masks = alpha_band(source, name=name, trust=bands is not None)
        if flagged is not None and bands is not None and flagged in bands:
            masks = False
        alpha = flagged if masks else None
        flags = source.mask_flag_enums
        # A mask per band sets no flag. A lone alpha flag refers to that band.
        masked = masks or any(
            not f or (MaskFlags.per_dataset in f and MaskFlags.alpha not in f) for f in flags
        )
        # GDAL's mask covers bands with different nodata values.
        values = {str(v) for i, v in enumerate(source.nodatavals, 1) if i != alpha}
        differing = len(values) > 1
        return SceneFile(
            key=scene_key(path) + (stack.grid if stack is not None else ""),
            source=opened,
            width=source.width,
            height=source.height,
            count=source.count,
            dtypes=tuple(source.dtypes),
            crs=f"EPSG:{epsg}" if epsg else source.crs.to_wkt(),
            transform=source.transform,
            nodata=None if differing else source.nodata,
            masked=masked or differing,
            alpha=alpha,
            bands=_labels(source, str(path), data_alpha=flagged if not masks else None),
            dates=(rule or DateRule()).dates(
                str(path), {**source.tags(), **source.tags(ns="IMAGERY")}
            ),
            files=files,
            size=state[0],
            mtime_ns=state[1],
            plain=_is_plain(source, str(path)),
            units=tuple(text or "" for text in source.units),
            version=version_of(without_grid(str(path))),
            **_rescaling(source, opened),
        )


def bands_of_raster(source: DatasetReader, path: str | Path) -> tuple[tuple[Band, ...], int | None]:
    """Find what is known about the bands of any raster, placed on the Earth or not.

    Args:
        source: Open rasterio dataset.
        path: Its path, whose name may say what its bands show.

    Returns:
        One `Band` per band, and the one-based index of the alpha band or None.
    """
    flagged, masks = alpha_band(source, name=Path(path).name, trust=True)
    labels = _labels(source, str(path), data_alpha=flagged if not masks else None)
    return labels, flagged if masks else None


def _labels(source: DatasetReader, path: str, *, data_alpha: int | None) -> tuple[Band, ...]:
    return label_bands(
        path=path,
        descriptions=source.descriptions,
        colors=[color.name for color in source.colorinterp],
        tags=[source.tags(i) | source.tags(i, ns="IMAGERY") for i in source.indexes],
        product_tags=source.tags() | source.tags(ns="ENVI"),
        data_alpha=data_alpha,
    )


def _rescaling(source: DatasetReader, path: str) -> dict[str, tuple[float, ...]]:
    """Read scale and offset of the bands; a scale of 0 or NaN is ignored.

    Files of Sentinel-2 products do not declare them; the product's name implies them.
    """
    pairs = [
        (scale, offset) if np.isfinite([scale, offset]).all() and scale else (1.0, 0.0)
        for scale, offset in zip(source.scales, source.offsets, strict=True)
    ]
    pairs = rescaling_of(path, pairs, source.dtypes)
    if set(pairs) == {(1.0, 0.0)}:
        of_product = product_rescaling(path)
        if of_product is None or set(source.dtypes) != {"uint16"}:
            return {}
        pairs = [of_product] * source.count
    scales, offsets = zip(*pairs, strict=True)
    return {"scales": scales, "offsets": offsets}


def _is_plain(source: DatasetReader, path: str) -> bool:
    strips = source.block_shapes[0][1] == source.width
    compressed = source.compression is not None
    return source.driver == "GTiff" and not (strips or compressed or is_virtual(path))


def _check_header(source: DatasetReader, name: str, path: str) -> None:
    pages = source.subdatasets if source.driver == "GTiff" and not is_remote(path) else []
    if len(pages) > 1:
        msg = (
            f"{name} has {len(pages)} pages, but a scene is a single page; name the pages to use "
            f"instead: {', '.join(pages[:MOST_PAGES])}{', ...' * (len(pages) > MOST_PAGES)}"
        )
        raise SceneError(msg)
    if source.count == 0:
        named = "; name one of its subdatasets instead (see 'rio info')"
        if source.subdatasets:
            listed = ", ".join(source.subdatasets[:MOST_PAGES])
            named = (
                f" of its own but {len(source.subdatasets)} subdatasets; name one instead, or "
                f"convert it with 'gdal_translate SUBDATASET scene.tif': {listed}"
                f"{', ...' * (len(source.subdatasets) > MOST_PAGES)}"
            )
        msg = f"{name} has no bands{named}."
        raise SceneError(msg)
    if any(dtype.startswith("complex") for dtype in source.dtypes):
        msg = (
            f"{name} has complex pixels ({source.dtypes[0]}), which no hasher can read; write the "
            "magnitude to a new file first."
        )
        raise SceneError(msg)


def _check_place(source: DatasetReader, name: str) -> None:
    try:
        crs = source.crs
    except CRSError as error:
        msg = f"{name} has a CRS that cannot be read: {one_line(error)}"
        raise SceneError(msg) from error
    gridless = source.transform == Affine.identity()
    if gridless and (source.gcps[0] or source.rpcs):
        msg = (
            f"{name} is placed only by control points or RPCs, so its pixels are not on a grid; "
            "warp it to one with 'gdalwarp' first."
        )
        raise SceneError(msg)
    if not crs:
        msg = (
            f"{name} has no CRS, so its tiles cannot be placed; set one with 'rio edit-info --crs'."
        )
        raise SceneError(msg)
    usable = np.isfinite(source.transform).all() and source.transform.determinant != 0
    if gridless or not usable:
        msg = (
            f"{name} has no usable geotransform, so its tiles cannot be placed; set one with "
            "'rio edit-info --transform'."
        )
        raise SceneError(msg)
    projection_of(crs.to_wkt())
