"""What the page and the server say to each other: the JSON of the interface."""

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
Code = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,512}$", description="A code, hexadecimal.")]
Moment = Annotated[str, Field(max_length=40)]


class Strict(BaseModel):
    """A message without unknown members."""

    model_config = ConfigDict(extra="forbid")


class SearchRequest(Strict):
    """What to search for, and where and when."""

    tiles: list[TileId] = Field(default=[], max_length=200, description="Examples: tiles.")
    codes: list[Code] = Field(
        default=[], max_length=1024, description="Examples: codes of a patch, from /api/patch."
    )
    place: dict[str, Any] | None = Field(
        default=None, description="Footprint of the patch, GeoJSON geometry, for exclude_overlap."
    )
    negatives: list[TileId] = Field(
        default=[], max_length=200, description="Examples of what is not meant: tiles."
    )
    k: int = Field(default=24, ge=1, le=1000, description="Matches asked for.")
    max_distance: int | None = Field(
        default=None, ge=0, description="Largest Hamming distance, bits, inclusive."
    )
    region: dict[str, Any] | None = Field(
        default=None, description="Only tiles that meet this polygon, GeoJSON geometry."
    )
    time: tuple[Moment | None, Moment | None] | None = Field(
        default=None, description="First and last moment, inclusive; null leaves an end open."
    )
    exclude_overlap: bool = Field(default=False, description="No tiles that overlap the examples.")
    distinct: bool = Field(default=False, description="No two matches that overlap each other.")


class KeptTile(Strict):
    """A match that was kept."""

    tile_id: TileId
    distance: int | None = Field(default=None, ge=0, lt=2**31)
    similarity: float | None = Field(default=None, allow_inf_nan=False)


class ExportRequest(Strict):
    """Tiles to write to a file, in this order."""

    format: Literal["geojson", "gpkg", "parquet", "csv"]
    tiles: list[KeptTile] = Field(min_length=1, max_length=10_000)


class ArchiveAnswer(BaseModel):
    """What the archive is."""

    name: str
    key: str = Field(description="Names this archive and state, so that pictures can be kept.")
    num_tiles: int
    num_scenes: int
    num_bits: int | None
    bounds: tuple[float, float, float, float] | None = Field(description="Lon/lat, degrees.")
    time: tuple[str, str] | None = Field(description="First and last day.")
    takes_patches: bool = Field(description="Whether it has a hasher to look at patches with.")
    bands: list[str] = Field(description="Bands that its hasher expects of a patch.")
    base_map: str | None = Field(description="URL template of raster tiles, if one was chosen.")
    attribution: str | None


class SceneAnswer(BaseModel):
    """A scene that can be shown on the map."""

    number: int
    name: str
    date: str | None
    bounds: tuple[float, float, float, float] = Field(
        description="Lon/lat of the corners of its picture, whose pixels are those of a web map."
    )


class PatchAnswer(BaseModel):
    """An uploaded patch, as codes."""

    name: str
    codes: list[str]
    place: dict[str, Any] = Field(description="Its footprint, GeoJSON geometry.")
    picture: str = Field(description="Data URI.")


class TileAnswer(BaseModel):
    """One tile, as a GeoJSON feature."""

    type: Literal["Feature"]
    geometry: dict[str, Any] | None
    properties: dict[str, Any]


class ErrorAnswer(BaseModel):
    """What was wrong, with the values, and what to do."""

    detail: str
