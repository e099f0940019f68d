"""The example of training on scenes runs as it is written, on small scenes."""

import runpy
import sys
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from affine import Affine

from geohash_rs import load_hasher
from tests.ground import TILE, kind_at, mosaic, write
from tests.hashing.lightning_runs import TRAINING_WARNINGS

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "07_your_scenes.py"
pytestmark = [*TRAINING_WARNINGS, pytest.mark.filterwarnings("ignore::UserWarning:lightning")]


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Lay out one scene of 48 tiles, and a polygon with a class over each."""
    write(tmp_path / "scenes" / "a.tif", mosaic(8, 6, 1))
    transform = Affine(10, 0, 500_000, 0, -10, 5_400_000)
    corners = [(col * TILE, row * TILE) for row in range(6) for col in range(8)]
    shapes = [
        shapely.box(*(transform @ (col, row + TILE)), *(transform @ (col + TILE, row)))
        for col, row in corners
    ]
    classes = [f"kind {kind_at(*corner)}" for corner in corners]
    layer = gpd.GeoDataFrame({"kind": classes}, geometry=shapes, crs="EPSG:32633")
    layer.to_file(tmp_path / "labels.gpkg")
    return tmp_path / "scenes"


def run(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), *map(str, words)])
    runpy.run_path(str(EXAMPLE), run_name="__main__")


def test_a_hasher_is_trained_with_polygons_and_without(
    scenes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["--bits", 32, "--cache", tmp_path / "features"]
    run(monkeypatch, scenes, "plain.safetensors", "--near-km", 1.3, *small)
    assert "learned from 48 unlabelled tiles" in capsys.readouterr().out
    labelled = [
        "--labels",
        "labels.gpkg",
        "--column",
        "kind",
        "--block-km",
        1.3,
        "--iterations",
        20,
    ]
    run(monkeypatch, scenes, "trained.safetensors", *labelled, *small)
    assert "mAP@20 of the test part" in capsys.readouterr().out
    for name in ("plain", "trained"):
        assert load_hasher(tmp_path / f"{name}.safetensors").num_bits == 32
