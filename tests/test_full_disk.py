"""A disk that is full at the n-th write, for every n, at each place that writes a file; and what is read of damage."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which(os.environ.get("CC", "cc")) is None, reason="needs Linux and a C compiler"
)
def test_a_disk_full_at_any_write_is_one_line_and_the_next_run_makes_the_same_bytes():
    """Of stages and commands: `python -m tests.full_disk --stages`."""
    run = [sys.executable, "-m", "tests.full_disk"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line for line in done.stdout.splitlines() if line.endswith("| ok |")]
    assert len(rows) == 2 * 16
