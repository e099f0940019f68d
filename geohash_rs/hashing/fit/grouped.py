"""The general head for imagery of several sensors: an offset and a projection for each."""

from collections.abc import Sequence

import torch
from torch import Tensor

from geohash_rs.hashing.fit.general import general_head, whitening
from geohash_rs.hashing.fit.itq import itq_head, principal_axes
from geohash_rs.hashing.fit.nearest import nearest_head
from geohash_rs.hashing.network.heads import GroupedHead, LinearHead
from geohash_rs.hashing.network.rotations import rotate, rotation_to

__all__ = ["grouped_head"]

CERTAIN = 0.98  # share of unseen tiles whose group must be found; other groups are joined
FOLDS = 5
RIDGE = 0.1  # of the mean variance of a feature
USUAL_LACK = 0.2  # share of variance that a sensor of all kinds of ground may lack
SAME_CONTRAST = 0.85  # least spread per spread of views, against others, of a sensor of all kinds
SHIFT = 0.01  # variance, between sensors, of what a sensor adds to a direction of the features
MOST_SCALE = 5.0  # by which a feature of one sensor is multiplied to compare it with others
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
    are the same for all tiles of a sensor. So each sensor's mean is taken out, and one head is
    fitted on what remains of all, with every feature on the same scale for every sensor. Each
    sensor then gets axes of its own, rotated so that their signs agree with those of the shared
    head: bits mean about the same for every sensor.

    The mean of a sensor that has seen one kind of ground only is that of the ground as well. So of
    the mean of a sensor whose tiles vary less than those of others, what could be ground is left
    in: the part along directions in which tiles of the others vary.

    Without views of any tile, nothing says which directions change when a tile is turned: no
    direction shrinks, and the head of one sensor is that of an embedding.

    Args:
        groups: For each sensor, features of unlabelled tiles, float32, shape (tiles,
            num_features), and of several views of some of them, shape (some tiles, views,
            num_features); of no tiles if no pixels are at hand.
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
    views = [torch.cat([groups[n][1] for n in own]) for own in members]
    if len(members) == 1:
        tiles = torch.cat([part for part, _ in groups])
        if not len(views[0]):
            return nearest_head(tiles, num_bits=num_bits, parts=parts, seed=seed)
        return general_head(tiles, views[0], num_bits=num_bits, parts=parts, seed=seed)
    prepared = [torch.cat([prepared[n] for n in own]) for own in members]
    turned = [
        plain.prepare(part.flatten(0, 1).float()).double().reshape(part.shape) for part in views
    ]
    offsets = _offsets(prepared, turned)
    centred = [part - offset for part, offset in zip(prepared, offsets, strict=True)]
    scales = _scales(centred)
    scaled = [part * scale for part, scale in zip(centred, scales, strict=True)]
    some = torch.cat([part[_spread(len(part), SOME)] for part in scaled])
    axes = whitening(
        some,
        torch.cat(
            [
                (part * scale)[_spread(len(part), SOME // 2)]
                for part, scale in zip(turned, scales, strict=True)
            ]
        ),
        num_bits=num_bits,
        seed=seed,
    )
    rotation = itq_head(
        (some @ axes).float(), num_bits=num_bits, unit=False, seed=seed
    ).projection.weight.double()
    shared = axes @ rotation.T
    head = GroupedHead(num_features, num_bits, num_groups=len(members), parts=parts)
    projections = [
        _own(part, view, torch.where(like @ shared > 0, 1.0, -1.0).double(), seed=seed)
        for part, view, like in zip(centred, turned, scaled, strict=True)
    ]
    weight, bias = _gate(prepared)
    with torch.no_grad():
        head.projection.weight.copy_(torch.cat([own.T for own in projections]))
        biases = [-(offset @ own) for offset, own in zip(offsets, projections, strict=True)]
        head.projection.bias.copy_(torch.cat(biases))
        head.gate.weight.copy_(weight.T)
        head.gate.bias.copy_(bias)
    return head


def _offsets(groups: Sequence[Tensor], views: Sequence[Tensor]) -> list[Tensor]:
    """Estimate what the sensor, and not the ground, adds to the features of each group's tiles.

    This is the mean of the group if its tiles vary about as much as those of the others, or if all
    that they show is fainter, so that views of one tile also vary less. Otherwise, the mean
    deviates from that of the others by the sum of what the sensor adds, of variance `SHIFT` in
    every direction, and of the ground, whose covariance is that of the others' tiles times the
    share of variance that the group lacks. The offset is the expected value of the first, given
    the sum.

    Args:
        groups: Prepared features, float64, shape (tiles, num_features) each.
        views: Those of views of some tiles, shape (some tiles, views, num_features) each.

    Returns:
        For each group, shape (num_features,).
    """
    means = [part.mean(0) for part in groups]
    some = [
        (part - mean)[_spread(len(part), SOME)] for part, mean in zip(groups, means, strict=True)
    ]
    spreads = torch.stack([part.square().sum(1).mean() for part in some])
    faint = torch.stack([_changes(part) for part in views])
    offsets = []
    for own, mean in enumerate(means):
        rest = [n for n in range(len(groups)) if n != own]
        lack = 1 - float(spreads[own] / spreads[rest].quantile(0.5))
        lack = max(0.0, (lack - USUAL_LACK) / (1 - USUAL_LACK))
        contrast = spreads / faint.clamp_min(1e-12)  # NaN without views: as if the ground lacks
        if not lack or contrast[own] > SAME_CONTRAST * contrast[rest].nanquantile(0.5):
            offsets.append(mean)
            continue
        others = torch.cat([some[n][_spread(len(some[n]), SOME // 4)] for n in rest])
        ground = others * (lack / len(others)) ** 0.5  # the root of its covariance
        deviation = mean - torch.stack([means[n] for n in rest]).mean(0)
        both = ground @ ground.T + SHIFT * torch.eye(len(ground), dtype=mean.dtype)
        offsets.append(mean - ground.T @ torch.linalg.solve(both, ground @ deviation))
    return offsets


def _changes(views: Tensor) -> Tensor:
    """Return the mean variance of features between views of a tile; NaN without views."""
    if not len(views):
        return views.new_tensor(torch.nan)
    return views.var(1, correction=0).sum(1).mean()


def _scales(groups: Sequence[Tensor]) -> list[Tensor]:
    """Return factors that give every feature about the same spread in every group.

    Args:
        groups: Features, float64, shape (tiles, num_features) each.

    Returns:
        For each group, shape (num_features,).
    """
    spreads = [part.std(0) for part in groups]
    usual = torch.stack(spreads).mean(0)
    return [
        (usual / spread.clamp_min(1e-9)).clamp(1 / MOST_SCALE, MOST_SCALE) for spread in spreads
    ]


def _own(centred: Tensor, views: Tensor, signs: Tensor, *, seed: int) -> Tensor:
    """Fit a group's own projection, whose signs agree with given ones."""
    num_bits = signs.shape[1]
    white = whitening(centred, views, num_bits=num_bits, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    axes = white @ principal_axes(centred @ white, num_bits, generator)
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
