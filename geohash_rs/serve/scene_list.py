"""List the scenes of an archive for people: the latest first, found by name and date."""

from collections.abc import Mapping, Sequence

from geohash_rs.export.plain_text import scene_name
from geohash_rs.pictures.scenes import PlacedScene
from geohash_rs.serve.messages import ListedScene, SceneListAnswer
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["MOST_LISTED", "find_scenes", "list_scenes"]

MOST_LISTED = 100  # per response


def list_scenes(
    records: Sequence[SceneRecord], placed: Mapping[int, PlacedScene]
) -> list[ListedScene]:
    """List all scenes, the latest first; those without a date come last.

    Args:
        records: The scenes, in the order of their numbers.
        placed: Where scenes lie, by number; those that a web map cannot show are missing.

    Returns:
        The scenes; those of one date by name.
    """
    found = [
        ListedScene(
            number=number,
            name=scene_name(record.scene),
            date=None if record.datetime is None else record.datetime.date().isoformat(),
            num_tiles=record.num_tiles,
            bounds=placed[number].bounds if number in placed else None,
        )
        for number, record in enumerate(records)
    ]
    found.sort(key=lambda one: (one.name.casefold(), one.number))
    found.sort(key=lambda one: one.date or "", reverse=True)  # keeps the order of equal dates
    return found


def find_scenes(scenes: Sequence[ListedScene], text: str, *, start: int = 0) -> SceneListAnswer:
    """Find scenes by name and date.

    Args:
        scenes: All scenes, as `list_scenes` orders them.
        text: Words; each is part of the name or the start of the date, such as "2021-07". Upper
            and lower case are the same.
        start: How many of them to pass over, because they are listed already.

    Returns:
        How many there are, and the next `MOST_LISTED`.
    """
    words = text.casefold().split()
    found = [
        one
        for one in scenes
        if all(word in one.name.casefold() or (one.date or "").startswith(word) for word in words)
    ]
    return SceneListAnswer(total=len(found), scenes=found[start : start + MOST_LISTED])
