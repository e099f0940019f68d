import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window

from geohash_rs import Scenes, TileGrid
from geohash_rs.scenes import reader as tile_reader
from geohash_rs.scenes.dataset import Tile
from geohash_rs.scenes.pixels import fill_invalid
from geohash_rs.scenes.reader import TileReader
from geohash_rs.scenes.resampling import is_nodata
from tests.ground import write as write_image
from tests.scenes.test_scenes import write

OPEN_FILES = Path("/proc/self/fd")


@pytest.fixture
def folder(tmp_path):
    """Make scenes of two pixel types, each with 3 x 3 tiles."""
    write(tmp_path / "a.tif")
    write(tmp_path / "b.tif", dtype="uint16")
    write(tmp_path / "c.tif", dtype="uint16")
    return tmp_path


def reader_of(folder, **options):
    scenes = Scenes(folder)
    tiles = TileGrid(scenes, tile_size=32, edges="pad").tiles
    indexes = [scene.color_bands for scene in scenes.scene_files]
    return TileReader(scenes, tiles, indexes=indexes, **{"batch_size": 64, **options})


def open_scenes(folder):
    links = []
    for entry in OPEN_FILES.iterdir():
        try:
            links.append(os.readlink(entry))  # noqa: PTH115 (a link to a socket is not a path)
        except OSError:  # the handle of the listing itself
            continue
    return sorted(Path(link).name for link in links if link.startswith(str(folder)))


def test_batches_hold_every_tile_once_with_one_pixel_type_per_batch(folder):
    reader = reader_of(folder, batch_size=5)
    batches = [reader[i] for i in range(len(reader))]
    assert [str(batch.images.dtype) for batch in batches][:4] == ["torch.uint8"] * 2 + [
        "torch.uint16"
    ] * 2
    assert max(len(batch.tiles) for batch in batches) == 5
    assert np.concatenate([batch.tiles for batch in batches]).tolist() == reader.tiles.tolist()
    for batch in batches:
        for image, tile in zip(batch.images.numpy(), batch.tiles.tolist(), strict=True):
            with rasterio.open(reader.scenes.scene_files[tile[0]].key) as source:
                expected = source.read(window=Window(*tile[1:]))
            height, width = expected.shape[1:]
            np.testing.assert_array_equal(image[:, :height, :width], expected)


def test_each_tile_can_be_resampled_to_its_own_shape(folder):
    reader = reader_of(folder)
    shapes = np.array([(16, 16), (24, 20), (24, 20)])[np.arange(len(reader.tiles)) % 3]
    mixed = reader_of(folder, shape=shapes)
    batches = [mixed[i] for i in range(len(mixed))]
    assert np.concatenate([batch.tiles for batch in batches]).tolist() == reader.tiles.tolist()
    alone = {}
    for shape in {(16, 16), (24, 20)}:
        every = reader_of(folder, shape=shape)
        for batch in (every[i] for i in range(len(every))):
            pairs = zip(batch.tiles.tolist(), batch.images.numpy(), strict=True)
            alone |= {(shape, tuple(tile)): image for tile, image in pairs}
    place = 0
    for batch in batches:
        for image, tile in zip(batch.images.numpy(), batch.tiles.tolist(), strict=True):
            shape = tuple(shapes[place].tolist())
            assert image.shape[1:] == shape
            np.testing.assert_array_equal(image, alone[shape, tuple(tile)])
            place += 1


def test_batches_of_large_tiles_have_bounded_memory(folder, monkeypatch):
    monkeypatch.setattr(tile_reader, "BATCH_BYTES", 4 * 3 * 32 * 32)
    reader = reader_of(folder)
    sizes = [reader[i].images.nbytes for i in range(len(reader))]
    assert max(sizes) == 4 * 3 * 32 * 32
    assert [end - start for start, end in reader.spans][:3] == [4, 4, 1]  # one byte per pixel
    assert {end - start for start, end in reader.spans[3:]} == {2}  # two bytes
    monkeypatch.setattr(tile_reader, "BATCH_BYTES", 1)
    assert {end - start for start, end in reader_of(folder).spans} == {1}


def test_a_reader_of_no_tiles_has_no_batches(folder):
    scenes = Scenes(folder)
    assert len(TileReader(scenes, np.empty((0, 5), np.int64), indexes=[], batch_size=4)) == 0


@pytest.mark.skipif(not OPEN_FILES.exists(), reason="the system does not list open files")
def test_a_scene_is_closed_when_the_next_is_read_and_reopened_on_demand(folder):
    reader = reader_of(folder, batch_size=4)
    first = reader[0].images.clone()
    assert open_scenes(folder) == ["a.tif"]
    for number in range(len(reader)):
        reader[number]
    assert open_scenes(folder) == ["c.tif"]
    assert (reader[0].images == first).all()
    assert open_scenes(folder) == ["a.tif"]


KEPT_OPEN = """
import sys
from geohash_rs import Scenes, TileGrid
from geohash_rs.scenes.dataset import Tile

sys.scenes = Scenes(sys.argv[1])  # goes last, when modules are gone
for values in TileGrid(sys.scenes, tile_size=32, edges="pad").tiles.tolist():
    sys.scenes.read(Tile(*values), indexes=(1, 2, 3))
"""


def test_scenes_open_at_exit_print_nothing(folder):
    done = subprocess.run(
        [sys.executable, "-c", KEPT_OPEN, str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    assert done.stderr == ""


LOWEST = -3.4028234663852886e38  # of float32
STATED = "<PAMDataset>{}</PAMDataset>"
STATED_OF_BAND = "<PAMRasterBand band='{}'><NoDataValue>-3.40282e+38</NoDataValue></PAMRasterBand>"


def test_floats_equal_a_nodata_value_as_they_do_for_gdal(tmp_path):
    image = np.random.default_rng(0).random((3, 64, 64)).astype(np.float32)
    image[:, :, :20] = LOWEST
    image[0, 40:, 40:] = LOWEST
    path = write_image(tmp_path / "esri.tif", image)
    bands = "".join(map(STATED_OF_BAND.format, (1, 2, 3)))
    Path(f"{path}.aux.xml").write_text(STATED.format(bands))
    with rasterio.open(path) as source:
        hidden = source.dataset_mask() == 0
    scenes = Scenes(path)
    pixels = scenes.read(Tile(0, 0, 0, 64, 64), indexes=(1, 2, 3))
    np.testing.assert_array_equal(pixels.invalid, hidden)
    filled = fill_invalid(pixels, scenes.nodata_of(0))
    assert 0 <= filled.min() < filled.max() <= 1
    assert min(scenes.sample(0, indexes=(1, 2, 3)).values.low) >= 0


@pytest.mark.parametrize(
    ("dtype", "nodata"),
    [
        ("float32", 0.1),
        ("float32", -9999.9),
        ("float32", 0.0),
        ("float32", -3.40282e38),
        ("float32", 1e20),
        ("float32", np.inf),
        ("float64", 1e40),
        ("float64", -1.7976931348623157e308),
        ("int16", -9999.0),
    ],
)
def test_values_next_to_a_nodata_value_are_compared_as_gdal_does(tmp_path, dtype, nodata):
    near = np.full(9, nodata, dtype)
    if near.dtype.kind == "f":
        with np.errstate(over="ignore"):
            steps = np.array([-64, -8, -1, 0, 1, 8, 64]) * np.finfo(np.float32).eps
            near[:7] = near[:7] * (1 + steps.astype(dtype))
    near[7:] = (1, -2)
    path = write_image(tmp_path / "near.tif", near[None, None], nodata=nodata)
    with rasterio.open(path) as source:
        hidden = source.dataset_mask()[0] == 0
    same = is_nodata(near, nodata)
    np.testing.assert_array_equal(same[np.isfinite(near)], hidden[np.isfinite(near)])
