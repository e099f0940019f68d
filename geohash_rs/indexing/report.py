"""The report of adding imagery: tiles added, scenes left out and why, whether codes differ."""

import warnings
from dataclasses import dataclass, field

from geohash_rs.errors import GeoHashRSWarning, SceneError
from geohash_rs.hashing.description import describe_hasher
from geohash_rs.hashing.fit.training_free import is_training_free
from geohash_rs.scenes.value_doubts import explain_fill
from geohash_rs.store.code_counts import count_codes
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.health import FEWEST_OF_SENSOR, STEP, measure_health
from geohash_rs.store.snapshot import Answers

__all__ = ["AddReport", "check_codes_differ", "check_fit"]

FEWEST_TILES = 16  # fewer tiles may share a code by chance
APART = 0.42  # least share of the bits in which two tiles differ; a hasher that fits has half
KNOWN = 0.8  # of the mean distance of a sensor's tiles when the hasher was fitted on them
NAMED = 3  # scenes named in a warning


@dataclass(kw_only=True)
class AddReport:
    """What adding imagery did.

    Attributes:
        num_tiles: Tiles added.
        num_scenes: Scenes (or files) that they come from.
        num_nodata: Tiles left out because too many of their pixels are nodata.
        num_left_out: Vectors of tables left out because they, or their footprints, cannot be used;
            the notes say which and why.
        skipped: Scenes that could not be added, and why.
        unchanged: Scenes that the archive already has; they were skipped.
        replaced: Scenes whose tiles were replaced because their file or grid has changed.
        moved: Former and present path of scenes whose files were moved or renamed; their tiles
            were kept.
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
    num_left_out: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    moved: list[tuple[str, str]] = field(default_factory=list)
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


def check_fit(archive: CodeStore, *, first_id: int = 0) -> list[str]:
    """Warn if a hasher that was fitted on other imagery tells tiles badly apart.

    Bits of a hasher that fits are ones in about half of a sensor's tiles, so that two tiles differ
    in half of them.

    Args:
        archive: The archive.
        first_id: Smallest id of the tiles that were added; sensors without such tiles are passed
            over.

    Returns:
        The scenes of these tiles that the hasher does not fit.
    """
    if (file := archive.hasher_file) is None:
        return []
    about = describe_hasher(file)
    if not is_training_free(about["name"], about["notes"]):
        return []
    apart = about["notes"].get("apart")
    advice = f"'geohash-rs refit {archive.path}' fits the hasher to all that the archive holds."
    if about["name"].startswith(("itq-", "lsh-")):  # one head for all, also after a refit
        apart = {}
        advice = (
            f"'geohash-rs refit {archive.path} --hasher general-{about['num_bits']}' fits a hasher "
            "that treats each sensor apart."
        )
    unfit: list[str] = []
    for sensor in measure_health(archive):
        num_bits = len(sensor.ones)
        # tiles that all show one kind of ground are never far apart
        enough = min(APART * num_bits, KNOWN * _known(apart, sensor.sensor, most=num_bits))
        found = sorted(scene for scene, last in sensor.scenes.items() if last >= first_id)
        fits = sensor.num_tiles < FEWEST_OF_SENSOR or sensor.mean_distance >= enough
        if fits or not found:
            continue
        unfit += found
        names = ", ".join(scene.rsplit("/", 1)[-1] for scene in found[:NAMED])
        if (others := len(found) - NAMED) > 0:
            names += f" and {others} other scene{'s' if others > 1 else ''}"
        msg = (
            f"the hasher does not fit {names} ({sensor.sensor}): two tiles of this sensor differ "
            f"in {sensor.mean_distance:.1f} of {num_bits} bits on average, not in about half of "
            f"them (constant bits: {sensor.num_constant}), so searches among them find less. "
            f"{advice}"
        )
        warnings.warn(msg, GeoHashRSWarning, stacklevel=3)
    return unfit


def _known(apart: object, sensor: str, *, most: float) -> float:
    """Return how far apart tiles of a sensor were when the hasher was fitted, bits; else the most.

    A few more scenes may change the name of a sensor a little, such as from 10 m to 11 m.
    """
    found = most
    for name, distance in apart.items() if isinstance(apart, dict) else ():
        sizes, types = zip(*(str(one).partition(" m ")[::2] for one in (name, sensor)), strict=True)
        try:
            low, high = sorted(map(float, sizes))
        except ValueError:
            alike = name == sensor
        else:
            alike = types[0] == types[1] and high <= STEP * low
        if alike and isinstance(distance, int | float):
            found = min(found, float(distance))
    return found
