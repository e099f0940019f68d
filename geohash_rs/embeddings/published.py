"""Add vectors that somebody else published, whatever holds them, to an archive."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from geohash_rs.embeddings.add import add_sources
from geohash_rs.embeddings.inputs import are_tables, open_tables
from geohash_rs.embeddings.options import refuse_options, table_settings
from geohash_rs.embeddings.stores import StoreSettings, are_stores, open_stores
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.imagery import single_tile_size
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.store.code_store import CodeStore

__all__ = ["add_published"]


def add_published(
    archive: CodeStore,
    data: Any,  # noqa: ANN401 - anything that `Archive.add` takes
    options: Mapping[str, Any],
    settings: IndexSettings,
    hasher_of: Callable[[], Hasher | None],
    *,
    tile_size: int | Sequence[int] | None,
    max_nodata: float,
    imagery: Mapping[str, Any],
) -> AddReport | None:
    """Add Zarr stores or tables of vectors to an archive.

    Args:
        archive: The archive.
        data: What `Archive.add` was given.
        options: As `TableOptions`.
        settings: How to read and hash the vectors.
        hasher_of: Returns the archive's hasher; None while it is pending.
        tile_size: As in `Archive.add`; not for tables.
        max_nodata: Largest share of a tile's pixels without vector.
        imagery: Options for imagery, all of which must be None.

    Returns:
        What was added, and what was not; None if the data are imagery. Raises the errors of
        `open_stores`, `open_tables` and `add_sources`.

    Raises:
        SceneError: If an option does not apply to the data.
        TileSizeError: If several tile sizes are given for a store.
    """
    report = AddReport()
    if are_stores(data):
        side = single_tile_size(tile_size)
        chosen = StoreSettings.of(options, tile_size=side, max_nodata=max_nodata, also=imagery)
        sources = open_stores(data, chosen, report, strict=settings.strict)
        return add_sources(archive, sources, hasher_of(), settings, report)
    if are_tables(data):
        also = {**imagery, "tile_size": tile_size}
        said = table_settings(options, also=also)
        tables = open_tables(data, said, report, folder=archive.path, strict=settings.strict)
        return add_sources(archive, tables, hasher_of(), settings, report)
    refuse_options(options)
    return None
