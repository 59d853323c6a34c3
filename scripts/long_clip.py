"""A long clip whole against in parts, with one worker and with two: the same bytes, and how long each takes.

    python scripts/long_clip.py --minutes 2
    python scripts/long_clip.py --minutes 120 --small

Renders minutes of squares that cross a ground of noise as one video, to be tested, and some to be trained on; then runs
detect (motion), flow, both builds and score, whose networks are small and trained for an epoch.
"""

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

from vadlib.cli.commands import run
from vadlib.cli.main import print_table
from vadlib.errors import VadError
from vadlib.pipeline import build_flow, build_raw, calibrate, detect, fit_scores, flow, prepare, score, train
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, DatasetSettings

STAGES = {
    "detect": detect.detect_boxes,
    "flow": flow.compute_flow,
    "build_raw": build_raw.build_raw_cubes,
    "build_flow": build_flow.build_flow_cubes,
    "score": score.score_clips,
}


@dataclass(frozen=True)
class Footage:
    """What is rendered, and the sides of its cubes."""

    width: int = 320
    height: int = 224
    fps: int = 25
    objects: int = 4
    patch: int = 32

    def frames(self) -> Iterator[np.ndarray]:
        """Squares that cross a ground of noise, without end."""
        rng = np.random.default_rng(0)
        ground = rng.integers(90, 120, (self.height, self.width, 3), dtype=np.uint8)
        tall, wide = self.height // 6, self.width // 14
        places = rng.integers(0, [self.height - tall, self.width], (self.objects, 2))
        speeds = rng.uniform(1, 4, self.objects)
        number = 0
        while True:
            frame = ground.copy()
            for index, (y, x) in enumerate(places):
                at = int(x + speeds[index] * number) % (self.width - wide)
                frame[y : y + tall, at : at + wide] = 40 + 50 * index
            yield frame
            number += 1

    def write(self, path: Path, count: int) -> None:
        """A video of so many frames."""
        path.parent.mkdir(parents=True)
        with av.open(str(path), "w") as file:
            stream = file.add_stream("libx264", rate=self.fps, options={"preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = self.width, self.height, "yuv420p"
            stream.codec_context.gop_size = 50
            for frame in islice(self.frames(), count):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            file.mux(stream.encode())


def long_clip(
    minutes: Annotated[float, typer.Option(min=0.2)] = 4.0,
    window: Annotated[int, typer.Option(min=64, help="Frames of a part.")] = 1000,
    small: Annotated[
        bool,
        typer.Option("--small", help="96x64 at 5 frames a second, two objects, patches of 16: hours of it pass here."),
    ] = False,
) -> Mapping[str, float]:
    """Print seconds of each stage, and whether all bytes are the same."""
    footage = Footage(96, 64, 5, 2, 16) if small else Footage()
    count = round(minutes * 60 * footage.fps)
    settings = DatasetSettings.model_validate(
        {
            "source": {"layout": "videos"},
            "detector": {"kind": "motion", "motion": {"threshold": 10, "min_area": 20}},
            "cube": {"patch": footage.patch},
            "model": {"widths": [4, 8, 8], "layers": 1, "heads": 2},
            "training": {"epochs": 1, "batch": 32},
        }
    )
    with tempfile.TemporaryDirectory(prefix="long-clip-") as folder, contextlib.chdir(folder):
        places = Places.of("long")
        footage.write(places.data / "testing/a.mp4", count)
        footage.write(places.data / "training/a.mp4", 400)
        Path("weights/flow").mkdir(parents=True)
        one = ComputeSettings(workers=1)
        prepare.prepare_dataset(places, settings, one)
        rows: dict[str, dict[str, object]] = {name: {"stage": name} for name in [*STAGES, "all"]}
        expected: dict[str, str] = {}
        for label, compute in {
            "whole, one worker s": one,
            "parts, one s": ComputeSettings(workers=1, window=window),
            "parts, two s": ComputeSettings(workers=2, window=window),
        }.items():
            total = 0.0
            for name, stage in STAGES.items():
                if name == "score" and not expected:
                    learn(places, settings, one)
                started = time.monotonic()
                stage(places, settings, compute)
                rows[name][label] = round(time.monotonic() - started, 1)
                total += time.monotonic() - started
                print(f"{label[:-2]}: {name} {rows[name][label]} s", flush=True)
            rows["all"][label] = round(total, 1)
            found = digests(places.work)
            expected = expected or found
            if found != expected:
                raise VadError(f"{label}: other bytes: {[n for n in found if found[n] != expected.get(n)]}")
        print_table(list(rows.values()))
        print(f"{len(expected)} files, the same bytes each time: {', '.join(expected)}")
    return {"frames": count, "frames a part": window}


def learn(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> None:
    """What scoring needs beside cubes."""
    for branch in settings.branches:
        train.train_model(places, branch, settings, compute)
    fit_scores.fit_scores(places, settings, compute)
    calibrate.calibrate(places, settings, compute)


def digests(folder: Path) -> dict[str, str]:
    """Of each artefact its hash."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".h5", ".parquet")]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    run(long_clip)
