"""Explain a patch whose size or pixels do not go with an archive's tiles."""

from dataclasses import dataclass

from geohash_rs.errors import PatchError

__all__ = ["Fit", "coarse_notes", "too_many_tiles"]

Window = tuple[int, int, int, int]  # column, row, width, height

COARSE = 4  # a patch with pixels this many times larger hardly shows what a tile shows


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The tile size that a patch is cut by.

    Attributes:
        tile_size: Columns and rows of the archive's tiles, px of its own.
        shape: Columns and rows of the patch that cover the ground of a tile.
        pixel: Ground size of the patch's pixels, m; None if that of the archive is not known.
        archive_pixel: Ground size of the archive's pixels, m; None if it is not known.
    """

    tile_size: int
    shape: tuple[int, int]
    pixel: float | None
    archive_pixel: float | None

    @property
    def coarseness(self) -> float:
        """How many times larger the patch's pixels are than the archive's."""
        return (
            1.0
            if self.pixel is None or self.archive_pixel is None
            else self.pixel / self.archive_pixel
        )


def coarse_notes(name: str, fit: Fit) -> list[str]:
    """Report a patch whose pixels are too large to show what a tile shows.

    Args:
        name: Name of its file.
        fit: Its tile size.

    Returns:
        Sentences for a user.

    Raises:
        PatchError: If a tile of the archive covers less than one of its pixels.
    """
    if fit.coarseness < COARSE:
        return []
    if fit.coarseness > fit.tile_size:
        msg = (
            f"{name} has pixels of {_metres(fit.pixel)}, and a tile of the archive covers "
            f"{_ground(fit)}, less than one of them; search with imagery whose pixels are nearer "
            f"to the archive's {_metres(fit.archive_pixel)}."
        )
        raise PatchError(msg)
    return [
        f"{_coarse(name, fit)}, so matches may mean little; search with imagery whose pixels are "
        f"nearer to the archive's {_metres(fit.archive_pixel)}."
    ]


def too_many_tiles(name: str, whole: Window, fit: Fit, *, count: int, most: int) -> str:
    """Explain a patch that makes too many tiles, and offer windows that do not.

    Args:
        name: Name of its file.
        whole: The part of it that was asked for.
        fit: Its tile size.
        count: How many tiles it makes.
        most: How many a search takes.

    Returns:
        Sentences for a user.
    """
    side = int(most**0.5)
    many = _window(_middle(whole, (side * fit.shape[0], side * fit.shape[1])))
    what = f"{count} tiles of the archive, but a search takes at most {most}"
    if fit.coarseness >= COARSE:
        return (
            f"{_coarse(name, fit)}; the file covers as much ground as {what}. Search with imagery "
            f"of about {_metres(fit.archive_pixel)}, or with a part, such as {many}."
        )
    return (
        f"{name} covers as much ground ({whole[2]} x {whole[3]} px) as {what}. Search with the "
        f"part that shows what you look for: {_window(_middle(whole, fit.shape))} is a tile in its "
        f"middle, {many} the largest part around it."
    )


def _coarse(name: str, fit: Fit) -> str:
    return (
        f"{name} has pixels of {_metres(fit.pixel)}, {fit.coarseness:.2g} times as large as the "
        f"archive's, and a tile of {_ground(fit)} is only {fit.shape[0]} x {fit.shape[1]} of them"
    )


def _ground(fit: Fit) -> str:
    return _metres(None if fit.archive_pixel is None else fit.tile_size * fit.archive_pixel)


def _metres(length: float | None) -> str:
    if length is None:
        return "unknown size"
    rounded = float(f"{length:.3g}")
    return f"{rounded:,.0f} m" if rounded >= 100 else f"{rounded:g} m"


def _middle(whole: Window, shape: tuple[int, int]) -> Window:
    width, height = min(shape[0], whole[2]), min(shape[1], whole[3])
    return (whole[0] + (whole[2] - width) // 2, whole[1] + (whole[3] - height) // 2, width, height)


def _window(window: Window) -> str:
    return f"window=({', '.join(map(str, window))})"
