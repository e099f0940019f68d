"""Zarr stores of vectors on the command line."""

import json

from geohash_rs import Archive
from tests.embeddings.test_zarr import write_tessera


def test_the_command_indexes_a_store_and_says_before_what_it_would_read(tmp_path, run):
    write_tessera(tmp_path / "t.zarr", height=160, width=160)
    words = ("index", tmp_path / "t.zarr", "--tile-size", 8)
    code, out, _ = run(*words, "--dry-run", "--json")
    groups = json.loads(out)["groups"]
    assert (code, len(groups), groups[0]["tiles"], groups[0]["version"]) == (0, 4, 400, "1.1")
    assert run(*words, "--archive", tmp_path / "a", "--hasher", "general-8")[0] == 0
    assert len(Archive.open(tmp_path / "a")) > 1000
    code, _, err = run(*words, "--archive", tmp_path / "a", "--bands", "1,2")
    assert (code, "--bands does not apply to Zarr stores" in err) == (2, True)
    code, _, err = run("index", tmp_path / "t.zarr", "scene.tif", "--archive", tmp_path / "a")
    assert (code, "is a Zarr store and scene.tif is not" in err) == (2, True)
