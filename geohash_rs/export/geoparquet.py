"""GeoParquet 1.1: footprints as WKB with their bounding boxes."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from geohash_rs.export.lonlat import oriented

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["write_geoparquet"]


def write_geoparquet(frames: Iterator["GeoDataFrame"], path: Path, _layer: str) -> int:
    """Write tables one after another, each as its own row group.

    Args:
        frames: Tables with the same columns and CRS.
        path: File to write.

    Returns:
        The number of rows written.
    """
    first = next(frames)
    table = _arrow_table(first)
    count = 0
    bounds: list[npt.NDArray[np.float64]] = []
    with pq.ParquetWriter(path, table.schema, compression="zstd") as file:
        for frame in chain([first], frames):
            file.write_table(_arrow_table(frame).cast(table.schema))
            count += len(frame)
            if len(frame):
                bounds.append(frame.total_bounds)
        file.add_key_value_metadata({"geo": json.dumps(_geo_metadata(first, bounds))})
    return count


def _arrow_table(frame: "GeoDataFrame") -> "pa.Table":
    """Convert a table to GeoParquet 1.1: WKB footprints with their bounding boxes."""
    import pandas as pd

    name = frame.geometry.name
    geometries = oriented(np.asarray(frame.geometry.array, dtype=object))
    table = pa.Table.from_pandas(pd.DataFrame(frame.drop(columns=name)), preserve_index=False)
    for index, field in enumerate(table.schema):
        if pa.types.is_null(field.type):  # an empty column: as text it can hold later values
            table = table.set_column(index, field.name, table.column(index).cast(pa.string()))
    boxes = shapely.bounds(geometries).reshape(-1, 4)
    box = pa.StructArray.from_arrays(
        [pa.array(boxes[:, side], pa.float64()) for side in range(4)],
        names=["xmin", "ymin", "xmax", "ymax"],
    )
    table = table.append_column(name, pa.array(shapely.to_wkb(geometries), pa.binary()))
    return table.append_column("bbox", box).replace_schema_metadata(None)


def _geo_metadata(
    frame: "GeoDataFrame", bounds: Sequence[npt.NDArray[np.float64]]
) -> dict[str, Any]:
    """Return the metadata of GeoParquet 1.1: https://geoparquet.org/releases/v1.1.0."""
    name = frame.geometry.name
    sides = ("xmin", "ymin", "xmax", "ymax")
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon", "MultiPolygon"],
        "crs": frame.crs.to_json_dict(),
        "orientation": "counterclockwise",
        "covering": {"bbox": {side: ["bbox", side] for side in sides}},
    }
    if bounds:
        low, high = np.min(bounds, axis=0)[:2], np.max(bounds, axis=0)[2:]
        column["bbox"] = [*low.tolist(), *high.tolist()]
    return {"version": "1.1.0", "primary_column": name, "columns": {name: column}}
