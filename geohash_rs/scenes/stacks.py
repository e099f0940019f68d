"""Group files that are bands of one product: Sentinel-2 SAFE, Landsat, HLS and STAC items."""

import re
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from geohash_rs.scenes.band_files import band_of_name, layer_of_file
from geohash_rs.scenes.sensors import sensor_of
from geohash_rs.scenes.stac import is_stac_path, read_stac

__all__ = [
    "Found",
    "Member",
    "find_stacks",
    "members_at",
    "remember_stack",
    "stack_of_item",
    "without_grid",
]

RASTERS = (".tif", ".tiff", ".jp2", ".img", ".vrt")
SAFE = re.compile(r"(?P<safe>.*\.SAFE)/(?:GRANULE/(?P<granule>[^/]+)/(?P<inside>.*))?", re.I)
PICTURE = re.compile(
    r"(?:^|[/_.])(?:TCI|VISUAL)(?:_\d\dm|(?:_(?:clip|reproject|file_format))+)?\.\w+$", re.I
)
PLANET = re.compile(r"(?P<scene>(?:.*/)?\d{7,8}_[^/]+?_[13][AB])(?:_|$)")
RESOLUTION_FOLDER = re.compile(r"/R\d\dm$", re.I)
ZIPPED = re.compile(r"/vsizip/(?P<zip>(?!/vsi).+?\.zip)/", re.I)  # a local archive
GRID = re.compile(r"(?P<key>.+)#(?P<size>[\d.]+)m")


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file with one band of a stack.

    Attributes:
        path: Path or URI.
        band: Name of the band, such as ``B04``.
        meaning: What the band shows, such as ``red``, if a catalogue says so.
        nodata: Value of missing pixels if the file does not declare one; or None.
    """

    path: str
    band: str
    meaning: str = ""
    nodata: float | None = None


@dataclass(kw_only=True)
class Found:
    """Scenes among files.

    Attributes:
        scenes: Paths of files and names of stacks, sorted.
        stacks: The members of each stack.
        other_layers: Quality layers and preview pictures of the stacks, which are not bands.
    """

    scenes: list[str] = field(default_factory=list)
    stacks: dict[str, tuple[Member, ...]] = field(default_factory=dict)
    other_layers: list[str] = field(default_factory=list)


_remembered: dict[str, tuple[Member, ...]] = {}  # stacks that cannot be found in a folder


def remember_stack(name: str, assets: Iterable[tuple[str, str, str]]) -> None:
    """Remember the members of a stack that a catalogue names.

    Args:
        name: Name of the stack, such as the address of a STAC item.
        assets: Path or URL, band name and what the band shows (or an empty string), per member.
    """
    members = [Member(path=path, band=band, meaning=shows) for path, band, shows in assets]
    _remembered[name] = tuple(sorted(members, key=lambda member: _band_order(member.band)))


def stack_of_item(name: str) -> tuple[Member, ...]:
    """Find the members of a stack that a STAC item names, by reading the item.

    Args:
        name: Path or URL of the item, or ``collection.json#id`` for an item in a collection.

    Returns:
        The members; none if the item is not a stack.

    Raises:
        SceneError: If the item cannot be read.
    """
    source = name.partition("#")[0]
    for known, assets in read_stac(source).stacks.items():
        remember_stack(known, assets)
    return _remembered.get(name, ())


def find_stacks(files: Iterable[str]) -> Found:
    """Group the files that are bands of one product.

    Args:
        files: Paths of files and URIs.

    Returns:
        The scenes: a stack for each product with several bands, and all other files.
    """
    found = Found()
    groups: dict[str, dict[str, tuple[int, str]]] = {}
    of_group: dict[str, list[str]] = {}
    layers: dict[str, str] = {}
    has_several_granules = cache(_has_several_granules)
    whole: set[str] = set()  # products with a file of several bands
    for path in files:
        place = _place(path, has_several_granules)
        if place is None:
            found.scenes.append(path)
            whole.update(_products_of(path))
            continue
        name, band, size = place
        of_group.setdefault(name, []).append(path)
        if band is None:
            layers[path] = name
            continue
        bands = groups.setdefault(name, {})
        known = bands.get(band)
        if known is None or size < known[0]:  # keep the finest of several resolutions
            bands[band] = (size, path)
    for name, paths in of_group.items():
        bands = groups.get(name, {})
        if not bands and {name, _planet_scene(name)} & whole:
            found.other_layers += paths
            continue
        if len(bands) < 2:
            alone = _without_layers(paths, layers, is_safe=SAFE.match(f"{name}/") is not None)
            found.scenes += alone
            found.other_layers += [path for path in paths if path not in alone]
            continue
        found.other_layers += [path for path in paths if path in layers]
        found.stacks[name] = tuple(
            Member(path=bands[band][1], band=band, nodata=_usual_nodata(bands[band][1]))
            for band in sorted(bands, key=_band_order)
        )
    found.scenes = sorted([*found.scenes, *found.stacks])
    return found


def _products_of(path: str) -> Iterator[str]:
    """List the products, named as in `_place`, of which a file may be all bands."""
    folder, _, file = path.replace("\\", "/").rpartition("/")
    stem = file.rpartition(".")[0]
    yield f"{folder}/{stem}"
    yield _planet_scene(f"{folder}/{stem}")
    if sensor_of(stem) is not None:
        words = stem.split("_")
        yield from (f"{folder}/{'_'.join(words[:end])}" for end in range(1, len(words)))


def _planet_scene(name: str) -> str:
    """Return the part of a product's name that all files of a Planet scene share; or the name."""
    found = PLANET.match(name)
    return found["scene"] if found else name


def _without_layers(paths: list[str], layers: Container[str], *, is_safe: bool) -> list[str]:
    """Choose the scenes among files of a product that is not a stack.

    Returns:
        Its only band; otherwise its picture in colour, at its finest resolution. Files that are
        only named like layers, such as ``overview.tif``, are scenes.
    """
    if bands := [path for path in paths if path not in layers]:
        return bands
    if pictures := [path for path in paths if PICTURE.search(path)]:
        return [min(pictures)]
    return [] if is_safe else paths


def members_at(name: str) -> tuple[Member, ...]:
    """Find the members of a stack by its name.

    Args:
        name: Name of a stack, or any path.

    Returns:
        The members; none if there is no such stack.
    """
    name = without_grid(name)
    if name in _remembered:
        return _remembered[name]
    if is_stac_path(name.partition("#")[0]):
        return stack_of_item(name)
    path = Path(name)
    if (packed := ZIPPED.match(name)) is not None and path.suffix.lower() not in RASTERS:
        return find_stacks(_rasters_in_zip(packed)).stacks.get(name.rstrip("/"), ())
    if "://" in name or name.startswith(("/vsi", "<")):
        return ()
    try:
        if path.is_file():
            return ()
        if path.is_dir():
            deep = SAFE.match(f"{path.as_posix()}/") is not None
            return _stack_among(path.rglob("*") if deep else path.iterdir(), path)
        same = path.parent.glob(f"{_literal(path.name)}*")
        # the band may come before the end of the files' names, so that these start otherwise
        return _stack_among(same, path) or _stack_among(path.parent.glob("*"), path)
    except OSError:
        return ()


def _stack_among(files: Iterable[Path], name: Path) -> tuple[Member, ...]:
    rasters = [p.as_posix() for p in files if p.suffix.lower() in RASTERS and p.is_file()]
    return find_stacks(sorted(rasters)).stacks.get(name.as_posix(), ())


def _place(
    path: str, has_several_granules: Callable[[str], bool]
) -> tuple[str, str | None, int] | None:
    """Return a file's product, band (None for a quality layer) and pixel size; or None."""
    text = path.replace("\\", "/")
    folder, _, file = text.rpartition("/")
    stem = file.rpartition(".")[0]
    if "://" in text or (text.startswith("/vsi") and not ZIPPED.match(text)) or not stem:
        return None
    if (safe := SAFE.match(text)) is not None:
        inside = safe["inside"] or ""
        band = band_of_name(stem) if inside.upper().startswith("IMG_DATA/") else None
        name = safe["safe"]
        if safe["granule"] and has_several_granules(name):
            name = f"{name}/GRANULE/{safe['granule']}"
        return name, band.band.upper() if band else None, band.size if band else 0
    layer = layer_of_file(stem)
    if layer is None:
        return None
    folder = RESOLUTION_FOLDER.sub("", folder)
    name = f"{folder}/{layer.product}" if layer.product else folder
    return name, layer.band or None, layer.size


def _rasters_in_zip(packed: re.Match[str]) -> list[str]:
    """List the rasters in a local ZIP archive, as GDAL names them."""
    try:
        with ZipFile(packed["zip"]) as archive:
            names = sorted(archive.namelist())
    except (OSError, BadZipFile):
        return []  # GDAL reports what is wrong
    return [packed[0] + name for name in names if Path(name).suffix.lower() in RASTERS]


def _has_several_granules(product: str) -> bool:
    if (packed := ZIPPED.match(product)) is not None:
        start = f"{product}/GRANULE/"
        inside = [n.removeprefix(start) for n in _rasters_in_zip(packed) if n.startswith(start)]
        return len({name.partition("/")[0] for name in inside}) > 1
    return sum(path.is_dir() for path in Path(product, "GRANULE").iterdir()) > 1


def _band_order(band: str) -> tuple[int, float, str]:
    """Sort bands as their sensor numbers them, others by name."""
    number = re.fullmatch(r"(?:SR_|ST_)?B(\d+)(A?)", band, re.I)
    if number is None:
        return 1, 0.0, band
    return 0, int(number[1]) + 0.5 * bool(number[2]), band


def _usual_nodata(path: str) -> float | None:
    """Return the value with which a product fills gaps, if its files do not declare it.

    Sentinel-2: https://sentinels.copernicus.eu/documents/247904/685211/S2-PDGS-TAS-DI-PSD-V14.9.pdf
    """
    return 0.0 if path.lower().endswith(".jp2") else None


def _literal(text: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", text)


def without_grid(name: str) -> str:
    """Return the name of a stack without the grid that it is read on.

    >>> without_grid("S2A.SAFE#20m")
    'S2A.SAFE'
    """
    found = GRID.fullmatch(name)
    return found["key"] if found else name
