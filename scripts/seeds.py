"""The embedded street of several seeds beside each other: what `best`, `paper` and the best floor have there.

    for seed in 1 2 3; do git clone . ../seed$seed && (cd ../seed$seed &&
        dvc exp run -S dataset.synthetic.source.street.seed=$seed evaluate@synthetic); done
    python scripts/seeds.py ../seed1 ../seed2 ../seed3

Reads what those checkouts made: their metrics, and the tables of stage `score` for how far from a label a false alarm
is. Prints Markdown.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.ndimage import distance_transform_edt

from vadlib.cli.commands import run
from vadlib.io.files import read_json
from vadlib.io.tables import read_table
from vadlib.pipeline.calibrated import load_calibration
from vadlib.pipeline.places import Places
from vadlib.settings import CONFIGURATIONS, load_dataset

MADE_BY = "dvc exp run evaluate@<data set>"
AWAY = {"1 to 8": (1, 8), "9 to 16": (9, 16), "17 and more": (17, np.inf)}
"""Frames between a normal frame and the nearest labelled one."""


def seeds(
    checkout: Annotated[list[Path], typer.Argument(help="Checkouts in which the data set has been evaluated.")],
    dataset: Annotated[str, typer.Option()] = "synthetic",
) -> None:
    """Print the figures of each checkout's seed, and of normal frames above the threshold by how far a label is."""
    rows, kinds = [], {}
    for folder in checkout:
        with contextlib.chdir(folder):
            places, (settings, _) = Places.of(dataset), load_dataset(dataset)
            name = f"seed {settings.source.street.seed}"
            metrics = {how: read_json(places.metrics / file, MADE_BY) for how, file in FILES.items()}
            rows += [of_seed(name, how, metrics[how], away(places, how)) for how in CONFIGURATIONS]
            kinds[name] = {
                row["kind"]: (row["micro"], other["micro"])
                for row, other in zip(metrics["best"]["kinds"], metrics["paper"]["kinds"], strict=True)
            }
    print_markdown(rows)
    print_markdown(
        [
            {
                "best / paper": kind,
                **{name: " / ".join(f"{100 * v:.1f}" for v in of[kind]) for name, of in kinds.items()},
            }
            for kind in next(iter(kinds.values()))
        ]
    )


FILES = {"best": "metrics.json", "paper": "paper.json"}


def of_seed(name: str, how: str, metrics: Mapping[str, Any], above: Mapping[str, str]) -> dict[str, str]:
    """A row of the first table."""
    auroc, alarms = metrics["auroc"], metrics["false_alarms"]
    spread = ", ".join(map(percent, metrics["intervals"]["auroc"]["micro"]))
    return {
        "": f"{name}, {how}",
        "micro [95 %] / macro": f"{percent(auroc['micro'])} [{spread}] / {percent(auroc['macro'])}",
        "floor": percent(auroc["floor"]),
        "RBDC / TBDC": f"{percent(metrics['rbdc'])} / {percent(metrics['tbdc'])}",
        "recall": percent(alarms["recall"]),
        "above: all normal": percent(alarms["measured"]),
        **{f"{label} frames from a label": value for label, value in above.items()},
    }


def away(places: Places, how: str) -> dict[str, str]:
    """Of the normal test frames so far from a label those above the threshold, and how many there are."""
    threshold = load_calibration(places).thresholds[how].value
    eta = load_dataset(places.name)[0].eta[0]
    distances, alarmed = [], []
    for clip in places.load_manifest().split("testing"):
        table = read_table(places.scores_of(eta, "frames"), places.made_by("score"), clip=clip.name)
        distances.append(distance_transform_edt(~clip.labels()) if clip.labels().any() else np.full(clip.frames, 1e9))
        alarmed.append(table[how].to_numpy() > threshold)
    distance, above = np.concatenate(distances), np.concatenate(alarmed)
    found = {}
    for label, (least, most) in AWAY.items():
        chosen = (distance >= least) & (distance <= most)
        found[label] = f"{percent(above[chosen].mean())} of {chosen.sum()}"
    return found


def percent(share: float) -> str:
    """With two digits."""
    return f"{100 * share:.2f}"


def print_markdown(rows: list[dict[str, str]]) -> None:
    """A table, and an empty line."""
    print("| " + " | ".join(rows[0]) + " |\n|" + " --- |" * len(rows[0]))
    print(*("| " + " | ".join(row.values()) + " |" for row in rows), "", sep="\n")


if __name__ == "__main__":
    run(seeds)
