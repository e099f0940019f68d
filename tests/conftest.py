"""Fixtures that every test may use."""

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real imagery, or skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real imagery is not at {SHARED_DATA}")
    return SHARED_DATA
