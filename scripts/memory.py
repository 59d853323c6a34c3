"""Show that the driver's memory does not grow with the number of clips: no-op work on many tiny ones.

    python scripts/memory.py --clips 100000

Each clip's artefact is a file of a few bytes, made, put in its place and counted as those of any stage are.
"""

import contextlib
import gc
import re
import tempfile
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from vadlib.cli.commands import run
from vadlib.cli.main import print_table
from vadlib.io.files import written_aside
from vadlib.manifest import Clip
from vadlib.pipeline import mapping
from vadlib.pipeline.executors import registry
from vadlib.pipeline.mapping import map_clips
from vadlib.settings import ComputeSettings


def write(clip: Clip, path: Path) -> dict[str, int]:
    """The least that a stage does."""
    with written_aside(path) as aside:
        aside.write_bytes(b"x")
    return {"clips": 1}


def memory(
    clips: Annotated[int, typer.Option(min=100)] = 100_000,
    workers: Annotated[int, typer.Option(min=1, help="1: in this process.")] = 1,
    rows: Annotated[int, typer.Option(min=2)] = 10,
) -> Mapping[str, float]:
    """Pass clips through the one way that stages go over them; print the driver's memory and open files meanwhile."""
    shown: list[dict[str, object]] = []
    started, done = time.monotonic(), 0

    def watched(work, tasks, compute):
        nonlocal done
        for result in registry.run(work, tasks, compute):
            yield result
            done += 1
            if done % (clips // rows) == 0:
                gc.collect()
                status = Path("/proc/self/status").read_text()
                resident = int(re.search(r"VmRSS:\s*(\d+)", status)[1])
                files = len(list(Path("/proc/self/fd").iterdir()))
                rate = done / (time.monotonic() - started)
                shown.append(
                    {
                        "clips": f"{done:,}",
                        "MiB": round(resident / 1024, 1),
                        "open files": files,
                        "clips/s": round(rate),
                    }
                )

    mapping.run = watched
    every = [Clip(f"{number:06d}", "training", "", 250, 320, 240) for number in range(clips)]
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        map_clips(
            partial(write), every, Path("out"), suffix=".txt", fingerprint="0" * 64,
            compute=ComputeSettings(workers=workers), label="memory",
        )  # fmt: skip
    print_table(shown)
    return {"clips": clips, "MiB more than at the first row": round(shown[-1]["MiB"] - shown[0]["MiB"], 1)}


if __name__ == "__main__":
    run(memory)
