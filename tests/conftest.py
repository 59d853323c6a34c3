"""What every test may use."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# A shell starts jobs in the background with Ctrl-C ignored, and so would be the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# As `vad` has it: threads of OpenMP that wait sleep. There are as many processes of tests as cores, each with as many
# threads; spinning, they took a test of seconds two minutes.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# `make test` tells a make that a test starts that it is an inner one, which then prints its folder; a git hook tells
# a git that a test starts which repository it is to work on. What tests start is to be as it is for a person.
for name in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"):
    os.environ.pop(name, None)


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data beside the checkout, where there is some; a test that wants it skips where there is none."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the real data beside the checkout")
    return path


def ended_by_a_kill(script: Path, begun: Callable[[], bool]) -> None:
    """Run a script, kill its process once it has begun others, and wait until none of these is left."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script], start_new_session=True, env=environment)
    try:
        while not begun():
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
        killed = time.monotonic()
        with contextlib.suppress(ProcessLookupError):  # there is none in its group
            while time.monotonic() < killed + 60:
                os.killpg(process.pid, 0)
                time.sleep(0.1)
            pytest.fail("processes that it began go on")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
