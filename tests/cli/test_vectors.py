"""``--keep-vectors``: a new archive keeps vectors, and every command says so."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from geohash_rs import Archive
from geohash_rs.cli import app
from geohash_rs.errors import VectorError
from tests.ground import mosaic, write


@pytest.fixture
def words(quick_hasher, tmp_path):
    """Return a command that indexes one scene of four tiles into a new archive."""
    scene = write(tmp_path / "s" / "0.tif", mosaic(2, 2, 1))
    quick_hasher.save(tmp_path / "h.safetensors")
    words = ["index", str(scene), "--archive", str(tmp_path / "archive")]
    return [*words, "--hasher", str(tmp_path / "h.safetensors"), "--tile-size", "64"]


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize(("kind", "per_number", "more"), [("float16", 2, 0), ("int8", 1, 4)])
def test_a_new_archive_keeps_vectors_and_says_how_large_they_are(
    words, tmp_path, quick_hasher, kind, per_number, more
):
    size = per_number * quick_hasher.backbone.num_features + more
    planned = run(*words, "--keep-vectors", kind, "--dry-run")
    assert f"Their {kind} vectors would take 0.0 MB, {size:,} bytes a tile." in planned
    done = run(*words, "--keep-vectors", kind)
    assert f"holds 4 tiles, with {kind} vectors of {size:,} bytes each." in done
    archive = Archive.open(tmp_path / "archive", mode="r")
    assert archive.vectors(np.arange(4)).shape == (4, quick_hasher.backbone.num_features)
    about = json.loads(run("info", tmp_path / "archive", "--json"))
    assert (about["keep_vectors"], about["vector_bytes"]) == (kind, size)
    assert f"keep_vectors      {kind}" in run("info", tmp_path / "archive")
    assert run("verify", tmp_path / "archive")


def test_an_archive_keeps_none_unless_asked_to(words, tmp_path):
    assert "vector" not in run(*words)
    assert json.loads(run("info", tmp_path / "archive", "--json"))["keep_vectors"] == "none"


@pytest.mark.parametrize("also", [[], ["--dry-run"]])
def test_an_archive_that_was_made_otherwise_is_refused(words, tmp_path, also):
    run(*words)
    with pytest.raises(
        VectorError, match=r'made with keep_vectors="none", not keep_vectors="int8"'
    ):
        run(*words, "--keep-vectors", "int8", *also)
    run(*words, "--keep-vectors", "none", *also)
