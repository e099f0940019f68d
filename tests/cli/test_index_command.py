"""A failed `index` removes an archive that it just made, unless others have added to it."""

import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from geohash_rs import Archive
from geohash_rs.cli import app, main
from geohash_rs.errors import ArchiveLockedError
from tests.ground import mosaic, write
from tests.store.helpers import make_grid


@pytest.fixture
def words(tmp_path):
    """Return a command that indexes one scene into a new archive."""
    scene = write(tmp_path / "s" / "0.tif", mosaic(2, 2, 1))
    return ["index", str(scene), "--archive", str(tmp_path / "archive"), "--hasher", "lsh-16"]


def fail(monkeypatch, path, *, other):
    """Make the addition fail, after another process has done something."""

    def add(*_arguments, **_options):
        if other is not None:
            other(Archive.open(path))
        raise ArchiveLockedError("the archive is being written by process 1")

    monkeypatch.setattr(Archive, "add", add)


def test_a_new_archive_is_removed_if_nothing_can_be_added(words, monkeypatch, tmp_path):
    fail(monkeypatch, tmp_path / "archive", other=None)
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, ArchiveLockedError)
    assert not (tmp_path / "archive").exists()


def test_progress_is_shown_to_a_program_only_if_it_asks(words):
    command = [sys.executable, "-m", "geohash_rs", *words]
    quiet = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "%|" not in quiet.stderr
    words[3] += "-2"
    command = [sys.executable, "-m", "geohash_rs", *words, "--progress"]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "100%|" in told.stderr
    assert told.stdout.replace("archive-2", "archive") == quiet.stdout


def test_additions_of_another_process_in_the_meantime_stay(words, monkeypatch, tmp_path):
    path = tmp_path / "archive"

    def add_tiles(archive):
        archive.set_hasher(b"x", fingerprint="f", num_bits=16)
        archive.add_codes(np.zeros((5, 2), np.uint8), make_grid(5))

    for number, other in enumerate((lambda a: a.update_attrs({"a": 1}), add_tiles)):
        fail(monkeypatch, path, other=other)
        words[3] = str(path)
        assert isinstance(CliRunner().invoke(app, words).exception, ArchiveLockedError)
        assert Archive.open(path).num_tiles == 5 * number
        path = tmp_path / "archive-2"


def test_an_archive_that_another_process_has_open_stays(words, monkeypatch, tmp_path):
    path, opened = tmp_path / "archive", []
    fail(monkeypatch, path, other=opened.append)
    assert isinstance(CliRunner().invoke(app, words).exception, ArchiveLockedError)
    opened[0].set_hasher(b"x", fingerprint="f", num_bits=16)
    opened[0].add_codes(np.zeros((5, 2), np.uint8), make_grid(5))
    assert Archive.open(path).num_tiles == 5


@pytest.mark.slow
def test_processes_that_make_an_archive_at_the_same_moment_fill_it_together(tmp_path):
    runs = []
    for number in range(3):
        scenes = tmp_path / str(number)
        scenes.mkdir()
        for place in range(4):
            write(scenes / f"{place}.tif", mosaic(2, 2, number + 3 * place))
        command = [sys.executable, "-m", "geohash_rs", "index", scenes, "--archive", tmp_path / "a"]
        command += ["--hasher", "itq-16", "--tile-size", "32"]
        runs.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
    errors = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 3, errors
    archive = Archive.open(tmp_path / "a")
    assert len(archive.scenes()) == 12
    assert archive.verify().damage == ()
    assert [path.name for path in archive.path.glob("hasher-*")] == [archive.hasher_file.name]


def test_an_archive_that_nothing_could_be_added_to_leaves_nothing(words, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder, options in (
        (tmp_path / "new" / "archive", ["--tile-size", "9999"]),
        (empty, ["--tile-size", "9999"]),
        (tmp_path / "new" / "archive", ["--bands", "red,nir", "--tile-size", "64"]),
    ):
        words[3] = str(folder)
        assert CliRunner().invoke(app, [*words, *options]).exit_code == 1
        assert not (tmp_path / "new").exists()
        assert list(empty.iterdir()) == []


def test_a_skipped_scene_is_named_once_and_binds_no_archive(words, tmp_path, capsys):
    broken = write(tmp_path / "broken.tif", mosaic(4, 4, 2))
    os.truncate(broken, broken.stat().st_size // 2)
    for scene, left in ((words[1], True), (str(broken), False)):
        words[1], words[3] = scene, str(tmp_path / "new" / "archive")
        with pytest.raises(SystemExit, match="1"):
            main([*words, str(broken), "--tile-size", "64"])
        out, err = capsys.readouterr()
        assert "1 scene skipped" in out
        assert out.count(" was not made.") == (not left)
        assert (out + err).count("broken.tif") == err.count("broken.tif") > 0
        assert len(err.splitlines()) == 1
        assert err.startswith(f"geohash-rs: skipped {broken}: ")
        assert (tmp_path / "new").exists() == left
        shutil.rmtree(tmp_path / "new", ignore_errors=True)


def test_the_advice_for_years_in_file_names_dates_the_scenes(run, tmp_path):
    for number, name in enumerate(("1985.tif", "city_1990.tif", "0.tif")):
        write(tmp_path / "s" / name, mosaic(2, 2, number))
    archive = tmp_path / "archive"
    words = ["index", tmp_path / "s", "--archive", archive, "--hasher", "lsh-16"]
    code, out, _ = run(*words)
    assert code == 0
    (advice,) = (line for line in out.splitlines() if "have no date" in line)
    assert advice.startswith("2 of 3 scenes have no date")
    options = shlex.split(advice.partition("again with ")[2].partition(";")[0])
    options.remove("and")
    _, out, _ = run(*words, *options)
    assert "have no date" not in out
    years = [record.datetime and record.datetime.year for record in Archive.open(archive).scenes()]
    assert sorted(years, key=str) == [1985, 1990, None]
