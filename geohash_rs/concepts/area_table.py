"""Areas: a GeoDataFrame of dissolved polygons that knows its totals and writes itself."""

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from geohash_rs.concepts.regions import Regions
from geohash_rs.footprints.projection import WGS84

__all__ = ["AREA_COLUMNS", "Areas"]

AREA_COLUMNS = ("area", "area_km2", "score", "tiles", "date", "precision", "region", "geometry")


class Areas(gpd.GeoDataFrame):  # type: ignore[misc]  # geopandas is untyped to mypy here
    """Areas that a concept covers, one row each, the largest of a day first.

    Columns: area (from 1), area_km2 (on the ellipsoid), score (mean of its tiles), tiles (that have
    their middle in it), where dates are apart date (the UTC day, NaT if unknown), where a promise
    is known precision (that of the least certain tile), with regions region, and geometry (polygons
    in EPSG:4326, outlines counterclockwise, in parts at 180 degrees). All methods of a GeoDataFrame
    work.
    """

    _metadata = ["regions", "days", "concept"]  # noqa: RUF012 - as pandas wants it: kept when rows are chosen
    regions: Regions | None = None
    days: pd.DatetimeIndex | None = None
    concept: str | None = None

    @property
    def _constructor(self) -> Any:  # noqa: ANN401 - what pandas expects of a subclass
        return _areas_or_frame

    def _constructor_from_mgr(self, mgr: Any, axes: Any) -> Any:  # noqa: ANN401 - as above
        frame = gpd.GeoDataFrame._constructor_from_mgr(self, mgr, axes)
        return Areas(frame) if isinstance(frame, gpd.GeoDataFrame) else frame

    @property
    def totals(self) -> pd.DataFrame:
        """Sums of the rows: one in all, or one of each region, and of each date if apart.

        Columns: region and date as in the areas; area_km2; areas; tiles; and with regions
        region_km2, the region's own size, share of it, and geometry. Regions that hold no area are
        listed with 0.
        """
        keys = [name for name in ("region", "date") if name in self.columns]
        sums: pd.DataFrame = pd.DataFrame(self[[*keys, "area_km2", "tiles"]]).assign(areas=1)
        names = ["area_km2", "areas", "tiles"]
        levels: dict[str, Any] = {
            "region": [] if self.regions is None else list(self.regions.names),
            "date": pd.DatetimeIndex([], tz="UTC") if self.days is None else self.days,
        }
        if not keys:
            sums = sums[names].sum().to_frame().T.astype({"areas": int, "tiles": int})
        else:
            sums = sums.groupby(keys, dropna=False, sort=True)[names].sum()
            index = (
                pd.MultiIndex.from_product([levels[name] for name in keys], names=keys)
                if len(keys) > 1
                else pd.Index(levels[keys[0]], name=keys[0])
            )
            sums = sums.reindex(index, fill_value=0).reset_index()
        if self.regions is None or "region" not in keys:
            return sums
        rows = pd.Index(self.regions.names).get_indexer(pd.Index(sums["region"]))
        sums["region_km2"] = self.regions.km2[rows]
        sums["share"] = _shares(sums["area_km2"].to_numpy(), self.regions.km2[rows])
        table: pd.DataFrame = gpd.GeoDataFrame(sums, geometry=self.regions.shapes[rows], crs=WGS84)
        return table

    def to_file(
        self,
        filename: str | Path,
        driver: str | None = None,
        **options: Any,  # noqa: ANN401 - geopandas' own options pass through
    ) -> None:
        """Write to a file, in the format of its ending.

        Args:
            filename: Ends in .geojson, .gpkg, .parquet, .csv or .html. A GeoPackage has the layers
                ``areas`` and ``totals``, with styles for QGIS; a page shows both; the other formats
                hold the areas.
            driver: A driver of GDAL; with one, this is geopandas' own `GeoDataFrame.to_file`.
            **options: Further arguments of geopandas' method.
        """
        if driver is None and not options:
            from geohash_rs.export.areas import write_areas

            write_areas(self, self.totals, filename, title=self.concept)
        else:
            super().to_file(filename, driver=driver, **options)

    def _repr_html_(self) -> str | None:
        from geohash_rs.export import area_page

        shown: str | None = area_page.areas_html(self) or super()._repr_html_()
        return shown


def _shares(part: npt.NDArray[np.float64], whole: npt.NDArray[np.float64]) -> Any:  # noqa: ANN401 - an array
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _areas_or_frame(*args: Any, **kwargs: Any) -> pd.DataFrame:  # noqa: ANN401 - as pandas calls it
    frame = pd.DataFrame(*args, **kwargs)
    has_geometry = any(str(dtype) == "geometry" for dtype in frame.dtypes)
    return Areas(frame) if has_geometry else frame
