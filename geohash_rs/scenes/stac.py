"""Read which scenes a STAC item collection names, and when they were taken."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geohash_rs.errors import SceneError, one_line
from geohash_rs.scenes.dates import DateRange

if TYPE_CHECKING:
    import pystac

__all__ = ["StacScenes", "is_stac_path", "read_stac"]

RASTER_TYPES = ("image/tiff", "image/jp2", "application/vnd.gdal.vrt")
RASTER_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt", ".img")
PICTURES = {"thumbnail", "overview"}  # roles of assets that are no data


@dataclass(kw_only=True)
class StacScenes:
    """The scenes of STAC items; as a function it dates them, as `Scenes` wants it.

    Attributes:
        dates: First and last moment, or None, by the scene's path or URL.
        unusable: Item and reason, for items that name no scene or cannot be read.
    """

    dates: dict[str, DateRange | None] = field(default_factory=dict)
    unusable: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, path: str) -> DateRange | None:
        """Give the dates of a scene, or None for a scene of no item."""
        return self.dates.get(path)


def is_stac_path(path: object) -> bool:
    """Tell the path or URL of a STAC file from that of a raster or folder, by its ending.

    >>> is_stac_path("https://example.org/items.json?limit=10"), is_stac_path("scene.tif")
    (True, False)
    """
    return str(path).partition("?")[0].lower().endswith((".json", ".geojson"))


def read_stac(source: object, *, asset: str | None = None) -> StacScenes:
    """Read the scenes of STAC items.

    Args:
        source: Path or URL of an item collection (such as a saved answer of a STAC API), an item,
            or a catalogue whose items are walked through; or a pystac object of these kinds, or
            several items.
        asset: Key of the asset that is the scene. None takes an item's only raster with the role
            ``data``, or its only raster.

    Returns:
        Scenes with their dates; items and catalogues within a catalogue that cannot be read are
        among the unusable.

    Raises:
        SceneError: If pystac is not installed, or the source cannot be read.
    """
    try:
        import pystac  # noqa: F401 - whether it is there
    except ImportError as error:
        msg = "reading STAC items needs pystac; install it with: pip install 'geohash-rs[stac]'."
        raise SceneError(msg) from error
    from geohash_rs.scenes.stac_walk import STAC_ERRORS, walk_items

    start = str(source) if isinstance(source, str | Path) else None
    scenes = StacScenes()
    try:
        items = list(walk_items(source, broken=scenes.unusable))
    except STAC_ERRORS as error:
        msg = f"{source} cannot be read as STAC items: {one_line(error)}"
        raise SceneError(msg) from error
    for item in items:
        try:
            href = _href(item, item.assets[_choose(item, asset)].href, start)
        except SceneError as error:
            scenes.unusable.append((item.get_self_href() or item.id, str(error)))
            continue
        scenes.dates[href] = _dates(item)
    return scenes


def _choose(item: "pystac.Item", asset: str | None) -> str:
    """Choose the asset that is the scene.

    Raises:
        SceneError: If it is not there, or the choice is not clear.
    """
    rasters = {key: value for key, value in item.assets.items() if _is_raster(value)}
    if asset is not None:
        if asset in item.assets:
            return asset
        msg = (
            f"item {item.id} has no asset {asset!r} but {', '.join(item.assets) or 'none'}; "
            "choose one of them."
        )
        raise SceneError(msg)
    data = [key for key, value in rasters.items() if "data" in (value.roles or ())]
    for found in (data, list(rasters)):
        if len(found) == 1:
            return found[0]
    msg = (
        f"item {item.id} has {len(rasters)} raster assets ({', '.join(rasters) or 'none'}); choose "
        "one with asset=... (bands in files of their own: stack them with gdalbuildvrt -separate)."
    )
    raise SceneError(msg)


def _is_raster(asset: "pystac.Asset") -> bool:
    if PICTURES & set(asset.roles or ()):
        return False
    kind = (asset.media_type or "").lower()
    name = asset.href.partition("?")[0].lower()
    return kind.startswith(RASTER_TYPES) or name.endswith(RASTER_ENDINGS)


def _href(item: "pystac.Item", href: str, start: str | None) -> str:
    """Make a reference absolute, which counts from the item's own file."""
    from pystac.utils import make_absolute_href

    base: Any = item.get_self_href() or start
    return href if href.startswith("/vsi") else str(make_absolute_href(href, base))


def _dates(item: "pystac.Item") -> DateRange | None:
    common = item.common_metadata
    first = common.start_datetime or item.datetime
    last = common.end_datetime or item.datetime
    return (first, last) if first is not None and last is not None else None
