"""Read a raster with a palette as the palette's colours."""

from pathlib import Path
from xml.sax.saxutils import escape

from rasterio.enums import ColorInterp, MaskFlags
from rasterio.io import DatasetReader

from geohash_rs.errors import SceneError
from geohash_rs.scenes.virtual import date_metadata, name_in_vrt

__all__ = ["in_colours"]

PALETTE = ColorInterp.palette
COMPONENTS = ("Red", "Green", "Blue", "Alpha")


def in_colours(source: DatasetReader) -> str | None:
    """Write a virtual raster with the colours of a raster that has a palette.

    Args:
        source: Open rasterio dataset.

    Returns:
        Text that GDAL opens as a raster of red, green and blue, and alpha if a colour is
        transparent; None if the raster has no palette, or several pages of which one is to be
        chosen first.

    Raises:
        SceneError: If it has more bands than the palette and alpha, or both transparent colours
            and alpha.
    """
    if PALETTE not in source.colorinterp or len(source.subdatasets) > 1:
        return None
    alone = source.colorinterp in ((PALETTE,), (PALETTE, ColorInterp.alpha))
    clear = alone and any(colour[3] == 0 for colour in source.colormap(1).values())
    if not alone or (clear and source.count > 1):
        name, more = Path(source.name).name, source.count - 1
        msg = (
            f"{name} has a palette and {more} other band{'s' * (more != 1)}, which cannot "
            f"be read together; write its colours with 'gdal_translate -b 1 -expand rgba {name} "
            "scene.tif'."
        )
        raise SceneError(msg)
    origin = f'<SourceFilename relativeToVRT="0">{name_in_vrt(source)}</SourceFilename>'
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
        f"<SRS>{crs}</SRS><GeoTransform>{place}</GeoTransform>"
        f"{date_metadata(source)}{''.join(bands)}</VRTDataset>"
    )
