"""A few changes of files at random; `python -m tests.store.fuzz --minutes 60` tries many."""

import sys

import pytest

from tests.store.fuzz import make_base, start_round


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as on Linux")
def test_only_errors_of_the_package_come_out_of_changed_files(quick_hasher, tmp_path):
    make_base(tmp_path / "base", quick_hasher.to_bytes())
    assert start_round(tmp_path / "base", 0, 40) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as on Linux")
def test_what_the_changes_find_is_reported(tmp_path):
    found = start_round(tmp_path / "missing", 0, 1)
    assert "FileNotFoundError" in found
