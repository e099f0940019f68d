"""Vectors that somebody else computed: hashed, kept, searched, refused."""

import dataclasses
import json

import geopandas as gpd
import numpy as np
import pytest
import shapely
import torch

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.cli import main
from geohash_rs.errors import (
    HasherError,
    HasherMismatchError,
    QueryError,
    TileTableError,
    VectorError,
)
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.extractor import Extractor
from geohash_rs.hashing.fit.embeddings import fit_embedding
from geohash_rs.hashing.network.pretrained import load_backbone
from geohash_rs.hashing.network.scaling_choice import make_scaling
from tests.embeddings import published
from tests.ground import ground, write

CLAY = Embedding("clay", 48, version="1.5")
DRAWN = np.random.default_rng(7)
VECTORS = DRAWN.normal(size=(600, 12)) @ DRAWN.normal(size=(12, 48))
VECTORS = VECTORS.astype(np.float32)


def tiles_for(count, scene="clay.parquet"):
    """Place tiles of 0.01 degrees in a row."""
    west = np.arange(count) * 0.01
    footprints = shapely.box(west, 50, west + 0.01, 50.01)
    return gpd.GeoDataFrame({"scene": [scene] * count}, geometry=footprints, crs=4326)


def nearest(query, count):
    """Rank all vectors by cosine, in float64."""
    unit = VECTORS / np.linalg.norm(VECTORS.astype(np.float64), axis=1, keepdims=True)
    return np.argsort(-(unit @ (query / np.linalg.norm(query))), kind="stable")[:count]


@pytest.fixture
def archive(tmp_path):
    made = Archive.create(tmp_path / "a", hasher="general-32", keep_vectors="int8")
    made.ids = made.add_embeddings(VECTORS, tiles_for(600), embedding=CLAY)
    return made


@pytest.mark.parametrize("method", ["general-16", "itq-40", "lsh-1024", "signs-48"])
def test_every_method_makes_the_codes_of_its_file_again(method, tmp_path):
    name, bits = method.split("-")
    made = fit_embedding(VECTORS, embedding=CLAY, method=name, num_bits=int(bits))
    made.save(tmp_path / "made.safetensors")
    again = Hasher.from_bytes((tmp_path / "made.safetensors").read_bytes())
    assert again.fingerprint == made.fingerprint
    assert str(again.embedding) == "clay 1.5 (48 dimensions)"
    codes = again.codes_of(VECTORS)
    np.testing.assert_array_equal(codes, made.codes_of(VECTORS))
    one_by_one = np.concatenate([again.codes_of(row[None]) for row in VECTORS[:50]])
    np.testing.assert_array_equal(codes[:50], one_by_one)
    if name == "signs":
        np.testing.assert_array_equal(codes, np.packbits(VECTORS > 0, axis=1))


def test_kept_vectors_rank_as_the_floats_do(archive):
    opened = Archive.open(archive.path, mode="r")
    by_id = {int(one): row for row, one in enumerate(archive.ids)}
    for row in (3, 77, 400):
        found = opened.query(vector=VECTORS[row], k=10, ranking="vectors")
        rows = [by_id[one] for one in found["tile_id"]]
        assert rows[0] == row
        assert len({*rows} & {*nearest(VECTORS[row], 10)}) >= 9
        assert found["similarity"].is_monotonic_decreasing
        assert found["similarity"].iloc[0] == pytest.approx(1, abs=1e-3)
        by_tile = opened.query(tile=int(archive.ids[row]), k=10, ranking="vectors")
        assert len({*by_tile["tile_id"]} & {*found["tile_id"]}) >= 9


def test_several_vectors_are_examples_and_filters_hold(archive):
    found = archive.query(vector=VECTORS[[5, 300]], k=2)
    assert {*found["tile_id"]} == {archive.ids[5], archive.ids[300]}
    west = archive.query(vector=VECTORS[300], k=5, region=(0, 49, 0.9, 51))
    assert archive.ids[300] not in {*west["tile_id"]}
    assert len(west) == 5
    with pytest.raises(QueryError, match="no place"):
        archive.query(vector=VECTORS[5], exclude_overlap=True)


def test_the_command_line_searches_with_a_file(archive, tmp_path, capsys):
    np.save(tmp_path / "v.npy", VECTORS[9].astype(np.float64))
    file = str(tmp_path / "v.npy")
    with pytest.raises(SystemExit, match="0"):
        main(["query", str(archive.path), "--vector", file, "-k", "1", "--json"])
    found = json.loads(capsys.readouterr().out)["features"]
    assert [one["properties"]["tile_id"] for one in found] == [archive.ids[9]]


def test_another_model_version_variant_or_length_is_refused(archive):
    for other in (
        Embedding("tessera", 48),
        Embedding("clay", 48, version="1"),
        Embedding("clay", 48, version="1.5", variant="s1"),
    ):
        fits = archive.hasher().embedding.fits(other)
        assert fits == (other.variant == "s1")  # the archive's own says nothing of a variant
        if not fits:
            with pytest.raises(HasherMismatchError, match="Use another archive"):
                archive.add_embeddings(VECTORS[:1], tiles_for(1), embedding=other)
    with pytest.raises(HasherMismatchError, match="7 dimensions"):
        archive.add_embeddings(VECTORS[:1, :7], tiles_for(1))
    archive.add_embeddings(VECTORS[:1], tiles_for(1))  # of a model that nobody named
    with pytest.raises(VectorError, match="5 numbers each, but the hasher takes 48"):
        archive.query(vector=VECTORS[0, :5])


@pytest.mark.parametrize("wrong", [0, np.nan, np.inf, -np.inf, 1e39])
def test_vectors_without_a_direction_are_refused(archive, wrong):
    given = VECTORS[:3].astype(np.float64)
    given[1] = wrong
    before = archive.num_tiles
    with pytest.raises(VectorError, match=r"1 of 3 vectors .*\(first: vector 1\)"):
        archive.add_embeddings(given, tiles_for(3))
    with pytest.raises(VectorError, match="vector 1"):
        archive.query(vector=given)
    assert archive.num_tiles == before


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.ones(48, np.int8), "int8"),
        ([[1.0, 2.0], [3.0]], "not of one length"),
        (np.ones((2, 3, 48), np.float32), "shape"),
        (["a", "b"], "shape"),
        (np.empty((0, 48), np.float32), "no vector"),
    ],
)
def test_what_is_no_vector_is_refused(archive, given, says):
    with pytest.raises(VectorError, match=says):
        archive.query(vector=given)


def test_files_that_hold_no_vectors_are_refused(archive, tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object))
    (tmp_path / "text.npy").write_text("0.1, 0.2")
    for name in ("objects.npy", "text.npy", "missing.npy"):
        with pytest.raises(VectorError, match=name):
            archive.query(vector=tmp_path / name)


def test_all_vectors_equal_or_too_few_fit_nothing(tmp_path):
    for count in (1, 40):
        archive = Archive.create(tmp_path / str(count), hasher="general-32")
        with pytest.raises(HasherError, match=r"identical|one"):
            archive.add_embeddings(np.ones((count, 48), np.float32), tiles_for(count))
        assert archive.num_tiles == 0


def test_signs_need_a_bit_for_each_dimension(tmp_path):
    archive = Archive.create(tmp_path / "a", hasher="signs-64")
    with pytest.raises(HasherError, match="use signs-48"):
        archive.add_embeddings(VECTORS, tiles_for(600))


def test_vectors_and_tiles_differ_in_number(archive):
    with pytest.raises(TileTableError, match="3 vectors but 2 tiles"):
        archive.add_embeddings(VECTORS[:3], tiles_for(2))


def test_a_first_call_that_fails_leaves_the_archive_open_to_others(tmp_path):
    archive = Archive.create(tmp_path / "a", hasher="general-32", keep_vectors="float16")
    unplaced = gpd.GeoDataFrame({"scene": ["a"] * 600}, geometry=tiles_for(600).geometry.array)
    for vectors, tiles, error in (
        (VECTORS, tiles_for(5), TileTableError),
        (VECTORS, unplaced.set_crs(None, allow_override=True), TileTableError),
        (VECTORS * 1e6, tiles_for(600), VectorError),
        (VECTORS * 1e-9, tiles_for(600), VectorError),
    ):
        with pytest.raises(error):
            archive.add_embeddings(vectors, tiles, embedding=Embedding("wrong", 48))
    again = Archive.open(archive.path)
    assert again.pending_hasher == "general-32"
    again.add_embeddings(VECTORS[:, :40], tiles_for(600), embedding=Embedding("right", 40))


def test_the_first_named_model_binds_an_archive_of_unnamed_vectors(tmp_path):
    archive = Archive.create(tmp_path / "a", hasher="general-32")
    archive.add_embeddings(VECTORS, tiles_for(600))
    archive.add_embeddings(VECTORS[:9], tiles_for(9), embedding=CLAY)
    archive = Archive.open(archive.path)
    for other in (Embedding("tessera", 48), Embedding("clay", 48, version="2")):
        with pytest.raises(HasherMismatchError, match="clay 1.5"):
            archive.add_embeddings(VECTORS[:9], tiles_for(9), embedding=other)
    archive.add_embeddings(VECTORS[:9], tiles_for(9), embedding=CLAY)
    assert archive.num_tiles == 618


def test_tensors_are_vectors_too_and_masked_numbers_are_not(archive):
    for kind in (torch.float32, torch.float64, torch.bfloat16):
        tensor = torch.tensor(VECTORS[7], dtype=kind, requires_grad=True)
        assert archive.query(vector=tensor, k=1)["tile_id"].tolist() == [archive.ids[7]]
    masked = np.ma.masked_array(VECTORS[7], mask=[True] + [False] * 47)
    with pytest.raises(VectorError, match="masked"):
        archive.query(vector=masked)
    with pytest.raises(VectorError, match="below 1e-12"):
        archive.query(vector=VECTORS[7] * 1e-20)


def test_pixels_and_vectors_do_not_mix(archive, tmp_path):
    scene = write(tmp_path / "scene.tif", ground(0, 64, 0))
    with pytest.raises(HasherError, match="another archive"):
        archive.add(Scenes(scene))
    with pytest.raises(HasherError, match="extractor="):
        archive.query(scene)
    images = Archive.create(tmp_path / "images", hasher="lsh-16")
    images.add(Scenes(scene), tile_size=32)
    with pytest.raises(HasherError, match="computes features of pixels"):
        images.add_embeddings(VECTORS, tiles_for(600))


def test_the_network_that_made_the_vectors_searches_with_patches(tmp_path):
    tiles = torch.from_numpy(DRAWN.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8))
    backbone = load_backbone("resnet10t", weights=False, in_chans=3)
    extractor = Extractor(
        backbone,
        scaling=make_scaling(backbone, None, sample=tiles),
        bands=("red", "green", "blue"),
        tile_size=32,
        input_size=32,
    )
    archive = Archive.create(tmp_path / "a", hasher="itq-32", keep_vectors="float16")
    ids = archive.add_embeddings(extractor.features(tiles), tiles_for(40))
    scene = write(tmp_path / "scene.tif", tiles[7].numpy())
    found = archive.query(scene, k=1, extractor=extractor, ranking="vectors")
    assert found["tile_id"].tolist() == [ids[7]]
    assert found["similarity"].iloc[0] == pytest.approx(1, abs=1e-4)


def test_kept_vectors_are_hashed_again_by_any_method(archive):
    before = archive.tiles(archive.ids)
    for name in ("itq-48", "lsh-640", "signs-48"):
        report = archive.refit(name)
        assert report.num_hashed == 600
        assert archive.hasher().name == name
        assert archive.query(vector=VECTORS[4], k=1)["tile_id"].tolist() == [archive.ids[4]]
    assert archive.tiles(archive.ids).equals(before)
    with pytest.raises(VectorError, match="computes others"):
        archive.refit("general-rgb-128")


def test_codes_without_vectors_cannot_be_made_again(tmp_path):
    archive = Archive.create(tmp_path / "a", hasher="general-32")
    archive.add_embeddings(VECTORS, tiles_for(600))
    with pytest.raises(HasherError, match="keep_vectors"):
        archive.refit("general-16")
    with pytest.raises(VectorError, match="keeps no vectors"):
        archive.query(vector=VECTORS[0], ranking="vectors")


def test_a_hasher_of_another_space_has_another_fingerprint():
    made = fit_embedding(VECTORS, embedding=CLAY, method="signs", num_bits=48)
    other = dataclasses.replace(made, extractor=Embedding("clay", 48, version="2"))
    assert made.fingerprint != other.fingerprint


def test_a_row_of_a_table_is_a_vector(tmp_path, capsys):
    made = published.chips(3000, 16)
    path = published.earth_index(tmp_path / "e.parquet", made)
    archive = Archive.create(tmp_path / "a", hasher="lsh-64")
    archive.add(path)
    for row in (0, 17, 2999):
        found = archive.query(vector=f"{path}:{row}", k=1)
        assert found.geometry.iloc[0].equals(made.shapes[row])
        assert found["distance"].tolist() == [0]
    with pytest.raises(SystemExit, match="0"):
        main(["query", str(archive.path), "--vector", f"{path}:17", "-k", "1", "--json"])
    (one,) = json.loads(capsys.readouterr().out)["features"]
    assert one["properties"]["distance"] == 0
    other = published.earth_index(tmp_path / "o.parquet", made, emb={"model": {"id": "other"}})
    with pytest.raises(HasherMismatchError, match=r"the vectors of o\.parquet come from other"):
        archive.query(vector=f"{other}:1")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("c.parquet", r"is a table; name the row .*c\.parquet:17"),
        ("c.parquet:x", "names the row 'x'; pass a whole number"),
        ("c.parquet:-1", "names the row '-1'"),
        ("c.parquet:60", "has no row 60; its 60 rows"),
        ("c.parquet:7", "row 7 is one with NaN or infinite numbers in 'embeddings'"),
        ("missing.parquet:7", r"missing\.parquet cannot be read as Parquet"),
    ],
)
def test_a_row_that_holds_no_vector_is_refused(name, says, tmp_path):
    made = published.chips(60, 16)
    archive = Archive.create(tmp_path / "a", hasher="lsh-16")
    made.vectors[7] = np.nan
    archive.add(published.clay(tmp_path / "c.parquet", made))
    with pytest.raises(VectorError, match=says):
        archive.query(vector=f"{tmp_path}/{name}")
