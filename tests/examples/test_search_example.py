"""The example of searching one's own scenes runs as it is written, twice."""

import runpy
import shutil
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "08_search_your_scenes.py"


def test_scenes_are_searched_and_a_rejected_match_stays_away(coast, tmp_path, monkeypatch, capsys):
    (tmp_path / "scenes").mkdir()
    shutil.copy(coast / "scenes" / "coast_west_20230514.tif", tmp_path / "scenes")
    patch = coast / "patches" / "town.tif"
    words = [str(EXAMPLE), str(tmp_path / "scenes"), str(patch), str(tmp_path / "found.html")]
    monkeypatch.setattr(sys, "argv", words)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    first = capsys.readouterr().out
    assert "81 new tiles; the archive has 81" in first
    assert (tmp_path / "found.html").stat().st_size > 10_000
    found = [line.split("tile ")[1].split()[0] for line in first.splitlines() if " bits " in line]
    assert len(found) == 12
    monkeypatch.setattr(sys, "argv", [*words, "--reject", found[3]])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    again = capsys.readouterr().out
    assert "0 new tiles" in again
    assert f"tile {found[3]} " not in again
