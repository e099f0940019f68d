"""Choose triplets within a batch: an anchor, a similar tile and a less similar one."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from geohash_rs.errors import TrainingError

__all__ = [
    "MINERS",
    "Miner",
    "Triplets",
    "batch_all",
    "batch_hard",
    "check_marks",
    "class_pairs",
    "label_similarity",
    "mine",
    "semi_hard",
]


class Triplets(NamedTuple):
    """Indices into a batch, int64, each of shape (triplets,)."""

    anchors: Tensor
    positives: Tensor
    negatives: Tensor


def label_similarity(labels: Tensor, others: Tensor | None = None) -> Tensor:
    """Compute how similar the tiles of a batch are by their labels.

    Args:
        labels: One class per tile, integer, shape (tiles,); or several, zeros and ones, shape
            (tiles, classes).
        others: Labels of the tiles to compare with; None compares with the same tiles.

    Returns:
        Similarity, shape (tiles, others). For one class per tile, bool; for several, the number of
        shared labels divided by the number of labels that either has (Jaccard), float32.

    Raises:
        TrainingError: If the labels have another shape or other values, or a tile has no label.
    """
    others = labels if others is None else others
    if labels.ndim == 1 and not labels.is_floating_point():
        return labels[:, None] == others[None, :]
    if labels.ndim != 2:
        msg = (
            f"labels have shape {tuple(labels.shape)} and type {labels.dtype}; use integers of "
            "shape (tiles,), or zeros and ones of shape (tiles, classes)."
        )
        raise TrainingError(msg)
    check_marks(labels)
    some = labels.float()
    if not bool(some.any(1).all()):
        missing = int((~some.any(1)).sum())
        msg = f"{missing} of {len(labels)} tiles of a batch have no label; leave them out."
        raise TrainingError(msg)
    shared = some @ others.float().T
    return shared / (some.sum(1)[:, None] + others.float().sum(1)[None, :] - shared)


def check_marks(labels: Tensor) -> None:
    """Check that several labels per tile are marked by ones, all others by zeros.

    Args:
        labels: Shape (tiles, classes).

    Raises:
        TrainingError: If there is another value, or a single class.
    """
    if labels.shape[1] == 1:
        msg = (
            f"labels of shape {tuple(labels.shape)} have a single column, which would be one class "
            "that a tile shows or not; for one class per tile, pass labels.flatten()."
        )
        raise TrainingError(msg)
    wrong = (labels != 0) & (labels != 1)
    if bool(wrong.any()):
        msg = (
            f"labels of shape {tuple(labels.shape)} mark classes by ones and all others by zeros, "
            f"but {int(wrong.any(1).sum())} tiles have other values, such as "
            f"{labels[wrong][0].item():g}; pass for example (labels > 0).long(), or one class per "
            "tile in shape (tiles,)."
        )
        raise TrainingError(msg)


class Miner(Protocol):
    """Chooses the triplets of a batch."""

    def __call__(
        self,
        distances: Tensor,
        similarity: Tensor,
        *,
        margin: float,
        generator: torch.Generator | None,
    ) -> Triplets:
        """Choose triplets; a miner need not use all arguments.

        Args:
            distances: Distances between the tiles of a batch, shape (tiles, tiles).
            similarity: Result of `label_similarity`.
            margin: How much farther the negative should be than the positive.
            generator: Random generator, or None for torch's global one.

        Returns:
            The triplets.
        """


def batch_hard(
    distances: Tensor, similarity: Tensor, *, margin: float, generator: torch.Generator | None
) -> Triplets:
    """Choose the hardest valid triplet of each anchor: positive far, negative near.

    With one class per tile, these are the farthest tile of the anchor's class and the nearest of
    any other.

    Returns at most one triplet per anchor.

    References:
        Hermans, Beyer and Leibe, In Defense of the Triplet Loss, 2017,
        https://arxiv.org/abs/1703.07737
    """
    if similarity.dtype == torch.bool:
        positive, negative = _pair_masks(similarity)
        anchors = (positive.any(1) & negative.any(1)).nonzero().flatten()
        farthest = distances.masked_fill(~positive, -torch.inf).argmax(1)
        nearest = distances.masked_fill(~negative, torch.inf).argmin(1)
        return Triplets(anchors, farthest[anchors], nearest[anchors])
    gaps = distances[:, :, None] - distances[:, None, :]
    gaps = gaps.masked_fill(~_valid(similarity), -torch.inf).flatten(1)
    anchors = torch.isfinite(gaps).any(1).nonzero().flatten()
    best = gaps.argmax(1)[anchors]
    return Triplets(anchors, best // len(distances), best % len(distances))


def batch_all(
    distances: Tensor, similarity: Tensor, *, margin: float, generator: torch.Generator | None
) -> Triplets:
    """Choose every valid triplet that violates the margin, so that the mean is over these.

    References:
        Hermans, Beyer and Leibe, In Defense of the Triplet Loss, 2017,
        https://arxiv.org/abs/1703.07737 (batch all, mean over non-zero terms)
    """
    violated = distances[:, :, None] - distances[:, None, :] + margin > 0
    return Triplets(*(violated & _valid(similarity)).nonzero(as_tuple=True))


def semi_hard(
    distances: Tensor, similarity: Tensor, *, margin: float, generator: torch.Generator | None
) -> Triplets:
    """Choose, for each anchor and positive, the nearest negative beyond the positive.

    If there is none, the farthest negative is chosen.

    Returns one triplet per anchor and positive.

    References:
        Schroff, Kalenichenko and Philbin, FaceNet, CVPR 2015, https://arxiv.org/abs/1503.03832
    """
    valid = _valid(similarity)
    to_negative = distances[:, None, :].expand_as(valid)
    beyond = valid & (to_negative > distances[:, :, None])
    nearest = to_negative.masked_fill(~beyond, torch.inf).argmin(2)
    farthest = to_negative.masked_fill(~valid, -torch.inf).argmax(2)
    chosen = torch.where(beyond.any(2), nearest, farthest)
    anchors, positives = valid.any(2).nonzero(as_tuple=True)
    return Triplets(anchors, positives, chosen[anchors, positives])


def class_pairs(
    distances: Tensor, similarity: Tensor, *, margin: float, generator: torch.Generator | None
) -> Triplets:
    """Draw triplets as in the paper: one positive and one negative class, no mining.

    The tiles similar to a drawn anchor are split into anchors and positives, and each pair gets a
    random tile of the negative class. With batches of 60 tiles of one class and 30 of another, as
    `ClassPairSampler` makes them, these are the paper's 30 triplets.

    Returns no triplets if no class has two tiles or all tiles are similar.

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258
    """
    like = similarity > 0
    counts = like.sum(1)
    usable = (counts >= 2) & (counts < len(like))
    if not usable.any():
        empty = torch.empty(0, dtype=torch.int64, device=distances.device)
        return Triplets(empty, empty, empty)
    most = (counts * usable == (counts * usable).max()).nonzero().flatten()
    first = most[_draw(len(most), generator)[0]]
    inside = like[first].nonzero().flatten()
    outside = (~like[first]).nonzero().flatten()
    second = outside[_draw(len(outside), generator)[0]]
    negatives = (like[second] & ~like[first]).nonzero().flatten()
    inside = inside[_draw(len(inside), generator)]
    half = len(inside) // 2
    order = torch.cat([_draw(len(negatives), generator) for _ in range(-(-half // len(negatives)))])
    return Triplets(inside[:half], inside[half : 2 * half], negatives[order[:half]])


MINERS: dict[str, Miner] = {
    "class_pairs": class_pairs,
    "batch_all": batch_all,
    "batch_hard": batch_hard,
    "semi_hard": semi_hard,
}


def _draw(count: int, generator: torch.Generator | None) -> Tensor:
    return torch.randperm(count, generator=generator)


def _pair_masks(similarity: Tensor) -> tuple[Tensor, Tensor]:
    itself = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    return similarity & ~itself, ~similarity


def _valid(similarity: Tensor) -> Tensor:
    """Return a mask of triplets whose positive is more similar to the anchor than the negative."""
    similarity = similarity.float()
    itself = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    more_like = similarity[:, :, None] > similarity[:, None, :]
    return more_like & ~itself[:, :, None] & ~itself[:, None, :]


def mine(
    miner: str | Miner,
    distances: Tensor,
    similarity: Tensor,
    *,
    margin: float,
    generator: torch.Generator | None,
) -> Triplets:
    """Choose triplets with a miner, by name or of one's own.

    Args:
        miner: A name in `MINERS`, or a function like `Miner`.
        distances: As for `Miner`.
        similarity: As for `Miner`.
        margin: As for `Miner`.
        generator: As for `Miner`.

    Returns:
        The triplets.

    Raises:
        TrainingError: If the miner returns anything but three equally long rows of indices into
            the batch.
    """
    chosen = MINERS[miner] if isinstance(miner, str) else miner
    found = chosen(distances, similarity, margin=margin, generator=generator)
    indices = found if isinstance(found, tuple) and len(found) == 3 else ()
    if (
        not indices
        or not all(isinstance(rows, Tensor) and rows.dtype == torch.int64 for rows in indices)
        or indices[0].ndim != 1
        or not indices[0].shape == indices[1].shape == indices[2].shape
    ):
        name = getattr(chosen, "__name__", type(chosen).__name__)
        msg = (
            f"the miner {name} returned {_described(found)}; return Triplets(anchors, "
            "positives, negatives), three int64 tensors of one length."
        )
        raise TrainingError(msg)
    if not isinstance(miner, str) and len(indices[0]):
        low, high = int(torch.stack(indices).min()), int(torch.stack(indices).max())
        if low < 0 or high >= len(distances):
            msg = (
                f"the miner {getattr(chosen, '__name__', type(chosen).__name__)} chose tiles {low} "
                f"to {high} of a batch of {len(distances)}; return indices into the batch."
            )
            raise TrainingError(msg)
    return Triplets(*indices)


def _described(found: object) -> str:
    """Describe what a miner returned: its type, and those of three fields."""
    kind = type(found).__name__
    if not isinstance(found, tuple) or len(found) != 3:
        return kind
    fields = (
        f"{name} {str(rows.dtype).removeprefix('torch.')} of shape {tuple(rows.shape)}"
        if isinstance(rows, Tensor)
        else f"{name} {type(rows).__name__}"
        for name, rows in zip(Triplets._fields, found, strict=True)
    )
    return f"{kind} with {', '.join(fields)}"
