"""Recognise Zarr stores of vectors among what is to be added, and open them."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from geohash_rs.embeddings.zarr_groups import is_zarr
from geohash_rs.embeddings.zarr_source import ZarrSource, zarr_sources
from geohash_rs.errors import SceneError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.indexing.report import AddReport

__all__ = ["StoreSettings", "are_stores", "open_stores"]


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """What a user says about Zarr stores; attributes as the arguments of `zarr_sources`.

    Attributes:
        tile_size: Side of a tile of pixels, px; None uses 16.
        max_nodata: Largest share of a tile's pixels without vector.
        model: Model of the vectors, whatever the store says; or its name.
    """

    tile_size: int | None = None
    max_nodata: float = 0.5
    model: Embedding | str | None = None

    @classmethod
    def of(
        cls,
        options: Mapping[str, Any],
        *,
        tile_size: int | None,
        max_nodata: float,
        also: Mapping[str, Any],
    ) -> "StoreSettings":
        """Check the options of `Archive.add` for Zarr stores.

        Args:
            options: As `TableOptions`, of which only `model` is taken.
            tile_size: As the attribute.
            max_nodata: As the attribute.
            also: Options for imagery, all of which are refused.

        Returns:
            The settings.

        Raises:
            SceneError: If another option is given.
        """
        wrong = [name for name in options if name != "model"]
        wrong += [name for name, value in also.items() if value is not None]
        if wrong:
            listed = ", ".join(f"{name}=..." for name in wrong)
            msg = (
                f"{listed} cannot be used with a Zarr store, which takes tile_size, max_nodata and "
                "model."
            )
            raise SceneError(msg)
        return cls(tile_size=tile_size, max_nodata=max_nodata, model=options.get("model"))


def are_stores(data: object) -> bool:
    """Return whether something is the path of a Zarr store, or a list of such paths.

    Args:
        data: What is to be added to an archive.
    """
    if isinstance(data, str | os.PathLike):
        return is_zarr(os.fspath(data))
    if not isinstance(data, list | tuple) or not data:
        return False
    return all(isinstance(one, str | os.PathLike) and is_zarr(os.fspath(one)) for one in data)


def open_stores(
    data: Any,  # noqa: ANN401 - see `are_stores`
    chosen: StoreSettings,
    report: AddReport,
    *,
    strict: bool,
) -> list[ZarrSource]:
    """Open Zarr stores.

    Args:
        data: Their path or paths.
        chosen: What the user says.
        report: Receives the stores that cannot be opened.
        strict: Raise an error instead.

    Returns:
        The groups and steps in time of the others.

    Raises:
        SceneError: With ``strict``, if one cannot be opened.
        TileSizeError: If the tile size is below 1, or is given for chips.
    """
    sources: list[ZarrSource] = []
    for path in [data] if isinstance(data, str | os.PathLike) else data:
        try:
            sources += zarr_sources(
                path,
                tile_size=chosen.tile_size,
                max_nodata=chosen.max_nodata,
                embedding=chosen.model,
            )
        except SceneError as error:
            report.skip(os.fspath(path), str(error), strict=strict)
    return sources
