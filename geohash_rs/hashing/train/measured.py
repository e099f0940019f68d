"""Measure a task on its validation tiles, and say what its training is worth."""

from abc import abstractmethod
from collections.abc import Sized
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import IterableDataset

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.balanced import BalancedBatches
from geohash_rs.hashing.train.card import trained_notes
from geohash_rs.hashing.train.data_facts import KnowsData
from geohash_rs.hashing.train.sampling import labels_of
from geohash_rs.hashing.train.validation import (
    SeenCodes,
    gathered,
    warn_of_collapse,
)
from geohash_rs.hashing.train.worth import (
    TRAINED,
    Worth,
    measure_worth,
    warn_if_not_worth,
    worth_line,
)
from geohash_rs.metrics.measures import bit_entropy

__all__ = ["IsMeasured"]

IN_LABELS = (
    "{stage}_acg and {stage}_weighted_map count the labels that two tiles share: they lie between "
    "0 and {most}, the most labels of a tile, so they may exceed 1."
)


class IsMeasured(KnowsData):
    """The part of `HashingTask` that measures its codes, and keeps the figures.

    Attributes:
        batches: What serves a data module's features; None if the network runs in every epoch.
        seen: Codes and labels of the validation or test that is running.
        card: Notes for the hasher: data, split and figures; empty until they are measured.
        explained: Whether it was said what measures of several labels count.
    """

    batches: BalancedBatches | None
    seen: SeenCodes
    card: dict[str, Any]
    explained: bool = False

    def on_validation_epoch_start(self) -> None:
        """Discard the codes of an interrupted validation or test."""
        self.seen = SeenCodes()

    on_test_epoch_start = on_validation_epoch_start

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """Store the codes of a batch.

        Raises:
            TrainingError: If an activation is NaN or infinite.
        """
        labels = labels_of(batch)
        if "features" in batch:
            activations = self._of_views(batch["features"])
        else:
            activations = self(self._images(batch))
        self.seen.add(activations, labels)

    test_step = validation_step

    @abstractmethod
    def measure(self, bits: Tensor, labels: Tensor) -> dict[str, float]:
        """Measure the codes of a whole part, as `HashingTask.measure` does."""

    def on_validation_epoch_end(self) -> None:
        """Log how well the validation tiles find each other, and put it on the card."""
        values = self._log_ranking("val")
        if self._trainer is None or not self._fitting:
            return
        if not self.card:
            self.weigh()
        elif self.card.get("split"):  # the figures of the other methods stay the same
            ((measure, figures),) = self.card["figures"].items()
            now = {measure: {**figures, TRAINED: round(values["map"], 4)}}
            self.card = {**self.card, "figures": now}

    def on_test_epoch_end(self) -> None:
        """Log how well the test tiles find each other."""
        self._log_ranking("test")

    def on_train_end(self) -> None:
        """Report what the training is worth, unless its features are not known."""
        worth = None if self.trainer.fast_dev_run else self.weigh()
        if worth is None:
            return
        rank_zero_info(worth_line(worth))
        if self.trainer.is_global_zero:
            warn_if_not_worth(worth)
            for logger in self.trainer.loggers:
                figures = {f"worth_{name}": value for name, value in worth.figures.items()}
                logger.log_metrics(figures, step=self.trainer.global_step)

    def weigh(self) -> Worth | None:
        """Measure the codes of the validation part next to methods that need less.

        The figures become part of the hasher's notes.

        Returns:
            The figures; None without a validation part, or if features were not computed once.
        """
        if self.batches is None or not self.batches.has("val") or not self._frozen:
            return None
        train, val = self.batches.features("train"), self.batches.features("val")
        with torch.no_grad():
            self.head.eval()
            activations = self._of_views(val.features.to(self.device))
        names = self.recipe.features
        worth = measure_worth(
            train.features,
            val.features[:, names.views.index("identity") if "identity" in names.views else 0],
            learned_labels=train.labels,
            labels=val.labels,
            codes=(activations > 0.5).cpu(),
            backbone=self.backbone,
            views=names.train_views,
            k=self.hparams["k"],
        )
        name, classes = self.batches.about()
        self.card = trained_notes(
            "MiLaN",
            data=name,
            split=f"{len(train.labels):,} tiles train, {len(val.labels):,} others validate",
            figures={f"map@{worth.k}": worth.figures},
            classes=classes,
        )
        return worth

    @property
    def _frozen(self) -> bool:
        return bool(self.hparams["freeze_backbone"])

    @property
    def _fitting(self) -> bool:
        """Whether a fit runs, after its sanity check."""
        return self.trainer.state.fn == "fit" and not self.trainer.sanity_checking

    def _of_views(self, features: Tensor) -> Tensor:
        """Average activations over views, features of shape (tiles, views, num_features).

        In float32 whatever the trainer's precision is, as the hasher will.
        """
        with torch.autocast(features.device.type, enabled=False):
            return torch.stack([self.head(each) for each in features.float().unbind(1)]).mean(0)

    def _log_ranking(self, stage: str) -> dict[str, float]:
        bits, labels = self.seen.take()
        loaders = self._trainer and getattr(self._trainer, f"{stage}_dataloaders")
        dataset = getattr(loaders, "dataset", None)
        if isinstance(dataset, Sized) and not isinstance(dataset, IterableDataset):
            bits, labels = gathered((bits, labels), count=len(dataset))
        values = self.measure(bits, labels)
        if not isinstance(values, dict) or "map" not in values:
            msg = (
                f"measure() of {type(self).__name__} returned {values!r}; return the dictionary of "
                "super().measure(bits, labels), with measures added."
            )
            raise TrainingError(msg)
        for name, value in values.items():
            self.log(f"{stage}_{name}", value, prog_bar=name == "map")
        if self._trainer is None or not self._trainer.sanity_checking:
            warn_of_collapse(float(bit_entropy(bits.numpy()).mean()), tiles=len(bits))
            if labels.ndim == 2 and not self.explained:
                rank_zero_info(IN_LABELS.format(stage=stage, most=int(labels.sum(1).max())))
                self.explained = True
        return values
