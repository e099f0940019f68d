"""Fixtures for the tests of the store."""

import pytest

from geohash_rs.store.search import compiled


@pytest.fixture(params=["numba", "numpy"])
def scanner(request, monkeypatch):
    """Run a test with each scanner."""
    if request.param == "numpy":
        monkeypatch.setattr(compiled, "numba_works", lambda: False)
    return request.param
