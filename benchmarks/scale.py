"""`python -m benchmarks.scale`: the pipeline on 1, 4 and 16 times the embedded data set's clip length.

Prints each stage's time per frame and peak memory. Both should not depend on the length: artefacts grow on disk alone.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

from vadlib.cli.main import print_table
from vadlib.settings import load_dataset

STAGES = Path(__file__).resolve().parents[1] / "stages"
RUNS = (
    ("prepare", "prepare"), ("detect", "detect"), ("flow", "flow"),
    ("build_raw", "build_raw"), ("build_flow", "build_flow"),
    ("train raw", "train --branch raw"), ("train flow", "train --branch flow"),
    ("fit_scores", "fit_scores"), ("calibrate", "calibrate"), ("score", "score"), ("evaluate", "evaluate"),
)  # fmt: skip


def scale(
    factor: Annotated[list[int] | None, typer.Option(help="Times the length; 1, 4 and 16 if not given.")] = None,
    epochs: Annotated[int, typer.Option(help="Of training: its time is that much longer, its memory the same.")] = 1,
    network: Annotated[str, typer.Option(help="The data set whose network is trained; tiny's is much the faster.")] = (
        "synthetic"
    ),
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the rows here as well.")] = None,
) -> None:
    """Run every stage on longer and longer renderings of the embedded street: time per frame and peak memory.

    All clips become longer; their number stays. About an hour on two cores with the default factors.
    """
    factors = factor or [1, 4, 16]
    found = {times: run(times, epochs, network) for times in factors}
    for of_stages in found.values():
        seconds, frames, memory = zip(*of_stages.values(), strict=True)
        of_stages["all"] = (sum(seconds), frames[0], max(memory))
    rows = []
    for stage in [*(name for name, _ in RUNS), "all"]:
        row: dict[str, object] = {"stage": stage}
        for times in factors:
            seconds, frames, memory = found[times][stage]
            row[f"{times}x ms/frame"] = f"{1000 * seconds / frames:.2f}"
            row[f"{times}x MiB"] = memory
        rows.append(row)
    print_table(rows)
    # What starting the processes costs depends on no length: frames beyond a shorter run's do not pay it.
    for short, long in pairwise(factors):
        (before, fewer, _), (after, more, _) = found[short]["all"], found[long]["all"]
        print(f"from {short}x to {long}x: {1000 * (after - before) / (more - fewer):.2f} ms for each frame more")
    if json_file:
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def run(times: int, epochs: int, network: str) -> dict[str, tuple[float, int, int]]:
    """Every stage's seconds, the data set's frames, and the stage's peak memory in MiB, by stage."""
    settings, compute = load_dataset("synthetic")
    scaled = settings.model_dump(mode="json")
    street = scaled["source"]["street"]
    street["clip_frames"] *= times
    scaled["training"]["epochs"] = epochs
    scaled["model"] = load_dataset(network)[0].model.model_dump(mode="json")
    frames = street["clip_frames"] * (street["training_clips"] + street["testing_clips"])
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        content = {"datasets": ["synthetic"], "compute": compute.model_dump(), "dataset": {"synthetic": scaled}}
        with (project / "params.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(content, file)
        (project / "weights").symlink_to(STAGES.parent / "weights")
        for stage, command in RUNS:
            script, *options = command.split()
            line = [sys.executable, STAGES / f"{script}.py", "--dataset", "synthetic", *options]
            done = subprocess.run(line, cwd=project, env=os.environ, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{stage} at {times}x: {done.stderr.strip()}")
            closing = re.search(r"in ([\d.]+) s, peak memory (\d+) MiB", done.stdout)
            found[stage] = (float(closing[1]), frames, int(closing[2]))
            print(f"{times}x {done.stdout.strip().splitlines()[-1]}", flush=True)
    return found


if __name__ == "__main__":
    typer.run(scale)
