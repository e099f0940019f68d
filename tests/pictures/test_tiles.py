"""Pictures show the bands that a person expects."""

import numpy as np
import pytest
import rasterio
from affine import Affine

from geohash_rs.errors import PatchError
from geohash_rs.pictures.tiles import Thumbnails
from geohash_rs.retrieval.patch import read_patch
from geohash_rs.serve.uploads import clean_patch

UTM = Affine(10, 0, 500_000, 0, -10, 5_000_000)
RGB = ("red", "green", "blue")
NOISE = np.random.default_rng(0).integers(20, 220, (4, 64, 64)).astype(np.uint8)


def write(path, pixels, *, texts=None, colours=None, **options):
    with rasterio.open(
        path, "w", driver="GTiff", count=len(pixels), height=64, width=64, dtype="uint8",
        crs="EPSG:32632", transform=UTM, **options
    ) as target:  # fmt: skip
        if colours:
            target.write_colormap(1, colours)
        target.write(pixels)
        if texts:
            target.descriptions = texts
    return path


def near_infrared(path):
    """Write red, green, blue and near infrared with the driver's defaults; half of it is water."""
    pixels = NOISE.copy()
    pixels[3, :32] = 0
    return write(path, pixels)


def test_near_infrared_that_is_flagged_as_alpha_hides_nothing(tmp_path):
    picture = Thumbnails().read(str(near_infrared(tmp_path / "x.tif")), (0, 0, 64, 64), size=64)
    np.testing.assert_array_equal(np.moveaxis(picture[..., :3], -1, 0), NOISE[:3])
    assert (picture[..., 3] == 255).all()


def test_red_green_and_blue_are_shown_wherever_they_are(tmp_path):
    path = write(tmp_path / "x.tif", NOISE[[3, 2, 1, 0]], texts=("nir", "blue", "green", "red"))
    picture = Thumbnails().read(str(path), (0, 0, 64, 64), size=64)
    np.testing.assert_array_equal(np.moveaxis(picture[..., :3], -1, 0), NOISE[:3])


def test_an_upload_is_read_as_its_file_is(tmp_path):
    colours = {number: (number, 255 - number, 7, 255) for number in range(256)}
    paths = [
        near_infrared(tmp_path / "rgbn.tif"),
        write(tmp_path / "bgr.tif", NOISE[[2, 1, 0]], texts=("blue", "green", "red")),
        write(tmp_path / "palette.tif", NOISE[:1], colours=colours),
    ]
    for path in paths:
        own = read_patch(path, names=RGB, tile_sizes={None: [64]}).tiles
        with clean_patch(path.read_bytes(), name=path.name) as copy:
            sent = read_patch(copy, names=RGB, tile_sizes={None: [64]}).tiles
        np.testing.assert_array_equal(sent, own)
        assert own.shape == (1, 3, 64, 64)


def test_an_upload_of_several_pages_is_refused(tmp_path):
    path = write(tmp_path / "pages.tif", NOISE[:3])
    write(path, NOISE[:3], APPEND_SUBDATASET="YES")
    with (
        pytest.raises(PatchError, match="pages.tif has 2 pages; drop a file"),
        clean_patch(path.read_bytes(), name=path.name),
    ):
        pass
