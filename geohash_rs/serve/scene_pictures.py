"""Draw an archive's scenes for the map."""

import threading

from geohash_rs.errors import QueryError
from geohash_rs.export.plain_text import scene_name
from geohash_rs.pictures.scenes import PlacedScene, draw_scene, place_scene, scenes_in_view
from geohash_rs.pictures.tiles import Thumbnails, encode_webp
from geohash_rs.serve.geojson import short_names
from geohash_rs.serve.messages import ListedScene, SceneAnswer, SceneListAnswer
from geohash_rs.serve.scene_list import find_scenes, list_scenes
from geohash_rs.serve.shown import EVERYTHING, Shown
from geohash_rs.serve.view import parse_view
from geohash_rs.store.code_store import CodeStore

__all__ = ["ScenePictures"]


class ScenePictures:
    """The scenes of an archive on the map; thread-safe."""

    def __init__(self, archive: CodeStore) -> None:
        """Store the archive.

        Args:
            archive: Open for reading.
        """
        self.archive = archive
        self._lock = threading.Lock()
        self._placed: tuple[object, dict[int, PlacedScene]] | None = None
        self._listed: tuple[object, list[ListedScene]] | None = None

    def in_view(self, bbox: str, *, shown: Shown = EVERYTHING) -> list[SceneAnswer]:
        """List the scenes in view that are shown and large enough.

        Args:
            bbox: The view, as `parse_view` reads it.
            shown: What the map shows.

        Returns:
            The scenes in drawing order, the topmost last.

        Raises:
            RegionError: If the view is invalid.
        """
        asked = {
            number: scene
            for number, scene in self.placed().items()
            if shown.has_scene(scene.scene, scene.date, scene.end)
        }
        return [
            SceneAnswer(
                number=number,
                name=scene_name(scene.scene),
                date=None if scene.date is None else scene.date.date().isoformat(),
                bounds=scene.bounds,
            )
            for number, scene in scenes_in_view(asked, parse_view(bbox))
        ]

    def find(self, text: str, *, start: int = 0) -> SceneListAnswer:
        """List scenes by name and date, see `find_scenes`."""
        state = self.archive.manifest
        listed = self._listed
        if listed is None or listed[0] is not state:
            listed = state, list_scenes(self.archive.scenes(), self.placed())
            self._listed = listed
        return find_scenes(listed[1], text, start=start)

    def draw(self, number: int, thumbnails: Thumbnails) -> bytes:
        """Draw a scene in web map projection.

        Args:
            number: Its number among the archive's scenes.
            thumbnails: Provides the brightness range of scenes.

        Returns:
            A WebP image.

        Raises:
            QueryError: If the archive has no such scene, or the map cannot show it.
            SceneError: If it cannot be read.
        """
        scene = self.placed().get(number)
        if scene is None:
            msg = f"the archive has no scene number {number} on the map; see /api/scenes."
            raise QueryError(msg)
        with short_names(scene.scene):
            return encode_webp(draw_scene(scene, thumbnails), quality=75)

    def placed(self) -> dict[int, PlacedScene]:
        """Return where the scenes lie, by number; those that the map cannot show are missing."""
        state = self.archive.manifest
        with self._lock:
            if self._placed is None or self._placed[0] is not state:
                placed = {
                    number: place_scene(
                        record.scene,
                        crs=record.crs,
                        transform=record.transform,
                        size=(record.width, record.height),
                        date=record.datetime,
                        end=record.datetime_end,
                    )
                    for number, record in enumerate(self.archive.scenes())
                }
                self._placed = state, {n: scene for n, scene in placed.items() if scene is not None}
            return self._placed[1]
