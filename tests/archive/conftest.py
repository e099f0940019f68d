"""What the tests of the archive share."""

import pytest

from geohash_rs.archive import scan
from geohash_rs.archive.engine_numpy import NumpyEngine


@pytest.fixture(params=["numba", "numpy"])
def engine(request, monkeypatch):
    """Run a test with each engine."""
    if request.param == "numpy":
        monkeypatch.setattr(scan, "engine", NumpyEngine)
    return request.param
