"""The hasher: one object, and one file, with everything that turns raw pixels into codes."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from torch import Tensor

from geohash_rs.codes import pack_codes
from geohash_rs.errors import HasherError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.extractor import Extractor, check_device, on_device
from geohash_rs.hashing.feature_arrays import check_features
from geohash_rs.hashing.files import HasherContent
from geohash_rs.hashing.limits import Allowance, allowance_of, check_description
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.heads import Head, MiLaN, make_head
from geohash_rs.hashing.network.lite0 import LITE0_WEIGHTS
from geohash_rs.hashing.network.pretrained import rebuild_backbone
from geohash_rs.hashing.network.scaling import Scaling
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.scenes.values import Values
from geohash_rs.store.disk.durable import replacing

__all__ = ["Hasher"]

# What torch, timm and safetensors raise for what no hasher of ours has.
DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    SafetensorError,
    TypeError,
    ValueError,
)

ROWS = 4096  # vectors in the head at once


def _head(file: HasherContent) -> Head:
    """Make the head that a file describes."""
    settings, parameters = dict(file.description["head"]), file.part("head.")
    with Allowance("the head", allowance_of(parameters)):
        head = make_head(settings.pop("kind"), settings)
    head.load_state_dict(parameters)
    return head


@dataclass(frozen=True, eq=False, repr=False)
class Hasher:
    """An extractor and its head, which turn raw tiles into codes.

    A hasher never changes; `dataclasses.replace` makes one with another head, views or notes.

    Attributes:
        extractor: Turns raw tiles into features. Its bands, scaling, sizes and backbone are also
            attributes of the hasher. Or the embedding that features come from.
        head: Network from features to activations; it is frozen and moved to the device.
        views: Views of a tile over which activations are averaged; each costs one pass of the
            network: "identity", "hflip", "vflip", "rot90", "rot180", "rot270".
        name: A display name. Default: kind of head and bits.
        notes: Notes for the description, as JSON values: data, licence, figures.

    Raises:
        HasherError: If the first argument is not an extractor or the second not a head, the head
            was made for another number of features, or its components were never computed.
    """

    extractor: Extractor | Embedding
    head: Head
    _: KW_ONLY
    views: Sequence[str] = ("identity",)
    name: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_kinds()
        made = self.embedding or self.backbone
        if self.head.num_features != made.num_features:
            msg = (
                f"the head takes {self.head.num_features} features but {self._source} makes "
                f"{made.num_features}; make the head for these features."
            )
            raise HasherError(msg)
        object.__setattr__(self, "views", tuple(self.views))
        object.__setattr__(self, "name", self.name or f"{self.head.kind}-{self.num_bits}")
        object.__setattr__(self, "notes", dict(self.notes))
        object.__setattr__(self, "head", on_device(self.head, self.device))

    def _check_kinds(self) -> None:
        """Check that the parts are an extractor and a head that is ready.

        Raises:
            HasherError: If they are not.
        """
        found = (self.extractor, self.head)
        makers = (Extractor, Embedding)
        if not isinstance(self.extractor, makers) or not isinstance(self.head, Head):
            kinds = " and ".join(type(part).__name__ for part in found)
            msg = f"a hasher is made of an extractor and a head, not of {kinds}; "
            swapped = isinstance(self.extractor, Head) and isinstance(self.head, Extractor)
            msg += "swap them." if swapped else "pass Hasher(extractor, head)."
            raise HasherError(msg)
        if isinstance(self.head, MiLaN) and not self.head.ready:
            msg = (
                f"the head's {self.head.components} principal components were never computed; call "
                "head.standardise(features) with those of its training tiles, then train it."
            )
            raise HasherError(msg)

    def __repr__(self) -> str:
        if self.embedding is not None:
            return f"Hasher({self.name!r}, num_bits={self.num_bits}, embedding={self._source!r})"
        return (
            f"Hasher({self.name!r}, num_bits={self.num_bits}, bands={self.bands}, "
            f"tile_size={self.tile_size}, backbone={self._source!r})"
        )

    @property
    def _source(self) -> str:
        """What the features come from, in words."""
        return str(self.embedding) if self.embedding is not None else self.backbone.model_name

    @property
    def num_bits(self) -> int:
        """Bits per code."""
        return self.head.num_bits

    @property
    def num_features(self) -> int:
        """Numbers of a feature vector."""
        return self.head.num_features

    @property
    def embedding(self) -> Embedding | None:
        """The embedding that the features come from; None if a network computes them."""
        return self.extractor if isinstance(self.extractor, Embedding) else None

    @property
    def pixels(self) -> PixelEmbedding | None:
        """The embedding of pixels that features are means of; None for all other features."""
        return self.extractor if isinstance(self.extractor, PixelEmbedding) else None

    @property
    def reads_pixels(self) -> bool:
        """Whether it hashes tiles; otherwise it takes only vectors that were computed elsewhere."""
        return self.embedding is None or self.embedding.reads_pixels

    @property
    def network(self) -> Extractor:
        """The extractor, if it has a network.

        Raises:
            HasherError: If the features come from an embedding.
        """
        if isinstance(self.extractor, Extractor):
            return self.extractor
        msg = f"{self.name} hashes vectors of {self.extractor}, so it has no network."
        raise HasherError(msg)

    @property
    def backbone(self) -> Backbone:
        """The extractor's backbone; see `network`."""
        return self.network.backbone

    @property
    def scaling(self) -> Scaling:
        """The extractor's scaling; see `network`."""
        return self.network.scaling

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, in the order of the channels."""
        return tuple(self.extractor.bands)

    @property
    def tile_size(self) -> int:
        """Side of the tiles for which this hasher was made, in px of their scene."""
        return self.extractor.tile_size

    @property
    def input_size(self) -> int:
        """Side of the network's input, px."""
        return self.extractor.input_size

    @property
    def resolution(self) -> float | None:
        """Ground size of a pixel in metres to which archives resample scenes, or None for any."""
        return self.extractor.resolution

    @property
    def values(self) -> tuple[Values, ...]:
        """The values that tiles may have, as in `Extractor.made_for`."""
        return self.extractor.made_for

    @property
    def device(self) -> torch.device:
        """Device that runs the networks."""
        return torch.device(self.extractor.device)

    def features(self, tiles: Tensor) -> Tensor:
        """Compute features, as `Extractor.features` does."""
        return self.extractor.features(tiles)

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
        return self.extractor.averages(tiles, views=self.views, head=self.head)

    def codes(self, tiles: Tensor) -> npt.NDArray[np.uint8]:
        """Compute packed codes.

        Args:
            tiles: As in `activations`.

        Returns:
            Codes, uint8, shape (tiles, num_bits / 8), most significant bit first.

        Raises:
            BandMismatchError: As `activations`.
            HasherError: As `activations`.
        """
        return pack_codes(self.activations(tiles).numpy())

    def codes_and_features(
        self, tiles: Tensor
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Compute packed codes and features, with the passes of the network that codes need.

        One more pass is needed if the identity is not one of the hasher's views.

        Args:
            tiles: As in `activations`.

        Returns:
            Codes, the same as `codes` returns, and features of the tiles as they are, float32,
            shape (tiles, num_features).

        Raises:
            BandMismatchError: As `activations`.
            HasherError: As `activations`.
        """
        found = self.extractor.averages_and_features(tiles, views=self.views, head=self.head)
        return pack_codes(found[0].numpy()), found[1].numpy()

    def activations_of(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Compute hashing activations of features that were computed before.

        Args:
            vectors: Feature vectors, float, shape (n, num_features).

        Returns:
            Activations in [0, 1], float32, shape (n, num_bits).

        Raises:
            VectorError: If vectors have another shape or type, or are zero, NaN or infinite.
        """
        found = check_features(vectors, length=self.num_features)
        outputs = [np.empty((0, self.num_bits), np.float32)]
        with torch.inference_mode():
            for start in range(0, len(found), ROWS):
                part = np.ascontiguousarray(found[start : start + ROWS], dtype=np.float32)
                outputs.append(self.head(torch.from_numpy(part).to(self.device)).cpu().numpy())
        return np.concatenate(outputs)

    def codes_of(self, vectors: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Compute packed codes of features that were computed before.

        Args:
            vectors: As in `activations_of`.

        Returns:
            Codes, uint8, shape (n, num_bits / 8), most significant bit first.

        Raises:
            VectorError: As `activations_of`.
        """
        return pack_codes(self.activations_of(vectors))

    def accelerate(self) -> "Hasher":
        """Trace the backbone, as `Extractor.accelerate` does, and return this hasher."""
        self.extractor.accelerate()
        return self

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, hex, of all weights and of the settings on which codes depend."""
        settings = {k: v for k, v in self.description.items() if k not in {"name", "notes"}}
        if "backbone" in settings:
            settings["backbone"] = {k: v for k, v in settings["backbone"].items() if k != "weights"}
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def description(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        return {
            "name": self.name,
            "num_bits": self.num_bits,
            "views": list(self.views),
            **self.extractor.description,
            "head": {"kind": self.head.kind, **self.head.settings},
            "notes": self.notes,
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return all weights by name, those of `Extractor.tensors` and ``head.``, on the CPU."""
        head = self.head.state_dict().items()
        return self.extractor.tensors() | {
            f"head.{name}": tensor.detach().cpu() for name, tensor in head
        }

    def to_bytes(self, *, embed_backbone: bool | None = None) -> bytes:
        """Return the bytes of a hasher file.

        Args:
            embed_backbone: Whether to include the backbone's weights. Default: only if they are not
                those of the package that is installed with this one.

        Returns:
            A safetensors file whose metadata holds the description as JSON.

        Raises:
            HasherError: If it is larger than a file may ask for.
        """
        check_description(self.description)  # or the file could not be read
        if embed_backbone is None:
            embed_backbone = self.embedding is None and self.backbone.weights != LITE0_WEIGHTS
        return HasherContent(
            description=self.description,
            fingerprint=self.fingerprint,
            embedded=embed_backbone,
            tensors=self.tensors(),
        ).to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes, *, device: str | torch.device = "cpu") -> "Hasher":
        """Read a hasher from the bytes of its file.

        Args:
            data: Result of `to_bytes`.
            device: Device that runs the networks.

        Returns:
            The hasher.

        Raises:
            HasherError: If the bytes are not a hasher file, the weights have changed since, or
                PyTorch cannot use the device.
        """
        check_device(device)
        try:
            file = HasherContent.from_bytes(data)
            hasher = cls._rebuild(file, device=device)
            if hasher.fingerprint != file.fingerprint and not file.embedded:
                # version 0.1.0 repeated the filters of three colours, whatever bands were named
                hasher = cls._rebuild(file, device=device, named=False)
        except HasherError:
            raise
        except DAMAGE as error:
            msg = f"the hasher file is damaged ({type(error).__name__}: {error}); get it again."
            raise HasherError(msg) from error
        if hasher.fingerprint != file.fingerprint:
            msg = (
                f"the weights of hasher {hasher.name} have fingerprint {hasher.fingerprint[:12]}, "
                f"but it was saved with {file.fingerprint[:12]}; the file was changed, or the "
                f"installed {LITE0_WEIGHTS} is another version."
            )
            raise HasherError(msg)
        return hasher

    @classmethod
    def _rebuild(
        cls, file: HasherContent, *, device: str | torch.device, named: bool = True
    ) -> "Hasher":
        about = file.description
        check_description(about)
        shown = {name: about[name] for name in ("views", "name", "notes")}
        if "embedding" in about:
            kind = PixelEmbedding if "pixels" in about else Embedding
            return cls(kind.from_description(about, device=device), _head(file), **shown)
        weights = file.part("backbone.") if file.embedded else {}
        names = ("bands", "tile_size", "input_size", "resolution")
        bands = about["bands"]
        backbone = rebuild_backbone(
            about["backbone"], weights, in_chans=len(bands), bands=bands if named else ()
        )
        scaling = Scaling.from_dict(about["scaling"])
        in_int8 = about["backbone"].get("precision") == "int8"
        if not in_int8:  # what its weights expect, which another fit needs; in int8 it is timm's
            backbone.mean, backbone.std = scaling.mean, scaling.std
            backbone.raw_input = not scaling.clip
        extractor = Extractor(
            backbone,
            calibration=file.part("int8.") if in_int8 else None,
            scaling=scaling,
            device=device,
            values=[Values.from_dict(values) for values in about.get("values", ())],
            **{name: about[name] for name in names},
        )
        return cls(extractor, _head(file), **shown)

    def save(self, path: str | os.PathLike[str], *, embed_backbone: bool | None = None) -> None:
        """Write the hasher to one ``.safetensors`` file; an interrupted write changes nothing.

        Args:
            path: File to write; its folder must exist.
            embed_backbone: As in `to_bytes`.
        """
        data = self.to_bytes(embed_backbone=embed_backbone)
        with replacing(Path(path)) as draft:
            draft.write_bytes(data)
