"""Find the scenes that STAC items name, and when they were taken."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from geohash_rs.errors import SceneError, one_line
from geohash_rs.scenes.dates import DateRange
from geohash_rs.scenes.remote import is_virtual
from geohash_rs.scenes.sensors import at_wavelength, meanings_of
from geohash_rs.scenes.state import remember_version
from geohash_rs.scenes.values import remember_rescaling

if TYPE_CHECKING:
    import pystac

__all__ = ["StacScenes", "is_stac_path", "read_stac"]

RASTER_TYPES = ("image/tiff", "image/jp2", "application/vnd.gdal.vrt")
RASTER_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt", ".img")
DATA = {"data", "reflectance"}
PICTURES = {"thumbnail", "overview"}  # roles of assets that are not data


@dataclass(kw_only=True)
class StacScenes:
    """The scenes of STAC items; call it with a path to get a scene's dates, as `Scenes` does.

    Attributes:
        dates: First and last moment, or None, by the scene's path or URL.
        stacks: Files of each item that has one file per band, by name of the scene: path or URL,
            band name, and what the band shows.
        names: What each band of a scene shows, by the scene's path or URL, if the item says so.
        unusable: Items that cannot be read or do not name a scene, each with the reason.
    """

    dates: dict[str, DateRange | None] = field(default_factory=dict)
    stacks: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    names: dict[str, list[str]] = field(default_factory=dict)
    unusable: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, path: str) -> DateRange | None:
        """Return the dates of a scene, or None for a scene without an item."""
        return self.dates.get(path)


def is_stac_path(path: object) -> bool:
    """Return whether a path or URL ends like a STAC file, unlike a raster or folder.

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
        asset: Key of the asset to read. None reads an item's only raster with the role ``data``, or
            its only raster.

    Returns:
        Scenes with their dates. Items and nested catalogues that cannot be read are listed as
        unusable.

    Raises:
        SceneError: If pystac is not installed, or the source cannot be read.
    """
    try:
        import pystac  # noqa: F401 - checks that it is installed
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
            _take(item, scenes, asset=asset, start=start)
        except SceneError as error:
            scenes.unusable.append((item.get_self_href() or item.id, str(error)))
        except STAC_ERRORS as error:
            reason = f"item {item.id} is not a valid STAC item ({one_line(error)}); correct it."
            scenes.unusable.append((item.get_self_href() or item.id, reason))
    return scenes


def _take(item: "pystac.Item", scenes: StacScenes, *, asset: str | None, start: str | None) -> None:
    """Add the scene of an item.

    Raises:
        SceneError: If the item does not name a scene, the scene does not exist, or an earlier item
            gave it another date.
    """
    dates = _dates(item)
    bands = [] if asset else _band_assets(item, start)
    used = [one for one in item.assets.values() if _is_raster(one)]
    if len(bands) > 1:
        own = item.get_self_href()
        name = own if own and is_stac_path(own) else f"{start or own or item.id}#{item.id}"
        scenes.stacks[name] = bands
    else:
        chosen = item.assets[_choose(item, asset)]
        used = [chosen]
        name = _href(item, chosen.href, start)
        scenes.names[name] = [shows or band for band, shows in _bands_of(chosen)]
        remember_rescaling(name, _rescalings(item, chosen))
    remember_version(name, _version(item, used))
    if scenes.dates.setdefault(name, dates) != dates:
        msg = (
            f"item {item.id} and an earlier item give different dates for {name}; remove one of "
            "the items."
        )
        raise SceneError(msg)


def _choose(item: "pystac.Item", asset: str | None) -> str:
    """Choose the asset to read.

    Raises:
        SceneError: If the asset does not exist, or the choice is not clear.
    """
    rasters = {key: value for key, value in item.assets.items() if _is_raster(value)}
    if asset is not None:
        if asset in item.assets:
            return asset
        msg = (
            f"item {item.id} has no asset {asset!r}; choose one of its assets: "
            f"{', '.join(item.assets) or 'none'}."
        )
        raise SceneError(msg)
    data = [key for key, value in rasters.items() if "data" in (value.roles or ())]
    for found in (data, list(rasters)):
        if len(found) == 1:
            return found[0]
    msg = (
        f"item {item.id} has {len(rasters)} raster assets ({', '.join(rasters) or 'none'}); choose "
        "one with asset=... or, if each raster is one band, stack them with "
        "'gdalbuildvrt -separate'."
    )
    raise SceneError(msg)


def _band_assets(item: "pystac.Item", start: str | None) -> list[tuple[str, str, str]]:
    """List the assets of an item that hold one band each: address, band and what it shows."""
    found: dict[tuple[str, str], tuple[tuple[bool, float], str]] = {}
    for key, asset in item.assets.items():
        roles = set(asset.roles or ())
        if not _is_raster(asset) or (roles and not roles & DATA):
            continue
        bands = _bands_of(asset) or [(key, "")]
        if len(bands) == 1 and (bands[0][1] or any(meanings_of([key, bands[0][0]], item.id))):
            name, shows = bands[0]
            if not (shows or meanings_of([name])[0]):
                name = key.removesuffix("-jp2")
            worth = _preference(asset)
            if (name, shows) in found and found[name, shows][0] <= worth:
                continue
            path = _href(item, asset.href, start)
            remember_rescaling(path, _rescalings(item, asset))
            found[name, shows] = worth, path
    shown = [shows for _, shows in found]
    # Three bands that are all called "rededge" keep their own names.
    return [
        (path, name, shows * (shown.count(shows) == 1))
        for (name, shows), (_, path) in found.items()
    ]


def _preference(asset: "pystac.Asset") -> tuple[bool, float]:
    """Rank the assets of one band, the best lowest: GeoTIFF before JPEG 2000, then the finest."""
    bands = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or []
    sizes = [one.get("gsd") for one in (asset.extra_fields, *bands) if isinstance(one, dict)]
    jpeg = "jp2" in (asset.media_type or "").lower() or ".jp2" in asset.href.lower()
    return jpeg, min((size for size in sizes if isinstance(size, int | float)), default=0.0)


def _bands_of(asset: "pystac.Asset") -> list[tuple[str, str]]:
    """Read the name and the common name of each band of an asset, from STAC 1.0 or 1.1."""
    bands = asset.extra_fields.get("eo:bands") or asset.extra_fields.get("bands") or []
    found = []
    for band in bands if isinstance(bands, list) else []:
        known = band if isinstance(band, dict) else {}
        shows = known.get("common_name") or known.get("eo:common_name") or ""
        if not shows:
            wave = known.get("center_wavelength") or known.get("eo:center_wavelength")
            shows = at_wavelength(wave) if isinstance(wave, int | float) else ""
        found.append((str(known.get("name") or ""), str(shows)))
    return found


def _rescalings(item: "pystac.Item", asset: "pystac.Asset") -> list[tuple[float, float]]:
    """Read scale and offset of each band of an asset, from STAC 1.0 or 1.1.

    Earth Search has already subtracted Sentinel-2's offset from some scenes. Only the item says so:
    https://github.com/Element84/earth-search#sentinel-2
    """
    fields = asset.extra_fields
    bands = fields.get("raster:bands") or fields.get("bands") or [fields]
    applied = item.properties.get("earthsearch:boa_offset_applied") is True
    found = []
    for band in bands if isinstance(bands, list) else []:
        known = {**fields, **band} if isinstance(band, dict) else fields
        scale, offset = (
            known.get(name, known.get(f"raster:{name}", usual))
            for name, usual in (("scale", 1.0), ("offset", 0.0))
        )
        if not (isinstance(scale, int | float) and isinstance(offset, int | float) and scale):
            return []
        found.append((float(scale), 0.0 if applied else float(offset)))
    return found


def _version(item: "pystac.Item", assets: Sequence["pystac.Asset"]) -> str:
    """Find what an item says that differs once its files are others.

    Checksums: https://github.com/stac-extensions/file
    """
    said = [
        f"{asset.href.partition('?')[0]} {sums or asset.extra_fields.get('updated')}"
        for asset in assets
        if (sums := asset.extra_fields.get("file:checksum")) or "updated" in asset.extra_fields
    ]
    updated = str(item.properties.get("updated") or "")
    return "; ".join(sorted(said)) if len(said) == len(assets) else updated


def _is_raster(asset: "pystac.Asset") -> bool:
    if PICTURES & set(asset.roles or ()):
        return False
    kind = (asset.media_type or "").lower()
    name = asset.href.partition("?")[0].lower()
    return kind.startswith(RASTER_TYPES) or name.endswith(RASTER_ENDINGS)


def _href(item: "pystac.Item", href: str, start: str | None) -> str:
    """Resolve a reference relative to the item's own file.

    Raises:
        SceneError: If it is the path of a file that does not exist.
    """
    from pystac.utils import make_absolute_href

    base: Any = item.get_self_href() or start
    found = href if href.startswith("/vsi") else str(make_absolute_href(href, base))
    if is_virtual(found) and not found.lower().startswith("file://"):
        return found
    path = found[len("file://") :] if is_virtual(found) else found
    for name in (path, unquote(path)):  # the percent sign may be part of the name
        if Path(name).exists():
            return name
    msg = f"item {item.id} names {path}, which does not exist; put it there or remove the item."
    raise SceneError(msg)


def _dates(item: "pystac.Item") -> DateRange | None:
    common = item.common_metadata
    first = common.start_datetime or item.datetime
    last = common.end_datetime or item.datetime
    return (first, last) if first is not None and last is not None else None
