"""Small searches do not compile, large ones do, and both return the same."""

import subprocess
import sys

import numpy as np
import pytest
import shapely

from geohash_rs.errors import GeoHashRSWarning
from geohash_rs.store.code_store import CodeStore
from geohash_rs.store.search import compiled, kernels, scan_numpy
from geohash_rs.store.search.scan import scanner
from geohash_rs.store.search.scan_numba import NumbaScanner
from geohash_rs.store.search.scan_numpy import NumpyScanner
from tests.store.helpers import make_grid

TILES = 6000  # two blocks of a segment
TRIANGLE = shapely.Polygon([(10.3, 49.9), (12.1, 30.0), (11.0, 21.0)])

SEARCH = """
import sys
import numpy as np
import shapely
from geohash_rs.store.code_store import CodeStore
archive = CodeStore.open(sys.argv[1], mode="r")
query = np.zeros((1, 9), np.uint8)
near = [archive.search(query, k=9), archive.search(query, k=None, max_distance=40)]
triangle = shapely.from_wkt(sys.argv[2])
for region in ((10, 49, 11, 50), triangle):
    near.append(archive.search(query, k=9, region=region, scenes=["even"]))
print([found.ids[0].tolist()[:9] for found in near], "numba" in sys.modules)
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Write an archive in three segments, some tiles removed, whose codes tie a lot."""
    rng = np.random.default_rng(5)
    archive = CodeStore.create(tmp_path_factory.mktemp("tied") / "a", num_bits=72)
    centres = rng.integers(0, 256, (4, 9), dtype=np.uint8)
    for count in (TILES, 50, 20):
        codes = centres[rng.integers(0, 4, count)]
        codes[:, -1] ^= (1 << rng.integers(0, 3, count)).astype(np.uint8)
        frame = make_grid(count).assign(
            scene=np.where(np.arange(count) % 2, "odd", "even"),
            datetime=np.datetime64("2023-01-01") + rng.integers(0, 300, count),
        )
        archive.add_codes(codes, frame)
    archive.remove_tiles(rng.choice(TILES, 500, replace=False))
    return archive


@pytest.mark.parametrize(
    "options",
    [
        {"k": 1},
        {"k": 40},
        {"k": 5000},
        {"k": 10_000, "max_distance": 30},
        {"k": None, "max_distance": 34},
        {"k": 40, "region": (10.2, 30.0, 11.5, 49.95)},
        {"k": 40, "region": TRIANGLE},
        {"k": 40, "region": TRIANGLE, "within": True, "scenes": ["odd"]},
        {"k": 300, "time": ("2023-03-01", "2023-05-01"), "exclude_region": TRIANGLE},
        {"k": 40, "exclude_ids": range(0, TILES, 3)},
    ],
)
def test_both_scanners_return_the_same_ties_included(archive, monkeypatch, options):
    monkeypatch.setattr(scan_numpy, "PIECE", 5000)  # one query of five at a time
    queries = np.random.default_rng(5).integers(0, 256, (5, 9), dtype=np.uint8)  # four centres
    found = []
    for most in (float("inf"), -1):
        monkeypatch.setattr(compiled.Spent, "most", most)
        found.append(archive.search(queries, **options))
    assert found[0].ids.shape[1] >= min(options["k"] or 1, 30)
    assert np.array_equal(found[0].ids, found[1].ids)
    assert np.array_equal(found[0].distances, found[1].distances)


def test_a_small_archive_answers_without_compiling(archive):
    done = subprocess.run(
        [sys.executable, "-c", SEARCH, str(archive.path), TRIANGLE.wkt],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    zero = np.zeros((1, 9), np.uint8)
    compiled_here = [
        archive.search(zero, k=9),
        archive.search(zero, k=None, max_distance=40),
        archive.search(zero, k=9, region=(10, 49, 11, 50), scenes=["even"]),
        archive.search(zero, k=9, region=TRIANGLE, scenes=["even"]),
    ]
    expected = [found.ids[0].tolist()[:9] for found in compiled_here]
    assert done.stdout == f"{expected} False\n", "the last word: whether Numba was imported"


def test_a_process_compiles_once_its_searches_have_taken_as_long_as_compiling(monkeypatch):
    monkeypatch.setattr(compiled.Spent, "comparisons", 0)
    monkeypatch.setattr(compiled.Spent, "most", 1000)
    chosen = [type(scanner(400, num_bytes=8)) for _ in range(4)]
    assert chosen == [NumpyScanner, NumpyScanner, NumbaScanner, NumbaScanner]


def test_one_large_search_compiles_at_once(monkeypatch):
    monkeypatch.setattr(compiled.Spent, "most", 1 << 25)
    assert isinstance(scanner(1 << 40, num_bytes=8), NumbaScanner)


def test_a_kernel_that_finds_the_wrong_codes_is_not_used(monkeypatch):
    monkeypatch.setattr(kernels, "scan", lambda *arrays: None)
    compiled.numba_works.cache_clear()
    with pytest.warns(GeoHashRSWarning, match=r"the compiled kernel found .* falls back to NumPy"):
        chosen = scanner(1 << 40, num_bytes=4)
    assert isinstance(chosen, NumpyScanner)
    compiled.numba_works.cache_clear()
