"""Find out which embedding the pixels of scenes or of a dataset are, and in which version."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import rasterio

from geohash_rs.errors import HasherError, HasherMismatchError, SceneError, ValueMismatchError
from geohash_rs.hashing.hasher import Hasher
from geohash_rs.hashing.pixel_embedding import PixelEmbedding
from geohash_rs.hashing.pixels.products import (
    PRODUCTS,
    Product,
    product_of_dataset,
    product_of_scene,
)
from geohash_rs.scenes.dataset import Scenes
from geohash_rs.scenes.file import SceneFile, open_raster

__all__ = ["check_version", "embedding_of_dataset", "embedding_of_scenes", "prepared_scenes"]

Asked = PixelEmbedding | str | None


def embedding_of_scenes(
    asked: Asked, hasher: Hasher | None, scenes: Scenes
) -> PixelEmbedding | None:
    """Find the embedding that scenes hold.

    Args:
        asked: What the user named, as for `PixelEmbedding.of`; None takes the hasher's, or that
            which the scenes' band or file names are certain to be.
        hasher: The archive's hasher; None if it is still to be fitted.
        scenes: The scenes.

    Returns:
        The embedding; None if the scenes are pictures.

    Raises:
        HasherError: If what was named is unknown, the scenes have another number of bands, or there
            are several versions and nothing says which they are.
        HasherMismatchError: If the archive was made for another embedding, or the scenes are of
            several versions or products, or only some of them are known to be of a product.
    """
    files = scenes.scene_files
    if asked is None and hasher is None:
        product = _only_product(files)
        asked = None if product is None else product.name
    count = len(files[0].band_indexes(scenes.bands))
    embedding = _chosen(asked, hasher, num_bands=count)
    if embedding is None or hasher is not None:
        return embedding
    return _with_version(embedding, files)


def embedding_of_dataset(
    asked: Asked,
    hasher: Hasher | None,
    dataset: Any,  # noqa: ANN401 - any dataset
) -> PixelEmbedding | None:
    """Find the embedding that the samples of a TorchGeo dataset hold.

    Args:
        asked: As in `embedding_of_scenes`; None takes the hasher's, or that of the dataset's class.
        hasher: As in `embedding_of_scenes`.
        dataset: The dataset.

    Returns:
        The embedding; None if the samples are pictures.

    Raises:
        HasherError: As in `embedding_of_scenes`.
        HasherMismatchError: As in `embedding_of_scenes`.
    """
    product = product_of_dataset(dataset)
    if asked is None and hasher is None:
        asked = None if product is None else product.name
    index = getattr(dataset, "index", None)
    paths = [] if index is None else [str(path) for path in index.get("filepath", default=())]
    embedding = _chosen(asked, hasher, num_bands=_num_bands(dataset, paths))
    if embedding is None or hasher is not None:
        return embedding
    return _with_version(embedding, paths)


def prepared_scenes(scenes: Scenes, embedding: PixelEmbedding) -> Scenes:
    """Return scenes as the pixels of an embedding are to be read.

    Args:
        scenes: The scenes.
        embedding: What they hold.

    Returns:
        The scenes; those of a yearly product are dated by their folders.

    Raises:
        ValueMismatchError: If a range of values or a nodata value was given that cannot apply.
    """
    if scenes.value_range is not None:
        low, high = scenes.value_range
        msg = (
            f"value_range=({low:g}, {high:g}) stretches pictures, but the scenes hold vectors of "
            f"{embedding}, which are never stretched; leave it out."
        )
        raise ValueMismatchError(msg)
    if embedding.encoded and scenes.nodata is not None:
        msg = (
            f"nodata={scenes.nodata:g} cannot be chosen for {embedding}, of which -128 is nothing; "
            "leave it out."
        )
        raise ValueMismatchError(msg)
    product = PRODUCTS.get(embedding.model)
    return scenes.of_whole_years() if product is not None and product.yearly else scenes


def check_version(embedding: PixelEmbedding, source: SceneFile | str) -> None:
    """Check that a raster is of the version and variant of an embedding, if it says so.

    Args:
        embedding: The embedding.
        source: Header or path of the raster.

    Raises:
        HasherMismatchError: If it is not.
        SceneError: If it cannot be opened.
    """
    product = PRODUCTS.get(embedding.model)
    if product is not None and product.version_tag:
        version, variant = _said(product, source)
        other = replace(embedding, version=version, variant=variant)
        embedding.check_fits(other, what=f"the vectors of {_name(source)}")


def _only_product(files: Sequence[SceneFile]) -> Product | None:
    """Return the product of which all scenes are; None if none is of any.

    Raises:
        HasherMismatchError: If they are of several, or only some are known to be of one.
    """
    found: dict[str, tuple[Product, SceneFile]] = {}
    others = []
    for file in files:
        product = product_of_scene(file)
        if product is None:
            others.append(file)
        else:
            found.setdefault(product.name, (product, file))
    if not found:
        return None
    first, _ = next(iter(found.values()))
    if len(found) == 1 and not others:
        return first
    kinds = [f"{product.title} in {file.name}" for product, file in found.values()]
    kinds += [f"another raster in {file.name}" for file in others[:1]]
    msg = (
        f"the scenes cannot be compared with each other: {', '.join(kinds)}; index each into its "
        "own archive"
    )
    if len(found) == 1 and all(len(file.color_bands) == len(first.bands) for file in others):
        msg += f', or pass embedding="{first.name}" if all of them hold it'
    raise HasherMismatchError(f"{msg}.")


def _chosen(asked: Asked, hasher: Hasher | None, *, num_bands: int | None) -> PixelEmbedding | None:
    """Return what was asked for if the archive's hasher is made for it, or there is none.

    Raises:
        HasherMismatchError: If it is made for something else.
    """
    own = None if hasher is None else hasher.pixels
    if asked is None:
        return own
    if hasher is not None and own is None:
        what = hasher.embedding or f"features of {hasher.backbone.model_name}"
        msg = (
            f"the archive was made for {what}, so embedding={str(asked)!r} cannot be added; use "
            "another archive."
        )
        raise HasherMismatchError(msg)
    if isinstance(asked, str):
        pooling = "mean" if own is None else own.pooling
        asked = PixelEmbedding.of(asked, num_bands=num_bands, pooling=pooling)
    if own is None:
        return asked
    own.check_fits(asked, what="the pixels")
    if asked.pooling != own.pooling:
        msg = f"pooling is {asked.pooling}, but the archive was made with {own.pooling}."
        raise HasherMismatchError(msg)
    return own


def _with_version(embedding: PixelEmbedding, sources: Sequence[SceneFile | str]) -> PixelEmbedding:
    """Return an embedding with the version and variant that its rasters name.

    Raises:
        HasherError: If there are several and nothing says which these are.
        HasherMismatchError: If the rasters name several, or not the one asked for.
    """
    product = PRODUCTS.get(embedding.model)
    if product is None or not product.version_tag:
        return embedding
    said: dict[tuple[str, str], str] = {}
    for source in sources:
        try:
            said.setdefault(_said(product, source), _name(source))
        except SceneError:  # reading it says so
            continue
    said.pop(("", ""), None)
    if len(said) > 1:
        named = "; ".join(f"{' '.join(v).strip()}: {name}" for v, name in sorted(said.items()))
        msg = (
            f"the rasters are of several versions or variants of {product.title} ({named}), whose "
            "vectors cannot be compared; index each into its own archive."
        )
        raise HasherMismatchError(msg)
    if said:
        version, variant = next(iter(said))
        found = replace(
            embedding,
            version=embedding.version or version,
            variant=embedding.variant or variant,
        )
        other = replace(embedding, version=version, variant=variant)
        found.check_fits(other, what=f"the vectors of {said[version, variant]}")
        embedding = found
    if product.needs_version and not embedding.version:
        msg = (
            f"there are several versions of {product.title}, whose vectors cannot be compared, and "
            f"nothing in {_name(sources[0]) if sources else 'the files'} says which it is; name "
            f'it, such as embedding="{product.name}:v1".'
        )
        raise HasherError(msg)
    return embedding


def _said(product: Product, source: SceneFile | str) -> tuple[str, str]:
    """Read the version and the variant that the tags of a raster name; "" for what they do not."""
    path = source if isinstance(source, str) else source.source
    with rasterio.Env(), open_raster(path) as raster:
        tags = raster.tags()
    return tags.get(product.version_tag, "").strip(), tags.get(product.variant_tag, "").strip()


def _name(source: SceneFile | str) -> str:
    return source.name if isinstance(source, SceneFile) else source.rsplit("/", 1)[-1]


def _num_bands(dataset: Any, paths: Sequence[str]) -> int | None:  # noqa: ANN401 - any dataset
    """Count the bands of a dataset's samples, as far as its class or its first file says."""
    indexes = getattr(dataset, "band_indexes", None)
    if isinstance(indexes, Sequence) and indexes:
        return len(indexes)
    if not paths:
        return None
    with open_raster(paths[0]) as raster:
        return int(raster.count)
