"""The steps that add published vectors to an archive: plan, sample and fit, read, hash, commit."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from geohash_rs.embeddings.notes import Outcome, listed, notes_of
from geohash_rs.embeddings.plan import Planned, expected_embedding, plan_sources
from geohash_rs.embeddings.repeats import Repeats
from geohash_rs.embeddings.source import LEFT_OUT, PROGRESS, VectorBatch, Vectors, VectorSource
from geohash_rs.embeddings.vectors import fit_on_vectors
from geohash_rs.errors import HasherError, SceneError, VectorError, one_line
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.indexing.encode import EncodedTiles
from geohash_rs.indexing.report import AddReport
from geohash_rs.indexing.samples import located_frame
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.indexing.writer import ArchiveWriter
from geohash_rs.scenes.state import checksum_of
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.manifest import VectorsEntry
from geohash_rs.store.disk.manifest_file import read_manifest
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.segment.vectors import check_vectors

__all__ = ["add_sources"]

MOST_SEEN = 1 << 24  # rows that are compared with those of later sources; 128 MiB
MOST_SOURCES = 64  # that a sample is taken from
COMMIT_ROWS = 50_000  # 200,000 with their footprints take 0.4 GB more
SAMPLE = 10_000  # vectors to fit a hasher on; twice as many of 768 numbers take 1.25 GB


def add_sources(
    archive: CodeStore,
    sources: Iterable[VectorSource],
    hasher: Hasher | None,
    settings: IndexSettings,
    report: AddReport,
) -> AddReport:
    """Add the vectors of files, tables or stores to an archive.

    A source that the archive has in its present state is skipped, one that changed is replaced, and
    one that an interrupted run has added in part is continued.

    Args:
        archive: The archive.
        sources: The sources, in the order in which to add them.
        hasher: The archive's hasher; None fits the pending one on a sample of all sources first.
        settings: How to read and hash them.
        report: What is known so far; it is completed.

    Returns:
        The report.

    Raises:
        HasherError: If the archive's hasher reads pixels, or there are too few vectors to fit one
            on.
        SceneError: With ``strict``, if a source cannot be added.
    """
    planned = plan_sources(archive, sources, hasher, settings, report)
    if hasher is None and planned:
        planned, hasher = _fitted(archive, planned, settings, report)
    if hasher is None:
        return report
    total = sum(one.source.num_rows or 0 for one in planned)
    outcomes = []
    seen = Repeats(most=MOST_SEEN)
    with (
        _Writer(archive, hasher.fingerprint) as writer,
        settings.bar("index", total or None) as bar,
    ):
        for one in planned:
            outcome = Outcome(source=one.source)
            outcomes.append(outcome)
            bar.update(sum(one.before))
            try:
                for encoded in _encoded(archive, one, hasher, settings, outcome, seen):
                    bar.update(encoded.num_read)
                    writer.take(encoded)
            except (SceneError, VectorError) as error:
                outcome.failure = one_line(error)
            _report(one, outcome, report, settings)
    report.notes += notes_of(outcomes)
    return report


def _fitted(
    archive: CodeStore,
    planned: Sequence[Planned],
    settings: IndexSettings,
    report: AddReport,
) -> tuple[list[Planned], Hasher | None]:
    """Fit the pending hasher on a sample of all sources, as many vectors of each.

    Raises:
        HasherError: If there are too few vectors, or all are equal.
        SceneError: With ``strict``, if a source cannot be read.
    """
    places = np.unique(np.linspace(0, len(planned) - 1, MOST_SOURCES).astype(np.int64)).tolist()
    samples: list[Vectors] = []
    failed = set()
    for done, place in enumerate(places):
        source = planned[place].source
        room = SAMPLE - sum(map(len, samples))
        try:
            samples.append(source.sample(-(-room // (len(places) - done))))
        except SceneError as error:
            failed.add(place)
            report.skip(source.key, one_line(error), strict=settings.strict)
    left = [one for place, one in enumerate(planned) if place not in failed]
    found = [part for part in samples if len(part)]
    if not found:
        for one in left:
            reason = f"{one.source.name} has no vector that can be used."
            report.skip(one.source.key, reason, strict=settings.strict)
        return [], None
    expected = expected_embedding(None, [one.source for one in planned])
    if expected is None:
        return left, None
    sample = np.concatenate(found)
    if len(sample) > 1 and (sample == sample[0]).all():
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        msg = (
            f"all {len(sample)} vectors of {left[0].source.name}{more} that were looked at are "
            "equal, so no hasher can be fitted; check what wrote them, or choose with "
            "vector_column=..."
        )
        raise HasherError(msg)
    return left, fit_on_vectors(archive, sample, expected)


def _encoded(
    archive: CodeStore,
    one: Planned,
    hasher: Hasher,
    settings: IndexSettings,
    outcome: Outcome,
    seen: Repeats,
) -> Iterator[EncodedTiles]:
    """Read and hash a source, batch by batch.

    Raises:
        SceneError: If it can no longer be read.
        VectorError: If the archive cannot keep a vector.
    """
    source, form = one.source, archive.manifest.vectors
    num_tiles, left_out = one.before
    continues = one.resumes
    with closing(_ahead(source.batches(one.start))) as batches:
        for batch in batches:
            outcome.take(batch)
            if batch.digests is not None:
                every = np.ones(len(batch.digests), np.bool_)
                outcome.num_repeated += int(seen.find(batch.digests, every).sum())
            num_tiles += len(batch.vectors)
            left_out += batch.num_left_out
            if num_tiles == 0:
                continue  # a file without vectors replaces nothing
            progress = {PROGRESS: batch.stop, LEFT_OUT: left_out}
            yield EncodedTiles(
                num_read=len(batch.vectors) + batch.num_left_out,
                codes=hasher.codes_of(batch.vectors),
                tiles=batch.tiles,
                vectors=None if form is None else _kept(batch.vectors, form),
                records=[_record(source, num_tiles, progress)],
                continues=continues,
            )
            continues = True
    if num_tiles:
        record = _record(source, num_tiles, {LEFT_OUT: left_out})
        if settings.checksum and source.files:
            record = replace(record, checksum=checksum_of(source.files))
        none = np.empty((0, 0), dtype=np.uint8)
        yield EncodedTiles(
            num_read=0, codes=none, tiles=located_frame([]), records=[record], continues=True
        )


def _kept(vectors: Vectors, form: VectorsEntry) -> npt.NDArray[np.floating]:
    """Return vectors in the type in which they wait for their commit.

    Raises:
        VectorError: If the archive cannot keep one.
    """
    check_vectors(vectors, form, count=len(vectors))
    return vectors.astype(np.float16) if form.kind == "float16" else vectors


def _record(source: VectorSource, num_tiles: int, settings: dict[str, int]) -> SceneRecord:
    now = source.record
    return replace(now, num_tiles=num_tiles, settings={**now.settings, **settings})


def _report(one: Planned, outcome: Outcome, report: AddReport, settings: IndexSettings) -> None:
    """Complete the report with a source that was read.

    Raises:
        SceneError: If strict, and it could not be added.
    """
    report.num_tiles += outcome.num_tiles
    report.num_left_out += outcome.num_left_out
    report.num_scenes += outcome.num_tiles > 0
    if outcome.num_tiles and one.earlier is not None and not one.resumes:
        report.replaced.append(one.source.key)
    reason = outcome.failure
    if reason is None and not outcome.num_tiles and not one.resumes:
        why = f": {listed(outcome.left_out)}" if outcome.left_out else ""
        reason = f"{one.source.name} has no vector that can be used{why}."
    if reason is not None:
        if one.earlier is not None and one.earlier.num_tiles and not outcome.num_tiles:
            reason = (
                f"{reason.removesuffix('.')}; its {one.earlier.num_tiles} earlier tiles stay until "
                "it can be added, or 'geohash-rs remove' removes them."
            )
        report.skip(one.source.key, reason, strict=settings.strict)


def _ahead(batches: Iterator[VectorBatch]) -> Generator[VectorBatch, None, None]:
    """Read the next batch in a thread while the caller works on one."""
    with ThreadPoolExecutor(1, thread_name_prefix="read-vectors") as thread:
        following = thread.submit(next, batches, None)
        while (batch := following.result()) is not None:
            following = thread.submit(next, batches, None)
            yield batch


class _Writer(ArchiveWriter):
    """Commits parts of sources, unless another process has changed what they continue."""

    def take(self, encoded: EncodedTiles) -> None:
        """Accept tiles, as `ArchiveWriter.take`, and commit before their footprints fill memory."""
        super().take(encoded)
        if self.num_waiting >= COMMIT_ROWS:
            self.commit()

    def commit(self) -> None:
        """Add what waits, as `ArchiveWriter.commit`.

        Raises:
            SceneError: If another process has added or removed a source that is continued.
        """
        continued = self.records.keys() - self.replaced
        if continued and read_manifest(self.archive.path).commit != self.archive.manifest.commit:
            seen = self.archive.snapshot().records
            before = {key: seen.get(key) for key in continued}
            self.archive.refresh()
            now = self.archive.snapshot().records
            if changed := sorted(key for key in continued if now.get(key) != before[key]):
                self._drop(changed)
                msg = (
                    f"another process has added or removed {changed[0]} meanwhile; run again once "
                    "it has finished."
                )
                raise SceneError(msg)
        super().commit()
        pa.default_memory_pool().release_unused()  # or it keeps what merging segments took

    def _drop(self, scenes: Sequence[str]) -> None:
        """Forget what waits of some scenes."""
        self.records = {k: record for k, record in self.records.items() if k not in scenes}
        self.waiting = [
            part for part in self.waiting if not {one.scene for one in part.records} & {*scenes}
        ]
        self.num_waiting = sum(len(part.codes) for part in self.waiting)
        self.num_bytes = sum(0 if p.vectors is None else p.vectors.nbytes for p in self.waiting)
