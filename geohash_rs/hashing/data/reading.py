"""Read what a data set holds: its tiles in batches, their labels, and what tells it apart."""

import hashlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate
from torchgeo.datasets import GeoDataset

from geohash_rs.errors import GeoHashRSWarning, TrainingError
from geohash_rs.hashing.train.sampling import images_of, labels_of

__all__ = ["check_finite", "collated", "labels_of_dataset", "recognise", "some_label"]

LOOKED_AT = 16  # tiles of a data set that are read to recognise it


def recognise(dataset: Any) -> str:  # noqa: ANN401 - any data set
    """Compute what tells data sets apart, such as folds of one, without reading all tiles.

    Args:
        dataset: A data set with a length.

    Returns:
        SHA-256, hex.
    """
    digest = hashlib.sha256(type(dataset).__name__.encode())
    if isinstance(dataset, GeoDataset):  # its tiles are drawn; its text has extent and size
        digest.update(str(dataset).encode())
        return digest.hexdigest()
    about: list[Any] = [len(dataset)]
    for name in ("indices", "targets", "labels"):
        known = getattr(dataset, name, None)
        about += [] if known is None else [name, *map(int, torch.as_tensor(known).flatten())]
    digest.update(str(about).encode())
    count = min(len(dataset), LOOKED_AT)
    for row in np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist():
        image = images_of(dataset[row])
        digest.update(image.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def labels_of_dataset(dataset: Any) -> Tensor:  # noqa: ANN401 - a data set with a length
    """Read the label of every tile, from a list if there is one, otherwise tile by tile.

    Args:
        dataset: A data set with a length.

    Returns:
        Labels, as `labels_of` returns them.
    """
    for name in ("targets", "labels"):
        known = getattr(dataset, name, None)
        if known is not None and len(known) == len(dataset):
            return torch.as_tensor(known)
    samples = (dataset[index] for index in range(len(dataset)))
    return torch.cat(
        [labels_of({k: v[None] for k, v in s.items() if isinstance(v, Tensor)}) for s in samples]
    )


def collated(
    samples: list[Any],
    *,
    collate: Callable[[Any], Any] | None,
    part: str,
) -> Any:  # noqa: ANN401 - what the data module's own function returns
    """Make a batch of samples.

    Args:
        samples: Samples of a data set.
        collate: The data module's own function, or None for torch's.
        part: Name of the part, for the error.

    Returns:
        The batch.

    Raises:
        TrainingError: If the tiles have different sizes.
        RuntimeError: If anything else has, as torch says.
    """
    try:
        return (collate or default_collate)(samples)
    except RuntimeError as error:
        sizes = {tuple(images_of(sample).shape): None for sample in samples}
        if len(sizes) < 2:
            raise
        first, second = (" x ".join(map(str, shape)) for shape in list(sizes)[:2])
        msg = (
            f"tiles of the {part} part have different shapes, such as {first} and {second} (bands, "
            "height, width); resize or crop them to one in the data set's transforms."
        )
        raise TrainingError(msg) from error


def check_finite(images: Tensor, *, part: str, first: int) -> None:
    """Check that the pixels of tiles are numbers.

    Args:
        images: Shape (tiles, bands, height, width).
        part: Name of the part, for the error.
        first: Place of the first of them in the part.

    Raises:
        TrainingError: If one is NaN or infinite.
    """
    bad = (~torch.isfinite(images)).flatten(1).any(1) if images.is_floating_point() else None
    if bad is not None and bool(bad.any()):
        places = (first + bad.nonzero().flatten()[:5]).tolist()
        msg = (
            f"tiles {', '.join(map(str, places))}{', ...' if bad.sum() > len(places) else ''} of "
            f"the {part} part, counted from 0, have pixels that are NaN or infinite; fill them in "
            "the data set's transforms, or leave these tiles out."
        )
        raise TrainingError(msg)


def some_label(labels: Tensor, *, part: str) -> Tensor:
    """Find the tiles that have a label, and warn of the others.

    Args:
        labels: As for `label_similarity`.
        part: Name of the part, for warning and error.

    Returns:
        A mask, bool, shape (tiles,).

    Raises:
        TrainingError: If no tile has a label.
    """
    if labels.ndim != 2 or bool(labels.any(1).all()):
        return torch.ones(len(labels), dtype=torch.bool)
    some = labels.any(1)
    if not bool(some.any()):
        msg = (
            f"none of the {len(some)} tiles of the {part} part has a label: every row of labels, "
            f"for {labels.shape[1]} classes, is zero; check how the data set makes them."
        )
        raise TrainingError(msg)
    msg = f"{int((~some).sum())} of {len(some)} tiles of the {part} part have no label and "
    msg += "are left out."
    warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
    return some
