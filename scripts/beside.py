"""How fast `vad score` is by itself, and beside busy loops: with OpenMP's threads asleep while they wait, as `vad` has
them, and spinning, as they would be.

    python scripts/beside.py --model models/synthetic --video street.mp4
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from vadlib.cli.commands import run
from vadlib.errors import VadError


def beside(
    model: Annotated[Path, typer.Option(help="A model folder.")],
    video: Annotated[Path, typer.Option(help="What is scored.")],
    loops: Annotated[int, typer.Option(help="Busy loops.")] = os.cpu_count() or 1,
    threads: Annotated[list[int] | None, typer.Option(help="Of `vad --threads`; several.")] = None,
) -> None:
    """Frames a second of `vad score` by itself and beside busy loops."""
    for count, policy in product(threads or (1, os.cpu_count() or 1), ("PASSIVE", "ACTIVE")):
        alone = rate(model, video, count, policy)
        with busy(loops):
            among = rate(model, video, count, policy)
        share = f"{100 * among / alone:.0f} %"
        print(
            f"{count} threads, {policy}: {alone} frames/s alone, {among} beside {loops} busy loops, {share}", flush=True
        )


def rate(model: Path, video: Path, threads: int, policy: str) -> float:
    """Frames a second, as `vad score` tells it."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "vadlib",
            "--threads",
            str(threads),
            "score",
            str(video),
            "--model",
            str(model),
        ]
        done = subprocess.run(
            [*command, "--output", f"{folder}/out"], capture_output=True, text=True,
            env={**os.environ, "OMP_WAIT_POLICY": policy},
        )  # fmt: skip
    found = re.search(r"([\d.]+) frames/s", done.stdout)
    if found is None:
        raise VadError(done.stderr.strip().splitlines()[-1])
    return float(found[1])


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many processes that do nothing, as fast as they can."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


if __name__ == "__main__":
    run(beside)
