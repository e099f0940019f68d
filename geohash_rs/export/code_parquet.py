"""Codes as GeoParquet: a column `embedding` of bytes next to footprints with boxes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from geohash_rs.export.code_facts import CodeFacts
from geohash_rs.store.code_table import METADATA
from geohash_rs.store.segment.shapes import geo_metadata

__all__ = ["write_code_parquet"]

ROW_GROUP = 1 << 27  # bytes in memory; what the best practice for embeddings names
SIDES = ("xmin", "ymin", "xmax", "ymax")
VERSION = "0.0.1"  # of the metadata `emb`, as in the files of Earth Index


def write_code_parquet(
    tables: Iterator[pa.Table], path: Path, *, schema: pa.Schema, facts: CodeFacts
) -> None:
    """Write tiles and codes to GeoParquet 1.1.

    Args:
        tables: Tables of `CodeTable`, near tiles next to each other.
        path: File to write.
        schema: Their schema.
        facts: Filled meanwhile, and written as the metadata `emb`.

    References:
        https://geoparquet.org/releases/v1.1.0, https://github.com/geo-embeddings
    """
    described = _schema(schema, facts.num_bits)
    waiting: list[pa.Table] = []
    with pq.ParquetWriter(path, described, compression="zstd") as file:
        for table, boxes in facts.watch(tables):
            waiting.append(_with_boxes(table, boxes, described))
            if sum(one.nbytes for one in waiting) >= ROW_GROUP:
                _write(file, waiting)
        if waiting:
            _write(file, waiting)
        file.add_key_value_metadata({"geo": _geo(facts), "emb": json.dumps(_emb(facts))})


def _write(file: pq.ParquetWriter, waiting: list[pa.Table]) -> None:
    """Write tables as one row group, and let go of them."""
    group = pa.concat_tables(waiting)
    waiting.clear()
    file.write_table(group, row_group_size=max(1, len(group)))


def _schema(schema: pa.Schema, num_bits: int) -> pa.Schema:
    """Describe the columns of the file: the code becomes a list of bytes, and boxes are added."""
    place = schema.get_field_index("code")
    codes = pa.list_(pa.field("element", pa.uint8(), nullable=False), num_bits // 8)
    described = schema.set(place, pa.field("embedding", codes, nullable=False))
    box = pa.struct([pa.field(side, pa.float64()) for side in SIDES])
    shape = pa.field("geometry", pa.binary())  # GeoParquet describes it for the whole file
    described = described.set(schema.get_field_index("geometry"), shape)
    return described.append(pa.field("bbox", box)).with_metadata(
        {METADATA: schema.metadata[METADATA]}
    )


def _with_boxes(table: pa.Table, boxes: npt.NDArray[np.float64], described: pa.Schema) -> pa.Table:
    """Convert a table to the schema of the file."""
    codes = table.column("code").combine_chunks()
    if isinstance(codes, pa.ChunkedArray):
        codes = codes.chunk(0)
    width = codes.type.byte_width
    values = pa.Array.from_buffers(
        pa.uint8(), len(codes) * width, [None, codes.buffers()[1]], offset=codes.offset * width
    )
    field = described.field("embedding")
    lists = pa.FixedSizeListArray.from_arrays(values, type=field.type)
    place = table.schema.get_field_index("code")
    missing = np.isnan(boxes[:, 0])
    box = pa.StructArray.from_arrays(
        [pa.array(boxes[:, side], mask=missing) for side in range(4)],
        names=list(SIDES),
        mask=pa.array(missing),
    )
    table = table.set_column(place, field, lists).append_column("bbox", box)
    return table.cast(described)


def _geo(facts: CodeFacts) -> bytes:
    """Return the metadata of GeoParquet, with the columns of boxes."""
    bounds = None if facts.bounds is None else facts.bounds.tolist()
    geo = json.loads(geo_metadata(bounds, ["Polygon", "MultiPolygon"]))
    column = geo["columns"]["geometry"]
    column["covering"] = {"bbox": {side: ["bbox", side] for side in SIDES}}
    return json.dumps(geo).encode()


def _emb(facts: CodeFacts) -> dict[str, Any]:
    """Return the metadata of embeddings, with the keys that Earth Index writes."""
    about: dict[str, Any] = {
        "version": VERSION,
        "model": {"id": facts.fingerprint, "source": facts.model_uri},
        **facts.features,
        "embedding": {
            "dim": facts.num_bits,
            "data_type": "uint8",
            "bit_order": "big",
            "quantization": facts.quantization["method"],
            "original_dtype": facts.quantization["original_dtype"],
        },
    }
    if facts.times is not None:
        about["start_datetime"], about["end_datetime"] = (
            moment.isoformat().replace("+00:00", "Z") for moment in facts.times
        )
    return about
