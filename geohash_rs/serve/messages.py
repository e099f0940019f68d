"""The JSON messages between the page and the server."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "MOST_CODES",
    "ArchiveAnswer",
    "AreasExportRequest",
    "AreasRequest",
    "ConceptAnswer",
    "ConceptRequest",
    "ErrorAnswer",
    "ExportRequest",
    "JudgeRequest",
    "KeptQuery",
    "KeptTile",
    "LimitAnswer",
    "ListedScene",
    "MarksAnswer",
    "NamedPatch",
    "OtherMark",
    "PatchAnswer",
    "PatchExample",
    "PromiseAnswer",
    "SceneAnswer",
    "SceneListAnswer",
    "SearchFileRequest",
    "SearchRequest",
    "TileAnswer",
    "TileJudgement",
]

TileId = Annotated[int, Field(ge=0, lt=2**63, description="Id of a tile of the archive.")]
Code = Annotated[str, Field(pattern=r"^([0-9a-f]{2}){1,512}$", description="A hexadecimal code.")]
Moment = Annotated[str, Field(max_length=40)]
MOST_EXAMPLES = 1000  # of a search, of one kind
MOST_PATCHES = 100  # of a search, of one kind
MOST_CODES = 3072  # of all examples of a search, which are compared with each other
MOST_MARKS = 5000  # of a concept, of one kind
MOST_CHECKS = 4  # of the same marks: together they fail in 40 % of cases
MOST_FILE = 1_800_000  # characters of a concept's file
Place = tuple[Annotated[float, Field(ge=-180, le=180)], Annotated[float, Field(ge=-90, le=90)]]
TileSize = Annotated[int, Field(ge=1, lt=2**31)]


class Strict(BaseModel):
    """A message that rejects unknown fields."""

    model_config = ConfigDict(extra="forbid")


class Filters(Strict):
    """Which tiles count."""

    region: dict[str, Any] | None = Field(
        default=None, description="Only tiles that meet this polygon, GeoJSON geometry."
    )
    time: tuple[Moment | None, Moment | None] | None = Field(
        default=None, description="First and last time, inclusive; null leaves an end open."
    )
    tile_sizes: list[TileSize] | None = Field(
        default=None, max_length=64, description="Only tiles of these sizes, px."
    )


class NamedPatch(Strict):
    """A patch as people see it, from /api/patch."""

    name: str = Field(default="patch", max_length=100)
    place: dict[str, Any] | None = Field(
        default=None, description="Its footprint, GeoJSON geometry."
    )


class PatchExample(NamedPatch):
    """An example patch, from /api/patch."""

    codes: list[Code] = Field(min_length=1, max_length=1024)
    hasher: str | None = Field(default=None, max_length=128, description="What made the codes.")


class SearchRequest(Filters):
    """The examples to search with, and the filters."""

    tiles: list[TileId] = Field(default=[], max_length=MOST_EXAMPLES, description="Example tiles.")
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
        default=[],
        max_length=MOST_EXAMPLES,
        description="Example tiles that matches should not look like.",
    )
    point: Place | None = Field(
        default=None, description="Longitude and latitude of an example tile, as tile-at finds it."
    )
    patches: list[PatchExample] = Field(
        default=[], max_length=MOST_PATCHES, description="Example patches, in place of codes."
    )
    negative_patches: list[PatchExample] = Field(
        default=[],
        max_length=MOST_PATCHES,
        description="Example patches that matches should not look like.",
    )
    bbox: tuple[float, float, float, float] | None = Field(
        default=None,
        description="Only tiles that meet minlon, minlat, maxlon, maxlat; without a region.",
    )
    within: bool = Field(default=False, description="Only tiles inside the region or bbox.")
    labels: list[Annotated[str, Field(max_length=1000)]] | None = Field(
        default=None, max_length=1000, description="Only tiles with these labels."
    )
    scenes: list[Annotated[str, Field(max_length=4096)]] | None = Field(
        default=None,
        max_length=1000,
        description="Only tiles of these scenes, by path, file name or end of the path.",
    )
    k: int = Field(default=24, ge=1, le=1000, description="Number of matches.")
    max_distance: int | None = Field(
        default=None, ge=0, description="Largest Hamming distance, bits, inclusive."
    )
    exclude_overlap: bool = Field(default=False, description="No matches overlap the examples.")
    distinct: bool = Field(default=False, description="No two matches overlap each other.")


class SearchFileRequest(SearchRequest):
    """A search whose matches are written to a file."""

    format: Literal["geojson", "gpkg", "parquet", "csv"]
    layer: str = Field(
        default="matches", min_length=1, max_length=100, description="Layer of a GeoPackage."
    )


class KeptTile(Strict):
    """A match that the user kept."""

    tile_id: TileId
    distance: int | None = Field(default=None, ge=0, lt=2**31)
    similarity: float | None = Field(default=None, allow_inf_nan=False)


class KeptQuery(Strict):
    """What kept tiles were found with."""

    tiles: list[TileId] = Field(default=[], max_length=MOST_EXAMPLES)
    negatives: list[TileId] = Field(default=[], max_length=MOST_EXAMPLES)
    patches: list[NamedPatch] = Field(default=[], max_length=MOST_PATCHES)


class ExportRequest(Strict):
    """Tiles to write to a file, in this order."""

    format: Literal["geojson", "gpkg", "parquet", "csv"]
    tiles: list[KeptTile] = Field(min_length=1, max_length=10_000)
    query: KeptQuery | None = Field(
        default=None,
        description="What all of them were found with: the second layer of a GeoPackage, which "
        "other formats do not have.",
    )


class OtherMark(Strict):
    """A judgement of what is not a tile of this archive: of a patch, or of another archive."""

    right: bool
    code: Code
    source: str = Field(default="", max_length=4096, description="Where it was, for people.")
    place: Place | None = None


class TileJudgement(Strict):
    """Whether a tile is right."""

    tile_id: TileId
    right: bool


class ConceptRequest(Filters):
    """The marks that teach a concept, or its file, and the filters."""

    name: str = Field(default="concept", min_length=1, max_length=100)
    right: list[TileId] = Field(default=[], max_length=MOST_MARKS, description="Tiles, right.")
    wrong: list[TileId] = Field(default=[], max_length=MOST_MARKS, description="Tiles, wrong.")
    others: list[OtherMark] = Field(default=[], max_length=MOST_MARKS)
    hasher: str | None = Field(
        default=None, max_length=128, description="What made the codes of the other marks."
    )
    file: str | None = Field(
        default=None, max_length=MOST_FILE, description="A concept's file; without any marks."
    )
    checks: list[TileJudgement] = Field(
        default=[], max_length=MOST_MARKS, description="Judgements of the tiles of a check."
    )
    check_score: float = Field(
        default=0.5, ge=0, le=1, description="Smallest score of the tiles that a check draws."
    )
    check_tiles: int = Field(
        default=60, ge=1, le=MOST_MARKS, description="Tiles of a check; all of them are judged."
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=MOST_CHECKS,
        description="Of the draw of a check: how many checks of these marks came before. The "
        "failure rates of their promises add up.",
    )


class JudgeRequest(ConceptRequest):
    """Ask for tiles to judge."""

    kind: Literal["teach", "best", "check", "marked"] = Field(
        description="Tiles that teach most, the best, a random draw, or those already marked."
    )
    k: int = Field(default=8, ge=1, le=1000, description="Number of tiles.")
    without: list[TileId] = Field(
        default=[], max_length=1000, description="Tiles that the user skipped."
    )


class AreasRequest(ConceptRequest):
    """Ask for the areas up to a cost."""

    max_cost: int = Field(ge=0, le=65_535, description="Largest cost that counts, inclusive.")
    dates: Literal["apart", "merged"] = "merged"
    min_area_km2: float = Field(
        default=0.0, ge=0, le=1e9, description="Smaller areas and gaps are left out, km2."
    )
    view: str | None = Field(
        default=None, max_length=200, description="Draw what meets minlon,minlat,maxlon,maxlat."
    )


class AreasExportRequest(AreasRequest):
    """Areas to write to a file."""

    format: Literal["geojson", "gpkg", "parquet", "csv"]


class ArchiveAnswer(BaseModel):
    """A description of the archive."""

    name: str
    place: str = Field(description="Identifies where the archive lies, whatever its state.")
    key: str = Field(description="Identifies this archive and its state, for caching pictures.")
    commit: str = Field(description="Random name of its last commit, the same in a copy of it.")
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


class ListedScene(BaseModel):
    """A scene of the archive."""

    number: int
    name: str
    date: str | None
    num_tiles: int = Field(description="Tiles stored when it was added.")
    bounds: tuple[float, float, float, float] | None = Field(
        description="minlon, minlat, maxlon, maxlat; null if a web map cannot show it."
    )


class SceneListAnswer(BaseModel):
    """Scenes found by name and date, the latest first."""

    total: int = Field(description="How many were found.")
    scenes: list[ListedScene]


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


class PromiseAnswer(BaseModel):
    """How often a concept is right, by cost."""

    values: list[int] = Field(description="Costs, ascending; a row holds up to this cost.")
    promised: list[float] = Field(description="Share that is right at least, with this failure.")
    delta: float = Field(description="Failure rate of what is promised.")


class LimitAnswer(BaseModel):
    """The largest cost at which a precision can be promised."""

    precision: float
    cost: int | None
    problem: str | None = Field(description="Why it cannot be promised at any cost.")


class ConceptAnswer(BaseModel):
    """What was learned, and how the tiles that pass the filters score."""

    tiles: int = Field(description="Tiles that pass the filters.")
    low: int = Field(description="Smallest cost of a tile.")
    high: int = Field(description="Largest cost of a tile.")
    width: float = Field(description="Cost from one bar to the next.")
    counts: list[int] = Field(description="Tiles in each bar, from the smallest cost.")
    offset: float = Field(description="Cost at which the score is 0.5.")
    unit: float = Field(description="The score is 1 / (1 + exp((cost - offset) * unit)).")
    right_costs: list[int] = Field(description="Costs of the marks that are right.")
    wrong_costs: list[int] = Field(description="Costs of the marks that are wrong.")
    promise: PromiseAnswer | None
    limits: list[LimitAnswer]
    checked: str = Field(description="What the promise rests on, or why there is none.")
    check_left: int = Field(description="Tiles of the check that are still to be judged.")
    notes: list[str] = Field(description="What is doubtful about the marks.")


class MarksAnswer(BaseModel):
    """The marks of a concept's file."""

    name: str
    right: list[int] = Field(description="Tiles of this archive.")
    wrong: list[int] = Field(description="Tiles of this archive.")
    others: list[OtherMark]
    hasher: str | None


class TileAnswer(BaseModel):
    """One tile, as a GeoJSON feature."""

    type: Literal["Feature"]
    geometry: dict[str, Any] | None
    properties: dict[str, Any]


class ErrorAnswer(BaseModel):
    """What went wrong, with the values, and what to do."""

    detail: str
    kind: str = Field(default="", description="Name of the error in Python, if it has one there.")
