"""The extractor: scaling, resizing and a backbone turn the raw pixels of a tile into features."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from geohash_rs.errors import BandMismatchError, HasherError, one_line
from geohash_rs.hashing.network.backbones import Backbone, check_input_size
from geohash_rs.hashing.network.gpu import copied, fetched, tiles_at_once
from geohash_rs.hashing.network.heads import Head
from geohash_rs.hashing.network.integer import IntegerNetwork
from geohash_rs.hashing.network.preparation import order_hint, prepare, whole_preparation
from geohash_rs.hashing.network.runtime import CpuRuntime, mixed_precision
from geohash_rs.hashing.network.scaling import Scaling, made_for
from geohash_rs.hashing.network.views import view
from geohash_rs.scenes.values import Values

__all__ = ["Extractor", "check_device", "fitted_values", "made_for", "on_device"]

M = TypeVar("M", bound=nn.Module)

IDENTITY = "identity"  # the view that is the tile itself
EAGER_BATCH = 16  # tiles in the network at once: as fast as 64 with a third of the memory
RUNTIME_BATCH = 512  # tiles whose features are collected for the head


def check_device(device: str | torch.device) -> None:
    """Check that PyTorch can use a device.

    Args:
        device: The device.

    Raises:
        HasherError: If it cannot.
    """
    try:
        torch.empty(0, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        why = one_line(error).partition(". ")[0].removesuffix(".")
        msg = (
            f"PyTorch cannot use the device {str(device)!r} on this machine ({why}); pass "
            'device="cpu", or leave out the device.'
        )
        raise HasherError(msg) from error


def on_device(module: M, device: str | torch.device) -> M:
    """Freeze a network on a device.

    Args:
        module: The network.
        device: Device to run it on.

    Returns:
        The same network if it is on the device, otherwise a copy; in evaluation mode.
    """
    weight = next(itertools.chain(module.parameters(), module.buffers()), None)
    if weight is not None and weight.device != torch.empty(0, device=device).device:
        module = copy.deepcopy(module)
    return module.eval().requires_grad_(requires_grad=False).to(device)


def _finite(output: Tensor) -> Tensor:
    """Return the output for tiles, if all of it is finite.

    Raises:
        HasherError: If some of it is not.
    """
    if not torch.isfinite(output).all():
        bad = (~torch.isfinite(output)).any(1).nonzero().flatten()
        msg = (
            f"{len(bad)} of {len(output)} tiles gave features that are NaN or infinite (first: "
            f"tile {int(bad[0])}); fill missing pixels before hashing."
        )
        raise HasherError(msg)
    return output


def fitted_values(
    values: Sequence[Values], scaling: Scaling, *, sample: Tensor
) -> tuple[Values, ...]:
    """Describe the values for which a scaling was chosen.

    Args:
        values: Known kinds of values, that of the sample first; empty if nothing is known.
        scaling: The scaling.
        sample: Raw tiles from which it was chosen.

    Returns:
        The same kinds, the first with the range of the scaling if it clips values.
    """
    if values and not scaling.clip:
        return tuple(values)
    low, high = scaling.reach
    if not values:
        return (Values.of_range(low, high, dtype=str(sample.dtype).removeprefix("torch.")),)
    return (replace(values[0], low=low, high=high), *values[1:])


@dataclass(frozen=True, eq=False)
class Extractor:
    """A backbone and the preprocessing on which its features depend.

    The backbone is frozen and moved to the device. `dataclasses.replace` makes an extractor with
    other settings that shares the backbone.

    Attributes:
        backbone: Network from tiles to features.
        scaling: How to scale raw pixel values.
        bands: Names of the bands, in the order of the channels.
        tile_size: Side of the tiles for which this was made, in px of their scene.
        input_size: Side of the network's input, px.
        resolution: Ground size of a pixel in metres to which archives resample the tiles of scenes,
            or None for any.
        device: Device that runs the networks.
        values: Values for which the scaling was made, then those that are converted to them by
            their ranges. Default: the range of the scaling.
        calibration: Of the backbone in int8, as in `IntegerNetwork`; None computes in fp32.
        integer: The backbone in int8, whose features are the same on every processor, or None.
        runtime: The backbone on a CPU, after a call of `accelerate`.

    Raises:
        BandMismatchError: If bands, backbone and scaling do not agree on the number of bands.
        HasherError: If the backbone cannot run in int8 with this calibration and scaling, or cannot
            take images of the input size, or PyTorch cannot use the device.
    """

    backbone: Backbone
    _: KW_ONLY
    scaling: Scaling
    bands: Sequence[str]
    tile_size: int
    input_size: int
    resolution: float | None = None
    device: str | torch.device = "cpu"
    values: Sequence[Values] = ()
    calibration: Mapping[str, Tensor] | None = None
    integer: IntegerNetwork | None = field(default=None, init=False, repr=False)
    runtime: CpuRuntime | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not len(self.bands) == self.backbone.in_chans == len(self.scaling.low):
            msg = (
                f"{len(self.bands)} band names ({self._listed()}), {self.backbone.in_chans} input "
                f"channels of {self.backbone.model_name} and {len(self.scaling.low)} bands of the "
                "scaling do not agree."
            )
            raise BandMismatchError(msg)
        check_input_size(self.backbone, self.input_size)
        object.__setattr__(self, "bands", tuple(self.bands))
        object.__setattr__(self, "values", tuple(self.values))
        check_device(self.device)
        object.__setattr__(self, "device", torch.device(self.device))
        backbone = on_device(self.backbone, self.device)
        backbone.to(memory_format=torch.channels_last)
        object.__setattr__(self, "backbone", backbone)
        if self.calibration is not None:
            self._check_int8()
            integer = IntegerNetwork(self.backbone, self.calibration)
            object.__setattr__(self, "integer", on_device(integer, self.device))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to copy or pickle, without the runtime, which cannot be copied."""
        return {**vars(self), "runtime": None}

    @property
    def precision(self) -> str:
        """Numbers in which the backbone computes: "int8" or "fp32"."""
        return "fp32" if self.integer is None else "int8"

    @property
    def made_for(self) -> tuple[Values, ...]:
        """The values that tiles may have, in the form for `match_values`."""
        return made_for(self.values, self.scaling)

    @property
    def description(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        told = {"values": [values.to_dict() for values in self.values]} if self.values else {}
        return {
            **told,
            "bands": list(self.bands),
            "tile_size": self.tile_size,
            "input_size": self.input_size,
            "resolution": self.resolution,
            "scaling": self.scaling.to_dict(),
            "backbone": {
                "model": self.backbone.model_name,
                "weights": self.backbone.weights,
                "stages": list(self.backbone.stages),
                **({"image_size": self.backbone.image_size} if self.backbone.image_size else {}),
                **({"precision": "int8"} if self.integer is not None else {}),
            },
        }

    def tensors(self) -> dict[str, Tensor]:
        """Return all that features are computed with, prefix ``backbone.`` or ``int8.``, on a CPU.

        ``int8.`` is the calibration of the integer network.
        """
        weights = self.backbone.network.state_dict()
        calibration = {} if self.integer is None else self.integer.calibration
        return {
            **{f"backbone.{name}": tensor.detach().cpu() for name, tensor in weights.items()},
            **{f"int8.{name}": tensor for name, tensor in calibration.items()},
        }

    def equals(self, other: object) -> bool:
        """Return whether another extractor computes the same features of the same pixels."""
        if not isinstance(other, Extractor):
            return False
        names = ("bands", "input_size", "scaling", "backbone")
        mine, theirs = ([one.description[name] for name in names] for one in (self, other))
        weights = [one.tensors() for one in (self, other)]
        return mine == theirs and all(
            torch.equal(weights[0][name], weights[1][name]) for name in weights[0]
        )

    def accelerate(self) -> "Extractor":
        """Make the backbone run faster on a CPU.

        In fp32 it is traced, which takes seconds and pays off from 300 tiles; features agree with
        eager PyTorch to about 1e-5, and if the network cannot be traced on this machine, nothing
        changes. In int8 this happens by itself, at once, and features stay the same.

        Returns:
            This extractor.
        """
        if self.runtime is None and torch.device(self.device).type == "cpu":
            if self.integer is None:
                runtime = CpuRuntime.build(self.backbone, input_size=self.input_size)
            else:
                runtime = CpuRuntime.of_integers(self.integer, input_size=self.input_size)
            object.__setattr__(self, "runtime", runtime)
        return self

    def features(self, tiles: Tensor) -> Tensor:
        """Compute the features of tiles, without rotating or flipping them.

        Args:
            tiles: Raw pixels of any real data type, shape (tiles, bands, height, width).

        Returns:
            Features, float32, shape (tiles, num_features), on the CPU.

        Raises:
            BandMismatchError: If the tiles have another number of bands.
            HasherError: If the tiles are not such an array, or a feature is not finite.
        """
        return self.averages(tiles, views=(IDENTITY,))

    def averages(self, tiles: Tensor, *, views: Sequence[str], head: Head | None = None) -> Tensor:
        """Average features, or the output of a head, over the views of each tile.

        Args:
            tiles: As in `features`.
            views: Views of a tile; each costs one pass of the network.
            head: The head, on the extractor's device, or None.

        Returns:
            Float32, shape (tiles, num_features or num_bits), on the CPU.

        Raises:
            BandMismatchError: As `features`.
            HasherError: As `features`.
        """

        def compute(batch: Tensor) -> tuple[Tensor]:
            features = self._passes(batch, views)
            return (torch.stack([each if head is None else head(each) for each in features]),)

        outputs = [torch.empty(0, self.backbone.num_features if head is None else head.num_bits)]
        outputs += [passes.mean(0) for (passes,) in self._results(tiles, compute)]
        return _finite(torch.cat(outputs))

    def averages_and_features(
        self, tiles: Tensor, *, views: Sequence[str], head: Head
    ) -> tuple[Tensor, Tensor]:
        """Average the output of a head over the views, and return the features as well.

        The network runs once per view, and once more for the features if the identity is not one
        of the views.

        Args:
            tiles: As in `features`.
            views: As in `averages`.
            head: The head, on the extractor's device.

        Returns:
            The averages, as `averages` computes them, and the features, as `features` does.

        Raises:
            BandMismatchError: As `features`.
            HasherError: As `features`.
        """
        names = list(dict.fromkeys([*views, IDENTITY]))

        def compute(batch: Tensor) -> tuple[Tensor, ...]:
            features = dict(zip(names, self._passes(batch, names), strict=True))
            return torch.stack([head(features[name]) for name in views]), features[IDENTITY]

        outputs = [torch.empty(0, head.num_bits)]
        plain = [torch.empty(0, self.backbone.num_features)]
        for passes, features in self._results(tiles, compute):
            outputs.append(passes.mean(0))
            plain.append(features)
        return _finite(torch.cat(outputs)), _finite(torch.cat(plain))

    def prepare(self, tiles: Tensor) -> Tensor:
        """Scale and resize raw tiles into network input, on the device, channels last."""
        raw = tiles.to(self.device, torch.float32)
        if self.integer is None:
            images = prepare(raw, self.scaling, size=self.input_size)
        else:
            height, width = raw.shape[-2:]
            size = {"height": height, "width": width, "input_size": self.input_size}
            images = whole_preparation(self.scaling, device=raw.device, **size)(raw)
        return images.contiguous(memory_format=torch.channels_last)

    def _results(
        self, tiles: Tensor, compute: Callable[[Tensor], tuple[Tensor, ...]]
    ) -> list[tuple[Tensor, ...]]:
        """Check tiles, compute as many at a time as the network takes, and fetch the results."""
        self._check(tiles)
        if self.integer is not None:
            self.accelerate()
        device = torch.device(self.device)
        step = EAGER_BATCH if self.runtime is None else RUNTIME_BATCH
        if device.type == "cuda":
            step = tiles_at_once(tiles, input_size=self.input_size)
        starts = range(0, len(tiles), step)
        batches: Iterator[Tensor] = (tiles[start : start + step] for start in starts)
        if device.type == "cuda":
            batches = copied(batches, device)
        with torch.inference_mode():
            return list(fetched(map(compute, batches)))

    def _passes(self, tiles: Tensor, views: Sequence[str]) -> Iterator[Tensor]:
        """Compute the features of each view of raw tiles."""
        if self.runtime is not None:
            for name in views:
                yield self.runtime(view(tiles, name), scaling=self.scaling)
            return
        if self.integer is not None:  # as the runtime: resized after it is turned
            raw = tiles.float()
            for name in views:
                yield self.integer(self.prepare(view(raw, name)))
            return
        images = self.prepare(tiles)
        for name in views:
            with mixed_precision(torch.device(self.device)):  # of the backbone, not of the head
                features = self.backbone(view(images, name)).float()
            yield features

    def _check_int8(self) -> None:
        """Check that the integer network, which normalises and clips itself, does as the scaling.

        Raises:
            HasherError: If it does not.
        """
        wanted = (self.backbone.mean, self.backbone.std, True)
        if (self.scaling.mean, self.scaling.std, self.scaling.clip) != wanted:
            msg = (
                f"in int8, {self.backbone.model_name} takes clipped pixels with mean "
                f"{self.backbone.mean} and std {self.backbone.std}, but the scaling is "
                f"{self.scaling}; make it with make_scaling, or leave out the calibration."
            )
            raise HasherError(msg)

    def _check(self, tiles: Tensor) -> None:
        if not isinstance(tiles, Tensor):
            msg = (
                f"tiles are {type(tiles).__name__}; pass a tensor, such as torch.as_tensor(tiles)."
            )
            raise HasherError(msg)
        if tiles.ndim != 4 or not tiles.shape[2] or not tiles.shape[3]:
            msg = f"tiles have shape {tuple(tiles.shape)}; use (tiles, bands, height, width)."
            raise HasherError(msg)
        if tiles.dtype.is_complex:
            msg = f"tiles are {tiles.dtype}; take their magnitude or real part before hashing."
            raise HasherError(msg)
        if hint := order_hint(tiles.shape, bands=len(self.bands)):
            raise BandMismatchError(hint)
        if tiles.shape[1] != len(self.bands):
            msg = (
                f"tiles have {tiles.shape[1]} bands but the hasher expects {len(self.bands)} "
                f"({self._listed()}); pass bands=... or use another hasher."
            )
            raise BandMismatchError(msg)

    def _listed(self) -> str:
        names = self.bands
        return ", ".join(names) if len(names) <= 4 else f"{names[0]}..{names[-1]}"
