"""How `vad watch` keeps up with a camera: a video at its own pace, and what its status says once it has settled.

    python scripts/live.py --model model --video street.mp4

The first half of the video is for settling; the figures are of the second.
"""

import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import av
import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.watch.test_watch import Watching
from vadlib.cli.commands import run
from vadlib.errors import VadError
from vadlib.io.files import read_json
from vadlib.scoring.model_folder import read_package


def live(
    model: Annotated[Path, typer.Option(help="A model folder.")],
    video: Annotated[Path, typer.Option(help="What the camera sees; a minute or more.")],
    cameras: Annotated[int, typer.Option(min=1, help="That see it, each.")] = 1,
    eta: Annotated[
        float | None, typer.Option(help="Another perturbation than the model's, for the rate alone.")
    ] = None,
    flow: Annotated[str | None, typer.Option(help="DIS otherwise: fast, or fast:320x180; for the rate alone.")] = None,
    events: Annotated[bool, typer.Option(help="Have an event going on all along, with its video.")] = False,
) -> Mapping[str, float]:
    """Watch a video at its own pace, and print what is kept up with."""
    with av.open(str(video)) as file:
        stream = file.streams.video[0]
        seconds, fps, size = stream.frames / float(stream.average_rate), float(stream.average_rate), stream.width
    with tempfile.TemporaryDirectory() as folder:
        changed = changed_model(model, Path(folder) / "model", eta, flow)
        sources = [f"camera{number}={video}" for number in range(cameras)]
        watching = Watching(
            *sources, "--model", changed, "--output", Path(folder) / "found", threshold=-1000 if events else 1e6
        )
        rows, begun = [], time.monotonic()
        first: tuple[float, float] | None = None
        while time.monotonic() - begun < seconds - 3:
            time.sleep(1)
            status = watching.status()
            if status["cameras"][0]["state"] != "live":
                continue
            spent, frames = processor_seconds(watching.process.pid), sum(c["frames"] for c in status["cameras"])
            if time.monotonic() - begun > seconds / 2:
                first = first or (spent, frames)
                rows.append(status["cameras"][0])
        watching.end()
    if first is None or frames == first[1]:
        raise VadError(f"{video}: nothing of its second half was scored; a longer one is wanted")
    left_out = rows[-1]["left_out"] - rows[0]["left_out"]
    values = {name: np.median([row[name] for row in rows]) for name in ("n", "k", "looked_at_per_s", "lag_s")}
    print(json.dumps({"levels": [(row["n"], row["k"]) for row in rows]}))
    return {
        "width": size,
        "frames/s": round(fps, 2),
        **{name: round(float(value), 3) for name, value in values.items()},
        "worst lag_s": max(row["worst_lag_s"] for row in rows),
        "to event s": rows[-1]["event_lag_s"],
        "left out": left_out,
        "processor ms a frame": round(1000 * (spent - first[0]) / (frames - first[1]), 1),
    }


def changed_model(model: Path, changed: Path, eta: float | None, flow: str | None) -> Path:
    """A copy of a model folder whose scores mean little, and take as long as if it had learned so."""
    changed.mkdir()
    for path in model.iterdir():
        if path.name != ".vadlib" and path.name not in ("settings.json", "calibration.json"):
            (changed / path.name).symlink_to(path.resolve())
    settings, calibration = (read_json(model / name, "") for name in ("settings.json", "calibration.json"))
    if eta is not None:
        calibration["normal"] = {f"{eta:g}": next(iter(calibration["normal"].values()))}
        settings["eta"] = [eta]
    if flow is not None:
        preset, _, size = flow.partition(":")
        settings["flow"] |= {"preset": preset, "size": [int(side) for side in size.split("x")] if size else None}
    (changed / "settings.json").write_text(json.dumps(settings))
    (changed / "calibration.json").write_text(json.dumps(calibration))
    read_package(changed)
    return changed


def processor_seconds(process: int) -> float:
    """That a process has used so far, of all cores together."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    run(live)
