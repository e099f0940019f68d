"""The details of tiles, 64 to a block: what a page shows of a match, and its exact footprint."""

import json
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["ROWS", "SHOWN", "block_details", "moments_of"]

ROWS = 64  # tiles of a block: small, because a region needs the whole blocks at its border
SHOWN = (
    "tile_id",
    "scene",
    "col",
    "row",
    "width",
    "height",
    "datetime",
    "datetime_end",
    "label",
    "tile_size",
    "source",
)
LEVEL = 6  # of zlib
WHOLE = ".000000"  # second


def block_details(
    table: pa.Table, pictures: Sequence[Sequence[int] | None] | None
) -> Iterator[bytes]:
    """Pack the details of tiles, block by block.

    A block is compressed with zlib: the length of a JSON text as uint32; the text, an object with a
    list for each column that is not empty throughout and the distinct scenes as `scenes`; the
    length of each footprint's WKB as uint32, 0 for none; and the WKB of all. Numbers are
    little-endian.

    Args:
        table: Tiles with the columns `SHOWN` and geometry; a multiple of `ROWS`, but for the last.
        pictures: Place and size in bytes of each tile's picture, None for a tile without; None
            if no tile has one.

    Yields:
        A block.
    """
    columns = {name: _values(table.column(name)) for name in SHOWN}
    shapes = table.column("geometry").to_pylist()
    for start in range(0, len(table), ROWS):
        part = slice(start, start + ROWS)
        about: dict[str, Any] = {}
        for name, values in columns.items():
            here = values[part]
            if any(value is not None for value in here):
                about[name] = here
        scenes = list(dict.fromkeys(about["scene"]))
        numbers = {scene: number for number, scene in enumerate(scenes)}
        about |= {"scenes": scenes, "scene": [numbers[scene] for scene in about["scene"]]}
        if pictures is not None:
            about["picture"] = list(pictures[part])
        text = json.dumps(about, separators=(",", ":")).encode()
        wkb = [shape or b"" for shape in shapes[part]]
        lengths = np.array([len(shape) for shape in wkb], "<u4").tobytes()
        yield zlib.compress(b"".join([len(text).to_bytes(4, "little"), text, lengths, *wkb]), LEVEL)


def moments_of(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Return times as numbers.

    Args:
        column: Times, n rows.

    Returns:
        Microseconds since 1970 UTC, the smallest integer where a time is missing, shape (n,).
    """
    missing = int(np.iinfo(np.int64).min)
    return np.asarray(column.cast(pa.int64()).fill_null(missing).to_numpy())


def _values(column: pa.ChunkedArray) -> list[Any]:
    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    moments = moments_of(column).view("datetime64[us]")
    texts = np.datetime_as_string(moments, unit="us").tolist()
    return [None if text == "NaT" else f"{text.removesuffix(WHOLE)}Z" for text in texts]
