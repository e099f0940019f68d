"""Train on your own scenes: polygons define the classes, blocks of ground define the parts."""

from collections.abc import Sequence
from dataclasses import asdict

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from geohash_rs.errors import TrainingError
from geohash_rs.hashing.data.blocks import split_by_blocks
from geohash_rs.hashing.data.class_folder_module import BalancedDataModule
from geohash_rs.hashing.data.polygons import label_tiles, read_labels
from geohash_rs.hashing.data.scene_tiles import SceneTiles
from geohash_rs.scenes.dataset import Scenes, Tile
from geohash_rs.scenes.grid import Edges, GridSettings, TileGrid
from geohash_rs.scenes.pixels import fill_invalid, north_up, stack_images
from geohash_rs.scenes.values import Conversion, Values

__all__ = ["LabelledSceneDataModule", "SceneTileDataset"]

Ints = npt.NDArray[np.int64]


class SceneTileDataset(Dataset[dict[str, Tensor]]):
    """Tiles of scenes as TorchGeo samples: ``image``, raw pixels, and ``label``.

    Args:
        scenes: The scenes.
        tiles: int64 (scene, col, row, width, height), shape (tiles, 5).
        targets: Class of each tile, an index.
        shape: Height and width to resample tiles to; None keeps their own.
        values: Kinds of values that the scenes hold; others are converted to the first.
    """

    def __init__(
        self,
        scenes: Scenes,
        tiles: Ints,
        *,
        targets: Sequence[int],
        shape: tuple[int, int] | None = None,
        values: Sequence[Values] = (),
    ) -> None:
        self.scenes = scenes
        self.tiles = tiles
        self.targets = list(targets)
        self.shape = shape
        self.values = values
        self._conversions: dict[int, Conversion | None] = {}

    def __len__(self) -> int:
        return len(self.tiles)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Read one tile, north up, nodata filled as in hashing."""
        tile = Tile(*self.tiles[index].tolist())
        scene = self.scenes.scene_files[tile.scene]
        pixels = self.scenes.read(tile, shape=self.shape)
        filled = fill_invalid(pixels, self.scenes.nodata_of(tile.scene))
        if tile.scene not in self._conversions:
            self._conversions[tile.scene] = self.scenes.conversion(
                tile.scene, indexes=scene.band_indexes(self.scenes.bands), known=self.values
            )
        conversion = self._conversions[tile.scene]
        filled = filled if conversion is None else conversion.apply(filled)
        image = north_up(filled, scene.transform)
        return {
            "image": stack_images([image])[0].float(),
            "label": torch.tensor(self.targets[index]),
        }


class LabelledSceneDataModule(BalancedDataModule):
    """Tiles of GeoTIFF scenes, labelled by the polygons that cover them.

    A tile gets the class that covers most of it, if that is at least ``min_share`` of the tile;
    other tiles are left out. All labelled tiles are read once before training. If one of them
    cannot be read, its scene is left out, with a warning that names it. Parts are split by blocks
    of ground: all tiles of a block, from every scene and date, are in one part. Tiles that overlap
    another part across the edge of a block are left out.

    Args:
        paths: Folders, files or URIs of scenes, as for `Scenes`.
        labels: Vector file of polygons: GeoPackage, GeoJSON and the like, in any CRS.
        column: Its column with the class.
        layer: Its layer, where it has several.
        tile_size: Columns and rows of a tile, px.
        stride: Step between tiles, px; None uses the tile size.
        resolution: Ground size of a tile's pixel, m, if scenes differ; None keeps their own.
        bands: One-based indexes or names of the bands; None means all but alpha.
        nodata: Value of missing pixels; None uses each file's own.
        max_nodata: Tiles with a larger share of invalid pixels are left out.
        min_share: Smallest share of a tile that its class must cover.
        edges: As in `GridSettings`.
        block_km: Side of a block of ground, km.
        fractions: Shares of training and validation; the rest is the test part.
        classes_per_batch: Classes in a training batch. Default: the task's, or 15 if it has none.
        samples_per_class: Tiles of each class in a training batch. Default: the task's, or 6.
        batch_size: Tiles in a batch of validation and test.
        num_workers: Processes that read.
        seed: Seed of the split and of the batches.

    Attributes:
        classes: Names of the classes, sorted; a label is an index into them.
        footprints: Tiles and their classes by part, as GeoDataFrames in EPSG:4326.
    """

    def __init__(
        self,
        paths: str | list[str],
        labels: str,
        *,
        column: str = "class",
        layer: str | None = None,
        tile_size: int = 64,
        stride: int | None = None,
        resolution: float | None = None,
        bands: list[int | str] | None = None,
        nodata: float | None = None,
        max_nodata: float = 0.5,
        min_share: float = 0.5,
        edges: Edges = "shift",
        block_km: float = 5.0,
        fractions: tuple[float, float] = (0.6, 0.2),
        classes_per_batch: int | None = None,
        samples_per_class: int | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            classes_per_batch=classes_per_batch,
            samples_per_class=samples_per_class,
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.paths, self.labels, self.column, self.layer = paths, labels, column, layer
        self.bands, self.nodata = bands, nodata
        self.grid = GridSettings.for_hasher(
            None,
            tile_size=tile_size,
            stride=stride,
            edges=edges,
            max_nodata=max_nodata,
            resolution=resolution,
        )
        self.min_share, self.block_km, self.fractions = min_share, block_km, tuple(fractions)
        self.footprints: dict[str, gpd.GeoDataFrame] = {}

    @property
    def source(self) -> str:
        """The scenes."""
        return self.paths if isinstance(self.paths, str) else ", ".join(self.paths)

    def make_parts(self) -> dict[str, SceneTileDataset]:
        """Lay the grid, label its tiles, leave out those that cannot be used, and split the rest.

        Raises:
            BandMismatchError: If labelled scenes differ in their number of bands.
            LabelError: If the polygons cannot be used.
            SceneError: If no scene can be read.
            TileSizeError: If the grid does not fit the scenes.
            TrainingError: If fewer than two classes cover a tile, or there are too few blocks.
        """
        polygons = read_labels(self.labels, column=self.column, layer=self.layer)
        scenes = Scenes(self.paths, bands=self.bands, nodata=self.nodata)
        grid = TileGrid(scenes, **asdict(self.grid))
        tiles = grid.tiles
        footprints = scenes.tile_footprints([Tile(*row) for row in tiles.tolist()])
        names = label_tiles(footprints, polygons, min_share=self.min_share)
        labelled = np.flatnonzero([name is not None for name in names])
        source = SceneTiles(grid, workers=self.num_workers)
        source.look(tiles[labelled])
        used = labelled[source.usable(tiles[labelled])]
        source.warn()
        self.classes = tuple(sorted(set(names[used])))
        if len(self.classes) < 2:
            limit = self.grid.max_nodata
            msg = (
                f"of {len(tiles)} tiles of {self.source}, {len(labelled)} are covered by polygons "
                f"of {self.labels} to at least {self.min_share:g}, and {len(used)} of these can be "
                f"read with at most {limit:.0%} nodata; they have {len(self.classes)} classes, but "
                "training needs two. Check that polygons and scenes overlap, or lower min_share."
            )
            raise TrainingError(msg)
        tiles, footprints, names = tiles[used], footprints[used], names[used]
        rows = split_by_blocks(
            footprints, names, block_km=self.block_km, fractions=self.fractions, seed=self.seed
        )
        numbers: Ints = np.unique(names.astype(str), return_inverse=True)[1]
        parts = {}
        for kind, part in zip(("train", "val", "test"), rows, strict=True):
            targets = numbers[part].tolist()
            parts[kind] = SceneTileDataset(
                scenes, tiles[part], targets=targets, shape=self.grid.shape, values=source.values
            )
            self.footprints[kind] = gpd.GeoDataFrame(
                {"label": names[part]}, geometry=footprints[part], crs="EPSG:4326"
            )
        return parts
