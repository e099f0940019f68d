"""Files that hold other files or several rasters, and what to do with them."""

import re
from pathlib import Path

__all__ = ["container_of", "other_raster"]

KINDS = (
    (
        re.compile(r"\.zarr\.zip$", re.I),
        "a zipped Zarr store; unpack it, and convert the array that you need with "
        "'gdal_translate ZARR:\"{stem}\":/ARRAY scene.tif'",
    ),
    (
        re.compile(r"\.zarr$", re.I),
        "a Zarr store; convert the array that you need with 'gdal_translate "
        'ZARR:"{name}":/ARRAY scene.tif\'',
    ),
    (
        re.compile(r"\.(?:zip|kmz|tar|tar\.\w+|tgz|7z|rar)$", re.I),
        "an archive of files; unpack it, or name a file in it, such as /vsi{vsi}/{path}/SCENE.tif",
    ),
    (re.compile(r"\.(?:gz|bz2|xz|zst)$", re.I), "a compressed file; unpack it"),
    (
        re.compile(r"\.(?:hdf|hdf4|h4)$", re.I),
        "an HDF4 file; convert the subdataset that you need with 'gdal_translate "
        "SUBDATASET scene.tif' ('gdalinfo {name}' lists them)",
    ),
    (
        re.compile(r"\.(?:nc4?|cdf|h5|hdf5|he5)$", re.I),
        "a file of several variables; name the subdataset that you need, such as "
        "{driver}:\"{name}\":{variable}, or convert it with 'gdal_translate SUBDATASET scene.tif' "
        "('gdalinfo {name}' lists them)",
    ),
    (
        re.compile(r"\.(?:grib2?|grb2?)$", re.I),
        "a GRIB file; convert the bands that you need with 'gdal_translate -b NUMBER {name} "
        "scene.tif'",
    ),
)

# Rasters that are read only if they are named, since files with such endings are often no scenes.
OTHER_RASTER = re.compile(r"\.(?:gtiff?|geotiff?|ntf|nitf|ecw|sid|bil|bip|bsq|kea|pix|hgt)$", re.I)
# Endings of a side file next to pixels, by their ending.
PLACED_BY = {
    (".dat", ".raw", ".bin"): (".hdr",),
    (".png",): (".pgw", ".pngw", ".wld", ".png.aux.xml"),
    (".jpg", ".jpeg"): (".jgw", ".jpgw", ".jpegw", ".wld", ".jpg.aux.xml", ".jpeg.aux.xml"),
}


def other_raster(path: str) -> str:
    """Describe a georeferenced raster that is not searched for in folders.

    Args:
        path: Path of a file.

    Returns:
        What it is and what to do with it; an empty string for others.

    >>> other_raster("a.geotiff")
    'a raster of a kind that is read only if you name the file'
    """
    file = Path(path)
    ends = next((ends for kinds, ends in PLACED_BY.items() if file.suffix.lower() in kinds), ())
    sides = (Path(f"{start}{end}") for start in (file.with_suffix(""), file) for end in ends)
    if OTHER_RASTER.search(file.name) or any(side.exists() for side in sides):
        return "a raster of a kind that is read only if you name the file"
    return ""


def container_of(path: str) -> str:
    """Describe what a file holds by its ending, if it is not a scene itself.

    Args:
        path: Path of a file or folder.

    Returns:
        What it is and what to do with it; an empty string for others.

    >>> container_of("granules/a.tar")
    'an archive of files; unpack it, or name a file in it, such as /vsitar/granules/a.tar/SCENE.tif'
    """
    name = path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    advice = next((text for pattern, text in KINDS if pattern.search(name)), "")
    netcdf = re.search(r"\.(?:nc4?|cdf)$", name, re.I) is not None
    ending = name.lower().rsplit(".", 1)[-1]
    return advice.format(
        name=name,
        path=path,
        stem=name[:-4],
        vsi=ending if ending in ("7z", "rar") else "zip" if ending in ("zip", "kmz") else "tar",
        driver="NETCDF" if netcdf else "HDF5",
        variable="VARIABLE" if netcdf else "//GROUP/VARIABLE",
    )
