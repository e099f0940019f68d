"""Hashers, given by name, that are fitted on the first imagery of an archive."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from geohash_rs.errors import HasherError
from geohash_rs.hashing.description import describe_hasher
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.extractor import Extractor, fitted_values
from geohash_rs.hashing.fit.backbone_choice import AT, BackboneChoice
from geohash_rs.hashing.fit.embeddings import fit_embedding
from geohash_rs.hashing.fit.general import GENERAL_STAGES
from geohash_rs.hashing.fit.training_free import (
    METHODS,
    OF_VECTORS,
    SensorTiles,
    fit_hasher,
    fit_head,
    is_training_free,
    parse_training_free,
    peek,
)
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.input_size import choose_input_size
from geohash_rs.hashing.network.lite0 import LITE0, LITE0_WEIGHTS
from geohash_rs.hashing.network.scaling_choice import make_scaling
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.hashing.shipped import load_hasher, shipped_hashers
from geohash_rs.scenes.values import Values

__all__ = [
    "Unfitted",
    "adapt_hasher",
    "fit_again",
    "fit_to_kept",
    "keep_backbone",
    "method_of",
    "shares_features",
    "with_backbone",
]


@dataclass(frozen=True, kw_only=True)
class Unfitted:
    """A hasher, given by name, that has not been fitted yet.

    Attributes:
        name: Such as "general-64", "itq-128@resnet50", or the shipped "general-rgb-128".
        num_bits: Bits per code.
        bands: Bands that it expects; None takes those of the tiles.
        backbone: Its backbone, if one was chosen.
        own: A fitted hasher whose backbone it takes.
        is_shipped: Whether a hasher of this name comes with the package, to be adapted.
    """

    name: str
    num_bits: int
    bands: tuple[str, ...] | None = None
    backbone: BackboneChoice | None = None
    own: Hasher | None = None
    is_shipped: bool = False

    @property
    def reads_pixels(self) -> bool:
        """Whether it cannot be fitted on vectors that were computed elsewhere."""
        return self.is_shipped or self.backbone is not None

    @property
    def pending(self) -> str:
        """The name by which an archive remembers it, with all that is needed to fit it."""
        if self.backbone is None or self.backbone.is_default:
            return self.name
        return f"{self.name.partition(AT)[0]}{AT}{self.backbone}"

    @property
    def method(self) -> str:
        """The method by which it is fitted, as for `fit_hasher`."""
        return "general" if self.is_shipped else self.name.partition("-")[0]

    @classmethod
    def find(cls, name: object) -> "Unfitted | None":
        """Look up a name.

        Args:
            name: A name, such as `with_backbone` makes; other objects are never found.

        Returns:
            The hasher to fit, or None if the name is unknown, or is that of a file or of a shipped
            hasher that needs no fitting.

        Raises:
            HasherNotFoundError: If the name starts with a method but is not METHOD-BITS.
            HasherError: If its backbone is one of weights that TorchGeo does not have.
            CodeLengthError: If codes of this length cannot be packed.
        """
        if not isinstance(name, str) or Path(name).is_file():
            return None
        if (shipped := shipped_hashers().get(name)) is not None:
            about = describe_hasher(shipped)
            if not about["notes"].get("adapts"):
                return None
            bands = tuple(about["bands"])
            return cls(name=name, num_bits=about["num_bits"], bands=bands, is_shipped=True)
        if name.partition("-")[0] not in OF_VECTORS:
            return None
        plain, named, rest = name.partition(AT)
        num_bits = parse_training_free(plain)[1]
        if not named:
            return cls(name=name, num_bits=num_bits)
        choice = BackboneChoice.parse(rest)
        title = plain if choice.is_default else f"{plain}{AT}{choice.title}"
        return cls(name=title, num_bits=num_bits, bands=choice.bands, backbone=choice)

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
            HasherError: If there are too few tiles, or the weights of its backbone are gone, have
                changed, or cannot be downloaded.
            BandMismatchError: If the tiles have other bands.
        """
        if embedding is not None:
            return self._fit_pixels(tiles, embedding, tile_size=tile_size, device=device)
        if self.own is not None:
            return fit_again(
                self.own,
                tiles,
                values=values,
                tile_size=tile_size,
                accelerate=accelerate,
                unfitted=self,
            )
        if self.is_shipped:
            shipped = load_hasher(self.name, device=device)
            return adapt_hasher(
                shipped, tiles, values=values, tile_size=tile_size, accelerate=accelerate
            )
        chosen = {} if self.backbone is None else self.backbone.settings()
        return fit_hasher(
            tiles,
            num_bits=self.num_bits,
            method=self.method,
            name=self.name,
            **chosen,
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
        if self.reads_pixels:
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


def with_backbone(name: str, choice: BackboneChoice) -> str:
    """Name a hasher that is to be fitted with a chosen backbone.

    Args:
        name: A method and bits, such as "general-64".
        choice: The backbone.

    Returns:
        Such as "general-64@resnet50".

    Raises:
        HasherError: If a hasher of that name takes no backbone.
    """
    known = Unfitted.find(name)
    if known is None or known.reads_pixels or known.method not in METHODS:
        msg = (
            f"the hasher {name} does not take another backbone; choose one for general-BITS, "
            "itq-BITS or lsh-BITS, such as general-64."
        )
        raise HasherError(msg)
    return f"{name}{AT}{choice}"


def keep_backbone(unfitted: Unfitted, own: Hasher | None, *, always: bool = False) -> Unfitted:
    """Keep the backbone that was chosen for an archive in a hasher that is to be fitted.

    Args:
        unfitted: The hasher to fit.
        own: The archive's hasher, or None.
        always: Whether it keeps the default backbone too, with its layers, as it must if the
            archive keeps features.

    Returns:
        The hasher to fit, with the backbone of the other one; the same if it names a backbone, or
        the other one was trained or, unless `always`, has the default backbone.
    """
    if own is None or own.embedding is not None or unfitted.reads_pixels:
        return unfitted
    chosen = not _is_usual(own.backbone) and not own.notes.get("adapts")
    if not (chosen or always) or not is_training_free(own.name, own.notes):
        return unfitted
    _, named, backbone = own.name.partition(AT)
    if _is_usual(own.backbone):
        usual = tuple(own.backbone.stages) == _usual_stages(unfitted)
        choice = BackboneChoice(model=LITE0, stages=tuple(own.backbone.stages))
        named, backbone = ("", "") if usual else (AT, choice.title)
    return replace(unfitted, name=f"{unfitted.name}{named}{backbone}", bands=own.bands, own=own)


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
    unfitted: Unfitted | None = None,
    seed: int = 0,
) -> Hasher:
    """Fit a hasher that needs no labels again, with the same backbone and bands.

    Args:
        hasher: A hasher that `Unfitted.fit` or `fit_hasher` made; not changed.
        tiles: Batches of raw tiles, as in `fit_hasher`.
        values: As in `fit_hasher`.
        tile_size: Side of a tile, px; None uses that of the first tile.
        accelerate: Whether to trace the backbone first.
        unfitted: Another name, method and number of bits for the hasher.
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
    method, named = method_of(hasher), unfitted or hasher
    if unfitted is not None:
        method = unfitted.method
    sample, batches = peek(tiles)
    extractor = _scaled(hasher.network, sample, values=values, tile_size=tile_size)
    if accelerate:
        extractor.accelerate()
    head, notes = fit_head(extractor, batches, method=method, num_bits=named.num_bits, seed=seed)
    return replace(
        hasher,
        extractor=extractor,
        head=head,
        name=named.name,
        notes={**hasher.notes, **notes},
    )


def _scaled(
    extractor: Extractor, sample: Tensor, *, values: Sequence[Values], tile_size: int | None
) -> Extractor:
    """Return an extractor for the range of values, and the size, of some raw tiles."""
    scaling = make_scaling(extractor.backbone, None, sample=sample, values=values)
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
            sensor, as far as there are tiles of it.
        unfitted: Another name, method and number of bits for the hasher; `shares_features` holds
            for it.
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
        method=unfitted.method if unfitted is not None else method_of(hasher),
        num_bits=named.num_bits,
        seed=seed,
        kept=kept,
    )
    shipped = hasher.notes.get("adapts") and named.name != hasher.name  # its notes are of its head
    notes = notes if shipped else {**hasher.notes, **notes}
    return replace(hasher, head=head, name=named.name, notes=notes)


def shares_features(hasher: Hasher, unfitted: Unfitted) -> bool:
    """Return whether a hasher to be fitted needs the features that another one computes.

    Args:
        hasher: A hasher.
        unfitted: The one to be fitted.

    Returns:
        Whether both are fitted without labels and with the same backbone; or on vectors of an
        embedding.
    """
    if hasher.embedding is not None:
        return not unfitted.reads_pixels
    if unfitted.own is not None:
        return unfitted.own is hasher
    if unfitted.is_shipped or hasher.notes.get("adapts"):
        return unfitted.name == hasher.name
    chosen = unfitted.backbone is not None and not unfitted.backbone.is_default
    if chosen or not is_training_free(hasher.name, hasher.notes):
        return False
    stages = tuple(hasher.backbone.stages)
    return _is_usual(hasher.backbone) and stages == _usual_stages(unfitted)


def _usual_stages(unfitted: Unfitted) -> tuple[str, ...]:
    """Return the stages of the default network that a hasher has which names no backbone."""
    return GENERAL_STAGES if unfitted.method == "general" else ()


def _is_usual(backbone: Backbone) -> bool:
    """Return whether a network is the default one, with its own weights."""
    return backbone.model_name == LITE0 and backbone.weights == LITE0_WEIGHTS


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
