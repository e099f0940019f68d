"""Hasher files: one safetensors file with the description in its metadata, without pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.limits import check_file_size

__all__ = ["HasherContent", "describe_hasher", "read_metadata"]

KEY = "geohash_rs"
MOST_HEADER = 4 * 2**20  # bytes; names and shapes of a few thousand tensors take 1 MB
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class HasherContent:
    """The content of a hasher file.

    Attributes:
        description: Settings, as JSON values.
        fingerprint: Fingerprint of the hasher when it was saved.
        embedded: Whether the backbone's weights are in the file.
        tensors: Weights by name, with the prefix ``backbone.`` or ``head.``.
    """

    description: Mapping[str, Any]
    fingerprint: str
    embedded: bool
    tensors: Mapping[str, Tensor]

    def to_bytes(self) -> bytes:
        """Return the bytes of the file; it holds the backbone's weights only if `embedded`."""
        tensors = {
            name: _halved(tensor.contiguous())
            for name, tensor in self.tensors.items()
            if self.embedded or not name.startswith("backbone.")
        }
        content = {
            "format": FORMAT,
            "fingerprint": self.fingerprint,
            "embedded": self.embedded,
            "description": self.description,
        }
        return save(tensors, metadata={KEY: json.dumps(content, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "HasherContent":
        """Read what `to_bytes` wrote.

        Args:
            data: The file.

        Returns:
            Its content.

        Raises:
            HasherError: If it is not a hasher file, or of a newer format.
            SafetensorError: If its weights are damaged.
        """
        check_file_size(len(data))
        content = read_metadata(data)
        return cls(
            description=content["description"],
            fingerprint=content["fingerprint"],
            embedded=content["embedded"],
            tensors=load(data),
        )

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the weights with a prefix, without it in their names, in full precision."""
        return {
            name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


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


def _halved(tensor: Tensor) -> Tensor:
    """Convert weights to half precision if that loses nothing, as after `Head.round_weights`."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        return tensor.half()
    return tensor
