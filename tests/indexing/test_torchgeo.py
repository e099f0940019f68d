"""Datasets and samplers of TorchGeo feed an archive."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from torchgeo.datasets import BigEarthNet, EuroSAT100, RasterDataset

from geohash_rs import Archive, Scenes
from geohash_rs._compat import TORCHGEO_VERSION
from geohash_rs.errors import GeoHashRSWarning, HasherError, SceneError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from torchgeo.samplers import GridGeoSampler, RandomGeoSampler

# TorchGeo 0.10 deprecates these two samplers in favour of patch samplers; both must work:
# https://torchgeo.readthedocs.io/en/stable/api/samplers.html
deprecated = pytest.mark.filterwarnings(
    "ignore:Use torchgeo.samplers:DeprecationWarning",
    "ignore:Use geopandas.GeoSeries.sample_points:DeprecationWarning",
)
patch_samplers = pytest.mark.skipif(
    TORCHGEO_VERSION < (0, 10), reason="patch samplers came with TorchGeo 0.10"
)


pytestmark = pytest.mark.usefixtures("small_input")


class Photos(RasterDataset):
    filename_glob = "a_20230601.tif"
    filename_regex = r"a_(?P<date>\d{8})"


class Both(RasterDataset):
    filename_glob = "a_*.tif"
    filename_regex = r"a_(?P<date>\d{8})"


@pytest.fixture
def empty(archive_folder: Path, tmp_path: Path) -> Archive:
    return Archive.create(
        tmp_path / "archive", hasher=Archive.open(archive_folder, mode="r").hasher()
    )


def pixel_bounds(frame: object, scene: Path) -> np.ndarray:
    """Convert footprints to pixels of the scene."""
    with rasterio.open(scene) as source:
        bounds = frame.to_crs(source.crs).geometry.bounds.to_numpy()
        origin = np.array([source.transform.c, source.transform.f])
    return np.column_stack([(bounds[:, 0] - origin[0]) / 10, (origin[1] - bounds[:, 3]) / 10])


@deprecated
def test_tiles_of_a_grid_sampler_are_located(empty: Archive, scene_folder: Path) -> None:
    dataset = Photos(scene_folder)
    report = empty.add(dataset, sampler=GridGeoSampler(dataset, size=64, stride=64))
    assert report.num_tiles == 20
    frame = empty.tiles(np.arange(20))
    scene = scene_folder / "a_20230601.tif"
    assert set(frame["scene"]) == {str(scene)}
    corners = pixel_bounds(frame, scene)
    assert np.abs(corners - np.round(corners / 64) * 64).max() < 1e-5
    assert frame["datetime"].dt.strftime("%Y%m%d").unique().tolist() == ["20230601"]
    found = empty.query(scene, window=(64, 64, 64, 64), k=1)
    assert found["distance"].tolist() == [0]


@deprecated
def test_tiles_of_a_random_sampler_are_located(empty: Archive, scene_folder: Path) -> None:
    dataset = Photos(scene_folder)
    sampler = RandomGeoSampler(dataset, size=64, length=10)
    assert empty.add(dataset, sampler=sampler, workers=1).num_tiles == 10
    corners = pixel_bounds(empty.tiles(np.arange(10)), scene_folder / "a_20230601.tif")
    assert (corners >= -1e-6).all()
    assert (corners[:, 0] <= 256 + 1e-6).all()


@deprecated
def test_a_dataset_with_bands_in_another_order_is_named(
    empty: Archive, scene_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "bgr").mkdir()
    path = tmp_path / "bgr" / "a_20230601.tif"
    with rasterio.open(scene_folder / "a_20230601.tif") as source:
        profile, pixels = source.profile, source.read()
    with rasterio.open(path, "w", **profile | {"photometric": "MINISBLACK"}) as target:
        target.write(pixels[::-1])
        target.descriptions = ("blue", "green", "red")
    dataset = Photos(tmp_path / "bgr")
    expected = r"a_20230601\.tif are blue, green, red, but the hasher expects red, green, blue"
    with pytest.warns(GeoHashRSWarning, match=expected) as told:
        empty.add(dataset, sampler=GridGeoSampler(dataset, size=64, stride=64))
    assert sum("but the hasher expects" in str(each.message) for each in told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", GeoHashRSWarning)
        dataset = Photos(scene_folder)
        empty.add(dataset, sampler=GridGeoSampler(dataset, size=64, stride=64))


@deprecated
def test_a_tile_of_several_files_names_them(empty: Archive, scene_folder: Path) -> None:
    dataset = Both(scene_folder)
    sampler = GridGeoSampler(dataset, size=64, stride=64)
    empty.add(dataset, sampler=sampler)
    scenes = set(empty.tiles(np.arange(empty.num_tiles))["scene"])
    assert any(" + " in scene for scene in scenes) or len(scenes) == 2


@deprecated
def test_an_intersection_of_datasets_feeds_an_archive(
    archive_folder: Path, scene_folder: Path, tmp_path: Path
) -> None:
    class Later(RasterDataset):
        filename_glob = "a_20230901.tif"

    class Plain(RasterDataset):
        filename_glob = "a_20230601.tif"

    dataset = Plain(scene_folder) & Later(scene_folder)
    archive = Archive.create(tmp_path / "six", hasher="itq-8")
    sampler = GridGeoSampler(dataset, size=64, stride=64)
    assert archive.add(dataset, sampler=sampler).num_tiles == 20
    assert len(archive.hasher().bands) == 6
    assert " + " in archive.tiles([0])["scene"].iloc[0]


@patch_samplers
def test_patch_and_temporal_samplers_feed_an_archive(empty: Archive, scene_folder: Path) -> None:
    from torchgeo.samplers import GriddedPatchSampler, SequentialTimestampSampler

    dataset = Photos(scene_folder)
    spatial = GriddedPatchSampler(dataset, size=64, stride=64)
    assert empty.add(dataset, sampler=spatial).num_tiles == 20
    both = Both(scene_folder)
    combined = GriddedPatchSampler(both, size=64, stride=64) @ SequentialTimestampSampler(both)
    report = empty.add(both, sampler=combined)
    assert report.num_tiles == 40
    frame = empty.tiles(np.arange(20, 60))
    assert frame["datetime"].dt.strftime("%Y%m%d").value_counts().to_dict() == {
        "20230601": 20,
        "20230901": 20,
    }


@deprecated
def test_torchgeo_samplers_draw_from_scenes(scene_folder: Path) -> None:
    scenes = Scenes(scene_folder / "a_20230601.tif")
    for slices in RandomGeoSampler(scenes, size=64, length=4):
        sample = scenes[slices]
        assert sample["image"].shape == (3, 64, 64)
        _, col, row, width, height = sample["tile"].tolist()
        with rasterio.open(scene_folder / "a_20230601.tif") as source:
            window = rasterio.windows.Window(col, row, width, height)
            assert (sample["image"].numpy() == source.read(window=window, boundless=True)).all()


def test_eurosat_is_placed_by_its_files(shared_data: Path, tmp_path: Path) -> None:
    dataset = EuroSAT100(str(shared_data / "eurosat100"), split="val")
    archive = Archive.create(tmp_path / "archive", hasher="itq-16")
    report = archive.add(dataset)
    assert (report.num_tiles, report.num_scenes) == (20, 20)
    frame = archive.tiles(np.arange(20))
    assert set(frame["label"]) == set(dataset.classes)
    assert len(archive.hasher().bands) == 13
    for row in frame.itertuples():
        with rasterio.open(row.scene) as source:
            native = frame[frame["tile_id"] == row.tile_id].to_crs(source.crs)
            assert np.abs(np.subtract(native.total_bounds, source.bounds)).max() < 1e-5
    assert archive.add(dataset).num_tiles == 0
    subset = torch.utils.data.Subset(dataset, [3, 4])
    other = Archive.create(tmp_path / "other", hasher=archive.hasher())
    other.add(subset)
    assert set(other.tiles([0, 1])["scene"]) == {
        str(Path(dataset.imgs[i][0]).absolute()) for i in (3, 4)
    }


def test_bigearthnet_is_placed_by_its_files(shared_data: Path, tmp_path: Path) -> None:
    from torchgeo.datasets import NonGeoDataset

    class Tiny(NonGeoDataset):
        """The patches in the folder, read by BigEarthNet's own loader."""

        def __init__(self, root: Path) -> None:
            self.folders = sorted(path for path in root.iterdir() if path.is_dir())

        def __len__(self) -> int:
            return len(self.folders)

        def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
            return {"image": BigEarthNet._load_image(self, index)}

        bands = "s2"
        image_size = (120, 120)

        def _load_paths(self, index: int) -> list[str]:
            return [str(path) for path in sorted(self.folders[index].glob("*_B*.tif"))]

    dataset = Tiny(shared_data / "bigearthnet_tiny")
    archive = Archive.create(tmp_path / "archive", hasher="itq-8")
    assert archive.add(dataset).num_tiles == 11
    frame = archive.tiles(np.arange(11))
    frame = frame[frame["scene"] == str(dataset.folders[0])]
    with rasterio.open(dataset._load_paths(0)[1]) as source:
        bounds = frame.to_crs(source.crs).total_bounds
        assert np.abs(np.subtract(bounds, source.bounds)).max() < 1e-5


def test_a_sampler_without_samples_leaves_nothing_to_fit_on(
    scene_folder: Path, tmp_path: Path
) -> None:
    archive = Archive.create(tmp_path / "archive", hasher="general-16")
    with pytest.raises(HasherError, match="no tiles to fit a hasher on"):
        archive.add(Photos(str(scene_folder)), sampler=torch.utils.data.SequentialSampler([]))


def test_datasets_without_a_location_are_refused(empty: Archive, scene_folder: Path) -> None:
    with pytest.raises(SceneError, match="needs sampler="):
        empty.add(Photos(scene_folder))
    tensors = torch.utils.data.TensorDataset(torch.zeros(2, 3, 64, 64))
    with pytest.raises(SceneError, match="TensorDataset does not name the georef"):
        empty.add(tensors)
