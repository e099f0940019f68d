"""Write what virtual rasters take from the rasters that they are made of."""

import re
from xml.sax.saxutils import escape

from rasterio.io import DatasetReader

from geohash_rs.scenes.dates import DATE_TAGS

__all__ = ["date_metadata", "name_in_vrt"]

URI = re.compile(r"\w[\w+]*://")


def name_in_vrt(source: DatasetReader) -> str:
    """Return the name by which GDAL opens a raster again, written for XML.

    Args:
        source: Open rasterio dataset, perhaps one page of a file.
    """
    name = source.name
    if URI.match(name) and source.files:  # rasterio's own form of /vsizip/ and /vsicurl/
        name = source.files[0]
    return escape(name)


def date_metadata(source: DatasetReader) -> str:
    """Write the tags of a raster that hold its date.

    Args:
        source: Open rasterio dataset.

    Returns:
        XML; empty if there are none.
    """
    tags = {**source.tags(), **source.tags(ns="IMAGERY")}
    found = [f'<MDI key="{tag}">{escape(tags[tag])}</MDI>' for tag in DATE_TAGS if tag in tags]
    return f"<Metadata>{''.join(found)}</Metadata>" if found else ""
