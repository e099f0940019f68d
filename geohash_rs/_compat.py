"""Differences between the supported versions of TorchGeo (0.8 to 0.10)."""

from datetime import datetime
from importlib.metadata import version
from typing import Any

import pandas as pd
import torch
from affine import Affine
from pyproj import CRS
from torch.utils.data import BatchSampler
from torchgeo.datasets import RasterDataset
from torchgeo.samplers import BatchGeoSampler

__all__ = [
    "TORCHGEO_VERSION",
    "GeoSlice",
    "embedding_table",
    "forget_open_files",
    "is_batch_sampler",
    "location_keys",
]

TORCHGEO_VERSION = tuple(int(part) for part in version("torchgeo").split(".")[:2])

GeoSlice = tuple[slice, ...]


def location_keys(
    crs: str, slices: tuple[slice, slice, slice], transform: Affine
) -> dict[str, Any]:
    """Return the location entries of a TorchGeo sample.

    TorchGeo 0.8 expects ``crs``, and ``bounds`` as slices (its GeoDataModule deletes both on
    transfer). Since 0.9 every value must be a tensor, because all values are stacked. Coordinates
    are float64 here: the float32 of TorchGeo's own datasets is off by most of a pixel at 0.3 m.

    Args:
        crs: CRS of the scene.
        slices: The x, y (CRS units) and t (datetime) ranges of the sample.
        transform: Affine transform of the sample, pixel to CRS.

    Returns:
        Entries to add to the sample.
    """
    x, y, t = slices
    if TORCHGEO_VERSION < (0, 9):
        return {"crs": CRS.from_user_input(crs), "bounds": slices}
    bounds = [x.start, x.stop, x.step, y.start, y.stop, y.step, _seconds(t.start), _seconds(t.stop)]
    return {
        "bounds": torch.tensor([*bounds, 1.0], dtype=torch.float64),
        "transform": torch.tensor(tuple(transform), dtype=torch.float64),
    }


def _seconds(moment: datetime) -> float:
    return float(moment.timestamp())


def is_batch_sampler(sampler: object) -> bool:
    """Return whether a sampler yields whole batches."""
    return isinstance(sampler, BatchGeoSampler | BatchSampler)


def forget_open_files() -> None:
    """Drop the file handles that a forked worker inherits from its parent.

    GDAL handles shared between processes silently read wrong tiles. TorchGeo caches them on the
    class, so one call drops those of all datasets.
    """
    RasterDataset._cached_load_warp_file.cache_clear()


def base_task() -> type:
    """Return the base class of TorchGeo's tasks, which moved in 0.10.

    Returns:
        ``torchgeo.tasks.BaseTask``, or ``torchgeo.trainers.BaseTask`` before 0.10.
    """
    if TORCHGEO_VERSION < (0, 10):
        from torchgeo.trainers import BaseTask
    else:
        from torchgeo.tasks import BaseTask
    base: type = BaseTask
    return base


EMBEDDINGS = {"ClayEmbeddings", "EarthEmbeddings", "EarthIndexEmbeddings", "MajorTOMEmbeddings"}


def embedding_table(dataset: object) -> tuple[pd.DataFrame, str] | None:
    """Return the table of one of TorchGeo's datasets of published embeddings, which came with 0.9.

    They are recognised by name, so that nothing is imported that 0.8 lacks.

    Args:
        dataset: Any object.

    Returns:
        The table, and the file or folder that it was read from; None for any other object.
    """
    names = {
        kind.__name__
        for kind in type(dataset).__mro__
        if kind.__module__.split(".")[0] == "torchgeo"
    }
    data = getattr(dataset, "data", None)
    if not names & EMBEDDINGS or not isinstance(data, pd.DataFrame):
        return None
    return data, str(getattr(dataset, "root", ""))
