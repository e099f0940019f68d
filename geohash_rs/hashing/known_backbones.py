"""Backbones that can be chosen by name, with their bands, sensor, size, licence and source."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import timm
import torch

from geohash_rs.errors import HasherError
from geohash_rs.hashing.limits import MOST_FILE
from geohash_rs.hashing.network.backbones import create_network
from geohash_rs.hashing.network.lite0 import LITE0, LITE0_WEIGHTS
from geohash_rs.hashing.network.pretrained import file_to_fetch
from geohash_rs.hashing.network.torchgeo_weights import TorchGeoWeights
from geohash_rs.scenes.sensors import RGB, meanings_of

__all__ = ["KnownBackbone", "known_backbones"]

# Of timm's networks, some of each size and kind of training that are widely used for features.
CURATED = (
    "mobilenetv3_large_100.ra_in1k",
    "resnet18.a1_in1k",
    "resnet50.a1_in1k",
    "inception_v3.tv_in1k",
    "convnext_tiny.in12k_ft_in1k",
    "convnextv2_tiny.fcmae",
    "convnext_base.clip_laion2b",
    "swin_tiny_patch4_window7_224.ms_in22k",
    "vit_small_patch14_dinov2.lvd142m",
    "vit_base_patch14_dinov2.lvd142m",
    "vit_small_patch16_dinov3.lvd1689m",
    "vit_base_patch16_clip_224.openai",
    "vit_base_patch16_siglip_224.webli",
)
# By the first words of TorchGeo's names of weights: the sensor, and the ground size of its finest
# bands, m. https://sentiwiki.copernicus.eu/web/s2-mission, .../s1-mission,
# https://www.usgs.gov/landsat-missions/landsat-satellite-missions
SENSORS = {
    "SENTINEL2": ("sentinel2", 10.0),
    "SENTINEL1": ("sentinel1", 10.0),
    "LANDSAT_TM": ("landsat5", 30.0),
    "LANDSAT_ETM": ("landsat7", 30.0),
    "LANDSAT_OLI": ("landsat8", 30.0),
}
BYTES = 4  # of a weight
NEAR = 2.0  # ratio of two ground sizes up to which weights for one fit the other


@dataclass(frozen=True, kw_only=True)
class KnownBackbone:
    """A backbone that can be chosen by name; None or empty where nothing is stated.

    Attributes:
        name: Its name for ``--backbone``.
        origin: Who offers the weights: "installed", "timm" or "torchgeo".
        model: The network in timm.
        in_chans: Number of bands that the weights were trained on. Three are adapted to others.
        bands: What these bands are.
        sensor: Sensor whose images they were trained on; empty for photographs, or if unknown.
        gsd: Ground size of a pixel of that sensor, m.
        input_size: Side of the images that it was trained on, px.
        licence: Licence of the weights, as timm or TorchGeo state it.
        source: Address of the file of weights, or the package that holds it.
        publication: Address of a publication.
        image_size: As in `Backbone`.
    """

    name: str
    origin: str
    model: str
    in_chans: int
    bands: tuple[str, ...]
    sensor: str
    gsd: float | None
    input_size: int | None
    licence: str | None
    source: str
    publication: str | None = None
    image_size: int | None = None

    @property
    def num_parameters(self) -> int | None:
        """Number of weights of the network without its classifier; None if it cannot be made."""
        return _count(self.model, self.in_chans, self.image_size)

    @property
    def fits_file(self) -> bool:
        """Whether a hasher file can hold the weights, as far as their number is known."""
        return BYTES * (self.num_parameters or 0) <= MOST_FILE

    @property
    def hub(self) -> str:
        """Where the weights come from, in few words, such as "timm/resnet50.a1_in1k"."""
        address = urlsplit(self.source)
        if not address.scheme:
            return self.source
        hugging = address.netloc in {"hf.co", "huggingface.co"}
        return "/".join(address.path.split("/")[1:3]) if hugging else address.netloc

    def to_dict(self) -> dict[str, Any]:
        """Return all that is known, as JSON values."""
        return {**asdict(self), "bands": list(self.bands), "num_parameters": self.num_parameters}

    def fits_bands(self, bands: int | Sequence[str]) -> bool:
        """Return whether the weights take images with these bands.

        Args:
            bands: Their number, or names of which some may be left out.
        """
        if isinstance(bands, int):
            return self.in_chans in (bands, len(RGB)) if not self.sensor else self.in_chans == bands
        given = {m or n for m, n in zip(meanings_of(bands), bands, strict=True)}
        wanted = self.bands or RGB
        return len(wanted) == self.in_chans and set(wanted) <= given

    def fits_sensor(self, sensor: str) -> bool:
        """Return whether the weights were trained on a sensor, or on photographs if it has colours.

        Args:
            sensor: As the attribute; "landsat" stands for all of them.
        """
        if not self.sensor:
            return sensor != "sentinel1"
        return self.sensor.startswith(sensor)

    def fits_gsd(self, gsd: float) -> bool:
        """Return whether the ground size is similar, or unknown."""
        return self.gsd is None or max(self.gsd / gsd, gsd / self.gsd) <= NEAR


def known_backbones(
    pattern: str = "",
    *,
    bands: int | Sequence[str] | None = None,
    sensor: str = "",
    gsd: float | None = None,
) -> list[KnownBackbone]:
    """List backbones that can be chosen by name, from what timm and TorchGeo state, offline.

    Args:
        pattern: Part of the name, such as "dinov2"; without one, timm's are those most used.
        bands: Number or names of the bands of the images; names are those of `meanings_of`.
        sensor: Such as "sentinel2" or "landsat".
        gsd: Ground size of a pixel, m.

    Returns:
        The backbones: first those trained on the sensor or bands, then the default, then timm's.

    Raises:
        HasherError: If no weights name the sensor.
    """
    wanted = _sensor_of(sensor)
    found = [*_of_torchgeo(), _installed(), *_of_timm(pattern)]
    return [
        one
        for one in found
        if pattern.lower() in one.name.lower()
        and (bands is None or one.fits_bands(bands))
        and (not wanted or one.fits_sensor(wanted))
        and (gsd is None or one.fits_gsd(gsd))
    ]


def _of_torchgeo() -> Iterator[KnownBackbone]:
    from torchgeo.models import get_model_weights, list_models  # takes seconds to import

    for model in list_models():
        with suppress(KeyError):  # a network without weights
            for entry in get_model_weights(model):
                weights = TorchGeoWeights(entry)
                if not weights.problem and not weights.mixes_values:
                    yield _described(weights)


def _described(weights: TorchGeoWeights) -> KnownBackbone:
    other = (weights.sensor.lower(), None)
    sensor, gsd = SENSORS.get(weights.sensor, other)
    stated = weights.meta.get("resolution")
    return KnownBackbone(
        name=str(weights),
        origin="torchgeo",
        model=weights.model,
        in_chans=weights.in_chans,
        bands=weights.bands,
        sensor=sensor,
        gsd=gsd if stated is None else float(stated),
        input_size=weights.input_size,
        licence=weights.meta.get("license") or weights.meta.get("licence"),
        source=str(weights.entry.url),
        publication=weights.meta.get("publication"),
        image_size=weights.image_size,
    )


def _installed() -> KnownBackbone:
    return _of_config(LITE0, origin="installed", source=f"package {LITE0_WEIGHTS}")


def _of_timm(pattern: str) -> Iterator[KnownBackbone]:
    names = timm.list_pretrained()
    if pattern:
        chosen = [name for name in names if pattern.lower() in name.lower()]
    else:
        chosen = [name for name in CURATED if name in names]
    for name in chosen:
        yield _of_config(name, origin="timm", source=file_to_fetch(name))


def _of_config(name: str, *, origin: str, source: str) -> KnownBackbone:
    config = timm.get_pretrained_cfg(name)
    return KnownBackbone(
        name=name,
        origin=origin,
        model=name,
        in_chans=config.input_size[0],
        bands=RGB if config.input_size[0] == len(RGB) else (),
        sensor="",
        gsd=None,
        input_size=config.input_size[-1],
        licence=config.license,
        source=source,
    )


def _sensor_of(text: str) -> str:
    """Find a sensor as users write it, such as "Sentinel-2", "S2" or "Landsat 9".

    Raises:
        HasherError: If no weights name it.
    """
    plain = re.sub(r"[\W_]", "", text.lower())
    plain = re.sub(r"^s(?=[12])", "sentinel", plain)
    plain = {"landsat4": "landsat5", "landsat9": "landsat8"}.get(plain, plain)
    known = sorted({one.sensor for one in _of_torchgeo()})
    if plain and not any(sensor.startswith(plain) for sensor in known):
        msg = (
            f"no weights were trained on {text!r}; the sensors are {', '.join(known)}. Leave it "
            "out for networks of photographs, which see red, green and blue of any sensor."
        )
        raise HasherError(msg)
    return plain


@lru_cache
def _count(model: str, in_chans: int, image_size: int | None) -> int | None:
    try:
        with torch.device("meta"):  # without computing or storing any weight
            network = create_network(model, in_chans, image_size=image_size)
    except Exception:  # noqa: BLE001 - of any type: networks of timm that need real tensors
        return None
    return sum(int(weight.numel()) for weight in network.parameters())
