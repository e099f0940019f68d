"""Measure which cosine neighbours of published vectors codes keep, next to FAISS; print Markdown.

    python -m tests.benchmarks.embeddings [--data ../shared/data] [--bits 64 128 256 512 1024]
        [--queries 300] [--cache DIR] [--json FILE]

The vectors are Clay's of the file in the data, and features of EfficientNet-Lite0 of UC Merced and
EuroSAT RGB. Queries are held out. recall@10 is the share of the ten nearest by exact float cosine
that are among the ten found. Ours are searched through an archive: by code,
reordered by the query's activations ("asymmetric"), and with the vectors kept as int8 and the 1,000
nearest by code reordered by them. One column fits the hasher on vectors different from those that
are searched. FAISS gets as many bytes a vector; where a row has none, the length is not possible.
Signs of fewer bits than dimensions are those of some dimensions drawn at random, and RaBitQ, which
adds 8 bytes a vector, gets principal components as far as bytes reach.
The last table is the size of an archive on disk.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import faiss
import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
from shapely import box

from geohash_rs import Archive, fit_hasher
from geohash_rs.hashing import Extractor
from geohash_rs.hashing.data.class_folders import ClassFolders
from geohash_rs.hashing.data.features import cached_features
from geohash_rs.hashing.embedding import Embedding
from geohash_rs.hashing.fit.embeddings import fit_embedding
from geohash_rs.retrieval.search import Ranking

CLAY = "embeddings/03WVN_20220610_20220610_v001.gpq"
K = 10
FEWEST_FOR_PQ = 500  # vectors to train 256 centres on; with fewer, there are 16
DISK_TILES, DISK_LENGTH = 100_000, 768


def clay_vectors(data: Path) -> np.ndarray:
    """Read the vectors of the file of Clay."""
    column = pq.read_table(data / CLAY, columns=["embeddings"])["embeddings"]
    return np.array(column.to_pylist(), np.float32)


def network_features(data: Path, name: str, cache: Path | None) -> np.ndarray:
    """Compute the features of a data set's tiles."""
    tiles = ClassFolders.open(data / name)
    hasher = fit_hasher([next(tiles.batches(size=64))], method="itq", num_bits=8)
    extractor = hasher.accelerate().extractor
    if not isinstance(extractor, Extractor):
        raise TypeError(type(extractor))
    found = cached_features(extractor, tiles.batches(), folder=cache)[:, 0]
    return np.asarray(found.numpy())


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def split(vectors: np.ndarray, queries: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return queries, other vectors to fit on, and those that are searched."""
    mixed = unit(vectors[np.random.default_rng(0).permutation(len(vectors))])
    held = min(queries, len(mixed) // 6)
    rest = mixed[held:]
    return mixed[:held], rest[: len(rest) // 2], rest[len(rest) // 2 :]


def nearest_by_cosine(queries: np.ndarray, base: np.ndarray) -> np.ndarray:
    likeness = queries.astype(np.float64) @ base.T.astype(np.float64)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :K]


def recall(true: np.ndarray, found: np.ndarray) -> float:
    shares = [len(set(t) & set(f)) / K for t, f in zip(true.tolist(), found.tolist(), strict=True)]
    return round(float(np.mean(shares)), 3)


def places(count: int) -> gpd.GeoDataFrame:
    """Make footprints in a grid."""
    x, y = np.arange(count) % 400 * 1e-3, np.arange(count) // 400 * 1e-3
    return gpd.GeoDataFrame(
        {"scene": ["vectors"] * count}, geometry=box(x, y, x + 1e-3, y + 1e-3), crs=4326
    )


def by_archive(
    folder: Path,
    base: np.ndarray,
    queries: np.ndarray,
    *,
    num_bits: int,
    fitted_on: np.ndarray,
    rankings: Sequence[Ranking] = ("hamming", "asymmetric", "vectors"),
) -> dict[str, np.ndarray]:
    """Search an archive by code; by the activations of the query; by the vectors that it keeps."""
    embedding = Embedding("", base.shape[1])
    hasher = fit_embedding(fitted_on, embedding=embedding, num_bits=num_bits)
    with Archive.create(folder, hasher=hasher, keep_vectors="int8") as archive:
        ids = archive.add_embeddings(base, places(len(base)), embedding=embedding)
        rows = dict(zip(ids.tolist(), range(len(ids)), strict=True))
        return {
            ranking: np.array(
                [
                    [
                        rows[tile]
                        for tile in archive.query(vector=query, k=K, ranking=ranking)["tile_id"]
                    ]
                    for query in queries
                ]
            )
            for ranking in rankings
        }


def by_signs(base: np.ndarray, queries: np.ndarray, num_bits: int) -> np.ndarray | None:
    """Search signs with FAISS."""
    if num_bits > base.shape[1]:
        return None
    some = np.random.default_rng(0).permutation(base.shape[1])[:num_bits]
    index = faiss.IndexBinaryFlat(num_bits)
    index.add(np.packbits(base[:, some] > 0, axis=1))
    return np.asarray(index.search(np.packbits(queries[:, some] > 0, axis=1), K)[1])


def by_pq(base: np.ndarray, queries: np.ndarray, num_bits: int) -> np.ndarray | None:
    """Search product quantisation with FAISS, a byte for each part of a vector, or half of one."""
    each = 8 if len(base) >= FEWEST_FOR_PQ else 4
    length, parts = base.shape[1], num_bits // each
    if length % parts:
        return None
    index = faiss.IndexPQ(length, parts, each)
    index.train(base)
    index.add(base)
    return np.asarray(index.search(queries, K)[1])


def by_rabitq(base: np.ndarray, queries: np.ndarray, num_bits: int) -> np.ndarray | None:
    """Search RaBitQ with FAISS, of principal components if bytes do not reach for all."""
    length = min(num_bits - 64, base.shape[1], len(base) - 1) // 8 * 8
    if length < 8:
        return None
    turn = faiss.PCAMatrix(base.shape[1], length, 0, True)
    turn.train(base)
    index = faiss.IndexPreTransform(turn, faiss.IndexRaBitQ(length, faiss.METRIC_L2))
    index.train(base)
    index.add(base)
    return np.asarray(index.search(queries, K)[1])


def measure(
    name: str, vectors: np.ndarray, bits: list[int], queries: int
) -> Iterator[dict[str, Any]]:
    """Yield one row for each number of bits."""
    asked, other, base = split(vectors, queries)
    true = nearest_by_cosine(asked, base)
    for num_bits in bits:
        with tempfile.TemporaryDirectory() as scratch:
            ours = by_archive(Path(scratch) / "a", base, asked, num_bits=num_bits, fitted_on=base)
            elsewhere = by_archive(
                Path(scratch) / "b",
                base,
                asked,
                num_bits=num_bits,
                fitted_on=other,
                rankings=["hamming"],
            )
        found = {
            "ours": ours["hamming"],
            "ours, fitted on others": elsewhere["hamming"],
            "ours, asymmetric": ours["asymmetric"],
            "ours, int8 of 1,000": ours["vectors"],
            "signs": by_signs(base, asked, num_bits),
            "PQ": by_pq(base, asked, num_bits),
            "RaBitQ": by_rabitq(base, asked, num_bits),
        }
        yield {
            "vectors": name,
            "searched": len(base),
            "length": base.shape[1],
            "bits": num_bits,
        } | {way: None if ids is None else recall(true, ids) for way, ids in found.items()}


def bytes_per_tile(kept: Literal["none", "int8"], num_bits: int = 256) -> float:
    """Return the bytes on disk of a tile, in an archive of random vectors."""
    rng = np.random.default_rng(0)
    embedding = Embedding("", DISK_LENGTH)
    vectors = rng.standard_normal((DISK_TILES, DISK_LENGTH), np.float32)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "archive"
        with Archive.create(path, hasher=f"general-{num_bits}", keep_vectors=kept) as archive:
            archive.add_embeddings(vectors, places(DISK_TILES), embedding=embedding)
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) / DISK_TILES


def show(rows: list[dict[str, Any]]) -> None:
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print(
            "| "
            + " | ".join(
                "" if v is None else f"{v:,}" if isinstance(v, int) else str(v)
                for v in row.values()
            )
            + " |"
        )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--bits", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--cache", type=Path, help="folder that keeps features for the next run")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sets = {"Clay": clay_vectors(args.data)}
    for name in ("ucmerced", "eurosat_rgb"):
        sets[name] = network_features(args.data, name, args.cache)
    rows = [row for name, v in sets.items() for row in measure(name, v, args.bits, args.queries)]
    show(rows)
    disk = [
        {"kept": kept, "bytes per tile": round(bytes_per_tile(kept), 1)}
        for kept in ("none", "int8")
    ]
    print(f"\n{DISK_TILES:,} tiles, general-256, vectors of {DISK_LENGTH}\n")
    show(disk)
    if args.json:
        args.json.write_text(json.dumps({"recall": rows, "disk": disk}, indent=1) + "\n")


if __name__ == "__main__":
    main()
