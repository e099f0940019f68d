"""CodeTable: the tiles and codes of an archive as one table, read as it is used."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import shapely

from geohash_rs.errors import ExportError, QueryError
from geohash_rs.store.segment.columns import SOURCE, STAMP
from geohash_rs.store.segment.shapes import geo_metadata, lonlat_crs
from geohash_rs.store.segment.windows import TILE_SIZE, WINDOW
from geohash_rs.store.segment.wkb import read_shapes

if TYPE_CHECKING:
    import geopandas as gpd
    from xarray import Dataset

__all__ = ["KINDS", "METADATA", "CodeTable", "byte_rows", "check_columns", "fixed_binary"]

KINDS: Mapping[str, pa.DataType] = {
    "tile_id": pa.int64(),
    "scene": pa.string(),
    **dict.fromkeys(WINDOW, pa.int32()),
    "datetime": STAMP,
    "datetime_end": STAMP,
    "label": pa.string(),
    TILE_SIZE: pa.int32(),
    SOURCE: pa.string(),
    "code": pa.binary(),  # of the length of a code
    "geometry": pa.binary(),
}
ALWAYS = ("tile_id", "scene", "code")  # no tile lacks one
METADATA = b"geohash_rs"


@dataclass(frozen=True, kw_only=True, eq=False)
class CodeTable:
    """Tiles and their codes as a table that is read when it is used; `to_table` makes one.

    It is an Arrow stream: everything that takes one reads it batch by batch, as often as it likes,
    such as ``pyarrow.table(table)``, ``polars.DataFrame(table)``, or the name of the variable in
    the SQL of DuckDB. Each reading sees one state of the archive: that of the moment when the table
    was made, or, of a database, when the reading began.

    The metadata of the schema hold, under "geohash_rs", as JSON: ``num_bits``; ``bit_order``, which
    is "big": bit 0 is the most significant of the first byte, as in `numpy.packbits`; ``hasher``,
    the fingerprint of what made the codes, or null if it is unknown.

    >>> frame = archive.to_table().to_geopandas()  # doctest: +SKIP

    Attributes:
        schema: The columns asked for, among tile_id, scene, col, row, width, height (px of the
            scene), datetime, datetime_end (UTC), label, tile_size (px), source (of what
            the code was made), code (the packed bits, fixed-size binary) and geometry (the
            footprint, `geoarrow.wkb` in EPSG:4326); null where a tile has none.
    """

    schema: pa.Schema
    _rows: Iterable[pa.Table] = field(repr=False)

    @classmethod
    def of(
        cls,
        rows: Iterable[pa.Table],
        columns: Sequence[str],
        *,
        num_bits: int,
        fingerprint: str | None,
    ) -> Self:
        """Make a table.

        Args:
            rows: Pieces of the table, as from `geohash_rs.store.searchable.Searchable.rows`; read
                again by each iteration.
            columns: Its columns, as from `check_columns`.
            num_bits: Bits per code.
            fingerprint: Identifies the hasher that made the codes, or None if it is unknown.

        Returns:
            The table; nothing is read yet.
        """
        about = {"num_bits": num_bits, "bit_order": "big", "hasher": fingerprint}
        metadata = {METADATA: json.dumps(about).encode()}
        if "geometry" in columns:
            metadata[b"geo"] = geo_metadata(None, [])  # makes a Parquet file of it GeoParquet
        fields = [_field(name, num_bits) for name in columns]
        return cls(schema=pa.schema(fields, metadata=metadata), _rows=rows)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.schema.names)})"

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Export the table as an Arrow stream, for other libraries.

        Args:
            requested_schema: A capsule of the schema to cast to, if the consumer wants one.

        Returns:
            A capsule of the stream.

        References:
            https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
        """
        return self.reader().__arrow_c_stream__(requested_schema)

    def reader(self) -> pa.RecordBatchReader:
        """Read the table batch by batch, with only some batches in memory.

        Returns:
            A reader of batches of at most 65,536 tiles, near ones next to each other; an error of
            the archive, such as ArchiveCorruptError, is raised when its batch is read.
        """
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for piece in self._rows:
            ordered = piece.select(self.schema.names)
            # texts of a dictionary become plain, and each field gets its metadata
            yield from ordered.cast(self.schema).to_batches()

    def to_geopandas(self) -> "gpd.GeoDataFrame":
        """Read the whole table into memory, as a GeoDataFrame.

        Returns:
            The tiles with their exact footprints in EPSG:4326; codes are of type bytes, and
            ``numpy.frombuffer(b"".join(frame["code"]), "uint8")`` makes one array of them.

        Raises:
            QueryError: If the table has no column geometry.
            ArchiveCorruptError: If a file of the archive is damaged.
            EngineError: If a database cannot answer.
        """
        if "geometry" not in self.schema.names:
            msg = (
                f"the table has the columns {self.schema.names}, but a GeoDataFrame needs "
                "'geometry'; add it, or read pyarrow.table(table).to_pandas()."
            )
            raise QueryError(msg)
        from geohash_rs.store.segment.tiles import tiles_to_frame

        table = self.reader().read_all()
        frame = tiles_to_frame(table)
        if "code" in frame.columns:
            frame["code"] = frame["code"].astype(object)
        return frame

    def to_xarray(self) -> "Dataset":
        """Read the whole table into memory, as an xarray Dataset.

        Returns:
            The variable ``code``, uint8, dimensions (tile, byte), most significant bit first. All
            other columns are coordinates of the dimension tile, integers as floats where one is
            missing; instead of the footprint there are ``lon`` and ``lat`` of a point in its
            middle, degrees, NaN without a footprint. The metadata are the attributes.

        Raises:
            ExportError: If xarray is not installed.
            ArchiveCorruptError: If a file of the archive is damaged.
            EngineError: If a database cannot answer.
        """
        try:
            import xarray  # noqa: PLC0415 - optional
        except ImportError as error:
            msg = "xarray is not installed; install it with 'pip install xarray'."
            raise ExportError(msg) from error
        table = self.reader().read_all()
        coords: dict[str, Any] = {}
        for name in table.column_names:
            column = table.column(name)
            if name == "geometry":
                points = shapely.point_on_surface(read_shapes(column.to_pylist()))
                coords["lon"], coords["lat"] = shapely.get_x(points), shapely.get_y(points)
            elif name != "code":
                coords[name] = _values(column)
        data = {}
        if "code" in table.column_names:
            data["code"] = (("tile", "byte"), byte_rows(table.column("code")))
        about = json.loads(self.schema.metadata[METADATA])
        attrs = {name: value for name, value in about.items() if value is not None}
        return xarray.Dataset(
            data, {name: ("tile", values) for name, values in coords.items()}, attrs
        )


def check_columns(columns: Sequence[str] | None) -> tuple[str, ...]:
    """Check the columns that a user asks for.

    Args:
        columns: Names; None means all.

    Returns:
        The names.

    Raises:
        QueryError: If a name is unknown or there twice, there is none, or `columns` is one string.
    """
    if columns is None:
        return tuple(KINDS)
    if isinstance(columns, str):
        msg = f"columns is the string {columns!r}, but it must be a list; pass [{columns!r}]."
        raise QueryError(msg)
    names = tuple(columns)
    if not names or not set(names) <= set(KINDS) or len(set(names)) < len(names):
        msg = f"columns is {list(names)}; pass at least one of {list(KINDS)}, each once."
        raise QueryError(msg)
    return names


def _field(name: str, num_bits: int) -> pa.Field:
    """Describe a column."""
    kind = pa.binary(num_bits // 8) if name == "code" else KINDS[name]
    metadata = None
    if name == "geometry":  # https://geoarrow.org/extension-types
        crs = {"crs": lonlat_crs().to_json_dict(), "crs_type": "projjson"}
        metadata = {
            "ARROW:extension:name": "geoarrow.wkb",
            "ARROW:extension:metadata": json.dumps(crs),
        }
    return pa.field(name, kind, nullable=name not in ALWAYS, metadata=metadata)


def _values(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Return a column as an array: times in UTC without a zone, None for a missing text."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"))
    return np.asarray(column.to_numpy())


def fixed_binary(codes: npt.NDArray[np.uint8]) -> pa.Array:
    """Return codes as an Arrow array.

    Args:
        codes: Packed codes, uint8, shape (n, bits / 8).

    Returns:
        Fixed-size binary, n rows.
    """
    data = pa.py_buffer(np.ascontiguousarray(codes))
    return pa.Array.from_buffers(pa.binary(codes.shape[1]), len(codes), [None, data])


def byte_rows(column: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Return codes of a table as an array.

    Args:
        column: Fixed-size binary, n rows without null.

    Returns:
        Packed codes, uint8, shape (n, bits / 8).
    """
    width = column.type.byte_width
    codes = np.empty((len(column), width), np.uint8)
    row = 0
    for chunk in column.chunks:
        data = np.frombuffer(chunk.buffers()[1], np.uint8)[chunk.offset * width :]
        codes[row : row + len(chunk)] = data[: len(chunk) * width].reshape(-1, width)
        row += len(chunk)
    return codes
