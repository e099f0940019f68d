"""Hashers that learn from the location and the views of tiles, without labels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from geohash_rs import Archive, Scenes, load_hasher
from geohash_rs.codes import hamming_distances, pack_codes
from geohash_rs.errors import GeoHashRSWarning, HasherError, TileSizeError, TrainingError
from geohash_rs.hashing.fit.itq import itq_head
from geohash_rs.hashing.fit.unlabelled import alike_pairs, fit_on_scenes, pairs_head, triplets_head
from tests.ground import TILE

SMALL = {"tile_size": TILE, "model": "test_resnet", "weights": False, "num_bits": 16}


def made_features(*, seed: int = 0) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """Six classes of tiles that differ along six axes, with strong noise along two others.

    Tiles of one place belong to one class; the noise differs between tiles and between views.
    """
    generator = torch.Generator().manual_seed(seed)
    classes = np.arange(240) // 40
    places = np.arange(240) // 4
    signal = torch.nn.functional.one_hot(torch.from_numpy(classes), 6).float()
    quiet = 0.15 * torch.randn(240, 2, 6, generator=generator)
    loud = 0.6 * torch.randn(240, 2, 10, generator=generator)
    features = torch.cat([signal[:, None] + quiet, loud], dim=2)
    return features, places, classes


def precision(head: torch.nn.Module, features: torch.Tensor, classes: np.ndarray) -> float:
    """Share of the ten nearest tiles that belong to the query's class."""
    with torch.no_grad():
        codes = pack_codes(head(features[:, 0]).numpy())
    distances = hamming_distances(codes, codes)
    np.fill_diagonal(distances, 999)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :10]
    return float((classes[nearest] == classes[:, None]).mean())


def test_every_tile_of_a_shared_place_is_paired_within_it() -> None:
    places = np.random.default_rng(0).integers(0, 40, 100)
    pairs = alike_pairs(places, seed=1)
    assert (places[pairs[:, 0]] == places[pairs[:, 1]]).all()
    assert (pairs[:, 0] != pairs[:, 1]).all()
    counts = np.bincount(places)
    assert set(pairs.ravel().tolist()) == set(np.flatnonzero(counts[places] > 1).tolist())
    assert len(pairs) == (counts[counts > 0] - 1).sum()


@pytest.mark.parametrize("kind", ["views", "places"])
def test_pairs_suppress_differences_between_similar_tiles(kind: str) -> None:
    features, places, classes = made_features()
    alone = np.arange(len(places))
    views, places = (features, alone) if kind == "views" else (features[:, :1], places)
    plain = precision(itq_head(features[:, 0], num_bits=8), features, classes)
    assert precision(pairs_head(views, places, num_bits=8), features, classes) > plain + 0.2


def test_the_shrunk_axes_follow_the_covariance_of_pairs() -> None:
    features, places, _ = made_features()
    unit = torch.nn.functional.normalize(features[:, 0], dim=1).double().numpy()
    pairs = alike_pairs(places, seed=0)
    differences = unit[pairs[:, 0]] - unit[pairs[:, 1]]
    scatter = differences.T @ differences
    mixed = 0.95 * scatter / np.trace(scatter) + 0.05 * np.eye(16) / 16
    head = pairs_head(features[:, :1], places, num_bits=8)
    directions = head.projection.weight.detach().double().numpy()
    # directions are orthonormal once the shrinking is undone: W M W' = c I
    product = directions @ mixed @ directions.T
    assert product == pytest.approx(product[0, 0] * np.eye(8), abs=1e-4 * product[0, 0])


def test_triplets_of_places_learn_what_distinguishes_places() -> None:
    features, places, classes = made_features()
    trained = triplets_head(features, places, num_bits=16, iterations=150)
    barely = triplets_head(features, places, num_bits=16, iterations=1)
    assert precision(trained, features, classes) > precision(barely, features, classes) + 0.1


def test_tiles_alone_at_their_place_learn_from_their_views() -> None:
    features, _, _ = made_features()
    head = triplets_head(features[:40], np.arange(40), num_bits=16, iterations=2)
    assert torch.isfinite(head(features[:40, 0])).all()


@pytest.mark.parametrize("method", ["pairs", "triplets"])
def test_an_archive_trains_its_own_hasher(
    scene_folder: Path, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        fit_on_scenes.__globals__["METHODS"],
        "triplets",
        lambda *args, **settings: triplets_head(*args, iterations=3, **settings),
    )
    scenes = Scenes(scene_folder)
    hasher = fit_on_scenes(scenes, method=method, near_km=1.3, views=("identity", "hflip"), **SMALL)
    assert hasher.notes["fitted_on"].startswith("56 unlabelled tiles of ")
    hasher.save(tmp_path / "mine.safetensors")
    archive = Archive.create(
        tmp_path / "archive", hasher=load_hasher(tmp_path / "mine.safetensors")
    )
    assert archive.add(scenes, tile_size=TILE).num_tiles == 56
    again = fit_on_scenes(scenes, method=method, near_km=1.3, views=("identity", "hflip"), **SMALL)
    assert again.fingerprint == hasher.fingerprint


def test_whole_places_are_sampled_if_there_are_too_many_tiles(scene_folder: Path) -> None:
    scenes = Scenes(scene_folder)
    hasher = fit_on_scenes(scenes, max_tiles=20, near_km=1.3, views=("identity",), **SMALL)
    count = int(hasher.notes["fitted_on"].split()[0])
    assert 20 <= count < 56


def test_scenes_that_cannot_be_learned_from_are_refused_with_the_reason(scene_folder: Path) -> None:
    scenes = Scenes(scene_folder)
    few = {"max_tiles": 1, "near_km": 0.01, "views": ("identity",)}
    with pytest.raises(HasherError, match="method 'best' is not one of pairs, triplets"):
        fit_on_scenes(scenes, method="best", **SMALL)
    with pytest.raises(TrainingError, match="near_km is 0"):
        fit_on_scenes(scenes, near_km=0, **SMALL)
    with pytest.raises(TileSizeError, match="tile_size 640 px is larger"):
        fit_on_scenes(scenes, **{**SMALL, "tile_size": 640})
    with pytest.raises(HasherError, match="use a larger near_km or more views"):
        fit_on_scenes(Scenes(scene_folder / "b_20230601.tif"), **few, **SMALL)


def test_unreadable_scenes_are_reported_and_skipped(
    scene_folder: Path, write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    for path in scene_folder.glob("a_*.tif"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (scene_folder / "b_20230601.tif").read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "none.tif").write_bytes(b"none")
    write_scene(tmp_path / "small.tif", np.zeros((3, 40, 40), np.uint8))
    named = (
        r"3 scenes are left out: .*none\.tif: .*small\.tif: tile_size 64 px .*cut\.tif cannot be"
    )
    with pytest.warns(GeoHashRSWarning, match=named):
        hasher = fit_on_scenes(Scenes(tmp_path), near_km=1.3, views=("identity", "hflip"), **SMALL)
    assert 40 <= int(hasher.notes["fitted_on"].split()[0]) < 56


def test_the_range_of_values_covers_all_scenes(
    write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    for number, level in enumerate((100, 4000)):
        pixels = np.random.default_rng(number).integers(
            level, level + 1000, (3, 576, 512)
        )  # 72 tiles, more than a batch
        write_scene(tmp_path / f"{number}.tif", pixels.astype(np.uint16))
    with pytest.warns(GeoHashRSWarning, match="hold numbers on two scales"):
        hasher = fit_on_scenes(Scenes(tmp_path), near_km=1.3, views=("identity", "hflip"), **SMALL)
    assert max(hasher.scaling.low) < 150
    assert min(hasher.scaling.high) > 4900
