"""Codes as a Zarr group with the attributes of the convention for embeddings."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.errors import ExportError
from geohash_rs.export.code_facts import CodeFacts
from geohash_rs.export.code_order import in_pieces
from geohash_rs.store.code_table import byte_rows

if TYPE_CHECKING:
    from zarr import Array, Group

__all__ = ["check_zarr", "write_code_zarr"]

CHUNK = 1 << 16  # tiles
MISSING = int(np.iinfo(np.int32).min)
NAT = int(np.iinfo(np.int64).min)
BUILT = ("code", "geometry")  # columns that become other arrays
CONVENTION = {
    "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
    "name": "geoemb:",
    "schema_url": "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention/refs/tags/v1/schema.json",
}
PLACES = {
    "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "name": "proj:",
    "schema_url": "https://raw.githubusercontent.com/zarr-experimental/geo-proj/refs/tags/v1/schema.json",
}


def check_zarr() -> None:
    """Check that Zarr can be written.

    Raises:
        ExportError: If the package zarr is not installed.
    """
    try:
        import zarr  # noqa: F401, PLC0415 - optional
    except ImportError as error:
        msg = "zarr is not installed; install it with 'pip install \"geohash-rs[zarr]\"'."
        raise ExportError(msg) from error


def write_code_zarr(
    tables: Iterator[pa.Table],
    path: Path,
    *,
    schema: pa.Schema,
    num_tiles: int,
    facts: CodeFacts,
) -> None:
    """Write tiles and codes to a Zarr group, version 3.

    Args:
        tables: Tables of `CodeTable`, near tiles next to each other.
        path: Folder to write, which does not exist.
        schema: Their schema.
        num_tiles: Number of tiles of all tables.
        facts: Filled meanwhile, and written as attributes.

    References:
        https://github.com/geo-embeddings/embeddings-zarr-convention
    """
    import zarr

    group = zarr.open_group(path, mode="w-", zarr_format=3)
    arrays = {
        name: _array(group, name, kind, num_tiles)
        for name, kind in zip(schema.names, schema.types, strict=True)
        if name not in BUILT
    }
    width = facts.num_bits // 8
    arrays["embeddings"] = _create(group, "embeddings", np.uint8, num_tiles, ("byte", width))
    for name, inner in (("lon", None), ("lat", None), ("bounds", ("side", 4))):
        arrays[name] = _create(group, name, np.float64, num_tiles, inner, fill=np.nan)
    start = 0
    for piece, boxes in facts.watch(in_pieces(tables, CHUNK)):
        place = slice(start, start + len(piece))
        for name, values in _values(piece, boxes).items():
            arrays[name][place] = values
        start += len(piece)
    # xarray takes the arrays named here as coordinates
    group.attrs.update(_attributes(facts) | {"coordinates": " ".join({*arrays} - {"embeddings"})})


def _create(
    group: "Group",
    name: str,
    kind: Any,  # noqa: ANN401 - whatever zarr takes as a type
    num_tiles: int,
    inner: tuple[str, int] | None = None,
    *,
    fill: Any = None,  # noqa: ANN401 - a value of that type
    attributes: dict[str, Any] | None = None,
) -> "Array[Any]":
    """Make an array of the tiles, with a second axis if `inner` names one and its length."""
    axes = ("tile", *(inner[:1] if inner else ()))
    lengths = inner[1:] if inner else ()
    return group.create_array(
        name,
        shape=(num_tiles, *lengths),
        chunks=(min(CHUNK, max(1, num_tiles)), *lengths),
        dtype=kind,
        fill_value=fill,
        dimension_names=axes,
        attributes=attributes,
    )


def _array(group: "Group", name: str, kind: pa.DataType, num_tiles: int) -> "Array[Any]":
    """Make the array of a column, whose attributes say what stands for a missing value."""
    if pa.types.is_string(kind):
        return _create(group, name, str, num_tiles, fill="")
    if pa.types.is_timestamp(kind):
        units = {"units": "microseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
        missing = {"missing_value": NAT}
        return _create(group, name, np.int64, num_tiles, fill=NAT, attributes=units | missing)
    if name == "tile_id":
        return _create(group, name, np.int64, num_tiles, fill=-1)
    missing = {"missing_value": MISSING}
    return _create(group, name, np.int32, num_tiles, fill=MISSING, attributes=missing)


def _values(table: pa.Table, boxes: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[Any]]:
    """Return the values of every array for the tiles of a table."""
    found: dict[str, npt.NDArray[Any]] = {
        "embeddings": byte_rows(table.column("code")),
        "bounds": boxes,
        "lon": (boxes[:, 0] + boxes[:, 2]) / 2,
        "lat": (boxes[:, 1] + boxes[:, 3]) / 2,
    }
    for name in table.column_names:
        column = table.column(name)
        if name in BUILT:
            continue
        if pa.types.is_string(column.type):
            found[name] = np.array(column.fill_null("").to_pylist(), dtype=np.dtypes.StringDType())
        elif pa.types.is_timestamp(column.type):
            found[name] = column.cast(pa.int64()).fill_null(NAT).to_numpy()
        else:
            found[name] = column.fill_null(MISSING).to_numpy()
    return found


def _attributes(facts: CodeFacts) -> dict[str, Any]:
    """Return the attributes of the group."""
    size = facts.chip_size
    return {
        "zarr_conventions": [CONVENTION, PLACES],
        "geoemb:type": "chip",
        "geoemb:dimensions": facts.num_bits,
        "geoemb:model": facts.model_uri,
        "geoemb:source_data": facts.source_uris or ["urn:geohash-rs:source:unknown"],
        "geoemb:data_type": "uint8",
        "geoemb:quantization": facts.quantization,
        # the convention asks for a size: 1 where no tile has one, as the tiles of vectors
        "geoemb:chip_layout": {"layout_type": "irregular", "chip_size": [size or 1, size or 1]},
        "geoemb:spatial_layout": "global",
        "proj:code": "EPSG:4326",
        "geohash_rs": {
            "num_bits": facts.num_bits,
            "bit_order": "big",
            "hasher": facts.fingerprint,
        },
        **facts.features,
    }
