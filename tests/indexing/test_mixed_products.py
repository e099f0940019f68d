"""Rasters of an embedding among others are never taken for pictures without a word."""

import numpy as np
import pytest

from geohash_rs import Archive, Scenes
from geohash_rs.errors import HasherMismatchError, SceneError
from tests.pixels import (
    ALPHAEARTH_BANDS,
    alphaearth,
    encoded,
    tessera,
    unit_field,
    write_raster,
)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return encoded(unit_field(64, 64))


@pytest.fixture
def archive(tmp_path):
    return Archive.create(tmp_path / "archive", hasher="lsh-64")


@pytest.fixture
def nothing_is_read(monkeypatch):
    def fail(*_args, **_options):
        raise AssertionError("pixels were read")

    monkeypatch.setattr(Scenes, "read_block", fail)
    monkeypatch.setattr(Scenes, "read", fail)
    monkeypatch.setattr(Scenes, "read_tile", fail, raising=False)


@pytest.mark.usefixtures("nothing_is_read")
def test_two_products_are_refused_before_anything_is_read(tmp_path, archive, pixels):
    one = alphaearth(tmp_path / "aef", pixels)
    other = tessera(tmp_path / "tessera", unit_field(128, 64).astype(np.float32))
    words = rf"AlphaEarth .*{one.name}.*TESSERA .*{other.name}.*each into its own archive"
    with pytest.raises(HasherMismatchError, match=words) as caught:
        archive.add(Scenes([one, other]))
    assert "embedding=" not in str(caught.value)
    assert len(archive) == 0


@pytest.mark.usefixtures("nothing_is_read")
def test_a_product_and_a_raster_without_names_are_refused_with_both_ways_out(
    tmp_path, archive, pixels
):
    one = alphaearth(tmp_path / "aef", pixels)
    other = write_raster(tmp_path / "plain.tif", pixels, nodata=-128)
    words = rf'{one.name}.*plain.tif.*each into its own archive.*embedding="alphaearth"'
    for scenes in ([one, other], [other, one]):
        with pytest.raises(HasherMismatchError, match=words):
            archive.add(Scenes(scenes))
    photo = write_raster(tmp_path / "photo.tif", np.full((3, 64, 64), 90, np.uint8))
    with pytest.raises(HasherMismatchError, match=r"photo.tif.*own archive\.$"):
        archive.add(Scenes([photo, one]))


def test_what_is_named_or_known_to_the_archive_is_added(tmp_path, archive, pixels):
    one = alphaearth(tmp_path / "aef", pixels)
    other = write_raster(tmp_path / "plain.tif", pixels, nodata=-128)
    report = archive.add(Scenes([one, other]), embedding="alphaearth")
    assert (report.num_tiles, report.skipped, report.num_scenes) == (32, [], 2)
    third = write_raster(tmp_path / "third.tif", pixels, nodata=-128)
    fourth = alphaearth(tmp_path / "more", pixels)
    report = archive.add(Scenes([third, fourth]))
    assert (report.num_tiles, report.skipped) == (32, [])
    assert not any("look like" in note for note in report.notes)


@pytest.mark.parametrize(
    ("bands", "kind", "nodata", "words"),
    [
        (64, np.int8, -128, 'such as embedding="alphaearth"'),
        (40, np.float32, None, 'such as embedding="raw:MODEL"'),
    ],
)
def test_many_bands_hashed_as_a_picture_are_noted(tmp_path, bands, kind, nodata, words):
    field = unit_field(bands, 256, patch=64)
    made = encoded(field) if kind is np.int8 else field.astype(kind)
    path = write_raster(tmp_path / "plain.tif", made, nodata=nodata)
    archive = Archive.create(tmp_path / "pictures", hasher="general-32")
    report = archive.add(Scenes(path), tile_size=64)
    assert report.num_tiles == 16
    (note,) = [note for note in report.notes if "look like" in note]
    assert f"plain.tif: {bands} bands" in note
    assert words in note
    few = Archive.create(tmp_path / "few", hasher="general-32")
    report = few.add(Scenes(path, bands=[1, 2, 3]), tile_size=64)
    assert not any("look like" in note for note in report.notes)


@pytest.mark.parametrize("embedding", [None, "alphaearth"])
def test_numbers_of_another_type_alone_are_refused_for_that_reason(
    tmp_path, archive, pixels, embedding
):
    wide = write_raster(tmp_path / "wide.tif", pixels.astype(np.int16), names=ALPHAEARTH_BANDS)
    report = archive.add(Scenes(wide), embedding=embedding)
    ((scene, reason),) = report.skipped
    assert scene == str(wide)
    assert "wide.tif: alphaearth has pixels of int8" in reason
    assert "these are int16" in reason
    assert "gdal_translate -ot Int8" in reason
    with pytest.raises(SceneError, match="wide.tif: .*gdal_translate -ot Int8"):
        archive.add(Scenes(wide), embedding=embedding, strict=True)


def test_a_picture_that_cannot_be_read_is_refused_for_that_reason(tmp_path, archive):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 255, (3, 256, 256), dtype=np.uint8)
    path = write_raster(tmp_path / "photo.tif", photo)
    with path.open("r+b") as file:  # the directory at its end stays
        file.seek(1000)
        file.write(bytes(100_000))
    ((_, reason),) = archive.add(Scenes(path), tile_size=64).skipped
    assert "nothing to fit a hasher on" not in reason
    assert "photo.tif" in reason
