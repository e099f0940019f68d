"""The embedding that vectors come from, which takes the extractor's place in a hasher."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, NoReturn, Self

import torch
from torch import Tensor

from geohash_rs.errors import HasherError, HasherMismatchError
from geohash_rs.hashing.description import name_of_embedding
from geohash_rs.hashing.network.heads import Head
from geohash_rs.scenes.values import Values

__all__ = ["Embedding"]


@dataclass(frozen=True, eq=False)
class Embedding:
    """What says which vectors can be compared: those of one model, version and variant.

    Somebody else computed the vectors, so a hasher made with an embedding reads no pixels.

    Attributes:
        model: Name of the model, such as "clay-v1.5"; "" if nobody said.
        dimensions: Numbers of a vector.
        version: Version of the model or of the product, or "".
        variant: Variant, such as that of another sensor, or "".
        device: Device that runs the head.
    """

    model: str
    dimensions: int
    _: KW_ONLY
    version: str = ""
    variant: str = ""
    device: str | torch.device = "cpu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "device", torch.device(self.device))

    def __str__(self) -> str:
        return name_of_embedding(self.description["embedding"])

    @property
    def reads_pixels(self) -> bool:
        """Whether it computes features of pixels."""
        return False

    @property
    def num_features(self) -> int:
        """Numbers of a vector."""
        return self.dimensions

    @property
    def bands(self) -> Sequence[str]:
        """Names of the bands from which features are computed: none."""
        return ()

    @property
    def tile_size(self) -> int:
        """Side of a tile, px: no pixels are read, so any."""
        return 1

    @property
    def input_size(self) -> int:
        """Side of the network's input, px: no network is used."""
        return self.tile_size

    @property
    def resolution(self) -> float | None:
        """Ground size of a pixel, m, to which scenes are resampled: none."""
        return None

    @property
    def made_for(self) -> tuple[Values, ...]:
        """The values that pixels may have: none are read."""
        return ()

    @property
    def description(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        return {
            "bands": list(self.bands),
            "tile_size": self.tile_size,
            "input_size": self.input_size,
            "resolution": self.resolution,
            "embedding": {
                "model": self.model,
                "dimensions": self.dimensions,
                "version": self.version,
                "variant": self.variant,
            },
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], *, device: str | torch.device) -> Self:
        """Make the embedding that a hasher's description names."""
        return cls(**about["embedding"], device=device)

    def tensors(self) -> dict[str, Tensor]:
        """Return the weights that features are computed with: none."""
        return {}

    def equals(self, other: object) -> bool:
        """Return whether another extractor makes the same features."""
        return isinstance(other, Embedding) and self.description == other.description

    def fits(self, other: "Embedding") -> bool:
        """Return whether vectors of another embedding can be compared with those of this one.

        What one of the two does not say is taken to be the same.
        """
        named = [(getattr(self, name), getattr(other, name)) for name in NAMES]
        same = all(mine == theirs or not mine or not theirs for mine, theirs in named)
        return same and self.dimensions == other.dimensions

    def check_fits(self, other: "Embedding", *, what: str) -> None:
        """Check that vectors can be compared with those of this embedding.

        Args:
            other: Their embedding.
            what: What they are, for the message, such as "the vectors of clay.parquet".

        Raises:
            HasherMismatchError: If they cannot.
        """
        if not self.fits(other):
            msg = (
                f"{what} come from {other}, but the archive's from {self}; vectors of different "
                "models, versions or variants cannot be compared. Use another archive."
            )
            raise HasherMismatchError(msg)

    def accelerate(self) -> Self:
        """Do nothing, as no network is used."""
        return self

    def features(self, tiles: Tensor) -> Tensor:
        """Refuse: the vectors were computed elsewhere.

        Raises:
            HasherError: Always.
        """
        self.refuse_pixels()

    def averages(self, tiles: Tensor, *, views: Sequence[str], head: Head | None = None) -> Tensor:
        """Refuse, as `features` does.

        Raises:
            HasherError: Always.
        """
        self.refuse_pixels()

    def averages_and_features(
        self, tiles: Tensor, *, views: Sequence[str], head: Head
    ) -> tuple[Tensor, Tensor]:
        """Refuse, as `features` does.

        Raises:
            HasherError: Always.
        """
        self.refuse_pixels()

    def refuse_pixels(self) -> NoReturn:
        """Refuse to hash pixels, and state why.

        Raises:
            HasherError: Always.
        """
        msg = (
            f"the codes were made from vectors of {self}, so pixels cannot be hashed; search with "
            "vector=, tile= or point=, or pass extractor= with the network that made the vectors."
        )
        raise HasherError(msg)


NAMES = ("model", "version", "variant")
