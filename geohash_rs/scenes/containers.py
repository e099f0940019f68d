"""Files that hold other files or several rasters, and what to do with them."""

import re

__all__ = ["container_of"]

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
        "an archive of files; unpack it, or name a file in it, such as /vsi{vsi}/{name}/SCENE.tif",
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


def container_of(path: str) -> str:
    """Describe what a file holds by its ending, if it is not a scene itself.

    Args:
        path: Path of a file or folder.

    Returns:
        What it is and what to do with it; an empty string for others.

    >>> container_of("granules/a.tar")
    'an archive of files; unpack it, or name a file in it, such as /vsitar/a.tar/SCENE.tif'
    """
    name = path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    advice = next((text for pattern, text in KINDS if pattern.search(name)), "")
    netcdf = re.search(r"\.(?:nc4?|cdf)$", name, re.I) is not None
    ending = name.lower().rsplit(".", 1)[-1]
    return advice.format(
        name=name,
        stem=name[:-4],
        vsi=ending if ending in ("7z", "rar") else "zip" if ending in ("zip", "kmz") else "tar",
        driver="NETCDF" if netcdf else "HDF5",
        variable="VARIABLE" if netcdf else "//GROUP/VARIABLE",
    )
