"""Supervised baselines for MiLaN, fitted on the same frozen features."""

import torch
from torch import Tensor
from torch.nn import functional

from geohash_rs.hashing.network.heads import ClassifierHead, KernelHead
from geohash_rs.hashing.train.sampling import rows_by_class

__all__ = ["classifier_head", "far_codes", "kslsh_head"]

NUM_ANCHORS = 300  # kernels of KSLSH, centred on random tiles
STEPS = 300  # AdamW steps, each over all tiles


def kslsh_head(features: Tensor, labels: Tensor, *, num_bits: int, seed: int = 0) -> KernelHead:
    """Fit supervised hashing with kernels, one bit at a time.

    With K the centred kernels of the labelled tiles and S their similarity (1 for the same class,
    otherwise -1), each bit is the direction a that maximises ``a' K' R K a`` under
    ``a' K' K a = n``, where R is the residual of ``num_bits * S`` after the earlier bits: the
    spectral relaxation, without the subsequent refinement by gradient descent.

    Args:
        features: Features of labelled tiles, float32, shape (tiles, num_features).
        labels: Class of each tile, integer, shape (tiles,).
        num_bits: Bits per code.
        seed: Seed of the anchors.

    Returns:
        The fitted head.

    Raises:
        TrainingError: If fewer than two classes have two tiles.
        CodeLengthError: If the bits cannot be packed.

    References:
        Liu, Wang, Ji, Jiang and Chang, Supervised Hashing with Kernels, CVPR 2012,
        https://doi.org/10.1109/CVPR.2012.6247912; as KSLSH in Demir and Bruzzone, TGRS 2016,
        https://doi.org/10.1109/TGRS.2015.2469138
    """
    rows_by_class(labels)
    generator = torch.Generator().manual_seed(seed)
    num_anchors = min(NUM_ANCHORS, len(features))
    head = KernelHead(features.shape[1], num_bits, num_anchors=num_anchors)
    head.standardise(features.float())
    prepared = head.prepare(features.float())
    anchors = prepared[torch.randperm(len(features), generator=generator)[:num_anchors]]
    head.get_buffer("anchors").copy_(anchors)
    head.get_buffer("width").copy_(torch.cdist(prepared, anchors).mean())
    kernels = head.kernels(features.float()).double()
    head.get_buffer("kernel_mean").copy_(kernels.mean(0))
    kernels = kernels - kernels.mean(0)
    one_hot = functional.one_hot(labels, int(labels.max()) + 1).double()
    sums = kernels.T @ one_hot
    total = kernels.sum(0)
    left = num_bits * (2 * sums @ sums.T - torch.outer(total, total))
    gram = kernels.T @ kernels
    gram += 1e-6 * gram.diagonal().mean() * torch.eye(num_anchors).double()
    factor: Tensor = torch.linalg.cholesky(gram)
    directions = []
    for _ in range(num_bits):
        whitened = torch.linalg.solve_triangular(factor, left, upper=False)
        whitened = torch.linalg.solve_triangular(factor, whitened.T, upper=False)
        top = torch.linalg.eigh((whitened + whitened.T) / 2)[1][:, -1:]
        direction = torch.linalg.solve_triangular(factor.T, top, upper=True).squeeze(1)
        directions.append(direction)
        bits = torch.where(kernels @ direction > 0, 1.0, -1.0).double()
        explained = kernels.T @ bits
        left = left - torch.outer(explained, explained)
    with torch.no_grad():
        head.projection.weight.copy_(torch.stack(directions))
    return head.eval()


def classifier_head(
    features: Tensor, labels: Tensor, *, num_bits: int, seed: int = 0
) -> ClassifierHead:
    """Train a linear classifier; a tile gets the code of its predicted class.

    Args:
        features: Features of labelled tiles, float32, shape (tiles, num_features).
        labels: Class of each tile, integer, shape (tiles,).
        num_bits: Bits per code; the codes of classes are far apart.
        seed: Seed of the codes.

    Returns:
        The fitted head.

    Raises:
        CodeLengthError: If the bits cannot be packed.

    References:
        Sablayrolles, Douze, Usunier and Jégou, How should we evaluate supervised hashing?,
        ICASSP 2017, https://arxiv.org/abs/1609.06753
    """
    num_classes = int(labels.max()) + 1
    head = ClassifierHead(features.shape[1], num_bits, num_classes=num_classes)
    head.standardise(features.float())
    head.get_buffer("words").copy_(far_codes(num_classes, num_bits=num_bits, seed=seed))
    torch.nn.init.zeros_(head.classifier.weight)
    torch.nn.init.zeros_(head.classifier.bias)
    prepared = head.prepare(features.float())
    optimizer = torch.optim.AdamW(head.classifier.parameters(), lr=0.003, weight_decay=0.1)
    for _ in range(STEPS):
        loss = functional.cross_entropy(head.classifier(prepared), labels)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return head.eval()


def far_codes(count: int, *, num_bits: int, seed: int = 0) -> Tensor:
    """Choose codes that are far apart, each with half of its bits set.

    Args:
        count: Number of codes.
        num_bits: Bits per code.
        seed: Seed of the candidates; each next code is the one farthest from those chosen.

    Returns:
        Zeros and ones, float32, shape (count, num_bits).
    """
    generator = torch.Generator().manual_seed(seed)
    candidates = torch.rand(4000, num_bits, generator=generator).argsort(1) < num_bits // 2
    pool = candidates.float()
    chosen = [pool[0]]
    nearest = torch.full((len(pool),), torch.inf)
    for _ in range(count - 1):
        nearest = torch.minimum(nearest, (pool - chosen[-1]).abs().sum(1))
        chosen.append(pool[nearest.argmax()])
    return torch.stack(chosen)
