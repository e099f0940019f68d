"""Fixtures for the tests of the store."""

import pytest

from geohash_rs.store.search import compiled


@pytest.fixture(autouse=True)
def _compile(monkeypatch):
    """Search with the compiled loops, however small the archive; other folders' tests do not."""
    monkeypatch.setattr(compiled.Spent, "most", -1)


@pytest.fixture(params=["numba", "numpy"])
def scanner(request, monkeypatch):
    """Run a test with each scanner."""
    if request.param == "numpy":
        monkeypatch.setattr(compiled.Spent, "most", float("inf"))
    return request.param
