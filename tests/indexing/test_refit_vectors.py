"""Refitting an archive that keeps feature vectors: without pixels, as far as none are needed."""

import copy
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from affine import Affine

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.codes import pack_codes
from geohash_rs.errors import GeoHashRSWarning, HasherError, SceneError, VectorError
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.indexing import tile_sources
from geohash_rs.store.disk.manifest import KeepVectors
from tests.ground import TILE, mosaic, write
from tests.store.helpers import make_grid

FINE = Affine(2, 0, 500_000, 0, -2, 5_400_000)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Write scenes of two sensors that a test may remove."""
    folder = tmp_path / "scenes"
    write(folder / "a_20230601.tif", mosaic(6, 6, 1))
    write(folder / "a_20230901.tif", mosaic(6, 6, 2))
    write(folder / "fine.tif", mosaic(6, 6, 3) // 2 + 100, transform=FINE)
    return folder


def kept(
    folder: Path, hasher: Hasher | str, scenes: Path, *, form: KeepVectors = "float16"
) -> Archive:
    """Index the scenes, and remove some of the tiles again."""
    archive = Archive.create(folder, hasher=hasher, keep_vectors=form)
    assert archive.add(Scenes(scenes), tile_size=TILE).num_tiles == 108
    archive.remove_tiles([0, 40, 107])
    return archive


def ids_of(archive: Archive) -> np.ndarray:
    return np.concatenate([frame["tile_id"].to_numpy() for frame in archive.iter_tiles()])


def codes_of_vectors(archive: Archive) -> np.ndarray:
    """Hash the vectors that an archive keeps with its hasher."""
    vectors = torch.from_numpy(archive.vectors(ids_of(archive)))
    with torch.inference_mode():
        return pack_codes(archive.hasher().head(vectors).numpy())


def count_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many tiles the network looks at from now on."""
    seen: list[int] = []
    real = Extractor._passes

    def passes(self: Extractor, tiles: torch.Tensor, views: list[str]) -> object:
        seen.append(len(tiles))
        return real(self, tiles, views)

    monkeypatch.setattr(Extractor, "_passes", passes)
    return seen


@pytest.mark.parametrize("form", ["float16", "int8"])
def test_no_pixel_is_read_to_hash_kept_vectors_again(
    quick_hasher: Hasher, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form
) -> None:
    archive = kept(tmp_path / "kept", quick_hasher, scenes, form=form)
    shutil.rmtree(scenes)
    vectors = archive.vectors(ids_of(archive))
    seen, plans = count_passes(monkeypatch), []
    report = archive.refit(announce=plans.append)
    assert seen == []
    assert (report.num_tiles, report.num_hashed, report.num_scenes) == (105, 105, 3)
    assert report.fingerprint != report.former
    assert report.fitted_on == "105 unlabelled tiles: 70 of 10 m uint8, 35 of 2 m uint8"
    assert "105 tiles of 3 scenes" in str(plans[0])
    assert "hashed from their feature vectors by itq-16" in str(plans[0])
    np.testing.assert_array_equal(archive.codes(ids_of(archive)), codes_of_vectors(archive))
    np.testing.assert_array_equal(archive.vectors(ids_of(archive)), vectors)
    assert archive.verify().ok
    assert archive.keep_vectors == form


def test_scenes_that_are_added_later_get_codes_that_compare(
    quick_hasher: Hasher, scenes: Path, tmp_path: Path
) -> None:
    archive = kept(tmp_path / "kept", quick_hasher, scenes)
    archive.refit("itq-32")
    assert (archive.num_bits, archive.hasher().name) == (32, "itq-32")
    assert archive.hasher().extractor.equals(quick_hasher.extractor)
    write(scenes / "again.tif", mosaic(6, 6, 2))
    archive.add(Scenes(scenes), tile_size=TILE)
    tiles = archive.tiles(ids_of(archive))
    named = tiles.assign(name=tiles["scene"].str.rsplit("/", n=1).str[-1])
    first, again = (
        named[named["name"] == name].set_index(["col", "row"])["tile_id"]
        for name in ("a_20230901.tif", "again.tif")
    )
    pairs = first.to_frame("first").join(again.rename("again"), how="inner")
    assert len(pairs) == 35
    before, after = (archive.codes(pairs[name].to_numpy()) for name in ("first", "again"))
    assert np.unpackbits(before ^ after).mean() < 0.01  # float16 rounds the features


@pytest.mark.usefixtures("small_input")
def test_a_general_hasher_looks_at_turned_tiles_of_every_sensor(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = kept(tmp_path / "kept", "general-16", scenes)
    monkeypatch.setattr(tile_sources, "TURNED_TILES", 20)
    former, seen = archive.hasher(), count_passes(monkeypatch)
    plans = []
    archive.refit("general-24", announce=plans.append)
    assert "the pixels of about 20 of each sensor, if they can be read) by" in str(plans[0])
    assert sum(seen) == 2 * 2 * 20  # two sensors, two views of 20 tiles each
    assert archive.hasher().extractor.equals(former.extractor)
    np.testing.assert_array_equal(archive.codes(ids_of(archive)), codes_of_vectors(archive))
    (scenes / "a_20230601.tif").unlink()  # tiles of the other date are turned instead
    seen.clear()
    report = archive.refit("general-32")
    assert sum(seen) == 2 * 2 * 20
    assert "without" not in report.fitted_on
    (scenes / "fine.tif").unlink()
    seen.clear()
    with pytest.warns(
        GeoHashRSWarning, match=r"no scene of 2 m uint8 can be read \(.*fine.tif: .* put one back"
    ):
        report = archive.refit("general-16")
    assert sum(seen) == 2 * 35  # all of the other sensor
    assert report.fitted_on.endswith(
        "35 of 2 m uint8, without turned views of 2 m uint8, since no scene can be read"
    )
    np.testing.assert_array_equal(archive.codes(ids_of(archive)), codes_of_vectors(archive))


@pytest.mark.usefixtures("small_input")
@pytest.mark.parametrize("only", ["*.tif", "a_*.tif"])
def test_a_general_hasher_needs_no_scene_if_none_can_be_read(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, only: str
) -> None:
    archive = Archive.create(tmp_path / "kept", hasher="general-16", keep_vectors="int8")
    archive.add(Scenes(sorted(scenes.glob(only))), tile_size=TILE)
    former = archive.hasher()
    scenes.rename(tmp_path / "elsewhere")
    seen = count_passes(monkeypatch)
    for name in (None, "general-32"):
        with pytest.warns(GeoHashRSWarning, match="no scene of .* can be read"):
            report = archive.refit(name)
        assert (seen, report.num_hashed) == ([], archive.num_tiles)
        assert "without turned views" in report.fitted_on
        assert report.fitted_on == archive.hasher().notes["fitted_on"]
        assert (archive.hasher().name, archive.num_bits) == (report.hasher, report.num_bits)
        np.testing.assert_array_equal(archive.codes(ids_of(archive)), codes_of_vectors(archive))
        codes = np.unpackbits(archive.codes(ids_of(archive)), axis=1)
        assert not {0, len(codes)} & set(codes.sum(0).tolist())  # every bit tells tiles apart
    assert archive.num_bits == 32
    assert archive.hasher().extractor.equals(former.extractor)
    assert archive.verify().ok


LAYERS = "@tf_efficientnet_lite0+blocks.5+blocks.4"


@pytest.mark.usefixtures("small_input")
@pytest.mark.parametrize("name", ["itq-32", "lsh-32"])
def test_another_head_keeps_the_layers_of_the_archive(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    archive = kept(tmp_path / "kept", "general-16", scenes)
    former, moved = archive.hasher(), scenes.rename(tmp_path / "elsewhere")
    seen = count_passes(monkeypatch)
    report = archive.refit(name)
    assert seen == []
    assert (report.num_hashed, report.hasher, archive.num_bits) == (105, name + LAYERS, 32)
    assert archive.hasher().extractor.equals(former.extractor)
    np.testing.assert_array_equal(archive.codes(ids_of(archive)), codes_of_vectors(archive))
    assert archive.refit().hasher == name + LAYERS  # again, of the same method
    assert archive.refit("itq-16").hasher == "itq-16" + LAYERS
    moved.rename(scenes)
    assert archive.refit("general-24").hasher == "general-24"
    assert archive.hasher().extractor.equals(former.extractor)


@pytest.mark.usefixtures("small_input")
def test_a_patch_finds_itself_after_another_head_was_fitted(scenes: Path, tmp_path: Path) -> None:
    archive = kept(tmp_path / "kept", "general-64", scenes)
    archive.refit("itq-64")
    hasher = Archive.open(archive.path).hasher()
    tiles = torch.from_numpy(mosaic(6, 6, 2)[:, :TILE, :TILE][None])
    (scene,) = (one for one in archive.tiles(ids_of(archive))["scene"].unique() if "0901" in one)
    first = archive.tiles(ids_of(archive)).query("scene == @scene and col == 0 and row == 0")
    stored = archive.codes(first["tile_id"].to_numpy())
    assert np.unpackbits(hasher.codes(tiles) ^ stored).sum() <= 1  # float16 rounds the features


@pytest.mark.filterwarnings("ignore:the hasher does not fit")
def test_a_hasher_that_was_shipped_keeps_its_features_under_another_head(
    scenes: Path, tmp_path: Path
) -> None:
    archive = kept(tmp_path / "kept", "general-rgb-128", scenes)
    former = archive.hasher()
    shutil.rmtree(scenes)
    report = archive.refit("itq-64")
    hasher = archive.hasher()
    assert hasher.extractor.equals(former.extractor)
    assert (report.num_bits, hasher.num_bits) == (64, 64)
    assert not {"adapts", "figures"} & set(hasher.notes)  # they are of the former head
    assert archive.refit().hasher == report.hasher


def test_signs_of_features_are_refused(quick_hasher: Hasher, scenes: Path, tmp_path: Path) -> None:
    archive = kept(tmp_path / "kept", quick_hasher, scenes)
    with pytest.raises(HasherError, match="method 'signs' is not one of"):
        archive.refit("signs-64")


def test_tiles_that_a_dataset_made_are_hashed_again(
    quick_hasher: Hasher, scenes: Path, tmp_path: Path
) -> None:
    archive = kept(tmp_path / "kept", quick_hasher, scenes)
    vectors = archive.vectors([1, 2, 3]) + np.float32(0.01)
    made = make_grid(3, scene="made.tif")
    archive.add_codes(np.zeros((3, 2), np.uint8), made, vectors=vectors)
    report = archive.refit()
    assert (report.num_tiles, report.num_scenes) == (108, 4)
    np.testing.assert_array_equal(archive.codes(ids_of(archive)), codes_of_vectors(archive))


def test_an_interrupted_refit_resumes_with_what_it_has(
    quick_hasher: Hasher, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = kept(tmp_path / "kept", quick_hasher, scenes)
    real, done = tile_sources.pack_codes, []

    def interrupted(activations: np.ndarray) -> np.ndarray:
        if done:
            raise KeyboardInterrupt
        done.append(len(activations))
        return real(activations)

    monkeypatch.setattr(tile_sources, "parts_of", lambda count, _: [slice(0, 9), slice(9, count)])
    monkeypatch.setattr(tile_sources, "pack_codes", interrupted)
    before = archive.codes(ids_of(archive))
    with pytest.raises(KeyboardInterrupt):
        archive.refit()
    np.testing.assert_array_equal(archive.codes(ids_of(archive)), before)
    monkeypatch.setattr(tile_sources, "pack_codes", real)
    monkeypatch.setattr(tile_sources, "fit_to_kept", None)  # the hasher is not fitted again
    report = archive.refit()
    assert report.num_tiles - report.num_hashed == 9
    np.testing.assert_array_equal(archive.codes(ids_of(archive)), codes_of_vectors(archive))


def test_a_given_hasher_of_the_same_features_needs_no_scene(
    quick_hasher: Hasher, scenes: Path, tmp_path: Path
) -> None:
    archive = kept(tmp_path / "kept", quick_hasher, scenes, form="int8")
    shutil.rmtree(scenes)
    head = copy.deepcopy(quick_hasher.head)
    head.projection.weight.neg_()
    head.projection.bias.neg_()
    archive.refit(dataclasses.replace(quick_hasher, head=head))
    np.testing.assert_array_equal(archive.codes(ids_of(archive)), codes_of_vectors(archive))
    assert archive.verify().ok


def test_vectors_that_are_not_features_of_the_hasher_are_refused(
    quick_hasher: Hasher, scenes: Path, tmp_path: Path
) -> None:
    archive = Archive.create(tmp_path / "kept", hasher=quick_hasher, keep_vectors="int8")
    archive.add_codes(np.zeros((3, 2), np.uint8), make_grid(3), vectors=np.ones((3, 8), np.float32))
    with pytest.raises(VectorError, match="keeps vectors of 8 numbers, but its hasher computes"):
        archive.refit()


def test_a_hasher_for_another_ground_size_is_refused(
    quick_hasher: Hasher, scenes: Path, tmp_path: Path
) -> None:
    archive = kept(tmp_path / "kept", quick_hasher, scenes)
    extractor = dataclasses.replace(quick_hasher.extractor, resolution=20.0)
    with pytest.raises(SceneError, match="pixels of their own size, but the hasher is made for 20"):
        archive.refit(dataclasses.replace(quick_hasher, extractor=extractor))


def test_a_hasher_of_other_features_is_refused(
    quick_hasher: Hasher, scenes: Path, tmp_path: Path
) -> None:
    extractor = dataclasses.replace(quick_hasher.extractor, input_size=48)
    other = dataclasses.replace(quick_hasher, extractor=extractor)
    archive = kept(tmp_path / "kept", quick_hasher, scenes)
    before = (archive.path / "manifest.json").read_bytes()
    with pytest.raises(VectorError, match="keeps the feature vectors of its hasher, but .* others"):
        archive.refit(hasher=other)
    with pytest.raises(VectorError, match="but general-16 computes others"):
        archive.refit("general-16", backbone="tf_efficientnet_lite0")
    with pytest.raises(VectorError, match="but general-rgb-128 computes others"):
        archive.refit(hasher="general-rgb-128")
    assert (archive.path / "manifest.json").read_bytes() == before
    assert not list(archive.path.glob("refit-*"))
