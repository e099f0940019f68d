"""The parameters in the addresses of requests."""

from typing import Annotated

from fastapi import Depends, Query
from fastapi import Path as PathParameter

from geohash_rs.serve.shown import Asked

__all__ = ["BBox", "Bands", "Latitude", "Longitude", "ShownAsked", "TileId", "TileSize"]

TileId = Annotated[int, PathParameter(ge=0, lt=2**63)]
BBox = Annotated[str, Query(max_length=200, description="minlon,minlat,maxlon,maxlat")]
TileSize = Annotated[int | None, Query(ge=1, lt=2**31, description="Tile size, px.")]
Longitude = Annotated[float, Query(ge=-720, le=720, description="Degrees.")]
Latitude = Annotated[float, Query(ge=-90, le=90, description="Degrees.")]
Day = Annotated[
    str | None,
    Query(max_length=40, description="Only tiles of this day, as 2023-06-01, or 'undated'."),
]
SceneName = Annotated[
    str | None, Query(max_length=4096, description="Only tiles of scenes with this file name.")
]
Time = Annotated[
    str | None, Query(max_length=100, description="Only tiles of this time, as START/END or 2023.")
]
Bands = Annotated[
    str | None,
    Query(max_length=1000, description="Bands of the patch: one-based indexes or names, as 4,3,2."),
]


def _shown(
    day: Day = None, scene: SceneName = None, time: Time = None, tile_size: TileSize = None
) -> Asked:
    """Read what the map shows."""
    return Asked(day=day, scene=scene, time=time, tile_size=tile_size)


ShownAsked = Annotated[Asked, Depends(_shown)]
