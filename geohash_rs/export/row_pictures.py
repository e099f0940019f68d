"""Read the pictures of matches and examples from their scenes, and say why some are missing."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from geohash_rs.errors import GeoHashRSWarning, SceneError

if TYPE_CHECKING:
    from geohash_rs.pictures.permission import Permission

__all__ = ["RowPictures", "read_pictures", "warn_of"]

WINDOW = ("scene", "col", "row", "width", "height")
NO_WINDOW = "no picture: it is not a window of a scene."


@dataclass(frozen=True, kw_only=True)
class RowPictures:
    """Pictures of rows.

    Attributes:
        webp: A WebP file for each row; None where there is none.
        reasons: A sentence for each row, empty where there is a picture.
    """

    webp: Sequence[bytes | None]
    reasons: Sequence[str]

    @property
    def lack(self) -> str:
        """What could not be read and why, in one sentence; empty if nothing failed."""
        return _lack(self.reasons)


def warn_of(reasons: Iterable[str], *, changed: str = "") -> None:
    """Warn once of all pictures of a file that could not be read, or show other content.

    Args:
        reasons: A sentence for each picture, empty where there is one.
        changed: Which scenes were changed since they were indexed, a sentence; empty if none.
    """
    if said := " ".join(filter(None, (_lack(reasons), changed))):
        warnings.warn(said, GeoHashRSWarning, stacklevel=3)


def _lack(reasons: Iterable[str]) -> str:
    failed = [reason for reason in reasons if reason not in ("", NO_WINDOW)]
    different = list(dict.fromkeys(failed))
    if not different:
        return ""
    others = f" ({len(different) - 1} more likewise)" if len(different) > 1 else ""
    many = f"{len(failed)} pictures are missing: " if len(failed) > 1 else ""
    return f"{many}{different[0].rstrip('.')}{others}."


def read_pictures(
    rows: Sequence[dict[str, Any]], *, size: int, permission: "Permission | None" = None
) -> RowPictures:
    """Read pictures of tiles and patches from their scenes.

    Args:
        rows: Their columns scene, col, row, width and height.
        size: Pixels of the longer side.
        permission: What pictures may be read from; None allows plain raster files of this machine.

    Returns:
        The pictures, and why others could not be read.
    """
    import pandas as pd

    from geohash_rs.pictures.permission import RELOCATE
    from geohash_rs.pictures.tiles import Thumbnails, encode_webp

    thumbnails = Thumbnails(permission)
    webp: list[bytes | None] = []
    reasons = []
    for row in rows:
        picture, reason = None, ""
        values = [row.get(name) for name in WINDOW]
        if any(pd.isna(value) for value in values):
            reason = NO_WINDOW
        else:
            window = [int(value) for value in values[1:]]  # type: ignore[arg-type]  # not missing
            try:
                picture = encode_webp(thumbnails.read(str(values[0]), window, size=size))
            except SceneError as error:
                reason = str(error)
                if "example" in row and pd.isna(row.get("tile_id")):  # a patch, not of the archive
                    reason = reason.replace(RELOCATE, "")
        webp.append(picture)
        reasons.append(reason)
    return RowPictures(webp=webp, reasons=reasons)
