"""The products that publish a vector for every pixel, and how to tell them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from geohash_rs.scenes.file import SceneFile

__all__ = ["PRODUCTS", "RAW", "Product", "product_of_dataset", "product_of_scene"]

RAW = "raw"  # any other raster: its bands are the vector, as they are
ENCODED = "int8"  # how AlphaEarth stores its numbers


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product whose rasters hold a vector for every pixel.

    Attributes:
        name: What users call it.
        title: Its full name, for messages.
        bands: Names of the bands; empty if it has any number.
        encoded: Whether files of 8-bit integers hold ``sign(v) * (abs(v) / 127.5) ** 2``, and
            nothing where v is -128.
        version: The version that is meant if none is named; "" if nobody knows.
        needs_version: Whether vectors of several versions exist, so that one must be known.
        version_tag: Name of the TIFF tag that holds the version, or "".
        variant_tag: Name of the TIFF tag that holds the variant, or "".
        file_name: Pattern of its files' names, or None.
        datasets: TorchGeo's classes that read it.
        yearly: Whether each file is of a whole year.
        tile_size: Side of a tile unless another is asked for, px.
    """

    name: str
    title: str
    bands: tuple[str, ...] = ()
    encoded: bool = False
    version: str = ""
    needs_version: bool = False
    version_tag: str = ""
    variant_tag: str = ""
    file_name: re.Pattern[str] | None = None
    datasets: tuple[str, ...] = ()
    yearly: bool = False
    tile_size: int = 16


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"dim_{i}" for i in range(count))


# https://developers.google.com/earth-engine/guides/aef_on_gcs_readme
ALPHAEARTH = Product(
    name="alphaearth",
    title="AlphaEarth (Google Satellite Embedding)",
    bands=tuple(f"A{i:02d}" for i in range(64)),
    encoded=True,
    version="v1",
    datasets=("GoogleSatelliteEmbedding",),
    yearly=True,
)
# https://github.com/ucam-eo/geotessera
TESSERA = Product(
    name="tessera",
    title="TESSERA",
    bands=_numbered(128),
    needs_version=True,
    version_tag="TESSERA_DATASET_VERSION",
    variant_tag="TESSERA_DATASET_VARIANT",
    file_name=re.compile(r"grid_-?\d+(?:\.\d+)?_-?\d+(?:\.\d+)?_(?:19|20)\d\d\.tiff?$"),
    datasets=("TesseraEmbeddings",),
    yearly=True,
)
# https://huggingface.co/datasets/izvonkov/Togo_Presto_Embeddings
PRESTO = Product(
    name="presto",
    title="Presto",
    bands=_numbered(128),
    file_name=re.compile(r"Togo_Presto_embeddings_"),
    datasets=("PrestoEmbeddings",),
)
# https://github.com/zhu-xlab/Copernicus-FM/tree/main/Copernicus-Embed-025deg
COPERNICUS = Product(
    name="copernicus-embed",
    title="Copernicus-Embed",
    bands=_numbered(768),
    file_name=re.compile(r"embed_map_"),
    datasets=("CopernicusEmbed",),
    tile_size=1,  # 0.25 degrees
)

PRODUCTS: Mapping[str, Product] = MappingProxyType(
    {
        product.name: product
        for product in (
            ALPHAEARTH,
            TESSERA,
            PRESTO,
            COPERNICUS,
            Product(name=RAW, title="a raster of vectors"),
        )
    }
)


def product_of_scene(file: SceneFile) -> Product | None:
    """Recognise the raster of a published embedding.

    Args:
        file: Header of a scene.

    Returns:
        The product if its bands are named A00 to A63, or it has the name and the number of bands of
        a product's files; None if this is not certain.
    """
    names = {file.bands[index - 1].name for index in file.color_bands}
    if set(ALPHAEARTH.bands) <= names:
        return ALPHAEARTH
    for product in PRODUCTS.values():
        named = product.file_name is not None and product.file_name.match(file.name)
        if named and len(file.color_bands) == len(product.bands):
            return product
    return None


def product_of_dataset(dataset: object) -> Product | None:
    """Recognise a TorchGeo dataset of a published embedding.

    Args:
        dataset: The dataset.

    Returns:
        The product, or None.
    """
    names = {kind.__name__ for kind in type(dataset).__mro__}
    return next((one for one in PRODUCTS.values() if names & set(one.datasets)), None)
