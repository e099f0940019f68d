"""Find the band that a file holds by the file's name, such as ``B04`` of ``T32_B04_10m.jp2``."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from geohash_rs.scenes.sensors import COMMON, NOT_PIXELS, POLARISATIONS, sensor_of

__all__ = ["BandFile", "band_of_file", "band_of_name", "layer_of_file", "remember_apart"]

NAMED = "|".join(sorted(COMMON - {*POLARISATIONS}, key=len, reverse=True))
BAND_FILE = re.compile(
    rf"(?P<product>.*?[_.]|)(?P<band>(?:SR_|ST_)?B\d{{1,2}}A?|B6_VCID_[12]|{NAMED})(?:_(?P<res>\d\d)m)?",
    re.I,
)
# Layers of a product that are not bands, and preview pictures.
OTHER_LAYER = re.compile(
    r"(?P<product>.*?[_.]|)(?:SCL|AOT|WVP|TCI|PVI|CLD|SNW|VISUAL|THUMB\w*|PREVIEW|OVERVIEW|BROWSE|"
    r"CLOUD|SNOW|BQA|FMASK|[SV][AZ]A|UDM2?|(?:SR_)?QA\w*|ST_[A-Z]+|"
    r"SR_(?:ATMOS|CLOUD|AEROSOL)\w*|MSK_\w+|MTL|ANG)"
    r"(?:_(?P<res>\d\d)m|-jp2|(?:_(?:clip|reproject|file_format|harmonized))+)?",
    re.I,
)
WORD = re.compile(r"[-_.]")
PART = re.compile(r"\d{3}")  # Sentinel-1 numbers the files of a product: -001, -002


@dataclass(frozen=True, kw_only=True)
class BandFile:
    """What the name of a band file says.

    Attributes:
        product: The name without the band, so the same for all bands of a product.
        band: The band's own name, such as ``B04`` or ``VV``; empty for another layer.
        size: Pixel size in m if the name states it, otherwise 0.
    """

    product: str
    band: str
    size: int = 0


_apart: set[str] = set()  # files named like bands that turned out to be scenes of their own


def remember_apart(paths: Iterable[str]) -> None:
    """Remember files that are named like the bands of one scene but are several scenes.

    Args:
        paths: Paths of the files.
    """
    _apart.update(paths)


def band_of_file(path: str) -> BandFile | None:
    """Find the band that a file holds by its name.

    Args:
        path: Path or URI.

    Returns:
        The band; None if the name does not say which, or does not mean it.
    """
    text = path.replace("\\", "/")
    if text.startswith("<") or (path in _apart and sensor_of(text) is None):
        return None
    return band_of_name(text.rsplit("/", 1)[-1].partition("?")[0].rpartition(".")[0])


def band_of_name(stem: str) -> BandFile | None:
    """Find the band that a file's name states.

    Args:
        stem: Name without its ending.

    Returns:
        The band, or None.
    """
    found = BAND_FILE.fullmatch(stem)
    if found is not None:
        return BandFile(
            product=found["product"].rstrip("_."), band=found["band"], size=int(found["res"] or 0)
        )
    words = WORD.split(stem)
    places = [i for i, word in enumerate(words) if word.lower() in POLARISATIONS]
    if len(places) != 1 or NOT_PIXELS & {word.lower() for word in words}:
        return None
    place = places[0]
    after = words[place + 1 :]
    after = after[:-1] if after and PART.fullmatch(after[-1]) else after
    start = sum(len(word) + 1 for word in words[:place])
    return BandFile(
        product="_".join([stem[: max(0, start - 1)], *after]).strip("_"), band=words[place]
    )


def layer_of_file(stem: str) -> BandFile | None:
    """Find the band, or the quality layer or preview picture, that a file's name states.

    Args:
        stem: Name without its ending.

    Returns:
        The band or layer; None if the name states neither.
    """
    layer = OTHER_LAYER.fullmatch(stem)
    if (band := band_of_name(stem)) is not None or layer is None:
        return band
    return BandFile(product=layer["product"].rstrip("_."), band="", size=int(layer["res"] or 0))
