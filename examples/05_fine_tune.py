"""Fine-tune a network on tiles in class folders, and measure it on tiles kept apart.

    python examples/05_fine_tune.py TILES tuned.safetensors --protocol spatial

Protocol "paper" splits at random, or by the lists of UC Merced if they are there; "spatial" splits
by blocks of ground, as locations.csv says where tiles lie. With --validate, a part of the training
tiles is measured instead of the test part.
"""

import argparse
from pathlib import Path

import torch
from kornia.augmentation import AugmentationSequential, RandomResizedCrop
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging

from geohash_rs import ClassFolderDataModule, HashingTask
from geohash_rs.evaluate import make_trials
from geohash_rs.hashing import VIEWS, view
from geohash_rs.metrics import mean_average_precision


class Protocol(ClassFolderDataModule):
    """Class folders, split by a protocol of `geohash-rs evaluate`."""

    protocol, validate = "paper", False

    def split(self, tiles):
        """Return the rows of the training and the test part; validation has none."""
        (trial,) = make_trials(tiles, self.protocol)
        if not self.validate:
            return trial.train, [], trial.queries
        (inner,) = make_trials(tiles.take(trial.train), self.protocol, seed=1)
        return trial.train[inner.train], [], trial.train[inner.queries]


@torch.inference_mode()
def measure(hasher, loader):
    """Print mAP@20 of activations averaged over one, four and eight views."""
    activations, labels = [], []
    for batch in loader:
        features = [hasher.extractor.features(view(batch["image"], name)) for name in VIEWS]
        activations.append(torch.stack([hasher.head(each) for each in features]))
        labels.append(batch["label"])
    views, labels = torch.cat(activations, 1), torch.cat(labels)
    for count in (1, 4, 8):
        codes = (views[:count].mean(0) > 0.5).float()
        distances = torch.cdist(codes, codes, p=1)
        distances.fill_diagonal_(torch.inf)  # a tile does not find itself
        same = (labels[:, None] == labels).numpy()
        value = mean_average_precision(distances.numpy(), same, k=20)
        print(f"mAP@20 with {count} of {len(VIEWS)} views: {value:.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("root", help="folder with one folder per class")
    parser.add_argument("output", help="hasher to write, .safetensors")
    parser.add_argument("--protocol", default="paper", choices=("paper", "spatial"))
    parser.add_argument("--validate", action="store_true", help="leave the test part alone")
    parser.add_argument("--bits", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--input-size", type=int, help="side that the network sees, px")
    args = parser.parse_args()
    seed_everything(0)
    data = Protocol(args.root, classes_per_batch=10, samples_per_class=10)
    data.protocol, data.validate = args.protocol, args.validate
    data.setup("fit")
    crop = RandomResizedCrop((data.train_dataset.size,) * 2, scale=(0.4, 1.0), ratio=(0.8, 1.25))
    data.train_aug = AugmentationSequential(crop, data_keys=None, keepdim=True)
    task = HashingTask(
        num_bits=args.bits,
        num_classes=len(data.classes),
        input_size=args.input_size,
        freeze_backbone=False,
        unfreeze=("blocks.3", "blocks.4", "blocks.5", "blocks.6", "conv_head", "bn2"),
        backbone_lr=3e-4,
    )
    settings = {"logger": False, "enable_checkpointing": False, "limit_val_batches": 0}
    settings["callbacks"] = [EMAWeightAveraging(decay=0.995)]
    settings["precision"] = "bf16-mixed" if torch.cuda.is_available() else "32-true"
    trainer = Trainer(max_epochs=args.epochs, **settings)
    trainer.fit(task, datamodule=data)
    hasher = task.hasher(name=Path(args.output).stem)
    measure(hasher, data.test_dataloader())
    hasher.save(args.output)


if __name__ == "__main__":
    main()
