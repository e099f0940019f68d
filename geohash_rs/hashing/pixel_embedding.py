"""Rasters whose bands are an embedding: a tile's feature is the mean of its pixels' vectors."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from geohash_rs.errors import BandMismatchError, HasherError
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.network.heads import Head
from geohash_rs.hashing.pixels.products import ENCODED, PRODUCTS, RAW
from geohash_rs.hashing.pixels.sums import NOTHING, TileSums, sum_tiles, valid_pixels
from geohash_rs.scenes.values import Conversion

__all__ = ["PixelEmbedding", "Pooling"]

Pooling = Literal["mean", "mean+deviation"]

STEP = 127.5  # of AlphaEarth's numbers
LONGEST = 1.5  # of a decoded AlphaEarth vector, whose length is 1
FORM = "NAME, NAME:VERSION or NAME:VERSION:VARIANT"


@dataclass(frozen=True, eq=False)
class PixelEmbedding(Embedding):
    """What turns the pixels of a published embedding into features of tiles, without a network.

    A tile's feature is the mean of the vectors of its valid pixels, brought to length one. Pixels
    are decoded first, never stretched or filled: those without data have no weight.

    >>> PixelEmbedding.of("alphaearth", tile_size=16).num_features
    64

    Attributes:
        model: Name of the product in `PRODUCTS`, or of any model; "" if nobody said.
        dimensions: Numbers of a feature.
        bands: Names of the bands of a raster.
        tile_size: Side of the tiles for which this was made, px.
        encoded: Whether 8-bit pixels hold ``sign(v) * (abs(v) / 127.5) ** 2``, as AlphaEarth's do.
        pooling: "mean", or "mean+deviation" for the standard deviations of the bands after their
            means; both together have length one.
        resolution: As in `Extractor`; pixels are never resampled, since means are taken anyway.
    """

    _: KW_ONLY
    bands: Sequence[str] = ()
    tile_size: int = 1
    resolution: float | None = None
    encoded: bool = False
    pooling: Pooling = "mean"

    def __post_init__(self) -> None:
        """Check the number of dimensions.

        Raises:
            HasherError: If it does not go with the bands, or the pooling is unknown.
        """
        super().__post_init__()
        object.__setattr__(self, "bands", tuple(self.bands))
        if self.pooling not in get_args(Pooling):
            msg = f"pooling is {self.pooling!r}; choose {' or '.join(get_args(Pooling))}."
            raise HasherError(msg)
        if self.dimensions != len(self.bands) * self.parts:
            msg = (
                f"{self.pooling} of {len(self.bands)} bands makes {len(self.bands) * self.parts} "
                f"numbers, not {self.dimensions}."
            )
            raise HasherError(msg)

    @classmethod
    def of(
        cls,
        text: str,
        *,
        num_bands: int | None = None,
        tile_size: int | None = None,
        pooling: Pooling = "mean",
        device: str | torch.device = "cpu",
    ) -> Self:
        """Look up a product.

        Args:
            text: ``NAME``, ``NAME:VERSION`` or ``NAME:VERSION:VARIANT`` of alphaearth, tessera,
                presto or copernicus-embed; or ``raw``, ``raw:MODEL`` and so on for any other
                raster whose bands are a vector.
            num_bands: Bands of the rasters; needed for ``raw`` only.
            tile_size: Side of a tile, px; None uses the product's, which is 16, or 1 of
                copernicus-embed.
            pooling: As in the class.
            device: As in `Embedding`.

        Returns:
            The embedding.

        Raises:
            HasherError: If the product is unknown, or the rasters have another number of bands.
        """
        name, *said = (part.strip() for part in text.split(":"))
        product = PRODUCTS.get(name.lower())
        most = 3 if product is not None and product.name == RAW else 2
        if product is None or len(said) > most:
            msg = f"embedding {text!r} is not known; use {FORM}, with one of {', '.join(PRODUCTS)}."
            raise HasherError(msg)
        model = name.lower()
        if product.name == RAW:
            model, said = (said[0], said[1:]) if said else ("", [])
        version, variant = (*said, "", "")[:2]
        bands = product.bands or tuple(f"dim_{i}" for i in range(num_bands or 0))
        if not bands or num_bands not in (None, len(bands)):
            need = f"{len(bands)} bands" if bands else "a known number of bands"
            msg = f"{product.title} has {need}, but the rasters have {num_bands}."
            raise HasherError(msg)
        return cls(
            model,
            len(bands) * (1 if pooling == "mean" else 2),
            version=version or product.version,
            variant=variant,
            bands=bands,
            tile_size=tile_size or product.tile_size,
            encoded=product.encoded,
            pooling=pooling,
            device=device,
        )

    @property
    def parts(self) -> int:
        """Numbers of a feature for each band."""
        return 1 if self.pooling == "mean" else 2

    @property
    def reads_pixels(self) -> bool:
        """Whether it computes features of pixels: yes."""
        return True

    @property
    def input_size(self) -> int:
        """Side of the network's input, px: no network is used."""
        return 1

    @property
    def description(self) -> dict[str, Any]:
        """All settings, as JSON values."""
        return super().description | {
            "pixels": {"encoded": self.encoded, "pooling": self.pooling},
        }

    @classmethod
    def from_description(cls, about: Mapping[str, Any], *, device: str | torch.device) -> Self:
        """Make the embedding that a hasher's description names."""
        names = ("bands", "tile_size", "resolution")
        return cls(
            **about["embedding"],
            **{name: about[name] for name in names},
            **{name: about["pixels"][name] for name in ("encoded", "pooling")},
            device=device,
        )

    def equals(self, other: object) -> bool:
        """Return whether another extractor makes the same features of the same pixels."""
        if not isinstance(other, PixelEmbedding):
            return False
        mine, theirs = ({**one.description, "tile_size": 0} for one in (self, other))
        return mine == theirs

    def decode(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Decode pixels.

        Args:
            pixels: Pixels as stored, any shape.

        Returns:
            Numbers of vectors, same shape; NaN where encoded pixels are nothing. Encoded ones are
            ``sign(v) * (abs(v) / 127.5) ** 2`` in float64, rounded to float32 once.

        Raises:
            HasherError: If encoded pixels are expected and these are of another type.

        References:
            https://developers.google.com/earth-engine/guides/aef_on_gcs_readme
        """
        if not self._is_encoded(pixels.dtype):
            return pixels.astype(np.float32)
        decoded: npt.NDArray[np.float32] = TABLE[pixels.view(np.uint8)]
        return decoded

    def pool(
        self,
        pixels: npt.NDArray[Any],
        windows: npt.NDArray[np.int64],
        *,
        hidden: npt.NDArray[np.bool_] | None = None,
        nodata: float | None = None,
        rescaling: Conversion | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Compute the features of tiles.

        Sums are exact for encoded pixels, and in float64 for others, row by row and then column by
        column; a tile's feature does not depend on which other tiles are read with it.

        Args:
            pixels: Pixels as stored, shape (bands, height, width).
            windows: (col, row, width, height) of tiles inside the pixels, int64, shape (n, 4).
            hidden: Pixels that the raster's own mask hides, shape (height, width), or None.
            nodata: Value of pixels without data; encoded ones have their own, -128.
            rescaling: Scale and offset that the file states; encoded pixels have their own.

        Returns:
            Features, float32, shape (n, num_features), zero where a tile has no valid pixel or its
            vectors cancel out; and the number of valid pixels of each tile, int64, shape (n,).

        Raises:
            HasherError: If encoded pixels are expected and these are of another type or range.
        """
        encoded = self._is_encoded(pixels.dtype)
        valid = valid_pixels(pixels, encoded=encoded, nodata=nodata)
        if hidden is not None:
            valid[hidden] = 0
        sums = sum_tiles(pixels, valid, windows, encoded=encoded, squares=self.parts > 1)
        first, second = _means(sums, STEP**2 if encoded else 1.0)
        if rescaling is not None and not encoded:
            gain, shift = np.array(rescaling.gain), np.array(rescaling.shift)
            first = np.where(sums.counts[:, None] > 0, first * gain + shift, 0.0)
            second = None if second is None else second * np.abs(gain)
        if self.encoded and not encoded and np.abs(first).max(initial=0) > LONGEST:
            msg = (
                f"{self.model}: pixels of {pixels.dtype} have means up to "
                f"{np.abs(first).max():.4g}, but decoded vectors have length 1; they are 8-bit "
                "numbers in another type. Store them as int8 ('gdal_translate -ot Int8')."
            )
            raise HasherError(msg)
        both = first if second is None else np.concatenate([first, second], axis=1)
        length = np.sqrt((both * both).sum(axis=1, keepdims=True))
        # a constant tile has a deviation, of rounding; one without a mean has no direction
        some = (length > 0) & first.any(axis=1, keepdims=True)
        features = np.divide(both, length, out=np.zeros_like(both), where=some)
        return features.astype(np.float32), sums.counts

    def features(self, tiles: Tensor) -> Tensor:
        """Compute the features of tiles.

        Args:
            tiles: Pixels as stored, shape (tiles, bands, height, width), nodata included; or
                features that `pool` has made of them, float32, shape (tiles, num_features), which
                are returned.

        Returns:
            Features, float32, shape (tiles, num_features).

        Raises:
            BandMismatchError: If the tiles have another number of bands.
            HasherError: If the tiles are not such an array, or a tile has no valid pixel.
        """
        if isinstance(tiles, Tensor) and tiles.ndim == 2 and tiles.shape[1] == self.dimensions:
            return tiles
        if not isinstance(tiles, Tensor) or tiles.ndim != 4 or 0 in tiles.shape[2:]:
            found = tuple(tiles.shape) if isinstance(tiles, Tensor) else type(tiles).__name__
            msg = f"tiles are {found}; use a tensor of shape (tiles, bands, height, width)."
            raise HasherError(msg)
        if tiles.shape[1] != len(self.bands):
            msg = f"tiles have {tiles.shape[1]} bands, but {self} has {len(self.bands)}."
            raise BandMismatchError(msg)
        whole = np.array([[0, 0, tiles.shape[3], tiles.shape[2]]], np.int64)
        pooled = [self.pool(tile, whole)[0] for tile in tiles.cpu().numpy()]
        features = np.concatenate([np.empty((0, self.dimensions), np.float32), *pooled])
        nothing = np.flatnonzero(~features.any(axis=1))
        if len(nothing):
            msg = (
                f"{len(nothing)} of {len(tiles)} tiles have no pixel with a vector (first: tile "
                f"{nothing[0]}); leave them out."
            )
            raise HasherError(msg)
        return torch.from_numpy(features)

    def averages(self, tiles: Tensor, *, views: Sequence[str], head: Head | None = None) -> Tensor:
        """Compute features, or the output of a head; no mean changes if a tile is turned.

        Args:
            tiles: As in `features`.
            views: Views of a tile, which all have the same features.
            head: The head, on the device, or None.

        Returns:
            Float32, shape (tiles, num_features or num_bits), on the CPU.

        Raises:
            BandMismatchError: As `features`.
            HasherError: As `features`.
        """
        features = self.features(tiles)
        return features if head is None else self._heads(features, head)

    def averages_and_features(
        self, tiles: Tensor, *, views: Sequence[str], head: Head
    ) -> tuple[Tensor, Tensor]:
        """Compute the output of a head, and the features.

        Args:
            tiles: As in `features`.
            views: As in `averages`.
            head: As in `averages`.

        Returns:
            As `averages` and `features`.

        Raises:
            BandMismatchError: As `features`.
            HasherError: As `features`.
        """
        features = self.features(tiles)
        return self._heads(features, head), features

    def _heads(self, features: Tensor, head: Head) -> Tensor:
        with torch.inference_mode():
            starts = range(0, len(features), ROWS)
            parts = [head(features[i : i + ROWS].to(self.device)).cpu() for i in starts]
        return torch.cat([torch.empty(0, head.num_bits), *parts])

    def _is_encoded(self, dtype: np.dtype[Any]) -> bool:
        """Return whether pixels of a type are to be decoded.

        Raises:
            HasherError: If they are neither encoded nor floats, though they should be.
        """
        if not self.encoded or dtype.kind == "f":
            return False
        if dtype != ENCODED:
            msg = (
                f"{self.model} has pixels of int8, or decoded ones of float32, but these are "
                f"{dtype}; get the published files, or convert them with 'gdal_translate -ot Int8'."
            )
            raise HasherError(msg)
        return True


def _means(sums: TileSums, scale: float) -> tuple[npt.NDArray[np.float64], Any]:
    """Return means, and standard deviations or None, each of shape (tiles, bands)."""
    counts = np.maximum(sums.counts, 1)[:, None].astype(np.float64)
    first = sums.first / counts / scale
    if sums.second is None:
        return first, None
    spread = sums.second / counts / scale**2 - first * first
    return first, np.sqrt(np.maximum(spread, 0))


def _table() -> npt.NDArray[np.float32]:
    """Decode every int8, in the order of its bits as an unsigned number."""
    stored = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.float64)
    decoded = np.sign(stored) * (np.abs(stored) / STEP) ** 2
    decoded[stored == NOTHING] = np.nan
    return decoded.astype(np.float32)


TABLE = _table()
ROWS = 16_384  # features in the head at once
