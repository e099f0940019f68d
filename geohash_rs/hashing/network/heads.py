"""Networks that turn feature vectors into hashing activations in [0, 1], one per bit."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from geohash_rs.codes import check_num_bits
from geohash_rs.errors import HasherError
from geohash_rs.hashing.network.rotations import random_rotation, rotate

__all__ = [
    "ClassifierHead",
    "GroupedHead",
    "Head",
    "KernelHead",
    "LinearHead",
    "MiLaN",
    "make_head",
    "precise",
]

MOST_ROWS = 2**14  # to compute components from, or four times the features if these are more
LEAST_VARIANCE = 1e-4  # of a component, as a share of the largest: smaller ones are rounding


class Head(nn.Module):
    """Base class of heads; subclasses add layers and are looked up by `kind`.

    Input are features, float, shape (tiles, num_features); output are activations, shape (tiles,
    num_bits). A head's `settings` are JSON keyword arguments that make one of the same shape, so a
    hasher file can store it as settings and tensors, without code.

    Attributes:
        kind: Name of this kind of head in a hasher's description.
        num_features: Length of the input feature vectors.
        num_bits: Number of output activations.
    """

    kind: str = ""

    def __init__(self, num_features: int, num_bits: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.num_bits = check_num_bits(num_bits)
        self.register_buffer("shift", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(num_features))

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments, JSON values, that make a head of the same shape."""
        return {"num_features": self.num_features, "num_bits": self.num_bits}

    def standardise(self, features: Tensor) -> None:
        """Set the shift and scale that bring these features to mean 0 and deviation 1.

        Args:
            features: Training features, float, shape (tiles, num_features).

        Raises:
            HasherError: If they have another shape, are none, or are not finite.
        """
        if features.ndim != 2 or features.shape[1] != self.num_features:
            views = features.ndim == 3 and features.shape[2] == self.num_features
            msg = (
                f"features have shape {tuple(features.shape)} but the head is standardised on "
                f"(tiles, {self.num_features}); "
                + ("pass features.flatten(0, 1)." if views else "use those of its extractor.")
            )
            raise HasherError(msg)
        bad = int((~torch.isfinite(features)).any(1).sum())
        if bad or not len(features):
            msg = (
                f"{bad} of {len(features)} rows of features are NaN or infinite; pass those of one "
                "tile or more, without these."
            )
            raise HasherError(msg)
        shift, scale = self.get_buffer("shift"), self.get_buffer("scale")
        shift.copy_(features.mean(0))
        scale.copy_(1 / features.std(0, correction=0).clamp_min(1e-6))

    def round_weights(self) -> None:
        """Round the layers' weights to half precision, which halves the size of the hasher file.

        Shift and scale are kept: for raw features they may exceed the range of half precision.
        """
        with torch.no_grad():
            for name, tensor in self.state_dict().items():
                if name not in {"shift", "scale"}:
                    tensor.copy_(tensor.half().float())

    def prepare(self, features: Tensor) -> Tensor:
        """Shift and scale features before the first layer."""
        return (features - self.get_buffer("shift")) * self.get_buffer("scale")


class MiLaN(Head):
    """The hashing head of MiLaN: features - 1024 - 512 - bits, LeakyReLU, then a sigmoid.

    Args:
        num_features: Length of the feature vectors.
        num_bits: Bits per code.
        hidden: Widths of the hidden layers.
        dropout: Share of hidden units to drop in training.
        components: Number of principal components, or 0 to use the features.
        noise: Standard deviation of the noise added in training.
        whitening: How far `standardise` evens out the variances of the components, from 0, not at
            all, to 1, all the same.
        itq: Weight of a fixed projection, that of ITQ, which is added to the output of the layers
            before the sigmoid; 0 for none.

    Raises:
        HasherError: If `itq` is used without `components`.

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258, section II; ITQ as in `itq_head`
    """

    kind = "milan"

    def __init__(
        self,
        num_features: int,
        num_bits: int,
        *,
        hidden: tuple[int, ...] = (1024, 512),
        dropout: float = 0.0,
        components: int = 0,
        noise: float = 0.0,
        whitening: float = 0.0,
        itq: float = 0.0,
    ) -> None:
        super().__init__(num_features, num_bits)
        if itq and not components:
            msg = f"itq={itq} rotates components, but components=0; use components=384, or itq=0."
            raise HasherError(msg)
        self.components = components
        self.noise = noise
        self.whitening = whitening
        self.itq = itq
        if components:
            self.register_buffer("axes", torch.eye(num_features, components))
        if itq:  # the first components, as far as there are bits
            self.register_buffer("projection", torch.zeros(min(components, num_bits), num_bits))
        self.hidden = tuple(hidden)
        self.dropout = dropout
        layers: list[nn.Module] = []
        width = components or num_features
        for size in self.hidden:
            layers += [nn.Linear(width, size), nn.LeakyReLU(0.2)]
            layers += [nn.Dropout(dropout)] if dropout else []
            width = size
        self.layers = nn.Sequential(*layers)
        self.bits = nn.Linear(width, num_bits)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of every head, plus those of this kind."""
        own = {"hidden": list(self.hidden), "dropout": self.dropout, "components": self.components}
        return super().settings | own | ({"itq": self.itq} if self.itq else {})

    @property
    def ready(self) -> bool:
        """Whether its principal components, if it uses some, have been computed."""
        axes = self.get_buffer("axes") if self.components else None
        return axes is None or not torch.equal(axes, torch.eye(*axes.shape, device=axes.device))

    def standardise(self, features: Tensor) -> None:
        """Set shift and scale from these features, their principal components and ITQ's rotation.

        Args:
            features: Training features, float, shape (tiles, num_features).

        Raises:
            HasherError: If they have another shape, are none, or are not finite.
        """
        super().standardise(features)
        if not self.components:
            return
        most = max(MOST_ROWS, 4 * features.shape[1])
        step = len(features) // most | 1  # odd, so that it does not meet the same view each time
        prepared = super().prepare(features[::step]).double()
        values, vectors = _principal(prepared, most=self.components)
        vectors = vectors.double()
        values = values.clamp_min(max(float(values[0]) * LEAST_VARIANCE, 1e-12))
        # without whitening, one common scale keeps the relative variances; their mean becomes one
        scales = values ** (-self.whitening / 2)
        deviation = (values * scales.square()).mean().sqrt()
        self.get_buffer("axes").copy_((vectors * (scales / deviation)).float())
        if self.itq:
            count = min(self.components, self.num_bits)
            projected = prepared @ vectors[:, :count]
            start = random_rotation(self.num_bits, torch.Generator().manual_seed(0))
            rotation = rotate(projected, start[:count].to(projected))
            weight = self.itq / (projected @ rotation).square().mean().sqrt().clamp_min(1e-6)
            unwhitened = (deviation / scales[:count])[:, None] * rotation
            self.get_buffer("projection").copy_((weight * unwhitened).float())

    def prepare(self, features: Tensor) -> Tensor:
        """Shift and scale features, then project them to their principal components."""
        prepared = super().prepare(features)
        return prepared @ self.get_buffer("axes") if self.components else prepared

    def forward(self, features: Tensor) -> Tensor:
        """Compute activations in [0, 1], shape (tiles, num_bits)."""
        return self.activate(self.prepare(features))

    def activate(self, prepared: Tensor) -> Tensor:
        """Compute activations of prepared features."""
        quiet = prepared  # the layers need not learn to undo noise of the projection
        if self.training and self.noise:
            prepared = prepared + self.noise * torch.randn_like(prepared)
        logits = self.bits(self.layers(prepared))
        if self.itq:
            projection = self.get_buffer("projection")
            logits = logits + quiet[:, : len(projection)] @ projection
        return torch.sigmoid(logits)


def _principal(centred: Tensor, *, most: int) -> tuple[Tensor, Tensor]:
    """Compute principal components.

    Args:
        centred: Float64, shape (tiles, features).
        most: How many to compute.

    Returns:
        Variances in falling order, and axes as columns; zeros for what fewer tiles do not have.
    """
    few = len(centred) < centred.shape[1]  # then the products of tiles are the smaller matrix
    square = centred @ centred.T if few else centred.T @ centred
    # in float32 in half the time, and far more precise than features are
    values, vectors = torch.linalg.eigh((square / len(centred)).float())
    values, vectors = values.flip(0)[:most], vectors.flip(1)[:, :most]
    if few:
        real = values > values[0] * 1e-5  # the rest is rounding
        vectors = nn.functional.normalize(centred.T @ vectors.double(), dim=0) * real
        missing = most - len(values)
        values = nn.functional.pad(values, (0, missing))
        vectors = nn.functional.pad(vectors, (0, missing))
    return values, vectors


def precise(features: Tensor) -> Tensor:
    """Return features in float64, if the device has it.

    Processors add in different orders; in float64 that changes no bit.
    """
    return features if features.device.type == "mps" else features.double()


def project(layer: nn.Linear, prepared: Tensor) -> Tensor:
    """Apply a linear layer in the precision of prepared features."""
    return nn.functional.linear(prepared, layer.weight.to(prepared), layer.bias.to(prepared))


class LinearHead(Head):
    """A projection and a threshold: the form of ITQ, random hyperplanes and other linear hashes.

    The activation is ``sigmoid(w . z + b)`` of the prepared feature z, which crosses 0.5 exactly
    where the projection crosses its threshold.

    Args:
        num_features: Length of the feature vectors.
        num_bits: Bits per code.
        unit: Whether features are first normalised to unit length, so that only angles count.
        parts: Lengths of the parts of the feature vector that are normalised separately, such as
            the layers of the backbone that they come from; empty for one part.

    Raises:
        HasherError: If the parts do not make up the feature vector.
    """

    kind = "linear"

    def __init__(
        self, num_features: int, num_bits: int, *, unit: bool = True, parts: Sequence[int] = ()
    ) -> None:
        super().__init__(num_features, num_bits)
        if parts and sum(parts) != num_features:
            msg = f"parts {list(parts)} do not sum to {num_features} features; list every part."
            raise HasherError(msg)
        self.unit = unit
        self.parts = tuple(parts)
        self.projection = nn.Linear(num_features, num_bits)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of every head, plus those of this kind."""
        parts = {"parts": list(self.parts)} if self.parts else {}
        return super().settings | {"unit": self.unit} | parts

    def prepare(self, features: Tensor) -> Tensor:
        """Normalise features, or each part, to unit length if `unit`; then shift and scale."""
        if self.unit:
            parts = torch.split(features, list(self.parts or (features.shape[1],)), dim=1)
            features = torch.cat([nn.functional.normalize(part, dim=1) for part in parts], dim=1)
        return super().prepare(features)

    def forward(self, features: Tensor) -> Tensor:
        """Compute activations in [0, 1], shape (tiles, num_bits)."""
        prepared = self.prepare(precise(features))
        return torch.sigmoid(project(self.projection, prepared)).float()


class GroupedHead(LinearHead):
    """A linear head for each kind of imagery, and a linear classifier that chooses among them.

    No bit depends on what all tiles of a sensor share, such as its sharpness and colours. Which
    sensor a tile is from is found from the tile itself.

    Args:
        num_features: Length of the feature vectors.
        num_bits: Bits per code.
        num_groups: Number of kinds of imagery.
        unit: As in `LinearHead`.
        parts: As in `LinearHead`.
    """

    kind = "grouped"

    def __init__(
        self,
        num_features: int,
        num_bits: int,
        *,
        num_groups: int = 2,
        unit: bool = True,
        parts: Sequence[int] = (),
    ) -> None:
        super().__init__(num_features, num_bits, unit=unit, parts=parts)
        self.num_groups = num_groups
        self.projection = nn.Linear(num_features, num_groups * num_bits)
        self.gate = nn.Linear(num_features, num_groups)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of every head, plus those of this kind."""
        return super().settings | {"num_groups": self.num_groups}

    def groups(self, prepared: Tensor) -> Tensor:
        """Find the group of each tile from its prepared features, int64, shape (tiles,)."""
        groups: Tensor = project(self.gate, prepared).argmax(1)
        return groups

    def forward(self, features: Tensor) -> Tensor:
        """Compute activations in [0, 1], shape (tiles, num_bits)."""
        prepared = self.prepare(precise(features))
        all_bits = project(self.projection, prepared)
        all_bits = all_bits.reshape(-1, self.num_groups, self.num_bits)
        chosen = all_bits[
            torch.arange(len(prepared), device=prepared.device), self.groups(prepared)
        ]
        return torch.sigmoid(chosen).float()


class KernelHead(Head):
    """A threshold on a weighted sum of radial kernels around anchor tiles: the form of KSLSH.

    Args:
        num_features: Length of the feature vectors.
        num_bits: Bits per code.
        num_anchors: Number of tiles whose features are the kernels' centres.
    """

    kind = "kernel"

    def __init__(self, num_features: int, num_bits: int, *, num_anchors: int = 300) -> None:
        super().__init__(num_features, num_bits)
        self.num_anchors = num_anchors
        self.register_buffer("anchors", torch.zeros(num_anchors, num_features))
        self.register_buffer("width", torch.ones(()))
        self.register_buffer("kernel_mean", torch.zeros(num_anchors))
        self.projection = nn.Linear(num_anchors, num_bits, bias=False)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of every head, plus those of this kind."""
        return super().settings | {"num_anchors": self.num_anchors}

    def kernels(self, features: Tensor) -> Tensor:
        """Compute ``exp(-d^2 / (2 width^2))`` for each anchor, minus the mean.

        Args:
            features: Features, float, shape (tiles, num_features).

        Returns:
            Kernels, shape (tiles, num_anchors).
        """
        squares = torch.cdist(self.prepare(features), self.get_buffer("anchors")).square()
        width = self.get_buffer("width")
        return torch.exp(-squares / (2 * width.square())) - self.get_buffer("kernel_mean")

    def forward(self, features: Tensor) -> Tensor:
        """Compute activations in [0, 1], shape (tiles, num_bits)."""
        return torch.sigmoid(self.projection(self.kernels(features)))


class ClassifierHead(Head):
    """A linear classifier and one code per class: tiles of the same predicted class share a code.

    Args:
        num_features: Length of the feature vectors.
        num_bits: Bits per code.
        num_classes: Number of classes.
    """

    kind = "classifier"

    def __init__(self, num_features: int, num_bits: int, *, num_classes: int = 2) -> None:
        super().__init__(num_features, num_bits)
        self.num_classes = num_classes
        self.classifier = nn.Linear(num_features, num_classes)
        self.register_buffer("words", torch.zeros(num_classes, num_bits))

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of every head, plus those of this kind."""
        return super().settings | {"num_classes": self.num_classes}

    def forward(self, features: Tensor) -> Tensor:
        """Compute zeros and ones, float, shape (tiles, num_bits)."""
        predicted = self.classifier(self.prepare(features)).argmax(1)
        return self.get_buffer("words")[predicted]


HEADS: dict[str, type[Head]] = {
    head.kind: head for head in (MiLaN, LinearHead, GroupedHead, KernelHead, ClassifierHead)
}


def make_head(kind: str, settings: Mapping[str, Any]) -> Head:
    """Make a head from its description.

    Args:
        kind: Kind of head, such as "milan" or "linear".
        settings: The head's `settings`.

    Returns:
        A head of that shape, with new weights.

    Raises:
        HasherError: If the kind or a setting is unknown.
    """
    if kind not in HEADS:
        msg = f"head kind {kind!r} is not one of {sorted(HEADS)}; update geohash-rs."
        raise HasherError(msg)
    try:
        return HEADS[kind](**settings)
    except TypeError as error:
        msg = f"head {kind!r} does not accept these settings: {error}"
        raise HasherError(msg) from error
