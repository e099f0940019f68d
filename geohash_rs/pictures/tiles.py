"""Make small pictures of tiles and scenes for display."""

import base64
import io
import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geohash_rs.errors import SceneError, one_line
from geohash_rs.pictures.permission import Permission
from geohash_rs.scenes.bands import picture_bands
from geohash_rs.scenes.file import SceneFile, read_scene_file
from geohash_rs.scenes.pixels import TilePixels, north_up, read_window
from geohash_rs.scenes.pool import RasterPool

__all__ = [
    "MOST_PIXELS",
    "Thumbnails",
    "data_uri",
    "encode_webp",
    "hidden_pixels",
    "masks",
    "stretch_limits",
    "to_rgba",
]

Image = npt.NDArray[np.uint8]
Limits = npt.NDArray[np.float64]

LOW, HIGH = 2.0, 98.0  # percentiles that become black and white
SAMPLE = 512  # px of the longer side of the sample that sets a scene's brightness
KNOWN_SCENES = 4096
MOST_PIXELS = 4e8  # largest window to read for a picture, and largest scene without overviews


def stretch_limits(pixels: TilePixels) -> Limits:
    """Compute the values that become black and white.

    Args:
        pixels: A picture of a whole scene, or of a tile.

    Returns:
        The 2nd and 98th percentile of each band's valid pixels, float64, shape (bands, 2).
    """
    limits = []
    for band in pixels.image:
        usable = np.isfinite(band) if band.dtype.kind == "f" else np.ones(band.shape, bool)
        if pixels.invalid is not None:
            usable &= ~pixels.invalid
        values = band[usable]
        limits.append(np.percentile(values, (LOW, HIGH)) if values.size else (0.0, 1.0))
    return np.asarray(limits, dtype=np.float64)


def to_rgba(pixels: TilePixels, limits: Limits | None) -> Image:
    """Convert pixels to a picture.

    Args:
        pixels: One band or three.
        limits: Values that become black and white, shape (bands, 2); None keeps 8-bit pixels
            unchanged.

    Returns:
        RGBA, uint8, shape (height, width, 4), transparent where pixels are invalid.
    """
    image = pixels.image
    if limits is not None:
        low, high = limits[:, 0, None, None], limits[:, 1, None, None]
        scaled = (image.astype(np.float64) - low) / np.maximum(high - low, 1e-12)
        image = np.clip(np.nan_to_num(scaled) * 255, 0, 255).round()
    colour = np.broadcast_to(image, (3, *image.shape[1:])) if len(image) == 1 else image[:3]
    opacity = np.full(image.shape[1:], 255, np.uint8)
    if pixels.invalid is not None:
        opacity[pixels.invalid] = 0
    return np.dstack([*colour.astype(np.uint8), opacity])


def masks(source: DatasetReader, header: SceneFile) -> bool:
    """Check whether GDAL's mask of a scene is a mask, not near infrared mistaken for alpha.

    Args:
        source: The scene, open.
        header: Its header.

    Returns:
        Whether to use GDAL's mask; False if it is a near-infrared band mistaken for alpha.
    """
    if header.alpha is not None:
        return True
    try:
        colours = source.colorinterp
    except Exception:  # noqa: BLE001 - what an earlier read in this thread failed with is raised
        # here once more, https://github.com/rasterio/rasterio/issues/2353
        colours = source.colorinterp
    return ColorInterp.alpha not in colours


def hidden_pixels(
    source: DatasetReader, header: SceneFile, shape: tuple[int, int]
) -> npt.NDArray[np.bool_] | None:
    """Find the pixels of a small picture of a scene in which nothing was seen.

    Args:
        source: The scene, open.
        header: Its header.
        shape: Height and width of the picture.

    Returns:
        bool, of that shape; None if GDAL's mask does not hold.
    """
    return source.dataset_mask(out_shape=shape) == 0 if masks(source, header) else None


def encode_webp(image: Image, *, quality: int = 82) -> bytes:
    """Encode a picture as WebP.

    Args:
        image: uint8, shape (height, width, 4).
        quality: 1 to 100.

    Returns:
        The file's content.
    """
    from PIL import Image as Pillow

    target = io.BytesIO()
    opaque = bool((image[..., 3] == 255).all())
    picture = Pillow.fromarray(np.ascontiguousarray(image[..., :3] if opaque else image))
    picture.save(target, "WEBP", quality=quality, method=2)
    return target.getvalue()


def data_uri(webp: bytes) -> str:
    """Encode a picture for embedding in a page.

    Args:
        webp: WebP file.

    Returns:
        A data URI.
    """
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")


class Thumbnails:
    """Pictures of tiles, read from their scenes; thread-safe.

    Eight-bit scenes are shown unchanged. Others are stretched between percentiles of the whole
    scene, so that tiles of one scene can be compared by eye. Each scene is checked before it is
    opened, because an archive may name any.
    """

    def __init__(self, permission: Permission | None = None) -> None:
        """Store what pictures may be read from.

        Args:
            permission: None allows plain raster files of this machine.
        """
        self.permission = permission or Permission()
        self._pool = RasterPool()
        self._limits: OrderedDict[str, Limits | None] = OrderedDict()
        self._headers: OrderedDict[str, SceneFile] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, scene: str, window: Sequence[int], *, size: int) -> Image:
        """Read the picture of one tile.

        Args:
            scene: Path or URI of its scene.
            window: Column, row, width and height, px.
            size: Pixels of the longer side; small tiles are not enlarged.

        Returns:
            uint8, shape (height, width, 4), with north up.

        Raises:
            SceneError: If the scene is gone or not allowed, or the window is too large or cannot
                be read.
        """
        if window[2] * window[3] > MOST_PIXELS:
            msg = f"no picture of {scene} at {tuple(window)}: the window is too large to draw."
            raise SceneError(msg)
        header = self.header(scene)
        with self.permission.sealed():
            return self._read(scene, header, window, size)

    def _read(self, scene: str, header: SceneFile, window: Sequence[int], size: int) -> Image:
        """Read the picture of one tile of a scene that may be read.

        Raises:
            SceneError: If the scene or the window cannot be read.
        """
        try:
            source = self._pool.open(scene)
            bands = picture_bands(header.bands, alpha=header.alpha)
            scale = min(1.0, size / max(window[2], window[3], 1))
            shape = max(1, round(window[3] * scale)), max(1, round(window[2] * scale))
            pixels = read_window(
                source,
                window,
                indexes=bands,
                nodata=header.nodata,
                masked=masks(source, header),
                shape=shape,
            )
            picture = to_rgba(pixels, self.limits(scene, source, bands))
            return np.moveaxis(north_up(np.moveaxis(picture, -1, 0), source.transform), 0, -1)
        except SceneError:
            raise
        except (RasterioError, OSError, ValueError) as error:
            msg = f"no picture of {scene} at {tuple(window)}: {one_line(error)}"
            raise SceneError(msg) from error

    def header(self, scene: str) -> SceneFile:
        """Check a scene, and read what is known of its bands and mask, once per scene.

        Args:
            scene: Path or URI.

        Returns:
            Its header; a band flagged as alpha is a mask unless its values show otherwise.

        Raises:
            SceneError: If it may not be read, or cannot be.
        """
        with self._lock:
            if scene in self._headers:
                self._headers.move_to_end(scene)
                return self._headers[scene]
        self.permission.check(scene)
        with self.permission.sealed():
            found = read_scene_file(scene, bands=())
        with self._lock:
            self._headers[scene] = found
            if len(self._headers) > KNOWN_SCENES:
                self._headers.popitem(last=False)
        return found

    def limits(self, scene: str, source: DatasetReader, bands: Sequence[int]) -> Limits | None:
        """Return the values that become black and white in a scene's pictures, from a cache.

        Args:
            scene: Path or URI.
            source: The open scene.
            bands: One-based indexes of the bands to show.

        Returns:
            Shape (bands, 2), or None for 8-bit scenes.
        """
        if all(source.dtypes[band - 1] == "uint8" for band in bands):
            return None
        with self._lock:
            if scene in self._limits:
                self._limits.move_to_end(scene)
                return self._limits[scene]
        scale = min(1.0, SAMPLE / max(source.width, source.height))
        shape = max(1, round(source.height * scale)), max(1, round(source.width * scale))
        image = source.read(
            list(bands), out_shape=(len(bands), *shape), resampling=Resampling.nearest
        )
        hidden = hidden_pixels(source, self.header(scene), shape)
        found = stretch_limits(TilePixels(image, hidden))
        with self._lock:
            self._limits[scene] = found
            if len(self._limits) > KNOWN_SCENES:
                self._limits.popitem(last=False)
        return found
