"""Train a hasher in TorchGeo: a task for Lightning's Trainer and TorchGeo's command line."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from geohash_rs.errors import BandMismatchError, TrainingError, one_line
from geohash_rs.hashing.data.automatic import attach, detach
from geohash_rs.hashing.data.balanced import BalancedBatches
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.fit.training_free import default_bands
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.backbones import check_input_size
from geohash_rs.hashing.network.pretrained import load_backbone
from geohash_rs.hashing.network.views import random_views, view
from geohash_rs.hashing.train.checkpoints import (
    FINE_TUNED,
    check_checkpoint,
    keep_backbone,
    restore_backbone,
)
from geohash_rs.hashing.train.data_facts import warn_of_unnamed_bands
from geohash_rs.hashing.train.joints import check_loss
from geohash_rs.hashing.train.learning import check_steps, make_optimizer, unfreeze
from geohash_rs.hashing.train.loader_pixels import LoaderPixels
from geohash_rs.hashing.train.losses import MiLaNLoss, loss_terms
from geohash_rs.hashing.train.measured import IsMeasured
from geohash_rs.hashing.train.mining import Miner
from geohash_rs.hashing.train.quiet import mute_warnings
from geohash_rs.hashing.train.recipes import Recipe, get_recipe
from geohash_rs.hashing.train.sampling import labels_of
from geohash_rs.hashing.train.settings import (
    FeatureSettings,
    HeadSettings,
    LearningSettings,
    LossSettings,
    SamplingSettings,
    documented_by,
)
from geohash_rs.hashing.train.validation import CodeCollapseWarning, SeenCodes, ranking_values

__all__ = ["CodeCollapseWarning", "HashingTask"]

RECIPE_SETTINGS = set(Recipe().to_dict()) - {"weights"}
LOSS_SETTINGS = {field.name for field in fields(LossSettings)}


@documented_by(FeatureSettings, HeadSettings, LossSettings, LearningSettings, SamplingSettings)
class HashingTask(IsMeasured):
    """Metric learning of binary codes, after MiLaN, by the best recipe unless you choose another.

    Batches are TorchGeo's: ``image`` and ``label``, or a ``mask`` whose most frequent class
    becomes the label. The data module's normalisation (its ``mean`` and ``std``) is undone,
    because scaling belongs to the hasher.

    While the backbone is frozen, the features of all tiles and views of a data module are computed
    once, before the first epoch, in place of its own augmentations, and batches hold the same
    number of tiles of several classes. With loaders instead of a data module, the network runs in
    every epoch.

    A backbone that is trained sees the data module's own batches, augmentations included, for as
    many epochs as the trainer says. `noise` and `keep` are then 0 unless you set them.

    Args:
        in_channels: Number of bands of the images.
        num_bits: Bits per code.
        recipe: Name of the recipe in `RECIPES` from which all settings come that are not given:
            "milan", or "paper" for the published one.
        freeze_backbone: Whether to train only the head.
        unfreeze: Modules of the backbone to train if it is not frozen, such as "blocks.6".
            Default: all. Normalisation layers keep the statistics of their weights.
        cache: Folder to store features in for the next run; None keeps them in memory, with the
            data module; False computes them in every epoch, from its own batches.
        precision: Numbers in which a frozen backbone computes features, as for `fit_hasher`.
        loss: Own loss in place of MiLaN's, as `loss_terms` describes.
        sampler: Own batches: a function of the training labels that returns an iterable with a
            length, whose items are lists of rows.
        num_classes: Number of classes; needed for the proxy. Default: that of the data module.
        bands: Names of the bands. Default: those that the training dataset names, as TorchGeo's
            do; otherwise red, green, blue for three, or numbers.
        scaling: ``{"kind": "range", "low": [...], "high": [...]}`` in raw pixel values. Default: 0
            to 255 if tiles of all classes lie within, otherwise their percentiles; without cached
            features, of the first training batch.
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
        model: str | nn.Module | None = None,
        weights: Any = True,  # noqa: ANN401, FBT002  (TorchGeo's order of settings)
        in_channels: int = 3,
        num_bits: int = 64,
        *,
        recipe: str = "milan",
        freeze_backbone: bool = True,
        unfreeze: Sequence[str] = (),
        cache: str | Literal[False] | None = None,
        precision: Literal["int8", "fp32"] | None = None,
        stages: Sequence[str] | None = None,
        components: int | None = None,
        whitening: float | None = None,
        itq: float | None = None,
        train_views: Sequence[str] | None = None,
        views: Sequence[str] | None = None,
        hidden: Sequence[int] | None = None,
        dropout: float | None = None,
        noise: float | None = None,
        standardise: bool | None = None,
        loss: nn.Module | None = None,
        mining: str | Miner | None = None,
        margin: float | None = None,
        normalise: bool | None = None,
        push: float | None = None,
        balance: float | None = None,
        balance_over: Literal["sample", "bit"] | None = None,
        proxy: float | None = None,
        smoothing: float | None = None,
        keep: float | None = None,
        num_classes: int | None = None,
        lr: float | None = None,
        backbone_lr: float | None = None,
        betas: Sequence[float] | None = None,
        weight_decay: float | None = None,
        schedule: Literal["cosine", "plateau", "constant"] | None = None,
        patience: int | None = None,
        sampler: Callable[[Tensor], Iterable[list[int]]] | None = None,
        classes_per_batch: int | None = None,
        samples_per_class: int | None = None,
        iterations: int | None = None,
        bands: Sequence[str] | None = None,
        scaling: Mapping[str, Any] | None = None,
        loader_mean: Sequence[float] | float | None = None,
        loader_std: Sequence[float] | float | None = None,
        input_size: int | None = None,
        k: int = 20,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in RECIPE_SETTINGS}
        given = {name: value for name, value in given.items() if value is not None}
        if isinstance(cache, bool) and cache:
            msg = (
                "cache=True names no folder; pass its path, None for memory, or False for neither."
            )
            raise TrainingError(msg)
        if loss is not None and (unused := sorted(LOSS_SETTINGS & set(given))):
            msg = f"{', '.join(unused)} belong to MiLaN's loss, which loss={type(loss).__name__} "
            msg += "replaces; leave out one or the other."
            raise TrainingError(msg)
        if not freeze_backbone or cache is False:  # components of one batch would be few
            given.setdefault("components", 0)
        if not freeze_backbone:  # noise and similarities of features are for features that stay
            given = {"noise": 0.0, "keep": 0.0, **given}
        # plain attributes, which need no torch module yet
        set_plainly = partial(object.__setattr__, self)
        set_plainly("recipe", get_recipe(recipe).with_(**given, weights=weights))
        set_plainly("sampler", sampler)
        set_plainly("own_loss", check_loss(loss))
        objects = {"model": model, "mining": mining, "loss": loss, "sampler": sampler}
        unsaved = [n for n, v in objects.items() if v is not None and not isinstance(v, str)]
        set_plainly("ignore", ("weights", "loss", "sampler", *unsaved))
        super().__init__()
        left_out = {*self.ignore, *(LOSS_SETTINGS if loss is not None else ())}
        settled = {n: v for n, v in self.recipe.to_dict().items() if n not in left_out}
        self.save_hyperparameters(settled)
        self.seen = SeenCodes()
        self.batches = None
        self.card = {}
        self._integers: Extractor | None = None

    def configure_models(self) -> None:
        """Make backbone and head.

        Raises:
            BandMismatchError: If the bands do not match each other or the weights.
        """
        settings, wanted, shape = self.hparams, self.recipe.features, self.recipe.head
        channels = settings["in_channels"]
        self.backbone = load_backbone(
            wanted.model,
            weights=wanted.weights,
            in_chans=channels,
            bands=settings["bands"] or (),
            stages=wanted.stages,
        )
        if wanted.input_size:
            check_input_size(self.backbone, wanted.input_size)
        self.head = shape.make(self.backbone.num_features, settings["num_bits"])
        self.model = nn.Sequential(self.backbone, self.head)
        unfreeze(self.backbone, settings["unfreeze"], frozen=settings["freeze_backbone"])
        if not settings["freeze_backbone"]:  # much faster to train, above all on a CPU
            self.backbone.to(memory_format=torch.channels_last)
        names = settings["bands"] or default_bands(channels)
        if len(names) != channels:
            msg = f"{len(names)} bands are named but in_channels is {channels}."
            raise BandMismatchError(msg)
        self.band_names = tuple(names)
        warn_of_unnamed_bands(self.backbone, named=bool(settings["bands"]))
        self.pixels = LoaderPixels(self.backbone, scaling=settings["scaling"])
        self.register_buffer("standardised", torch.tensor(not shape.standardise))

    def configure_losses(self) -> None:
        """Make the loss; until the number of classes is known, without the proxy term."""
        settings, classes = self.recipe.loss, self.hparams["num_classes"]
        if classes is None:
            settings = replace(settings, proxy=0.0)
        self.criterion = self.own_loss or MiLaNLoss(
            settings, num_bits=self.hparams["num_bits"], num_classes=classes
        )

    def configure_optimizers(self) -> Any:  # noqa: ANN401
        """Make AdamW for the trainable weights, and the schedule.

        Raises:
            TrainingError: If the schedule needs the number of steps and there is none.
        """
        optimizer, schedule = make_optimizer(
            [*self.head.parameters(), *self.criterion.parameters()],
            settings=self.recipe.learning,
            steps=self.trainer.estimated_stepping_batches,
            backbone=self.backbone.parameters(),
        )
        if schedule is None:
            return optimizer
        if self.recipe.learning.schedule == "plateau":
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": schedule, "monitor": self.monitor},
            }
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def setup(self, stage: str) -> None:
        """Replace the data module's loaders by those of features, if the backbone is frozen."""
        mute_warnings()
        if stage == "fit":
            self.card = {}
            endless = self.trainer.max_epochs == -1 and self.trainer.max_steps == -1
            check_steps(self.recipe.learning, math.inf if endless else 1)
        data = getattr(self.trainer, "datamodule", None)
        frozen = self._frozen and self.hparams["cache"] is not False
        if isinstance(data, BalancedBatches):
            self.batches = data
        elif frozen and stage != "predict":
            self.batches = attach(
                data,
                trainer=self.trainer,
                cache=self.hparams["cache"],
                seed=torch.initial_seed() % 2**31,
            )
            if stage == "fit" and self.batches is not None:
                self.batches.prepare_fit()
        if stage == "fit":
            self._find_classes(data)

    def teardown(self, stage: str) -> None:
        """Restore the data module's own loaders."""
        self._integers = None
        data = getattr(self.trainer, "datamodule", None)
        if data is not None:
            detach(data)

    def on_train_start(self) -> None:
        """Take the names of the bands from the dataset of a loader, unless they are known."""
        self.meet_bands(getattr(self.trainer.train_dataloader, "dataset", None))

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
        raw, names = self._raw(images), self.recipe.features.views
        if self.calibration is not None:  # the integer network, whose features trained the head
            if self._integers is None:
                self._integers = self.extractor()
            activations = self._integers.averages(raw, views=names, head=self.head)
            return activations.to(self.device)
        prepared = self._prepare(raw)
        return torch.stack([self.model(view(prepared, name)) for name in names]).mean(0)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compute the loss of a batch."""
        labels = labels_of(batch)
        if "prepared" in batch:
            features = batch["prepared"]
        else:
            raw = self._raw(self._images(batch))
            self.pixels.meet(raw)
            seen = random_views(self._prepare(raw), self.recipe.features.train_views)
            found = self.backbone(seen)
            self.meet_features(found.detach())
            features = self.head.prepare(found)
        activations = self.head.activate(features)
        terms = loss_terms(self.criterion, activations, labels, features=features)
        for name, value in terms.items():
            self.log(f"train_{name}", value, batch_size=len(labels))
        loss: Tensor = terms["loss"]
        return loss

    def measure(self, bits: Tensor, labels: Tensor) -> dict[str, float]:
        """Measure the codes of a whole part; a subclass may add measures of its own to log.

        Args:
            bits: Codes as zeros and ones, shape (tiles, bits).
            labels: As for `label_similarity`.

        Returns:
            Measures by name: those of `ranking_values`, of which "map" chooses the best epoch.
        """
        return ranking_values(bits, labels, k=self.hparams["k"])

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Compute activations of a batch."""
        activations: Tensor = self(self._images(batch))
        return activations

    def hasher(self, *, name: str = "", notes: Mapping[str, Any] | None = None) -> Hasher:
        """Return the trained networks as a hasher, for use in an archive.

        Args:
            name: A display name.
            notes: Notes for its description, such as the licence, as well as the training's:
                data, split and figures.

        Returns:
            A hasher with copies of the networks.

        Raises:
            TrainingError: If the task has not met the features that its head is standardised on.
        """
        if not bool(self.get_buffer("standardised")):
            msg = (
                "the head knows neither mean nor deviation of any feature, so its codes would mean "
                "nothing; run Trainer.fit, or load a checkpoint, before hasher()."
            )
            raise TrainingError(msg)
        backbone = copy.deepcopy(self.backbone)
        if not self.hparams["freeze_backbone"]:
            backbone.weights = FINE_TUNED
        return Hasher(
            self._extractor(backbone, device="cpu"),
            copy.deepcopy(self.head),
            views=self.recipe.features.views,
            name=name,
            notes={**self.card, **(notes or {})},
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store everything else that codes depend on with the tensors."""
        kept = keep_backbone(
            checkpoint,
            self.backbone,
            frozen=self.hparams["freeze_backbone"],
            loader=self.loader_statistics(),
            loss=self.own_loss,
        )
        kept["tile_size"], kept["bands"] = self.tile_size, list(self.band_names)
        kept["calibration"], kept["card"] = self.calibration, self.card

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore everything that codes depend on from a checkpoint.

        Raises:
            TrainingError: If its tensors do not match this task's.
        """
        classes = checkpoint.get("hyper_parameters", {}).get("num_classes")
        if classes is not None:
            self._meet_classes(classes)
        kept = restore_backbone(
            checkpoint,
            self.backbone,
            own=self.state_dict(),
            settings={**self.hparams, "model": self.backbone.model_name},
            loss=self.own_loss,
        )
        # with other weights to come, the backbone computes in fp32
        self.calibration = kept.get("calibration") if self._frozen else None
        self._integers = None
        self.card = dict(kept.get("card", {}))
        self.pixels = LoaderPixels(self.backbone, scaling=None).to(self.device)
        self.loader, self.tile_size = tuple(kept["loader"]), kept["tile_size"]
        if self.hparams["bands"] is None:
            self.band_names = tuple(kept.get("bands", self.band_names))
