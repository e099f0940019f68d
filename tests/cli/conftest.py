"""What tests of several commands share."""

import pytest

from geohash_rs.cli import main


@pytest.fixture
def run(capsys):
    """Run a command in this process; return its exit code, output and error output."""

    def call(*words):
        with pytest.raises(SystemExit) as left:
            main([str(word) for word in words])
        seen = capsys.readouterr()
        return left.value.code or 0, seen.out, seen.err

    return call
