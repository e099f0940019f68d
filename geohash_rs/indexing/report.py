"""The report of adding imagery: tiles added, scenes left out and why, whether codes differ."""

import warnings
from dataclasses import dataclass, field

from geohash_rs.errors import GeoHashRSWarning, SceneError
from geohash_rs.hashing.files import describe_hasher
from geohash_rs.scenes.value_doubts import explain_fill
from geohash_rs.store.code_counts import count_codes
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.health import measure_health
from geohash_rs.store.snapshot import Answers

__all__ = ["AddReport", "check_codes_differ", "check_fit"]

FEWEST_TILES = 16  # fewer tiles may share a code by chance
FEWEST_OF_SENSOR = 64  # fewer tiles may show one kind of ground
APART = 0.42  # least share of the bits in which two tiles differ; a hasher that fits has half
NAMED = 3  # scenes named in a warning


@dataclass(kw_only=True)
class AddReport:
    """What adding imagery did.

    Attributes:
        num_tiles: Tiles added.
        num_scenes: Scenes (or files) that they come from.
        num_nodata: Tiles left out because too many of their pixels are nodata.
        skipped: Scenes that could not be added, and why.
        unchanged: Scenes that the archive already has; they were skipped.
        replaced: Scenes whose tiles were replaced because their file or grid has changed.
        clipped: Scenes with nearly all values outside the range that the hasher was made for, or
            on another scale.
        doubts: Why, one sentence for each of them.
        fills: Usual fill values that files hold but do not declare, each with the file's name.
        num_codes: Distinct codes of the tiles added, or of a million of them if there are more.
        unfit: Scenes whose tiles the hasher hardly distinguishes, since it was fitted on others.
        notes: Choices made for the user, who can change them, one sentence each.
    """

    num_tiles: int = 0
    num_scenes: int = 0
    num_nodata: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    fills: list[tuple[float, str]] = field(default_factory=list)
    num_codes: int = 0
    unfit: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def skip(self, scene: str, reason: str, *, strict: bool) -> None:
        """Record that a scene cannot be added.

        Args:
            scene: Path or URI.
            reason: Why, on one line.
            strict: Raise an error instead.

        Raises:
            SceneError: If strict.
        """
        if strict:
            raise SceneError(reason)
        self.skipped.append((scene, reason))


def check_codes_differ(archive: Answers, report: AddReport, *, first_id: int) -> None:
    """Count the distinct codes of a run, and warn if its tiles can hardly be distinguished.

    Args:
        archive: The archive, after the run.
        report: Report of the run; the count is added to it.
        first_id: Smallest id that a tile of the run can have.
    """
    if not report.num_tiles:
        return
    counts = count_codes(archive, first_id=first_id)
    report.num_codes = counts.num_codes
    doubt = report.doubts[0] if report.doubts else ""
    if len(report.doubts) > 1:
        doubt += f" The same is true of {len(report.doubts) - 1} other scenes."
    if counts.num_tiles >= FEWEST_TILES and counts.num_alike > counts.num_tiles / 2:
        usual = (
            "either they show nothing, or the hasher was made for different values. Compare the "
            "values of the scenes ('gdalinfo -stats') with those of the hasher ('geohash-rs "
            "info'), and see value_range=(LOW, HIGH)."
        )
        doubt = (
            f"{counts.num_alike} of {counts.num_tiles} tiles share one code, so a search cannot "
            f"distinguish them: {doubt or usual}"
        )
    if doubt:
        warnings.warn(doubt, GeoHashRSWarning, stacklevel=3)
    for fill in dict(report.fills):
        names = [name for value, name in report.fills if value == fill]
        warnings.warn(explain_fill(names, fill), GeoHashRSWarning, stacklevel=3)


def check_fit(archive: CodeStore, report: AddReport, *, first_id: int) -> None:
    """Warn if a hasher that was fitted on other imagery tells the tiles of a run badly apart.

    Bits of a hasher that fits are ones in about half of a sensor's tiles, so that two tiles differ
    in half of them.

    Args:
        archive: The archive, after the run.
        report: Report of the run; the scenes are added to it.
        first_id: Smallest id that a tile of the run can have.
    """
    file = archive.hasher_file
    if not report.num_tiles or file is None or "fitted_on" not in describe_hasher(file)["notes"]:
        return
    for sensor in measure_health(archive):
        num_bits = len(sensor.ones)
        found = sorted(scene for scene, last in sensor.scenes.items() if last >= first_id)
        fits = sensor.num_tiles < FEWEST_OF_SENSOR or sensor.mean_distance >= APART * num_bits
        if fits or not found:
            continue
        report.unfit += found
        names = ", ".join(scene.rsplit("/", 1)[-1] for scene in found[:NAMED])
        more = f" and {len(found) - NAMED} others" if len(found) > NAMED else ""
        msg = (
            f"the hasher does not fit {names}{more} ({sensor.sensor}): two tiles of this sensor "
            f"differ in {sensor.mean_distance:.1f} of {num_bits} bits on average, and "
            f"{sensor.num_constant} bits are the same in all, so searches among them find less. "
            f"'geohash-rs refit {archive.path}' fits the hasher to all that the archive holds."
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
