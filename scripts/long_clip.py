"""A long clip whole against in parts, with one worker and with two: the same bytes, and how long each takes.

    python scripts/long_clip.py --minutes 4

Renders minutes of the embedded street as one video, then runs detect (motion), flow and both builds.
"""

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

from vadlib.cli.commands import run
from vadlib.cli.main import print_table
from vadlib.errors import VadError
from vadlib.pipeline import build_flow, build_raw, detect, flow, prepare
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, CubeSettings, DatasetSettings, FolderSourceSettings, MotionDetectorSettings

STAGES = {
    "detect": detect.detect_boxes,
    "flow": flow.compute_flow,
    "build_raw": build_raw.build_raw_cubes,
    "build_flow": build_flow.build_flow_cubes,
}
WIDTH, HEIGHT, FPS = 320, 224, 25


def frames() -> Iterator[np.ndarray]:
    """Squares that cross a background of noise, without end."""
    rng = np.random.default_rng(0)
    ground = rng.integers(90, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    places = rng.integers(0, [HEIGHT - 40, WIDTH], (4, 2))
    speeds = rng.uniform(1, 4, 4)
    number = 0
    while True:
        frame = ground.copy()
        for index, (y, x) in enumerate(places):
            at = int(x + speeds[index] * number) % (WIDTH - 24)
            frame[y : y + 36, at : at + 22] = 40 + 50 * index
        yield frame
        number += 1


def long_clip(
    minutes: Annotated[float, typer.Option(min=0.2)] = 4.0,
    window: Annotated[int, typer.Option(min=64, help="Frames of a part.")] = 1000,
) -> Mapping[str, float]:
    """Print seconds of each stage, and whether all bytes are the same."""
    count = round(minutes * 60 * FPS)
    settings = DatasetSettings(
        source=FolderSourceSettings(layout="videos"), detector=MotionDetectorSettings(), cube=CubeSettings()
    )
    with tempfile.TemporaryDirectory(prefix="long-clip-") as folder, contextlib.chdir(folder):
        places = Places.of("long")
        write(places.data / "training/a.mp4", count)
        write(places.data / "testing/a.mp4", 100)
        Path("weights/flow").mkdir(parents=True)
        prepare.prepare_dataset(places, settings, ComputeSettings())
        rows: dict[str, dict[str, object]] = {name: {"stage": name} for name in [*STAGES, "all"]}
        expected: dict[str, str] = {}
        for label, compute in {
            "whole, one worker s": ComputeSettings(workers=1),
            "whole, two s": ComputeSettings(workers=2),
            "parts, one s": ComputeSettings(workers=1, window=window),
            "parts, two s": ComputeSettings(workers=2, window=window),
        }.items():
            total = 0.0
            for name, stage in STAGES.items():
                started = time.monotonic()
                stage(places, settings, compute)
                rows[name][label] = round(time.monotonic() - started, 1)
                total += time.monotonic() - started
            rows["all"][label] = round(total, 1)
            found = digests(places.work)
            expected = expected or found
            if found != expected:
                raise VadError(f"{label}: other bytes: {[n for n in found if found[n] != expected.get(n)]}")
        print_table(list(rows.values()))
        print(f"{len(expected)} files, the same bytes each time")
    return {"frames": count + 100, "frames a part": window}


def write(path: Path, count: int) -> None:
    """A video of so many frames."""
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=FPS, options={"preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.gop_size = 50
        for frame in islice(frames(), count):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())


def digests(folder: Path) -> dict[str, str]:
    """Of each artefact its hash."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".h5", ".parquet")]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    run(long_clip)
