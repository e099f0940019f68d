"""Rasters of published embeddings are scenes: no network, no stretching, exact places and dates."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
import rasterio
from affine import Affine
from pyproj import Transformer
from torchgeo.datasets import RasterDataset

from geohash_rs import Archive, Scenes
from geohash_rs.cli import main
from geohash_rs.errors import (
    HasherError,
    HasherMismatchError,
    QueryError,
    SceneError,
    ValueMismatchError,
)
from geohash_rs.hashing import PixelEmbedding
from tests.benchmarks.pixels import main as benchmark
from tests.pixels import (
    ALPHAEARTH_BANDS,
    BOTTOM_UP,
    NORTH_UP,
    alphaearth,
    encoded,
    tessera,
    unit_field,
    write_raster,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from torchgeo.samplers import GridGeoSampler

deprecated = pytest.mark.filterwarnings("ignore:Use torchgeo.samplers:DeprecationWarning")
SIDE = 160  # px: 100 tiles of 16 px


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    made = encoded(unit_field(64, SIDE))
    made[:, :16, :12] = -128  # three quarters of the first tile
    made[:, 30:34, 30:34] = -128
    return made


@pytest.fixture
def scene(tmp_path, pixels):
    return alphaearth(tmp_path / "aef", pixels)


@pytest.fixture
def archive(tmp_path, scene):
    made = Archive.create(tmp_path / "archive", hasher="general-64", keep_vectors="float16")
    report = made.add(Scenes(scene))
    assert (report.num_tiles, report.num_nodata, report.skipped) == (99, 1, [])
    return made


def feature(
    pixels: np.ndarray, col: int, row: int, width: int = 16, height: int = 16
) -> np.ndarray:
    """Compute the feature of a tile by the published formula in plain NumPy."""
    stored = pixels[:, row : row + height, col : col + width].reshape(len(pixels), -1)
    stored = stored[:, (stored != -128).all(axis=0)].astype(np.float64)
    mean = (np.sign(stored) * (np.abs(stored) / 127.5) ** 2).mean(axis=1)
    return mean / np.linalg.norm(mean)


def test_alphaearth_is_recognised_and_every_vector_is_that_of_the_formula(archive, pixels):
    frame = archive.tiles(np.arange(99))
    hasher = archive.hasher()
    assert isinstance(hasher.extractor, PixelEmbedding)
    assert (hasher.tile_size, hasher.bands) == (16, ALPHAEARTH_BANDS)
    expected = [
        feature(pixels, col, row) for col, row in zip(frame["col"], frame["row"], strict=True)
    ]
    codes = hasher.codes_of(np.array(expected, np.float32))
    found = archive.search(codes, k=1)
    assert (found.distances == 0).all()


def test_bottom_up_rasters_have_right_footprints_and_the_year_of_their_folder(archive, scene):
    frame = archive.tiles(np.arange(99))
    lonlat = Transformer.from_crs("EPSG:32632", "EPSG:4326", always_xy=True)
    for _, tile in frame.iterrows():
        left, low = 500_000 + 10 * tile["col"], 5_000_000 + 10 * tile["row"]  # rows go north
        lon, lat = lonlat.transform([left, left + 160], [low, low + 160])
        bounds = tile.geometry.bounds
        assert bounds == pytest.approx((lon[0], lat[0], lon[1], lat[1]), abs=2e-6)
    assert set(frame["datetime"].dt.strftime("%Y-%m-%d")) == {"2023-01-01"}
    assert set(frame["datetime_end"].dt.strftime("%Y-%m-%d %H:%M")) == {"2023-12-31 23:59"}
    assert set(frame["scene"]) == {str(scene)}


def test_a_patch_finds_its_own_tile_whatever_its_nodata(archive, scene):
    for col, row in ((48, 64), (16, 16), (144, 144)):
        found = archive.query(scene, window=(col, row, 16, 16), k=1)
        assert found[["distance", "col", "row"]].to_numpy().tolist() == [[0, col, row]]


def test_a_patch_of_coarser_pixels_is_compared_by_its_own_vectors(archive, pixels, tmp_path):
    """Pixels of 20 m whose vectors are means of four, decoded: never means of stored numbers."""
    vectors = PixelEmbedding.of("alphaearth").decode(pixels[:, 64:96, 64:96])
    means = vectors.reshape(64, 16, 2, 16, 2).mean(axis=(2, 4))
    transform = Affine(20, 0, 500_640, 0, 20, 5_000_640)
    patch = write_raster(
        tmp_path / "coarse.tif", means, transform=transform, names=ALPHAEARTH_BANDS, block=16
    )
    found = archive.query(patch, window=(0, 0, 8, 8), k=1)
    assert found[["col", "row"]].to_numpy().tolist() == [[64, 64]]
    assert found["distance"].iloc[0] <= 1
    with pytest.raises(QueryError, match="never stretched"):
        archive.query(patch, value_range=(0, 1))


def test_another_ground_size_is_the_mean_of_more_decoded_pixels(tmp_path, scene, pixels):
    archive = Archive.create(tmp_path / "coarse", hasher="lsh-64", keep_vectors="float16")
    # pixels of 20 m on the ground are two of the raster, but for the scale of UTM
    archive.add(Scenes(scene), tile_size=8, resolution=20.004)
    frame = archive.tiles(np.arange(archive.num_tiles))
    assert set(zip(frame["width"], frame["height"], strict=True)) == {(16, 16)}
    expected = [
        feature(pixels, col, row) for col, row in zip(frame["col"], frame["row"], strict=True)
    ]
    codes = archive.hasher().codes_of(np.array(expected, np.float32))
    assert (archive.search(codes, k=1).distances == 0).all()


def test_overlapping_padded_and_several_sizes_are_cut_as_from_any_scene(tmp_path, scene, pixels):
    archive = Archive.create(tmp_path / "several", hasher="lsh-64")
    report = archive.add(
        Scenes(scene), tile_size=(24, 40), stride=(10, 40), edges="pad", max_nodata=0.9
    )
    frame = archive.tiles(np.arange(archive.num_tiles))
    assert report.num_tiles == archive.num_tiles == 15 * 15 + 16
    hasher = archive.hasher()
    for _, tile in frame.iterrows():
        col, row, width, height = (int(tile[n]) for n in ("col", "row", "width", "height"))
        code = hasher.codes_of(feature(pixels, col, row, width, height)[None].astype(np.float32))
        assert archive.search(code, k=1).distances[0, 0] == 0


def test_what_is_indexed_is_skipped_and_what_changed_is_replaced(archive, scene, pixels):
    assert archive.add(Scenes(scene)).unchanged == [str(scene)]
    alphaearth(scene.parents[2], np.flip(pixels, axis=1))
    report = archive.add(Scenes(scene))
    assert (report.replaced, archive.num_tiles) == ([str(scene)], 99)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("block", [16, 64, 160])
def test_layout_and_workers_change_no_code(tmp_path, archive, pixels, workers, block):
    for interleave in ("band", "pixel"):
        path = (
            tmp_path / interleave / "2023" / "32N" / "xq7ex2244rc6ls88c-0000000000-0000008192.tiff"
        )
        write_raster(
            path,
            pixels,
            transform=BOTTOM_UP,
            nodata=-128,
            names=ALPHAEARTH_BANDS,
            block=block,
            interleave=interleave,
            compress="deflate",
        )
        other = Archive.create(tmp_path / f"a_{interleave}", hasher=archive.hasher())
        other.add(Scenes(path), workers=workers)
        mine, theirs = (one.tiles(np.arange(99)) for one in (archive, other))
        assert mine[["col", "row"]].equals(theirs[["col", "row"]])
        query = archive.query(path, window=(0, 16, 160, 144), k=None, max_distance=0)
        assert len(other.query(path, window=(0, 16, 160, 144), k=None, max_distance=0)) == len(
            query
        )


def test_refits_read_pixels_again_or_use_kept_vectors(tmp_path, archive, scene, pixels):
    kept = archive.refit("itq-32")
    assert (kept.num_hashed, kept.num_bits) == (99, 32)
    plain = Archive.create(tmp_path / "plain", hasher="lsh-64")
    plain.add(Scenes(scene))
    for name in ("itq-32", None):
        report = plain.refit(name)
        assert (report.num_hashed, report.num_bits) == (99, 32) or name is None
        found = plain.query(scene, window=(48, 64, 16, 16), k=1)
        assert found[["distance", "col", "row"]].to_numpy().tolist() == [[0, 48, 64]]


def test_no_network_is_made(tmp_path, scene):
    code = (
        "import sys\n"
        "from geohash_rs import Archive, Scenes\n"
        "from geohash_rs.hashing.network import backbones, runtime\n"
        "def fail(*a, **k): raise AssertionError('a network was made')\n"
        "backbones.Backbone.__init__ = fail\n"
        f"a = Archive.create({str(tmp_path / 'none')!r}, hasher='general-32')\n"
        f"a.add(Scenes({str(scene)!r}))\n"
        f"assert len(a.query({str(scene)!r}, window=(48, 64, 16, 16), k=3)) == 3\n"
        "assert 'onnxruntime' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- versions ---


def test_tessera_names_its_version_and_another_is_refused_by_name(tmp_path):
    vectors = unit_field(128, 64).astype(np.float32)
    vectors[:, 0, 0], vectors[3, 1, 1] = np.nan, np.inf
    one = tessera(tmp_path / "one", vectors, version="v1", variant="vultr")
    two = tessera(tmp_path / "two", vectors, version="v1", variant="dawn", lon="9.15")
    archive = Archive.create(tmp_path / "archive", hasher="lsh-64")
    with pytest.raises(HasherMismatchError, match=r"v1 dawn: grid_9.15.*v1 vultr: grid_9.05"):
        archive.add(Scenes([one, two]))
    assert archive.add(Scenes(one)).num_tiles == 16
    found = archive.hasher().embedding
    assert (found.model, found.version, found.variant) == ("tessera", "v1", "vultr")
    frame = archive.tiles(np.arange(16))
    assert set(frame["datetime"].dt.strftime("%Y-%m-%d")) == {"2024-01-01"}
    report = archive.add(Scenes(two))
    assert report.num_tiles == 0
    assert "tessera v1 dawn" in report.skipped[0][1]
    with pytest.raises(HasherMismatchError, match="tessera v1 dawn"):
        archive.query(two, k=1)
    with pytest.raises(HasherMismatchError, match="tessera v2"):
        archive.add(Scenes(one), embedding="tessera:v2")
    mean = vectors[:, 16:32, 16:32].astype(np.float64).mean(axis=(1, 2))
    code = archive.hasher().codes_of((mean / np.linalg.norm(mean))[None].astype(np.float32))
    assert archive.search(code, k=1).distances[0, 0] == 0


def test_a_version_that_nobody_names_must_be_named(tmp_path):
    scene = tessera(tmp_path, unit_field(128, 64).astype(np.float32), version="")
    archive = Archive.create(tmp_path / "archive", hasher="lsh-64")
    with pytest.raises(
        HasherError, match=r'grid_9.05_45.15_2024.tiff says .* embedding="tessera:v1"'
    ):
        archive.add(Scenes(scene))
    assert archive.add(Scenes(scene), embedding="tessera:v1").num_tiles == 16
    assert archive.hasher().embedding.version == "v1"


# --- other products, and wrong use ---


def test_any_raster_of_vectors_is_raw_with_its_scale_and_nodata(tmp_path):
    vectors = unit_field(12, 64)
    stored = (vectors * 10_000).astype(np.int16)
    stored[:, :16, :16] = -9999
    path = write_raster(tmp_path / "vectors.tif", stored, nodata=-9999)
    with rasterio.open(path, "r+") as raster:
        raster.scales = [0.0001] * 12
    archive = Archive.create(tmp_path / "archive", hasher="lsh-64")
    report = archive.add(Scenes(path), embedding="raw:mine")
    assert (report.num_tiles, report.num_nodata) == (15, 1)
    mean = stored[:, 16:32, :16].mean(axis=(1, 2))
    code = archive.hasher().codes_of((mean / np.linalg.norm(mean))[None].astype(np.float32))
    assert archive.search(code, k=1).distances[0, 0] == 0
    assert archive.hasher().embedding.model == "mine"


def test_copernicus_embed_and_presto_are_recognised(tmp_path):
    field = unit_field(768, 8, patch=1).astype(np.float32)
    field[:, 0] = 0  # ocean
    world = write_raster(
        tmp_path / "embed_map_310k.tif",
        field,
        crs="EPSG:4326",
        block=16,
        transform=Affine(0.25, 0, 8, 0, -0.25, 46),
    )
    archive = Archive.create(tmp_path / "world", hasher="lsh-64")
    report = archive.add(Scenes(world))
    assert (report.num_tiles, report.num_nodata) == (56, 8)
    assert archive.tiles([0])["datetime"].isna().all()
    togo = write_raster(
        tmp_path / "Togo_Presto_embeddings_v2025_06_19.tif", unit_field(128, 32).astype(np.float32)
    )
    archive = Archive.create(tmp_path / "togo", hasher="lsh-64")
    archive.add(Scenes(togo))
    tile = archive.tiles([0]).iloc[0]
    assert (str(tile["datetime"])[:10], str(tile["datetime_end"])[:10]) == (
        "2019-03-01",
        "2020-02-29",
    )


def test_pictures_and_vectors_are_not_mixed(tmp_path, archive, scene):
    photo = write_raster(tmp_path / "photo.tif", np.full((3, 64, 64), 90, np.uint8))
    assert "has 3 bands" in archive.add(Scenes([photo, scene])).skipped[0][1]
    with pytest.raises(HasherError, match="TESSERA has 128 bands, but the rasters have 64"):
        archive.add(Scenes(scene), embedding="tessera:v1")
    with pytest.raises(HasherMismatchError, match="come from mine .*from alphaearth v1"):
        archive.add(Scenes(scene), embedding="raw:mine")
    pictures = Archive.create(tmp_path / "pictures", hasher="general-rgb-128")
    with pytest.raises(HasherError, match="general-rgb-128 is a hasher of pictures"):
        pictures.add(Scenes(scene))


def test_what_would_stretch_or_fill_vectors_is_refused(tmp_path, scene):
    archive = Archive.create(tmp_path / "archive", hasher="lsh-64")
    with pytest.raises(ValueMismatchError, match="never stretched; leave it out"):
        archive.add(Scenes(scene, value_range=(-100, 100)))
    with pytest.raises(ValueMismatchError, match="nodata=0 cannot be chosen .* -128 is nothing"):
        archive.add(Scenes(scene, nodata=0))


def test_numbers_of_another_type_are_skipped_with_the_next_step(tmp_path, scene, pixels):
    wide = write_raster(tmp_path / "wide.tif", pixels.astype(np.int16), names=ALPHAEARTH_BANDS)
    archive = Archive.create(tmp_path / "archive", hasher="lsh-64")
    report = archive.add(Scenes([scene, wide]))
    assert report.num_tiles == 99
    assert "gdal_translate -ot Int8" in report.skipped[0][1]


def test_the_command_line_takes_a_name(tmp_path, scene, capsys):
    made = str(tmp_path / "made")
    common = ["index", str(scene), "--embedding", "alphaearth", "--tile-size", "32"]
    with pytest.raises(SystemExit, match="0"):
        main([*common, "--archive", made, "--hasher", "lsh-64", "--json"])
    assert json.loads(capsys.readouterr().out)["num_tiles"] == 25
    with pytest.raises(SystemExit, match="0"):
        main(["index", str(scene), "--dry-run"])
    assert "100 tiles of 1 scenes would be read" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="1"):
        main(["index", str(scene), "--archive", made, "--embedding", "alphaerth"])
    assert "embedding 'alphaerth' is not known" in capsys.readouterr().err


def test_the_command_line_finds_the_year_of_a_folder(tmp_path, pixels):
    path = write_raster(tmp_path / "2022" / "tile.tif", pixels, nodata=-128, names=ALPHAEARTH_BANDS)
    words = ["index", str(path), "--archive", str(tmp_path / "a"), "--hasher", "lsh-64"]
    with pytest.raises(SystemExit, match="0"):
        main(words)
    with pytest.raises(SystemExit, match="0"):
        main([*words[:3], str(tmp_path / "b"), *words[4:], "--date", "2020-05-01"])
    dates = [Archive.open(tmp_path / name).tiles([0])["datetime"].iloc[0] for name in "ab"]
    assert [str(date)[:10] for date in dates] == ["2022-01-01", "2020-05-01"]


def test_undated_folders_with_a_year_date_alphaearth_but_no_picture(tmp_path, pixels):
    path = write_raster(tmp_path / "2022" / "tile.tif", pixels, nodata=-128, names=ALPHAEARTH_BANDS)
    archive = Archive.create(tmp_path / "archive", hasher="lsh-64")
    archive.add(Scenes(path))
    assert str(archive.tiles([0])["datetime"].iloc[0])[:10] == "2022-01-01"
    assert archive.add(Scenes(path)).unchanged == [str(path)]
    assert Scenes(path).scene_files[0].dates is None
    given = Archive.create(tmp_path / "given", hasher="lsh-64")
    given.add(Scenes(path, datetime="2020-05-01"))
    assert str(given.tiles([0])["datetime"].iloc[0])[:10] == "2020-05-01"


def test_the_benchmark_reads_the_same_raster_in_each_way(capsys):
    benchmark(["--side", "160", "--rounds", "1", "--bits", "32"])
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()[4:]]
    assert rows == ["rasterio", "vectors", "index", "index and fit"]


# --- TorchGeo ---


class GoogleSatelliteEmbedding(RasterDataset):
    """As in TorchGeo 0.10, for versions before it."""

    filename_glob = "*.tif*"
    all_bands = ALPHAEARTH_BANDS
    filename_regex = r".*"


@deprecated
def test_a_dataset_of_torchgeo_makes_the_same_codes(tmp_path, pixels):
    path = write_raster(
        tmp_path / "data" / "a.tif", pixels, nodata=-128, names=ALPHAEARTH_BANDS, transform=NORTH_UP
    )
    ours = Archive.create(tmp_path / "ours", hasher="lsh-64")
    ours.add(Scenes(path))
    dataset = GoogleSatelliteEmbedding(tmp_path / "data")
    theirs = Archive.create(tmp_path / "theirs", hasher="lsh-64")
    report = theirs.add(dataset, sampler=GridGeoSampler(dataset, size=16, stride=16))
    assert (report.num_tiles, report.num_nodata) == (99, 1)
    assert theirs.hasher().fingerprint == ours.hasher().fingerprint or theirs.hasher().pixels
    known = Archive.create(tmp_path / "known", hasher=ours.hasher())
    known.add(dataset, sampler=GridGeoSampler(dataset, size=16, stride=16))
    for window in ((48, 64, 16, 16), (16, 16, 16, 16)):
        best = [one.query(path, window=window, k=1).iloc[0] for one in (ours, known)]
        assert [one["distance"] for one in best] == [0, 0]
        assert best[0].geometry.bounds == pytest.approx(best[1].geometry.bounds, abs=1e-6)


@deprecated
def test_encoded_numbers_that_torchgeo_would_resample_are_refused(tmp_path, pixels):
    write_raster(tmp_path / "data" / "a.tif", pixels, nodata=-128, names=ALPHAEARTH_BANDS)
    dataset = GoogleSatelliteEmbedding(tmp_path / "data", res=20)
    archive = Archive.create(tmp_path / "archive", hasher="lsh-64")
    with pytest.raises(SceneError, match="must be decoded first"):
        archive.add(dataset, sampler=GridGeoSampler(dataset, size=8, stride=8), strict=True)
