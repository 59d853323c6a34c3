"""What memory and how many open files each stage takes: `python scripts/stage_memory.py --dataset ped2`.

Every stage is run as `dvc repro` runs it, in a folder elsewhere, and looked at twenty times a second: the largest of
its processes, all of them together, and the files that one of them has open. Training is cut short, by --most-cubes: a
step takes what it takes, however many there are. `--clips 2000` is of so many rendered clips, of --frames frames each,
instead; `--times 16` of so many times the clips that the data set is rendered with.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from ruamel.yaml import YAML

from vadlib.cli.commands import run
from vadlib.cli.main import print_table
from vadlib.errors import VadError

ROOT = Path(__file__).resolve().parents[1]
STAGES = {
    "prepare": [], "detect": [], "flow": [], "build_raw": [], "build_flow": [], "train_raw": ["--branch", "raw"],
    "train_flow": ["--branch", "flow"], "fit_scores": [], "calibrate": [], "score": [], "evaluate": [], "package": [],
    "report": [],
}  # fmt: skip
SMALL = {"size": [96, 64], "fps": 25, "walkers": 2}


def of_process(pid: int) -> tuple[float, int]:
    """MiB at most so far, and open files; none of one that has ended."""
    try:
        peak = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{pid}/status").read_text())
        return (int(peak[1]) / 1024 if peak else 0.0), len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0.0, 0


def below(pid: int) -> list[int]:
    """A process and all that it began."""
    found = [pid]
    for task in found:
        for children in Path(f"/proc/{task}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def watched(command: list[str], folder: Path) -> dict[str, float]:
    """Run a command, and return what it took. Raises VadError where it fails."""
    began = time.monotonic()
    peaks: dict[int, float] = {}
    together = files = 0.0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said)
        while process.poll() is None:
            now = 0.0
            for pid in below(process.pid):
                peak, opened = of_process(pid)
                peaks[pid] = max(peaks.get(pid, 0.0), peak)
                now, files = now + peak, max(files, opened)
            together = max(together, now)
            time.sleep(0.05)
        if process.returncode:
            said.seek(0)
            raise VadError(f"{' '.join(command)}: {said.read().strip().splitlines()[-1]}")
    return {
        "s": round(time.monotonic() - began, 1), "processes": len(peaks), "largest MiB": round(max(peaks.values())),
        "together MiB": round(together), "open files": round(files),
    }  # fmt: skip


def stage_memory(
    dataset: Annotated[str, typer.Option(help="Of params.yaml; its footage is linked.")] = "synthetic",
    times: Annotated[int, typer.Option(min=1, help="So many times the training clips, where they are rendered.")] = 1,
    clips: Annotated[int, typer.Option(help="Rendered clips of small frames instead, a tenth of them to test.")] = 0,
    frames: Annotated[int, typer.Option(min=6, help="Of each of those.")] = 10,
    most_cubes: Annotated[int, typer.Option(help="That a training learns from, in one epoch.")] = 2048,
    small_networks: Annotated[
        bool, typer.Option(help="Of a twentieth of the work: hours of footage pass here.")
    ] = False,
    one_eta: Annotated[bool, typer.Option(help="Score by the first alone.")] = False,
    workers: Annotated[int, typer.Option(min=1)] = 2,
) -> Mapping[str, float]:
    """Run every stage of a data set, and print what each took."""
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    used = params["dataset"][dataset]
    used["training"].update(epochs=1, max_cubes=most_cubes)
    if small_networks:
        used["model"].update(widths=[4, 8, 8], layers=1, heads=2)
    if one_eta and isinstance(used["eta"], list):
        used["eta"] = used["eta"][0]
    if clips:
        used["source"]["street"] |= {
            **SMALL, "training_clips": clips - clips // 10, "testing_clips": clips // 10, "clip_frames": frames,
        }  # fmt: skip
    elif times > 1:
        used["source"]["street"]["training_clips"] *= times
    rows = []
    with tempfile.TemporaryDirectory(prefix="stage-memory-") as name:
        folder = Path(name)
        for kind in ("data", "weights"):
            (folder / kind).mkdir()
            for source in (ROOT / kind).iterdir():
                if source.name != dataset or (clips == 0 and times == 1):
                    (folder / kind / source.name).symlink_to(source.resolve())
                elif kind == "weights":
                    (folder / kind / source.name).symlink_to(source)
                else:
                    (folder / kind / source.name).mkdir()
        written = {
            "datasets": [dataset],
            "compute": params["compute"] | {"workers": workers},
            "dataset": {dataset: used},
        }
        with (folder / "params.yaml").open("w", encoding="utf-8") as file:
            YAML(typ="safe", pure=True).dump(written, file)
        for stage, options in STAGES.items():
            script = ROOT / "stages" / f"{stage.partition('_')[0] if options else stage}.py"
            row = watched([sys.executable, str(script), "--dataset", dataset, *options], folder)
            rows.append({"stage": stage, **row})
            print(stage, row, flush=True)
    print_table(rows)
    return {"stages": len(rows), "MiB at most": max(row["largest MiB"] for row in rows)}


if __name__ == "__main__":
    run(stage_memory)
