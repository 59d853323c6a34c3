"""Render recordings of the embedded street as a camera's owner has them: a day of normal life, and another in whose
last recording something odd happens once.

    python scripts/two_days.py --output recordings --count 6 --minutes 1

Leaves `2026-01-30/08-00-00.mp4` and so on, `2026-01-31/…` likewise, and `truth.csv`: which frames of which recording
are odd, and of what kind. For trying commands by, and for what is measured of them.
"""

import multiprocessing
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

from vadlib.cli.commands import run
from vadlib.datasets.synthetic.footage import Rendered, render_clip
from vadlib.settings import StreetSettings

DAYS = ("2026-01-30", "2026-01-31")
GRID = 32  # px, the renderer's: what is over is cut off at the top, where there are house fronts


def two_days(
    output: Annotated[Path, typer.Option(help="The folder to make.")],
    count: Annotated[int, typer.Option(min=1, help="Recordings of each day.")] = 6,
    minutes: Annotated[float, typer.Option(min=0.1, help="Of each recording.")] = 1.0,
    fps: Annotated[int, typer.Option(min=5, max=25, help="Below 25 as many frames are left out.")] = 25,
    width: Annotated[int, typer.Option(min=96)] = 640,
    height: Annotated[int, typer.Option(min=64)] = 360,
    walkers: Annotated[int, typer.Option(min=1, help="In view at a time, about.")] = 5,
    seed: Annotated[int, typer.Option(min=0)] = 1,
    odd: Annotated[int, typer.Option(min=0, help="Which oddity: 0 a cyclist, 1 a fall, 3 the wrong way …")] = 0,
    days: Annotated[int, typer.Option(min=1, max=2, help="1: the normal day alone.")] = 2,
    workers: Annotated[int, typer.Option(min=1, help="Recordings rendered at a time.")] = 2,
) -> Mapping[str, float]:
    """Render two days of a street: the first normal, in the last recording of the second something odd."""
    frames = round(minutes * 60 * 25)
    size = (-(-width // GRID) * GRID, -(-height // GRID) * GRID)
    street = StreetSettings(seed=seed, size=size, clip_frames=frames, walkers=walkers, training_clips=days * count)
    begin = datetime(2026, 1, 31, 8)
    jobs = []
    for number in range(days * count):
        time = begin + timedelta(minutes=minutes) * (number % count)
        path = output / DAYS[number // count] / f"{time:%H-%M-%S}.mp4"
        is_odd = number == 2 * count - 1
        jobs.append((street, number, odd if is_odd else None, path, (width, height), fps))
    with multiprocessing.get_context("spawn").Pool(min(workers, len(jobs))) as pool:
        spans = [row for rows in pool.starmap(write, jobs, chunksize=1) for row in rows]
    (output / "truth.csv").write_text("\n".join(["recording,first,last,kind", *spans, ""]), encoding="utf-8")
    return {"recordings": len(jobs), "frames": len(jobs) * -(-frames // (25 // fps))}


def write(
    street: StreetSettings, number: int, odd: int | None, path: Path, size: tuple[int, int], fps: int
) -> list[str]:
    """Render one recording; returns rows of the truth."""
    every, (width, height) = 25 // fps, size
    if odd is None:
        rendered: Iterator[Rendered] = render_clip(street, "training", number)
    else:  # the first half of a clip twice as long, which has one oddity in each half
        longer = street.model_copy(update={"clip_frames": 2 * street.clip_frames})
        rendered = islice(render_clip(longer, "testing", odd), street.clip_frames)
    kinds: list[str] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        options = {"preset": "veryfast", "crf": "20", "threads": "1"}
        stream = file.add_stream("libx264", rate=25 // every, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = 50
        for frame in islice(rendered, 0, None, every):
            kinds.append(next((o.kind for o in frame.objects if o.anomalous), ""))
            image = np.ascontiguousarray(frame.image[-height:, :width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode())
    edges = np.flatnonzero(np.diff([0, *map(bool, kinds), 0]))
    name = f"{path.parent.name}/{path.name}"
    return [f"{name},{a},{b - 1},{kinds[a]}" for a, b in zip(edges[::2], edges[1::2], strict=True)]


if __name__ == "__main__":
    run(two_days)
