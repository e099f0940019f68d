"""The matches of a query: a GeoDataFrame that can also write and show itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["MATCH_COLUMNS", "Matches", "rank_matches"]

MATCH_COLUMNS = (
    "rank",
    "distance",
    "similarity",
    "tile_id",
    "scene",
    "col",
    "row",
    "width",
    "height",
    "datetime",
    "geometry",
)


class Matches(gpd.GeoDataFrame):  # type: ignore[misc]  # geopandas is untyped to mypy here
    """Ranked tiles with their footprints, best first.

    Columns: rank (from 1), distance (Hamming distance to the nearest example, bits), similarity
    (share of equal bits, 0 to 1; weighted by the activations of the query with the ranking
    "asymmetric"; a score from about -0.5 to 1 with negative examples), tile_id, scene, col, row,
    width, height (px of the scene), datetime (UTC), where given label, tile_size (px) and source,
    with a calibration precision (the highest one promised for a set of nearest tiles that holds
    this one), geometry. All methods of a GeoDataFrame work.

    Attributes:
        examples: What the query was made of, in EPSG:4326, kept by whatever is cut or copied from
            the matches; None for other tables. Columns: example (its name), positive, tile_id,
            scene, col, row, width, height (px), datetime (UTC), geometry; missing where an example
            has none.
        archive_folder: The archive on this machine that they were found in, in which exports look
            up whether scenes were changed since they were indexed; None if there is none.
    """

    _metadata = [*gpd.GeoDataFrame._metadata, "examples", "archive_folder"]  # noqa: RUF012 - a list, as in pandas
    examples: gpd.GeoDataFrame | None = None
    archive_folder: Path | None = None

    @property
    def _constructor(self) -> Any:  # noqa: ANN401 - what pandas expects of a subclass
        return _matches_or_frame

    def _constructor_from_mgr(self, mgr: Any, axes: Any) -> Any:  # noqa: ANN401 - as above
        frame = gpd.GeoDataFrame._constructor_from_mgr(self, mgr, axes)
        return Matches(frame) if isinstance(frame, gpd.GeoDataFrame) else frame

    def __finalize__(
        self,
        other: Any,  # noqa: ANN401 - as pandas calls it
        method: str | None = None,
        **options: Any,  # noqa: ANN401 - as pandas calls it
    ) -> Self:
        """Take over what is not a column; tables of several queries share no examples."""
        made: Self = super().__finalize__(other, method=method, **options)
        if method == "concat":
            made.examples = None
        return made

    def to_file(
        self,
        filename: str | Path,
        driver: str | None = None,
        *,
        remote_scenes: bool = False,
        **options: Any,  # noqa: ANN401 - geopandas' own options pass through
    ) -> None:
        """Write to a file, in the format of its ending.

        Args:
            filename: Ends in .geojson, .gpkg, .parquet, .csv or .html.
            driver: A driver of GDAL; with one, this is geopandas' own `GeoDataFrame.to_file`.
            remote_scenes: Whether the pictures of .html and .gpkg may be read from whatever the
                matches name, such as URLs. Otherwise only plain raster files of this machine are
                drawn.
            **options: Further arguments of geopandas' method.
        """
        from geohash_rs.export.formats import write

        if driver is None and not options:
            write(self, filename, remote_scenes=remote_scenes)
        else:
            super().to_file(filename, driver=driver, **options)

    def plot_grid(
        self, *, columns: int = 6, most: int = 24, remote_scenes: bool = False
    ) -> "Figure":
        """Draw query and matches as pictures, see `geohash_rs.export.picture_grid.plot_grid`.

        Args:
            columns: Pictures in a row.
            most: Most pictures.
            remote_scenes: As in `to_file`.

        Returns:
            A matplotlib figure.
        """
        from geohash_rs.export import picture_grid

        return picture_grid.plot_grid(self, columns=columns, most=most, remote_scenes=remote_scenes)

    def explore(self, **options: Any) -> Any:  # noqa: ANN401 - geopandas' own, a folium map
        """Show the matches on an interactive map, see `geohash_rs.export.notebook.explore`.

        Args:
            **options: Arguments of `geopandas.GeoDataFrame.explore`.

        Returns:
            A folium map.
        """
        from geohash_rs.export import notebook

        return notebook.explore(self, **options)

    def _repr_html_(self) -> str | None:
        from geohash_rs.export import notebook

        shown: str | None = notebook.matches_html(self) or super()._repr_html_()
        return shown


def rank_matches(
    tiles: gpd.GeoDataFrame,
    distances: npt.NDArray[np.int32],
    *,
    similarity: npt.NDArray[np.float64],
) -> Matches:
    """Make matches from tiles.

    Args:
        tiles: The tiles, best first.
        distances: Their Hamming distances, shape (tiles,).
        similarity: What they are ranked by; higher is more similar, shape (tiles,).

    Returns:
        The columns of a match, followed by further columns of the archive.
    """
    ranked = tiles.assign(
        rank=np.arange(1, len(tiles) + 1),
        distance=distances,
        similarity=similarity,
    )
    hidden = (*MATCH_COLUMNS, "datetime_end")
    extra = [name for name in ranked.columns if name not in hidden]
    ordered = ranked[[*MATCH_COLUMNS[:-1], *extra, "geometry"]]
    return Matches(ordered.reset_index(drop=True))


def _matches_or_frame(*args: Any, **kwargs: Any) -> pd.DataFrame:  # noqa: ANN401 - as pandas calls it
    frame = pd.DataFrame(*args, **kwargs)
    has_geometry = any(str(dtype) == "geometry" for dtype in frame.dtypes)
    return Matches(frame) if has_geometry else frame
