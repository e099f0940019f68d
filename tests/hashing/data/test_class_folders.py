"""Class folders are found at any depth, and their tiles keep their size."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from PIL import Image
from rasterio.enums import ColorInterp as C
from rasterio.errors import NotGeoreferencedWarning

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


def test_a_subclass_splits_the_tiles_by_itself(folder):
    class EveryFifth(ClassFolderDataModule):
        def split(self, tiles):
            rows = range(len(tiles))
            return [r for r in rows if r % 5], [], rows[::5]

    module = EveryFifth(str(folder))
    module.setup("fit")
    assert [len(module.parts[name]) for name in ("train", "val", "test")] == [24, 0, 6]
    assert module.test_dataset.targets == [0, 0, 1, 1, 2, 2]
    assert torch.equal(module.test_dataset[1]["image"], read_tile(folder / "c0" / "5.png").float())
    with pytest.raises(TrainingError, match="the val part of .* has no tiles"):
        module.val_dataloader()


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
    write_scene(folder / "c2" / "two.tif", np.ones((2, 40, 40), np.uint8))
    with pytest.warns(GeoHashRSWarning, match="4 of 34 pictures are left out") as seen:
        found = ClassFolders.open(folder)
    assert len(found) == 30
    for name in ("cut.png cannot", "empty.png cannot", "no.tif cannot", "two.tif has 2 bands"):
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


CHIP = np.random.default_rng(0).integers(20, 220, (4, 16, 16)).astype(np.uint8)


def write_chip(path, pixels, *, texts=None, colors=None, palette=None, scaling=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"driver": "GTiff", "dtype": pixels.dtype, "width": 16, "height": 16}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", count=len(pixels), **options) as target:
            if palette:
                target.write_colormap(1, palette)
            target.write(pixels)
            target.descriptions = texts or target.descriptions
            if colors:
                target.colorinterp = colors
            if scaling:
                target.scales, target.offsets = ([value] * len(pixels) for value in scaling)


def test_chips_of_several_layouts_are_read_by_what_their_bands_show(tmp_path):
    alpha = np.full((1, 16, 16), 255, np.uint8)
    alpha[0, :4] = 0
    write_chip(tmp_path / "a/rgb.tif", CHIP[:3])
    write_chip(tmp_path / "a/rgba.tif", np.concatenate([CHIP[:3], alpha]))
    write_chip(tmp_path / "b/bgr.tif", CHIP[2::-1], colors=(C.blue, C.green, C.red))
    write_chip(tmp_path / "b/bgrn.tif", CHIP[[2, 1, 0, 3]], texts=("blue", "green", "red", "nir"))
    write_chip(tmp_path / "b/rgbn.tif", CHIP)
    Image.fromarray(CHIP[:3].transpose(1, 2, 0)).save(tmp_path / "b/picture.png")
    found = ClassFolders.open(tmp_path)
    assert (len(found), found.bands) == (6, ("red", "green", "blue"))
    for number in range(6):
        np.testing.assert_array_equal(found.read(number).numpy(), CHIP[:3])
    data = ClassFolderDataset(found, size=16)
    np.testing.assert_array_equal(data[4]["image"].numpy(), CHIP[:3])


def test_chips_with_a_palette_are_read_as_their_colours(tmp_path):
    palette = {i: (i, 255 - i, i // 2, 255) for i in range(256)}
    write_chip(tmp_path / "a/0.tif", CHIP[:1], palette=palette)
    tile = read_tile(tmp_path / "a/0.tif").numpy()
    np.testing.assert_array_equal(tile, np.stack([CHIP[0], 255 - CHIP[0], CHIP[0] // 2]))


def test_chips_that_say_nothing_of_their_bands_are_read_as_stored(tmp_path):
    wide = np.random.default_rng(1).integers(0, 9000, (13, 16, 16)).astype(np.uint16)
    for name in ("a", "b"):
        write_chip(tmp_path / name / "0.tif", wide)
    found = ClassFolders.open(tmp_path)
    assert found.bands is None
    np.testing.assert_array_equal(found.read(0).numpy(), wide)


def test_a_chip_that_lacks_a_band_of_most_is_named(tmp_path):
    for number in range(3):
        write_chip(tmp_path / f"a/{number}.tif", CHIP[:3])
    write_chip(tmp_path / "a/infrared.tif", CHIP[:3], texts=("nir", "red", "green"))
    with pytest.warns(GeoHashRSWarning, match=r"infrared.tif has 3 bands \(nir, red, green\), not"):
        assert len(ClassFolders.open(tmp_path)) == 3


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_scale_and_offset_of_chips_are_applied_and_tell_them_from_raw_ones(tmp_path):
    image = np.random.default_rng(0).integers(300, 3000, (3, 16, 16)).astype(np.uint16)
    for name in ("a", "b"):
        write_chip(tmp_path / name / "before.tif", image, scaling=(1e-4, 0.0))
        write_chip(tmp_path / name / "after.tif", image + 1000, scaling=(1e-4, -0.1))
    write_chip(tmp_path / "b" / "raw.tif", image)
    with pytest.warns(GeoHashRSWarning, match="raw.tif has 3 bands of integers of more than 8 bit"):
        tiles = ClassFolders.open(tmp_path)
    assert len(tiles) == 4
    for number in range(4):
        np.testing.assert_allclose(tiles.read(number).numpy(), image * 1e-4, atol=1e-6)


def test_a_folder_that_cannot_be_listed_is_named(folder, monkeypatch):
    listed = Path.iterdir

    def iterdir(path):
        if path.name == "c1":
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(TrainingError, match=r"folder .*c1 cannot be listed \(Permission denied\)"):
        ClassFolders.open(folder)
