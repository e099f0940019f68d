"""The hasher: all that turns raw pixels of a tile into its code, in one object and one file."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from geohash_rs.codes import pack_codes
from geohash_rs.errors import BandMismatchError, HasherError
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.heads import Head
from geohash_rs.hashing.network.runtime import CpuRuntime, mixed_precision
from geohash_rs.hashing.network.scaling import Scaling
from geohash_rs.hashing.network.views import view

__all__ = ["Hasher"]

M = TypeVar("M", bound=nn.Module)

EAGER_BATCH = 16  # tiles in the network at once: as fast as 64, in a third of the memory
RUNTIME_BATCH = 512  # tiles whose features wait for the head


class Hasher:
    """Bands, scaling, backbone and head that belong together, and the codes that they give.

    Args:
        backbone: Network from tiles to features.
        head: Network from features to activations.
        scaling: What is done to raw pixel values.
        bands: Names of the bands, in the order of the channels.
        tile_size: Side of a tile in px of its scene, for which this hasher was made.
        input_size: Side in px to which tiles are resized for the network.
        resolution: Ground size of a pixel in metres to which archives resample the tiles of scenes,
            or None for any.
        views: Views of a tile over which activations are averaged, each of which costs one pass
            of the network: "identity", "hflip", "vflip", "rot90", "rot180", "rot270".
        name: A name for people.
        notes: Anything JSON-able that the description shall carry: data, licence, figures.
        device: Where the networks run.

    Attributes:
        num_bits: Bits of a code.
        fingerprint: SHA-256, hex, of all weights and of the settings that a code depends on.
        description: All of the above as JSON-able values.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: Head,
        *,
        scaling: Scaling,
        bands: Sequence[str],
        tile_size: int,
        input_size: int,
        resolution: float | None = None,
        views: Sequence[str] = ("identity",),
        name: str = "",
        notes: Mapping[str, Any] | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        _check_parts(backbone, head, bands=bands, scaling=scaling)
        self.backbone, self.head = _frozen(backbone), _frozen(head)
        self.scaling = scaling
        self.bands = tuple(bands)
        self.num_bits = head.num_bits
        self.tile_size = tile_size
        self.input_size = input_size
        self.resolution = resolution
        self.views = tuple(views)
        self.name = name or f"{head.kind}-{head.num_bits}"
        self.notes = dict(notes or {})
        self.device = torch.device(device)
        self._runtime: CpuRuntime | None = None
        self.backbone.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.head.to(self.device)

    def __repr__(self) -> str:
        return (
            f"Hasher({self.name!r}, num_bits={self.num_bits}, bands={self.bands}, "
            f"tile_size={self.tile_size}, backbone={self.backbone.model_name!r})"
        )

    def features(self, tiles: Tensor) -> Tensor:
        """Compute the backbone's features of tiles as they are, without other views.

        Args:
            tiles: Raw pixels of any real data type, shape (tiles, bands, height, width).

        Returns:
            Features, float32, shape (tiles, num_features), on the CPU.

        Raises:
            BandMismatchError: If the tiles have another number of bands.
            HasherError: If the tiles are not such an array, or a feature is not finite.
        """
        return self._batched(tiles, ("identity",), head=False)

    def activations(self, tiles: Tensor) -> Tensor:
        """Compute hashing activations, averaged over the hasher's views.

        Args:
            tiles: Raw pixels of any real data type, shape (tiles, bands, height, width).

        Returns:
            Activations in [0, 1], float32, shape (tiles, num_bits), on the CPU.

        Raises:
            BandMismatchError: If the tiles have another number of bands.
            HasherError: If the tiles are not such an array, or a feature is not finite.
        """
        return self._batched(tiles, self.views, head=True)

    def codes(self, tiles: Tensor) -> npt.NDArray[np.uint8]:
        """Compute packed codes.

        Args:
            tiles: Raw pixels of any real data type, shape (tiles, bands, height, width).

        Returns:
            Codes, uint8, shape (tiles, num_bits / 8), most significant bit first.

        Raises:
            BandMismatchError: If the tiles have another number of bands.
            HasherError: If the tiles are not such an array, or a feature is not finite.
        """
        return pack_codes(self.activations(tiles).numpy())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hex, of all weights and of the settings that a code depends on."""
        settings = {k: v for k, v in self.description.items() if k not in {"name", "notes"}}
        settings["backbone"] = {k: v for k, v in settings["backbone"].items() if k != "weights"}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def description(self) -> dict[str, Any]:
        """All settings, JSON-able."""
        return {
            "name": self.name,
            "num_bits": self.num_bits,
            "bands": list(self.bands),
            "tile_size": self.tile_size,
            "input_size": self.input_size,
            "resolution": self.resolution,
            "views": list(self.views),
            "scaling": self.scaling.to_dict(),
            "backbone": {
                "model": self.backbone.model_name,
                "weights": self.backbone.weights,
                "stages": list(self.backbone.stages),
            },
            "head": {"kind": self.head.kind, **self.head.settings},
            "notes": self.notes,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Give all weights by name, on the CPU, ``backbone.`` or ``head.`` before each name."""
        parts = (("backbone", self.backbone.network), ("head", self.head))
        return {
            f"{part}.{name}": tensor.detach().cpu()
            for part, module in parts
            for name, tensor in module.state_dict().items()
        }

    def accelerate(self) -> "Hasher":
        """Trace the backbone for much work on a CPU; a few seconds that pay from 300 tiles on.

        Features agree with eager PyTorch to about 1e-5. Where the network or this machine does not
        allow it, nothing changes.

        Returns:
            This hasher.
        """
        if self._runtime is None and self.device.type == "cpu":
            self._runtime = CpuRuntime.build(self.backbone, input_size=self.input_size)
        return self

    def to_bytes(self, *, embed_backbone: bool | None = None) -> bytes:
        """Write the hasher as the bytes of a file.

        Args:
            embed_backbone: Whether the backbone's weights go in. By default they do, unless they
                are those of the package that is installed with this one.

        Returns:
            A safetensors file whose metadata holds the description as JSON.
        """
        from geohash_rs.hashing.files import hasher_to_bytes

        return hasher_to_bytes(self, embed_backbone=embed_backbone)

    @classmethod
    def from_bytes(cls, data: bytes, *, device: str | torch.device = "cpu") -> "Hasher":
        """Read a hasher from the bytes of its file.

        Args:
            data: What `to_bytes` wrote.
            device: Where the networks shall run.

        Returns:
            The hasher.

        Raises:
            HasherError: If the bytes are not a hasher's, or its weights are not what they were.
        """
        from geohash_rs.hashing.files import hasher_from_bytes

        return hasher_from_bytes(data, device=device)

    def save(self, path: str | os.PathLike[str], *, embed_backbone: bool | None = None) -> None:
        """Write the hasher into one ``.safetensors`` file, all or nothing.

        Args:
            path: File to write; its folder must exist.
            embed_backbone: As in `to_bytes`.
        """
        target = Path(path)
        data = self.to_bytes(embed_backbone=embed_backbone)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).chmod(0o644)
                Path(file.name).replace(target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def _batched(self, tiles: Tensor, views: Sequence[str], *, head: bool) -> Tensor:
        self._check_tiles(tiles)
        width = self.num_bits if head else self.backbone.num_features
        outputs = [torch.empty(0, width)]
        step = EAGER_BATCH if self._runtime is None else RUNTIME_BATCH
        with torch.inference_mode():
            for start in range(0, len(tiles), step):
                features = self._passes(tiles[start : start + step], views)
                passes = [self.head(each) if head else each for each in features]
                outputs.append(torch.stack(passes).mean(0).cpu())
        result = torch.cat(outputs)
        if not torch.isfinite(result).all():
            bad = (~torch.isfinite(result)).any(1).nonzero().flatten()
            msg = (
                f"{len(bad)} of {len(tiles)} tiles gave features that are NaN or infinite (first: "
                f"tile {int(bad[0])}); fill missing pixels before hashing."
            )
            raise HasherError(msg)
        return result

    def _passes(self, tiles: Tensor, views: Sequence[str]) -> Iterator[Tensor]:
        """Compute the features of each view of raw tiles."""
        if self._runtime is not None:
            for name in views:
                yield self._runtime(view(tiles, name), scaling=self.scaling)
            return
        images = self._prepare(tiles)
        for name in views:
            with mixed_precision(self.device):
                yield self.backbone(view(images, name)).float()

    def _prepare(self, tiles: Tensor) -> Tensor:
        """Scale and resize raw tiles into network input."""
        scaled = self.scaling.apply(tiles.to(self.device, torch.float32))
        size = (self.input_size, self.input_size)
        if scaled.shape[-2:] != size:
            scaled = nn.functional.interpolate(scaled, size=size, mode="bicubic", antialias=True)
        images = self.scaling.normalise(scaled)
        return images.contiguous(memory_format=torch.channels_last)

    def _check_tiles(self, tiles: Tensor) -> None:
        if tiles.ndim != 4 or not tiles.shape[2] or not tiles.shape[3]:
            msg = f"tiles have shape {tuple(tiles.shape)}; use (tiles, bands, height, width)."
            raise HasherError(msg)
        if tiles.dtype.is_complex:
            msg = f"tiles are {tiles.dtype}; take their magnitude or real part before hashing."
            raise HasherError(msg)
        if tiles.shape[1] != len(self.bands):
            msg = (
                f"tiles have {tiles.shape[1]} bands but hasher {self.name} expects "
                f"{len(self.bands)} ({_listed(self.bands)}); pass bands=... or use another hasher."
            )
            raise BandMismatchError(msg)


def _frozen(module: M) -> M:
    return module.eval().requires_grad_(requires_grad=False)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 4 else f"{names[0]}..{names[-1]}"


def _check_parts(backbone: Backbone, head: Head, *, bands: Sequence[str], scaling: Scaling) -> None:
    if head.num_features != backbone.num_features:
        msg = (
            f"the head takes {head.num_features} features but {backbone.model_name} gives "
            f"{backbone.num_features}; make the head for this backbone."
        )
        raise HasherError(msg)
    if not len(bands) == backbone.in_chans == len(scaling.low):
        msg = (
            f"{len(bands)} band names ({_listed(bands)}), {backbone.in_chans} input channels of "
            f"{backbone.model_name} and {len(scaling.low)} bands of the scaling do not agree."
        )
        raise BandMismatchError(msg)
