"""Sentences for a run's report on choices made for the user."""

import re
from collections.abc import Sequence

from geohash_rs.scenes.band_labels import COLOURS_SAY, NAME_SAYS
from geohash_rs.scenes.bands import BY_ORDER, BandChoice, enumerated
from geohash_rs.scenes.file import SceneFile

__all__ = [
    "band_notes",
    "conflict_notes",
    "container_notes",
    "date_notes",
    "moved_note",
    "range_notes",
    "regrid_note",
    "size_notes",
    "stack_notes",
    "unseen_note",
    "vector_notes",
]


MANY_BANDS = 32  # more than most cameras have, and fewer than an embedding
YEAR = re.compile(r"(?<!\d)(?:19|20)\d\d(?!\d)")


def band_notes(
    files: Sequence[SceneFile], choices: Sequence[BandChoice | None], *, names: Sequence[str]
) -> list[str]:
    """Report bands that are not read, and scenes whose bands are read in order.

    Args:
        files: The scenes.
        choices: The bands chosen from each; None if they do not fit.
        names: Bands that the hasher expects.

    Returns:
        Sentences for a user.
    """
    shown, notes = enumerated(names), []
    more = [file for file in files if len(file.color_bands) > len(names)]
    if more:
        notes.append(
            f"{len(more)} of {len(files)} scenes have more bands than {shown} (such as "
            f"{more[0].name}: {more[0].listed}); the others are not read. Choose other bands with "
            "bands=..."
        )
    ordered = [
        file
        for file, choice in zip(files, choices, strict=True)
        if choice is not None and choice.by == BY_ORDER
    ]
    if ordered and len(names) > 1:
        notes.append(
            f"{len(ordered)} of {len(files)} scenes do not say what their bands show (such as "
            f"{ordered[0].name}), so they are read in order as {shown}. Choose other bands "
            "with bands=..."
        )
    return notes


def date_notes(files: Sequence[SceneFile]) -> list[str]:
    """Report scenes without a date whose names may state a year.

    Args:
        files: The scenes.

    Returns:
        Sentences for a user.
    """
    found = [file for file in files if file.dates is None and YEAR.search(file.name)]
    if not found:
        return []
    return [
        f"{len(found)} of {len(files)} scenes have no date, but perhaps a year in their names "
        f"(such as {found[0].name}). If so, index them again with "
        "date_format=%Y and filename_regex='.*?(?P<date>(19|20)[0-9]{2})'; otherwise a search by "
        "time does not find them."
    ]


def conflict_notes(files: Sequence[SceneFile], choices: Sequence[BandChoice | None]) -> list[str]:
    """Report scenes that contradict themselves, or each other, on what their bands show.

    Args:
        files: The scenes.
        choices: The bands chosen from each; None if they do not fit.

    Returns:
        Sentences for a user.
    """
    notes = []
    known = [(file, choice) for file, choice in zip(files, choices, strict=True) if choice]
    doubtful = [(file, choice.conflict) for file, choice in known if choice.conflict]
    if doubtful:
        file, conflict = doubtful[0]
        notes.append(
            f"{len(doubtful)} of {len(files)} scenes contradict themselves on what their bands "
            f"show (such as {file.name}: {conflict}). The first reading is used; choose other "
            "bands with bands=..."
        )
    # A copy under another name loses what the name said, and drivers invent the colours.
    invented = [(file, choice) for file, choice in known if COLOURS_SAY in choice.by]
    for file, choice in invented:
        others = (
            (like, how)
            for like, how in known
            if (like.count, like.dtypes) == (file.count, file.dtypes)
            and how.indexes != choice.indexes
            and NAME_SAYS in how.by
        )
        if (other := next(others, None)) is not None:
            notes.append(
                f"{file.name} and {other[0].name} have the same number and type of bands, but "
                f"bands {choice} are read from one and bands {other[1]} from the other; if they "
                "are laid out alike, index them into separate archives and choose bands with "
                "bands=..."
            )
            break
    return notes


def range_notes(
    files: Sequence[SceneFile], out_of_range: Sequence[SceneFile], value_range: tuple[float, float]
) -> list[str]:
    """Report pictures of 8 bits to which a range of values does not apply.

    Args:
        files: The scenes.
        out_of_range: Those pictures, one or more.
        value_range: The range.

    Returns:
        Sentences for a user.
    """
    low, high = value_range
    return [
        f"{len(out_of_range)} of {len(files)} scenes are 8-bit pictures (such as "
        f"{out_of_range[0].name}), so value_range=({low:g}, {high:g}) does not apply to them; they "
        "are read as they are."
    ]


def size_notes(
    files: Sequence[SceneFile], left_out: Sequence[Sequence[tuple[int, str]]]
) -> list[str]:
    """Report the tile sizes in which scenes have no tiles.

    Args:
        files: The scenes.
        left_out: The sizes that each has no tiles of, px, and why.

    Returns:
        Sentences for a user, one for each size.
    """
    found: dict[int, list[tuple[SceneFile, str]]] = {}
    for file, sizes in zip(files, left_out, strict=True):
        for size, why in sizes:
            found.setdefault(size, []).append((file, why))
    notes = []
    for size, scenes in sorted(found.items()):
        file, why = scenes[0]
        notes.append(
            f"{len(scenes)} of {len(files)} scenes have tiles of other sizes, but none of {size} "
            f"px (such as {file.name}: {why.removesuffix('.')})."
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
    if not stacks and other_layers:
        return [
            f"{len(other_layers)} quality layers and previews of scenes are left out (such as "
            f"{other_layers[0]}); name one as a file to index it alone."
        ]
    if not stacks:
        return []
    first, others = stacks[0], len(other_layers)
    left = f" Their {others} quality layers and previews are left out." if others else ""
    return [
        f"{len(stacks)} scenes have one file per band. Their bands are stacked, as with "
        f"'gdalbuildvrt -separate', on the finest grid of the bands (such as "
        f"{first.name}: {first.listed}, {first.width} x {first.height} px).{left}"
    ]


def container_notes(containers: Sequence[tuple[str, str]]) -> list[str]:
    """Report files in folders that hold other files or several rasters, and so are not read.

    Args:
        containers: Path of each, and what to do with it.

    Returns:
        Sentences for a user.
    """
    if not containers:
        return []
    path, advice = containers[0]
    if len(containers) == 1:
        return [f"{path} is not read: it is {advice}."]
    return [
        f"{len(containers)} files are not read because of what they are (such as {path}: {advice})."
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


def vector_notes(files: Sequence[SceneFile]) -> list[str]:
    """Report pictures that may be an embedding instead.

    Args:
        files: Scenes that are hashed as pictures.

    Returns:
        Sentences for a user.
    """
    many = [file for file in files if len(file.color_bands) >= MANY_BANDS]
    if not many:
        return []
    first = many[0]
    count = len(first.color_bands)
    encoded = (count, first.dtype) == (64, "int8")
    perhaps, name = (", perhaps AlphaEarth", "alphaearth") if encoded else ("", "raw:MODEL")
    return [
        f"{len(many)} of {len(files)} scenes look like an embedding{perhaps} (such as "
        f"{first.name}: {count} bands of {first.dtype}), but are hashed as pictures. If their "
        "bands are a vector for each pixel, add them to another archive and name it, such as "
        f'embedding="{name}".'
    ]


def moved_note(moved: Sequence[tuple[str, str]], num_tiles: int) -> str:
    """Report scenes that an archive has under a former path.

    Args:
        moved: Former and present path of each; one or more.
        num_tiles: Tiles of these scenes.

    Returns:
        A sentence for a user.
    """
    old, new = moved[0]
    scenes = "1 scene was" if len(moved) == 1 else f"{len(moved)} scenes were"
    more = f" and {len(moved) - 1} more" if len(moved) > 1 else ""
    return (
        f"{scenes} moved or renamed since it was indexed: {new}, formerly {old}{more}; "
        f"{num_tiles} tiles are kept under the new path."
    )


def regrid_note(
    names: Sequence[str],
    *,
    num_tiles: int,
    before: Sequence[tuple[int, int]],
    now: Sequence[tuple[int, int]],
) -> str:
    """Report scenes whose tiles have another size or stride in an archive.

    Args:
        names: The scenes; one or more.
        num_tiles: Their tiles in the archive.
        before: Tile size and stride of each grid of the first of them, px.
        now: The same of the present run.

    Returns:
        Sentences for a user.
    """
    scenes = "1 scene" if len(names) == 1 else f"{len(names)} scenes"
    both = sorted({size for size, _ in (*before, *now)})
    keep = f"tile_size=({', '.join(map(str, both))})"
    if len(both) == 1:
        keep = "another archive for the other stride"
    return (
        f"{scenes} of the archive (such as {names[0]}) have {num_tiles} tiles of "
        f"{_grids(before)}, which would be replaced by tiles of {_grids(now)}. Pass replace=True "
        f"to replace them; to have both, use {keep}."
    )


def _grids(grids: Sequence[tuple[int, int]]) -> str:
    shown = [f"{size} px" + (f" (stride {step})" if step != size else "") for size, step in grids]
    return " and ".join(shown)
