"""From scenes or a dataset, a hasher and the options of a user to what `add_imagery` adds."""

from collections.abc import Iterable, Sequence
from typing import Any, TypedDict, Unpack

from torch.utils.data import Dataset

from geohash_rs.errors import TileSizeError
from geohash_rs.hashing.fit.by_name import Unfitted
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.indexing.dataset_imagery import DatasetImagery
from geohash_rs.indexing.embedded import embedding_of_dataset, embedding_of_scenes, prepared_scenes
from geohash_rs.indexing.samples import Samples
from geohash_rs.indexing.scene_imagery import SceneImagery
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.grid import Edges
from geohash_rs.scenes.grids import TileGrids
from geohash_rs.store.code_store import CodeStore

__all__ = ["GridOptions", "imagery_of_dataset", "imagery_of_scenes", "single_tile_size"]


class GridOptions(TypedDict, total=False):
    """How a user wants scenes to be cut; as the arguments of `Archive.add`."""

    tile_size: int | Sequence[int] | None
    stride: int | Sequence[int] | None
    edges: Edges
    max_nodata: float
    resolution: float | None


def imagery_of_scenes(
    archive: CodeStore,
    scenes: Scenes,
    hasher: Hasher | None,
    settings: IndexSettings,
    *,
    embedding: PixelEmbedding | str | None = None,
    **grid: Unpack[GridOptions],
) -> SceneImagery:
    """Prepare scenes to be added to an archive.

    Args:
        archive: The archive.
        scenes: The scenes.
        hasher: The archive's hasher; None if it is still to be fitted.
        settings: How to read and hash them.
        embedding: As in `embedding_of_scenes`.
        **grid: How tiles are cut; by default as the hasher, or the archive's scenes, say.

    Returns:
        The scenes, on the grid of the hasher's bands and with the embedding that they hold.

    Raises:
        HasherError: As in `embedding_of_scenes`.
        HasherMismatchError: As in `embedding_of_scenes`.
        TileSizeError: As in `TileGrids.for_hasher`.
        ValueMismatchError: As in `prepared_scenes`.
    """
    pixels = embedding_of_scenes(embedding, hasher, scenes)
    known = [record.settings for record in archive.scenes()]
    grids = TileGrids.for_hasher(hasher or pixels, **grid, known=known)
    if pixels is not None:
        scenes = prepared_scenes(scenes, pixels)
        return SceneImagery(archive, scenes, grids, settings, embedding=pixels)
    expected = hasher or Unfitted.find(archive.pending_hasher)
    if expected is not None and expected.bands is not None:
        scenes = scenes.on_grid_of(expected.bands)
    return SceneImagery(archive, scenes, grids, settings)


def imagery_of_dataset(
    archive: CodeStore,
    dataset: Dataset[Any],
    hasher: Hasher | None,
    settings: IndexSettings,
    *,
    sampler: Iterable[Any] | None,
    embedding: PixelEmbedding | str | None,
    tile_size: int | Sequence[int] | None,
    max_nodata: float,
) -> DatasetImagery:
    """Prepare the samples of a TorchGeo dataset to be added to an archive.

    Args:
        archive: The archive.
        dataset: The dataset.
        hasher: The archive's hasher; None if it is still to be fitted.
        settings: How to read and hash it.
        sampler: TorchGeo sampler, which cuts the tiles of a geo dataset.
        embedding: As in `embedding_of_dataset`.
        tile_size: Tile size to store in a newly fitted hasher; None uses that of the samples.
        max_nodata: Largest allowed share of invalid pixels in a tile.

    Returns:
        The samples, with the embedding that they hold.

    Raises:
        HasherError: As in `embedding_of_dataset`.
        HasherMismatchError: As in `embedding_of_dataset`.
        TileSizeError: If several tile sizes are given.
    """
    pixels = embedding_of_dataset(embedding, hasher, dataset)
    samples = Samples(dataset=dataset, sampler=sampler, max_nodata=max_nodata, embedding=pixels)
    size = single_tile_size(tile_size)
    return DatasetImagery(archive, samples, settings, tile_size=size, embedding=pixels)


def single_tile_size(tile_size: int | Sequence[int] | None) -> int | None:
    """Return the tile size for what cannot be cut in several sizes.

    Args:
        tile_size: A size, px, or a sequence of one; or None.

    Returns:
        The size, px; or None.

    Raises:
        TileSizeError: If there are several.
    """
    if isinstance(tile_size, Sequence) and len(tile_size) == 1:
        return tile_size[0]
    if isinstance(tile_size, Sequence):
        msg = (
            f"tile_size is {tile_size!r}, but the tiles of this dataset are those of its sampler; "
            "pass one size, or the files as Scenes(...)."
        )
        raise TileSizeError(msg)
    return tile_size
