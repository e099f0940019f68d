"""Store named arrays in one file that is mapped, not read.

The layout is that of safetensors (an 8-byte length, a JSON header, the arrays), so
`safetensors.numpy.load_file` can open it too.

Reference:
    https://github.com/huggingface/safetensors#format
"""

import json
import math
import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geohash_rs.errors import ArchiveCorruptError, ArchiveFormatError
from geohash_rs.store.disk.plain import open_plain

__all__ = ["map_arrays", "map_bytes", "serialise_arrays"]

# Adding a type here requires raising FORMAT_VERSION: earlier versions cannot read it.
NAMES = {
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "int32": "I32",
    "int64": "I64",
    "float64": "F64",
}
MOST_HEADER = 1 << 20  # bytes; an index has about 30 arrays
TYPES = {name: np.dtype(dtype).newbyteorder("<") for dtype, name in NAMES.items()}

Array = npt.NDArray[Any]


def serialise_arrays(arrays: Mapping[str, Array]) -> Iterator[bytes | memoryview]:
    """Lay out arrays as one file, widest items first so that every array is aligned.

    Args:
        arrays: C-contiguous arrays by name; unsigned integers, int32, int64 or float64.

    Yields:
        The file's content in pieces.
    """
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].itemsize, item[0]))
    header: dict[str, Any] = {}
    offset = 0
    for name, array in ordered:
        header[name] = {
            "dtype": NAMES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 64 + 56)  # the arrays start at a multiple of 64 bytes
    yield len(text).to_bytes(8, "little")
    yield text
    for _, array in ordered:
        if array.size:
            yield np.ascontiguousarray(array).data.cast("B")


def map_bytes(path: Path) -> Array:
    """Map a file into memory for reading.

    Args:
        path: A file; an empty file yields an empty array.

    Returns:
        Its bytes, read-only, uint8.

    Raises:
        ArchiveCorruptError: If it cannot be opened.
    """
    try:
        with open(open_plain(path, os.O_RDONLY), "rb") as file:  # noqa: PTH123 - a handle
            if not os.fstat(file.fileno()).st_size:
                return np.empty(0, np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except OSError as error:
        reason = error.strerror or error
        msg = f"{path} cannot be read ({reason}); run 'geohash-rs verify' on the archive."
        raise ArchiveCorruptError(msg) from error


def map_arrays(path: Path) -> dict[str, Array]:
    """Map a file of named arrays.

    Args:
        path: A file written from `serialise_arrays`.

    Returns:
        Read-only arrays by name.

    Raises:
        ArchiveCorruptError: If the header does not describe the file.
        ArchiveFormatError: If an array has a type that this version does not know.
    """
    data = map_bytes(path)
    try:
        header, body = _parts(data)
        unknown = sorted({str(entry["dtype"]) for entry in header.values()} - TYPES.keys())
        if unknown:
            raise ArchiveFormatError(_unknown(path, unknown))
        return {name: _array(body, entry) for name, entry in header.items()}
    except ArchiveFormatError:  # also a ValueError
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = (
            f"{path} has a damaged header ({error!r}); run 'geohash-rs verify' and restore it from "
            "a copy."
        )
        raise ArchiveCorruptError(msg) from error


def _parts(data: Array) -> tuple[dict[str, Any], Array]:
    """Split a file into its header and the bytes after it.

    Raises:
        ValueError: If the header is longer than an index needs, or is not JSON.
    """
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > min(MOST_HEADER, len(data) - 8):
        msg = f"a header of {length} bytes in a file of {len(data)}"
        raise ValueError(msg)
    return json.loads(data[8 : 8 + length].tobytes()), data[8 + length :]


def _array(body: Array, entry: Mapping[str, Any]) -> Array:
    """Return one array of a file.

    Raises:
        ValueError: If its entry does not describe a part of the file.
    """
    start, end = entry["data_offsets"]
    dtype, shape = TYPES[entry["dtype"]], entry["shape"]
    fits = (
        all(type(one) is int and one >= 0 for one in (start, end, *shape))
        and start <= end <= len(body)
        and start % dtype.itemsize == 0
        and math.prod(shape) * dtype.itemsize == end - start
    )
    if not fits:
        msg = f"{dict(entry)} does not describe a part of {len(body)} bytes"
        raise ValueError(msg)
    return body[start:end].view(dtype).reshape(shape)


def _unknown(path: Path, types: list[str]) -> str:
    return (
        f"{path} holds arrays of type {', '.join(types)}, which this geohash_rs does not know: "
        "a newer version wrote it; upgrade with 'pip install -U geohash-rs'."
    )
