"""Sentences for a run's report on choices made for the user."""

from collections.abc import Sequence

from geohash_rs.scenes.bands import BY_ORDER
from geohash_rs.scenes.file import SceneFile

__all__ = ["band_notes", "stack_notes", "unseen_note"]


def band_notes(
    files: Sequence[SceneFile], by: Sequence[str | None], *, names: Sequence[str]
) -> list[str]:
    """Report bands that are not read, and scenes whose bands are read in order.

    Args:
        files: The scenes.
        by: What decided the bands of each scene, as in `BandChoice`; None if they do not fit.
        names: Bands that the hasher expects.

    Returns:
        Sentences for a user.
    """
    shown, notes = ", ".join(names), []
    more = [file for file in files if len(file.color_bands) > len(names)]
    if more:
        notes.append(
            f"{len(more)} of {len(files)} scenes have more bands than {shown} (such as "
            f"{more[0].name}: {more[0].listed}); the others are not read. Choose other bands with "
            "bands=..."
        )
    ordered = [file for file, how in zip(files, by, strict=True) if how == BY_ORDER]
    if ordered and len(names) > 1:
        notes.append(
            f"{len(ordered)} of {len(files)} scenes do not say what their bands show (such as "
            f"{ordered[0].name}), so they are read in order as {shown}. Choose other bands "
            "with bands=..."
        )
    return notes


def stack_notes(files: Sequence[SceneFile], *, other_layers: Sequence[str]) -> list[str]:
    """Report that separate band files are read together.

    Args:
        files: The scenes.
        other_layers: Their quality layers and preview pictures, which are left out.

    Returns:
        Sentences for a user.
    """
    stacks = [file for file in files if file.is_stack]
    if not stacks:
        return []
    first, others = stacks[0], len(other_layers)
    left = f" Their {others} quality layers and previews are left out." if others else ""
    return [
        f"{len(stacks)} scenes have one file per band. Their bands are stacked, as with "
        f"'gdalbuildvrt -separate', on the finest grid of the bands (such as "
        f"{first.name}: {first.listed}, {first.width} x {first.height} px).{left}"
    ]


def unseen_note(unseen: Sequence[tuple[str, str]]) -> str:
    """Report scenes that are skipped although nothing shows whether they have changed.

    Args:
        unseen: Name of each scene, and the file or service whose state is unknown; one or more.

    Returns:
        A sentence for a user.
    """
    scene, place = unseen[0]
    more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
    return (
        f"{scene}{more} skipped as indexed before, but nothing shows whether the file at {place} "
        "has changed; compare by checksum (checksum=True, --checksum) if its server states one, or "
        "remove the scene and add it again."
    )
