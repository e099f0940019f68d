"""Collect what is known about the bands of a file, and where sources contradict each other."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from geohash_rs.scenes.band_files import band_of_file
from geohash_rs.scenes.sensors import (
    COMMON,
    FAMILIES,
    RGB,
    at_wavelength,
    family_of,
    meanings_of,
    product_bands,
)

__all__ = ["COLOURS_SAY", "NAME_SAYS", "Band", "bands_of_dataset", "label_bands", "remember_names"]

COLOURS_SAY, NAME_SAYS, WAVELENGTH_SAYS = "colour interpretation", "file name", "wavelength"
# Interpretations that state a meaning; the last ones do not suit a hasher of photographs.
COLOURS = {*RGB, *COMMON, "cyan", "magenta", "yellow", "black", "hue", "saturation", "lightness"}
COLOURS |= {"y", "cb", "cr"}
SPREAD = 0.04  # of a wavelength: sensors place a band of one name this much lower or higher
NANOMETRES = 100.0  # a wavelength above this is not in micrometres
WAVELENGTH = re.compile(r"(?:^|_)(?:central_?)?wavelengths?(?:_?(um|nm|micrometers|nanometers))?$")

_named: dict[str, tuple[str, ...]] = {}  # band names from catalogues, by file


def remember_names(path: str, names: Sequence[str]) -> None:
    """Store the band names that a catalogue states for a file.

    Args:
        path: Path or URI of the file.
        names: One name per band.
    """
    _named[path] = tuple(names)


@dataclass(frozen=True, kw_only=True)
class Band:
    """What is known about a band.

    Attributes:
        name: Its own name, such as ``B04`` or ``Band 3 - Red``; empty if it has none.
        meaning: STAC common name of what it shows, such as ``red``; empty if unknown.
        source: Where the meaning comes from, such as ``description``; empty if unknown.
        other: What another source says that contradicts this one; empty if none does.
        other_source: That source.
    """

    name: str = ""
    meaning: str = ""
    source: str = ""
    other: str = ""
    other_source: str = ""

    @property
    def label(self) -> str:
        """Its meaning, otherwise its own name, otherwise an empty string."""
        return self.meaning or self.name

    @property
    def readings(self) -> str:
        """Both readings of a band whose sources contradict each other."""
        return f"{self.meaning} by {self.source} but {self.other} by {self.other_source}"


def label_bands(
    *,
    path: str,
    descriptions: Sequence[str | None],
    colors: list[str],
    tags: Sequence[Mapping[str, str]] = (),
    product_tags: Mapping[str, str] | None = None,
    data_alpha: int | None = None,
) -> tuple[Band, ...]:
    """Collect what is known about the bands of a file.

    Sources in order of precedence: STAC catalogue, band description, wavelength, naming conventions
    of the file, and colour interpretation, which drivers often invent.

    Args:
        path: Path or URI of the file, whose name may identify the product.
        descriptions: Description of each band.
        colors: Colour interpretation of each band, such as ``red``.
        tags: Metadata of each band.
        product_tags: Metadata of the file.
        data_alpha: One-based index of a band that is flagged as alpha but is not a mask.

    Returns:
        One `Band` per band.
    """
    tags = tags or [{}] * len(colors)
    names = [
        (text or found.get("BandName") or found.get("long_name") or "").strip()
        for text, found in zip(descriptions, tags, strict=True)
    ]
    waves = _wavelengths(tags, product_tags or {})
    catalogued = _named.get(path, ())
    if len(catalogued) != len(colors):
        catalogued = tuple(found.get("common_name", "") for found in tags)
    sources = {
        "STAC": meanings_of(catalogued),
        "description": meanings_of(names, path),
        WAVELENGTH_SAYS: [at_wavelength(wave) for wave in waves],
        NAME_SAYS: _by_file_name(path, len(colors)),
        COLOURS_SAY: [color.lower() if color.lower() in COLOURS else "" for color in colors],
    }
    # drivers flag the first bands of any 8-bit file so, whatever its descriptions say
    invented = tuple(color.lower() for color in colors[:3]) == RGB
    if invented and any(sources["description"]):
        kept = zip(sources[COLOURS_SAY], names, strict=True)
        sources[COLOURS_SAY] = ["" if name else color for color, name in kept]
    bands = []
    for position, name in enumerate(names):
        known = [(at[position], source) for source, at in sources.items() if at[position]]
        meaning, source = known[0] if known else ("", "")
        others = (
            found
            for found in known[1:]
            if _contradict(found, known[0], waves[position])
            and not (invented and found[1] == COLOURS_SAY and source != NAME_SAYS)
        )
        other, other_source = next(others, ("", ""))
        bands.append(
            Band(name=name, meaning=meaning, source=source, other=other, other_source=other_source)
        )
    open_fourth = data_alpha == 4 or colors[3:] in (["undefined"], ["gray"])
    if len(bands) == 4 and open_fourth and not bands[3].label and _are_rgb(bands[:3]):
        # A fourth band after red, green and blue that is not a mask: near infrared of aerial
        # cameras.
        bands[3] = Band(meaning="nir", source="its place after red, green and blue")
    return tuple(bands)


def bands_of_dataset(dataset: object, count: int) -> tuple[str, ...]:
    """Find what a TorchGeo dataset calls the bands of its images.

    Args:
        dataset: The dataset, or a subset or concatenation of datasets.
        count: Bands of an image.

    Returns:
        One name per band; empty if the dataset does not name as many.
    """
    while (inner := _inner(dataset)) is not None:
        dataset = inner
    for attribute in ("bands", "all_bands", "all_band_names", "band_names"):
        names = getattr(dataset, attribute, None)
        if isinstance(names, tuple | list) and all(isinstance(name, str) for name in names):
            if len(names) == count and len(set(names)) == count:
                return tuple(names)
            if names and attribute == "bands":
                return ()  # the chosen bands; the others are the names of more than it reads
    return ()


def _inner(dataset: object) -> object:
    """Return the dataset of a subset or wrapper, or the first of several; otherwise None."""
    several = getattr(dataset, "datasets", None)
    return several[0] if several else getattr(dataset, "dataset", None)


def _by_file_name(path: str, count: int) -> Sequence[str]:
    """Find what the bands of a product, or the only band of a band file, show by its name."""
    band = band_of_file(path) if count == 1 else None
    return product_bands(path, count) if band is None else meanings_of([band.band], path)


def _contradict(found: tuple[str, str], used: tuple[str, str], wave: float | None) -> bool:
    """Return whether two sources contradict each other on a band.

    Args:
        found: Meaning and source.
        used: Meaning and source of higher precedence.
        wave: Wavelength of the band, micrometres.
    """
    families = {family_of(found[0]), family_of(used[0])}
    if not families <= FAMILIES or len(families) == 1:
        return False
    if wave is None or WAVELENGTH_SAYS not in (found[1], used[1]):
        return True
    near = {family_of(at_wavelength(wave * factor)) for factor in (1 - SPREAD, 1, 1 + SPREAD)}
    return not families <= near


def _are_rgb(bands: Sequence[Band]) -> bool:
    return tuple(band.meaning for band in bands) == RGB


def _wavelengths(
    tags: Sequence[Mapping[str, str]], product_tags: Mapping[str, str]
) -> list[float | None]:
    """Read the central wavelength of each band, in micrometres."""
    lists = [
        re.findall(r"\d+(?:\.\d+)?", value)
        for key, value in product_tags.items()
        if WAVELENGTH.search(key.lower())
    ]
    whole = next((values for values in lists if len(values) == len(tags)), None)
    waves: list[float | None] = []
    for position, found in enumerate(tags):
        texts = [text for key, text in found.items() if WAVELENGTH.search(key.lower())]
        texts += [whole[position]] if whole else []
        wave = next(filter(None, map(_number, texts)), None)
        waves.append(wave / 1000 if wave is not None and wave > NANOMETRES else wave)
    return waves


def _number(text: str) -> float | None:
    found = re.match(r"\s*(\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)", str(text))
    return float(found[1]) if found else None
