"""A worker killed in the middle of a clip, in each stage that goes over clips: every byte as if nothing had been.

    python scripts/lost_workers.py

Renders a street and works on it in this process; then each stage is done again by two workers of Ray's, processes of
their own, of which one is killed by SIGKILL about halfway through a clip. The same for `vad train` and `vad score`.
"""

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.projects import STAGES, artefacts, leftovers, run_stages, settings
from vadlib.cli.commands import run
from vadlib.cli.main import app, print_table
from vadlib.errors import VadError
from vadlib.footage import many
from vadlib.io.files import write_text
from vadlib.io.ownership import LEDGER
from vadlib.pipeline import mapping
from vadlib.pipeline.executors import registry
from vadlib.pipeline.executors.tasks import share_cores
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings

SHARED_OUT = ["detect", "flow", "build_raw", "build_flow", "score"]
ONE = ComputeSettings(workers=1, precision="fp32")
TWO = ComputeSettings(executor="ray", workers=2, precision="fp32")
FOOTAGE = """\
detector: {kind: motion, motion: {threshold: 40, min_area: 80}}
flow: {preset: ultrafast}
cube: {context: 2, patch: 8}
model: {widths: [4, 8, 8], layers: 1, heads: 2}
training: {epochs: 1, batch: 8, hold_out_every: 5}
"""


@dataclass
class Watched:
    """Stands between a stage and its executor: notes when each task is begun and done, and kills a worker."""

    folder: Path
    rows: list[dict[str, object]] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)  # seconds that a task of a stage takes, by the stage
    killing: bool = False

    def run(self, work: Any, tasks: Any, compute: ComputeSettings) -> Iterator[Any]:
        """What an executor does."""
        tasks = list(tasks)
        if not tasks:
            return
        stage = name_of(work)
        notes = self.folder / f"{stage} {time.monotonic_ns()}"
        notes.mkdir(parents=True)
        over = threading.Event()
        killer = threading.Thread(target=self._kill, args=(stage, notes, over, len(tasks)))
        if self.killing:
            killer.start()
        try:
            yield from registry.run(partial(noted, notes, work), tasks, compute)
        finally:
            over.set()
            if self.killing:
                killer.join()
        begun = [read(path) for path in notes.glob("*.begun")]
        if not self.killing:
            done = {path.stem: float(path.read_text()) for path in notes.glob("*.done")}
            self.times[stage] = median(done.values())
        else:
            tries = Counter(str(task) for *_, task in begun)
            self.rows[-1]["tries again"] = sum(tries.values()) - len(tries)

    def _kill(self, stage: str, notes: Path, over: threading.Event, tasks: int) -> None:
        """Kill the process that has been at its clip for half the time that it takes, once both are at work."""
        typical = self.times[stage]
        row: dict[str, object] = {"stage": stage, "clips": tasks, "killed at": "nobody", "of s": round(typical, 2)}
        self.rows.append(row)
        while not over.wait(0.002):
            ended = {path.stem for path in notes.glob("*.done")}
            busy = [(path, *read(path)) for path in notes.glob("*.begun") if path.stem not in ended]
            if len({pid for _, pid, _, _ in busy}) < 2:
                continue
            for path, pid, since, _ in busy:
                spent = time.monotonic() - since
                if 0.4 * typical < spent < 0.9 * typical and not path.with_suffix(".done").exists():
                    os.kill(pid, signal.SIGKILL)
                    time.sleep(0.05)
                    if path.with_suffix(".done").exists():  # it was quicker than that
                        continue
                    row["killed at"] = f"{spent:.2f} s"
                    return


def noted(notes: Path, work: Any, *args: Any) -> Any:
    """Do a task, and leave a note of when it was begun, by whom, and of how long it took."""
    clip = args[0]
    name = f"{time.monotonic_ns()} {os.getpid()}"
    started = time.monotonic()
    aside = notes / f"{name}.aside"
    aside.write_text(f"{os.getpid()}\n{started}\n{getattr(clip, 'key', None) or clip.name}")
    aside.rename(notes / f"{name}.begun")
    result = work(*args)
    (notes / f"{name}.done").write_text(str(time.monotonic() - started))
    return result


def read(path: Path) -> tuple[int, float, str]:
    """A note of a task that was begun: the process, when, and the clip."""
    pid, since, clip = path.read_text().split("\n")
    return int(pid), float(since), clip


def name_of(work: Any) -> str:
    """The stage that work is of."""
    if work.func is not mapping._one:
        return "vad score"
    of_stage = work.args[0]
    module = of_stage.func.__module__.rpartition(".")[2]
    return f"build_{of_stage.args[2]}" if module == "build" else module


def vad(*arguments: str) -> None:
    """A command as it is typed. Click returns the exit code of what raised `typer.Exit`."""
    if code := app(list(arguments), standalone_mode=False):
        raise VadError(f"exit code {code}")


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all results but ledgers, which grow with what was tried."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LEDGER)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def lost_workers(
    clips: Annotated[int, typer.Option(min=4, help="For training; half as many for testing.")] = 6,
    frames: Annotated[int, typer.Option(min=8, help="Of each.")] = 100,
) -> Mapping[str, float]:
    """Print, for each stage, when which worker was killed, what was begun again, and whether all bytes are the same."""
    street = {
        "size": [128, 96],
        "training_clips": clips,
        "testing_clips": clips // 2,
        "clip_frames": frames,
        "walkers": 2,
    }
    used = settings(
        source={"layout": "synthetic", "street": street},
        detector={"kind": "motion", "motion": {"threshold": 40, "min_area": 80}},
    )
    share_cores(1)  # as a worker of Ray's: other numbers of threads round otherwise
    with tempfile.TemporaryDirectory(prefix="lost-workers-") as name, contextlib.chdir(name):
        folder = Path(name)
        watched = Watched(folder / "notes")
        mapping.run = many.run = watched.run
        for made in ("data", "weights"):
            (folder / made / "mini").mkdir(parents=True)
        write_text(folder / "settings.yaml", FOOTAGE)
        run_stages(used, STAGES, ONE)
        footage = shutil.copytree(Places.of("mini").prepared / "footage/training", folder / "footage")
        train = ("train", str(footage), "--output", "model", "--settings", "settings.yaml", "--workers")
        score = ("score", str(footage), "--model", "model", "--output", "found", "--workers")
        vad(*train, "1")
        vad(*score, "1")
        whole, model, found = artefacts(folder), contents(folder / "model"), contents(folder / "found")
        watched.killing = True

        def same(bytes_are_same: bool, since: int) -> None:
            for row in watched.rows[since:]:
                row["same bytes"] = "yes" if bytes_are_same else "NO"
                print("; ".join(f"{name} {value}" for name, value in row.items()), flush=True)

        for stage in SHARED_OUT:
            run_stages(used, [stage], TWO)
            same(artefacts(folder) == whole and not leftovers(folder), -1)
        since = len(watched.rows)
        shutil.rmtree("model")
        vad(*train, "2", "--executor", "ray")
        for row in watched.rows[since:]:
            row["stage"] = f"vad train: {row['stage']}"
        same(contents(folder / "model") == model, since)
        shutil.rmtree("found")
        vad(*score, "2", "--executor", "ray")
        same(contents(folder / "found") == found, -1)
    print_table(watched.rows)
    if bad := [row for row in watched.rows if row["same bytes"] != "yes" or row["killed at"] == "nobody"]:
        raise VadError(f"{len(bad)} of {len(watched.rows)} stages: other bytes, or nobody was killed")
    return {"stages": len(watched.rows)}


if __name__ == "__main__":
    run(lost_workers)
