"""``index --dry-run`` lists the files of a folder correctly."""

import json
from pathlib import Path

import numpy as np
import pytest
from affine import Affine

from geohash_rs import Archive, Scenes
from geohash_rs.cli import main
from tests.ground import TILE, mosaic, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder of two good scenes, a small, a damaged and a hidden one, and a link."""
    scenes = tmp_path / "scenes"
    write(scenes / "a_20230601.tif", mosaic(2, 3, 1))
    write(
        scenes / "b.tif", mosaic(2, 2, 2).astype(np.uint16), crs="EPSG:4326",
        transform=Affine(1e-4, 0, 11, 0, -1e-4, 48),
    )  # fmt: skip
    write(scenes / "small.tif", mosaic(1, 1, 3)[:, :20, :20])
    (scenes / "cut.tif").write_bytes(b"II*\0")
    write(scenes / ".hidden.tif", mosaic(1, 1, 4))
    (scenes / "again").symlink_to(scenes, target_is_directory=True)
    return scenes


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


def test_a_dry_run_lists_scenes_and_why_files_are_left_out(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--tile-size", TILE, "--dry-run")
    assert run("index", folder, *options) == 1  # two files could not be added
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["tiles", "size", "dtype", "crs", "ground", "date", "bands", "scene"]
    first, second = (line.split() for line in lines[1:3])
    width, height = 2 * TILE, 3 * TILE
    assert first[:3] == ["6", f"{width}x{height}", "uint8"]
    assert first[3] == "EPSG:32633"
    assert "2023-06-01" in first
    assert first[-1] == str(folder / "a_20230601.tif")
    assert second[:4] == ["4", f"{width}x{width}", "uint16", "EPSG:4326"]
    starts = {
        line.index(word) for line, word in zip(lines[:3], ["crs", "EPSG", "EPSG"], strict=True)
    }
    assert len(starts) == 1
    said = "\n".join(lines[3:])
    assert f"left out  {folder}/cut.tif: cut.tif cannot be opened" in said
    assert f"left out  {folder}/small.tif: " in said
    assert f"left out  {folder}/.hidden.tif: hidden, or left behind by another program" in said
    assert f"left out  {folder}/again: a loop" in said
    assert (
        lines[-1]
        == "10 tiles of 2 scenes would be read; 0 scenes are unchanged; 4 files are left out."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scenes"]


def test_a_dry_run_skips_what_an_archive_has(
    folder: Path, quick: Archive, capsys: pytest.CaptureFixture[str]
) -> None:
    quick.add(Scenes(folder / "a_20230601.tif"), tile_size=TILE)
    generation = quick.manifest.generation
    path = quick.path
    quick.close()
    write(folder / "new.tif", mosaic(2, 2, 9))
    assert run("index", folder, "--archive", path, "--tile-size", TILE, "--dry-run", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    tiles = {Path(row["scene"]).name: row["tiles"] for row in found["scenes"]}
    assert tiles == {"a_20230601.tif": 0, "b.tif": 4, "new.tif": 4}
    assert found["scenes"][0]["ground"] == pytest.approx([10, 10], rel=1e-3)
    assert {Path(row["scene"]).name for row in found["left_out"]} == {
        ".hidden.tif", "again", "cut.tif", "small.tif",
    }  # fmt: skip
    assert Archive.open(path, mode="r").manifest.generation == generation


def test_a_long_list_ends_with_a_count(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("geohash_rs.cli.preview.MOST_ROWS", 1)
    run("index", folder, "--tile-size", TILE, "--dry-run")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "... and 1 more (--json lists all)"
    assert lines[4] == "... and 3 more (--json lists all)"


def test_only_a_dry_run_works_without_an_archive(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("index", folder) == 2
    assert "Missing option '--archive'" in capsys.readouterr().err


def test_scenes_whose_values_the_hasher_was_not_made_for_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers = mosaic(2, 2, 2).astype(np.uint16) * 12 + 300
    write(tmp_path / "s/a.tif", mosaic(2, 2, 1))
    write(tmp_path / "s/b.tif", numbers)
    options = ("--hasher", "eurosat-rgb-64", "--tile-size", TILE, "--dry-run", "--json")
    assert run("index", tmp_path / "s", *options) == 1
    found = json.loads(capsys.readouterr().out)
    assert [Path(row["scene"]).name for row in found["scenes"]] == ["a.tif"]
    [left_out] = found["left_out"]
    assert left_out["reason"].startswith("b.tif holds uint16")
    assert "--value-range" in left_out["reason"]
    assert run("index", tmp_path / "s", *options, "--value-range", "300,3360") == 0
    assert len(json.loads(capsys.readouterr().out)["scenes"]) == 2
