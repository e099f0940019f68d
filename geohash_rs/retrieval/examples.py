"""What a query was made of, kept with its matches so that they can be judged alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import pandas as pd
from shapely.geometry.base import BaseGeometry

from geohash_rs.export.plain_text import scene_name

__all__ = ["Example", "examples_frame", "place_text", "tile_at_point", "tile_examples"]

WINDOW = ("col", "row", "width", "height")


@dataclass(frozen=True, kw_only=True)
class Example:
    """A tile, patch or set of vectors of a query.

    Attributes:
        name: What people call it, such as "tile 12" or "patch.tif".
        footprint: Ground that it covers, EPSG:4326; None if it has no place.
        tile_id: Id of the archive's tile, if it is one.
        scene: Path or URI of the raster that it is a window of, if it is one.
        window: Column, row, width and height in the scene, px.
        datetime: When it was taken, UTC, if known.
    """

    name: str
    footprint: BaseGeometry | None = None
    tile_id: int | None = None
    scene: str | None = None
    window: tuple[int, int, int, int] | None = None
    datetime: pd.Timestamp | None = None


def tile_examples(tiles: gpd.GeoDataFrame, *, place: str = "") -> tuple[Example, ...]:
    """Describe tiles of an archive as examples.

    Args:
        tiles: Rows of the archive.
        place: Where they were asked for, such as "at 7.1, 46.2"; "" if by id.

    Returns:
        An example for each row.
    """
    found = []
    for tile in tiles.itertuples():
        numbers = [getattr(tile, name) for name in WINDOW]
        has_window = not any(pd.isna(number) for number in numbers)
        col, row, width, height = (int(number) if has_window else 0 for number in numbers)
        example = Example(
            name=_tile_name(tile.tile_id, place),
            footprint=tile.geometry,
            tile_id=int(tile.tile_id),
            scene=str(tile.scene),
            window=(col, row, width, height) if has_window else None,
            datetime=None if pd.isna(tile.datetime) else tile.datetime,
        )
        found.append(example)
    return tuple(found)


def _tile_name(tile_id: int, place: str = "") -> str:
    return f"tile {tile_id} {place}".rstrip()


def place_text(lon: float, lat: float) -> str:
    """Write a place for the name of an example, to about 10 cm.

    >>> place_text(7.1, 46.25000049)
    'at 7.1, 46.25'
    """
    return f"at {round(lon, 6):.9g}, {round(lat, 6):.9g}"


def examples_frame(right: Sequence[Example], wrong: Sequence[Example] = ()) -> gpd.GeoDataFrame:
    """Make a table of the examples of a query.

    Args:
        right: Examples of what to find.
        wrong: Examples of what not to find.

    Returns:
        Columns example (its name), positive, tile_id, scene, col, row, width, height (px),
        datetime (UTC) and geometry (EPSG:4326), missing where an example has none.
    """
    examples = [*right, *wrong]
    windows = [example.window or (None,) * len(WINDOW) for example in examples]
    dates = [example.datetime or pd.NaT for example in examples]
    columns = {
        "example": [example.name for example in examples],
        "positive": [True] * len(right) + [False] * len(wrong),
        "tile_id": pd.array([example.tile_id for example in examples], dtype="Int64"),
        "scene": [example.scene for example in examples],
        **{
            name: pd.array([window[at] for window in windows], dtype="Int64")
            for at, name in enumerate(WINDOW)
        },
        "datetime": pd.to_datetime(pd.Series(dates), utc=True).dt.as_unit("us"),
    }
    footprints = [example.footprint for example in examples]
    return gpd.GeoDataFrame(columns, geometry=footprints, crs="EPSG:4326")


def tile_at_point(examples: gpd.GeoDataFrame | None) -> str:
    """Describe the tile that stands for the point of a query.

    Args:
        examples: As from `examples_frame`.

    Returns:
        A sentence; "" if there was no point.
    """
    if examples is None:
        return ""
    for one in examples[examples["tile_id"].notna()].itertuples():
        if one.example == _tile_name(one.tile_id):
            continue  # asked for by its id
        day = "no date" if pd.isna(one.datetime) else f"{one.datetime:%Y-%m-%d %H:%M:%S} UTC"
        short = day.removesuffix(" 00:00:00 UTC")
        return f"Searching with {one.example}: {scene_name(str(one.scene))}, {short}."
    return ""
