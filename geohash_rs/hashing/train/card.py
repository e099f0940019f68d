"""The card of a trained hasher: what it learned from, how well it retrieves, its limits."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["trained_notes"]

TAUGHT = (
    "classes that it was not taught, among which general-BITS, fitted without labels, often finds "
    "more"
)
GROUND = "tiles whose pixels have another ground size"
DIGITS = 4


def trained_notes(
    method: str,
    *,
    data: str,
    split: str,
    figures: Mapping[str, Mapping[str, float]],
    classes: Sequence[str] = (),
    labelled: bool = True,
) -> dict[str, Any]:
    """Make the notes of a hasher that was fitted on one part of a data set, measured on another.

    Args:
        method: What was trained, such as "MiLaN".
        data: Name of the data set.
        split: The tiles that it learned from and those that measured it, in words, such as "1260
            tiles train, 420 others validate".
        figures: By measure, such as "map@20", the figures of the hasher's method and of those to
            compare it with.
        classes: Names of the classes that it learned, if they are known.
        labelled: Whether it learned from labels.

    Returns:
        Notes for `Hasher`, JSON values: "about", "data", "use", "not_for", "split" and "figures",
        and "classes" if they are known.
    """
    taught = labelled and bool(classes)
    return {
        "about": f"{method} for {f'the {len(classes)} classes of ' if taught else ''}{data}",
        "data": data,
        "use": f"imagery like {data}{', with these classes' if taught else ''}",
        "not_for": f"{TAUGHT}; {GROUND}" if labelled else GROUND,
        "split": split,
        "figures": {
            measure: {name: round(value, DIGITS) for name, value in values.items()}
            for measure, values in figures.items()
        },
        **({"classes": list(classes)} if classes else {}),
    }
