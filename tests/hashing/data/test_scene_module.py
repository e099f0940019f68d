"""Tiles of scenes become training data, labelled by the polygons that cover them."""

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from lightning.pytorch import Trainer

from geohash_rs import Scenes, load_hasher
from geohash_rs.cli import main
from geohash_rs.errors import BandMismatchError, LabelError, TrainingError
from geohash_rs.hashing.data.scene_module import LabelledSceneDataModule
from geohash_rs.hashing.train.task import HashingTask
from tests.ground import TILE, kind_at, mosaic
from tests.hashing.lightning_runs import SMALL, TRAINING_WARNINGS

SETTINGS = {"tile_size": TILE, "block_km": 1.5, "fractions": (0.5, 0.25), "samples_per_class": 3}
pytestmark = TRAINING_WARNINGS


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write polygons of four kinds of ground in longitude and latitude, except the corner tile."""
    rows = []
    for left, cols, crs in ((500_000, 5, "EPSG:32633"), (300_000, 4, "EPSG:32634")):
        names, shapes = [], []
        for row in range(4):
            for col in range(cols):
                x, y = left + 640 * col, 5_400_000 - 640 * row
                if (row, col) != (0, 0):
                    names.append(f"kind {kind_at(col * TILE, row * TILE)}")
                    shapes.append(shapely.box(x, y - 640, x + 640, y))
        layer = gpd.GeoDataFrame({"class": names}, geometry=shapes, crs=crs)
        rows.append(layer.to_crs("EPSG:4326"))
    path = tmp_path_factory.mktemp("labels") / "labels.gpkg"
    gpd.pd.concat(rows).to_file(path)
    return path


def test_tiles_have_the_class_of_their_ground_and_the_pixels_of_their_scene(
    scene_folder: Path, labels: Path
) -> None:
    module = LabelledSceneDataModule(str(scene_folder), str(labels), **SETTINGS)
    module.setup("fit")
    assert module.classes == ("kind 0", "kind 1", "kind 2", "kind 3")
    parts = module.parts
    assert sum(map(len, parts.values())) == 56 - 3  # the corner of every scene has no label
    for part in parts.values():
        for index, (number, col, row, width, height) in enumerate(part.tiles.tolist()):
            sample = part[index]
            assert int(sample["label"]) == kind_at(col, row)
            with rasterio.open(part.scenes.scene_files[number].key) as source:
                window = rasterio.windows.Window(col, row, width, height)
                assert (sample["image"].numpy() == source.read(window=window)).all()


def test_both_dates_of_a_place_are_in_one_part(scene_folder: Path, labels: Path) -> None:
    module = LabelledSceneDataModule(str(scene_folder), str(labels), **SETTINGS)
    module.setup("fit")
    places = {
        name: {(*tile[1:3], tile[0] == 2) for tile in part.tiles.tolist()}
        for name, part in module.parts.items()
    }
    assert all(len(part) for part in module.parts.values())
    assert not places["train"] & places["val"]
    assert not places["train"] & places["test"]
    assert not places["val"] & places["test"]
    for name, frame in module.footprints.items():
        assert len(frame) == len(module.parts[name])
        assert frame["label"].tolist() == [module.classes[t] for t in module.parts[name].targets]


def test_training_batches_are_balanced_and_other_parts_in_order(
    scene_folder: Path, labels: Path
) -> None:
    module = LabelledSceneDataModule(str(scene_folder), str(labels), **SETTINGS)
    module.setup("fit")
    for batch in module.train_dataloader():
        counts = np.bincount(batch["label"].numpy(), minlength=4)
        assert set(counts[counts > 0].tolist()) <= {2, 3}
        assert (counts > 0).sum() >= 2
    shown = np.concatenate([batch["label"].numpy() for batch in module.val_dataloader()])
    assert shown.tolist() == module.parts["val"].targets


def test_scenes_of_several_resolutions_make_tiles_of_one_size(
    scene_folder: Path, labels: Path, write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    coarse = Affine(20, 0, 500_000, 0, -20, 5_400_000)
    path = write_scene(tmp_path / "coarse.tif", mosaic(5, 4, 9)[:, ::2, ::2], transform=coarse)
    module = LabelledSceneDataModule(
        [str(scene_folder), str(path)], str(labels), resolution=10, **SETTINGS
    )
    module.setup("fit")
    shapes = {
        tuple(part[i]["image"].shape) for part in module.parts.values() for i in range(len(part))
    }
    assert shapes == {(3, TILE, TILE)}
    widths = {int(w) for part in module.parts.values() for w in part.tiles[:, 3]}
    assert widths == {32, 64}


def test_a_hasher_is_trained_under_lightning(scene_folder: Path, labels: Path) -> None:
    module = LabelledSceneDataModule(str(scene_folder), str(labels), **SETTINGS)
    task = HashingTask(**SMALL)
    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=module)
    measured = trainer.test(task, datamodule=module, verbose=False)
    assert 0 <= measured[0]["test_map"] <= 1
    hasher = task.hasher(name="mine")
    tile = Scenes(scene_folder)[0, 0, 0, TILE, TILE]["image"]
    assert hasher.codes(tile[None]).shape == (1, 2)


def test_fit_takes_the_example_configuration(
    scene_folder: Path, labels: Path, tmp_path: Path
) -> None:
    example = Path(__file__).parents[3] / "examples" / "07_your_scenes.yaml"
    words = ["fit", "--config", str(example), "--data.paths", str(scene_folder)]
    words += ["--data.labels", str(labels), "--data.block_km", "1.5"]
    words += ["--model.model", "test_resnet", "--model.weights", "false", "--model.input_size=32"]
    words += ["--model.iterations=20", "--model.cache", str(tmp_path / "features")]
    words += ["--trainer.max_epochs", "1", "--trainer.default_root_dir", str(tmp_path)]
    with pytest.raises(SystemExit) as left:
        main(words)
    assert list((tmp_path / "features").rglob("*.safetensors"))
    assert not left.value.code
    assert load_hasher(tmp_path / "hasher.safetensors").tile_size == TILE


def test_unusable_training_data_are_refused_with_the_reason(
    scene_folder: Path, labels: Path, tmp_path: Path
) -> None:
    def setup(**changes: object) -> None:
        settings = {**SETTINGS, "paths": str(scene_folder), "labels": str(labels), **changes}
        LabelledSceneDataModule(**settings).setup("fit")

    with pytest.raises(LabelError, match="has no column 'kind'; its columns are class"):
        setup(column="kind")
    elsewhere = tmp_path / "elsewhere.gpkg"
    gpd.read_file(labels).translate(5, 5).to_frame("geometry").assign(**{"class": "a"}).to_file(
        elsewhere
    )
    with pytest.raises(TrainingError, match=r"of 56 tiles of .* 0 are covered .* have 0 classes"):
        setup(labels=str(elsewhere))
    with pytest.raises(TrainingError, match="too few for 3 parts"):
        setup(block_km=1000)


def test_scenes_that_are_left_out_are_named(
    scene_folder: Path, labels: Path, write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    small = write_scene(tmp_path / "small.tif", mosaic(1, 1, 0)[:, :40, :40])
    module = LabelledSceneDataModule([str(scene_folder), str(small)], str(labels), **SETTINGS)
    with pytest.warns(UserWarning, match=r"1 scenes are left out: .*small\.tif: tile_size 64 px"):
        module.setup("fit")


def test_unlabelled_tiles_are_not_read_and_a_scene_cut_short_is_left_out(
    scene_folder: Path, labels: Path, tmp_path: Path
) -> None:
    for path in scene_folder.glob("a_*.tif"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (scene_folder / "a_20230901.tif").read_bytes()
    (tmp_path / "a_20230901.tif").write_bytes(whole[: len(whole) * 2 // 3])
    module = LabelledSceneDataModule(str(tmp_path), str(labels), **SETTINGS)
    named = r"1 scenes are left out: .*a_20230901\.tif cannot be read at"
    with (
        pytest.warns(UserWarning, match=named),
        mock.patch.object(Scenes, "read", autospec=True, side_effect=Scenes.read) as read,
    ):
        module.setup("fit")
    assert all(call.args[1][1:3] != (0, 0) for call in read.call_args_list)  # has no label
    assert sum(map(len, module.parts.values())) == 20 - 1
    assert not any((part.tiles[:, 0] == 1).any() for part in module.parts.values())


def test_scenes_that_differ_in_bands_need_a_choice(
    scene_folder: Path, labels: Path, write_scene: Callable[..., Path], tmp_path: Path
) -> None:
    four = np.concatenate([mosaic(5, 4, 8), mosaic(5, 4, 9)[:1]])
    path = write_scene(tmp_path / "four.tif", four, photometric="minisblack")
    paths = [str(scene_folder), str(path)]
    with pytest.raises(BandMismatchError, match=r"has 3 bands but four\.tif has 4; choose bands"):
        LabelledSceneDataModule(paths, str(labels), **SETTINGS).setup("fit")
    module = LabelledSceneDataModule(paths, str(labels), bands=[1, 2, 3], **SETTINGS)
    module.setup("fit")
    assert sum(map(len, module.parts.values())) == 56 + 20 - 4
