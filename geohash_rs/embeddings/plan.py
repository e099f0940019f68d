"""Choose which sources of vectors to add: those that are new, changed or incomplete, and fit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from geohash_rs.embeddings.known import (
    MODEL,
    completed,
    embedding_of,
    known_embedding,
    records_of,
    said_of,
)
from geohash_rs.embeddings.notes import sentence_of
from geohash_rs.embeddings.source import LEFT_OUT, PROGRESS, VectorSource
from geohash_rs.embeddings.vectors import check_embedding
from geohash_rs.errors import HasherMismatchError, one_line
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.scenes.state import checksum_of
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.records import SceneRecord

__all__ = ["Planned", "expected_embedding", "plan_sources"]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A source that has vectors to add.

    Attributes:
        source: The source.
        start: Position from which to read.
        earlier: The archive's record of it, or None.
    """

    source: VectorSource
    start: int
    earlier: SceneRecord | None

    @property
    def resumes(self) -> bool:
        """Whether an earlier run has added a part."""
        return self.start > 0

    @property
    def before(self) -> tuple[int, int]:
        """Number of vectors that an earlier run has added, and has left out."""
        if self.earlier is None or not self.resumes:
            return 0, 0
        return self.earlier.num_tiles, int(self.earlier.settings.get(LEFT_OUT, 0))


def plan_sources(
    archive: CodeStore,
    sources: Iterable[VectorSource],
    hasher: Hasher | None,
    settings: IndexSettings,
    report: AddReport,
) -> list[Planned]:
    """Choose the sources that are new, have changed or are incomplete, and fit the hasher.

    Args:
        archive: The archive.
        sources: The sources.
        hasher: The archive's hasher; None if it is to be fitted.
        settings: Whether to compare by checksum.
        report: Receives the sources that are unchanged, or do not fit.

    Returns:
        What to add, in order.

    Raises:
        HasherError: If the hasher reads pixels.
        SceneError: With ``strict``, if a source does not fit.
    """
    known = {record.scene: record for record in records_of(archive)}
    found = list(sources)
    keys = {source.key for source in found}
    kept = [record for key, record in known.items() if key not in keys]
    expected = expected_embedding(hasher, found, kept)
    planned: list[Planned] = []
    for source in found:
        what = f"the vectors of {source.name}"
        try:
            if hasher is not None:
                check_embedding(hasher, source.embedding, what=what)
            if expected is not None:
                expected.check_fits(source.embedding, what=what)
        except HasherMismatchError as error:
            report.skip(source.key, one_line(error), strict=settings.strict)
            continue
        earlier, start = known.get(source.key), 0
        if earlier is not None and _is_same(earlier, source, checksum=settings.checksum):
            if PROGRESS not in earlier.settings:
                report.unchanged.append(source.key)
                continue
            start = int(earlier.settings[PROGRESS]) if source.files else 0
        planned.append(Planned(source=source, start=start, earlier=earlier))
    if hasher is not None and hasher.embedding is not None and archive.num_tiles:
        before = known_embedding(hasher.embedding, known.values())
        named = [one.source for one in planned if one.source.embedding.model]
        if named and not before.model:
            note = (
                f"the model is {named[0].embedding.model}, but nothing says which model made the "
                "archive's earlier vectors, so only their length was compared."
            )
            report.notes.append(sentence_of([source.name for source in named], note))
    return planned


def expected_embedding(
    hasher: Hasher | None, sources: Sequence[VectorSource], records: Iterable[SceneRecord] = ()
) -> Embedding | None:
    """Return the embedding that all vectors must be of.

    Args:
        hasher: The archive's hasher, or None.
        sources: The sources to add.
        records: The archive's scenes that none of them replaces.

    Returns:
        That of the hasher; otherwise the first that is named, or the first; None without sources.
        What it does not say is what the records say, and then the sources.
    """
    found = [source.embedding for source in sources]
    if hasher is not None:
        first = hasher.embedding
    else:
        first = next((one for one in found if one.model), found[0] if found else None)
    return None if first is None else completed(known_embedding(first, records), found)


def _is_same(record: SceneRecord, source: VectorSource, *, checksum: bool) -> bool:
    """Return whether an archive has read a source, or a part of it, in its present state."""
    now = source.record
    if source.files and checksum and record.checksum is not None and record.size == now.size:
        now = replace(now, checksum=checksum_of(source.files), mtime_ns=record.mtime_ns)
    elif source.files:
        now = replace(now, checksum=record.checksum)
    kept = {k: v for k, v in record.settings.items() if k not in {PROGRESS, LEFT_OUT}}
    earlier = embedding_of(record, dimensions=source.embedding.dimensions)
    if earlier is not None:  # who names the model once need not do so in every run
        said = said_of(completed(source.embedding, [earlier]))
        now = replace(now, settings={**now.settings, MODEL: said})
    return replace(record, num_tiles=0, settings=kept) == now
