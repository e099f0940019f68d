"""Hashers, given by name, that are fitted on the first imagery of an archive."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.extractor import Extractor, fitted_values
from geohash_rs.hashing.files import describe_hasher
from geohash_rs.hashing.fit.embeddings import fit_embedding
from geohash_rs.hashing.fit.general import GENERAL_STAGES
from geohash_rs.hashing.fit.training_free import (
    OF_VECTORS,
    SensorTiles,
    fit_hasher,
    fit_head,
    is_training_free,
    parse_training_free,
    peek,
)
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.input_size import choose_input_size
from geohash_rs.hashing.network.lite0 import LITE0, LITE0_WEIGHTS
from geohash_rs.hashing.network.scaling import make_scaling, range_of
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.hashing.shipped import load_hasher, shipped_hashers
from geohash_rs.scenes.values import Values

__all__ = [
    "Unfitted",
    "adapt_hasher",
    "fit_again",
    "fit_to_kept",
    "method_of",
    "shares_features",
]


@dataclass(frozen=True, kw_only=True)
class Unfitted:
    """A hasher, given by name, that has not been fitted yet.

    Attributes:
        name: Such as "general-64" or "itq-128", or the shipped "general-rgb-128".
        num_bits: Bits per code.
        bands: Bands that it expects; None takes those of the tiles.
    """

    name: str
    num_bits: int
    bands: tuple[str, ...] | None = None

    @classmethod
    def find(cls, name: object) -> "Unfitted | None":
        """Look up a name.

        Args:
            name: A name; other objects are never found.

        Returns:
            The hasher to fit, or None if the name is unknown, or is that of a file or of a shipped
            hasher that needs no fitting.

        Raises:
            HasherNotFoundError: If the name starts with a method but is not METHOD-BITS.
            CodeLengthError: If codes of this length cannot be packed.
        """
        if not isinstance(name, str) or Path(name).is_file():
            return None
        if (shipped := shipped_hashers().get(name)) is not None:
            about = describe_hasher(shipped)
            if not about["notes"].get("adapts"):
                return None
            return cls(name=name, num_bits=about["num_bits"], bands=tuple(about["bands"]))
        if name.partition("-")[0] not in OF_VECTORS:
            return None
        return cls(name=name, num_bits=parse_training_free(name)[1])

    def fit(
        self,
        tiles: Iterable[Tensor | SensorTiles],
        *,
        bands: Sequence[str] | None = None,
        values: Sequence[Values] = (),
        tile_size: int | None = None,
        device: str | torch.device = "cpu",
        accelerate: bool = False,
        embedding: PixelEmbedding | None = None,
    ) -> Hasher:
        """Fit the hasher; arguments are those of `fit_hasher`, and the embedding of the pixels.

        Raises:
            HasherError: If there are too few tiles.
            BandMismatchError: If the tiles have other bands.
        """
        if embedding is not None:
            return self._fit_pixels(tiles, embedding, tile_size=tile_size, device=device)
        if self.bands is not None:
            shipped = load_hasher(self.name, device=device)
            return adapt_hasher(
                shipped, tiles, values=values, tile_size=tile_size, accelerate=accelerate
            )
        method, num_bits = parse_training_free(self.name)
        return fit_hasher(
            tiles,
            num_bits=num_bits,
            method=method,
            bands=bands,
            values=values,
            tile_size=tile_size,
            device=device,
            accelerate=accelerate,
        )

    def check_takes(self, embedding: Embedding) -> None:
        """Check that the hasher can be fitted on vectors of an embedding.

        Args:
            embedding: The embedding.

        Raises:
            HasherError: If it is a hasher of pictures.
        """
        if self.bands is not None:
            msg = (
                f"{self.name} is a hasher of pictures, but the pixels are vectors of {embedding}; "
                "use general-BITS."
            )
            raise HasherError(msg)

    def _fit_pixels(
        self,
        tiles: Iterable[Tensor | SensorTiles],
        embedding: PixelEmbedding,
        *,
        tile_size: int | None,
        device: str | torch.device,
    ) -> Hasher:
        """Fit the hasher on means of an embedding's pixels, without a network.

        Raises:
            HasherError: If there are too few tiles, or the hasher is one of pictures.
        """
        self.check_takes(embedding)
        method, num_bits = parse_training_free(self.name)
        batches = (one[0] if isinstance(one, tuple) else one for one in tiles)
        none = torch.empty(0, embedding.num_features)
        vectors = torch.cat([none, *map(embedding.features, batches)])
        made = replace(embedding, tile_size=tile_size or embedding.tile_size, device=device)
        return fit_embedding(
            vectors.numpy(), embedding=made, method=method, num_bits=num_bits, name=self.name
        )


def adapt_hasher(
    hasher: Hasher,
    tiles: Iterable[Tensor | SensorTiles],
    *,
    values: Sequence[Values] = (),
    tile_size: int | None = None,
    accelerate: bool = False,
    seed: int = 0,
) -> Hasher:
    """Refit the head of a general hasher on unlabelled tiles, its range of values and input size.

    Args:
        hasher: A general hasher; not changed.
        tiles: Batches of raw tiles, as in `fit_hasher`. If the sample has fewer tiles than the
            hasher has bits, its head is kept.
        values: As in `fit_hasher`.
        tile_size: Side of a tile, px; None uses that of the first tile.
        accelerate: Whether to trace the backbone first.
        seed: Seed of ITQ's initial rotation.

    Returns:
        A hasher adapted to these tiles; its codes cannot be compared with the original's.

    Raises:
        HasherError: If there are no tiles, or a feature is not finite.
        BandMismatchError: If the tiles have other bands.
    """
    sample, batches = peek(tiles)
    extractor = _scaled(hasher.network, sample, values=values, tile_size=tile_size)
    if len(sample) < hasher.num_bits:
        return replace(hasher, extractor=extractor)
    side = choose_input_size(extractor.backbone, tile_size=extractor.tile_size)
    extractor = replace(extractor, input_size=side)
    if accelerate:
        extractor.accelerate()
    head, notes = fit_head(
        extractor, batches, method="general", num_bits=hasher.num_bits, seed=seed
    )
    return replace(hasher, extractor=extractor, head=head, notes={**hasher.notes, **notes})


def fit_again(
    hasher: Hasher,
    tiles: Iterable[Tensor | SensorTiles],
    *,
    values: Sequence[Values] = (),
    tile_size: int | None = None,
    accelerate: bool = False,
    seed: int = 0,
) -> Hasher:
    """Fit a hasher that needs no labels again, with the same backbone, bands and number of bits.

    Args:
        hasher: A hasher that `Unfitted.fit` or `fit_hasher` made; not changed.
        tiles: Batches of raw tiles, as in `fit_hasher`.
        values: As in `fit_hasher`.
        tile_size: Side of a tile, px; None uses that of the first tile.
        accelerate: Whether to trace the backbone first.
        seed: Seed of the rotation or the hyperplanes.

    Returns:
        The hasher fitted on these tiles; its codes cannot be compared with the former one's.

    Raises:
        HasherError: If it was trained, so that unlabelled tiles are not enough, or there are too
            few tiles.
        BandMismatchError: If the tiles have other bands.
    """
    if hasher.notes.get("adapts"):
        return adapt_hasher(
            hasher, tiles, values=values, tile_size=tile_size, accelerate=accelerate, seed=seed
        )
    method = method_of(hasher)
    sample, batches = peek(tiles)
    extractor = _scaled(hasher.network, sample, values=values, tile_size=tile_size)
    if accelerate:
        extractor.accelerate()
    head, notes = fit_head(extractor, batches, method=method, num_bits=hasher.num_bits, seed=seed)
    return replace(hasher, extractor=extractor, head=head, notes={**hasher.notes, **notes})


def _scaled(
    extractor: Extractor, sample: Tensor, *, values: Sequence[Values], tile_size: int | None
) -> Extractor:
    """Return an extractor for the range of values, and the size, of some raw tiles."""
    scaling = make_scaling(extractor.backbone, range_of(values), sample=sample)
    return replace(
        extractor,
        scaling=scaling,
        values=fitted_values(values, scaling, sample=sample),
        tile_size=tile_size or int(sample.shape[-2]),
    )


def fit_to_kept(
    hasher: Hasher,
    kept: Mapping[str, Tensor],
    tiles: Iterable[SensorTiles],
    *,
    unfitted: Unfitted | None = None,
    seed: int = 0,
) -> Hasher:
    """Fit a hasher that needs no labels again, on features that it computed before.

    Unlike `fit_again`, this keeps how pixel values are scaled, on which the features depend.

    Args:
        hasher: As in `fit_again`.
        kept: Features of each sensor's tiles, float32, shape (tiles, num_features).
        tiles: Batches of raw tiles and the sensor of each; "general" compares views of some of each
            sensor.
        unfitted: Another name and number of bits for the hasher; `shares_features` holds for it.
        seed: As in `fit_again`.

    Returns:
        The hasher with another head.

    Raises:
        HasherError: As in `fit_again`.
    """
    named = unfitted or hasher
    if hasher.embedding is not None:
        return fit_embedding(
            torch.cat(list(kept.values())).numpy(),
            embedding=hasher.embedding,
            method=parse_training_free(named.name)[0],
            num_bits=named.num_bits,
            seed=seed,
        )
    head, notes = fit_head(
        hasher.network,
        tiles,
        method=method_of(hasher),
        num_bits=named.num_bits,
        seed=seed,
        kept=kept,
    )
    return replace(hasher, head=head, name=named.name, notes={**hasher.notes, **notes})


def shares_features(hasher: Hasher, unfitted: Unfitted) -> bool:
    """Return whether a hasher to be fitted needs the features that another one computes.

    Args:
        hasher: A hasher.
        unfitted: The one to be fitted.

    Returns:
        Whether both are fitted without labels, by one method and with the same backbone; or on
        vectors of an embedding.
    """
    if hasher.embedding is not None:
        return unfitted.bands is None
    if unfitted.bands is not None or hasher.notes.get("adapts"):
        return unfitted.name == hasher.name
    if not is_training_free(hasher.name, hasher.notes):
        return False
    method, backbone = method_of(hasher), hasher.backbone
    usual = backbone.model_name == LITE0 and backbone.weights == LITE0_WEIGHTS
    stages = GENERAL_STAGES if method == "general" else ()
    same = usual and tuple(backbone.stages) == stages
    return same and parse_training_free(unfitted.name)[0] == method


def method_of(hasher: Hasher) -> str:
    """Return the method by which a hasher was fitted without labels.

    Args:
        hasher: The hasher.

    Returns:
        As for `fit_hasher`.

    Raises:
        HasherError: If it was trained.
    """
    if not is_training_free(hasher.name, hasher.notes):
        msg = (
            f"the hasher {hasher.name} was trained, so it cannot be fitted again on unlabelled "
            "tiles; name a hasher, such as general-64, or a hasher file."
        )
        raise HasherError(msg)
    return "general" if hasher.notes.get("adapts") else hasher.name.partition("-")[0]
