"""An archive in an S3 bucket, served on the loopback address."""

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geohash_rs.archive import CodeArchive, verify_archive
from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveNotFoundError,
    ArchiveWriteError,
    EngineError,
    EngineUnreachableError,
)
from tests.archive.helpers import make_grid
from tests.engines.random_archive import make_archive

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

from geohash_rs.engines import cloud  # noqa: E402 - after the skip
from geohash_rs.engines.cloud import pull, push  # noqa: E402


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the URL of an empty bucket and how to reach it."""
    import fsspec

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "k", "secret": "s"}
    fsspec.filesystem("s3", **options).mkdir("tiles")
    yield "s3://tiles", options
    server.stop()


def add(archive: CodeArchive, count: int) -> np.ndarray:
    codes = np.random.default_rng(count).integers(0, 256, (count, 8), dtype=np.uint8)
    return archive.add_codes(codes, make_grid(count, scene=f"{count}.tif"))


def test_an_archive_pushed_and_pulled_is_the_same(bucket: Any, tmp_path: Path) -> None:
    url, options = bucket[0] + "/first", bucket[1]
    truth = make_archive(tmp_path / "archive", seed=3, sizes=(500, 300, 200))
    archive = CodeArchive.open(truth.folder)
    push(archive.path, url, options=options)
    copy = CodeArchive.open(pull(url, tmp_path / "copy", options=options))
    assert verify_archive(copy.path).ok
    query = truth.codes[:5]
    assert np.array_equal(copy.search(query, k=50).ids, archive.search(query, k=50).ids)
    assert copy.scenes() == archive.scenes()
    ids = add(copy, 40)
    sent = push(copy.path, url, options=options)
    assert 0 < sent < 12
    archive.close()
    again = CodeArchive.open(pull(url, archive.path, options=options), mode="r")
    assert len(again) == len(copy)
    assert np.array_equal(again.codes(ids), copy.codes(ids))


def test_what_another_process_wrote_meanwhile_is_not_overwritten(
    bucket: Any, tmp_path: Path
) -> None:
    url, options = bucket[0] + "/second", bucket[1]
    archive = CodeArchive.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    push(archive.path, url, options=options)
    other = CodeArchive.open(pull(url, tmp_path / "other", options=options))
    add(other, 11)
    push(other.path, url, options=options)
    add(archive, 12)
    with pytest.raises(EngineError, match="does not come from the state of s3://tiles/second"):
        push(archive.path, url, options=options)
    with pytest.raises(EngineError, match="does not come from the state"):
        pull(url, archive.path, options=options)
    assert len(CodeArchive.open(pull(url, tmp_path / "new", options=options))) == 21


def test_a_copy_that_was_written_more_often_is_not_taken_for_a_newer_state(tmp_path: Path) -> None:
    url = "memory://copies"
    base = CodeArchive.create(tmp_path / "base", num_bits=64)
    push(base.path, url)
    mine, theirs = (CodeArchive.open(pull(url, tmp_path / name)) for name in ("mine", "theirs"))
    for count in range(1, 11):
        add(mine, count)
    mine.compact()
    push(mine.path, url)
    for count in range(1, 21):  # more commits, more tiles, and merged: no file in two forms
        add(theirs, count)
    theirs.compact()
    with pytest.raises(EngineError, match="does not come from the state of memory://copies"):
        push(theirs.path, url)
    assert len(CodeArchive.open(pull(url, tmp_path / "new"))) == len(mine) == 55


def test_a_damaged_object_is_named_and_leaves_the_folder_as_it_was(
    bucket: Any, tmp_path: Path
) -> None:
    import fsspec

    url, options = bucket[0] + "/third", bucket[1]
    archive = CodeArchive.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    push(archive.path, url, options=options)
    old = pull(url, tmp_path / "copy", options=options)
    add(archive, 11)
    push(archive.path, url, options=options)
    files = fsspec.filesystem("s3", **options)
    name = archive.segments[-1].entry.name
    content = files.cat_file(f"tiles/third/segments/{name}/codes.bin")
    files.pipe_file(f"tiles/third/segments/{name}/codes.bin", content[:-1] + b"\0")
    with pytest.raises(ArchiveCorruptError, match=r"codes\.bin.* has CRC-32"):
        pull(url, old, options=options)
    assert len(CodeArchive.open(old, mode="r")) == 10
    files.rm(f"tiles/third/segments/{name}/codes.bin")
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(ArchiveCorruptError, match="is missing, though the manifest lists it"):
        pull(url, tmp_path / "copy", options=options)


def test_storage_without_an_archive_or_without_an_answer_is_named(
    bucket: Any, tmp_path: Path
) -> None:
    with pytest.raises(ArchiveNotFoundError, match="s3://tiles/none is no archive"):
        pull(bucket[0] + "/none", tmp_path / "copy", options=bucket[1])
    nobody = {**bucket[1], "endpoint_url": "http://127.0.0.1:1", "config_kwargs": FAST}
    with pytest.raises(EngineUnreachableError, match="s3://tiles/first cannot be used"):
        pull("s3://tiles/first", tmp_path / "copy", options=nobody)
    with pytest.raises(EngineError, match="write it like s3://bucket/archive"):
        pull("nothing://tiles/first", tmp_path / "copy")


def test_a_bucket_that_is_not_there_is_named(bucket: Any, tmp_path: Path) -> None:
    archive = CodeArchive.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    with pytest.raises(EngineUnreachableError, match="s3://nobodys/archive cannot be used"):
        push(archive.path, "s3://nobodys/archive", options=bucket[1])


def test_an_object_cut_short_or_longer_than_a_piece_is_read_right(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.setattr(cloud, "CHUNK", 64)
    url, options = bucket[0] + "/pieces", bucket[1]
    archive = CodeArchive.create(tmp_path / "archive", num_bits=64)
    add(archive, 24)
    push(archive.path, url, options=options)
    copy = CodeArchive.open(pull(url, tmp_path / "copy", options=options), mode="r")
    assert verify_archive(copy.path).ok
    files = fsspec.filesystem("s3", **options)
    codes = f"tiles/pieces/segments/{archive.segments[-1].entry.name}/codes.bin"
    files.pipe_file(codes, files.cat_file(codes)[:100])
    with pytest.raises(ArchiveCorruptError, match="has 100 bytes but the manifest says 192"):
        pull(url, tmp_path / "short", options=options)


def test_a_full_local_disk_is_not_taken_for_a_storage_that_fails(tmp_path: Path) -> None:
    archive = CodeArchive.create(tmp_path / "archive", num_bits=64)
    codes = np.random.default_rng(0).integers(0, 256, (4000, 8), dtype=np.uint8)
    archive.add_codes(codes, make_grid(4000))
    push(archive.path, "memory://full")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, limits[1]))
    try:
        with pytest.raises(ArchiveWriteError, match=r"cannot write .*codes\.bin.*: File too large"):
            pull("memory://full", tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "copy").rglob("*.tmp"))
    assert len(CodeArchive.open(pull("memory://full", tmp_path / "copy"))) == 4000


FAST = {"retries": {"max_attempts": 1}, "connect_timeout": 2}
