"""Train a hasher in TorchGeo: a task for Lightning's Trainer and TorchGeo's command line."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from geohash_rs._compat import base_task
from geohash_rs.errors import BandMismatchError, TrainingError, one_line
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.fit.training_free import default_bands
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.lite0 import LITE0
from geohash_rs.hashing.network.preparation import prepare
from geohash_rs.hashing.network.pretrained import load_backbone
from geohash_rs.hashing.network.views import random_views, view
from geohash_rs.hashing.train.checkpoints import (
    FINE_TUNED,
    check_checkpoint,
    keep_backbone,
    restore_backbone,
)
from geohash_rs.hashing.train.learning import make_optimizer, unfreeze
from geohash_rs.hashing.train.loader_pixels import LoaderPixels, undo
from geohash_rs.hashing.train.losses import MiLaNLoss
from geohash_rs.hashing.train.quiet import mute_warnings
from geohash_rs.hashing.train.sampling import labels_of
from geohash_rs.hashing.train.settings import (
    FeatureSettings,
    HeadSettings,
    LearningSettings,
    LossSettings,
    documented_by,
)
from geohash_rs.hashing.train.validation import (
    CodeCollapseWarning,
    SeenCodes,
    ranking_values,
    warn_of_collapse,
)
from geohash_rs.scenes.band_labels import bands_of_dataset

__all__ = ["CodeCollapseWarning", "HashingTask"]


@documented_by(FeatureSettings, HeadSettings, LossSettings, LearningSettings)
class HashingTask(base_task()):  # type: ignore[misc]
    """Metric learning of binary codes, after MiLaN.

    Batches are TorchGeo's: ``image`` and ``label``, or a ``mask`` whose most frequent class
    becomes the label. The data module's normalisation (its ``mean`` and ``std``) is undone,
    because scaling belongs to the hasher. Batches of `BalancedBatches` may hold ``features``
    instead of an image, computed once by the frozen backbone.

    Args:
        in_channels: Number of bands of the images.
        num_bits: Bits per code.
        freeze_backbone: Whether to train only the head.
        unfreeze: Modules of the backbone to train if it is not frozen, such as "blocks.6".
            Default: all. Normalisation layers keep the statistics of their weights.
        num_classes: Number of classes; needed for the proxy.
        bands: Names of the bands. Default: those that the training dataset names, as TorchGeo's
            do; otherwise red, green, blue for three, or numbers.
        scaling: ``{"kind": "range", "low": [...], "high": [...]}`` in raw pixel values. Default: 0
            to 255 if the first training batch lies within, otherwise its percentiles.
        loader_mean: Mean that the data loader subtracts. Default: the ``mean`` of the data module,
            or of the checkpoint's data module, otherwise 0.
        loader_std: Deviation that it divides by. Default: as for `loader_mean`, otherwise 1.
        k: Ranks of the validation metrics.

    Raises:
        TrainingError: If a setting is unknown, or settings contradict each other.
        HasherError: If the weights do not match the model.
        BandMismatchError: If the bands do not match each other or the weights.

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
        unfreeze: Sequence[str] = (),
        stages: Sequence[str] = (),
        components: int = 0,
        train_views: Sequence[str] = ("identity",),
        views: Sequence[str] = ("identity",),
        hidden: tuple[int, ...] = (1024, 512),
        dropout: float = 0.0,
        noise: float = 0.0,
        standardise: bool = True,
        mining: str = "batch_hard",
        margin: float = 0.2,
        normalise: bool = True,
        push: float = 0.001,
        balance: float = 1.0,
        balance_over: Literal["sample", "bit"] = "bit",
        proxy: float = 0.0,
        smoothing: float = 0.0,
        num_classes: int | None = None,
        lr: float = 3e-4,
        backbone_lr: float | None = None,
        weight_decay: float = 0.01,
        schedule: Literal["plateau", "cosine"] = "plateau",
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
        self.loader: tuple[Any, Any] = (0.0, 1.0)
        self.seen = SeenCodes()

    def setup(self, stage: str) -> None:
        """Mute Lightning's warnings that every run of this task would cause."""
        mute_warnings()

    def configure_models(self) -> None:
        """Make backbone and head.

        Raises:
            TrainingError: If `components` is used without `standardise`.
            BandMismatchError: If the bands do not match each other or the weights.
        """
        settings = self.hparams
        wanted = FeatureSettings.pick({**settings, "weights": self.weights})
        shape = HeadSettings.pick(settings)
        channels = settings["in_channels"]
        self.backbone = load_backbone(
            wanted.model,
            weights=wanted.weights,
            in_chans=channels,
            bands=settings["bands"] or (),
            stages=wanted.stages,
        )
        self.head = shape.make(self.backbone.num_features, settings["num_bits"])
        self.model = nn.Sequential(self.backbone, self.head)
        unfreeze(self.backbone, settings["unfreeze"], frozen=settings["freeze_backbone"])
        names = settings["bands"] or default_bands(channels)
        if len(names) != channels:
            msg = f"{len(names)} bands are named but in_channels is {channels}."
            raise BandMismatchError(msg)
        self.band_names = tuple(names)
        self.network_size = wanted.input_size or self.backbone.input_size
        self.pixels = LoaderPixels(self.backbone, scaling=settings["scaling"])
        self.register_buffer("standardised", torch.tensor(not shape.standardise))

    def configure_losses(self) -> None:
        """Make the loss."""
        self.criterion = MiLaNLoss(
            LossSettings.pick(self.hparams),
            num_bits=self.hparams["num_bits"],
            num_classes=self.hparams["num_classes"],
        )

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        """Make AdamW for the trainable weights, and the schedule.

        Raises:
            TrainingError: If the schedule is unknown.
        """
        return make_optimizer(
            self.backbone,
            [*self.head.parameters(), *self.criterion.parameters()],
            settings=LearningSettings.pick(self.hparams),
            trainer=self.trainer,
            monitor=self.monitor,
        )

    def on_train_start(self) -> None:
        """Take the names of the bands from the training dataset, unless they were given."""
        if self.hparams["bands"] is None:
            dataset = getattr(self.trainer.train_dataloader, "dataset", None)
            self.band_names = bands_of_dataset(dataset, len(self.band_names)) or self.band_names

    def train(self, mode: bool = True) -> "HashingTask":  # noqa: FBT001, FBT002  (torch's own)
        """Set the mode of the head; the backbone's normalisation layers stay in evaluation mode.

        Batches are small and chosen by class, so their statistics would be misleading.
        """
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Compute activations of a data loader's images, averaged over `views`.

        Args:
            images: Shape (tiles, bands, height, width), normalised by the data loader.

        Returns:
            Activations in [0, 1], shape (tiles, num_bits).
        """
        prepared = self._prepare(self._raw(images))
        passes = [self.model(view(prepared, name)) for name in self.hparams["views"]]
        return torch.stack(passes).mean(0)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compute the loss of a batch."""
        labels = labels_of(batch)
        if "features" in batch:
            activations = self.head(batch["features"])
        else:
            raw = self._raw(self._images(batch))
            self.pixels.meet(raw)
            seen = random_views(self._prepare(raw), self.hparams["train_views"])
            if not bool(self.get_buffer("standardised")):
                with torch.no_grad():
                    self.meet_features(self.backbone(seen))
            activations = self.model(seen)
        terms = self.criterion(activations, labels)
        for name, value in terms.items():
            self.log(f"train_{name}", value, batch_size=len(labels))
        loss: Tensor = terms["loss"]
        return loss

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Store the codes of a batch.

        Raises:
            TrainingError: If an activation is NaN or infinite.
        """
        labels = labels_of(batch)
        if "features" in batch:  # shape (tiles, views, num_features)
            passes = [self.head(values) for values in batch["features"].unbind(1)]
            activations = torch.stack(passes).mean(0)
        else:
            activations = self(self._images(batch))
        self.seen.add(activations, labels)

    test_step = validation_step

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compute activations of a batch."""
        activations: Tensor = self(self._images(batch))
        return activations

    def on_validation_epoch_end(self) -> None:
        """Log how well the validation tiles find each other."""
        self._log_ranking("val")

    def on_test_epoch_end(self) -> None:
        """Log how well the test tiles find each other."""
        self._log_ranking("test")

    def meet_features(self, features: Tensor) -> None:
        """Compute mean, deviation and principal components from features, unless they are known.

        Features that hardly vary stay small.

        Args:
            features: Features of training tiles, shape (tiles, num_features).
        """
        if bool(self.get_buffer("standardised")):
            return
        self.head.standardise(features)
        if not self.head.components:
            deviation = features.std(0, correction=0)
            floor = (0.1 * deviation.mean()).clamp_min(1e-6)
            self.head.get_buffer("scale").copy_(1 / deviation.clamp_min(floor))
        self.get_buffer("standardised").fill_(value=True)

    def extractor(self) -> Extractor:
        """Return the feature extractor; it shares the backbone if that is frozen."""
        frozen = self.hparams["freeze_backbone"]
        backbone = self.backbone if frozen else copy.deepcopy(self.backbone)
        return self._extractor(backbone, device=self.device)

    def hasher(self, *, name: str = "", notes: Mapping[str, Any] | None = None) -> Hasher:
        """Return the trained networks as a hasher, for use in an archive.

        Args:
            name: A display name.
            notes: Notes for its description: data, licence, figures.

        Returns:
            A hasher with copies of the networks.
        """
        backbone = copy.deepcopy(self.backbone)
        if not self.hparams["freeze_backbone"]:
            backbone.weights = FINE_TUNED
        return Hasher(
            self._extractor(backbone, device="cpu"),
            copy.deepcopy(self.head),
            views=self.hparams["views"],
            name=name,
            notes=notes or {},
        )

    def loader_statistics(self) -> tuple[Any, Any]:
        """Return the mean that the data loader subtracts and the deviation that it divides by."""
        module = getattr(self._trainer, "datamodule", None) if self._trainer else None
        mean, std = self.hparams["loader_mean"], self.hparams["loader_std"]
        return (
            getattr(module, "mean", self.loader[0]) if mean is None else mean,
            getattr(module, "std", self.loader[1]) if std is None else std,
        )

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,  # noqa: ANN401 - as in Lightning, also below
        map_location: Any = None,  # noqa: ANN401
        **settings: Any,  # noqa: ANN401
    ) -> "HashingTask":
        """Make a task from a checkpoint, which holds all weights.

        Raises:
            TrainingError: If there is no such file, it is not a checkpoint, or the settings make
                another network.
            HasherError: If it cannot be read without running code from it.
        """
        if not hasattr(checkpoint_path, "read"):
            check_checkpoint(checkpoint_path)
        # the class is this one, whatever function and class a checkpoint names
        safe = {"weights": False, "weights_only": True, "_instantiator": None}
        try:
            task: HashingTask = super().load_from_checkpoint(
                checkpoint_path, map_location, **{**safe, **settings}
            )
        except (AttributeError, KeyError, TypeError) as error:
            msg = f"{checkpoint_path} does not hold what a HashingTask stores: {one_line(error)}"
            raise TrainingError(msg) from error
        return task

    def on_validation_epoch_start(self) -> None:
        """Discard the codes of an interrupted validation or test."""
        self.seen = SeenCodes()

    on_test_epoch_start = on_validation_epoch_start

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store everything else that codes depend on with the tensors."""
        kept = keep_backbone(
            checkpoint,
            self.backbone,
            frozen=self.hparams["freeze_backbone"],
            loader=self.loader_statistics(),
        )
        kept["tile_size"], kept["bands"] = self.tile_size, list(self.band_names)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore everything that codes depend on from a checkpoint.

        Raises:
            TrainingError: If its tensors do not match this task's.
        """
        kept = restore_backbone(checkpoint, self.backbone, own=self.state_dict())
        self.pixels = LoaderPixels(self.backbone, scaling=None).to(self.device)
        self.loader, self.tile_size = tuple(kept["loader"]), kept["tile_size"]
        if self.hparams["bands"] is None:
            self.band_names = tuple(kept.get("bands", self.band_names))

    def _extractor(self, backbone: Backbone, *, device: str | torch.device) -> Extractor:
        return Extractor(
            backbone,
            scaling=self.pixels.scaling(),
            bands=self.band_names,
            tile_size=self.tile_size or self.network_size,
            input_size=self.network_size,
            device=device,
        )

    def _prepare(self, raw: Tensor) -> Tensor:
        return prepare(raw, self.pixels.scaling(), size=self.network_size)

    def _images(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the images of a batch.

        Raises:
            BandMismatchError: If their number of bands differs from the task's.
        """
        images = batch["image"].float()
        if images.shape[1] != len(self.band_names):
            msg = (
                f"images have {images.shape[1]} bands but the task was made for "
                f"{len(self.band_names)}; pass in_channels={images.shape[1]}."
            )
            raise BandMismatchError(msg)
        self.tile_size = self.tile_size or int(images.shape[-2])
        return images

    def _raw(self, images: Tensor) -> Tensor:
        """Undo the data loader's normalisation."""
        mean, std = self.loader_statistics()
        return undo(images, mean=mean, std=std)

    def _log_ranking(self, stage: str) -> None:
        bits, labels = self.seen.take()
        values = ranking_values(bits, labels, k=self.hparams["k"])
        for name, value in values.items():
            self.log(f"{stage}_{name}", value, prog_bar=name == "map")
        if self._trainer is None or not self._trainer.sanity_checking:
            warn_of_collapse(values["bit_entropy"], tiles=len(bits))
