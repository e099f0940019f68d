"""Read separate band files of one product as one virtual raster, without a copy on disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader

from geohash_rs.errors import SceneError, one_line
from geohash_rs.scenes.remote import read_patiently
from geohash_rs.scenes.sensors import meanings_of
from geohash_rs.scenes.stacks import GRID, Member, members_at
from geohash_rs.scenes.values import rescaling_of
from geohash_rs.scenes.virtual import date_metadata, name_in_vrt

__all__ = ["SeparateScenesError", "Stack", "stack_at"]

VRT_TYPES = {
    "uint8": "Byte", "int8": "Int8", "uint16": "UInt16", "int16": "Int16", "uint32": "UInt32",
    "int32": "Int32", "float32": "Float32", "float64": "Float64", "int64": "Int64",
    "uint64": "UInt64",
}  # fmt: skip


class SeparateScenesError(SceneError):
    """Files that are named like bands of one scene are in fact several scenes."""


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Bands of one scene, in a form that GDAL opens as one raster.

    Attributes:
        vrt: The XML of the virtual raster.
        grid: Suffix for the scene's name, such as ``#20m``, if the grid is not the usual one of all
            bands; otherwise empty.
    """

    vrt: str
    grid: str


def stack_at(name: str, *, bands: Sequence[int | str] = ()) -> Stack | None:
    """Stack bands as a virtual raster, on the finest grid of the chosen bands.

    Args:
        name: Name of a stack, or any path; a size such as ``#20m`` at its end chooses the grid.
        bands: One-based indexes or names of the chosen bands; if empty, all except panchromatic
            ones.

    Returns:
        The stack, with a band for each member; None if the path is not the name of a stack.

    Raises:
        SceneError: If a member cannot be opened.
        SeparateScenesError: If a member has several bands or covers other ground.
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
    parts.append(next((header.date for header in headers if header.date), ""))
    for band, (member, header) in enumerate(zip(members, headers, strict=True), 1):
        parts.append(_band_xml(band, member, header, grid, name))
    if any(header.has_mask for header in headers):
        parts.append(_mask_xml(headers, grid))
    other = grid.size != headers[usual].size and GRID.fullmatch(name) is None
    return Stack(vrt="".join([*parts, "</VRTDataset>"]), grid=f"#{grid.size:g}m" if other else "")


@dataclass(frozen=True, kw_only=True)
class _Header:
    file: str  # written for XML
    width: int
    height: int
    crs: str
    place: tuple[float, ...]  # GDAL's geotransform
    dtype: str
    nodata: float | None
    scale: float
    offset: float
    date: str  # XML
    has_mask: bool  # apart from nodata

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
        msg = (
            f"{_short(name)}: band {member.band} cannot be opened: {one_line(error)}; "
            f"restore {_short(member.path)}, or remove it to read the other bands."
        )
        raise SceneError(msg) from error


def _header_of(source: DatasetReader, member: Member, name: str) -> _Header:
    if source.count != 1:
        msg = (
            f"{_short(name)}: {_short(member.path)} has {source.count} bands but should hold "
            f"only {member.band}; pass the file itself instead."
        )
        raise SeparateScenesError(msg)
    if not source.crs:
        msg = f"{_short(name)}: band {member.band} has no CRS, so it cannot be stacked."
        raise SceneError(msg)
    if source.dtypes[0] not in VRT_TYPES:
        msg = (
            f"{_short(name)}: {_short(member.path)} has pixels of type {source.dtypes[0]}, which "
            "no hasher can read; write the magnitude to a new file first."
        )
        raise SceneError(msg)
    own = [(source.scales[0], source.offsets[0])]
    ((scale, offset),) = rescaling_of(member.path, own, source.dtypes)
    return _Header(
        file=name_in_vrt(source),
        width=source.width,
        height=source.height,
        crs=source.crs.to_wkt(),
        place=source.transform.to_gdal(),
        dtype=source.dtypes[0],
        nodata=member.nodata if source.nodata is None else source.nodata,
        scale=scale,
        offset=offset,
        date=date_metadata(source),
        has_mask=MaskFlags.per_dataset in source.mask_flag_enums[0],
    )


def _grids(
    name: str, members: Sequence[Member], headers: Sequence[_Header], bands: Sequence[int | str]
) -> tuple[int, int]:
    """Find the member with the usual grid, and the one with the grid for the chosen bands."""
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
    """Write one band of a virtual raster.

    Raises:
        SeparateScenesError: If the member and the grid do not cover the same ground.
    """
    x_off, y_off, width, height = _place_on(header, grid)
    # a coarse grid may extend beyond the fine one
    slack = max(width / header.width, height / header.height, 1.0) * 1.01
    gaps = (x_off, y_off, x_off + width - grid.width, y_off + height - grid.height)
    turned = any(place[i] for place in (header.place, grid.place) for i in (2, 4))
    same = header.place == grid.place and (width, height) == (grid.width, grid.height)
    if header.crs != grid.crs or (not same and (turned or max(map(abs, gaps)) > slack)):
        msg = (
            f"{_short(name)}: bands do not cover the same ground ({member.band} lies elsewhere); "
            "index the files separately, or warp them to one grid with 'gdalwarp'."
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
        f"{_source_xml(header, grid, band='1')}{nodata}</{kind}></VRTRasterBand>"
    )


def _mask_xml(headers: Sequence[_Header], grid: _Header) -> str:
    """Write one mask for all bands, as GDAL has none per band: valid where all members are.

    The product of masks is the mask, as bytes are clamped to 255.
    """
    sources = [
        f"<SimpleSource>{_source_xml(header, grid, band='mask,1')}</SimpleSource>"
        for header in headers
        if header.has_mask or header.nodata is not None
    ]
    if len(sources) == 1:
        return f'<MaskBand><VRTRasterBand dataType="Byte">{sources[0]}</VRTRasterBand></MaskBand>'
    return (
        '<MaskBand><VRTRasterBand dataType="Byte" subClass="VRTDerivedRasterBand">'
        "<PixelFunctionType>mul</PixelFunctionType>"
        f"{''.join(sources)}</VRTRasterBand></MaskBand>"
    )


def _source_xml(header: _Header, grid: _Header, *, band: str) -> str:
    x_off, y_off, width, height = _place_on(header, grid)
    return (
        f'<SourceFilename relativeToVRT="0">{header.file}</SourceFilename>'
        f"<SourceBand>{band}</SourceBand>"
        f'<SrcRect xOff="0" yOff="0" xSize="{header.width}" ySize="{header.height}"/>'
        f'<DstRect xOff="{x_off!r}" yOff="{y_off!r}" xSize="{width!r}" ySize="{height!r}"/>'
    )


def _place_on(header: _Header, grid: _Header) -> tuple[float, float, float, float]:
    """Return first column and row, width and height of a member, px of the grid."""
    left, top = header.place[0], header.place[3]
    x_size, y_size = header.place[1] / grid.place[1], header.place[5] / grid.place[5]
    x_off, y_off = (left - grid.place[0]) / grid.place[1], (top - grid.place[3]) / grid.place[5]
    return x_off, y_off, header.width * x_size, header.height * y_size


def _short(name: str) -> str:
    return name.rstrip("/").rsplit("/", 1)[-1]
