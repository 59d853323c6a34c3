"""Many short recordings through `vad train` and `vad score`, by both executors: how fast, and what of memory and open
files grows with their number.

    python scripts/recordings.py --recordings 500

Renders recordings of ten seconds (96x64 at 5 frames a second, two squares that cross a ground of noise), learns from
them and scores them with two workers, first a fifth of them, then all. What does not grow with their number has the
same peak in both. A small model of one epoch: the work on each recording is little, that of handing it out is not.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.stage_memory import below
from vadlib.cli.commands import run
from vadlib.cli.main import print_table
from vadlib.errors import VadError
from vadlib.io.files import write_text
from vadlib.io.ownership import LEDGER

WIDTH, HEIGHT, FPS, SECONDS = 96, 64, 5, 10
SETTINGS = """\
detector: {kind: motion, motion: {threshold: 25, min_area: 40}}
flow: {preset: ultrafast}
cube: {context: 2, patch: 8}
model: {widths: [4, 8, 8], layers: 1, heads: 2}
training: {epochs: 1, batch: 64, hold_out_every: 5}
"""
SECONDS_BETWEEN = 0.25  # samples


def render(path: Path, seed: int) -> None:
    """Two squares of their own size and speed."""
    import av

    rng = np.random.default_rng(seed)
    ground = rng.integers(90, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    sides, speeds = rng.integers(10, 18, 2), rng.uniform(2, 5, 2)
    tops, colours = rng.integers(0, HEIGHT - 18, 2), rng.integers(180, 255, (2, 3))
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FPS * SECONDS):
            frame = ground.copy()
            for side, speed, top, colour in zip(sides, speeds, tops, colours, strict=True):
                at = int(speed * number) % (WIDTH - side)
                frame[top : top + side, at : at + side] = colour
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


class Peaks:
    """The most memory and open files that processes of a kind were seen with: the command's own, a worker's, Ray's."""

    def __init__(self, command: int) -> None:
        self.memory: dict[str, int] = defaultdict(int)  # KiB that a process of the kind has in memory
        self.files: dict[str, int] = defaultdict(int)
        self.workers: set[int] = set()
        self._command = command
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> "Peaks":
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(SECONDS_BETWEEN):
            for pid in below(self._command):
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
                    status = Path(f"/proc/{pid}/status").read_text()
                    files = len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
                except OSError:  # it has ended meanwhile
                    continue
                kind = "command"
                if pid != self._command:
                    kind = "worker" if words.startswith("ray::_Worker") or "spawn_main" in words else "other"
                if kind == "worker":
                    self.workers.add(pid)
                resident = next((int(line.split()[1]) for line in status.splitlines() if line[:6] == "VmRSS:"), 0)
                self.memory[kind] = max(self.memory[kind], resident)
                self.files[kind] = max(self.files[kind], files)


def measured(name: str, executor: str, count: int, words: list[str], log: Path) -> dict[str, object]:
    """Run a command of `vad` and return its row. Raises VadError where it fails."""
    command = [sys.executable, "-m", "vadlib", *words, "--executor", executor, "--workers", "2"]
    started = time.monotonic()
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        with Peaks(process.pid) as peaks:
            code = process.wait()
    if code:
        raise VadError(f"{' '.join(words)}: exit code {code}: {log.read_text(encoding='utf-8').strip()[-500:]}")
    seconds = time.monotonic() - started
    return {
        "command": name, "executor": executor, "recordings": count, "s": round(seconds),
        "recordings/s": round(count / seconds, 2), "frames/s": round(count * FPS * SECONDS / seconds),
        "command MiB": round(peaks.memory["command"] / 1024), "worker MiB": round(peaks.memory["worker"] / 1024),
        "files of command": peaks.files["command"], "of worker": peaks.files["worker"],
        "workers": len(peaks.workers),
    }  # fmt: skip


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all results but ledgers, which grow with what was tried."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != LEDGER)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def recordings(
    recordings: Annotated[int, typer.Option(min=10, help="Of ten seconds each.")] = 500,
) -> Mapping[str, float]:
    """Print a row for each command, executor and number of recordings."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="recordings-") as name:
        folder = Path(name)
        for part, count in (("fifth", recordings // 5), ("all", recordings)):
            (folder / part).mkdir()
            for number in range(count):
                there = folder / "fifth" / f"{number:05d}.mp4"
                if there.exists():
                    os.link(there, folder / part / there.name)
                else:
                    render(folder / part / there.name, number)
        write_text(folder / "settings.yaml", SETTINGS)
        for part, count in (("fifth", recordings // 5), ("all", recordings)):
            left: dict[str, dict[str, bytes]] = {}
            for executor in ("local", "ray"):
                model, found = folder / "model", folder / "found"
                for command, words, output in (
                    ("vad train", ["--settings", str(folder / "settings.yaml")], model),
                    ("vad score", ["--model", str(model)], found),
                ):
                    given = [command.split()[1], str(folder / part), *words, "--output", str(output)]
                    rows.append(measured(command, executor, count, given, folder / "log"))
                    print("; ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
                    of_this = contents(output)
                    of_one = left.setdefault(command, of_this)
                    if of_this != of_one:
                        other = [path for path, had in of_this.items() if had != of_one.get(path)]
                        raise VadError(f"{command}: other bytes by {executor}: {', '.join(other[:5])}")
                shutil.rmtree(model)
                shutil.rmtree(found)
    print_table(sorted(rows, key=lambda row: (str(row["command"]), str(row["executor"]))))
    return {"recordings": recordings, "frames of each": FPS * SECONDS}


if __name__ == "__main__":
    run(recordings)
