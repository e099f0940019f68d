"""Files of vectors after the schemas that their publishers use."""

import datetime as dt
import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

EMB = {
    "version": "0.0.1",
    "model": {"id": "dinov2_vits14_softcon", "version": "2.0.0", "family": "DinoV2"},
    "providers": [{"name": "EarthGenome"}],
    "license": "CC-BY-4.0",
    "start_datetime": "2023-01-01T00:00:00Z",
    "end_datetime": "2024-01-01T00:00:00Z",
    "embedding": {"dim": 384, "quantization": "None"},
}


@dataclass
class Chips:
    """What a file was made from."""

    vectors: np.ndarray
    shapes: np.ndarray
    lonlat: np.ndarray
    moments: list
    sources: list


def chips(count=80, length=48, seed=0):
    """Draw vectors of low intrinsic dimension, and lay chips on no round coordinates."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 10)) @ rng.normal(size=(10, length))
    lonlat = np.column_stack([rng.uniform(-170, 170, count), rng.uniform(-70, 70, count)])
    slant = rng.uniform(-1e-3, 1e-3, (count, 4, 2))
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 0.01
    shapes = shapely.polygons(lonlat[:, None] + corners + slant)
    first = dt.datetime(2022, 6, 10, 10, 11, 12, 131415, tzinfo=dt.UTC)
    return Chips(
        vectors=vectors.astype(np.float32),
        shapes=shapes,
        lonlat=lonlat,
        moments=[first + dt.timedelta(days=n % 40, microseconds=n) for n in range(count)],
        sources=[f"s3://bucket/{n // 3}.tif" for n in range(count)],
    )


def geo(crs="OGC:CRS84", version="1.0.0", column="geometry", **more):
    """Return the metadata of GeoParquet; a CRS of None says that it is unknown."""
    said = {} if crs == "OGC:CRS84" else {"crs": crs and CRS(crs).to_json_dict()}
    about = {"encoding": "WKB", "geometry_types": ["Polygon"], **said, **more}
    return {"geo": json.dumps(
        {"version": version, "primary_column": column, "columns": {column: about}}
    )}  # fmt: skip


def lists(vectors, kind=None):
    """Return vectors as lists of any length."""
    return pa.array(list(vectors), type=pa.list_(kind or pa.float32()))


def fixed(vectors):
    """Return vectors as lists of one length."""
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def write(path, columns, metadata=None, **how):
    """Write a Parquet file."""
    table = pa.table(columns).replace_schema_metadata(metadata)
    pq.write_table(table, path, **how)
    return path


def clay(path, made, *, vectors=None, **how):
    """Write a file as Clay's first version."""
    columns = {
        "index": np.arange(len(made.shapes)),
        "source_url": made.sources,
        "date": pa.array([moment.date() for moment in made.moments], pa.date32()),
        "embeddings": lists(made.vectors) if vectors is None else vectors,
        "geometry": shapely.to_wkb(made.shapes),
    }
    return write(path, columns, geo(), **how)


def earth_index(path, made, *, emb=None):
    """Write a file as Earth Index."""
    said = {**EMB, "embedding": {"dim": made.vectors.shape[1], "quantization": "None"}}
    columns = {
        "id": [f"21MNT_{n}" for n in range(len(made.shapes))],
        "embedding": fixed(made.vectors),
        "geometry": shapely.to_wkb(made.shapes),
    }
    return write(path, columns, {**geo("EPSG:4326"), "emb": json.dumps({**said, **(emb or {})})})


def major_tom(path, made):
    """Write a file as Major TOM Core."""
    columns = {
        "unique_id": [f"id{n}" for n in range(len(made.shapes))],
        "embedding": lists(made.vectors),
        "timestamp": pa.array([m.replace(tzinfo=None) for m in made.moments], pa.timestamp("us")),
        "product_id": made.sources,
        "grid_cell": ["922D_249L"] * len(made.shapes),
        "grid_row_u": np.full(len(made.shapes), -922),
        "geometry": shapely.to_wkb(made.shapes),
        "centre_lat": made.lonlat[:, 1],
        "centre_lon": made.lonlat[:, 0],
        "utm_footprint": ["POLYGON ((0 0, 1 0, 1 1, 0 0))"] * len(made.shapes),
        "utm_crs": ["EPSG:32633"] * len(made.shapes),
        "pixel_bbox": [[0, 0, 224, 224]] * len(made.shapes),
    }
    return write(path, columns, geo("EPSG:4326"))


def earth_embeddings(path, made):
    """Write a file as EarthEmbeddings: without any geometry."""
    columns = {
        "unique_id": [f"id{n}" for n in range(len(made.shapes))],
        "embedding": lists(made.vectors),
        "timestamp": [moment.strftime("%Y%m%dT%H%M%S") for moment in made.moments],
        "product_id": made.sources,
        "centre_lat": made.lonlat[:, 1],
        "centre_lon": made.lonlat[:, 0],
    }
    return write(path, columns)
