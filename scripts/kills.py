"""Kill this project's work at random moments, as often as wanted, and hold what is left in the end against what an
undisturbed run leaves: `python scripts/kills.py --kills 50`.

Three ways of working are killed in turn: the stages of a rendered data set in their order (`dvc repro`, but for DVC:
what is not done by then is begun again), `vad train` and `vad score`. Each time SIGKILL comes at a moment drawn evenly
over the time that an undisturbed run takes, and the next run goes on with what it finds, until one is through; then it
begins anew elsewhere. Runs are processes of this one, which has loaded the libraries: all of a run's time is work.
"""

import contextlib
import importlib
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests import layouts
from tests.projects import STAGES, leftovers, settings
from vadlib.cli.commands import run
from vadlib.cli.main import app, print_table
from vadlib.errors import VadError
from vadlib.io.files import write_text
from vadlib.io.ownership import LEDGER
from vadlib.pipeline.package import package_model
from vadlib.pipeline.places import Places
from vadlib.pipeline.report import report_scores
from vadlib.settings import ComputeSettings

COMPUTE = ComputeSettings(workers=1, precision="fp32")
MOTION = {"kind": "motion", "motion": {"threshold": 40, "min_area": 80}}
TRAINING = {"epochs": 2, "batch": 8, "checkpoint_seconds": 0.001, "hold_out_every": 5}
STREET = {
    "seed": 3, "size": [128, 96], "fps": 25, "training_clips": 2, "testing_clips": 2, "clip_frames": 24, "walkers": 2,
}  # fmt: skip


@dataclass
class Way:
    """A way of working: what is there before, what is done, and in which folders its results are."""

    name: str
    prepare: Callable[[Path], object]
    work: Callable[[], object]
    results: tuple[str, ...]
    goes_on: bool = True  # whether a run goes on with what one that was killed had made
    seconds: float = 0.0  # that an undisturbed run takes
    whole: dict[str, bytes] = field(default_factory=dict)  # what it leaves
    lost: list[float] = field(default_factory=list)  # seconds of work at each kill
    through: int = 0  # runs that came through after kills


def stages_of_a_data_set(done: Path) -> None:
    """Every stage that is not noted, in a folder elsewhere, to be done."""
    used = settings(source={"layout": "synthetic", "street": STREET}, detector=MOTION, training=TRAINING)
    places = Places.of("mini")
    after: dict[str, Callable[[], object]] = {
        "package": lambda: package_model(places, Path("models/mini"), used, COMPUTE),
        "report": lambda: report_scores(places, used, COMPUTE, Path("reports/mini.html")),
    }
    steps = {name: (lambda stage=stage: stage(places, used, COMPUTE)) for name, stage in STAGES.items()}
    for name, step in {**steps, **after}.items():
        if not (done / name).exists():
            step()
            done.mkdir(exist_ok=True)
            (done / name).touch()


def vad(*arguments: str) -> None:
    """A command as it is typed. Click returns the exit code of what raised `typer.Exit`."""
    if code := app(list(arguments), standalone_mode=False):
        raise VadError(f"exit code {code}")


def in_a_process(work: Callable[[], object], folder: Path, after: float | None) -> bool:
    """Do something in a process of its own in a folder. Returns whether it was killed, `after` so many seconds."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.chdir(folder)
            with Path("../log").open("a", encoding="utf-8") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            work()
            (folder.parent / "modules").write_text("\n".join(sorted(sys.modules)))
            code = 0
        except BaseException as error:  # it ends here, whatever it is
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    until = None if after is None else time.monotonic() + after
    while until is None or time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if status:
                said = (folder.parent / "log").read_text(encoding="utf-8").strip().splitlines()
                raise VadError("; ".join(said[-2:]))
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def files(folder: Path, results: tuple[str, ...]) -> dict[str, bytes]:
    """The bytes of all results but ledgers, which grow with what was tried."""
    found = [path for name in results for path in (folder / name).rglob("*") if path.is_file() and path.name != LEDGER]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def last_kept(folder: Path, foreign: set[Path]) -> float:
    """When a run last put something in its place that the next one goes on with."""
    times = [0.0]
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if path.is_file() and path not in foreign and path.name != LEDGER and not path.name.endswith(".partial"):
                times.append(path.stat().st_mtime)
    return max(times)


def ways(base: Path) -> list[Way]:
    """The three ways, on footage that is rendered once."""

    def project(folder: Path) -> None:
        for name in ("data", "weights"):
            (folder / name / "mini").mkdir(parents=True)

    def footage(folder: Path) -> None:
        shutil.copytree(base / "all", folder / "footage", copy_function=shutil.copy2)
        used = {"detector": MOTION, "flow": {"preset": "ultrafast"}, "training": TRAINING}
        small = settings().model_dump(mode="json")
        write_text(folder / "s.yaml", yaml({**{name: small[name] for name in ("cube", "model")}, **used}))

    def scored(folder: Path) -> None:
        footage(folder)
        shutil.copytree(base / "model", folder / "model")

    for number in range(4):
        layouts.write_video(base / "all" / f"{number}.mp4", pictures(number), codec="libx264")
    done = base / "done"
    return [
        Way("stages", project, lambda: stages_of_a_data_set(done), ("work", "metrics", "models", "reports")),
        Way(
            "vad train", footage,
            lambda: vad("train", "footage", "--output", "model", "--settings", "s.yaml", "--workers", "1"), ("model",),
        ),
        Way(
            "vad score", scored, lambda: vad("score", "footage", "--model", "model", "--output", "found"), ("found",),
            goes_on=False,
        ),
    ]  # fmt: skip


def pictures(clip: int) -> np.ndarray:
    """Two squares that differ in size and speed, and change their speed, before a still ground."""
    rng = np.random.default_rng(clip)
    frames = np.repeat(rng.integers(90, 120, (1, 96, 128, 3), dtype=np.uint8), 24, axis=0)
    for side in rng.integers(12, 24, 2):
        y, steps = rng.integers(0, 96 - side), np.cumsum(rng.integers(1, 5, len(frames)))
        for frame, x in zip(frames, steps, strict=True):
            frame[y : y + side, x : x + side] = rng.integers(180, 255, 3)
    return frames


def yaml(content: Mapping[str, object]) -> str:
    """Settings as a file of their own."""
    import io

    from ruamel.yaml import YAML

    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(dict(content), text)
    return text.getvalue()


def fresh(way: Way, base: Path) -> Path:
    """A folder of always the same path, with what a way needs; and nothing of it done."""
    shutil.rmtree(base / "trial", ignore_errors=True)
    shutil.rmtree(base / "done", ignore_errors=True)
    (base / "trial").mkdir()
    way.prepare(base / "trial")
    return base / "trial"


def kills(
    kills: Annotated[int, typer.Option(min=3, help="How many.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    only: Annotated[str, typer.Option(help="The ways whose names have this in them.")] = "",
    shown: Annotated[bool, typer.Option("--each", help="Print each kill.")] = False,
) -> Mapping[str, float]:
    """Kill work at random moments; print the work lost, and end with an error where anything else was lost."""
    draw = random.Random(seed)
    done = 0
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        base = Path(name)
        every = ways(base)
        for way in every:
            if only not in way.name and way.name != "vad train":  # whose model is scored by
                continue
            folder = fresh(way, base)
            in_a_process(way.work, folder, None)
            for module in (base / "modules").read_text().split():  # so that the runs to be killed need not
                with contextlib.suppress(Exception):
                    importlib.import_module(module)
            folder = fresh(way, base)
            began = time.monotonic()
            in_a_process(way.work, folder, None)
            way.seconds = time.monotonic() - began
            way.whole = files(folder, way.results)
            print(f"{way.name}: {len(way.whole)} files in {way.seconds:.1f} s", flush=True)
            if way.name == "vad train":
                shutil.copytree(folder / "model", base / "model")
        every = [way for way in every if only in way.name]
        for number, way in enumerate(every):
            wanted = (kills + number) // len(every)
            while len(way.lost) < wanted:
                folder = fresh(way, base)
                foreign = set(folder.rglob("*"))
                while True:
                    began = time.time()
                    after = draw.uniform(0, way.seconds) if len(way.lost) < wanted else None
                    if not in_a_process(way.work, folder, after):
                        break
                    kept = last_kept(folder, foreign) if way.goes_on else 0.0
                    way.lost.append(time.time() - max(began, kept))
                    if shown:
                        print(f"{way.name}: killed after {after:.2f} s, {way.lost[-1]:.2f} s of it lost", flush=True)
                found = files(folder, way.results)
                if found != way.whole:
                    differ = sorted(n for n in {*found, *way.whole} if found.get(n) != way.whole.get(n))
                    raise VadError(f"{way.name}: after {len(way.lost)} kills other bytes: {', '.join(differ)}")
                if left := [*folder.rglob("*.partial"), *(leftovers(folder) if way.name == "stages" else [])]:
                    raise VadError(f"{way.name}: after {len(way.lost)} kills there is left {left[0]}")
                way.through += 1
            done += len(way.lost)
    print_table(
        [
            {
                "": way.name, "files": len(way.whole), "undisturbed s": round(way.seconds, 1), "kills": len(way.lost),
                "came through": way.through, "lost s, median": round(statistics.median(way.lost), 2),
                "mean": round(statistics.mean(way.lost), 2), "most": round(max(way.lost), 2),
            }
            for way in every
        ]
    )  # fmt: skip
    return {"kills": done, "recoveries": done}


if __name__ == "__main__":
    run(kills)
