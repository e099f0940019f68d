"""Report what was chosen for the user while vectors were read, and which of them were left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from geohash_rs.embeddings.source import Flaw, VectorBatch, VectorSource

__all__ = ["Outcome", "listed", "notes_of", "sentence_of"]

NAMED = 20  # sources of which it is said what was left out


@dataclass(kw_only=True)
class Outcome:
    """What was read of a source.

    Attributes:
        source: The source.
        num_tiles: Vectors added.
        left_out: Rows left out, by reason.
        mended: Rows added although something was wrong with them, by what.
        num_repeated: Rows added that other sources of the run also hold.
        failure: Why the rest could not be added, or None.
    """

    source: VectorSource
    num_tiles: int = 0
    left_out: dict[str, Flaw] = field(default_factory=dict)
    mended: dict[str, Flaw] = field(default_factory=dict)
    num_repeated: int = 0
    failure: str | None = None

    @property
    def num_left_out(self) -> int:
        """Rows left out."""
        return sum(part.count for part in self.left_out.values())

    def take(self, batch: VectorBatch) -> None:
        """Count a batch."""
        self.num_tiles += len(batch.vectors)
        for known, flaws in ((self.left_out, batch.left_out), (self.mended, batch.mended)):
            for flaw in flaws:
                before = known.get(flaw.reason, replace(flaw, count=0))
                known[flaw.reason] = replace(before, count=before.count + flaw.count)


def listed(flaws: Mapping[str, Flaw]) -> str:
    """Return what is wrong with rows, most rows first.

    Args:
        flaws: Rows by reason, one or more.

    Returns:
        A part of a sentence.
    """
    parts = sorted(flaws.values(), key=lambda part: -part.count)
    return "; ".join(f"{part.count} {part.reason} (first: {part.first})" for part in parts)


def notes_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Report choices and vectors left out, each sentence once for all sources that share it.

    Args:
        outcomes: What was read, source by source.

    Returns:
        Sentences for a user.
    """
    notes: dict[str, list[str]] = {}
    for one in outcomes:
        for note in one.source.notes:
            notes.setdefault(note, []).append(one.source.name)
    found = [sentence_of(names, note) for note, names in notes.items()]
    for one in outcomes[:NAMED]:
        if one.left_out and one.num_tiles:
            whole = one.num_tiles + one.num_left_out
            what = f"{one.num_left_out} of {whole} rows left out: {listed(one.left_out)}"
            found.append(f"{one.source.name}: {what}.")
        if one.mended and one.num_tiles:
            found.append(f"{one.source.name}: rows added all the same: {listed(one.mended)}.")
    repeated = [one for one in outcomes if one.num_repeated]
    if repeated:
        names = [one.source.name for one in repeated]
        count = sum(one.num_repeated for one in repeated)
        note = (
            f"{count} rows are also in a file before them, with the same vector, footprint, date "
            "and source; they are added all the same."
        )
        found.append(sentence_of(names, note))
    others = [one for one in outcomes[NAMED:] if one.left_out or one.mended]
    if others:
        count = sum(one.num_left_out for one in others)
        found.append(f"{count} rows of {len(others)} other sources are left out for such reasons.")
    return found


def sentence_of(names: Sequence[str], note: str) -> str:
    """Return a note with the names of the sources that it is about.

    Args:
        names: The names, one or more.
        note: The note.

    Returns:
        A sentence.
    """
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}: {note}"
