"""The losses of MiLaN as functions, and their weighted sum with an additional proxy term."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.train.mining import Triplets, label_similarity, mine
from geohash_rs.hashing.train.settings import LossSettings

__all__ = [
    "MiLaNLoss",
    "balance_loss",
    "keep_loss",
    "loss_terms",
    "pairwise_distances",
    "push_loss",
    "triplet_loss",
]


def pairwise_distances(activations: Tensor, *, normalise: bool = True) -> Tensor:
    """Compute squared Euclidean distances between all activations of a batch.

    Args:
        activations: Shape (tiles, bits).
        normalise: Whether activations are first normalised to unit length, as in the authors'
            code; the paper does not mention it.

    Returns:
        Shape (tiles, tiles).
    """
    if normalise:
        activations = functional.normalize(activations, dim=1)
    squares = activations.square().sum(1)
    crossed = activations @ activations.T
    return (squares[:, None] + squares[None, :] - 2 * crossed).clamp_min(0)


def triplet_loss(distances: Tensor, triplets: Triplets, *, margin: float = 0.2) -> Tensor:
    """Pull positives nearer to their anchors than negatives, by a margin.

    ``mean over triplets of max(0, d(a, p) - d(a, n) + margin)``, d the squared Euclidean distance.

    Args:
        distances: Result of `pairwise_distances`.
        triplets: Anchors, positives and negatives.
        margin: How much farther the negative should be than the positive.

    Returns:
        The loss, a scalar; zero, with zero gradient, if there are no triplets.

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258, equation 1
    """
    if not len(triplets.anchors):
        return (distances * 0).sum()
    positive = distances[triplets.anchors, triplets.positives]
    negative = distances[triplets.anchors, triplets.negatives]
    return (positive - negative + margin).relu().mean()


def push_loss(activations: Tensor) -> Tensor:
    """Push activations from 0.5 towards 0 and 1, so that binarising them loses little.

    ``-(1 / K) mean over tiles of ||s - 0.5||^2``, K the number of bits.

    Args:
        activations: Shape (tiles, bits).

    Returns:
        The loss, a scalar in [-0.25, 0].

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258, equation 2
    """
    return -(activations - 0.5).square().mean()


def balance_loss(activations: Tensor, *, over: Literal["sample", "bit"] = "sample") -> Tensor:
    """Balance ones and zeros.

    Over a sample, as in the paper's equation and code, ``mean over tiles of (mean of its K
    activations - 0.5)^2``: each code should have as many ones as zeros. Over a bit, ``mean over
    bits of (mean of the bit over the batch - 0.5)^2``: each bit should split the tiles in half.

    Args:
        activations: Shape (tiles, bits).
        over: "sample" or "bit".

    Returns:
        The loss, a scalar in [0, 0.25].

    Raises:
        TrainingError: If `over` is neither.

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258, equation 3
    """
    if over not in {"sample", "bit"}:
        msg = f'balance over {over!r} is unknown; use "sample" or "bit".'
        raise TrainingError(msg)
    return (activations.mean(1 if over == "sample" else 0) - 0.5).square().mean()


def keep_loss(activations: Tensor, features: Tensor) -> Tensor:
    """Keep the similarities of features, which labels do not teach, in the codes.

    ``mean over pairs of (cos(2 s_i - 1, 2 s_j - 1) - cos(z_i, z_j))^2``, z the features.

    Args:
        activations: Shape (tiles, bits).
        features: Of the same tiles, centred, shape (tiles, num_features).

    Returns:
        The loss, a scalar in [0, 4].
    """
    codes = functional.normalize(2 * activations - 1, dim=1)
    features = functional.normalize(features, dim=1)
    wrong = (codes @ codes.T - features @ features.T).square()
    count = len(wrong)
    return (wrong.sum() - wrong.diagonal().sum()) / max(1, count * (count - 1))


class MiLaNLoss(nn.Module):
    """The weighted sum of MiLaN's losses, optionally with a proxy term.

    Args:
        settings: The terms and their weights.
        num_bits: Bits per code; needed for the proxy.
        num_classes: Number of classes; needed for the proxy.

    Raises:
        TrainingError: If the proxy term is used without `num_bits` or `num_classes`.

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258, equation 4
    """

    def __init__(
        self,
        settings: LossSettings | None = None,
        *,
        num_bits: int | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings or LossSettings()
        self.classifier: nn.Linear | None = None
        if self.settings.proxy:
            if not num_bits or not num_classes:
                msg = "the proxy term classifies codes; pass num_bits and num_classes, or proxy=0."
                raise TrainingError(msg)
            self.classifier = nn.Linear(num_bits, num_classes)

    def forward(
        self,
        activations: Tensor,
        labels: Tensor,
        *,
        features: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        """Compute all terms and their weighted sum.

        Args:
            activations: Shape (tiles, bits).
            labels: As for `label_similarity`.
            features: Input of the head's first layer, shape (tiles, width); for the term `keep`.
            generator: The miner's random generator, or None for torch's global one.

        Returns:
            Scalars: "loss", the weighted sum, and each term without its weight: "triplet",
            "push", "balance" and, if used, "proxy" and "keep".

        Raises:
            TrainingError: If activations are not finite or do not match the labels, or the term
                `keep` is used without features.
        """
        if len(activations) != len(labels):
            msg = f"there are {len(activations)} activations but {len(labels)} labels."
            raise TrainingError(msg)
        if not bool(torch.isfinite(activations).all()):
            msg = (
                "activations are NaN or infinite: the tiles have missing pixels, or the learning "
                "rate is too high; fill the pixels or lower it."
            )
            raise TrainingError(msg)
        used = self.settings
        distances = pairwise_distances(activations, normalise=used.normalise)
        similarity = label_similarity(labels)
        triplets = mine(
            used.mining, distances.detach(), similarity, margin=used.margin, generator=generator
        )
        terms = {
            "triplet": triplet_loss(distances, triplets, margin=used.margin),
            "push": push_loss(activations),
            "balance": balance_loss(activations, over=used.balance_over),
        }
        loss = terms["triplet"] + used.push * terms["push"] + used.balance * terms["balance"]
        if self.classifier is not None:
            terms["proxy"] = self._proxy(activations, labels)
            loss = loss + used.proxy * terms["proxy"]
        if used.keep:
            if features is None:
                msg = "the term keep compares codes with features; pass features=, or keep=0."
                raise TrainingError(msg)
            terms["keep"] = keep_loss(activations, features)
            loss = loss + used.keep * terms["keep"]
        return {"loss": loss, **terms}

    def _proxy(self, activations: Tensor, labels: Tensor) -> Tensor:
        """Classify codes, scaled so that their length does not depend on the number of bits.

        Raises:
            TrainingError: If a label exceeds the classifier's classes.
        """
        codes = (2 * activations - 1) * (8 / math.sqrt(activations.shape[1]))
        logits: Tensor = self.classifier(codes) if self.classifier is not None else codes
        known = logits.shape[1]
        highest = labels.shape[1] - 1 if labels.ndim == 2 else int(labels.max())
        if highest >= known:
            msg = (
                f"a tile has label {highest} but the proxy was made for {known} classes (0 to "
                f"{known - 1}); pass num_classes={highest + 1}."
            )
            raise TrainingError(msg)
        if labels.ndim == 2:
            return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return functional.cross_entropy(logits, labels, label_smoothing=self.settings.smoothing)


def loss_terms(
    loss: nn.Module, activations: Tensor, labels: Tensor, *, features: Tensor
) -> dict[str, Tensor]:
    """Call a loss: `MiLaNLoss`, or any module that takes activations and labels.

    Args:
        loss: Returns a scalar, or scalars by name of which "loss" is to be minimised.
        activations: In [0, 1], shape (tiles, bits).
        labels: As for `label_similarity`.
        features: As for `MiLaNLoss`, which alone gets them.

    Returns:
        Scalars by name; "loss" is to be minimised, the others are logged.

    Raises:
        TrainingError: If the loss returns anything else, or is NaN or infinite.
    """
    more = {"features": features} if isinstance(loss, MiLaNLoss) else {}
    found = loss(activations, labels, **more)
    terms = {"loss": found} if isinstance(found, Tensor) else found
    name = type(loss).__name__
    if not isinstance(terms, dict) or not isinstance(terms.get("loss"), Tensor):
        msg = f"the loss {name} returned {type(found).__name__}; return a scalar tensor, or a "
        msg += 'dictionary of them with the key "loss".'
        raise TrainingError(msg)
    for term, value in terms.items():
        one = torch.as_tensor(value).detach()
        if one.numel() != 1 or not bool(torch.isfinite(one).all()):
            msg = (
                f"the loss {name} returned {one.flatten()[:4].tolist()} of shape "
                f"{tuple(one.shape)} as {term!r}; each term must be one finite number for a batch."
            )
            raise TrainingError(msg)
    if torch.is_grad_enabled() and not terms["loss"].requires_grad:
        msg = (
            f"the loss {name} returned a number that does not depend on the activations; compute "
            "it from them, without detach() or numpy."
        )
        raise TrainingError(msg)
    return terms
