"""A kill of each command that reaches beyond its folder; `tests.engines.kills` makes hundreds.

Changes of a folder are killed in `tests/store/test_crash.py` and `tests/indexing/test_faults.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KINDS = ["push file", "push s3", "pull s3", "publish"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_killed_command_loses_nothing_and_leaves_nothing_half_there(postgres_server):
    for name in ("s3fs", "moto.server", "psycopg"):
        pytest.importorskip(name)
    done = subprocess.run(
        [sys.executable, "-m", "tests.engines.kills", "--kills", str(len(KINDS)), "--only", *KINDS],
        cwd=ROOT,
        env={**os.environ, "GEOHASH_RS_TEST_POSTGRES": postgres_server, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [line[:10].strip() for line in done.stdout.splitlines()] == [*KINDS, "all"]
