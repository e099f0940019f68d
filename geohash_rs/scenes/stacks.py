"""Read bands in files of their own as one scene: Sentinel-2 SAFE, Landsat, HLS and their like."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

import rasterio
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geohash_rs.errors import SceneError, one_line
from geohash_rs.scenes.remote import read_patiently
from geohash_rs.scenes.sensors import COMMON, meanings_of
from geohash_rs.scenes.stac import is_stac_path, read_stac
from geohash_rs.scenes.values import rescaling_of

__all__ = [
    "Found",
    "Member",
    "SeparateScenesError",
    "Stack",
    "find_stacks",
    "members_at",
    "remember_stack",
    "stack_at",
    "stack_of_item",
]

RASTERS = (".tif", ".tiff", ".jp2", ".img", ".vrt")
NAMED = "|".join(sorted(COMMON, key=len, reverse=True))
BAND_FILE = re.compile(
    rf"(?P<product>.*?[_.]|)(?P<band>(?:SR_|ST_)?B\d{{1,2}}A?|B6_VCID_[12]|{NAMED})(?:_(?P<res>\d\d)m)?",
    re.I,
)
# Layers of a product that are not bands, and preview pictures.
OTHER_LAYER = re.compile(
    r"(?P<product>.*?[_.]|)(?:SCL|AOT|WVP|TCI|PVI|CLD|SNW|VISUAL|THUMB\w*|PREVIEW|OVERVIEW|BROWSE|"
    r"CLOUD|SNOW|BQA|FMASK|[SV][AZ]A|UDM2?|(?:SR_)?QA\w*|ST_[A-Z]+|"
    r"SR_(?:ATMOS|CLOUD|AEROSOL)\w*|MSK_\w+|MTL|ANG)(?:_(?P<res>\d\d)m|-jp2)?",
    re.I,
)
SAFE = re.compile(r"(?P<safe>.*\.SAFE)/(?:GRANULE/(?P<granule>[^/]+)/(?P<inside>.*))?", re.I)
RESOLUTION_FOLDER = re.compile(r"/R\d\dm$", re.I)
GRID = re.compile(r"(?P<key>.+)#(?P<size>[\d.]+)m")

VRT_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32",
    "int32": "Int32", "float32": "Float32", "float64": "Float64", "int64": "Int64",
    "uint64": "UInt64",
}  # fmt: skip


class SeparateScenesError(SceneError):
    """Files that are named like the bands of one scene are several scenes."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Bands of one scene as GDAL can open them together.

    Attributes:
        vrt: Virtual raster, the text itself.
        grid: What its name ends with where its grid is not that of all bands, such as ``#20m``.
    """

    vrt: str
    grid: str


@dataclass(frozen=True, kw_only=True)
class Member:
    """A file with one band of a stack.

    Attributes:
        path: Path or URI.
        band: Its band's own name, such as ``B04``.
        meaning: What it shows where a catalogue says so, such as ``red``.
        nodata: Value of pixels without data if the file does not declare it; or None.
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


_remembered: dict[str, tuple[Member, ...]] = {}  # stacks whose members no folder lists


def remember_stack(name: str, assets: Iterable[tuple[str, str, str]]) -> None:
    """Remember the members of a stack that a catalogue names.

    Args:
        name: What the stack is called, such as the address of a STAC item.
        assets: Path or URL, band name and what it shows (or an empty string) of each member.
    """
    members = [Member(path=path, band=band, meaning=shows) for path, band, shows in assets]
    _remembered[name] = tuple(sorted(members, key=lambda member: _band_order(member.band)))


def stack_of_item(name: str) -> tuple[Member, ...]:
    """Find the members of a stack that a STAC item names, by reading the item.

    Args:
        name: Path or URL of the item; of one in a collection, ``collection.json#id``.

    Returns:
        The members; none if the item is not such a stack.

    Raises:
        SceneError: If the item cannot be read.
    """
    source = name.partition("#")[0]
    for known, assets in read_stac(source).stacks.items():
        remember_stack(known, assets)
    return _remembered.get(name, ())


def find_stacks(files: Iterable[str]) -> Found:
    """Find out which files are bands of one product.

    Args:
        files: Paths of files and URIs.

    Returns:
        The scenes: a stack for each product with several bands, and all other files.
    """
    found = Found()
    groups: dict[str, dict[str, tuple[int, str]]] = {}
    of_group: dict[str, list[str]] = {}
    layers: dict[str, str] = {}
    for path in files:
        place = _place(path)
        if place is None:
            found.scenes.append(path)
            continue
        name, band, size = place
        of_group.setdefault(name, []).append(path)
        if band is None:
            layers[path] = name
            continue
        bands = groups.setdefault(name, {})
        known = bands.get(band)
        if known is None or size < known[0]:  # the finest of those that a product holds
            bands[band] = (size, path)
    for name, paths in of_group.items():
        bands = groups.get(name, {})
        if len(bands) < 2:
            found.scenes += paths
            continue
        found.other_layers += [path for path in paths if path in layers]
        found.stacks[name] = tuple(
            Member(path=bands[band][1], band=band, nodata=_usual_nodata(bands[band][1]))
            for band in sorted(bands, key=_band_order)
        )
    found.scenes = sorted([*found.scenes, *found.stacks])
    return found


def members_at(name: str) -> tuple[Member, ...]:
    """Find the members of a stack by its name.

    Args:
        name: Name of a stack, or any path.

    Returns:
        The members; none if there is no such stack.
    """
    name = _without_grid(name)
    if name in _remembered:
        return _remembered[name]
    if is_stac_path(name.partition("#")[0]):
        return stack_of_item(name)
    path = Path(name)
    if "://" in name or name.startswith(("/vsi", "<")):
        return ()
    try:
        if path.is_file():
            return ()
        if path.is_dir():
            deep = SAFE.match(f"{path.as_posix()}/") is not None
            inside = path.rglob("*") if deep else path.iterdir()
        else:
            inside = path.parent.glob(f"{_literal(path.name)}*")
        files = [p.as_posix() for p in inside if p.suffix.lower() in RASTERS and p.is_file()]
    except OSError:
        return ()
    return find_stacks(sorted(files)).stacks.get(path.as_posix(), ())


def stack_at(name: str, *, bands: Sequence[int | str] = ()) -> Stack | None:
    """Stack bands as a virtual raster, on the finest grid of those chosen.

    Args:
        name: Name of a stack, or any path; a size such as ``#20m`` at its end chooses the grid.
        bands: One-based indexes or names of the bands that are chosen; all but panchromatic ones
            if there are none.

    Returns:
        The stack, with a band for each member; None if the path is not the name of a stack.

    Raises:
        SceneError: If a member cannot be opened.
        SeparateScenesError: If a member has several bands or lies elsewhere.
    """
    members = members_at(name)
    if not members:
        return None
    headers = [_header(member, name) for member in members]
    usual, number = _grids(name, members, headers, bands)
    grid = headers[number]
    parts = [
        f'<VRTDataset rasterXSize="{grid.width}" rasterYSize="{grid.height}">',
        f"<SRS>{escape(grid.crs)}</SRS>",
        f"<GeoTransform>{', '.join(repr(v) for v in grid.place)}</GeoTransform>",
    ]
    for band, (member, header) in enumerate(zip(members, headers, strict=True), 1):
        parts.append(_band_xml(band, member, header, grid, name))
    other = grid.size != headers[usual].size and GRID.fullmatch(name) is None
    return Stack(vrt="".join([*parts, "</VRTDataset>"]), grid=f"#{grid.size:g}m" if other else "")


@dataclass(frozen=True, kw_only=True)
class _Header:
    file: str
    width: int
    height: int
    crs: str
    place: tuple[float, ...]  # GDAL's geotransform
    dtype: str
    nodata: float | None
    scale: float
    offset: float

    @property
    def size(self) -> float:
        return abs(self.place[1])


def _header(member: Member, name: str) -> _Header:
    def read() -> _Header:
        with rasterio.open(member.path) as source:
            return _header_of(source, member, name)

    try:
        return read_patiently(member.path, read, forget=lambda: None)
    except (RasterioError, OSError) as error:
        msg = f"{_short(name)}: band {member.band} cannot be opened: {one_line(error)}"
        raise SceneError(msg) from error


def _header_of(source: DatasetReader, member: Member, name: str) -> _Header:
    if source.count != 1:
        msg = (
            f"{_short(name)}: {_short(member.path)} has {source.count} bands where one is "
            f"expected, {member.band}; pass the file itself instead."
        )
        raise SeparateScenesError(msg)
    if not source.crs:
        msg = f"{_short(name)}: band {member.band} has no CRS, so it cannot be stacked."
        raise SceneError(msg)
    own = [(source.scales[0], source.offsets[0])]
    ((scale, offset),) = rescaling_of(member.path, own, source.dtypes)
    return _Header(
        file=source.files[0] if source.files else member.path,
        width=source.width,
        height=source.height,
        crs=source.crs.to_wkt(),
        place=source.transform.to_gdal(),
        dtype=source.dtypes[0],
        nodata=member.nodata if source.nodata is None else source.nodata,
        scale=scale,
        offset=offset,
    )


def _grids(
    name: str, members: Sequence[Member], headers: Sequence[_Header], bands: Sequence[int | str]
) -> tuple[int, int]:
    """Find the members on whose grids all bands, and those chosen, are read."""
    names = [member.band for member in members]
    by_name = meanings_of(names, name)
    meanings = [m.meaning or known for m, known in zip(members, by_name, strict=True)]
    numbers = range(len(members))

    def finest(some: Sequence[int]) -> int:
        return min(some, key=lambda i: headers[i].size)

    usual = finest([i for i in numbers if meanings[i] != "pan"] or numbers)
    if (said := GRID.fullmatch(name)) is not None:
        same = [i for i in numbers if f"{headers[i].size:g}" == said["size"]]
        return usual, finest(same) if same else usual
    wanted = {str(band).lower() for band in bands}
    chosen = [i for i in numbers if wanted & {str(i + 1), names[i].lower(), meanings[i]}]
    return usual, finest(chosen) if chosen else usual


def _band_xml(number: int, member: Member, header: _Header, grid: _Header, name: str) -> str:
    """Write the band of a virtual raster.

    Raises:
        SeparateScenesError: If the member does not lie where the grid does.
    """
    left, top = header.place[0], header.place[3]
    x_size, y_size = header.place[1] / grid.place[1], header.place[5] / grid.place[5]
    x_off, y_off = (left - grid.place[0]) / grid.place[1], (top - grid.place[3]) / grid.place[5]
    width, height = header.width * x_size, header.height * y_size
    slack = max(x_size, y_size, 1.0) * 1.01  # a grid of coarse pixels may reach over the fine one
    gaps = (x_off, y_off, x_off + width - grid.width, y_off + height - grid.height)
    turned = any(place[i] for place in (header.place, grid.place) for i in (2, 4))
    same = header.place == grid.place and (width, height) == (grid.width, grid.height)
    if header.crs != grid.crs or (not same and (turned or max(map(abs, gaps)) > slack)):
        msg = (
            f"{_short(name)}: bands do not cover the same ground ({member.band} lies elsewhere); "
            "index their files apart, or bring them onto one grid with 'gdalwarp'."
        )
        raise SeparateScenesError(msg)
    resampling = "" if same else ' resampling="bilinear"'
    nodata = "" if header.nodata is None else f"<NODATA>{header.nodata!r}</NODATA>"
    shows = f'<Metadata><MDI key="common_name">{escape(member.meaning)}</MDI></Metadata>'
    kind = "ComplexSource" if nodata else "SimpleSource"
    declared = "" if header.nodata is None else f"<NoDataValue>{header.nodata!r}</NoDataValue>"
    return (
        f'<VRTRasterBand dataType="{VRT_TYPES[header.dtype]}" band="{number}">'
        f"{shows if member.meaning else ''}"
        f"<Description>{escape(member.band)}</Description>{declared}"
        f"<Offset>{header.offset!r}</Offset><Scale>{header.scale!r}</Scale>"
        f"<{kind}{resampling}>"
        f'<SourceFilename relativeToVRT="0">{escape(header.file)}</SourceFilename>'
        "<SourceBand>1</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{header.width}" ySize="{header.height}"/>'
        f'<DstRect xOff="{x_off!r}" yOff="{y_off!r}" xSize="{width!r}" ySize="{height!r}"/>'
        f"{nodata}</{kind}></VRTRasterBand>"
    )


def _place(path: str) -> tuple[str, str | None, int] | None:
    """Return the product, band (None for another layer) and pixel size of a file, or None."""
    text = path.replace("\\", "/")
    folder, _, file = text.rpartition("/")
    stem = file.rpartition(".")[0]
    if "://" in text or text.startswith("/vsi") or not stem:
        return None
    if (safe := SAFE.match(text)) is not None:
        inside = safe["inside"] or ""
        band = BAND_FILE.fullmatch(stem) if inside.upper().startswith("IMG_DATA/") else None
        size = int((band and band["res"]) or 0)
        name = safe["safe"]
        granules = Path(name, "GRANULE")
        if safe["granule"] and len([p for p in granules.iterdir() if p.is_dir()]) > 1:
            name = f"{name}/GRANULE/{safe['granule']}"
        return name, band["band"].upper() if band else None, size
    found = BAND_FILE.fullmatch(stem)
    layer = found or OTHER_LAYER.fullmatch(stem)
    if layer is None:
        return None
    folder = RESOLUTION_FOLDER.sub("", folder)
    product = layer["product"].rstrip("_.")
    name = f"{folder}/{product}" if product else folder
    return name, found["band"] if found else None, int(layer["res"] or 0)


def _band_order(band: str) -> tuple[int, float, str]:
    """Sort bands as their sensor numbers them, others by name."""
    number = re.fullmatch(r"(?:SR_|ST_)?B(\d+)(A?)", band, re.I)
    if number is None:
        return 1, 0.0, band
    return 0, int(number[1]) + 0.5 * bool(number[2]), band


def _usual_nodata(path: str) -> float | None:
    """Return the value that a product fills gaps with, where its files do not declare it.

    Sentinel-2: https://sentinels.copernicus.eu/documents/247904/685211/S2-PDGS-TAS-DI-PSD-V14.9.pdf
    """
    return 0.0 if path.lower().endswith(".jp2") else None


def _literal(text: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", text)


def _without_grid(name: str) -> str:
    found = GRID.fullmatch(name)
    return found["key"] if found else name


def _short(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]
