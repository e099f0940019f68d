"""What adding imagery did: tiles added, scenes left out and why, and whether codes differ."""

import warnings
from dataclasses import dataclass, field

from geohash_rs.errors import GeoHashRSWarning, SceneError
from geohash_rs.store.code_counts import count_codes
from geohash_rs.store.snapshot import Answers

__all__ = ["AddReport", "check_codes_differ"]

FEWEST_TILES = 16  # fewer may well be alike
NAMED = 3  # scenes that a warning names


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
        clipped: Scenes nearly all of whose values lie beyond those that the hasher was made for.
        num_codes: Distinct codes of the tiles added, or of a million of them if there are more.
        notes: What was decided for the user and can be decided otherwise, one sentence each.
    """

    num_tiles: int = 0
    num_scenes: int = 0
    num_nodata: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    num_codes: int = 0
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


def check_codes_differ(archive: Answers, report: AddReport, *, first_id: int) -> None:
    """Count the distinct codes of a run, and warn if its tiles cannot be told apart.

    Args:
        archive: The archive, after the run.
        report: What the run did; the count is added.
        first_id: The first id that the run could give to a tile.
    """
    if not report.num_tiles:
        return
    counts = count_codes(archive, first_id=first_id)
    report.num_codes = counts.num_codes
    if counts.num_tiles >= FEWEST_TILES and counts.num_alike > counts.num_tiles / 2:
        msg = (
            f"{counts.num_alike} of {counts.num_tiles} tiles share one code, so that they cannot "
            "be told apart: either they show nothing, or their values are not those that the "
            "hasher was made for. Compare the values of the scenes ('gdalinfo -stats') with the "
            "hasher's ('geohash-rs info'), and see value_range=(LOW, HIGH)."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
    elif report.clipped:
        names = [scene.rsplit("/", 1)[-1] for scene in report.clipped]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        msg = (
            f"nearly all values of {', '.join(names[:NAMED])}{more} lie beyond the range that the "
            "hasher was made for, so that their tiles look alike to it. They are dark or bright "
            "ground, or other values than those of the other scenes: see value_range=(LOW, HIGH)."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
