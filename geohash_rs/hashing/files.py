"""Hasher files: one safetensors file, its description in the metadata, never any pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from geohash_rs.errors import HasherError

__all__ = ["HasherContent", "describe_hasher", "read_metadata"]

KEY = "geohash_rs"
MOST_HEADER = 100_000_000  # bytes; as safetensors itself has it
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class HasherContent:
    """What a hasher file holds.

    Attributes:
        description: Settings, JSON-able.
        fingerprint: What the hasher's fingerprint was when it was written.
        embedded: Whether the backbone's weights are in the file.
        tensors: Weights, ``backbone.`` or ``head.`` before each name.
    """

    description: Mapping[str, Any]
    fingerprint: str
    embedded: bool
    tensors: Mapping[str, Tensor]

    def to_bytes(self) -> bytes:
        """Write the file; the backbone's weights go in only if they are `embedded`."""
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
        content = read_metadata(data)
        return cls(
            description=content["description"],
            fingerprint=content["fingerprint"],
            embedded=content["embedded"],
            tensors=load(data),
        )

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the weights whose names begin so, without that prefix, in full precision."""
        return {
            name.removeprefix(prefix): tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in self.tensors.items()
            if name.startswith(prefix)
        }


def describe_hasher(path: Path) -> dict[str, Any]:
    """Read what a hasher file says of itself, from its header alone.

    Args:
        path: The file.

    Returns:
        The settings, as `Hasher.description` gives them.

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
    """Read what a hasher file says of itself, without its weights.

    Args:
        data: The file, or at least its header.

    Returns:
        ``format``, ``fingerprint``, ``embedded`` and ``description``.

    Raises:
        HasherError: If it is not a hasher file, or of a newer format.
    """
    # https://github.com/huggingface/safetensors#format: 8 bytes of length, then a JSON header
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
        content: dict[str, Any] = json.loads(header["__metadata__"][KEY])
    except (ValueError, KeyError, TypeError) as error:
        msg = "not a hasher: no safetensors file with a geohash_rs description inside."
        raise HasherError(msg) from error
    if content.get("format") != FORMAT:
        msg = f"hasher format {content.get('format')} is not {FORMAT}; update geohash-rs."
        raise HasherError(msg)
    return content


def _halved(tensor: Tensor) -> Tensor:
    """Store weights in half the space where that loses nothing, as after `Head.round_weights`."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        return tensor.half()
    return tensor
