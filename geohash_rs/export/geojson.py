"""GeoJSON (RFC 7946): longitude and latitude, right-handed rings, split at the antimeridian."""

import json
from collections.abc import Iterator
from datetime import date, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from geohash_rs.errors import ExportError
from geohash_rs.export.lonlat import lonlat_geometries
from geohash_rs.export.plain_text import plain_text

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from pandas import Series

__all__ = ["geojson_features", "json_values", "write_geojson"]


def write_geojson(frames: Iterator["GeoDataFrame"], path: Path, _layer: str) -> int:
    """Write tables one after another as one feature collection, one feature per line.

    Args:
        frames: Tables with the same columns.
        path: File to write.

    Returns:
        The number of features written.
    """
    count = 0
    with path.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for feature in chain.from_iterable(map(geojson_features, frames)):
            file.write(",\n" if count else "\n")
            file.write(feature)
            count += 1
        file.write("\n]}\n")
    return count


def geojson_features(frame: "GeoDataFrame") -> Iterator[str]:
    """Convert each row to a GeoJSON feature on one line.

    Args:
        frame: Footprints and attributes, in any CRS.

    Yields:
        RFC 7946 features: EPSG:4326, counterclockwise rings, split at the antimeridian; missing
        values and non-finite numbers become null.

    Raises:
        ExportError: If a column holds values that JSON cannot represent.
    """
    geometries = shapely.to_geojson(lonlat_geometries(frame))
    columns = {
        str(name): json_values(frame[name]) for name in frame.columns.drop(frame.geometry.name)
    }
    for row, geometry in enumerate(geometries):
        properties = plain_text(  # JSON reads the same from it
            json.dumps(
                {name: values[row] for name, values in columns.items()},
                ensure_ascii=False,
                allow_nan=False,
            )
        )
        yield (
            f'{{"type": "Feature", "geometry": {geometry or "null"}, "properties": {properties}}}'
        )


def json_values(series: "Series[Any]") -> list[object]:
    """Convert a column to values that JSON can represent.

    Args:
        series: Any column except geometries.

    Returns:
        Numbers, text, lists or None; dates and times as RFC 3339 text, in UTC if they have no
        zone; missing values and non-finite numbers as None.
    """
    import pandas as pd

    if isinstance(series.dtype, pd.DatetimeTZDtype) or series.dtype.kind == "M":
        return [None if pd.isna(moment) else _rfc3339(moment) for moment in series]
    missing = series.isna().to_numpy()
    if series.dtype.kind == "f":
        missing = missing | ~np.isfinite(series.to_numpy(dtype=float, na_value=np.nan))
    values = [
        None if absent else value
        for value, absent in zip(series.astype(object).tolist(), missing, strict=True)
    ]
    return values if series.dtype.kind in "iufb" else [_plain(v, series.name) for v in values]


def _plain(value: object, column: object) -> object:
    """Convert one value of an object column for JSON.

    Raises:
        ExportError: If JSON cannot represent it.
    """
    if isinstance(value, str | None):
        return value
    if isinstance(value, date):
        return _rfc3339(value)
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        msg = (
            f"column {column!r} holds {value!r} of type {type(value).__name__}, which JSON cannot "
            "represent; convert the column to text or numbers, or drop it."
        )
        raise ExportError(msg) from error
    return value


def _rfc3339(moment: date) -> str:
    """Format a date or time as RFC 3339, in UTC if it has no time zone."""
    text = moment.isoformat()
    if not isinstance(moment, datetime):
        return text
    return f"{text}Z" if moment.tzinfo is None else text.replace("+00:00", "Z")
