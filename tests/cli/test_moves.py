"""``relocate``, ``prune``, ``remove`` and scenes by their file name, as a user types them."""

import json
import shutil

import pytest

from geohash_rs import Archive, Scenes
from geohash_rs.cli import index, moves
from geohash_rs.errors import QueryError
from tests.ground import mosaic, write


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "disk"
    for number, name in enumerate(("a.tif", "b.tif", "deep/a.tif")):
        write(made / name, mosaic(2, 2, number + 1))
    return made


@pytest.fixture
def archive(tmp_path, folder):
    """The folder of an archive of twelve tiles."""
    with Archive.create(tmp_path / "archive", hasher="lsh-16") as made:
        made.add(Scenes(folder), tile_size=64)
    return tmp_path / "archive"


@pytest.fixture
def answer(monkeypatch):
    """Answer the question of a command, as on a terminal."""

    def set_answer(text):
        for module in (index, moves):
            monkeypatch.setattr(module, "can_ask", lambda: True)
        monkeypatch.setattr("click.termui.visible_prompt_func", lambda _: text)

    return set_answer


def test_relocate_says_what_it_did_and_would_do(run, archive, folder):
    new = folder.with_name("new")
    shutil.copytree(folder, new)
    (new / "b.tif").unlink()
    code, out, err = run("relocate", archive, folder, new, "--dry-run")
    assert (code, out) == (1, f"missing  {new}/b.tif\n")
    assert "1 scene missing or another file, so nothing would be relocated" in err
    code, _, err = run("relocate", archive, folder, new)
    assert code == 1
    assert "or pass --problems leave to relocate only the others" in err
    code, out, _ = run("relocate", archive, folder, new, "--problems", "leave")
    assert code == 0
    assert out.endswith(f"2 scenes with 8 tiles relocated to {new}.\n1 scene left as they were.\n")
    code, out, _ = run("relocate", archive, folder / "b.tif", new / "a.tif")
    assert code == 1
    code, out, _ = run("relocate", archive, new, folder, "--json")
    assert json.loads(out)["num_tiles"] == 8


def test_prune_lists_asks_and_keeps_what_a_missing_disk_held(run, archive, folder, answer):
    (folder / "b.tif").unlink()
    shutil.rmtree(folder / "deep")
    code, out, err = run("prune", archive, "--dry-run")
    assert code == 1
    assert out.splitlines() == [
        f"gone  {folder}/b.tif (4 tiles)",
        "4 tiles of 1 scene would be removed; the files of 1 scene are there.",
    ]
    assert f"kept 4 tiles of 1 scene: every scene of {folder}/deep is missing" in err
    code, _, err = run("prune", archive)
    assert code == 2
    assert "cannot ask without a terminal; pass --yes" in err
    answer("n")
    code, _, err = run("prune", archive)
    assert (code, "nothing was changed" in err) == (1, True)
    assert Archive.open(archive).num_tiles == 12
    answer("y")
    code, out, _ = run("prune", archive)
    assert "4 tiles removed" in out
    code, out, _ = run("prune", archive, "--gone", folder / "deep", "--yes", "--json")
    assert code == 0
    assert (json.loads(out)["removed"], json.loads(out)["archive_tiles"]) == (4, 4)


def test_prune_lists_what_moved_and_says_what_finds_it(run, archive, folder):
    (folder / "b.tif").rename(folder / "c.tif")
    code, out, err = run("prune", archive, "--yes")
    assert code == 0
    assert out.startswith(f"moved  {folder}/b.tif, now {folder}/c.tif\n0 tiles removed")
    assert "kept 1 scene that moved; 'geohash-rs index' gives its tiles the new path" in err


def test_scenes_are_named_as_tables_print_them(run, archive, folder, monkeypatch):
    opened = Archive.open(archive)
    query = opened.codes([0])
    assert set(opened.tiles(opened.search(query, scenes=["b.tif"]).ids[0])["scene"]) == {
        str(folder / "b.tif")
    }
    with pytest.raises(QueryError, match=r"'a\.tif' is the name of 2 scenes: .*; pass the path"):
        opened.search(query, scenes=["a.tif"])
    assert opened.search(query, scenes=["deep/a.tif"]).ids.size == 4
    assert opened.search(query, scenes=["/deep/a.tif"]).ids.size == 0  # a path is a whole path
    assert opened.search(query, scenes=["tif"]).ids.size == 0
    code, out, err = run("query", archive, "--tile", 0, "--scene", "b.tif")
    assert (code, out.count("b.tif")) == (0, 4)
    code, _, err = run("query", archive, "--tile", 0, "--scene", "a.tif")
    assert code == 2
    assert f"{folder}/a.tif, {folder}/deep/a.tif" in err
    monkeypatch.chdir(folder)  # where it is a path
    assert run("query", archive, "--tile", 0, "--scene", "a.tif")[0] == 0
    assert run("remove", archive, "--scene", "a.tif")[1].startswith("4 tiles removed")
    monkeypatch.chdir(folder.parent)
    assert "has no tile of c.tif" in run("remove", archive, "--scene", "c.tif")[2]
    assert run("remove", archive, "--scene", "a.tif")[1].startswith("4 tiles removed")


def test_tables_tell_scenes_of_the_same_name_apart(run, archive, folder):
    code, out, _ = run("query", archive, "--tile", 0, "-k", 12)
    assert code == 0
    printed = {line.split()[3] for line in out.splitlines()[1:]}
    assert printed == {"disk/a.tif", "deep/a.tif", "b.tif"}
    for name in printed:
        assert run("query", archive, "--tile", 0, "--scene", name)[0] == 0


def test_remove_says_how_scenes_are_named(run, archive):
    code, _, err = run("remove", archive, "b.tif")
    assert code == 2
    assert "pass each scene with --scene, such as --scene b.tif" in err
    code, _, err = run("remove", archive)
    assert (code, "--scene NAME" in err) == (2, True)


def test_an_archive_without_tiles_says_so(run, archive, folder):
    run("remove", archive, "--scene", "b.tif", "--scene", folder / "a.tif", "--scene", "deep/a.tif")
    for words in (
        ("query", archive, "--tile", 0),
        ("query", archive, "--point", "10,50"),
        ("relocate", archive, "/a", "/b"),
    ):
        assert "holds no tiles; add scenes with 'geohash-rs index'" in run(*words)[2]


def test_index_asks_before_it_replaces_tiles_by_others(run, archive, folder, answer):
    words = ("index", folder, "--archive", archive, "--tile-size", 32)
    code, out, _ = run(*words, "--dry-run")
    assert code == 0
    assert "have 12 tiles of 64 px, which would be replaced by tiles of 32 px" in out
    code, _, err = run(*words)
    assert code == 1
    assert "Pass --replace to replace them; to have both, use --tile-size 32,64." in err
    answer("n")
    assert "nothing was changed" in run(*words)[2]
    assert Archive.open(archive).num_tiles == 12
    answer("y")
    assert "48 tiles of 3 scenes added, 3 of them replaced" in run(*words)[1]
    words = ("index", folder, "--archive", archive, "--tile-size", "32,64", "--replace")
    assert "60 tiles of 3 scenes added, 3 of them replaced" in run(*words)[1]


def test_index_says_that_a_scene_was_renamed(run, archive, folder):
    (folder / "b.tif").rename(folder / "c.tif")
    words = ("index", folder, "--archive", archive, "--tile-size", 64)
    note = f"{folder}/c.tif, formerly {folder}/b.tif; 4 tiles are kept under the new path."
    assert note in run(*words, "--dry-run")[1]
    assert str(folder / "b.tif") in Archive.open(archive).scene_names()
    assert note in run(*words)[1]
    assert str(folder / "c.tif") in Archive.open(archive).scene_names()
