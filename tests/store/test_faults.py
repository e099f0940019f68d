"""Full disks, folders without permission, damaged files, concurrent writers."""

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import portalocker.portalocker
import pytest

from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveFormatError,
    ArchiveLockedError,
    ArchiveReadOnlyError,
    ArchiveWriteError,
    GeoHashRSWarning,
)
from geohash_rs.store import verification
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk import durable as storage
from geohash_rs.store.disk import manifest_file
from geohash_rs.store.disk.durable import FileEntry
from geohash_rs.store.disk.locks import write_lock
from geohash_rs.store.disk.manifest import HasherEntry
from geohash_rs.store.verification import verify_archive
from tests.store.forger import write_manifest
from tests.store.helpers import make_grid

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def archive(tmp_path):
    """An archive of two segments."""
    made = CodeStore.create(tmp_path / "a", num_bits=64)
    for scene in ("one", "two"):
        made.add_codes(np.arange(800, dtype=np.uint8).reshape(100, 8), make_grid(100, scene=scene))
    return made


def file_of(archive: CodeStore, name: str, *, segment: int = 0) -> Path:
    """Return a file of a segment."""
    return archive.path / "segments" / archive.manifest.segments[segment].name / name


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["codes.bin", "index.safetensors", "tiles.parquet"])
def test_a_truncated_file_is_reported_on_use_and_by_verify(archive, name):
    path = file_of(archive, name)
    os.truncate(path, path.stat().st_size - 1)
    again = CodeStore.open(archive.path, mode="r")
    region = (0, 0, 90, 90)
    with pytest.raises(ArchiveCorruptError, match=name):
        again.tiles(again.search(np.zeros((1, 8), np.uint8), k=200, region=region).ids[0])
    report = again.verify()
    assert [item.file for item in report.damage] == [str(path.relative_to(archive.path))]
    assert (report.num_tiles, report.num_good_tiles) == (200, 100)


@pytest.mark.parametrize("name", ["codes.bin", "index.safetensors", "tiles.parquet"])
def test_one_flipped_bit_is_found_by_verify(archive, name):
    path = file_of(archive, name, segment=1)
    flip_a_bit(path)
    report = verify_archive(archive.path)
    assert [item.file for item in report.damage] == [str(path.relative_to(archive.path))]
    assert "CRC-32" in report.damage[0].problem


@pytest.mark.parametrize("name", ["codes.bin", "index.safetensors", "tiles.parquet"])
def test_compaction_does_not_copy_damage(archive, name):
    path = file_of(archive, name, segment=1)
    flip_a_bit(path)
    with pytest.raises(ArchiveCorruptError, match=f"{name} has CRC-32"):
        archive.compact()
    for scene in range(5):
        archive.add_codes(np.zeros((100, 8), np.uint8), make_grid(100, scene=str(scene)))
    for left in (8, 2):  # the damaged one does not keep eight others from being merged
        with pytest.warns(GeoHashRSWarning, match=f"not merged: .*{name} has CRC-32"):
            archive.add_codes(np.zeros((100, 8), np.uint8), make_grid(100, scene="last"))
        assert len(archive.segments) == left
    report = archive.verify()
    assert [item.file for item in report.damage] == [str(path.relative_to(archive.path))]
    assert (report.num_tiles, report.num_good_tiles) == (900, 800)


def test_files_that_the_system_cannot_read_are_reported_as_damage(archive, monkeypatch):
    path = file_of(archive, "codes.bin")
    content = path.read_bytes()
    path.unlink()
    path.symlink_to("elsewhere")
    report = verify_archive(archive.path)
    assert [item.file for item in report.damage] == [str(path.relative_to(archive.path))]
    assert "is not a plain file but a link" in report.damage[0].problem
    path.unlink()
    path.write_bytes(content)

    def fail(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(storage, "_measure", fail)
    report = verify_archive(archive.path)
    assert len(report.damage) == 6
    assert all("Input/output error. Grant" in item.problem for item in report.damage)
    monkeypatch.setattr(manifest_file, "read_plain", lambda path, most: fail(path))
    with pytest.raises(ArchiveCorruptError, match=r"manifest\.json cannot be read"):
        CodeStore.open(archive.path)


def test_verify_keeps_the_files_that_it_checks(archive, monkeypatch):
    real = verification.verify_file

    def compact_then_verify(path, entry):
        archive.compact()
        real(path, entry)

    monkeypatch.setattr(verification, "verify_file", compact_then_verify)
    report = verify_archive(archive.path)
    assert (report.damage, report.num_good_tiles) == ((), 200)
    archive.compact()
    assert not archive.verify().orphans


def test_a_truncated_manifest_is_reported(archive):
    path = archive.path / "manifest.json"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ArchiveCorruptError, match=r"manifest\.json is not complete JSON"):
        CodeStore.open(archive.path)
    report = verify_archive(archive.path)
    assert [item.file for item in report.damage] == ["manifest.json"]


def test_a_changed_manifest_is_detected(archive):
    path = archive.path / "manifest.json"
    path.write_text(path.read_text().replace('"num_tiles": 100', '"num_tiles": 101', 1))
    with pytest.raises(ArchiveCorruptError, match="does not match its checksum"):
        CodeStore.open(archive.path)


def test_a_newer_format_is_refused(archive):
    path = archive.path / "manifest.json"
    path.write_text(path.read_text().replace('"version": 1', '"version": 3', 1))
    with pytest.raises(ArchiveFormatError, match="format version 3, but this .* reads up to 2"):
        CodeStore.open(archive.path)


@pytest.mark.parametrize("name", ["../away", "/tmp/away", "..", "", "a\\b", "C:away", "a\0"])
@pytest.mark.parametrize("owner", ["segment", "file", "tombstones", "scene log", "hasher"])
def test_a_manifest_cannot_name_files_elsewhere(archive, owner, name):
    forged = FileEntry(name=name, size=0, crc32=0)
    state = archive.manifest
    first = state.segments[0]
    changed = {
        "segment": {"segments": (dataclasses.replace(first, name=name),)},
        "file": {"segments": (dataclasses.replace(first, files=(forged,)),)},
        "tombstones": {"segments": (dataclasses.replace(first, tombstones=forged),)},
        "scene log": {"scene_logs": (forged,)},
        "hasher": {"hasher": HasherEntry(file=forged, fingerprint="f")},
    }[owner]
    path = archive.path / "manifest.json"
    outer = json.loads(path.read_bytes())
    outer["body"] = dataclasses.asdict(dataclasses.replace(state, **changed))
    write_manifest(path, outer)
    with pytest.raises(ArchiveCorruptError, match="is not a file name of an archive"):
        CodeStore.open(archive.path)


def test_a_deleted_segment_is_reported(archive):
    folder = file_of(archive, "codes.bin").parent
    shutil.rmtree(folder)
    again = CodeStore.open(archive.path, mode="r")
    with pytest.raises(ArchiveCorruptError, match=f"{folder.name}.*is missing"):
        again.search(np.zeros((1, 8), np.uint8))
    report = again.verify()
    assert len(report.damage) == 3
    assert report.num_good_tiles == 100


def test_a_second_writer_is_told_who_writes(archive):
    with (
        write_lock(archive.path),
        pytest.raises(ArchiveLockedError, match=f"written by process {os.getpid()} on"),
    ):
        archive.remove_scenes(["one"])
    assert archive.remove_scenes(["one"]) == 100


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_an_archive_is_written_but_nothing_is_deleted(archive, monkeypatch, number):
    def fail(handle, kind):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(portalocker.portalocker, "LOCKER", fail)  # in place of fcntl.flock
    reader = CodeStore.open(archive.path, mode="r")
    assert archive.remove_scenes(["one"]) == 100
    archive.compact()
    assert len(reader.search(np.zeros((1, 8), np.uint8), k=500).ids[0]) == 200
    assert archive.verify().orphans
    reader.refresh()
    assert len(reader) == 100
    monkeypatch.undo()
    reader.close()
    archive.compact()
    assert not archive.verify().orphans


def test_a_reader_keeps_its_snapshot_during_compaction(archive):
    reader = CodeStore.open(archive.path, mode="r")  # no file is mapped yet
    archive.remove_scenes(["one"])
    archive.compact()
    archive.add_codes(np.zeros((5, 8), np.uint8), make_grid(5, scene="three"))
    found = reader.search(np.zeros((1, 8), np.uint8), k=500)
    assert found.ids.shape == (1, 200)
    assert set(reader.tiles(found.ids[0])["scene"]) == {"one", "two"}
    assert archive.verify().orphans
    reader.refresh()
    assert len(reader) == 105
    reader.close()
    archive.compact()
    assert not archive.verify().orphans


def test_read_mode_refuses_to_write(archive):
    reader = CodeStore.open(archive.path, mode="r")
    with pytest.raises(ArchiveReadOnlyError, match="mode='r'"):
        reader.compact()


LIMITED = """
import resource, signal, sys
import numpy as np
from geohash_rs.store.code_store import CodeStore
from tests.store.forger import write_manifest
from tests.store.helpers import make_grid
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
archive = CodeStore.open(sys.argv[1])
frame = make_grid(20_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    archive.add_codes(np.zeros((20_000, 8), np.uint8), frame)
except Exception as error:
    print(type(error).__name__, error)
"""

AS_NOBODY = """
import os, sys
import numpy as np
from geohash_rs.store.code_store import CodeStore
from tests.store.forger import write_manifest
from tests.store.helpers import make_grid
if os.getuid() == 0:
    os.setgid(65534), os.setuid(65534)
archive = CodeStore.open(sys.argv[1])
assert archive.search(np.zeros((1, 8), np.uint8)).ids.size == 20
try:
    archive.add_codes(np.zeros((5, 8), np.uint8), make_grid(5))
except Exception as error:
    print(type(error).__name__, error)
"""


def run(script: str, *arguments: str) -> str:
    """Run a script in a new process, with the limits that it sets itself."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("limit", [1000, 100_000, 200_000])
def test_a_failed_write_leaves_the_archive_unchanged(archive, limit):
    said = run(LIMITED, str(archive.path), str(limit))
    assert said.startswith(ArchiveWriteError.__name__)
    assert "File too large" in said
    assert "make room" in said
    report = verify_archive(archive.path)
    assert (report.ok, report.num_tiles, report.orphans) == (True, 200, ())


def test_a_folder_without_permission_is_read_but_not_written(archive):
    with tempfile.TemporaryDirectory() as place:  # others may not enter pytest's own folders
        Path(place).chmod(0o755)
        folder = shutil.copytree(archive.path, Path(place) / "archive")
        for path in [*folder.rglob("*"), folder]:
            path.chmod(0o555 if path.is_dir() else 0o444)
        said = run(AS_NOBODY, str(folder))
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
    assert said.startswith(ArchiveReadOnlyError.__name__)
    assert "cannot be written" in said
