"""The JSON messages between the page and the server."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "ArchiveAnswer",
    "ErrorAnswer",
    "ExportRequest",
    "KeptTile",
    "PatchAnswer",
    "SceneAnswer",
    "SearchRequest",
    "TileAnswer",
]

TileId = Annotated[int, Field(ge=0, lt=2**63, description="Id of a tile of the archive.")]
Code = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,512}$", description="A hexadecimal code.")]
Moment = Annotated[str, Field(max_length=40)]
TileSize = Annotated[int, Field(ge=1, lt=2**31)]


class Strict(BaseModel):
    """A message that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid")


class SearchRequest(Strict):
    """The examples to search with, and the filters."""

    tiles: list[TileId] = Field(default=[], max_length=200, description="Example tiles.")
    codes: list[Code] = Field(
        default=[], max_length=1024, description="Codes of an example patch, from /api/patch."
    )
    hasher: str | None = Field(
        default=None, max_length=128, description="What made the codes, from /api/patch."
    )
    place: dict[str, Any] | None = Field(
        default=None, description="Footprint of the patch, GeoJSON geometry, for exclude_overlap."
    )
    negatives: list[TileId] = Field(
        default=[], max_length=200, description="Example tiles that matches should not look like."
    )
    k: int = Field(default=24, ge=1, le=1000, description="Number of matches.")
    max_distance: int | None = Field(
        default=None, ge=0, description="Largest Hamming distance, bits, inclusive."
    )
    region: dict[str, Any] | None = Field(
        default=None, description="Only tiles that meet this polygon, GeoJSON geometry."
    )
    time: tuple[Moment | None, Moment | None] | None = Field(
        default=None, description="First and last time, inclusive; null leaves an end open."
    )
    tile_sizes: list[TileSize] | None = Field(
        default=None, max_length=64, description="Only tiles of these sizes, px."
    )
    exclude_overlap: bool = Field(default=False, description="No matches overlap the examples.")
    distinct: bool = Field(default=False, description="No two matches overlap each other.")


class KeptTile(Strict):
    """A match that the user kept."""

    tile_id: TileId
    distance: int | None = Field(default=None, ge=0, lt=2**31)
    similarity: float | None = Field(default=None, allow_inf_nan=False)


class ExportRequest(Strict):
    """Tiles to write to a file, in this order."""

    format: Literal["geojson", "gpkg", "parquet", "csv"]
    tiles: list[KeptTile] = Field(min_length=1, max_length=10_000)


class ArchiveAnswer(BaseModel):
    """A description of the archive."""

    name: str
    key: str = Field(description="Identifies this archive and its state, for caching pictures.")
    num_tiles: int
    num_scenes: int
    num_bits: int | None
    bounds: tuple[float, float, float, float] | None = Field(description="Lon/lat, degrees.")
    time: tuple[str, str] | None = Field(description="First and last day.")
    tile_sizes: list[int] = Field(description="Sizes of its tiles, px, ascending.")
    takes_patches: bool = Field(description="Whether it has a hasher that reads pixels.")
    bands: list[str] = Field(description="Bands that its hasher expects in a patch.")
    base_map: str | None = Field(description="URL template of raster tiles, if any.")
    attribution: str | None


class SceneAnswer(BaseModel):
    """A scene that the map can show."""

    number: int
    name: str
    date: str | None
    bounds: tuple[float, float, float, float] = Field(
        description="Lon/lat of the corners of its picture, which is in web map projection."
    )


class PatchAnswer(BaseModel):
    """The codes of an uploaded patch."""

    name: str
    codes: list[str]
    hasher: str = Field(description="Identifies the hasher that made the codes.")
    place: dict[str, Any] = Field(description="Its footprint, GeoJSON geometry.")
    picture: str = Field(description="Data URI.")
    notes: list[str] = Field(
        default=[], description="What was decided about its bands and may be wrong."
    )


class TileAnswer(BaseModel):
    """One tile, as a GeoJSON feature."""

    type: Literal["Feature"]
    geometry: dict[str, Any] | None
    properties: dict[str, Any]


class ErrorAnswer(BaseModel):
    """What went wrong, with the values, and what to do."""

    detail: str
