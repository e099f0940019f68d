"""What a table of vectors says about itself: model, dates, quantisation, and its geometry."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from geohash_rs.scenes.dates import DateRange
from geohash_rs.store.times import parse_iso

__all__ = ["CRS84", "GeometryColumn", "TableAbout", "about_table"]

CRS84 = "OGC:CRS84"
EXTENSION, EXTENSION_ABOUT = b"ARROW:extension:name", b"ARROW:extension:metadata"


@dataclass(frozen=True, kw_only=True)
class GeometryColumn:
    """How a column holds geometries.

    Attributes:
        encoding: "wkb", or a GeoArrow layout such as "polygon".
        crs: CRS of the coordinates, anything that pyproj takes; None if the table says none.
    """

    encoding: str
    crs: Any


@dataclass(frozen=True, kw_only=True)
class TableAbout:
    """What the metadata of a table say.

    Attributes:
        geometries: Columns of geometries by name, the primary one first.
        model: Name of the model, or "".
        version: Its version, or "".
        dimensions: Numbers of a vector, or None.
        dates: First and last moment, UTC, or None.
        quantization: What vectors of integers are to be multiplied by, and what is then added, or
            None; or the name of another method, which cannot be undone.
    """

    geometries: Mapping[str, GeometryColumn] = field(default_factory=dict)
    model: str = ""
    version: str = ""
    dimensions: int | None = None
    dates: DateRange | None = None
    quantization: tuple[Any, Any] | str | None = None


def about_table(
    schema: pa.Schema, native: Mapping[str, GeometryColumn] | None = None
) -> TableAbout:
    """Read the metadata of a table.

    Args:
        schema: Its schema, with the metadata of GeoParquet ("geo"), of embeddings ("emb") and of
            GeoArrow, where it has such.
        native: Columns of the Parquet types GEOMETRY and GEOGRAPHY.

    Returns:
        What they say; what is not understood counts as not said.

    References:
        https://geoparquet.org/releases/v1.1.0/, https://geoarrow.org/extension-types
    """
    metadata = schema.metadata or {}
    emb = _mapping(metadata.get(b"emb"))
    model = emb.get("model")
    about = model if isinstance(model, dict) else {"id": model}
    size = _part(emb, "embedding").get("dim", emb.get("emb:dimensions"))
    return TableAbout(
        geometries=_geometries(schema, native or {}),
        model=_text(about.get("id") or about.get("name")),
        version=_text(about.get("version")),
        dimensions=size if isinstance(size, int) and size > 0 else None,
        dates=_dates(emb),
        quantization=_quantization(emb),
    )


def _geometries(
    schema: pa.Schema, native: Mapping[str, GeometryColumn]
) -> dict[str, GeometryColumn]:
    """List the columns of geometries; what GeoParquet says comes before what a type says."""
    geo = _mapping((schema.metadata or {}).get(b"geo"))
    said = _part(geo, "columns")
    primary = geo.get("primary_column")
    found: dict[str, GeometryColumn] = {}
    for name in sorted(said, key=lambda name: name != primary):
        if name in schema.names and isinstance(said[name], dict):
            encoding = str(said[name].get("encoding", "WKB")).lower()
            found[name] = GeometryColumn(encoding=encoding, crs=said[name].get("crs", CRS84))
    for name, column in native.items():
        found.setdefault(name, column)
    for one in schema:
        named = (one.metadata or {}).get(EXTENSION, b"").decode()
        if isinstance(one.type, pa.BaseExtensionType):
            named = one.type.extension_name
        if named.startswith("geoarrow."):
            crs = _mapping((one.metadata or {}).get(EXTENSION_ABOUT)).get("crs")
            encoding = named.removeprefix("geoarrow.")
            found.setdefault(one.name, GeometryColumn(encoding=encoding, crs=crs))
    return found


def _dates(emb: Mapping[str, Any]) -> DateRange | None:
    """Return the first and last moment that the metadata state."""
    with suppress(ValueError):
        if emb.get("start_datetime") and emb.get("end_datetime"):
            first, last = (str(emb[f"{end}_datetime"]) for end in ("start", "end"))
            found: DateRange = parse_iso(first)[0], parse_iso(last)[1]
            return found if found[0] <= found[1] else None
        if emb.get("datetime"):
            return parse_iso(str(emb["datetime"]))
    return None


def _quantization(emb: Mapping[str, Any]) -> tuple[Any, Any] | str | None:
    """Return how integers become numbers, as `TableAbout.quantization`."""
    said = emb.get("emb:quantization", _part(emb, "embedding").get("quantization"))
    if isinstance(said, str):
        return None if said.lower() in {"", "none"} else said
    if not isinstance(said, dict) or not said:
        return None
    if "scale" not in said:
        return str(said.get("method", "unknown"))
    scale, offset = said["scale"], said.get("offset") or 0.0
    numbers = all(_is_numbers(value) for value in (scale, offset))
    return (scale, offset) if numbers else str(said.get("method", "unknown"))


def _is_numbers(value: object) -> bool:
    """Return whether a value is a number or a list of numbers."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, int | float) for one in value)
    return isinstance(value, int | float)


def _mapping(text: bytes | None) -> dict[str, Any]:
    """Read a JSON object; anything else is an empty one."""
    with suppress(ValueError, RecursionError):
        value = json.loads(text or b"{}")
        return value if isinstance(value, dict) else {}
    return {}


def _part(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = value.get(name)
    return part if isinstance(part, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
