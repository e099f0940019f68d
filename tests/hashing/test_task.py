"""The task trains under Lightning on TorchGeo's data modules and gives a hasher that agrees."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from geohash_rs.errors import BandMismatchError, TrainingError
from geohash_rs.hashing.datamodules import ClassFolderDataModule
from geohash_rs.hashing.task import CodeCollapseWarning, HashingTask

SMALL = {"model": "test_resnet", "weights": False, "num_bits": 16, "input_size": 32}
# Lightning and TorchGeo say that loaders have few workers and that modules log rarely
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*num_workers.*"),
    pytest.mark.filterwarnings("ignore:The number of training batches"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.*"),
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    # a few steps over random weights
    pytest.mark.filterwarnings("ignore::geohash_rs.hashing.task.CodeCollapseWarning"),
    # a frozen backbone is in eval mode on purpose
    pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training"),
]


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for index in range(3):
        (tmp_path / "data" / f"c{index}").mkdir(parents=True)
        for number in range(10):
            pixels = 60 + 40 * index + rng.normal(0, 5 + 15 * index, (40, 40, 3))
            picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            picture.save(tmp_path / "data" / f"c{index}" / f"{number}.png")
    return tmp_path / "data"


def trainer(path, **settings):
    return Trainer(
        default_root_dir=path, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, **settings,
    )  # fmt: skip


def test_a_head_learns_and_its_hasher_gives_the_same_codes(folder, tmp_path):
    module = ClassFolderDataModule(str(folder), size=40, samples_per_class=4)
    task = HashingTask(**SMALL, lr=1e-2)
    before = [p.clone() for p in task.backbone.parameters()]
    run = trainer(tmp_path, max_epochs=8)
    run.fit(task, datamodule=module)
    assert run.callback_metrics["val_map"] > 0.5  # chance is 0.33
    assert {"val_precision_radius2", "val_bit_entropy", "train_push"} <= set(run.callback_metrics)
    for old, new in zip(before, task.backbone.parameters(), strict=True):
        assert torch.equal(old, new)
    batch = next(iter(module.test_dataloader()))
    task.eval()
    with torch.inference_mode():
        expected = task(batch["image"])
    hasher = task.hasher(name="mine")
    torch.testing.assert_close(hasher.activations(batch["image"]), expected, rtol=1e-3, atol=1e-4)
    assert (hasher.tile_size, hasher.num_bits) == (40, 16)


def test_fine_tuning_changes_the_backbone(folder, tmp_path):
    module = ClassFolderDataModule(str(folder), size=40, samples_per_class=4)
    task = HashingTask(**SMALL, freeze_backbone=False)
    before = [p.clone() for p in task.backbone.parameters()]
    trainer(tmp_path, max_epochs=1).fit(task, datamodule=module)
    pairs = zip(before, task.backbone.parameters(), strict=True)
    assert any(not torch.equal(old, new) for old, new in pairs)
    assert task.hasher().backbone.weights == "fine-tuned"


@pytest.mark.parametrize("name", ["UCMercedDataModule", "EuroSAT100DataModule"])
def test_torchgeos_data_modules_are_undone_to_raw_pixels(shared_data, tmp_path, name):
    from torchgeo import datamodules

    root = shared_data / ("ucmerced" if name.startswith("UC") else "eurosat100")
    bands = 3 if name.startswith("UC") else 13
    module = getattr(datamodules, name)(root=str(root), batch_size=8)
    task = HashingTask(**SMALL, in_channels=bands)
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=2, limit_val_batches=2)
    run.fit(task, datamodule=module)
    scaling = task.hasher().scaling
    if bands == 3:
        assert scaling.high == (255.0,) * 3
    else:
        assert 500 < scaling.high[0] < 10_000
    assert len(task.hasher().bands) == bands


def test_several_labels_are_ranked_by_what_they_share(tmp_path):
    generator = torch.Generator().manual_seed(0)
    samples = [
        {
            "image": torch.rand(3, 32, 32, generator=generator) * 255,
            "label": torch.tensor([1, i % 2, i % 3 == 0]).long(),
        }
        for i in range(12)
    ]
    loader = torch.utils.data.DataLoader(samples, batch_size=6)
    run = trainer(tmp_path, max_epochs=1)
    run.fit(HashingTask(**SMALL), loader, loader)
    assert {"val_ndcg", "val_acg", "val_weighted_map"} <= set(run.callback_metrics)


def test_equal_codes_bring_a_warning(tmp_path):
    task = HashingTask(**SMALL)
    task._outputs = [(torch.zeros(4, 16), torch.tensor([0, 0, 1, 1]))]
    task.log = lambda *_, **__: None
    with pytest.warns(CodeCollapseWarning, match=r"mean bit entropy of 4 tiles is 0.000"):
        task.on_validation_epoch_end()


def test_what_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(BandMismatchError, match="2 bands are named but in_channels is 3"):
        HashingTask(**SMALL, bands=("a", "b"))
    task = HashingTask(**SMALL)
    with pytest.raises(BandMismatchError, match="images have 4 bands .* pass in_channels=4"):
        task._unpack({"image": torch.zeros(1, 4, 8, 8), "label": torch.zeros(1)})
    with pytest.raises(TrainingError, match="no label and no mask"):
        task._unpack({"image": torch.zeros(1, 3, 8, 8)})
    mask = torch.tensor([[[1, 1], [1, 0]]])
    _, labels = task._unpack({"image": torch.zeros(1, 3, 8, 8), "mask": mask})
    assert labels.tolist() == [1]
