"""The general head for imagery of several sensors: an offset and a projection for each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geohash_rs.hashing.fit.general import general_head, whitening
from geohash_rs.hashing.fit.itq import itq_head, principal_axes, rotate, rotation_to
from geohash_rs.hashing.network.heads import GroupedHead, LinearHead

__all__ = ["grouped_head"]

OWN_AXES = 2  # tiles per bit from which on a group has axes of its own
CERTAIN = 0.98  # share of unseen tiles whose group must be found; other groups are joined
FOLDS = 5
RIDGE = 0.1  # of the mean variance of a feature
AGREEMENT = 0.1  # weight of the shared head's signs against a group's own
SOME = 512  # tiles of a group on which the shared head is fitted, so that all count alike


def grouped_head(
    groups: Sequence[tuple[Tensor, Tensor]],
    *,
    num_bits: int,
    parts: tuple[int, ...] = (),
    seed: int = 0,
) -> LinearHead:
    """Fit the general head on unlabelled tiles of several sensors.

    What the tiles of a sensor have in common would otherwise take most of the bits, which then
    are the same for all tiles of a sensor. So each sensor's mean is taken out, one head is fitted
    on what remains of all, and each sensor then gets axes of its own, rotated so that their signs
    agree with those of the shared head: bits mean about the same for every sensor.

    Args:
        groups: For each sensor, features of unlabelled tiles, float32, shape (tiles,
            num_features), and of several views of some of them, shape (some tiles, views,
            num_features).
        num_bits: Bits per code.
        parts: Lengths of the parts of the feature vector that are normalised separately.
        seed: Seed of the rotations.

    Returns:
        The fitted head: a `GroupedHead`, or a `LinearHead` if there is one group, or the tiles do
        not show which group they are from.

    Raises:
        HasherError: As in `general_head`.
        CodeLengthError: If the bits cannot be packed.

    References:
        Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 31,
        1966, https://doi.org/10.1007/BF02289451
    """
    num_features = groups[0][0].shape[1]
    plain = LinearHead(num_features, num_bits, parts=parts)
    prepared = [plain.prepare(tiles.float()).double() for tiles, _ in groups]
    which = _joined(prepared, least=num_bits // 2)
    members = [
        [n for n, own in enumerate(which) if own == group] for group in range(max(which) + 1)
    ]
    tiles = [torch.cat([groups[n][0] for n in own]) for own in members]
    views = [torch.cat([groups[n][1] for n in own]) for own in members]
    if len(members) == 1:
        return general_head(tiles[0], views[0], num_bits=num_bits, parts=parts, seed=seed)
    prepared = [plain.prepare(part.float()).double() for part in tiles]
    turned = [
        plain.prepare(part.flatten(0, 1).float()).double().reshape(part.shape) for part in views
    ]
    means = [part.mean(0) for part in prepared]
    centred = [part - mean for part, mean in zip(prepared, means, strict=True)]
    some = [part[_spread(len(part), SOME)] for part in centred]
    axes = whitening(
        torch.cat(some),
        torch.cat([part[_spread(len(part), SOME // 2)] for part in turned]),
        num_bits=num_bits,
        seed=seed,
    )
    rotation = itq_head(
        (torch.cat(some) @ axes).float(), num_bits=num_bits, unit=False, seed=seed
    ).projection.weight.double()
    shared = axes @ rotation.T
    head = GroupedHead(num_features, num_bits, num_groups=len(members), parts=parts)
    projections = [
        _own(part, view, shared, seed=seed) if len(part) >= OWN_AXES * num_bits else shared
        for part, view in zip(centred, turned, strict=True)
    ]
    weight, bias = _gate(prepared)
    with torch.no_grad():
        head.projection.weight.copy_(torch.cat([own.T for own in projections]))
        offsets = [-(mean @ own) for mean, own in zip(means, projections, strict=True)]
        head.projection.bias.copy_(torch.cat(offsets))
        head.gate.weight.copy_(weight.T)
        head.gate.bias.copy_(bias)
    return head


def _own(centred: Tensor, views: Tensor, shared: Tensor, *, seed: int) -> Tensor:
    """Fit a group's own projection, whose signs agree with those of the shared one."""
    num_bits = shared.shape[1]
    white = whitening(centred, views, num_bits=num_bits, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    axes = white @ principal_axes(centred @ white, num_bits, generator)
    signs = torch.where(centred @ shared > 0, 1.0, -1.0).double()
    projected = centred @ axes
    start = rotation_to(projected, signs)
    return axes @ rotate(projected, start, pull=AGREEMENT * signs)


def _joined(groups: Sequence[Tensor], *, least: int) -> list[int]:
    """Join groups that are too small, and those whose tiles cannot be told apart."""
    which = list(range(len(groups)))
    while (count := max(which) + 1) > 1:
        parts = [
            torch.cat([part for part, own in zip(groups, which, strict=True) if own == group])
            for group in range(count)
        ]
        small = min(range(count), key=lambda n: len(parts[n]))
        if len(parts[small]) < least:
            distances = [float((part.mean(0) - parts[small].mean(0)).norm()) for part in parts]
            distances[small] = float("inf")
            pair = small, distances.index(min(distances))
        else:
            confused = _confusion(parts)
            worst = int(confused.argmax())
            pair = worst // count, worst % count
            if float(confused[pair]) <= 1 - CERTAIN:
                break
        first, second = sorted(pair)
        which = [first if own == second else own - (own > second) for own in which]
    return which


def _confusion(groups: Sequence[Tensor]) -> Tensor:
    """Estimate the share of unseen tiles of a group that are taken for another.

    Returns:
        Shares, shape (groups, groups), 0 on the diagonal.
    """
    wrong = torch.zeros(len(groups), len(groups), dtype=torch.float64)
    for fold in range(FOLDS):
        seen = [part[torch.arange(len(part)) % FOLDS != fold] for part in groups]
        weight, bias = _gate(seen)
        for own, part in enumerate(groups):
            unseen = part[fold::FOLDS] @ weight + bias
            wrong[own] += unseen.argmax(1).bincount(minlength=len(groups))
    wrong /= wrong.sum(1, keepdim=True)
    return wrong.fill_diagonal_(0)


def _gate(groups: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier of groups, all of which count alike, by ridge regression.

    Returns:
        Weights, shape (num_features, groups), and biases, shape (groups,).
    """
    some = [part[_spread(len(part), SOME)] for part in groups]
    features = torch.cat(some)
    count = torch.tensor([len(part) for part in some], dtype=torch.float64)
    share = (1 / count / len(some)).repeat_interleave(count.long())
    mean = share @ features
    targets = torch.eye(len(some), dtype=torch.float64).repeat_interleave(count.long(), dim=0)
    centred = (features - mean) * share.sqrt()[:, None]
    gram = centred @ centred.T
    gram += RIDGE * gram.trace() / centred.shape[1] * torch.eye(len(gram), dtype=gram.dtype)
    weighted = (targets - share @ targets) * share.sqrt()[:, None]
    weight = centred.T @ torch.linalg.solve(gram, weighted)
    return weight, share @ targets - mean @ weight


def _spread(count: int, most: int) -> Tensor:
    """Return positions of at most so many of some, at even distances."""
    if count <= most:
        return torch.arange(count)
    return torch.linspace(0, count - 1, most).long()
