"""Read a raster with a palette as the palette's colours."""

from xml.sax.saxutils import escape

from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

__all__ = ["in_colours"]

COMPONENTS = ("Red", "Green", "Blue", "Alpha")


def in_colours(source: DatasetReader) -> str | None:
    """Write a virtual raster with the colours of a raster that has a palette.

    Args:
        source: Open rasterio dataset.

    Returns:
        Text that GDAL opens as a raster of red, green and blue, and alpha if a colour is
        transparent; None if the raster has no palette.
    """
    if source.count != 1 or source.colorinterp[0] != ColorInterp.palette:
        return None
    name = escape(source.files[0] if source.files else source.name)
    clear = any(colour[3] == 0 for colour in source.colormap(1).values())
    origin = f'<SourceFilename relativeToVRT="0">{name}</SourceFilename>'
    bands = [
        f'<VRTRasterBand dataType="Byte" band="{number}"><ColorInterp>{colour}</ColorInterp>'
        f"<ComplexSource>{origin}<SourceBand>1</SourceBand>"
        f"<ColorTableComponent>{number}</ColorTableComponent></ComplexSource></VRTRasterBand>"
        for number, colour in enumerate(COMPONENTS[: 4 if clear else 3], 1)
    ]
    flags = source.mask_flag_enums[0]
    if not clear and MaskFlags.all_valid not in flags:
        bands.append(
            f'<MaskBand><VRTRasterBand dataType="Byte"><SimpleSource>{origin}'
            "<SourceBand>mask,1</SourceBand></SimpleSource></VRTRasterBand></MaskBand>"
        )
    place = ", ".join(repr(value) for value in source.transform.to_gdal())
    crs = escape(source.crs.to_wkt()) if source.crs else ""
    return (
        f'<VRTDataset rasterXSize="{source.width}" rasterYSize="{source.height}">'
        f"<SRS>{crs}</SRS><GeoTransform>{place}</GeoTransform>{''.join(bands)}</VRTDataset>"
    )
