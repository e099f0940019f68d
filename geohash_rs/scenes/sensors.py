"""Names of bands by sensor and by convention, and what these bands show."""

import re
import unicodedata
from collections.abc import Sequence

__all__ = [
    "COMMON",
    "FAMILIES",
    "POLARISATIONS",
    "RGB",
    "at_wavelength",
    "family_of",
    "meanings_of",
    "product_bands",
    "product_rescaling",
    "sensor_of",
]

RGB = ("red", "green", "blue")

# Common names: https://github.com/stac-extensions/eo#common-band-names
SENTINEL_2 = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "rededge071", "6": "rededge075",
    "7": "rededge078", "8": "nir", "8a": "nir08", "9": "nir09", "10": "cirrus", "11": "swir16",
    "12": "swir22",
}  # fmt: skip
LANDSAT_8 = {
    "1": "coastal", "2": "blue", "3": "green", "4": "red", "5": "nir08", "6": "swir16",
    "7": "swir22", "8": "pan", "9": "cirrus", "10": "lwir11", "11": "lwir12",
}  # fmt: skip
LANDSAT_7 = {
    "1": "blue", "2": "green", "3": "red", "4": "nir08", "5": "swir16", "6": "lwir",
    "7": "swir22", "8": "pan",
}  # fmt: skip
MSS = {"1": "green", "2": "red", "3": "nir", "4": "nir08"}  # of Landsat 4 and 5
MSS_1_TO_3 = {"4": "green", "5": "red", "6": "nir", "7": "nir08"}
MODIS = {"1": "red", "2": "nir", "3": "blue", "4": "green", "6": "swir16", "7": "swir22"}
UNSURE = {"2": "blue", "3": "green", "4": "red"}  # bands on which Sentinel-2 and Landsat 8 agree
SENSORS = (
    (re.compile(r"(?:^|[/_.])(?:S2[ABCD]?_|T\d\d[A-Z]{3}_\d{8}T)|HLS\.S30", re.I), SENTINEL_2),
    (re.compile(r"(?:^|[/_])L[COT](?:0[89]_|[89]\d)|HLS\.L30", re.I), LANDSAT_8),
    (re.compile(r"(?:^|[/_])L[ET](?:0[4-7]_|[4-7]\d)", re.I), LANDSAT_7),
    (re.compile(r"(?:^|[/_])LM(?:0[45]_|[45]\d)", re.I), MSS),
    (re.compile(r"(?:^|[/_])LM(?:0[1-3]_|[1-3]\d)", re.I), MSS_1_TO_3),
    (re.compile(r"(?:^|/)(?:MOD|MYD|MCD)\d\d|(?:^|[_.])sur_refl_b", re.I), MODIS),
)

# Multi-band products whose files may not describe their bands.
PLANET = {
    4: ("blue", "green", "red", "nir"),
    5: ("blue", "green", "red", "rededge", "nir"),
    8: ("coastal", "blue", "green05", "green", "yellow", "red", "rededge071", "nir"),
}
PRODUCTS = (
    (re.compile(r"^\d{7,8}_.*_analytic", re.I), PLANET),
    (re.compile(r"^m_\d{7}_[ns][ew]_\d\d_", re.I), {4: (*RGB, "nir"), 3: RGB}),  # NAIP
)
SENTINEL_2_BASELINE = re.compile(r"S2[A-D]_MSIL[12][AC]_\d{8}T\d{6}_N(\d{4})_[^/]*\.SAFE/")

WORDS = {
    "r": "red", "g": "green", "b": "blue", "n": "nir", "near_infrared": "nir",
    "nearinfrared": "nir", "near_ir": "nir", "infrared": "nir", "ir": "nir", "nir1": "nir",
    "nir_1": "nir", "vnir": "nir", "red_edge": "rededge", "rededge1": "rededge071",
    "rededge2": "rededge075",
    "rededge3": "rededge078", "re1": "rededge071", "re2": "rededge075", "re3": "rededge078",
    "red_edge_1": "rededge071", "red_edge_2": "rededge075", "red_edge_3": "rededge078",
    "vegetation_red_edge": "rededge", "narrow_nir": "nir08", "nir_narrow": "nir08",
    "water_vapour": "nir09", "water_vapor": "nir09", "coastal_blue": "coastal",
    "coastal_aerosol": "coastal", "ultra_blue": "coastal", "aerosol": "coastal",
    "green_i": "green05", "greeni": "green05", "green_1": "green05", "green_ii": "green",
    "swir1": "swir16", "swir_1": "swir16", "swir2": "swir22", "swir_2": "swir22",
    "panchromatic": "pan", "thermal": "lwir", "tir": "lwir", "tirs1": "lwir11", "tirs2": "lwir12",
    "infrarot": "nir", "nahinfrarot": "nir", "nahes_infrarot": "nir", "infrarouge": "nir",
    "proche_infrarouge": "nir", "infrarrojo": "nir", "infrarrojo_cercano": "nir",
}  # fmt: skip
# In German, French and Spanish.
TRANSLATED = {
    "rot": "red", "grün": "green", "gruen": "green", "blau": "blue", "rouge": "red",
    "vert": "green", "bleu": "blue", "rojo": "red", "verde": "green", "azul": "blue",
}  # fmt: skip
POLARISATIONS = ("vv", "vh", "hh", "hv")  # of radar, such as Sentinel-1
COMMON = {
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071",
    "rededge075", "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir",
    "lwir11", "lwir12", *POLARISATIONS,
}  # fmt: skip
# Names that one source may use where another uses a narrower or wider one.
FAMILY = {
    "coastal": "blue", "green05": "green", "rededge071": "rededge", "rededge075": "rededge",
    "rededge078": "rededge", "nir08": "nir", "nir09": "nir", "lwir11": "lwir", "lwir12": "lwir",
}  # fmt: skip
FAMILIES = COMMON - FAMILY.keys()
FEW = 8  # bands b1 to b8: of any sensor, or only numbered
NUMBERED = re.compile(r"(?:sur_refl_|sr_|st_|toa_)?b_?(0?)(\d{1,2})(a?)", re.I)
NOT_PIXELS = {
    "mask", "qa", "quality", "cloud", "ratio", "index", "std", "stddev", "variance", "error",
    "count", "diff",
}  # fmt: skip
# A central wavelength, or the two ends of a band, in nm: "665 nm", "Rrs_665", "630-690nm".
NANOMETRES = re.compile(
    r"(?:^|_|\()(?P<quantity>rrs_|rho[a-z]*_|refl[a-z]*_|)(?P<first>\d{3,4}(?:\.\d+)?)"
    r"(?:_(?P<last>\d{3,4}(?:\.\d+)?))?(?P<unit>_?nm)?(?![a-z0-9])"
)
# Upper limit, in micrometres, of the wavelengths of each common name.
SPECTRUM = (
    (0.400, ""), (0.455, "coastal"), (0.510, "blue"), (0.585, "green"), (0.625, "yellow"),
    (0.690, "red"), (0.725, "rededge071"), (0.760, "rededge075"), (0.795, "rededge078"),
    (0.900, "nir"), (1.050, "nir09"), (1.340, ""), (1.420, "cirrus"), (1.500, ""),
    (1.800, "swir16"), (2.000, ""), (2.400, "swir22"), (10.00, ""), (11.50, "lwir11"),
    (12.60, "lwir12"),
)  # fmt: skip


def sensor_of(path: str) -> dict[str, str] | None:
    """Find the sensor that a product's name implies.

    Args:
        path: Path or URI; only the last folder and the file name count.

    Returns:
        What its numbered bands show, or None if the name implies no sensor.
    """
    tail = "/".join(path.replace("\\", "/").rsplit("/", 2)[-2:])
    return next((bands for pattern, bands in SENSORS if pattern.search(tail)), None)


def meanings_of(names: Sequence[str], path: str = "") -> list[str]:
    """Find what bands show by their names.

    Args:
        names: Own names of the bands of one file or hasher, such as ``B04`` or ``Near Infrared``.
        path: Path of the file, whose product decides what a numbered band is.

    Returns:
        A common name for each, or an empty string.

    >>> meanings_of(["Red", "B8A_median", "B11", "560 nm", "band 7"])
    ['red', 'nir08', 'swir16', 'green', '']
    """
    texts = [unicodedata.normalize("NFC", name).strip().lower() for name in names]
    plain = [re.sub(r"[\s\-]+", "_", text) for text in texts]
    heads = [_numbered_word(re.split(r"[,(:]", name)[0].strip("_")) for name in plain]
    sensor = next(filter(None, map(sensor_of, (path, *texts))), None)
    if sensor is None:
        sensor = _sensor_by_names(heads)
    return [
        _meaning(name, sensor) or _meaning(head, sensor) or _one_word(name) or _at_nanometres(name)
        for name, head in zip(plain, heads, strict=True)
    ]


def at_wavelength(wave: float | None) -> str:
    """Find what a band shows by its central wavelength.

    Args:
        wave: Micrometres, or None.

    Returns:
        A common name, or an empty string.

    >>> at_wavelength(0.665), at_wavelength(0.842)
    ('red', 'nir')
    """
    return next((name for end, name in SPECTRUM if wave is not None and wave < end), "")


def family_of(meaning: str) -> str:
    """Return the widest common name that includes a common name.

    >>> family_of("rededge071"), family_of("red")
    ('rededge', 'red')
    """
    return FAMILY.get(meaning, meaning)


def product_bands(path: str, count: int) -> tuple[str, ...]:
    """Find what the bands of a multi-band product show by the file's name.

    Args:
        path: Path or URI.
        count: Bands of the file.

    Returns:
        A common name for each band; empty strings if the name implies none.
    """
    name = path.replace("\\", "/").rsplit("/", 1)[-1]
    known = (layouts for pattern, layouts in PRODUCTS if pattern.search(name))
    layouts = next(known, {})
    return layouts.get(count, ("",) * count)


def _sensor_by_names(heads: Sequence[str]) -> dict[str, str]:
    found = [match for head in heads if (match := NUMBERED.fullmatch(head))]
    numbers = {match[2] + match[3] for match in found}
    if "8a" in numbers or "12" in numbers or any(match[1] for match in found):
        return SENTINEL_2  # no other sensor has these bands, or a leading zero
    if "7" in numbers and "6" not in numbers:
        return LANDSAT_7
    if len(found) == len(heads) <= FEW and numbers == {str(i + 1) for i in range(len(heads))}:
        return {}  # the bands are only counted
    return UNSURE


def _meaning(name: str, sensor: dict[str, str]) -> str:
    if name in COMMON:
        return name
    if (numbered := NUMBERED.fullmatch(name)) is not None:
        return sensor.get(numbered[2] + numbered[3], "")
    return WORDS.get(name, "")


def _numbered_word(name: str) -> str:
    """Return the one numbered band in a longer text, such as b4 of s2_b4_median, or the text."""
    words = re.findall(r"[^\W_]+", name)
    found = [word for word in words if NUMBERED.fullmatch(word)]
    return found[0] if len(found) == 1 and not NOT_PIXELS & set(words) else name


def _at_nanometres(name: str) -> str:
    """Find what a band shows by a wavelength in its name."""
    found = NANOMETRES.search(name)
    if found is None or not (found["quantity"] or found["unit"]) or "fwhm" in name:
        return ""
    ends = [float(end) for end in (found["first"], found["last"]) if end]
    return at_wavelength(sum(ends) / len(ends) / 1000)


def _one_word(name: str) -> str:
    """Find the one common name in a longer text, such as "Band 4 - Red"."""
    joined = re.sub(r"red_+edge", "rededge", re.sub(r"near_+infra_?red", "nir", name))
    words = {TRANSLATED.get(word, word) for word in re.findall(r"[^\W\d_]+\d*", joined)}
    found = words & COMMON
    return found.pop() if len(found) == 1 and not words & NOT_PIXELS else ""


def product_rescaling(path: str) -> tuple[float, float] | None:
    """Return the scale and offset to reflectance that the name of a product implies.

    Since processing baseline 04.00 of Sentinel-2 reflectance is (pixel - 1000) / 10000:
    https://sentiwiki.copernicus.eu/web/s2-processing

    Args:
        path: Path of a file, or the text of a virtual raster that names files.

    Returns:
        Scale and offset; None if the name implies none.

    >>> product_rescaling("S2A_MSIL2A_20230601T103031_N0509_R108_T32UNE_20230601T163001.SAFE/a.jp2")
    (0.0001, -0.1)
    """
    baseline = SENTINEL_2_BASELINE.search(path)
    return None if baseline is None else (1e-4, -0.1 if baseline[1] >= "0400" else 0.0)
