"""Feature vectors stay with their tiles, as exact as their form allows, and fit the archive."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from geohash_rs.errors import (
    ArchiveCorruptError,
    QueryError,
    TileNotFoundError,
    VectorError,
)
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.disk.manifest import VectorsEntry
from geohash_rs.store.segment import vectors as vectors_module
from geohash_rs.store.summary import summarise
from geohash_rs.store.verification import verify_archive
from tests.store.forger import reseal, write_manifest
from tests.store.helpers import make_grid

KINDS = ("float16", "int8")
LENGTH = 33  # odd, so that a row of int8 does not end at a whole number of words


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    """Make an empty archive that keeps vectors."""
    with CodeStore.create(tmp_path / "a", num_bits=64, keep_vectors=request.param) as made:
        yield made


def add(store, count, *, scene="scene.tif", west=10.0, seed=0, length=LENGTH, **options):
    """Add tiles with random vectors; return the vectors by id."""
    rng = np.random.default_rng([seed, count])
    vectors = rng.normal(size=(count, length)) * rng.uniform(0.01, 100, (count, 1))
    vectors = vectors.astype(np.float32)
    codes = rng.integers(0, 256, (count, 8), dtype=np.uint8)
    tiles = make_grid(count, scene=scene, west=west)
    ids = store.add_codes(codes, tiles, vectors=vectors, **options)
    return dict(zip(ids.tolist(), vectors, strict=True))


def by_hand(vector, kind):
    """Return what the format says of one vector, number by number."""
    if kind == "float16":
        return [float(np.float16(number)) for number in vector]
    turned = rotation(len(vector)) @ np.asarray(vector, np.float64)
    scale = float(np.float32(np.abs(turned).max() / 127))
    kept = [round(number / scale) * scale if scale else 0.0 for number in turned.tolist()]
    return rotation(len(vector)).T @ np.array(kept)


def rotation(length):
    """Return the rotation as a matrix: the Hartley transform of numbers with their signs."""
    signs = []
    for number in range(1, length + 1):
        mixed = number * 0x9E3779B97F4A7C15 % 2**64
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        signs.append(-1.0 if mixed >> 63 else 1.0)
    angles = 2 * np.pi * np.outer(np.arange(length), np.arange(length)) / length
    return (np.cos(angles) + np.sin(angles)) / np.sqrt(length) * np.array(signs)


def check(store, expected):
    """Compare the vectors of all tiles, in random order, with those by hand."""
    ids = np.random.default_rng(1).permutation(list(expected))
    assert len(ids) == len(store)
    found = store.vectors(ids)
    assert (found.dtype, found.shape) == (np.float32, (len(ids), len(expected[ids[0]])))
    hand = np.array([by_hand(expected[number], store.keep_vectors) for number in ids])
    np.testing.assert_allclose(found, hand, rtol=1e-6, atol=1e-12)


def files_of(store):
    return sorted((store.path / "segments").glob("*/vectors.bin"))


def test_vectors_come_back_in_the_order_of_the_ids(store):
    expected = add(store, 130)
    check(store, expected)
    twice = store.vectors([5, 3, 5])
    np.testing.assert_array_equal(twice[0], twice[2])
    np.testing.assert_array_equal(twice[1], store.vectors([3])[0])
    assert store.vectors([]).shape == (0, LENGTH)
    with pytest.raises(TileNotFoundError, match="no tile with id 130"):
        store.vectors([130])


def test_a_file_of_vectors_is_as_the_format_says(store):
    expected = add(store, 50)
    (file,) = files_of(store)
    ids = store.segments[0].ids_of(np.arange(50))
    given = np.stack([expected[number] for number in ids])
    if store.keep_vectors == "float16":
        content = given.astype("<f2").tobytes()
    else:
        turned = given.astype(np.float64) @ rotation(LENGTH).T
        scales = (np.abs(turned).max(axis=1) / 127).astype("<f4")
        content = scales.tobytes() + np.rint(turned / scales[:, None]).astype("i1").tobytes()
    assert file.read_bytes() == content
    assert len(content) == 50 * store.manifest.vectors.row_bytes


@settings(max_examples=50)
@given(
    vectors=arrays.arrays(
        np.float32,
        st.tuples(st.integers(1, 5), st.integers(1, 6)),
        elements=st.floats(-65504, 65504, width=32),
    ),
    kind=st.sampled_from(KINDS),
)
def test_what_is_kept_is_as_near_as_the_form_allows(vectors, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive") / "a"
    largest = np.abs(vectors).max(axis=1)
    assume(((largest == 0) | (largest >= {"float16": 2.0**-14, "int8": 1e-38}[kind])).all())
    with CodeStore.create(folder, num_bits=64, keep_vectors=kind) as store:
        codes = np.zeros((len(vectors), 8), np.uint8)
        found = store.vectors(store.add_codes(codes, make_grid(len(vectors)), vectors=vectors))
    if kind == "float16":
        np.testing.assert_array_equal(found, vectors.astype(np.float16))
    else:
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        errors = np.linalg.norm(found.astype(np.float64) - vectors, axis=1)
        assert (errors <= np.sqrt(vectors.shape[1]) * lengths / 254 * 1.0001 + 1e-40).all()


@pytest.mark.parametrize(("kind", "number"), [("float16", 1e-9), ("int8", 1e-40)])
def test_vectors_that_would_lose_their_digits_are_refused(kind, number, tmp_path):
    with CodeStore.create(tmp_path / "a", num_bits=64, keep_vectors=kind) as store:
        codes, vectors = np.zeros((2, 8), np.uint8), np.ones((2, LENGTH))
        vectors[1] *= number
        with pytest.raises(VectorError, match="of vector 1 exceeds .* scale all vectors"):
            store.add_codes(codes, make_grid(2), vectors=vectors)
        vectors[1] = 0
        ids = store.add_codes(codes, make_grid(2), vectors=vectors)
        np.testing.assert_array_equal(store.vectors(ids[1:]), 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_floats_of_other_types_are_kept_too(store, dtype):
    vectors = np.linspace(-2, 2, 4 * LENGTH).reshape(4, LENGTH).astype(dtype)
    ids = store.add_codes(np.zeros((4, 8), np.uint8), make_grid(4), vectors=vectors)
    np.testing.assert_allclose(store.vectors(ids), vectors, atol=0.03)


def test_rows_stay_aligned_when_tiles_are_removed_replaced_and_merged(store):
    of_scene = {}
    for number in range(20):
        scene = f"{number % 15}.tif"  # the last five replace the first five
        how = {"scene": scene, "west": float(number % 15), "replace_scenes": [scene]}
        of_scene[scene] = add(store, 40 + number, seed=number, **how)
    expected = {i: vector for made in of_scene.values() for i, vector in made.items()}
    check(store, expected)
    gone = list(expected)[::7]
    store.remove_tiles(gone)
    expected = {number: v for number, v in expected.items() if number not in gone}
    before = store.vectors(list(expected))
    check(store, expected)
    store.compact()
    assert len(store.segments) == 1
    np.testing.assert_array_equal(store.vectors(list(expected)), before)  # bit for bit
    assert store.verify().ok
    with CodeStore.open(store.path, mode="r") as again:
        np.testing.assert_array_equal(again.vectors(list(expected)), before)


@pytest.mark.parametrize("parts", [1, 7 * LENGTH * 4, 10**9])
def test_writing_in_parts_makes_the_same_file(store, parts, monkeypatch):
    expected = add(store, 100)
    more = add(store, 60, west=20.0)
    store.compact()
    (whole,) = files_of(store)
    monkeypatch.setattr(vectors_module, "PART_BYTES", parts)
    kept = store.keep_vectors
    with CodeStore.create(store.path.with_name("b"), num_bits=64, keep_vectors=kept) as other:
        add(other, 100)
        add(other, 60, west=20.0)
        other.compact()
        (same,) = files_of(other)
        assert same.read_bytes() == whole.read_bytes()
        check(other, expected | more)


def test_merging_takes_little_memory(tmp_path):
    length, count = 8192, 4000  # 64 MB a segment as float16
    vectors = np.ones((count, length), np.float16)
    with CodeStore.create(tmp_path / "a", num_bits=64, keep_vectors="float16") as store:
        for west in (10.0, 40.0):
            codes = np.zeros((count, 8), np.uint8)
            store.add_codes(codes, make_grid(count, west=west), vectors=vectors)
        tracemalloc.start()
        store.compact()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(store.segments) == 1
        assert peak < 64 << 20  # half of what is merged


def test_a_snapshot_keeps_its_vectors(store):
    expected = add(store, 60)
    still = store.snapshot()
    store.remove_tiles(list(expected)[:30])
    store.compact()
    np.testing.assert_array_equal(
        still.vectors(list(expected))[30:], store.vectors(list(expected)[30:])
    )


# --- what does not fit is refused, and nothing is written ---

WRONG = {
    "one dimension": (lambda v: v[0], r"vectors are float32 of shape \(33,\)"),
    "too few": (lambda v: v[:2], r"shape \(2, 33\); pass one vector of floats for each of the 3"),
    "whole numbers": (lambda v: v.astype(int), "vectors are int64 of shape"),
    "complex numbers": (lambda v: v.astype(complex), "vectors are complex128"),
    "text": (lambda v: v.astype(str), "vectors are <U"),
    "no numbers": (lambda v: v[:, :0], "vectors have 0 numbers each"),
    "too many numbers": (lambda v: np.ones((3, 65_537)), "vectors have 65537 numbers each"),
    "not a number": (lambda v: np.where(np.eye(3, 33, 5), np.nan, v), "vector 0 holds nan"),
    "infinity": (lambda v: np.where(np.eye(3, 33, -2), np.inf, v), "vector 2 holds inf"),
}


@pytest.mark.parametrize("what", WRONG)
def test_vectors_of_a_wrong_kind_are_refused(store, what):
    change, message = WRONG[what]
    vectors = np.ones((3, LENGTH), np.float32)
    before = (store.path / "manifest.json").read_bytes()
    with pytest.raises(VectorError, match=message):
        store.add_codes(np.zeros((3, 8), np.uint8), make_grid(3), vectors=change(vectors))
    assert (store.path / "manifest.json").read_bytes() == before
    assert store.verify().orphans == ()


@pytest.mark.parametrize(("kind", "number"), [("float16", 65505.0), ("int8", 1.1e38)])
def test_numbers_too_large_for_a_form_are_refused(tmp_path, kind, number):
    with CodeStore.create(tmp_path / "a", num_bits=64, keep_vectors=kind) as store:
        codes, tiles = np.zeros((2, 8), np.uint8), make_grid(2)
        with pytest.raises(
            VectorError, match=r"vector 1 holds -.* keep_vectors=\"(float16|int8)\""
        ):
            store.add_codes(codes, tiles, vectors=np.array([[1.0], [-number]]))


def test_vectors_of_another_length_are_refused(store):
    add(store, 10)
    with pytest.raises(VectorError, match="vectors have 32 numbers each but the archive takes 33"):
        add(store, 10, length=32)
    with CodeStore.open(store.path) as other:  # which had not seen any
        add(store, 10)
        with pytest.raises(VectorError, match="have 34 numbers each but the archive takes 33"):
            add(other, 10, length=34)


def test_an_archive_whose_tiles_are_all_gone_takes_another_length(store):
    store.remove_tiles(list(add(store, 10)))
    expected = add(store, 10, length=5)
    check(store, expected)
    replaced = add(store, 12, length=7, replace_scenes=["scene.tif"])
    check(store, replaced)


def test_tiles_without_vectors_are_refused(store):
    with pytest.raises(VectorError, match="vectors, but none came with 3 tiles; pass vectors="):
        store.add_codes(np.zeros((3, 8), np.uint8), make_grid(3))
    empty = np.zeros((0, 8), np.uint8)
    assert store.add_codes(empty, make_grid(0)).shape == (0,)  # such as records alone
    assert store.add_codes(empty, make_grid(0), vectors=np.zeros((0, 4))).shape == (0,)
    assert store.manifest.vectors.length is None
    assert store.vectors([]).shape == (0, 0)


def test_an_archive_without_vectors_refuses_them_by_name(tmp_path):
    with CodeStore.create(tmp_path / "a", num_bits=64) as store:
        codes, tiles = np.zeros((3, 8), np.uint8), make_grid(3)
        with pytest.raises(VectorError, match=r"a keeps no vectors; leave out vectors="):
            store.add_codes(codes, tiles, vectors=np.zeros((3, 4)))
        ids = store.add_codes(codes, tiles)
        with pytest.raises(VectorError, match=r"a keeps no vectors; index the scenes into a new"):
            store.vectors(ids)
        assert store.keep_vectors == "none"
    with pytest.raises(QueryError, match="keep_vectors is 'float32', but it must be 'none'"):
        CodeStore.create(tmp_path / "b", num_bits=64, keep_vectors="float32")
    assert not (tmp_path / "b").exists()


def test_an_archive_without_vectors_has_the_first_format_still(tmp_path):
    with CodeStore.create(tmp_path / "a", num_bits=64) as store:
        store.add_codes(np.zeros((3, 8), np.uint8), make_grid(3))
    outer = json.loads((tmp_path / "a" / "manifest.json").read_bytes())
    assert (outer["version"], "vectors" in outer["body"]) == (1, False)
    names = {file["name"] for file in outer["body"]["segments"][0]["files"]}
    assert names == {"codes.bin", "index.safetensors", "tiles.parquet"}


def test_an_archive_with_vectors_is_refused_by_readers_of_the_first_format(store):
    add(store, 3)
    outer = json.loads((store.path / "manifest.json").read_bytes())
    said = {"kind": store.keep_vectors, "length": LENGTH}
    said |= {"rotated": True} if store.keep_vectors == "int8" else {}
    assert (outer["version"], outer["body"]["vectors"]) == (2, said)


def test_the_summary_names_what_is_kept(store, tmp_path):
    add(store, 3)
    known = {"float16": 2 * LENGTH, "int8": LENGTH + 4}[store.keep_vectors]
    found = summarise(store)
    names = ("keep_vectors", "vector_length", "vector_bytes")
    assert [found[name] for name in names] == [store.keep_vectors, LENGTH, known]
    with CodeStore.create(tmp_path / "b", num_bits=64) as other:
        assert [summarise(other)[name] for name in names] == ["none", None, 0]


# --- parts of other processes ---


def part_of(store, name, *, count=5, keep_vectors=None, length=LENGTH):
    """Make an archive to be adopted; return it and its vectors by id."""
    first = store.reserve_ids(count)
    kept = keep_vectors or store.keep_vectors
    part = CodeStore.create(store.path.with_name(name), num_bits=64, keep_vectors=kept)
    part.reserve_ids(first)
    if kept == "none":
        part.add_codes(np.zeros((count, 8), np.uint8), make_grid(count))
        return part, {}
    return part, add(part, count, length=length, scene=f"{name}.tif")


def test_adopted_tiles_bring_their_vectors(store):
    parts = [part_of(store, name) for name in "bc"]
    store.adopt([part for part, _ in parts])
    check(store, parts[0][1] | parts[1][1])
    more = part_of(store, "d")
    store.adopt([more[0]])
    check(store, parts[0][1] | parts[1][1] | more[1])
    assert store.verify().ok


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"keep_vectors": "none"}, "it keeps no vectors, but the archive keeps"),
        ({"length": 5}, "vectors of 5 numbers, but the archive keeps"),
    ],
    ids=str,
)
def test_parts_with_other_vectors_are_not_adopted(store, other, message):
    fitting, _ = part_of(store, "b")
    part, _ = part_of(store, "c", **other)
    before = (store.path / "manifest.json").read_bytes()
    with pytest.raises(VectorError, match=message):
        store.adopt([fitting, part])
    assert (store.path / "manifest.json").read_bytes() == before


# --- damage and strangers ---


def test_damaged_vectors_are_named(store):
    ids = list(add(store, 40))
    (file,) = files_of(store)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    report = verify_archive(store.path)
    assert [(damage.file, damage.num_tiles) for damage in report.damage] == [
        (str(file.relative_to(store.path)), 40)
    ]
    assert "its content was changed" in report.damage[0].problem
    add(store, 10, west=30.0)
    with pytest.raises(ArchiveCorruptError, match=r"vectors\.bin has CRC-32"):
        store.compact()
    assert len(store.codes(ids)) == 40  # the rest can still be used


@pytest.mark.parametrize("what", ["missing", "cut short"])
def test_missing_or_short_vectors_are_named_when_they_are_used(store, what):
    ids = list(add(store, 40))
    store.close()
    (file,) = files_of(store)
    content = file.read_bytes()
    file.unlink()
    if what == "cut short":
        file.write_bytes(content[:-1])
    with CodeStore.open(store.path, mode="r") as opened:
        assert opened.search(opened.codes(ids[:1]), k=5).ids.shape == (1, 5)  # needs no vectors
        with pytest.raises(ArchiveCorruptError, match=r"vectors\.bin (is missing|has \d+ bytes)"):
            opened.vectors(ids)
    assert not verify_archive(store.path).ok


def forge(store, edit):
    """Change the manifest as a forger would."""
    path = store.path / "manifest.json"
    outer = json.loads(path.read_bytes())
    edit(outer["body"])
    write_manifest(path, outer)


HUGE = 65_536
FORGED = {
    "another kind": lambda b: b["vectors"].update(kind="float64"),
    "a list": lambda b: b.update(vectors=["float16", 33]),
    "no kind": lambda b: b["vectors"].pop("kind"),
    "no length": lambda b: b["vectors"].update(length=None),
    "a length of zero": lambda b: b["vectors"].update(length=0),
    "a length as text": lambda b: b["vectors"].update(length="33"),
    "a longer length": lambda b: b["vectors"].update(length=34),
    "the greatest length": lambda b: b["vectors"].update(length=HUGE),
    "an impossible length": lambda b: b["vectors"].update(length=2**62),
    "vectors of no file": lambda b: b["segments"][0]["files"].pop(),
    "files that are not kept": lambda b: b.pop("vectors"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_form_is_refused(store, what):
    add(store, 3)
    store.close()
    forge(store, FORGED[what])
    with pytest.raises(ArchiveCorruptError, match=r"manifest\.json has a missing or wrong field"):
        CodeStore.open(store.path)


def test_a_claimed_length_takes_no_memory_that_the_file_does_not_fill(store):
    ids = list(add(store, 100))
    store.close()
    row = VectorsEntry(kind=store.keep_vectors, length=HUGE).row_bytes

    def claim(body):
        body["vectors"]["length"] = HUGE
        body["segments"][0]["files"][-1]["size"] = 100 * row

    forge(store, claim)
    tracemalloc.start()
    with CodeStore.open(store.path) as opened:
        with pytest.raises(ArchiveCorruptError, match=r"vectors\.bin has \d+ bytes but the manif"):
            opened.vectors(np.repeat(ids, 100))  # 2.6 GB
        opened.remove_tiles(ids[:1])
        with pytest.raises(ArchiveCorruptError, match=r"vectors\.bin has \d+ bytes but the manif"):
            opened.compact()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50 << 20


def test_vectors_that_are_not_finite_are_refused_when_read(store):
    ids = list(add(store, 20))
    store.close()
    (file,) = files_of(store)
    data = bytearray(file.read_bytes())
    wrong = np.array([np.nan], "<f2" if store.keep_vectors == "float16" else "<f4").tobytes()
    data[: len(wrong)] = wrong
    file.write_bytes(data)
    reseal(store.path)
    with CodeStore.open(store.path, mode="r") as opened:
        with pytest.raises(ArchiveCorruptError, match=r"vectors\.bin holds vectors with NaN"):
            opened.vectors(ids)
        fine = opened.segments[0].ids_of(np.arange(1, 20))
        assert np.isfinite(opened.vectors(fine)).all()
