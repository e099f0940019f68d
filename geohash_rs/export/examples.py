"""What a query was made of, as people read it next to the matches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from geohash_rs.export.lonlat import lonlat_geometries
from geohash_rs.export.match_text import moment_text, query_text
from geohash_rs.export.plain_text import plain_text, scene_name
from geohash_rs.export.row_pictures import read_pictures

if TYPE_CHECKING:
    from geopandas import GeoDataFrame

    from geohash_rs.pictures.permission import Permission

__all__ = ["Examples", "ShownExample", "examples_of", "outlines", "read_examples"]

COLUMNS = {"example", "positive"}
Shapes = npt.NDArray[np.object_]


@dataclass(frozen=True, kw_only=True)
class ShownExample:
    """An example with its picture.

    Attributes:
        name: Such as "tile 12" or "patch.tif".
        date: When it was taken; empty if that is not known.
        scene: Name of its scene; empty if it has none, or has the same name.
        webp: Its picture, a WebP file; None if there is none.
        reason: Why there is no picture, a sentence; empty if there is one.
    """

    name: str
    date: str
    scene: str
    webp: bytes | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The first examples of each kind.

    Attributes:
        right: Those of what to find.
        wrong: Those of what not to find.
        more_right: How many more there are of what to find.
        more_wrong: The same of what not to find.
        reasons: Why there is no picture, a sentence for each example shown; empty where there is.
    """

    right: Sequence[ShownExample] = ()
    wrong: Sequence[ShownExample] = ()
    more_right: int = 0
    more_wrong: int = 0
    reasons: Sequence[str] = ()

    def __len__(self) -> int:
        """Return how many are shown."""
        return len(self.right) + len(self.wrong)


def examples_of(frame: "GeoDataFrame") -> "GeoDataFrame | None":
    """Return what a table of matches was searched with.

    Args:
        frame: Any table of footprints.

    Returns:
        Its attribute `examples`, a row for each example with the columns example, positive,
        tile_id, scene, col, row, width, height, datetime and geometry; None if it has none.
    """
    found: GeoDataFrame | None = getattr(frame, "examples", None)
    known = set(getattr(found, "columns", ())) >= COLUMNS  # a column may have this name
    return found if known and found is not None and len(found) else None


def outlines(frame: "GeoDataFrame") -> tuple[Shapes, Shapes]:
    """Return where the examples of matches lie.

    Args:
        frame: Any table of footprints.

    Returns:
        Footprints of what to find and of what not to find, in lon/lat, split at the antimeridian,
        None where an example has no place; two arrays of shape (examples,).
    """
    found = examples_of(frame)
    if found is None:
        return np.empty(0, object), np.empty(0, object)
    shapes, positive = lonlat_geometries(found), found["positive"].to_numpy(bool)
    return shapes[positive], shapes[~positive]


def read_examples(
    frame: "GeoDataFrame", *, size: int, most: int, permission: "Permission | None" = None
) -> Examples:
    """Read the first examples of matches, with their pictures.

    Args:
        frame: Any table of footprints.
        size: Pixels of the longer side of a picture.
        most: Most examples of each kind to read.
        permission: What pictures may be read from; None allows plain raster files of this machine.

    Returns:
        The examples; without any if the table does not come from a query.
    """
    found = examples_of(frame)
    if found is None:
        return Examples()
    positive = found["positive"].to_numpy(bool)
    rows = found.drop(columns=found.geometry.name).to_dict("records")
    right = [row for row, kind in zip(rows, positive, strict=True) if kind]
    wrong = [row for row, kind in zip(rows, positive, strict=True) if not kind]
    first = [*right[:most], *wrong[:most]]
    pictures = read_pictures(first, size=size, permission=permission)
    shown = list(map(_shown, first, pictures.webp, pictures.reasons))
    return Examples(
        right=shown[: len(right[:most])],
        wrong=shown[len(right[:most]) :],
        more_right=len(right[most:]),
        more_wrong=len(wrong[most:]),
        reasons=pictures.reasons,
    )


def _shown(row: dict[str, object], webp: bytes | None, reason: str) -> ShownExample:
    name, scene = plain_text(str(row["example"])), scene_name(row["scene"])
    asked = "" if str(row.get("query")) == name else query_text(row)  # a patch is its file
    date = moment_text(row["datetime"])
    return ShownExample(
        name=f"{asked}: {name}" if asked else name,
        date="" if date == "no date" else date,
        scene="" if scene == name else scene,
        webp=webp,
        reason=reason,
    )
