"""Hold codes of real vectors against exact float cosine and the signs of FAISS."""

from pathlib import Path

from tests.benchmarks.embeddings import (
    by_archive,
    by_signs,
    clay_vectors,
    nearest_by_cosine,
    recall,
    split,
)


def test_an_archive_of_clay_vectors_keeps_more_neighbours_than_signs(
    tmp_path: Path, shared_data: Path
) -> None:
    asked, other, base = split(clay_vectors(shared_data), 40)
    true = nearest_by_cosine(asked, base)
    signs = by_signs(base, asked, 256)
    assert signs is not None
    found = by_archive(
        tmp_path / "a", base, asked, num_bits=256, fitted_on=other, rankings=["hamming", "vectors"]
    )
    assert recall(true, found["hamming"]) > recall(true, signs) + 0.05
    assert recall(true, found["vectors"]) >= 0.98
