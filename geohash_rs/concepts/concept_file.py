"""The file of a concept: JSON that a person can read, and that a stranger may have written."""

import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geohash_rs.concepts.learning import Model
from geohash_rs.concepts.mark import Mark, check_marks
from geohash_rs.errors import ConceptError
from geohash_rs.export.formats import check_place, reporting
from geohash_rs.store.disk.durable import replacing
from geohash_rs.store.disk.json_file import JsonFile
from geohash_rs.store.search.weights import BitWeights
from geohash_rs.trust.promise import Promise

__all__ = ["Saved", "check_name", "parse_concept", "read_concept", "text_of", "write_concept"]

FILE = JsonFile(
    what="concept",
    version=1,
    most_bytes=64 << 20,
    error=ConceptError,
    make="make one with 'geohash-rs learn'",
    again="Take it from a copy, or learn it again.",
)
MOST_NAME = 100  # characters
MOST_TEXT = 4096  # characters


@dataclass(frozen=True, kw_only=True, eq=False)
class Saved:
    """What a file keeps of a concept; the attributes are those of `Concept`."""

    name: str
    marks: tuple[Mark, ...]
    model: Model
    hasher: str | None
    created: dt.datetime
    promise: Promise | None
    calibrated: dict[str, Any] | None
    notes: tuple[str, ...]


def check_name(name: str) -> str:
    """Check the name of a concept.

    Args:
        name: The name.

    Returns:
        The same.

    Raises:
        ConceptError: If it is empty, too long, or holds control characters.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MOST_NAME or not name.isprintable():
        msg = f"the name is {name!r}; use 1 to {MOST_NAME} characters that can be shown."
        raise ConceptError(msg)
    return name


def write_concept(saved: Saved, path: str | Path) -> None:
    """Write a concept to a file; an existing one is replaced as a whole.

    Args:
        saved: The concept.
        path: The file.

    Raises:
        ExportError: If it cannot be written, or lies in an archive.
    """
    check_place(path)
    with reporting(Path(path)), replacing(Path(path)) as draft:
        draft.write_text(text_of(saved), encoding="utf-8")


def text_of(saved: Saved) -> str:
    """Write a concept as JSON.

    Args:
        saved: The concept.

    Returns:
        The text of its file, one mark a line.
    """
    right = sum(mark.right for mark in saved.marks)
    weights = saved.model.weights
    body: dict[str, Any] = {
        **FILE.head,
        "name": saved.name,
        "created": saved.created.isoformat(),
        "hasher": saved.hasher,
        "num_bits": 8 * len(weights.code),
        "right": right,
        "wrong": len(saved.marks) - right,
        "notes": list(saved.notes),
        "calibrated": saved.calibrated,
        "promise": None if saved.promise is None else saved.promise.to_json(),
        "model": {
            "code": bytes(weights.code).hex(),
            "weights": weights.weights.tolist(),
            "offset": float(saved.model.offset),
            "unit": float(saved.model.unit),
        },
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in body.items()]
    marks = ",\n".join(f"    {json.dumps(_mark_to_json(mark))}" for mark in saved.marks)
    return "{\n" + ",\n".join([*lines, f'  "marks": [\n{marks}\n  ]']) + "\n}\n"


def read_concept(path: str | Path) -> Saved:
    """Read a concept from a file.

    Args:
        path: The file.

    Returns:
        The concept.

    Raises:
        ConceptError: If it cannot be read, is not a concept, or is damaged.
    """
    return FILE.read(path, _checked)


def parse_concept(content: bytes, *, name: str) -> Saved:
    """Check the content of a file of a concept.

    Args:
        content: The bytes.
        name: Name of the file for messages.

    Returns:
        The concept.

    Raises:
        ConceptError: If it is not a concept, or is damaged.
    """
    return FILE.parse(content, _checked, name=name)


def _checked(body: dict[str, Any]) -> Saved:
    """Build a concept; what is wrong raises an error of any kind.

    Raises:
        ConceptError: If a tile is marked twice, or a count is not that of what it counts.
    """
    given = body["model"]
    model = Model(
        weights=BitWeights(
            code=np.frombuffer(bytes.fromhex(given["code"]), np.uint8),
            weights=_whole(given["weights"]),
        ),
        offset=_number(given["offset"]),
        unit=_number(given["unit"]),
    )
    num_bytes = len(model.weights.code)
    marks = tuple(_mark_from_json(item, num_bytes) for item in body["marks"])
    check_marks(marks)
    if len({mark.key for mark in marks}) < len(marks):
        msg = "a tile is marked twice"
        raise ConceptError(msg)
    num_right = sum(mark.right for mark in marks)
    counts = {"num_bits": 8 * num_bytes, "right": num_right, "wrong": len(marks) - num_right}
    for key, count in counts.items():
        if body[key] != count:
            msg = f"{key} is {str(body[key])[:20]}, but the file holds {count}"
            raise ConceptError(msg)
    promise, calibrated = body["promise"], body["calibrated"]
    return Saved(
        name=check_name(body["name"]),
        marks=marks,
        model=model,
        hasher=None if body["hasher"] is None else _text(body["hasher"]),
        created=dt.datetime.fromisoformat(_text(body["created"])).astimezone(dt.UTC),
        promise=None if promise is None else Promise.from_json(promise),
        calibrated=None if calibrated is None else _plain(calibrated),
        notes=tuple(_text(note) for note in body["notes"]),
    )


def _mark_to_json(mark: Mark) -> dict[str, Any]:
    return {
        "right": mark.right,
        "tile": mark.tile,
        "source": mark.source,
        "place": None if mark.place is None else list(mark.place),
        "code": mark.code.hex(),
    }


def _mark_from_json(item: dict[str, Any], num_bytes: int) -> Mark:
    code, tile, place = bytes.fromhex(item["code"]), item["tile"], item["place"]
    if len(code) != num_bytes:
        msg = f"a mark has {8 * len(code)} bits, the weights {8 * num_bytes}"
        raise ConceptError(msg)
    if not isinstance(item["right"], bool):
        msg = f"a mark is {item['right']!r} instead of true or false"
        raise ConceptError(msg)
    if tile is not None and (type(tile) is not int or not 0 <= tile < 2**63):
        msg = f"a mark has the tile id {tile!r}"
        raise ConceptError(msg)
    if place is not None:
        lon, lat = (_number(value) for value in place)
        place = lon, lat
    source = _text(item["source"])
    return Mark(right=item["right"], code=code, tile=tile, source=source, place=place)


def _whole(given: Any) -> Any:  # noqa: ANN401 - JSON; BitWeights checks the rest
    if not isinstance(given, list) or not all(type(n) is int and 0 <= n < 2**16 for n in given):
        msg = "weights are not whole numbers from 0 to 65535"
        raise ConceptError(msg)
    return np.array(given, dtype=np.uint16)


def _number(given: Any) -> float:  # noqa: ANN401 - JSON
    if isinstance(given, bool) or not isinstance(given, int | float) or not np.isfinite(given):
        msg = f"{given!r} is not a number"
        raise ConceptError(msg)
    return float(given)


def _text(given: Any, *, most: int = MOST_TEXT) -> str:  # noqa: ANN401 - JSON
    if not isinstance(given, str) or len(given) > most:
        msg = f"{str(given)[:40]!r} is not a text of at most {most} characters"
        raise ConceptError(msg)
    return given


def _plain(given: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Check that a description is a flat table of texts and numbers.

    Raises:
        ConceptError: If it is not.
    """
    if not isinstance(given, dict) or len(given) > 100:
        msg = "the description of the calibration is not a table"
        raise ConceptError(msg)
    for value in given.values():
        if isinstance(value, str):
            _text(value)
        elif value is not None and not isinstance(value, bool):
            _number(value)
    return given
