"""What adding imagery did: tiles added, scenes left out and why."""

from dataclasses import dataclass, field

from geohash_rs.errors import SceneError

__all__ = ["AddReport"]


@dataclass(kw_only=True)
class AddReport:
    """What adding imagery did.

    Attributes:
        num_tiles: Tiles added.
        num_scenes: Scenes (or files) that they are from.
        num_nodata: Tiles left out because too little of them was seen.
        skipped: Scenes that could not be added, and why.
        unchanged: Scenes that the archive has already, left as they are.
        replaced: Scenes whose file or grid has changed, so that their tiles were replaced.
        notes: What was decided for the user and can be decided otherwise, one sentence each.
    """

    num_tiles: int = 0
    num_scenes: int = 0
    num_nodata: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, scene: str, reason: str, *, strict: bool) -> None:
        """Note that a scene cannot be added.

        Args:
            scene: Path or URI.
            reason: Why, on one line.
            strict: Stop instead.

        Raises:
            SceneError: If strict.
        """
        if strict:
            raise SceneError(reason)
        self.skipped.append((scene, reason))
