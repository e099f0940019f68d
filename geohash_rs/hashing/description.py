"""The description of a hasher, read from the header of its file without its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from geohash_rs.errors import HasherError

__all__ = ["FORMAT", "KEY", "describe_hasher", "name_of_embedding", "read_metadata"]

KEY = "geohash_rs"
MOST_HEADER = 4 * 2**20  # bytes; names and shapes of a few thousand tensors take 1 MB
FORMAT = 1


def describe_hasher(path: Path) -> dict[str, Any]:
    """Read the description of a hasher from the header of its file.

    Args:
        path: The file.

    Returns:
        The settings, as in `Hasher.description`.

    Raises:
        HasherError: If it is not a hasher file, or of a newer format.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = min(int.from_bytes(start, "little"), MOST_HEADER)
        description: dict[str, Any] = read_metadata(start + file.read(length))["description"]
    return description


def read_metadata(data: bytes) -> dict[str, Any]:
    """Read the metadata of a hasher file, without its weights.

    Args:
        data: The file, or at least its header.

    Returns:
        ``format``, ``fingerprint``, ``embedded`` and ``description``.

    Raises:
        HasherError: If it is not a hasher file, or of a newer format.
    """
    # https://github.com/huggingface/safetensors#format: 8 bytes of length, then a JSON header
    length = int.from_bytes(data[:8], "little")
    if length > MOST_HEADER:
        msg = (
            f"not a hasher: its header has {length:,} bytes, but at most {MOST_HEADER:,} are read."
        )
        raise HasherError(msg)
    try:
        header = json.loads(data[8 : 8 + length])
        content: dict[str, Any] = json.loads(header["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        msg = "not a hasher: a safetensors file with a geohash_rs description is expected."
        raise HasherError(msg) from error
    kinds = {"format": int, "fingerprint": str, "embedded": bool, "description": dict}
    if not isinstance(content, dict) or any(
        not isinstance(content.get(name), kind) for name, kind in kinds.items()
    ):
        msg = "not a hasher: its description is incomplete; get the file again."
        raise HasherError(msg)
    if content["format"] != FORMAT:
        msg = f"hasher format {content['format']} is not {FORMAT}; update geohash-rs."
        raise HasherError(msg)
    return content


def name_of_embedding(about: Mapping[str, Any]) -> str:
    """Name an embedding for people.

    Args:
        about: Its model, version, variant and dimensions.

    Returns:
        The name with the number of dimensions.
    """
    parts = [about[part] for part in ("model", "version", "variant") if about.get(part)]
    return f"{' '.join(parts) or 'an unnamed model'} ({about['dimensions']} dimensions)"
