"""A failed `index` removes an archive that it just made, unless others have added to it."""

import numpy as np
import pytest
from click.testing import CliRunner

from geohash_rs import Archive
from geohash_rs.cli import app
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
