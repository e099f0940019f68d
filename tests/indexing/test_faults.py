"""Faults while scenes are indexed: nothing committed is lost, and nothing is added twice."""

import contextlib
import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from geohash_rs import Archive, Hasher, Scenes, TileGrid
from geohash_rs.errors import ArchiveLockedError, ArchiveWriteError, ReadingError
from geohash_rs.indexing import writer as archive_writer
from geohash_rs.scenes.ahead import read_ahead
from geohash_rs.scenes.dataset import Tile
from geohash_rs.scenes.reader import TileReader
from geohash_rs.scenes.values import Values
from geohash_rs.store import compaction
from tests.ground import TILE, mosaic
from tests.indexing.index_run import index_run

# GEOHASH_RS_CRASH_ROUNDS=20 pytest tests/indexing/test_faults.py -k kill_9 -o log_cli_level=INFO
ROUNDS = int(os.environ.get("GEOHASH_RS_CRASH_ROUNDS", "2"))
Writer = Callable[..., Path]

logger = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory, write_scene: Writer) -> Path:
    """Make a folder of 12 scenes of 4 tiles."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(12):
        write_scene(folder / f"{number:02d}.tif", mosaic(2, 2, number))
    return folder


def rows_of(archive: Archive) -> list[tuple[str, int, int, bytes]]:
    """List scene, position and code of every tile."""
    frames = list(archive.iter_tiles())
    rows = []
    for frame in frames:
        codes = archive.codes(frame["tile_id"].to_numpy())
        rows += [
            (row.scene, int(row.col), int(row.row), code.tobytes())
            for row, code in zip(frame.itertuples(), codes, strict=True)
        ]
    return sorted(rows)


def test_kill_9_at_any_time_loses_nothing_committed_and_repeats_nothing(
    many: Path, quick: Archive, quick_hasher: Hasher, tmp_path: Path
) -> None:
    whole = Archive.create(tmp_path / "whole", hasher=quick_hasher)
    whole.add(Scenes(many))
    chance = random.Random(ROUNDS)
    acknowledged: list[int] = []
    interrupted = 0
    for number in range(ROUNDS):
        path = tmp_path / f"killed-{number}"
        Archive.create(path, hasher=quick_hasher).close()
        told: set[str] = set()
        for _ in range(2):
            told |= _index_and_kill(many, path, chance, workers=number % 3)
            archive = Archive.open(path)
            held = [row[0] for row in rows_of(archive)]
            assert told <= {record.scene for record in archive.scenes()}
            assert all(held.count(scene) == 4 for scene in set(held))
            acknowledged.append(len(told))
            interrupted += 0 < len(set(held)) < 12
            archive.close()
        resumed = Archive.open(path)
        report = resumed.add(Scenes(many))
        assert report.skipped == report.replaced == []
        assert report.num_tiles + 4 * len(report.unchanged) == 48
        assert rows_of(resumed) == rows_of(whole)
        assert resumed.verify().ok
    logger.info(
        "%d rounds, %d kills, %d of them between the first and the last scene; acknowledged when "
        "killed: %s scenes of 12; after each: none lost, none twice; every archive resumed to the "
        "48 tiles and codes of one that was never killed",
        ROUNDS,
        len(acknowledged),
        interrupted,
        acknowledged,
    )
    assert interrupted  # at least one kill interrupted the run


def _index_and_kill(folder: Path, path: Path, chance: random.Random, *, workers: int) -> set[str]:
    """Index in another process, kill it after some scenes and time, and return what it reported."""
    process, told = _start(folder, path, workers=workers)
    assert told.recv() == "started"
    scenes = set(islice(_rest(told), chance.randrange(6)))
    time.sleep(chance.uniform(0.0, 0.1))
    process.kill()
    return scenes | set(_rest(told))


def _start(
    folder: Path, path: Path, *, workers: int = 0, limit: int = 0
) -> tuple[BaseProcess, Connection]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.indexing.index_run"])
    told, tell = context.Pipe(duplex=False)
    arguments = (folder, path, workers, limit, tell)
    process = context.Process(target=index_run, args=arguments)
    process.start()
    tell.close()
    return process, told


def _rest(told: Connection) -> Iterator[str]:
    """Yield the remaining messages of a process, until it ends."""
    with contextlib.suppress(EOFError):
        while True:
            yield told.recv()


def test_a_killed_reading_process_is_replaced_and_no_tile_is_lost_or_repeated(many: Path) -> None:
    reader = _reader(many)
    seen = []
    for number, batch in enumerate(read_ahead(reader, workers=2)):
        seen += batch.tiles.tolist()
        if number in {2, 6}:
            children = multiprocessing.active_children()
            os.kill(children[0].pid or 0, signal.SIGKILL)
            time.sleep(0.2)
    assert seen == reader.tiles.tolist()
    assert not multiprocessing.active_children()


def test_a_run_ends_if_its_reading_processes_are_killed_repeatedly(many: Path) -> None:
    with pytest.raises(ReadingError, match="died 4 times, the last by SIGKILL, possibly out of"):
        for _ in read_ahead(_Deadly(_reader(many)), workers=2):  # type: ignore[arg-type]
            pass


def test_reading_processes_end_when_their_parent_is_killed(many: Path, quick: Archive) -> None:
    process, told = _start(many, quick.path, workers=2)
    assert told.recv() == "started"
    assert told.recv().endswith(".tif")  # the processes are reading
    children = _children(process.pid or 0)
    process.kill()
    assert children
    # The processes hold the pipe open too, so it closes when they end.
    assert told.poll(120)
    assert all(text.endswith(".tif") for text in _rest(told))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(_is_alive(child) for child in children):
        time.sleep(0.05)
    assert not [child for child in children if _is_alive(child)]


@pytest.mark.parametrize("what", ["deleted", "truncated", "replaced", "of fewer bands"])
def test_a_scene_that_changes_during_the_run_is_named_and_the_rest_added(
    many: Path, quick: Archive, tmp_path: Path, write_scene: Writer, what: str
) -> None:
    folder = tmp_path / "s"
    for number in range(3):
        write_scene(folder / f"{number}.tif", mosaic(2, 2, number))
    scenes = Scenes(folder)
    victim = folder / "1.tif"
    if what == "deleted":
        victim.unlink()
    elif what == "truncated":
        victim.write_bytes(victim.read_bytes()[:20_000])
    elif what == "replaced":
        write_scene(victim, mosaic(3, 3, 9))
    else:
        write_scene(victim, mosaic(2, 2, 9)[:1])
    report = quick.add(scenes)
    assert [Path(scene).name for scene, _ in report.skipped] == ["1.tif"]
    assert quick.num_tiles == 8
    write_scene(victim, mosaic(3, 2, 9))
    assert quick.add(Scenes(folder)).num_tiles == 6
    assert len(rows_of(quick)) == 8 + 6


def test_a_scene_replaced_after_its_last_tile_was_read_is_not_committed(
    quick: Archive, tmp_path: Path, write_scene: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_scene(tmp_path / "s" / "0.tif", mosaic(2, 2, 1))
    real = Scenes.read

    def read_then_replace(self: Scenes, tile: object, **options: object) -> object:
        pixels = real(self, tile, **options)
        if (tile.col, tile.row) == (TILE, TILE):
            write_scene(path, mosaic(2, 2, 7))
        return pixels

    scenes = Scenes(path)
    monkeypatch.setattr(Scenes, "read", read_then_replace)
    report = quick.add(scenes)
    assert "was changed or deleted while it was read" in report.skipped[0][1]
    assert quick.num_tiles == 0


def test_a_scene_with_non_finite_features_does_not_affect_others(
    quick_hasher: Hasher, write_scene: Writer, tmp_path: Path
) -> None:
    # TorchGeo weights take raw pixels like this.
    scaling = replace(quick_hasher.scaling, high=(0.1,) * 3, clip=False)
    raw = (Values.of_range([0.0] * 3, [2550.0] * 3),)
    extractor = replace(
        quick_hasher.extractor,
        scaling=scaling,
        values=raw,
        tile_size=TILE,
        input_size=32,
        calibration=None,
    )
    unclipped = Hasher(extractor, quick_hasher.head)
    for number in range(3):
        pixels = mosaic(2, 2, number).astype("float32") * 10
        if number == 1:
            pixels[:, -TILE:, -TILE:] = 3e38
        write_scene(tmp_path / "s" / f"{number}.tif", pixels)
    archive = Archive.create(tmp_path / "archive", hasher=unclipped)
    report = archive.add(Scenes(tmp_path / "s"))
    ((scene, reason),) = report.skipped
    assert scene.endswith("1.tif")
    assert reason.startswith("1.tif cannot be hashed: 1 of 4 tiles gave features that are NaN")
    assert (report.num_scenes, archive.num_tiles) == (2, 8)
    alone = Archive.create(tmp_path / "alone", hasher=unclipped)
    alone.add(Scenes([tmp_path / "s" / "0.tif", tmp_path / "s" / "2.tif"]))
    assert rows_of(archive) == rows_of(alone)


def test_checksums_distinguish_a_touched_file_from_a_changed_one(
    quick: Archive, tmp_path: Path, write_scene: Writer
) -> None:
    path = write_scene(tmp_path / "s" / "0.tif", mosaic(2, 2, 1))
    before = path.stat()
    quick.add(Scenes(path), checksum=True)
    os.utime(path, ns=(1, 1))
    assert quick.add(Scenes(path), checksum=True).unchanged == [str(path)]
    content = bytearray(path.read_bytes())
    content[-10] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size and time as before
    assert quick.add(Scenes(path)).unchanged == [str(path)]
    assert quick.add(Scenes(path), checksum=True).replaced == [str(path)]
    assert quick.num_tiles == 4


def test_a_vrt_is_as_new_as_its_sources(
    quick: Archive, tmp_path: Path, write_scene: Writer
) -> None:
    source = write_scene(tmp_path / "source.tif", mosaic(2, 2, 1)[:1])
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><SimpleSource><SourceFilename>{source}'
        "</SourceFilename></SimpleSource></VRTRasterBand>"
        for n in (1, 2, 3)
    )
    vrt = tmp_path / "gray.vrt"
    vrt.write_text(
        '<VRTDataset rasterXSize="128" rasterYSize="128"><SRS>EPSG:32633</SRS>'
        f"<GeoTransform>500000,10,0,5400000,0,-10</GeoTransform>{bands}</VRTDataset>"
    )
    assert quick.add(Scenes(vrt)).num_tiles == 4
    assert quick.add(Scenes(vrt)).unchanged == [str(vrt)]
    write_scene(source, mosaic(2, 2, 2)[:1])
    assert quick.add(Scenes(vrt)).replaced == [str(vrt)]


def test_two_runs_at_once_add_every_scene_once(
    many: Path, quick: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Scenes.read
    others = [Archive.open(quick.path)]

    def read(self: Scenes, tile: Tile, **options: object) -> object:
        if others and tile.scene == 3:
            others.pop().add(Scenes(many))
        return real(self, tile, **options)

    monkeypatch.setattr(Scenes, "read", read)
    report = quick.add(Scenes(many), batch_size=4)
    assert report.num_tiles == 48
    assert not others
    assert len(rows_of(quick)) == 48
    assert len({row[:3] for row in rows_of(quick)}) == 48


@pytest.mark.parametrize(
    "error", [ArchiveWriteError(5, "interrupted"), KeyboardInterrupt("interrupted")]
)
def test_an_error_after_a_commit_adds_no_tile_twice(
    many: Path, quick: Archive, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    real = quick.add_codes

    def add_and_fail(*arguments: Any, **options: Any) -> None:
        real(*arguments, **{**options, "replace_scenes": ()})
        raise error

    monkeypatch.setattr(quick, "add_codes", add_and_fail)
    with pytest.raises(type(error), match="interrupted"):
        quick.add(Scenes(many))
    assert len(rows_of(quick)) == 48


def test_tiles_delayed_by_another_writer_are_added_when_the_run_ends(
    many: Path, quick: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = quick.add_codes, []

    def add(*arguments: Any, **options: Any) -> object:
        calls.append(len(arguments[0]))
        if len(calls) == 1:
            raise ArchiveLockedError("is being written")
        return real(*arguments, **options)

    monkeypatch.setattr(quick, "add_codes", add)
    monkeypatch.setattr(archive_writer, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(archive_writer, "WAIT_SECONDS", -1.0)
    with pytest.raises(ArchiveLockedError, match="is being written"):
        quick.add(Scenes(many))
    assert calls == [4, 4]
    assert len(rows_of(quick)) == 4


def test_a_run_waits_for_the_commit_of_another(
    many: Path, quick: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = quick.add_codes, []

    def add(*arguments: Any, **options: Any) -> object:
        calls.append(len(arguments[0]))
        if len(calls) <= 3:
            raise ArchiveLockedError("is being written")
        return real(*arguments, **options)

    monkeypatch.setattr(quick, "add_codes", add)
    assert quick.add(Scenes(many)).num_tiles == 48
    assert calls == [48] * 4


def test_a_run_survives_a_disk_too_full_to_merge_segments(
    many: Path, quick: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> None:
        raise ArchiveWriteError(28, "no space left")

    monkeypatch.setattr(compaction, "_joined", full)
    monkeypatch.setattr(archive_writer, "COMMIT_SECONDS", 0.0)
    assert quick.add(Scenes(many)).num_tiles == 48
    assert len(quick.segments) == 12
    assert quick.verify().ok
    assert len(rows_of(quick)) == 48


def test_a_full_disk_ends_the_run_and_keeps_what_was_committed(many: Path, quick: Archive) -> None:
    path = quick.path
    quick.add(Scenes(many / "00.tif"))
    quick.close()
    _, connection = _start(many, path, limit=3000)
    *told, last = _rest(connection)
    assert last.startswith("ArchiveWriteError: ")
    assert "make room" in last
    archive = Archive.open(path)
    assert archive.verify().ok
    scenes = set(told) - {"started"}
    assert {record.scene for record in archive.scenes()} == scenes | {str(many / "00.tif")}
    assert archive.add(Scenes(many)).num_tiles + 4 * (len(scenes) + 1) == 48
    assert len(rows_of(archive)) == 48


class _Deadly:
    """A reader whose third batch kills the process that reads it."""

    def __init__(self, reader: TileReader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> object:
        if index == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.reader[index]


def _reader(folder: Path) -> TileReader:
    scenes = Scenes(folder)
    tiles = TileGrid(scenes, tile_size=32).tiles
    indexes = [scene.color_bands for scene in scenes.scene_files]
    return TileReader(scenes, tiles, indexes=indexes, batch_size=8)


def _children(parent: int) -> list[int]:
    """List the processes that a process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended in the meantime
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(path.parent.name))
    return found


def _is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # its parent may not collect it
