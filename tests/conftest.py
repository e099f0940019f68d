"""Fixtures that every test may use."""

from pathlib import Path

import pytest
import torch

# Small networks gain little from a second thread, and lose much where another process needs it.
torch.set_num_threads(1)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Give the folder of real imagery, or skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real imagery is not at {SHARED_DATA}")
    return SHARED_DATA
