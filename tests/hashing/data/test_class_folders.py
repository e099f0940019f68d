"""Class folders are found at any depth, and their tiles keep their size."""

import shutil

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image

from geohash_rs.errors import GeoHashRSWarning, TrainingError
from geohash_rs.hashing.data.class_folder_module import ClassFolderDataModule, ClassFolderDataset
from geohash_rs.hashing.data.class_folders import ClassFolders, read_tile


def test_a_split_into_folders_is_refused_with_their_names(folder, tmp_path):
    for part in ("train", "test"):
        for path in folder.glob("*/*.png"):
            target = tmp_path / "split" / part / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    with pytest.raises(TrainingError, match=r"holds 2 folders with .* \(test, train\); pass one"):
        ClassFolders.open(tmp_path / "split")
    assert len(ClassFolders.open(tmp_path / "split" / "train")) == 30


def test_a_nested_folder_of_classes_is_found(folder):
    assert ClassFolders.open(folder.parent).root == folder
    (folder / "c0" / "thumbs" / "small").mkdir(parents=True)
    (folder / "c0" / "thumbs" / "small" / "0.png").write_bytes((folder / "c0/0.png").read_bytes())
    assert ClassFolders.open(folder.parent).root == folder


def test_tiles_keep_their_size_unless_another_is_asked_for(folder):
    odd = Image.open(folder / "c1" / "3.png").resize((36, 38))
    odd.save(folder / "c1" / "3.png")
    module = ClassFolderDataModule(str(folder))
    module.setup("fit")
    assert module.classes == ("c0", "c1", "c2")
    parts = [module.train_dataset, module.val_dataset, module.test_dataset]
    assert {tuple(d[i]["image"].shape) for d in parts for i in range(len(d))} == {(3, 40, 40)}
    small = ClassFolderDataModule(str(folder), size=24)
    small.setup("fit")
    assert small.train_dataset[0]["image"].shape == (3, 24, 24)


def test_resizing_does_not_exceed_the_values_of_a_tile(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    board = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((5, 5))).astype(np.uint8) * 255
    for name in ("a", "b"):
        Image.fromarray(board).save(tmp_path / name / "0.png")
    image = ClassFolderDataset(ClassFolders.open(tmp_path), size=64)[0]["image"]
    assert (float(image.min()), float(image.max())) == (0.0, 255.0)


def write_png(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    size = {"height": image.shape[1], "width": image.shape[2]}
    with (
        pytest.warns(rasterio.errors.NotGeoreferencedWarning),
        rasterio.open(path, "w", driver="PNG", count=len(image), dtype=image.dtype, **size) as png,
    ):
        png.write(image)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_a_png_of_16_bits_keeps_all_of_them(tmp_path, bands):
    image = np.random.default_rng(0).integers(0, 9000, (bands, 20, 24)).astype(np.uint16)
    write_png(tmp_path / "a.png", image)
    expected = image[:3] if bands > 2 else np.repeat(image[:1], 3, axis=0)
    np.testing.assert_array_equal(read_tile(tmp_path / "a.png").numpy(), expected)


def test_pictures_of_another_type_are_left_out_and_named(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("forest", "water"):
        for i in range(4):
            write_png(tmp_path / name / f"{i}.png", rng.integers(0, 255, (3, 8, 8)).astype("uint8"))
    write_png(tmp_path / "water/wide.png", rng.integers(0, 9000, (3, 8, 8)).astype("uint16"))
    with pytest.warns(GeoHashRSWarning, match=r"1 of 9 .* left out.*wide.png has 3 bands of int"):
        found = ClassFolders.open(tmp_path)
    assert len(found) == 8
    assert {read_tile(path).dtype for path in found.paths} == {torch.uint8}
    assert found.classes == ("forest", "water")


def test_hidden_folders_and_folders_named_like_pictures_are_not_classes(folder):
    for name in (".ipynb_checkpoints", "__MACOSX", "old.tif"):
        shutil.copytree(folder / "c0", folder / name)
    shutil.copy(folder / "c0" / "0.png", folder / "c0" / "._0.png")
    (folder / "c1" / "deep.png").mkdir()
    (folder / "c1" / "Thumbs.db").write_bytes(b"0")
    found = ClassFolders.open(folder)
    assert found.classes == ("c0", "c1", "c2")
    assert len(found) == 30


def test_a_linked_class_is_found_but_not_under_two_names(folder, tmp_path):
    shutil.move(folder / "c1", tmp_path / "disk")
    (folder / "c1").symlink_to(tmp_path / "disk", target_is_directory=True)
    assert len(ClassFolders.open(folder)) == 30
    (folder / "again").symlink_to("c2", target_is_directory=True)
    with pytest.raises(TrainingError, match="classes 'again' and 'c2' of .* are the same folder"):
        ClassFolders.open(folder)


def test_unreadable_pictures_and_those_with_other_bands_are_named_and_skipped(folder, write_scene):
    whole = (folder / "c0" / "1.png").read_bytes()
    (folder / "c0" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "c0" / "empty.png").write_bytes(b"")
    (folder / "c1" / "no.tif").write_bytes(b"II*\0nothing")
    write_scene(folder / "c2" / "four.tif", np.ones((4, 40, 40), np.uint8))
    with pytest.warns(GeoHashRSWarning, match="4 of 34 pictures are left out") as seen:
        found = ClassFolders.open(folder)
    assert len(found) == 30
    for name in ("cut.png cannot", "empty.png cannot", "no.tif cannot", "four.tif has 4 bands"):
        assert name in str(seen[0].message)
    assert {tuple(batch.shape[1:]) for batch in found.batches()} == {(3, 40, 40)}


def test_a_class_whose_pictures_are_all_bad_is_named(folder):
    for path in (folder / "c1").iterdir():
        path.write_bytes(b"")
    with (
        pytest.warns(GeoHashRSWarning, match="10 of 30 pictures are left out"),
        pytest.raises(TrainingError, match=r"no pictures of class 'c1' that can be used \(of 10\)"),
    ):
        ClassFolders.open(folder)
