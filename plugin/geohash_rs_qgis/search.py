"""What is searched with: a patch or a tile, and the tiles that were marked; asks the server."""

from qgis.PyQt.QtCore import QObject, pyqtSignal

from .client import abort
from .strip import RIGHT, WRONG

PATCH = ("name", "codes", "hasher", "place")  # what the server takes of its own answer


class Search(QObject):
    """The examples of a search, and the requests that use them.

    Every request cancels the ones before, so that an old answer never replaces a new one.

    Signals:
        found: Matches, a list of GeoJSON features, best first.
        placed: Where the example lies, a GeoJSON geometry or None, and notes about it, a list.
        choices: All tiles at a clicked point, a list of GeoJSON features, the one in use first.
        failed: What went wrong, in words for the user.
        begun: A request was sent.
    """

    found = pyqtSignal(list)
    placed = pyqtSignal(object, list)
    choices = pyqtSignal(list)
    failed = pyqtSignal(str)
    begun = pyqtSignal()

    def __init__(self, client, parent=None):
        """Start without an example.

        Args:
            client: Asks the server.
            parent: What owns it.
        """
        super().__init__(parent)
        self._client = client
        self._patch = None  # the server's description of a patch
        self._tile = None
        self._asked = {}  # what the last matches were found with, as people see it
        self._replies = []

    def forget(self):
        """Forget the examples, for another archive."""
        self.cancel()
        self._patch = self._tile = None
        self._asked = {}

    def cancel(self):
        """Abort what is being asked."""
        abort(self._replies)

    def has_example(self):
        """Return whether there is something to search with."""
        return self._patch is not None or self._tile is not None

    def with_patch(self, content, name, request, verdicts, *, bands=None):
        """Search with a GeoTIFF.

        Args:
            content: The file, bytes.
            name: Its name in messages.
            request: Limits of the search, as `SearchRequest` of the server names them.
            verdicts: RIGHT or WRONG of marked tiles.
            bands: Its bands, such as "4,3,2"; None lets the server choose.
        """
        sizes = request.get("tile_sizes") or [None]

        def hashed(answer):
            self._patch, self._tile = answer, None
            self.placed.emit(answer["place"] or None, answer["notes"])
            self.again(request, verdicts)

        self._ask("/api/patch", content, hashed, name=name, bands=bands, tile_size=sizes[0])

    def with_tile(self, tile, request, verdicts):
        """Search with a tile of the archive.

        Args:
            tile: Its GeoJSON feature.
            request: As in `with_patch`.
            verdicts: As in `with_patch`.
        """
        self._patch, self._tile = None, int(tile["properties"]["tile_id"])
        self.placed.emit(tile["geometry"], [])
        self.again(request, verdicts)

    def at_point(self, place, limits, chosen):
        """Find the tiles at a point that pass When and Tile size.

        Args:
            place: Longitude and latitude.
            limits: As from the form; only time and tile_sizes count.
            chosen: Called with the tile to search with, after the signal `choices`: the smallest,
                of those the latest, of those the one whose centre is nearest.
        """
        sizes = limits.get("tile_sizes") or [None]
        time = limits.get("time") and "/".join(end or ".." for end in limits["time"])

        def listed(answer):
            self.choices.emit(answer["features"])
            chosen(answer["features"][0])

        self.cancel()
        self.begun.emit()
        lon, lat = place
        self._get("/api/tiles-at", listed, lon=lon, lat=lat, time=time, tile_size=sizes[0])

    def again(self, request, verdicts):
        """Search with the example in use and what was marked.

        Args:
            request: As in `with_patch`.
            verdicts: As in `with_patch`.
        """
        right = [tile for tile, verdict in verdicts.items() if verdict == RIGHT]
        wrong = [tile for tile, verdict in verdicts.items() if verdict == WRONG]
        if self._tile is not None and self._tile not in right:
            right.insert(0, self._tile)
        if not right and self._patch is None:
            self.failed.emit("Draw a rectangle, click a tile, drop a file or mark a match right.")
            return
        tiles = {"tiles": right, "negatives": [one for one in wrong if one not in right]}
        patches = []
        if self._patch is not None:
            patches = [{name: self._patch[name] or None for name in PATCH}]

        def found(answer):
            shown = [{name: one[name] for name in ("name", "place")} for one in patches]
            self._asked = {**tiles, "patches": shown}
            self.found.emit(answer["features"])

        self._ask("/api/search", {**request, **tiles, "patches": patches}, found)

    def export(self, features, done):
        """Write matches and what was searched with to a GeoPackage, with styles and pictures.

        Args:
            features: As in the signal `found`, of the last search.
            done: Called with the file, bytes.
        """
        names = ("tile_id", "distance", "similarity")
        tiles = [{name: one["properties"][name] for name in names} for one in features]
        self._ask("/api/export", {"format": "gpkg", "tiles": tiles, "query": self._asked}, done)

    def _get(self, path, done, **query):
        self._replies.append(self._client.get(path, done, self.failed.emit, **query))

    def _ask(self, path, body, done, **query):
        self.cancel()
        self.begun.emit()
        self._replies.append(self._client.post(path, body, done, self.failed.emit, **query))
