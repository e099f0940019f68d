"""Index scenes on a cluster: workers make parts, this process commits each part once."""

import contextlib
import dataclasses
import re
import shutil
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import ray
import torch

from geohash_rs.archive import Archive
from geohash_rs.engines.ray.cluster import LOST, TRIES, Actor, Pool, connect, num_workers, result_of
from geohash_rs.engines.ray.plan import Work, divide, subset
from geohash_rs.engines.ray.worker import Indexer
from geohash_rs.errors import ArchiveLockedError
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.indexing.add import fit_pending, pending_hasher
from geohash_rs.indexing.imagery import imagery_of_scenes
from geohash_rs.indexing.report import AddReport, check_codes_differ, check_fit
from geohash_rs.indexing.settings import IndexSettings
from geohash_rs.indexing.writer import COMMIT_SECONDS, COMMIT_TILES
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.grid import Edges
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.locks import write_lock
from geohash_rs.store.disk.plain import is_plain_folder, plain_folder

__all__ = ["index_scenes"]

STAGING = "staging"  # folder of an archive in which parts are made
PART_NAME = re.compile(r"[0-9a-f]{32}")  # of a run's folder; nothing else is removed
POLL_SECONDS = 5.0  # between checks for newly started workers


def index_scenes(
    archive: Archive,
    scenes: Scenes,
    *,
    address: str | None = None,
    num_actors: int | None = None,
    tile_size: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    edges: Edges = "shift",
    max_nodata: float = 0.5,
    resolution: float | None = None,
    embedding: PixelEmbedding | str | None = None,
    batch_size: int | None = None,
    device: str = "cpu",
    checksum: bool = False,
    strict: bool = False,
    replace: bool = True,
    progress: bool | Literal["always"] = False,
) -> AddReport:
    """Hash scenes on a cluster and add them; makes the same tiles as `Archive.add`.

    Each worker holds one hasher and runs one thread. It makes parts: small archives of some scenes
    each, under the archive's folder. This process adopts finished parts, several in one commit. If
    a worker is lost, another redoes its scenes and the unfinished part is never adopted, so no
    scene is missing or added twice.

    Args:
        archive: The archive, in a folder that every node can reach at this path.
        scenes: The scenes, at paths that every node can read.
        address: "ray://HOST:10001", "HOST:6379", "auto", or "local" (also None).
        num_actors: Workers, one core each; None uses all cores or, on "cuda", all GPUs.
        tile_size: As in `Archive.add`.
        stride: As in `Archive.add`.
        edges: As in `Archive.add`.
        max_nodata: Largest allowed share of invalid pixels in a tile.
        resolution: Ground size of a pixel, m, to which all scenes are resampled. None uses the
            hasher's, or each scene's own if the hasher has none.
        embedding: As in `Archive.add`.
        batch_size: As in `Archive.add`.
        device: Device that runs the network; "cuda" takes one GPU per worker.
        checksum: Whether files are compared by checksum rather than by size and time.
        strict: Stop at the first scene that cannot be added.
        replace: As in `Archive.add`.
        progress: As in `Archive.add`.

    Returns:
        What was added, left out and skipped.

    Raises:
        BandMismatchError: If no scene has the bands of the hasher.
        EngineUnreachableError: If no cluster answers.
        EngineError: If no worker can be started, or ``device`` needs a GPU and there is none.
        HasherError: If the archive holds codes made elsewhere, or the embedding is unknown.
        HasherMismatchError: If the rasters are not of the archive's embedding.
        SceneError: With ``strict``, if a scene cannot be added.
        TileSizeError: As in `Archive.add`.
        TilesReplacedError: As in `Archive.add`.
        ValueMismatchError: With ``strict``, if the values of a scene are not those of the hasher.
    """
    gpu = torch.device(device).type == "cuda"
    here = "cpu" if gpu and not torch.cuda.is_available() else device
    hasher = None if archive.pending_hasher else archive.hasher(device=here)
    settings = IndexSettings(
        batch_size=batch_size,
        device=here,
        checksum=checksum,
        strict=strict,
        replace=replace,
        progress=progress,
    )
    bands = (hasher or pending_hasher(archive)).bands
    mine = imagery_of_scenes(
        archive,
        scenes,
        hasher,
        settings,
        embedding=embedding,
        tile_size=tile_size,
        stride=stride,
        edges=edges,
        max_nodata=max_nodata,
        resolution=resolution,
    )
    mine.keeps_vectors = False  # the workers read them
    mine.plan(bands, () if hasher is None else hasher.values)
    report, counts, first_id = mine.report, mine.counts, archive.manifest.next_id
    if not counts.any() or (hasher is None and fit_pending(archive, mine) is None):
        return report
    connect(address)
    room = num_workers(gpu=gpu)
    workers = room if num_actors is None else num_actors
    works = divide(counts, workers)
    base = archive.reserve_ids(int(counts.sum()))
    for work in works:
        work.first_id = base
        base += int(counts[work.numbers].sum())
    data = archive.hasher(device=here).to_bytes()
    with _staging(archive.path.resolve()) as staging:
        run = _Run(archive, mine.scenes, works, counts, report, strict=strict)
        # each worker sees only its GPU
        there = dataclasses.replace(settings, progress=False, device="cuda" if gpu else device)
        with settings.bar("index", int(counts.sum())) as bar:
            given = (data, str(staging), mine.grids, there)
            kept = archive.keep_vectors
            run.work(Pool(Indexer, workers, *given, gpu=gpu, keep_vectors=kept), bar)
    check_codes_differ(archive, report, first_id=first_id)
    report.unfit += check_fit(archive, first_id=first_id)
    return report


class _Run:
    """Waiting and running works, and the parts that wait for the next commit."""

    def __init__(
        self,
        archive: Archive,
        scenes: Scenes,
        works: list[Work],
        counts: npt.NDArray[np.int64],
        report: AddReport,
        *,
        strict: bool,
    ) -> None:
        self.archive, self.scenes, self.report, self.strict = archive, scenes, report, strict
        self.counts = counts
        self.known = {record.scene for record in archive.scenes()}
        self.waiting = deque(works)
        self.running: dict[Any, tuple[Actor, Work]] = {}
        self.finished: list[CodeStore] = []
        self.last = time.monotonic()

    def work(self, pool: Pool, bar: Any) -> None:  # noqa: ANN401 - tqdm's
        """Run all works; finished parts are committed even if this is interrupted."""
        try:
            while self.waiting or self.running:
                if self.waiting:
                    pool.fill()
                busy = [actor for actor, _ in self.running.values()]
                for actor in pool.ready:
                    if self.waiting and not any(actor is one for one in busy):
                        self._send(actor, self.waiting.popleft())
                done, _ = ray.wait(list(self.running), num_returns=1, timeout=POLL_SECONDS)
                for call in done:
                    actor, work = self.running.pop(call)
                    if self._take(call, work):
                        bar.update(int(self.counts[work.numbers].sum()))
                    else:
                        pool.lose(actor)
                self._commit_if_due()
        finally:
            try:
                self._commit()
            finally:
                pool.close()

    def _send(self, actor: Actor, work: Work) -> None:
        work.tries += 1
        call = actor.index.remote(subset(self.scenes, work.numbers), work.first_id)
        self.running[call] = (actor, work)

    def _take(self, call: Any, work: Work) -> bool:  # noqa: ANN401 - Ray's reference
        """Take a worker's finished part; return False if the worker was lost."""
        try:
            folder, report = result_of(call)
        except LOST:
            self._again(work)
            return False
        _join(self.report, report)
        part = CodeStore.open(folder, mode="r")
        if part.scenes():  # keep parts without tiles too, for their scene records
            self.finished.append(part)
        return True

    def _again(self, work: Work) -> None:
        """Requeue a lost worker's scenes; skip a scene that several workers died of."""
        if work.tries < TRIES:
            self.waiting.appendleft(work)
        elif len(work.numbers) > 1:  # one of the scenes may be the cause: retry each on its own
            self.waiting.extendleft(self._apart(work))
        else:
            key = self.scenes.scene_files[work.numbers[0]].key
            reason = f"{key}: {work.tries} workers died while indexing it; see Ray's logs."
            self.report.skip(key, reason, strict=self.strict)

    def _apart(self, work: Work) -> Iterator[Work]:
        first = work.first_id
        for number in work.numbers:
            yield Work(numbers=[number], first_id=first)
            first += int(self.counts[number])

    def _commit_if_due(self) -> None:
        many = sum(part.num_tiles for part in self.finished) >= COMMIT_TILES
        if many or time.monotonic() - self.last >= COMMIT_SECONDS:
            self._commit()

    def _commit(self) -> None:
        """Adopt the finished parts, all in one commit.

        Raises:
            ArchiveLockedError: If another process is writing.
        """
        finished, self.finished = self.finished, []  # none is adopted twice
        if finished:
            records = [record for part in finished for record in part.scenes()]
            scenes = [record.scene for record in records if record.num_tiles]
            try:
                self.archive.adopt(finished)
            except ArchiveLockedError:  # nothing was adopted
                self.finished = finished
                raise
            self.report.replaced += [scene for scene in scenes if scene in self.known]
            for part in finished:
                part.close()
                shutil.rmtree(part.path, ignore_errors=True)
        self.last = time.monotonic()


def _join(total: AddReport, report: AddReport) -> None:
    for field in fields(AddReport):
        if field.name == "notes":  # which are of all scenes, and made once
            continue
        setattr(total, field.name, getattr(total, field.name) + getattr(report, field.name))


@contextlib.contextmanager
def _staging(archive: Path) -> Iterator[Path]:
    """Make a folder for parts, and remove those of killed runs.

    An archive may come from a stranger: a link is neither followed nor removed.

    Raises:
        ArchiveCorruptError: If the archive holds a link or a file in the folder's place.
    """
    root = plain_folder(archive, STAGING)
    root.mkdir(exist_ok=True)
    for old in root.iterdir():
        if not PART_NAME.fullmatch(old.name) or not is_plain_folder(old):
            continue
        with contextlib.suppress(ArchiveLockedError, OSError), write_lock(old):
            shutil.rmtree(old, ignore_errors=True)
    folder = root / uuid.uuid4().hex
    folder.mkdir()
    try:
        with write_lock(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            root.rmdir()
