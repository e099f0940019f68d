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
from geohash_rs.scenes.reader import TileReader
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
