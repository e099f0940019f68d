"""The page and its JSON API, as an ASGI application."""

import contextlib
import gc
import importlib.util
import tempfile
import threading
from collections.abc import AsyncIterator, Callable, Hashable, Sequence
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote, unquote

import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi import Path as PathParameter
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response

from geohash_rs import __version__
from geohash_rs.archive import Archive
from geohash_rs.errors import GeoHashRSError
from geohash_rs.export.formats import reporting, write
from geohash_rs.export.geopackage import write_geopackage
from geohash_rs.pictures.permission import Permission
from geohash_rs.pictures.world import FILE as WORLD
from geohash_rs.retrieval.examples import tile_at_point
from geohash_rs.serve.cache import ByteCache
from geohash_rs.serve.geojson import feature_collection
from geohash_rs.serve.guard import Guard, content_security_policy
from geohash_rs.serve.messages import (
    ArchiveAnswer,
    AreasExportRequest,
    AreasRequest,
    ConceptAnswer,
    ConceptRequest,
    ErrorAnswer,
    ExportRequest,
    JudgeRequest,
    MarksAnswer,
    PatchAnswer,
    SceneAnswer,
    SceneListAnswer,
    SearchFileRequest,
    SearchRequest,
    TileAnswer,
)
from geohash_rs.serve.parameters import (
    Bands,
    BBox,
    Latitude,
    Longitude,
    ShownAsked,
    TileId,
    TileSize,
)
from geohash_rs.serve.problems import explain_busy, explain_request, explainer
from geohash_rs.serve.searching import Searcher, picture_size
from geohash_rs.serve.teaching import Teacher
from geohash_rs.serve.turns import BusyError, Room, Turns, in_own_thread
from geohash_rs.serve.uploads import MAX_UPLOAD

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

__all__ = ["create_app", "maplibre_files"]

THREADS = 8  # requests handled at once; others wait
PATCHES = 2  # decoded at once: each takes up to 512 MB with its copy
MOST_RECEIVED = 4 * MAX_UPLOAD  # bytes of patches that are arriving or waiting to be decoded
SCENES = 2  # drawn at once: each is read completely, perhaps over the network
CONCEPTS = 2  # learned or drawn at once: each scores all tiles, with all cores
THUMBNAILS = 6  # drawn at once: as many as a browser requests from one server
MOST_BODY = 2 * 2**20  # bytes of a request without a patch: a thousand codes of 512 bytes
CACHE_BYTES = 64 * 2**20
GEOJSON = "application/geo+json"
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".gz": "application/gzip",
}
MEDIA = {
    "geojson": GEOJSON,
    "gpkg": "application/geopackage+sqlite3",
    "parquet": "application/vnd.apache.parquet",
    "csv": "text/csv",
}
FILES: dict[int | str, dict[str, Any]] = {200: {"content": {kind: {} for kind in MEDIA.values()}}}

WRONG: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "There is no such tile or scene."},
    422: {"model": ErrorAnswer, "description": "The request is invalid; detail says why."},
    503: {
        "model": ErrorAnswer,
        "description": "Too many requests at once, or the archive was moved; detail says which.",
    },
}
FEATURES: dict[int | str, dict[str, Any]] = {
    **WRONG,
    200: {"content": {GEOJSON: {}}, "description": "GeoJSON, EPSG:4326."},
}
PICTURE: dict[int | str, dict[str, Any]] = {
    **WRONG,
    200: {"content": {"image/webp": {}}, "description": "A picture."},
}
CONCEPT: dict[int | str, dict[str, Any]] = {
    **WRONG,
    200: {"content": {"application/json": {}}, "description": "A concept's file."},
}
CONCEPT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A concept's file.",
        "content": {"application/json": {"schema": {"type": "object"}}},
    },
}
PATCH: dict[str, Any] = {
    "parameters": [
        {
            "name": "X-File-Name",
            "in": "header",
            "description": "The patch's name in messages, percent-encoded.",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "description": f"A GeoTIFF of up to {MAX_UPLOAD // 2**20} MB.",
        "content": {"image/tiff": {"schema": {"type": "string", "format": "binary"}}},
    },
}


def create_app(
    archive: Archive,
    *,
    permission: Permission | None = None,
    hosts: Sequence[str] = (),
    any_address: bool = False,
    base_map: str | None = None,
    attribution: str | None = None,
    device: str = "cpu",
) -> Guard:
    """Make the application.

    Args:
        archive: The archive to search, open for reading.
        permission: What pictures may be read from; None allows plain raster files of this machine.
        hosts: Host names that it is served under, in addition to localhost.
        any_address: Whether to accept every IP address as its own.
        base_map: URL template of raster tiles with {z}, {x} and {y}; None shows no base map.
        attribution: Credit line of the base map.
        device: Device that runs the network.

    Returns:
        An ASGI application that answers only its own page.
    """
    searcher = Searcher(archive, permission=permission, device=device)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        warming = threading.Thread(target=_warm, args=(searcher,), daemon=True)
        warming.start()
        yield
        await anyio.to_thread.run_sync(warming.join)  # exiting while libraries load may crash
        gc.unfreeze()

    app = FastAPI(
        title="geohash_rs",
        version=__version__,
        description="Search an archive of tiles by appearance. Geometries are in EPSG:4326.",
        openapi_url="/api/openapi.json",
        docs_url=None,  # its page would load third-party scripts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.add_exception_handler(BusyError, explain_busy)
    app.add_exception_handler(GeoHashRSError, explainer(archive.path, searcher.check))
    app.add_exception_handler(RequestValidationError, explain_request)
    _add_pages(app)
    _add_archive(app, searcher, base_map=base_map, attribution=attribution)
    _add_pictures(app, searcher)
    _add_search(app, searcher)
    _add_concepts(app, Teacher(searcher))
    return Guard(
        app,
        hosts=hosts,
        any_address=any_address,
        max_body=MOST_BODY,
        larger={"/api/patch": MAX_UPLOAD},
        policy=content_security_policy(base_map),
    )


def _warm(searcher: Searcher) -> None:
    """Load what searches need, and spare later garbage collections from going through all of it.

    A full one took 0.3 s, during which no request was answered.
    """
    searcher.warm()
    gc.collect()
    gc.freeze()


def _add_pages(app: FastAPI) -> None:
    static = Path(str(files("geohash_rs.serve") / "static"))
    served = {f"/static/{path.name}": path for path in static.iterdir() if path.suffix in TYPES}
    served |= {f"/static/{path.name}": path for path in [*maplibre_files(), WORLD]}
    served["/"] = static / "index.html"
    for url, path in served.items():
        kind = TYPES[path.suffix]
        answer = partial(FileResponse, path, media_type=kind, headers={"cache-control": "no-cache"})
        app.add_api_route(url, _page(answer), include_in_schema=False, response_model=None)


def _page(answer: partial[FileResponse]) -> Any:  # noqa: ANN401 - what FastAPI calls
    async def page() -> FileResponse:
        return answer()

    return page


def maplibre_files() -> list[Path]:
    """Find MapLibre GL JS in the package that ships it, without importing the package.

    Raises:
        ModuleNotFoundError: If the package is not installed.
    """
    found = importlib.util.find_spec("maplibre")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(name="maplibre")
    folder = Path(found.origin).parent / "srcjs"
    return [folder / name for name in ("maplibre-gl.js", "maplibre-gl.css")]


def _add_archive(
    app: FastAPI, searcher: Searcher, *, base_map: str | None, attribution: str | None
) -> None:
    views = ByteCache[bytes](CACHE_BYTES, len)

    @app.get("/api/archive", response_model=ArchiveAnswer)
    def archive() -> ArchiveAnswer:
        """Describe the archive."""
        searcher.refresh()
        return searcher.describe(base_map, attribution)

    @app.get("/api/tiles", responses=FEATURES, response_class=Response)
    def tiles(bbox: BBox, shown: ShownAsked) -> Response:
        """Return the footprints in view, or counts in a grid if there are many, and their dates.

        Where tiles lie over each other, only the smallest and latest count.
        """
        key = (searcher.key, bbox, *shown.values())
        content = views.get(key, lambda: searcher.view(bbox, **shown).encode())
        return Response(content, media_type=GEOJSON)

    @app.get("/api/scenes", response_model=list[SceneAnswer], responses=WRONG)
    def scenes(bbox: BBox, shown: ShownAsked) -> list[SceneAnswer]:
        """List the scenes in view that are large enough to show."""
        return searcher.scenes(bbox, **shown)

    @app.get("/api/scene-list", response_model=SceneListAnswer, responses=WRONG)
    def scene_list(
        text: Annotated[str, Query(max_length=200)] = "",
        start: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    ) -> SceneListAnswer:
        """List scenes by words of their name and date, the latest first, a page at a time."""
        return searcher.scene_list(text, start=start)

    @app.get("/api/tile/{tile_id}", response_model=TileAnswer, responses=FEATURES)
    def tile(tile_id: TileId) -> Response:
        """Describe one tile."""
        return Response(searcher.tile(tile_id), media_type=GEOJSON)

    @app.get("/api/tile-at", response_model=TileAnswer, responses=FEATURES)
    def tile_at(lon: Longitude, lat: Latitude, shown: ShownAsked) -> Response:
        """Describe the tile at a point: the smallest, then the latest, then the nearest centre."""
        return Response(searcher.tile_at((lon, lat), **shown), media_type=GEOJSON)

    @app.get("/api/tiles-at", responses=FEATURES, response_class=Response)
    def tiles_at(lon: Longitude, lat: Latitude, shown: ShownAsked) -> Response:
        """Describe the tiles at a point, in the same order, up to 200."""
        return Response(searcher.tiles_at((lon, lat), **shown), media_type=GEOJSON)


def _add_pictures(app: FastAPI, searcher: Searcher) -> None:
    pictures = ByteCache[bytes](CACHE_BYTES, len)
    thumbnails = Turns("pictures", at_once=THUMBNAILS, waiting=100)
    scenes = Turns("pictures of scenes", at_once=SCENES, waiting=50)
    keep = {"cache-control": "private, max-age=86400"}

    async def drawn(key: Hashable, turns: Turns, draw: Callable[[], bytes]) -> bytes:
        kept = pictures.find(key)
        return await turns.run(lambda: pictures.get(key, draw)) if kept is None else kept

    @app.get("/api/thumbnail/{tile_id}.webp", responses=PICTURE, response_class=Response)
    async def thumbnail(
        tile_id: TileId, size: Annotated[int, Query(ge=1, le=384)] = 192
    ) -> Response:
        """Return a picture of a tile, read from its scene."""
        key = (searcher.key, tile_id, picture_size(size))
        content = await drawn(key, thumbnails, lambda: searcher.thumbnail(tile_id, size))
        return Response(content, media_type="image/webp", headers=keep)

    @app.get("/api/scene/{number}.webp", responses=PICTURE, response_class=Response)
    async def scene(number: Annotated[int, PathParameter(ge=0, lt=2**31)]) -> Response:
        """Return a picture of a whole scene in web map projection."""
        key = (searcher.key, "scene", number)
        content = await drawn(key, scenes, lambda: searcher.scene_picture(number))
        return Response(content, media_type="image/webp", headers=keep)


def _add_search(app: FastAPI, searcher: Searcher) -> None:
    @app.post("/api/search", responses=FEATURES, response_class=Response)
    def search(request: SearchRequest) -> Response:
        """Find the tiles that look like the examples, best first."""
        found = searcher.shown(searcher.search(request))
        return Response(feature_collection(found), media_type=GEOJSON)

    @app.post("/api/search/file", responses={**WRONG, **FILES})
    def search_file(request: SearchFileRequest) -> Response:
        """Find the tiles that look like the examples, and write them to a file, best first.

        The header x-matches has their number. Percent-encoded, x-note says what no tile meets, and
        x-tile which tile stands for the point.
        """
        matches = searcher.search(request)
        answer = _file(searcher, matches, request.format, layer=request.layer)
        answer.headers["x-matches"] = str(len(matches))
        answer.headers["x-note"] = quote(searcher.unmet(request, matches))
        answer.headers["x-tile"] = quote(tile_at_point(matches.examples))
        return answer

    patches = Turns("patches", at_once=PATCHES, waiting=16)
    room = Room("patches", most=MOST_RECEIVED)

    @app.post("/api/patch", response_model=PatchAnswer, responses=WRONG, openapi_extra=PATCH)
    async def patch(
        request: Request, tile_size: TileSize = None, bands: Bands = None
    ) -> PatchAnswer:
        """Hash a GeoTIFF sent as the body."""
        name = _file_name(request.headers.get("x-file-name", ""))
        async with (
            room.receive(request.stream()) as content,  # without a turn, which slow ones would hold
            patches.turn(),
        ):
            hashed = partial(
                searcher.patch, content, name=name, tile_size=tile_size, bands=_bands(bands)
            )
            return await in_own_thread(hashed)

    @app.post("/api/export", responses={**WRONG, **FILES})
    def export_kept(request: ExportRequest) -> Response:
        """Write tiles to a file."""
        return _file(searcher, searcher.kept(request), request.format)


def _file(
    searcher: Searcher, matches: "GeoDataFrame", kind: str, *, layer: str = "matches"
) -> Response:
    """Write matches to a file that is sent as an attachment."""
    with tempfile.TemporaryDirectory(prefix="geohash-rs-") as folder:
        path = Path(folder) / f"matches.{kind}"
        if kind == "gpkg":  # its pictures are read from the full names of scenes
            allowed, shown = searcher.permission, searcher.shown
            with reporting(path):
                write_geopackage(iter([matches]), path, layer, permission=allowed, shown=shown)
        else:
            write(searcher.shown(matches), path)
        content = path.read_bytes()
    return _attachment(content, path.name, MEDIA[kind])


def _attachment(content: bytes, name: str, kind: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=kind, headers=headers)


def _add_concepts(app: FastAPI, teacher: Teacher) -> None:
    turns = Turns("concepts", at_once=CONCEPTS, waiting=32)

    @app.post("/api/concept", response_model=ConceptAnswer, responses=WRONG)
    async def learn(request: ConceptRequest) -> ConceptAnswer:
        """Learn a concept from marks, and score all tiles that pass the filters."""
        return await turns.run(lambda: teacher.learn(request))

    @app.post("/api/concept/tiles", responses=FEATURES, response_class=Response)
    async def judge(request: JudgeRequest) -> Response:
        """Choose tiles to judge next."""
        return Response(await turns.run(lambda: teacher.judge(request)), media_type=GEOJSON)

    @app.post("/api/concept/areas", responses=FEATURES, response_class=Response)
    async def areas(request: AreasRequest) -> Response:
        """Draw the areas of all tiles up to a cost."""
        return Response(await turns.run(lambda: teacher.areas(request)), media_type=GEOJSON)

    @app.post("/api/concept/export", responses={**WRONG, **FILES}, response_class=Response)
    async def export(request: AreasExportRequest) -> Response:
        """Write the areas of all tiles up to a cost to a file."""
        content = await turns.run(lambda: teacher.export(request))
        return _attachment(content, f"areas.{request.format}", MEDIA[request.format])

    @app.post("/api/concept/save", responses=CONCEPT, response_class=Response)
    async def save(request: ConceptRequest) -> Response:
        """Write a concept to a file."""
        content = await turns.run(lambda: teacher.save(request))
        return _attachment(content, "saved.concept", "application/json")

    @app.post(
        "/api/concept/open", response_model=MarksAnswer, responses=WRONG, openapi_extra=CONCEPT_BODY
    )
    async def open_file(request: Request) -> MarksAnswer:
        """Read a concept's file, sent as the body."""
        content = await request.body()
        return await turns.run(lambda: teacher.open(content))


def _bands(text: str | None) -> list[int | str] | None:
    """Read the bands of a patch, as the option --bands of `query` is read."""
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    return [int(part) if part.isdecimal() else part for part in parts] or None


def _file_name(header: str) -> str:
    """Clean up a browser's file name for use in messages."""
    name = "".join(c for c in unquote(header) if c.isprintable()).replace("\\", "/")
    return name.rsplit("/", 1)[-1][:100] or "the patch"
