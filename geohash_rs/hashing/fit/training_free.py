"""Fit a training-free hasher on unlabelled tiles, within a minute."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

import torch
from torch import Tensor

from geohash_rs.codes import check_num_bits
from geohash_rs.errors import (
    BandMismatchError,
    HasherError,
    HasherNotFoundError,
    ValueMismatchError,
)
from geohash_rs.hashing.extractor import Extractor, fitted_values
from geohash_rs.hashing.fit.general import GENERAL_STAGES, GENERAL_VIEWS
from geohash_rs.hashing.fit.grouped import grouped_head
from geohash_rs.hashing.fit.itq import itq_head, lsh_head
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.network.calibration import choose_calibration
from geohash_rs.hashing.network.heads import LinearHead
from geohash_rs.hashing.network.input_size import choose_input_size
from geohash_rs.hashing.network.lite0 import LITE0
from geohash_rs.hashing.network.pretrained import load_backbone
from geohash_rs.hashing.network.scaling_choice import SCALING_TILES, make_scaling, sample_pixels
from geohash_rs.hashing.network.views import view
from geohash_rs.scenes.values import Values
from geohash_rs.store.health import FEWEST_OF_SENSOR

__all__ = [
    "OF_VECTORS",
    "TURNED_TILES",
    "SensorTiles",
    "default_bands",
    "fit_hasher",
    "fit_head",
    "is_training_free",
    "parse_training_free",
    "peek",
]

SensorTiles = tuple[Tensor, Sequence[str]]  # a batch of raw tiles, and the sensor of each

METHODS = ("general", "itq", "lsh")
OF_VECTORS = (*METHODS, "signs")  # of an embedding
TURNED_TILES = 512  # other views are used for about this many first tiles, then for every fourth


def parse_training_free(name: str) -> tuple[str, int]:
    """Parse the name of a training-free hasher.

    Args:
        name: Method and bits, such as "general-64" or "lsh-128".

    Returns:
        Method and number of bits, as for `fit_hasher`.

    Raises:
        HasherNotFoundError: If the name is not of this form.
        CodeLengthError: If the bits cannot be packed.
    """
    method, _, bits = name.partition("-")
    if method not in OF_VECTORS or not bits.isdigit():
        forms = ", ".join(f"{known}-BITS" for known in METHODS)
        msg = f"{name!r} is not a training-free hasher; use {forms}, such as general-64."
        raise HasherNotFoundError(msg)
    return method, check_num_bits(int(bits))


def is_training_free(name: str, notes: Mapping[str, Any]) -> bool:
    """Return whether a hasher can be fitted again on unlabelled tiles.

    Args:
        name: Its name.
        notes: Its notes.

    Returns:
        Whether it was fitted without labels and without training, or is made to be adapted.
    """
    fitted = "fitted_on" in notes and name.partition("-")[0] in OF_VECTORS
    return fitted or bool(notes.get("adapts"))


def fit_hasher(
    tiles: Iterable[Tensor | SensorTiles],
    *,
    num_bits: int = 64,
    method: Literal["general", "itq", "lsh"] | str = "itq",
    model: str = LITE0,
    weights: Any = True,  # noqa: ANN401  (TorchGeo's enum is not imported here)
    stages: Sequence[str] | None = None,
    bands: Sequence[str] | None = None,
    scaling: Mapping[str, Any] | None = None,
    values: Sequence[Values] = (),
    tile_size: int | None = None,
    input_size: int | None = None,
    precision: Literal["int8", "fp32"] | None = None,
    resolution: float | None = None,
    views: Sequence[str] = ("identity",),
    name: str = "",
    device: str | torch.device = "cpu",
    accelerate: bool = False,
    seed: int = 0,
) -> Hasher:
    """Fit a hasher on unlabelled tiles: pretrained features, then a head that needs no labels.

    Args:
        tiles: Batches of raw tiles, each of shape (tiles, bands, height, width), or pairs of a
            batch and the names of the tiles' sensors, which "general" then treats apart. Iterated
            over once; a few thousand representative tiles of the archive are enough.
        num_bits: Bits per code.
        method: "general" (whitening by views, then ITQ: best results, up to twice the fitting
            time), "itq" or "lsh" (random hyperplanes).
        model: Backbone, the name of a timm model.
        weights: Weights of the backbone, as for `load_backbone`.
        stages: Names of modules, such as "blocks.4", whose mean output is appended. Default: two
            for "general" with EfficientNet-Lite0, otherwise none.
        bands: Names of the bands. Default: "gray" for one, "red", "green", "blue" for three,
            otherwise "band_1", "band_2" and so on.
        scaling: ``{"kind": "range", "low": [...], "high": [...]}``. Default: 0 to 255 for uint8,
            otherwise the 1st and 99th percentile of each band of the first tiles.
        values: Kinds of values: that of the tiles first, then those that are converted to it, as in
            `match_values`. Default: the data type of the tiles and their range.
        tile_size: Side of a tile, px. Default: the height of the first tile.
        input_size: Side of the network's input, px. Default: that its weights were trained
            with; of EfficientNet-Lite, 128 for tiles of up to 96 px and 160 for up to 256 px.
        precision: Numbers in which the backbone computes. "int8", the default where the network
            allows it (EfficientNet-Lite), is more than twice as fast, and features are the same on
            every processor; by design on a GPU too.
        resolution: Ground size of a pixel, m, to which archives resample scenes; None keeps each
            scene's own.
        views: Views over which activations are averaged; each costs one pass of the network.
        name: A display name. Default: method and bits.
        device: Device that runs the backbone.
        accelerate: Whether to trace the backbone first, like `Hasher.accelerate`.
        seed: Seed of the rotation or the hyperplanes.

    Returns:
        The fitted hasher.

    Raises:
        HasherError: If there are too few tiles, or the method, model or weights are unknown.
        BandMismatchError: If the tiles' number of bands differs from the number of names.
        ValueMismatchError: If batches hold different kinds of values, and ``values`` is not given.
        CodeLengthError: If the bits cannot be packed.
    """
    _check_method(method)
    check_num_bits(num_bits)
    sample, batches = peek(tiles, of_one_kind=not values)
    names = tuple(bands) if bands is not None else default_bands(sample.shape[1])
    if len(names) != sample.shape[1]:
        msg = f"tiles have {sample.shape[1]} bands but {len(names)} are named ({', '.join(names)})."
        raise BandMismatchError(msg)
    if stages is None:
        ours = (method, model, weights) == ("general", LITE0, True)
        stages = GENERAL_STAGES if ours else ()
    backbone = load_backbone(
        model, weights=weights, in_chans=len(names), bands=names, stages=stages, seed=seed
    )
    chosen = make_scaling(backbone, scaling, sample=sample, values=values)
    tile_size = tile_size or int(sample.shape[-2])
    input_size = input_size or choose_input_size(backbone, tile_size=tile_size)
    extractor = Extractor(
        backbone,
        calibration=choose_calibration(
            backbone, precision, sample=sample, scaling=chosen, input_size=input_size
        ),
        scaling=chosen,
        values=fitted_values(values, chosen, sample=sample),
        bands=names,
        tile_size=tile_size,
        input_size=input_size,
        resolution=resolution,
        device=device,
    )
    if accelerate:
        extractor.accelerate()
    head, notes = fit_head(extractor, batches, method=method, num_bits=num_bits, seed=seed)
    return Hasher(
        extractor,
        head,
        views=views,
        name=name or f"{method}-{num_bits}",
        notes=notes,
    )


def fit_head(
    extractor: Extractor,
    batches: Iterable[SensorTiles],
    *,
    method: str,
    num_bits: int,
    seed: int = 0,
    kept: Mapping[str, Tensor] | None = None,
) -> tuple[LinearHead, dict[str, Any]]:
    """Fit a head that needs no labels on the features of tiles.

    Args:
        extractor: Computes the features.
        batches: Batches of raw tiles and the sensor of each, iterated over once.
        method: As in `fit_hasher`.
        num_bits: Bits per code.
        seed: Seed of the rotation or the hyperplanes.
        kept: Features of each sensor's tiles, float32, shape (tiles, num_features), if they were
            computed before. Then "general" needs batches only to compare views of tiles, does
            without for a sensor of which there are none, and the other methods need none.

    Returns:
        The head, and notes for the hasher: what it was fitted on, in words ("fitted_on"), and the
        mean distance of two tiles of each sensor, bits ("apart"), unless it has few.

    Raises:
        HasherError: If the method is unknown, there are too few tiles, or a feature is not finite.
    """
    _check_method(method)
    plain: dict[str, list[Tensor]] = {}
    turned: dict[str, list[Tensor]] = {}
    for images, sensors in batches:
        features = extractor.features(images)
        rows: dict[str, list[int]] = {}
        for row, sensor in enumerate(sensors):
            rows.setdefault(sensor, []).append(row)
        for sensor, own in rows.items():
            count = sum(map(len, plain.get(sensor, ())))
            plain.setdefault(sensor, []).append(features[own])
            own = own[:: 1 if count < TURNED_TILES else 4] if method == "general" else []
            if own:
                others = [extractor.features(view(images[own], v)) for v in GENERAL_VIEWS[1:]]
                turned.setdefault(sensor, []).append(torch.stack([features[own], *others], dim=1))
    if kept is not None:
        plain = {sensor: [features] for sensor, features in kept.items()}
    counts = {sensor: sum(map(len, parts)) for sensor, parts in sorted(plain.items())}
    fitted_on = f"{sum(counts.values())} unlabelled tiles"
    if len(counts) > 1:
        fitted_on += ": " + ", ".join(f"{count} of {sensor}" for sensor, count in counts.items())
    together = {sensor: torch.cat(plain[sensor]) for sensor in counts}
    if method == "general":
        if unturned := [sensor for sensor in counts if sensor not in turned]:
            of = f" of {', '.join(unturned)}" if len(counts) > 1 else ""
            fitted_on += f", without turned views{of}, since no scene can be read"
        none = torch.empty(0, len(GENERAL_VIEWS), next(iter(together.values())).shape[1])
        groups = [(together[sensor], torch.cat(turned.get(sensor, [none]))) for sensor in counts]
        parts = extractor.backbone.parts
        head = grouped_head(groups, num_bits=num_bits, parts=parts, seed=seed)
    else:
        fit = itq_head if method == "itq" else lsh_head
        head = fit(torch.cat(list(together.values())), num_bits=num_bits, seed=seed)
    apart = {
        sensor: _mean_distance(head, features)
        for sensor, features in together.items()
        if len(features) >= FEWEST_OF_SENSOR
    }
    return head, {"fitted_on": fitted_on, "apart": apart}


def _check_method(method: str) -> None:
    """Check that tiles of pictures can be hashed by a method.

    Raises:
        HasherError: If they cannot.
    """
    if method not in METHODS:
        msg = f"method {method!r} is not one of {sorted(METHODS)}."
        raise HasherError(msg)


def _mean_distance(head: LinearHead, features: Tensor) -> float:
    """Return the mean Hamming distance of the codes of two tiles, rounded."""
    with torch.inference_mode():
        ones = (head(features) > 0.5).sum(0).double()  # noqa: PLR2004 - as codes are packed
    count = len(features)
    pairs = max(1, count * (count - 1) / 2)
    return round(float((ones * (count - ones)).sum() / pairs), 1)


def default_bands(count: int) -> tuple[str, ...]:
    """Return default names for unnamed bands.

    Args:
        count: Number of bands.

    Returns:
        "gray" for one, "red", "green", "blue" for three, otherwise "band_1", "band_2" and so on.
    """
    if count in {1, 3}:
        return ("gray",) if count == 1 else ("red", "green", "blue")
    return tuple(f"band_{i + 1}" for i in range(count))


def peek(
    tiles: Iterable[Tensor | SensorTiles], *, of_one_kind: bool = False
) -> tuple[Tensor, Iterator[SensorTiles]]:
    """Return some of the first tiles, and an iterator over all batches.

    Args:
        tiles: Batches of raw tiles, each of shape (tiles, bands, height, width), with or without
            the sensor of each tile.
        of_one_kind: Whether batches with values unlike those of the first are refused.

    Returns:
        First tiles, those of the first one's size, and all batches including the first; those
        without sensors get one without a name.

    Raises:
        HasherError: If there are no tiles, or a batch has the wrong shape.
        BandMismatchError: If the batches have different numbers of bands.
        ValueMismatchError: If batches hold values of different kinds.
    """
    iterator = (one if isinstance(one, tuple) else (one, [""] * len(one)) for one in tiles)
    read: list[SensorTiles] = []
    first: list[Tensor] = []
    while sum(map(len, first)) < SCALING_TILES and (pair := next(iterator, None)) is not None:
        batch = pair[0]
        read.append(pair)
        if batch.ndim != 4:
            msg = f"a batch has shape {tuple(batch.shape)}; use (tiles, bands, height, width)."
            raise HasherError(msg)
        if first and batch.shape[1] != first[0].shape[1]:
            msg = f"batches have {first[0].shape[1]} and {batch.shape[1]} bands; use the same."
            raise BandMismatchError(msg)
        if first and of_one_kind:
            _check_kind(batch, first[0])
        first.append(batch)
    if not sum(map(len, first)):
        msg = "there are no tiles to fit a hasher on; add scenes first."
        raise HasherError(msg)
    same_size = [batch for batch in first if batch.shape[-2:] == first[0].shape[-2:]]
    if len({batch.dtype for batch in same_size}) > 1:  # PyTorch has no type for int16 and uint16
        same_size = [batch.float() for batch in same_size]
    return torch.cat(same_size), chain(read, iterator)


def _check_kind(batch: Tensor, first: Tensor) -> None:
    """Check that a batch holds values of the kind of the first batch.

    Raises:
        ValueMismatchError: If it does not.
    """
    found, known = (
        Values.of_pixels(
            sample_pixels([tiles])[0, :, 0].numpy(), dtype=str(tiles.dtype).removeprefix("torch.")
        )
        for tiles in (batch, first)
    )
    kinds = {(values.kind == "fraction", values.dtype == "uint8") for values in (found, known)}
    if len(kinds) > 1:  # one batch cannot show whether floats are dark pictures or numbers
        msg = (
            f"a batch of tiles holds {found}, but the first one {known}; bring all tiles to one "
            "range before a hasher is fitted on them."
        )
        raise ValueMismatchError(msg)
