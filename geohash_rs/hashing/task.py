"""Train a hasher inside TorchGeo: a task for Lightning's Trainer and TorchGeo's command line."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from geohash_rs import metrics
from geohash_rs._compat import base_task
from geohash_rs.errors import BandMismatchError, TrainingError
from geohash_rs.hashing.backbones import load_backbone
from geohash_rs.hashing.fitting import default_bands
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.heads import MiLaN
from geohash_rs.hashing.lite0 import LITE0
from geohash_rs.hashing.losses import MiLaNLoss
from geohash_rs.hashing.mining import label_similarity
from geohash_rs.hashing.scaling import Scaling, estimate_range

__all__ = ["CodeCollapseWarning", "HashingTask"]

COLLAPSED = 0.1  # mean bit entropy below which codes say next to nothing


class CodeCollapseWarning(UserWarning):
    """Codes of different tiles have become almost the same."""


class HashingTask(base_task()):  # type: ignore[misc]
    """Metric learning of binary codes, after MiLaN.

    Batches are those of TorchGeo: ``image`` and ``label``, or a ``mask`` whose most frequent class
    becomes the label. What the data module's normalisation did is undone (its ``mean`` and
    ``std``), because scaling belongs to the hasher.

    Args:
        model: Backbone, any timm name.
        weights: Weights of the backbone, as `load_backbone` takes them.
        in_channels: Bands of the images.
        num_bits: Bits of the code.
        freeze_backbone: Whether only the head learns.
        hidden: Widths of the head's hidden layers.
        dropout: Share of hidden units that training drops.
        standardise: Whether features are brought to mean 0 and deviation 1, as measured on the
            first training batch.
        mining: "class_pairs", "batch_all", "batch_hard" or "semi_hard".
        margin: Margin of the triplets.
        normalise: Whether activations are brought to length one before distances are taken.
        push: Weight of the push loss.
        balance: Weight of the balance loss.
        balance_over: "sample" (the paper's) or "bit".
        proxy: Weight of the cross-entropy of a linear classifier on the activations.
        num_classes: Classes; needed by the proxy.
        lr: Learning rate.
        patience: Epochs without a better validation mAP before the learning rate falls.
        bands: Names of the bands.
        scaling: ``{"kind": "range", "low": [...], "high": [...]}`` in raw pixel values. Default: 0
            to 255 where the first training batch lies within, else its percentiles.
        loader_mean: What the data loader has subtracted. Default: the data module's ``mean``.
        loader_std: What it then divided by. Default: the data module's ``std``.
        input_size: Side in px that the network sees. Default: what its weights were trained with.
        k: Ranks of the validation metrics.

    Raises:
        TrainingError: If a setting is unknown.
        HasherError: If the weights do not fit the model.
        BandMismatchError: If the bands do not fit each other or the weights.

    References:
        Roy et al., MiLaN, 2021, https://arxiv.org/abs/1904.01258
    """

    monitor = "val_map"
    mode = "max"

    def __init__(
        self,
        model: str = LITE0,
        weights: Any = True,  # noqa: ANN401, FBT002  (TorchGeo's order of settings)
        in_channels: int = 3,
        num_bits: int = 64,
        *,
        freeze_backbone: bool = True,
        hidden: tuple[int, ...] = (1024, 512),
        dropout: float = 0.0,
        standardise: bool = True,
        mining: str = "batch_hard",
        margin: float = 0.2,
        normalise: bool = True,
        push: float = 0.001,
        balance: float = 1.0,
        balance_over: Literal["sample", "bit"] = "bit",
        proxy: float = 0.0,
        num_classes: int | None = None,
        lr: float = 3e-4,
        patience: int = 10,
        bands: Sequence[str] | None = None,
        scaling: Mapping[str, Any] | None = None,
        loader_mean: Sequence[float] | float | None = None,
        loader_std: Sequence[float] | float | None = None,
        input_size: int | None = None,
        k: int = 20,
    ) -> None:
        self.weights = weights
        super().__init__()
        self.tile_size = 0
        self._outputs: list[tuple[Tensor, Tensor]] = []

    def configure_models(self) -> None:
        """Make backbone and head.

        Raises:
            BandMismatchError: If the bands do not fit each other or the weights.
        """
        settings = self.hparams
        self.backbone = load_backbone(
            settings["model"], weights=self.weights, in_chans=settings["in_channels"]
        )
        self.head = MiLaN(
            self.backbone.num_features,
            settings["num_bits"],
            hidden=tuple(settings["hidden"]),
            dropout=settings["dropout"],
        )
        self.model = nn.Sequential(self.backbone, self.head)
        if settings["freeze_backbone"]:
            self.backbone.requires_grad_(requires_grad=False).eval()
        channels = settings["in_channels"]
        names = settings["bands"] or default_bands(channels)
        if len(names) != channels:
            msg = f"{len(names)} bands are named but in_channels is {channels}."
            raise BandMismatchError(msg)
        self.band_names = tuple(names)
        self.register_buffer("standardised", torch.tensor(not settings["standardise"]))
        self.register_buffer("low", torch.zeros(channels))
        self.register_buffer("high", torch.zeros(channels))  # zero: not known yet
        if settings["scaling"] is not None:
            self._set_range(settings["scaling"])

    def configure_losses(self) -> None:
        """Make the loss."""
        names = ("margin", "normalise", "mining", "push", "balance", "balance_over", "proxy")
        self.criterion = MiLaNLoss(
            **{name: self.hparams[name] for name in names},
            num_bits=self.hparams["num_bits"],
            num_classes=self.hparams["num_classes"],
        )

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        """Make AdamW over what learns, and a schedule that follows the validation mAP upwards."""
        learning = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(learning, lr=self.hparams["lr"])
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", patience=self.hparams["patience"]
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": self.monitor},
        }

    def train(self, mode: bool = True) -> "HashingTask":  # noqa: FBT001, FBT002  (torch's own)
        """Set the mode, but keep a frozen backbone as it is evaluated."""
        super().train(mode)
        if self.hparams["freeze_backbone"]:
            self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Compute activations of a data loader's images.

        Args:
            images: Shape (tiles, bands, height, width), normalised as the loader does.

        Returns:
            Activations in [0, 1], shape (tiles, num_bits).
        """
        result: Tensor = self.model(self._prepare(images))
        return result

    def _prepare(self, images: Tensor) -> Tensor:
        scaling = self._scaling()
        scaled = scaling.apply(self._raw(images))
        size = self.hparams["input_size"] or self.backbone.input_size
        if scaled.shape[-2:] != (size, size):
            scaled = nn.functional.interpolate(
                scaled, size=(size, size), mode="bicubic", antialias=True
            )
        return scaling.normalise(scaled)

    @torch.no_grad()
    def _standardise(self, images: Tensor) -> None:
        """Take mean and deviation from a batch; features that hardly vary there stay small."""
        features = self.backbone(self._prepare(images))
        deviation = features.std(0, correction=0)
        floor = (0.1 * deviation.mean()).clamp_min(1e-6)
        self.head.get_buffer("shift").copy_(features.mean(0))
        self.head.get_buffer("scale").copy_(1 / deviation.clamp_min(floor))
        self.get_buffer("standardised").fill_(value=True)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compute the loss of a batch."""
        images, labels = self._unpack(batch)
        if not float(self.get_buffer("high").abs().max()) and not self.backbone.raw_input:
            self._estimate_range(self._raw(images))
        if not bool(self.get_buffer("standardised")):
            self._standardise(images)
        terms = self.criterion(self(images), labels)
        for name, value in terms.items():
            self.log(f"train_{name}", value, batch_size=len(images))
        loss: Tensor = terms["loss"]
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Keep the codes of a batch."""
        images, labels = self._unpack(batch)
        self._outputs.append((self(images).detach().float().cpu() > 0.5, labels.cpu()))

    def test_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Keep the codes of a batch."""
        self.validation_step(batch, batch_idx)

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compute activations of a batch."""
        activations: Tensor = self(batch["image"].float())
        return activations

    def on_validation_epoch_end(self) -> None:
        """Log how well the validation tiles find each other."""
        self._log_ranking("val")

    def on_test_epoch_end(self) -> None:
        """Log how well the test tiles find each other."""
        self._log_ranking("test")

    def hasher(self, *, name: str = "", notes: Mapping[str, Any] | None = None) -> Hasher:
        """Give what has been learned as a hasher, which an archive uses.

        Args:
            name: A name for people.
            notes: What its description shall carry: data, licence, figures.

        Returns:
            A hasher with copies of the networks.

        Raises:
            TrainingError: If nothing has been trained, so that pixel values are unknown.
        """
        backbone = load_backbone(
            self.backbone.model_name, weights=False, in_chans=self.hparams["in_channels"]
        )
        backbone.load_state_dict(self.backbone.state_dict())
        frozen = self.hparams["freeze_backbone"]
        backbone.weights = self.backbone.weights if frozen else "fine-tuned"
        head = MiLaN(**{**self.head.settings, "hidden": tuple(self.head.hidden)})
        head.load_state_dict(self.head.state_dict())
        size = self.hparams["input_size"] or self.backbone.input_size
        return Hasher(
            backbone,
            head,
            scaling=self._scaling(),
            bands=self.band_names,
            tile_size=self.tile_size or size,
            input_size=size,
            name=name,
            notes=notes,
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the tile size with the weights."""
        checkpoint["tile_size"] = self.tile_size

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the tile size from a checkpoint."""
        self.tile_size = checkpoint.get("tile_size", 0)

    def _unpack(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        images = batch["image"].float()
        if images.shape[1] != len(self.band_names):
            msg = (
                f"images have {images.shape[1]} bands but the task was made for "
                f"{len(self.band_names)}; pass in_channels={images.shape[1]}."
            )
            raise BandMismatchError(msg)
        self.tile_size = self.tile_size or int(images.shape[-2])
        if "label" in batch:
            return images, batch["label"]
        if "mask" in batch:
            return images, batch["mask"].flatten(1).mode(1).values.long()
        msg = f"a batch has no label and no mask, only {sorted(batch)}; use a labelled data set."
        raise TrainingError(msg)

    def _raw(self, images: Tensor) -> Tensor:
        """Undo what the data loader's normalisation did."""
        module = getattr(self._trainer, "datamodule", None) if self._trainer else None
        mean, std = self.hparams["loader_mean"], self.hparams["loader_std"]
        mean = getattr(module, "mean", 0.0) if mean is None else mean
        std = getattr(module, "std", 1.0) if std is None else std
        shift, scale = (
            torch.as_tensor(v, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)
            for v in (mean, std)
        )
        return images * scale + shift

    def _estimate_range(self, raw: Tensor) -> None:
        inside = float(raw.min()) > -0.5 and 1.5 < float(raw.max()) < 255.5
        eight_bit = {"kind": "range", "low": 0.0, "high": 255.0}
        self._set_range(eight_bit if inside else estimate_range(raw.detach().cpu()))

    def _set_range(self, scaling: Mapping[str, Any]) -> None:
        read = Scaling.from_mapping(scaling, mean=self.backbone.mean, std=self.backbone.std)
        self.get_buffer("low").copy_(torch.tensor(read.low))
        self.get_buffer("high").copy_(torch.tensor(read.high))

    def _scaling(self) -> Scaling:
        mean, std = self.backbone.mean, self.backbone.std
        channels = self.hparams["in_channels"]
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        low, high = (tuple(self.get_buffer(name).tolist()) for name in ("low", "high"))
        if any(high) and self.backbone.raw_input:
            return Scaling(low=low, high=high, mean=zeros, std=ones)
        if self.backbone.raw_input:
            return Scaling(low=zeros, high=ones, mean=mean, std=std, clip=False)
        if not any(high):
            high = (255.0,) * channels  # before the first batch, as in Lightning's sanity check
        return Scaling(low=low, high=high, mean=mean, std=std)

    def _log_ranking(self, stage: str) -> None:
        codes = torch.cat([c for c, _ in self._outputs]).numpy().astype(np.float32)
        labels = torch.cat([y for _, y in self._outputs])
        self._outputs.clear()
        relevant = (label_similarity(labels) > 0).numpy()
        distances = np.rint((codes.shape[1] - (2 * codes - 1) @ (2 * codes - 1).T) / 2)
        np.fill_diagonal(distances, np.inf)
        entropy = float(metrics.bit_entropy(codes).mean())
        values = {
            "map": metrics.mean_average_precision(distances, relevant, k=self.hparams["k"]),
            "precision_radius2": float(metrics.precision_within(distances, relevant).mean()),
            "bit_entropy": entropy,
        }
        if labels.ndim == 2:
            gains = (labels.float() @ labels.float().T).numpy()
            ranked = {"k": self.hparams["k"]}
            values["ndcg"] = float(metrics.ndcg(distances, gains, **ranked).mean())
            values["acg"] = float(
                metrics.average_cumulative_gain(distances, gains, **ranked).mean()
            )
            weighted = metrics.weighted_average_precision(distances, gains, **ranked)
            values["weighted_map"] = float(weighted.mean())
        for name, value in values.items():
            self.log(f"{stage}_{name}", value, prog_bar=name == "map")
        if entropy < COLLAPSED and not self._sanity_checking():
            msg = (
                f"codes have collapsed: mean bit entropy of {len(codes)} tiles is {entropy:.3f} of "
                "1; lower lr, raise balance, or use larger class-balanced batches."
            )
            warnings.warn(msg, CodeCollapseWarning, stacklevel=2)

    def _sanity_checking(self) -> bool:
        return bool(self._trainer is not None and self._trainer.sanity_checking)
