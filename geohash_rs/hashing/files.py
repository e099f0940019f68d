"""Hasher files: one safetensors file with the description in its metadata, without pickle."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from geohash_rs.hashing.description import FORMAT, KEY, read_metadata
from geohash_rs.hashing.limits import check_file_size

__all__ = ["HasherContent"]


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


def _halved(tensor: Tensor) -> Tensor:
    """Convert weights to half precision if that loses nothing, as after `Head.round_weights`."""
    if tensor.dtype == torch.float32 and torch.equal(tensor.half().float(), tensor):
        return tensor.half()
    return tensor
