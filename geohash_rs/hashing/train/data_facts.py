"""What a task knows of its data: the pixels, the features and the classes."""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from geohash_rs._compat import base_task
from geohash_rs.errors import BandMismatchError, GeoHashRSWarning
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.network.backbones import Backbone
from geohash_rs.hashing.network.calibration import choose_calibration
from geohash_rs.hashing.network.heads import MiLaN
from geohash_rs.hashing.network.input_size import choose_input_size
from geohash_rs.hashing.network.preparation import order_hint, prepare
from geohash_rs.hashing.train.loader_pixels import LoaderPixels, undo
from geohash_rs.hashing.train.recipes import Recipe
from geohash_rs.scenes.band_labels import bands_of_dataset

__all__ = ["KnowsData", "warn_of_unnamed_bands"]

COLOURS = ("red", "green", "blue")


def warn_of_unnamed_bands(backbone: Backbone, *, named: bool) -> None:
    """Warn if weights of three colours were spread over bands without knowing what these show.

    Args:
        backbone: The network.
        named: Whether the bands are named.
    """
    if named or not backbone.adapted or backbone.in_chans <= len(COLOURS):
        return
    msg = (
        f"in_channels={backbone.in_chans} without bands: the weights for red, green and blue are "
        "repeated over the bands, whatever these show; name them in the order of the channels, "
        'such as bands=["B02", "B03", "B04", "B08"].'
    )
    warnings.warn(msg, GeoHashRSWarning, stacklevel=2)


class KnowsData(base_task()):  # type: ignore[misc]
    """The part of `HashingTask` that learns, once, what codes depend on apart from the weights.

    Attributes:
        tile_size: Side of the tiles, px; 0 until it is known.
        met_on: The part whose pixels were met; empty for none, or for that of a checkpoint.
        calibration: Of the backbone in int8, as in `Extractor`; None computes in fp32.
        loader: Mean that the checkpoint's data loader subtracts, and deviation that it divides by.
    """

    recipe: Recipe
    backbone: Backbone
    head: MiLaN
    pixels: LoaderPixels
    criterion: nn.Module
    own_loss: nn.Module | None
    band_names: tuple[str, ...]
    hparams: Any
    tile_size: int = 0
    met_on: str = ""
    calibration: dict[str, Tensor] | None = None
    loader: tuple[Any, Any] = (0.0, 1.0)

    @property
    def network_size(self) -> int:
        """Side of the network's input, px; it follows the tiles once their size is known."""
        given = self.recipe.features.input_size
        if given or not self.tile_size:
            return given or self.backbone.input_size
        return choose_input_size(self.backbone, tile_size=self.tile_size)

    @property
    def met_pixels(self) -> bool:
        """Whether the size and the range of the tiles are known."""
        return bool(self.tile_size) and self.pixels.known

    def meet_bands(self, dataset: object) -> None:
        """Take the names of the bands from a dataset that has some, unless they were given."""
        if self.hparams["bands"] is None:
            self.band_names = bands_of_dataset(dataset, len(self.band_names)) or self.band_names

    def meet_pixels(self, pixels: Tensor, tiles: Tensor, *, part: str) -> None:
        """Choose what depends on the pixels: their range, and the numbers of the network.

        Args:
            pixels: Raw pixels of tiles of all classes, shape (n, bands, height, width).
            tiles: Some raw tiles, shape (tiles, bands, height, width).
            part: The part that they are from; the training part takes the place of others.

        Raises:
            BandMismatchError: If they have another number of bands.
        """
        self._check_bands(tiles)
        if self.met_on and self.hparams["scaling"] is None:
            self.pixels.get_buffer("chosen").fill_(value=False)
        if not self.pixels.known:
            self.pixels.meet(pixels)
        self.tile_size, self.met_on = int(tiles.shape[-2]), part
        self.calibration = choose_calibration(
            self.backbone,
            self.hparams["precision"],
            sample=tiles,
            scaling=self.pixels.scaling(),
            input_size=self.network_size,
        )

    def meet_features(self, features: Tensor, *, all_tiles: bool = False) -> None:
        """Compute mean, deviation and principal components from features, unless they are known.

        Args:
            features: Features of training tiles, shape (tiles, num_features).
            all_tiles: Whether these are all of them; of a single batch, features that hardly vary
                stay small.
        """
        if bool(self.get_buffer("standardised")):
            return
        self.head.standardise(features)
        if not self.head.components and not all_tiles:
            deviation = features.std(0, correction=0)
            floor = (0.1 * deviation.mean()).clamp_min(1e-6)
            self.head.get_buffer("scale").copy_(1 / deviation.clamp_min(floor))
        self.get_buffer("standardised").fill_(value=True)

    def meet_labels(self, labels: Tensor) -> None:
        """Make the loss for as many classes as the labels have, unless their number was given.

        Args:
            labels: As for `label_similarity`.
        """
        several = labels.ndim == 2
        self._meet_classes(labels.shape[1] if several else int(labels.max()) + 1)

    def extractor(self) -> Extractor:
        """Return the feature extractor; it shares the backbone if that is frozen."""
        frozen = self.hparams["freeze_backbone"]
        backbone = self.backbone if frozen else copy.deepcopy(self.backbone)
        device = self.device if self._trainer is None else self._trainer.strategy.root_device
        return self._extractor(backbone, device=device)

    def loader_statistics(self) -> tuple[Any, Any]:
        """Return the mean that the data loader subtracts and the deviation that it divides by."""
        module = getattr(self._trainer, "datamodule", None) if self._trainer else None
        mean, std = self.hparams["loader_mean"], self.hparams["loader_std"]
        return (
            getattr(module, "mean", self.loader[0]) if mean is None else mean,
            getattr(module, "std", self.loader[1]) if std is None else std,
        )

    def _extractor(self, backbone: Backbone, *, device: str | torch.device) -> Extractor:
        return Extractor(
            backbone,
            scaling=self.pixels.scaling(),
            bands=self.band_names,
            tile_size=self.tile_size or self.network_size,
            input_size=self.network_size,
            device=device,
            calibration=self.calibration,
        )

    def _prepare(self, raw: Tensor) -> Tensor:
        return prepare(raw, self.pixels.scaling(), size=self.network_size)

    def _images(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the images of a batch.

        Raises:
            BandMismatchError: If their number of bands differs from the task's.
        """
        images = batch["image"].float()
        self._check_bands(images)
        self.tile_size = self.tile_size or int(images.shape[-2])
        return images

    def _check_bands(self, images: Tensor) -> None:
        if images.shape[1] != len(self.band_names):
            msg = order_hint(images.shape, bands=len(self.band_names)) or (
                f"images have {images.shape[1]} bands but the task was made for "
                f"{len(self.band_names)}; pass in_channels={images.shape[1]}."
            )
            raise BandMismatchError(msg)

    def _meet_classes(self, count: int) -> None:
        """Make the loss for a number of classes, unless it has been."""
        if self.hparams["num_classes"] is None:
            self.save_hyperparameters({"num_classes": count})
            self.configure_losses()
            self.criterion.to(self.device)

    def _find_classes(self, data: Any) -> None:  # noqa: ANN401 - a data module, or None
        """Find the number of classes that the proxy needs, or warn that there is none."""
        if not self.recipe.loss.proxy or self.own_loss is not None:
            return
        dataset = getattr(data, "train_dataset", None)
        found = getattr(data, "classes", None) or getattr(dataset, "classes", None)
        if found:
            self._meet_classes(len(found))
        elif self.hparams["num_classes"] is None:
            msg = (
                "the data do not say how many classes there are, so the proxy term of the loss is "
                "left out; pass num_classes=..."
            )
            warnings.warn(msg, GeoHashRSWarning, stacklevel=2)

    def _raw(self, images: Tensor) -> Tensor:
        """Undo the data loader's normalisation."""
        mean, std = self.loader_statistics()
        return undo(images, mean=mean, std=std)
