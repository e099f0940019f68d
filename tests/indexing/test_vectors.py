"""An archive that keeps vectors keeps the features from which its codes were made."""

from pathlib import Path

import numpy as np
import pytest
import torch

from geohash_rs import Archive, Hasher, Scenes
from geohash_rs.codes import pack_codes
from geohash_rs.errors import VectorError
from geohash_rs.indexing import waiting_vectors
from geohash_rs.indexing import writer as archive_writer
from geohash_rs.indexing.encode import EncodedTiles
from geohash_rs.indexing.waiting_vectors import WaitingVectors
from geohash_rs.opening import open_or_create
from geohash_rs.store.code_store import CodeStore
from tests.ground import TILE, mosaic, write
from tests.store.helpers import make_grid

KINDS = ("float16", "int8")
NEAR = {"float16": 2**-11, "int8": 1 / 254}  # of the largest number of a vector


def ids_of(archive: CodeStore) -> np.ndarray:
    return np.concatenate([frame["tile_id"].to_numpy() for frame in archive.iter_tiles()])


def check(archive: Archive, pixels: dict[str, np.ndarray]) -> None:
    """Compare the vectors with features of the pixels, and the codes with those of the vectors."""
    hasher, ids = archive.hasher(), ids_of(archive)
    tiles = archive.tiles(ids)
    images = [
        pixels[scene][:, row : row + height, col : col + width]
        for scene, col, row, width, height in zip(
            *(tiles[name] for name in ("scene", "col", "row", "width", "height")), strict=True
        )
    ]
    expected = hasher.features(torch.from_numpy(np.stack(images))).numpy()
    vectors = archive.vectors(ids)
    most = np.abs(expected).max(axis=1, keepdims=True)
    assert (np.abs(vectors - expected) <= most * NEAR[archive.keep_vectors] + 1e-4).all()
    again = pack_codes(hasher.head(torch.from_numpy(vectors)).numpy())
    apart = np.unpackbits(again ^ archive.codes(ids), axis=1).mean()
    assert apart < 0.02  # a few bits are near their threshold


@pytest.fixture
def scenes(tmp_path: Path) -> dict[str, np.ndarray]:
    """Write scenes; return their pixels by name."""
    made = {}
    for number in range(3):
        pixels = mosaic(4, 3, number)
        made[str(write(tmp_path / "s" / f"{number}.tif", pixels))] = pixels
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_the_features_of_the_tiles(
    quick_hasher: Hasher, scenes: dict[str, np.ndarray], tmp_path: Path, kind: str
) -> None:
    archive = Archive.create(tmp_path / "a", hasher=quick_hasher, keep_vectors=kind)
    assert archive.add(Scenes(tmp_path / "s"), tile_size=TILE).num_tiles == 36
    check(archive, scenes)
    name = next(iter(scenes))
    scenes[name] = mosaic(2, 2, 7)
    write(Path(name), scenes[name])
    report = archive.add(Scenes(tmp_path / "s"), tile_size=TILE)
    assert (report.replaced, archive.num_tiles) == ([name], 28)
    archive.compact()
    check(archive, scenes)


def test_codes_are_the_same_with_and_without_vectors(
    quick_hasher: Hasher, scenes: dict[str, np.ndarray], tmp_path: Path
) -> None:
    made = []
    for kind in ("none", *KINDS):
        archive = Archive.create(tmp_path / kind, hasher=quick_hasher, keep_vectors=kind)
        archive.add(Scenes(tmp_path / "s"), tile_size=TILE)
        made.append(archive.codes(ids_of(archive)))
    np.testing.assert_array_equal(made[0], made[1])
    np.testing.assert_array_equal(made[0], made[2])


@pytest.mark.usefixtures("small_input")
def test_a_hasher_that_is_still_to_be_fitted_makes_vectors_too(
    scenes: dict[str, np.ndarray], tmp_path: Path
) -> None:
    archive = Archive.create(tmp_path / "a", hasher="itq-16", keep_vectors="float16")
    assert archive.keep_vectors == "float16"
    archive.add(Scenes(tmp_path / "s"), tile_size=TILE)
    check(archive, scenes)
    assert archive.manifest.vectors.length == archive.hasher().backbone.num_features


@pytest.mark.filterwarnings("ignore:Use torchgeo.samplers:DeprecationWarning")
def test_samples_of_a_dataset_bring_vectors(
    quick_hasher: Hasher, scenes: dict[str, np.ndarray], tmp_path: Path
) -> None:
    from torchgeo.datasets import RasterDataset
    from torchgeo.samplers import GridGeoSampler

    dataset = RasterDataset(tmp_path / "s")
    sampler = GridGeoSampler(dataset, size=TILE, stride=TILE)
    archive = Archive.create(tmp_path / "a", hasher=quick_hasher, keep_vectors="int8")
    archive.add(dataset, sampler=sampler)
    assert archive.num_tiles > 0
    assert len(archive.vectors(ids_of(archive))) == archive.num_tiles


def test_a_scene_whose_features_cannot_be_kept_is_named_and_the_others_added(
    quick_hasher: Hasher,
    scenes: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = Hasher.codes_and_features
    wrong = scenes[sorted(scenes)[1]][0, 0, 0]

    def large(self: Hasher, tiles: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        codes, features = made(self, tiles)
        features[(tiles[:, 0, 0, 0] == wrong).numpy()] *= 1e6
        return codes, features

    monkeypatch.setattr(Hasher, "codes_and_features", large)
    archive = Archive.create(tmp_path / "a", hasher=quick_hasher, keep_vectors="float16")
    report = archive.add(Scenes(tmp_path / "s"), tile_size=TILE)
    assert {scene for scene, _ in report.skipped} == {sorted(scenes)[1]}
    assert "1.tif cannot be hashed: vector" in report.skipped[0][1]
    assert archive.num_tiles == 24


def encoded(count: int, *, vectors: np.ndarray | None = None) -> EncodedTiles:
    codes = np.zeros((count, 2), np.uint8)
    return EncodedTiles(num_read=count, codes=codes, tiles=make_grid(count), vectors=vectors)


def test_many_bytes_of_vectors_are_committed_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_writer, "COMMIT_BYTES", 1000)
    kept = CodeStore.create(tmp_path / "a", num_bits=16, keep_vectors="float16")
    with archive_writer.ArchiveWriter(kept, "f") as writer:
        for expected in (0, 0, 20, 20, 40, 40):
            writer.take(encoded(10, vectors=np.ones((10, 20), np.float16)))  # 400 bytes
            assert len(kept) == expected
    plain = CodeStore.create(tmp_path / "b", num_bits=16)
    with archive_writer.ArchiveWriter(plain, "f") as writer:
        for _ in range(6):
            writer.take(encoded(10))
            assert len(plain) == 0
    assert (len(kept), len(plain)) == (60, 60)


def test_a_scene_with_many_vectors_is_committed_on_its_own_and_not_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_writer, "COMMIT_BYTES", 1000)
    given = []
    kept = CodeStore.create(tmp_path / "a", num_bits=16, keep_vectors="float16")
    monkeypatch.setattr(kept, "add_codes", lambda *_, vectors, **__: given.append(vectors))
    small, large = np.ones((10, 20), np.float16), np.ones((30, 20), np.float16)
    with archive_writer.ArchiveWriter(kept, "f") as writer:
        writer.take(encoded(10, vectors=small))
        writer.take(encoded(30, vectors=large))
    assert [len(vectors) for vectors in given] == [10, 30]
    assert given[1] is large


def test_many_vectors_of_a_scene_wait_on_disk(
    quick_hasher: Hasher,
    scenes: dict[str, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    real = CodeStore.add_codes

    def add_codes(self: CodeStore, *given: object, vectors: np.ndarray, **more: object) -> object:
        seen.append(isinstance(vectors.base, np.memmap))
        return real(self, *given, vectors=vectors, **more)

    monkeypatch.setattr(waiting_vectors, "MOST_BYTES", 20_000)
    monkeypatch.setattr(archive_writer, "COMMIT_BYTES", 20_000)
    monkeypatch.setattr(CodeStore, "add_codes", add_codes)
    archive = Archive.create(tmp_path / "a", hasher=quick_hasher, keep_vectors="float16")
    archive.add(Scenes(tmp_path / "s"), tile_size=TILE, batch_size=5)
    assert seen == [True] * 3
    check(archive, scenes)
    assert not [path.name for path in archive.path.iterdir() if path.name.startswith("tmp")]


@pytest.mark.parametrize("most", [1, 1000, 10**6])
def test_vectors_that_wait_come_back_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(waiting_vectors, "MOST_BYTES", most)
    rng = np.random.default_rng(0)
    waiting = WaitingVectors(tmp_path)
    assert waiting.joined() is None
    parts = [rng.normal(size=(count, 7)).astype(np.float16) for count in (5, 64, 1, 30)]
    for part in parts:
        waiting.append(part)
    found = waiting.joined()
    del waiting
    np.testing.assert_array_equal(found, np.concatenate(parts))
    assert list(tmp_path.iterdir()) == []


def test_an_archive_keeps_vectors_as_it_was_made_to(tmp_path: Path) -> None:
    made = open_or_create(tmp_path / "a", hasher="lsh-16", keep_vectors="int8")
    assert made.keep_vectors == open_or_create(tmp_path / "a").keep_vectors == "int8"
    open_or_create(tmp_path / "a", keep_vectors="int8")
    with pytest.raises(
        VectorError, match=r'made with keep_vectors="int8", not keep_vectors="none"; leave that out'
    ):
        open_or_create(tmp_path / "a", keep_vectors="none")
