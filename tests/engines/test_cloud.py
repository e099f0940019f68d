"""An archive in an S3 bucket, served on the loopback address."""

import contextlib
import dataclasses
import json
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from geohash_rs.cli import app
from geohash_rs.errors import (
    ArchiveCorruptError,
    ArchiveExistsError,
    ArchiveNotFoundError,
    ArchiveReadOnlyError,
    ArchiveWriteError,
    EngineError,
    EngineUnreachableError,
    GeoHashRSError,
    QueryError,
)
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.hasher_file import HasherFile
from geohash_rs.store.disk.records import SceneRecord
from geohash_rs.store.verification import verify_archive
from tests.engines.random_archive import make_archive
from tests.store.helpers import make_grid

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

from geohash_rs.engines.cloud import open_archive, pull, push, store  # noqa: E402 - after the skip
from geohash_rs.engines.cloud.cache import cached_files  # noqa: E402


@pytest.fixture(scope="module")
def bucket() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the URL of an empty bucket and the options to reach it."""
    import fsspec

    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    options = {"endpoint_url": f"http://{host}:{port}", "key": "k", "secret": "s"}
    fsspec.filesystem("s3", **options).mkdir("tiles")
    yield "s3://tiles", options
    server.stop()


def add(archive: CodeStore, count: int) -> np.ndarray:
    codes = np.random.default_rng(count).integers(0, 256, (count, 8), dtype=np.uint8)
    return archive.add_codes(codes, make_grid(count, scene=f"{count}.tif"))


def test_vectors_are_pushed_pulled_and_fetched_only_when_asked_for(
    bucket: Any, tmp_path: Path
) -> None:
    url, options = bucket[0] + "/vectors", bucket[1]
    archive = CodeStore.create(tmp_path / "archive", num_bits=64, keep_vectors="int8")
    vectors = np.random.default_rng(0).normal(size=(40, 9))
    codes = np.zeros((40, 8), np.uint8)
    ids = archive.add_codes(codes, make_grid(40), vectors=vectors)
    push(archive.path, url, options=options)
    copy = CodeStore.open(pull(url, tmp_path / "copy", options=options))
    assert np.array_equal(copy.vectors(ids), archive.vectors(ids))
    assert copy.keep_vectors == "int8"
    cache = tmp_path / "cache"
    with open_archive(url, cache=cache, options=options) as remote:
        remote.search(codes[:1], k=5)
        assert not list(cache.rglob("vectors.bin"))
        assert np.array_equal(remote.vectors(ids), archive.vectors(ids))
        assert len(list(cache.rglob("vectors.bin"))) == 1


def test_an_archive_pushed_and_pulled_is_the_same(bucket: Any, tmp_path: Path) -> None:
    url, options = bucket[0] + "/first", bucket[1]
    truth = make_archive(tmp_path / "archive", seed=3, sizes=(500, 300, 200))
    archive = CodeStore.open(truth.folder)
    push(archive.path, url, options=options)
    copy = CodeStore.open(pull(url, tmp_path / "copy", options=options))
    assert verify_archive(copy.path).ok
    query = truth.codes[:5]
    assert np.array_equal(copy.search(query, k=50).ids, archive.search(query, k=50).ids)
    assert copy.scenes() == archive.scenes()
    ids = add(copy, 40)
    sent = push(copy.path, url, options=options)
    assert 0 < sent < 12
    archive.close()
    again = CodeStore.open(pull(url, archive.path, options=options), mode="r")
    assert len(again) == len(copy)
    assert np.array_equal(again.codes(ids), copy.codes(ids))


def test_a_refitted_archive_replaces_what_was_pushed_before(bucket: Any, tmp_path: Path) -> None:
    url, options = f"{bucket[0]}/refitted", bucket[1]
    archive = CodeStore.create(tmp_path / "mine", num_bits=64)
    add(archive, 40)
    push(archive.path, url, options=options)
    pull(url, tmp_path / "theirs", options=options)
    (archive.path / "refit-0123456789abcdef").mkdir()  # of an interrupted refit: not sent
    hasher = HasherFile(data=b"network", fingerprint="other", num_bits=16)
    archive.replace_codes(hasher, lambda _, rows: np.full((len(rows), 2), 9, np.uint8))
    assert push(archive.path, url, options=options) == 4  # a segment's three files, and the hasher
    pull(url, tmp_path / "theirs", options=options)
    theirs = CodeStore.open(tmp_path / "theirs", mode="r")
    assert theirs.manifest == archive.manifest
    assert theirs.codes([0]).tolist() == [[9, 9]]
    assert theirs.verify().ok
    assert not theirs.verify().unfinished


def test_changes_of_another_process_are_not_overwritten(bucket: Any, tmp_path: Path) -> None:
    url, options = bucket[0] + "/second", bucket[1]
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    push(archive.path, url, options=options)
    other = CodeStore.open(pull(url, tmp_path / "other", options=options))
    add(other, 11)
    push(other.path, url, options=options)
    add(archive, 12)
    with pytest.raises(EngineError, match="does not descend from the state of s3://tiles/second"):
        push(archive.path, url, options=options)
    with pytest.raises(EngineError, match="does not descend from the state"):
        pull(url, archive.path, options=options)
    assert len(CodeStore.open(pull(url, tmp_path / "new", options=options))) == 21


def test_a_copy_with_more_commits_is_not_taken_for_a_newer_state(tmp_path: Path) -> None:
    url = "memory://copies"
    base = CodeStore.create(tmp_path / "base", num_bits=64)
    push(base.path, url)
    mine, theirs = (CodeStore.open(pull(url, tmp_path / name)) for name in ("mine", "theirs"))
    for count in range(1, 11):
        add(mine, count)
    mine.compact()
    push(mine.path, url)
    for count in range(1, 21):  # more commits, more tiles, and merged: no file name is reused
        add(theirs, count)
    theirs.compact()
    with pytest.raises(EngineError, match="does not descend from the state of memory://copies"):
        push(theirs.path, url)
    assert len(CodeStore.open(pull(url, tmp_path / "new"))) == len(mine) == 55


def test_a_damaged_object_is_reported_and_leaves_the_folder_unchanged(
    bucket: Any, tmp_path: Path
) -> None:
    import fsspec

    url, options = bucket[0] + "/third", bucket[1]
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
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
    assert len(CodeStore.open(old, mode="r")) == 10
    files.rm(f"tiles/third/segments/{name}/codes.bin")
    shutil.rmtree(tmp_path / "copy")
    with pytest.raises(ArchiveCorruptError, match="is missing but the manifest lists it"):
        pull(url, tmp_path / "copy", options=options)


def test_storage_without_an_archive_or_an_answer_is_reported(bucket: Any, tmp_path: Path) -> None:
    with pytest.raises(ArchiveNotFoundError, match="s3://tiles/none is not an archive"):
        pull(bucket[0] + "/none", tmp_path / "copy", options=bucket[1])
    nobody = {**bucket[1], "endpoint_url": "http://127.0.0.1:1", "config_kwargs": FAST}
    with pytest.raises(EngineUnreachableError, match="s3://tiles/first cannot be used"):
        pull("s3://tiles/first", tmp_path / "copy", options=nobody)
    with pytest.raises(EngineError, match="write it like s3://bucket/archive"):
        pull("nothing://tiles/first", tmp_path / "copy")


def test_a_missing_bucket_is_reported(bucket: Any, tmp_path: Path) -> None:
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    for url in ("s3://nobodys/archive", "s3://nobodys"):
        with pytest.raises(EngineUnreachableError, match=f"{url} cannot be used"):
            push(archive.path, url, options=bucket[1])


def test_a_folder_that_is_not_an_archive_is_reported_and_left_alone(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "typo"):
        with pytest.raises(ArchiveNotFoundError, match=f"{folder} is not an archive"):
            push(folder, "memory://none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("earlier", [False, True])
def test_a_pull_after_a_killed_one_completes_the_archive(tmp_path: Path, earlier: bool) -> None:
    url = f"memory://killed-{earlier}"
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    if earlier:
        push(archive.path, url)
        pull(url, tmp_path / "copy")
        add(archive, 11)
    push(archive.path, url)
    part = Path("segments") / archive.segments[-1].entry.name
    (tmp_path / "copy" / part).mkdir(parents=True)
    (tmp_path / "copy" / "write.lock").touch()  # the first that a pull makes
    shutil.copy(archive.path / part / "tiles.parquet", tmp_path / "copy" / part)
    codes = tmp_path / "copy" / part / "codes.bin"
    codes.write_bytes(bytes((archive.path / part / "codes.bin").stat().st_size))
    draft = codes.with_name("index.safetensors.0a1b2c3d.tmp")
    draft.mkdir()
    (draft / "index.safetensors").write_bytes(b"half")
    assert verify_archive(pull(url, tmp_path / "copy")).ok
    files = [{p.name for p in (home / part).iterdir()} for home in (archive.path, codes.parents[2])]
    assert files[0] == files[1]


def test_an_object_shorter_or_longer_than_a_chunk_is_read_correctly(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fsspec

    monkeypatch.setattr(store, "CHUNK", 64)
    url, options = bucket[0] + "/pieces", bucket[1]
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 24)
    push(archive.path, url, options=options)
    copy = CodeStore.open(pull(url, tmp_path / "copy", options=options), mode="r")
    assert verify_archive(copy.path).ok
    files = fsspec.filesystem("s3", **options)
    codes = f"tiles/pieces/segments/{archive.segments[-1].entry.name}/codes.bin"
    files.pipe_file(codes, files.cat_file(codes)[:100])
    with pytest.raises(ArchiveCorruptError, match="has 100 bytes but the manifest says 192"):
        pull(url, tmp_path / "short", options=options)


def test_a_full_local_disk_is_not_reported_as_a_storage_failure(tmp_path: Path) -> None:
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
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
    assert len(CodeStore.open(pull("memory://full", tmp_path / "copy"))) == 4000


def fetched(cache: Path) -> set[str]:
    """List the files in a cache by their names in the archive."""
    return {
        f"{path.parent.parent.relative_to(cache)}/{path.name}".removeprefix("./")
        for path in cache.rglob("*")
        if path.is_file()
    }


def test_a_search_in_the_bucket_fetches_what_it_needs_once(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options, cache = bucket[0] + "/lazy", bucket[1], tmp_path / "cache"
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    codes = np.random.default_rng(1).integers(0, 256, (40, 8), dtype=np.uint8)
    archive.add_codes(
        codes, make_grid(40, scene="west.tif"), scenes=[SceneRecord(scene="west.tif")]
    )
    east = make_grid(40, scene="east.tif")
    archive.add_codes(codes, east.set_geometry(east.translate(90)))
    push(archive.path, url, options=options)
    opened = open_archive(url, cache=cache, options=options)
    assert (len(opened), fetched(cache)) == (80, set())
    west, east = (f"segments/{entry.name}" for entry in archive.manifest.segments)
    found = opened.search(codes[:1], k=5, region=tuple(archive.tiles([3]).total_bounds))
    assert np.isin(found.ids, range(40)).all()
    assert {name.rpartition("/")[0] for name in fetched(cache)} == {west}
    assert np.array_equal(opened.search(codes, k=9).ids, archive.search(codes, k=9).ids)
    assert f"{east}/codes.bin" in fetched(cache)
    assert f"{east}/tiles.parquet" not in fetched(cache)
    assert opened.tiles([50, 7]).equals(archive.tiles([50, 7]))
    assert opened.scenes() == archive.scenes()
    archive.remove_tiles([3])
    push(archive.path, url, options=options)
    opened.refresh()
    assert np.array_equal(opened.search(codes, k=9).ids, archive.search(codes, k=9).ids)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    with open_archive(url, cache=cache, options=options) as again:
        assert np.array_equal(again.search(codes, k=9).ids, archive.search(codes, k=9).ids)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(ArchiveReadOnlyError, match="was opened with mode='r'"):
        opened.remove_tiles([4])


def test_files_of_another_archive_in_the_cache_are_not_used(tmp_path: Path) -> None:
    url, cache = f"file://{tmp_path}/store", tmp_path / "cache"
    for seed in (1, 2):
        codes = np.random.default_rng(seed).integers(0, 256, (30, 8), dtype=np.uint8)
        with CodeStore.create(tmp_path / str(seed), num_bits=64) as archive:
            ids = archive.add_codes(codes, make_grid(30))
            shutil.rmtree(tmp_path / "store", ignore_errors=True)
            push(archive.path, url)
        with open_archive(url, cache=cache) as opened:
            assert np.array_equal(opened.codes(ids), codes)


def test_the_commands_push_pull_and_query_a_bucket(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, options = bucket[0] + "/commands", bucket[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", options["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", options["key"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", options["secret"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 20)

    def run(*words: str) -> str:
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    assert run("push", str(archive.path), url) == f"3 files sent; {url} holds 20 tiles.\n"
    found = json.loads(run("push", str(archive.path), url, "--json"))
    assert found == {"archive": str(archive.path), "url": url, "files_sent": 0, "tiles": 20}
    assert "copy holds 20 tiles, the same as s3://tiles/commands." in run(
        "pull", url, str(tmp_path / "copy")
    )
    words = ("--tile", "3", "-k", "4", "--json")
    there, here = run("query", url, *words), run("query", str(tmp_path / "copy"), *words)
    assert json.loads(there) == json.loads(here)
    (cache,) = (tmp_path / "home" / "geohash_rs").iterdir()
    assert cache.name.startswith("commands-")


def test_actors_fetch_only_their_own_segments(
    bucket: Any, ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geohash_rs.engines.ray import RayArchive
    from geohash_rs.engines.ray import search as ray_search

    class Apart(ray_search.Searcher):
        """A worker with its own cache, as on another machine."""

        def take(self, share: int, files: Any, manifest: Any) -> None:
            """Open a share."""
            files = dataclasses.replace(files, cache=files.folder / f"share {share}")
            super().take(share, files, manifest)

    monkeypatch.setattr(ray_search, "Searcher", Apart)
    url, options, cache = bucket[0] + "/ray", bucket[1], tmp_path / "cache"
    truth = make_archive(tmp_path / "archive", seed=5, sizes=(5000, 4000, 3000))
    push(truth.folder, url, options=options)
    embedded = CodeStore.open(truth.folder, mode="r")
    query = truth.codes[::700]
    with RayArchive.open(url, num_actors=2, cache=cache, options=options) as archive:
        found = archive.search(query, k=30)
        assert np.array_equal(found.ids, embedded.search(query, k=30).ids)
        shares = ray_search.share_out(archive.manifest, 2)
        assert len(shares) == 2
        for number, share in enumerate(shares):
            mine = {f"segments/{entry.name}/codes.bin" for entry in share.segments}
            mine |= {f"removed/{e.tombstones.name}" for e in share.segments if e.tombstones}
            assert {name for name in fetched(cache / f"share {number}") if name not in mine} <= {
                f"segments/{entry.name}/index.safetensors" for entry in share.segments
            }
            assert mine <= fetched(cache / f"share {number}")
        assert archive.tiles(found.ids[0]).equals(embedded.tiles(found.ids[0]))
        expected = embedded.search(query, k=8, region=(10, 50, 11, 51))
        assert np.array_equal(archive.search(query, k=8, region=(10, 50, 11, 51)).ids, expected.ids)
    with pytest.raises(QueryError, match="mode is 'a', but s3://tiles/ray can only be read"):
        RayArchive.open(url, mode="a", options=options)


FAST = {"retries": {"max_attempts": 1}, "connect_timeout": 2}


def test_a_pull_leaves_a_folder_with_other_files_alone(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'store'}"
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    push(archive.path, url)
    home = tmp_path / "home"
    (home / "segments" / "00000000").mkdir(parents=True)
    mine = [home / ".bashrc", home / "draft.tmp", home / "segments" / "00000000" / "codes.bin"]
    for path in mine:
        path.write_text("mine")
    with pytest.raises(ArchiveExistsError, match="holds other files .* pull into a new folder"):
        pull(url, home)
    assert all(path.read_text() == "mine" for path in mine)
    assert sorted(path.name for path in home.iterdir()) == [".bashrc", "draft.tmp", "segments"]


def test_a_pull_does_not_follow_links(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'store'}"
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    push(archive.path, url)
    copy = pull(url, tmp_path / "copy")
    outside = shutil.move(copy / "segments", tmp_path / "outside")
    (copy / "segments").symlink_to(outside)
    before = sorted(Path(outside).rglob("*"))
    add(archive, 11)
    push(archive.path, url)
    with pytest.raises(ArchiveCorruptError, match="segments is not a plain folder but a link"):
        pull(url, copy)
    assert sorted(Path(outside).rglob("*")) == before


def test_neither_a_push_nor_the_cache_follows_links(tmp_path: Path) -> None:
    url, cache = f"file://{tmp_path / 'store'}", tmp_path / "cache"
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    push(archive.path, url)
    for folder in ("store", "cache"):
        outside = tmp_path / f"outside-{folder}"
        outside.mkdir()
        (tmp_path / folder).mkdir(exist_ok=True)
        if (tmp_path / folder / "segments").exists():
            shutil.move(tmp_path / folder / "segments", outside / "segments")
            outside = outside / "segments"
        (tmp_path / folder / "segments").symlink_to(outside)
    before = sorted(tmp_path.glob("outside-*/**/*"))
    codes = np.zeros((1, 8), np.uint8)
    with pytest.raises(ArchiveCorruptError, match="segments is not a plain folder but a link"):
        open_archive(url, cache=cache).search(codes, k=1)
    add(archive, 11)
    with pytest.raises(ArchiveCorruptError, match="segments is not a plain folder but a link"):
        push(archive.path, url)
    assert sorted(tmp_path.glob("outside-*/**/*")) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_in_the_cache_is_not_waited_for(tmp_path: Path) -> None:
    url, cache = f"file://{tmp_path / 'store'}", tmp_path / "cache"
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    push(archive.path, url)
    open_archive(url, cache=cache).search(np.zeros((1, 8), np.uint8), k=1)
    (codes,) = cache.rglob("codes.bin")
    codes.unlink()
    os.mkfifo(codes)
    with pytest.raises(ArchiveCorruptError, match="is not a plain file but a link, a pipe"):
        open_archive(url, cache=cache).search(np.zeros((1, 8), np.uint8), k=1)


def test_a_push_to_a_folder_that_ends_at_any_moment_leaves_one_state_or_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, store = f"file://{tmp_path / 'store'}", tmp_path / "store"
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    add(archive, 10)
    push(archive.path, url)
    old = (store / "manifest.json").read_bytes()
    add(archive, 11)
    real = Path.replace
    for moment in range(100):
        calls = iter(range(100))

        def end(path: Path, target: Path, last: int = moment, calls: Any = calls) -> Path:
            if next(calls) == last:
                raise KeyboardInterrupt
            return real(path, target)

        monkeypatch.setattr(Path, "replace", end)
        try:
            push(archive.path, url)
        except KeyboardInterrupt:
            assert (store / "manifest.json").read_bytes() == old
            assert verify_archive(store).ok
        else:
            break
    assert moment > 3
    assert (store / "manifest.json").read_bytes() == (archive.path / "manifest.json").read_bytes()
    assert verify_archive(store).ok


@pytest.mark.parametrize(
    "url",
    [
        "https://user:SECRETKEY@127.0.0.1:9/archive",
        "https://127.0.0.1:9/archive?X-Amz-Signature=SECRETKEY&sig=SECRET%4BEY",
        "memory://SECRETKEY@place/archive",
    ],
)
def test_no_message_holds_a_key_of_the_address(tmp_path: Path, url: str) -> None:
    archive = CodeStore.create(tmp_path / "archive", num_bits=64)
    for call in (
        lambda: pull(url, tmp_path / "copy"),
        lambda: open_archive(url, cache=tmp_path / "cache"),
        lambda: push(archive.path, url),
    ):
        try:
            call()
        except GeoHashRSError as error:
            assert "SECRETKEY" not in str(error)  # noqa: PT017 - memory:// succeeds
    assert "SECRETKEY" not in str(cached_files(url).folder) + repr(cached_files(url))


class WebServer(ThreadingHTTPServer):
    """Serve a folder as the simplest web server does, or more of its files than there is."""

    def __init__(self, folder: Path, *, more: int = 0) -> None:
        self.sent = 0

        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *args: Any) -> None:
                super().__init__(*args, directory=str(folder))

            def log_message(self, *_: object) -> None:
                pass

            def copyfile(self, source: Any, target: Any) -> None:
                with contextlib.suppress(OSError):
                    super().copyfile(source, target)
                    for _ in range(more):
                        target.write(b" " * (1 << 20))
                        self.server.sent += 1  # type: ignore[attr-defined]  # of this server

            def send_header(self, keyword: str, value: str) -> None:
                if not (more and keyword == "Content-Length"):
                    super().send_header(keyword, value)

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def test_an_archive_is_pulled_from_a_web_server_that_sends_whole_files_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    add(CodeStore.create(tmp_path / "a", num_bits=64), 5000)
    monkeypatch.setattr(store, "CHUNK", 10_000)
    with WebServer(tmp_path) as server:
        pull(f"http://127.0.0.1:{server.server_port}/a", tmp_path / "b")
        server.shutdown()
    assert verify_archive(tmp_path / "b").ok
    assert CodeStore.open(tmp_path / "b").num_tiles == 5000


def test_a_web_server_that_sends_more_than_asked_for_does_not_fill_the_memory(
    tmp_path: Path,
) -> None:
    pytest.importorskip("aiohttp")
    CodeStore.create(tmp_path / "a", num_bits=64)
    with WebServer(tmp_path, more=3000) as server:
        url = f"http://127.0.0.1:{server.server_port}/a"
        with pytest.raises(ArchiveCorruptError, match="more than 33,554,432 bytes"):
            pull(url, tmp_path / "b")
        server.shutdown()
    assert server.sent < 100
    assert not (tmp_path / "b").exists()
