"""Pixels of published embeddings become features of tiles: decoded, averaged, of length one."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from geohash_rs import Hasher
from geohash_rs.errors import BandMismatchError, HasherError, HasherMismatchError
from geohash_rs.hashing import PixelEmbedding, fit_embedding
from geohash_rs.hashing.pixels import sums
from geohash_rs.hashing.pixels.sums import sum_tiles, valid_pixels
from geohash_rs.scenes.values import Conversion
from tests.pixels import encoded, unit_field

AEF = PixelEmbedding.of("alphaearth")


def by_hand(pixels: np.ndarray) -> np.ndarray:
    """Decode AlphaEarth's pixels, average those that are not -128, bring the mean to length 1."""
    stored = pixels.astype(np.float64)
    vectors = np.sign(stored) * (np.abs(stored) / 127.5) ** 2
    seen = ~(pixels == -128).any(axis=0)
    mean = vectors[:, seen].mean(axis=1)
    return mean / np.linalg.norm(mean)


def window(*numbers: int) -> np.ndarray:
    return np.array([numbers], np.int64)


def test_every_stored_number_is_decoded_bit_for_bit_by_the_published_formula():
    stored = np.arange(-127, 128).astype(np.int8)
    numbers = stored.astype(np.float64)
    published = (np.sign(numbers) * (np.abs(numbers) / 127.5) ** 2).astype(np.float32)
    assert AEF.decode(stored).tobytes() == published.tobytes()
    assert np.isnan(AEF.decode(np.array([-128], np.int8))).all()


def test_floats_are_taken_as_decoded():
    vectors = unit_field(64, 16).astype(np.float32)
    assert AEF.decode(vectors).tobytes() == vectors.tobytes()
    tiles = torch.from_numpy(vectors[None])
    mean = vectors.astype(np.float64).mean(axis=(1, 2))
    assert np.allclose(AEF.features(tiles)[0], mean / np.linalg.norm(mean), atol=1e-7)


def test_the_feature_is_the_mean_of_valid_decoded_pixels_of_length_one():
    pixels = encoded(unit_field(64, 16))
    pixels[:, :5, 3:9] = -128
    features = AEF.features(torch.from_numpy(pixels[None])).numpy()
    assert features.dtype == np.float32
    assert np.abs(features[0] - by_hand(pixels)).max() < 1e-7
    assert np.linalg.norm(features[0].astype(np.float64)) == pytest.approx(1, abs=1e-6)


def test_a_mean_of_encoded_numbers_would_be_another():
    pixels = encoded(unit_field(64, 16))
    wrong = pixels.astype(np.float64).mean(axis=(1, 2))
    wrong /= np.linalg.norm(wrong)
    assert np.abs(AEF.features(torch.from_numpy(pixels[None]))[0].numpy() - wrong).max() > 0.01


def test_deviations_follow_the_means_and_both_have_length_one():
    both = replace(AEF, pooling="mean+deviation", dimensions=128)
    pixels = encoded(unit_field(64, 16))
    pixels[:, 0] = -128
    vectors = AEF.decode(pixels).astype(np.float64)[:, 1:].reshape(64, -1)
    expected = np.concatenate([vectors.mean(axis=1), vectors.std(axis=1)])
    expected /= np.linalg.norm(expected)
    assert np.abs(both.features(torch.from_numpy(pixels[None]))[0].numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("kind", ["encoded", "floats", "shorts"])
@pytest.mark.parametrize("squares", [False, True])
def test_compiled_loops_and_numpy_add_up_to_the_same_bits(monkeypatch, kind, squares):
    rng = np.random.default_rng(1)
    pixels = unit_field(8, 96) * 100
    if kind == "encoded":
        pixels = encoded(unit_field(8, 96))
        pixels[:, rng.random((96, 96)) < 0.2] = -128
        pixels[3, 40, 40] = -128  # in one band only
    elif kind == "floats":
        pixels = pixels.astype(np.float32)
        pixels[2, rng.random((96, 96)) < 0.1] = np.nan
        pixels[5, 9, 9], pixels[:, 50, 50] = np.inf, 0
    else:
        pixels = pixels.astype(np.int16)
        pixels[1, rng.random((96, 96)) < 0.1] = -9999
    starts = [0, 16, 20, 75]  # side by side, overlapping, at the edge
    windows = np.array([(x, y, 16, 21) for y in starts for x in starts], np.int64)
    how = {"encoded": kind == "encoded"}
    nodata = -9999 if kind == "shorts" else None
    found = []
    for least in (0, 1 << 60):
        monkeypatch.setattr(sums, "COMPILED", least)
        valid = valid_pixels(pixels, **how, nodata=nodata)
        found.append((valid, *sum_tiles(pixels, valid, windows, **how, squares=squares)))
    for compiled, plain in zip(*found, strict=True):
        assert (compiled is None) == (plain is None)
        assert compiled is None or compiled.tobytes() == plain.tobytes()
    assert 0 < (found[0][0] == 0).mean() < 0.5


def test_a_tile_has_the_same_feature_whatever_is_read_with_it():
    pixels = unit_field(128, 96).astype(np.float32)
    some = PixelEmbedding.of("raw", num_bands=128)
    together, _ = some.pool(pixels, np.array([(x, 32, 16, 16) for x in range(0, 96, 16)]))
    alone, _ = some.pool(np.ascontiguousarray(pixels[:, 32:48, 48:64]), window(0, 0, 16, 16))
    assert together[3].tobytes() == alone[0].tobytes()


def test_what_is_no_vector_has_no_weight():
    vectors = unit_field(8, 16).astype(np.float32)
    raw = PixelEmbedding.of("raw", num_bands=8)
    broken = vectors.copy()
    broken[2, 0], broken[:, 1], broken[4, 2], broken[1, 3] = np.nan, 0, np.inf, -9999
    hidden = np.zeros((16, 16), bool)
    hidden[4] = True
    found, valid = raw.pool(broken, window(0, 0, 16, 16), hidden=hidden, nodata=-9999)
    mean = vectors[:, 5:].astype(np.float64).mean(axis=(1, 2))
    assert valid.tolist() == [11 * 16]
    assert np.allclose(found[0], mean / np.linalg.norm(mean), atol=1e-7)


def test_a_zero_in_one_band_is_a_number_even_if_nodata_is_zero():
    vectors = unit_field(8, 16).astype(np.float32)
    vectors[2] = 0
    found, valid = PixelEmbedding.of("raw", num_bands=8).pool(
        vectors, window(0, 0, 16, 16), nodata=0
    )
    assert valid.tolist() == [256]
    assert found[0, 2] == 0


def test_scale_and_offset_of_a_file_are_applied():
    stored = (unit_field(4, 16) * 1000).astype(np.int16)
    raw = PixelEmbedding.of("raw", num_bands=4)
    rescaling = Conversion(gain=(0.001, 0.002, 0.001, 0.001), shift=(0.0, 0.5, 0.0, -0.25))
    found, _ = raw.pool(stored, window(0, 0, 16, 16), rescaling=rescaling)
    mean = stored.mean(axis=(1, 2)) * rescaling.gain + rescaling.shift
    assert np.allclose(found[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_a_tile_without_a_vector_is_refused_by_number():
    tiles = torch.full((3, 64, 4, 4), 5, dtype=torch.int8)
    tiles[1] = -128
    with pytest.raises(HasherError, match=r"1 of 3 tiles have no pixel with a vector .*tile 1"):
        AEF.features(tiles)


def test_encoded_numbers_of_another_type_are_refused():
    with pytest.raises(HasherError, match=r"pixels of int8, or decoded .* these are int16"):
        AEF.features(torch.ones(1, 64, 4, 4, dtype=torch.int16))
    with pytest.raises(HasherError, match=r"means up to 80, .* 8-bit numbers in another type"):
        AEF.features(torch.full((1, 64, 4, 4), 80.0))


def test_another_number_of_bands_is_refused():
    with pytest.raises(BandMismatchError, match="3 bands, but alphaearth v1 .* has 64"):
        AEF.features(torch.ones(1, 3, 4, 4, dtype=torch.int8))
    with pytest.raises(HasherError, match="TESSERA has 128 bands, but the rasters have 64"):
        PixelEmbedding.of("tessera", num_bands=64)
    with pytest.raises(HasherError, match="a known number of bands"):
        PixelEmbedding.of("raw")


@pytest.mark.parametrize("text", ["alphaerth", "clay", "alphaearth:v1:x:y", ""])
def test_an_unknown_embedding_is_refused(text):
    with pytest.raises(HasherError, match="alphaearth, tessera, presto, copernicus-embed, raw"):
        PixelEmbedding.of(text)


def test_names_say_product_version_and_variant():
    found = PixelEmbedding.of("tessera:v1.1:vultr")
    assert (found.model, found.version, found.variant) == ("tessera", "v1.1", "vultr")
    raw = PixelEmbedding.of("raw:Galileo:2", num_bands=3)
    assert (raw.model, raw.version, raw.bands) == ("Galileo", "2", ("dim_0", "dim_1", "dim_2"))
    assert PixelEmbedding.of("alphaearth").version == "v1"


def test_a_hasher_of_pixels_is_one_file(tmp_path):
    pixels = encoded(unit_field(64, 256))
    tiles = (
        torch.from_numpy(pixels).reshape(64, 16, 16, 16, 16).permute(1, 3, 0, 2, 4).flatten(0, 1)
    )
    made = fit_embedding(AEF.features(tiles).numpy(), embedding=AEF, num_bits=32)
    made.save(tmp_path / "aef.safetensors")
    again = Hasher.from_bytes((tmp_path / "aef.safetensors").read_bytes())
    assert again.fingerprint == made.fingerprint
    assert isinstance(again.pixels, PixelEmbedding)
    assert again.extractor.equals(AEF)
    assert (again.codes(tiles) == made.codes_of(AEF.features(tiles).numpy())).all()
    codes, features = again.codes_and_features(tiles)
    assert (codes == made.codes(tiles)).all()
    assert (features == AEF.features(tiles).numpy()).all()
    assert pickle.loads(pickle.dumps(AEF)).equals(AEF)  # it is sent to reading processes


def test_versions_are_other_spaces():
    one, two = (PixelEmbedding.of(f"tessera:{version}") for version in ("v1", "v2"))
    with pytest.raises(
        HasherMismatchError, match="tile.tiff come from tessera v2.* from tessera v1"
    ):
        one.check_fits(two, what="the vectors of tile.tiff")
    assert not one.equals(two)
    assert not one.equals(replace(one, pooling="mean+deviation", dimensions=256))
    assert one.equals(replace(one, tile_size=99))
