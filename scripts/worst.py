"""Draw what `best` gets wrong: the normal moments it scores highest, and the anomalous ones it scores lowest.

    python scripts/worst.py --dataset ped2 --output docs/worst-ped2.png

Reads what `dvc repro evaluate@ped2` leaves, and prints a line for each picture. Moments of one clip are a second or
more apart, so that one mistake is not shown ten times. It looks at test labels, and chooses nothing by them.
"""

import textwrap
from pathlib import Path
from typing import Annotated

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import typer

from vadlib.cli.commands import DatasetName, run
from vadlib.clips import read_frames
from vadlib.errors import VadError
from vadlib.io.tables import read_table
from vadlib.pipeline.calibrated import load_calibration
from vadlib.pipeline.places import BOX, Places
from vadlib.report.contents import picture_around
from vadlib.scoring.words import reason
from vadlib.settings import load_dataset

APART = 25  # frames


def worst(
    dataset: DatasetName,
    output: Annotated[Path, typer.Option(help="The PNG to write.")],
    count: Annotated[int, typer.Option(help="How many of either kind.", min=1)] = 10,
) -> None:
    """Draw the highest normal and the lowest anomalous moments of the test clips, with the box that decided each."""
    places, (settings, _) = Places.of(dataset), load_dataset(dataset)
    eta, clips = settings.eta[0], places.load_manifest().split("testing")
    calibration = load_calibration(places)
    threshold = calibration.thresholds["best"].value
    moments = []
    for clip in clips:
        if clip.anomalous is None:
            raise VadError(f"{places.manifest}: clip {clip.key} has no labels, so nothing can be called wrong")
        frames = read_table(places.scores_of(eta, "frames"), places.made_by("score"), clip=clip.name)
        labels = clip.labels()
        known = frames["best"].notna()
        moments.append(frames[known].assign(anomalous=labels[known]))
    table = pd.concat(moments)
    chosen = {
        "normal, scored highest": apart(table[~table["anomalous"]].sort_values("best", ascending=False), count),
        "anomalous, scored lowest": apart(table[table["anomalous"]].sort_values("best"), count),
    }
    columns = 5
    rows = sum(-(-len(found) // columns) for found in chosen.values())
    figure, axes = plt.subplots(rows, columns, figsize=(13, 3.1 * rows), dpi=80, layout="constrained", squeeze=False)
    free = iter(axes.flat)
    for kind, found in chosen.items():
        for place, (name, number, score) in enumerate(found):
            clip = next(clip for clip in clips if clip.name == name)
            cubes = read_table(places.scores_of(eta, "cubes"), places.made_by("score"), clip=name)
            top = cubes[cubes["frame"] == number].sort_values("best").iloc[-1]
            parts = {evidence: float(top[f"{evidence}_part"]) for evidence in settings.best.weights}
            why = reason(parts, calibration.objects(eta)) if settings.best.calibration == "tail" else ""
            image = next(image for t, image in enumerate(read_frames(clip)) if t == number)
            box = top[BOX].to_numpy(float)
            one = next(free)
            one.imshow(picture_around(image, box))
            title = f"{kind if not place else ''}\nclip {name}, frame {number}: {score:.1f} of {threshold:.1f}"
            one.set_title(title, fontsize=8, loc="left")
            one.set_xlabel("\n".join(textwrap.wrap(why, 46)), fontsize=7)
            print(f"{kind}: clip {name}, frame {number}, score {score:.2f}, threshold {threshold:.2f}; {why or '-'}")
        for _ in range(-len(found) % columns):
            next(free).set_axis_off()
    for one in axes.flat:
        one.set_xticks([])
        one.set_yticks([])
    figure.savefig(output)


def apart(table: pd.DataFrame, count: int) -> list[tuple[str, int, float]]:
    """The first moments of a sorted table that are APART frames or more from those before, of their clip."""
    found: list[tuple[str, int, float]] = []
    for name, frame, score in zip(table["clip"], table["frame"], table["best"], strict=True):
        if all(name != other or abs(frame - at) >= APART for other, at, _ in found):
            found.append((str(name), int(frame), float(np.float64(score))))
        if len(found) == count:
            break
    return found


if __name__ == "__main__":
    run(worst)
