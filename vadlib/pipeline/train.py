"""Stage train: one branch of the model."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from vadlib.engine.engine import make_engine
from vadlib.engine.provenance import made_with
from vadlib.io import ownership
from vadlib.io.files import write_json
from vadlib.io.tables import write_csv
from vadlib.models.checkpoint import save_model
from vadlib.pipeline.networks import steps_a_point, trained_network
from vadlib.pipeline.places import Places
from vadlib.pipeline.processes import started_together, trained_by_processes
from vadlib.pipeline.sets import training_cubes
from vadlib.settings import Branch, ComputeSettings, DatasetSettings


def train_model(
    places: Places, branch: Branch, settings: DatasetSettings, compute: ComputeSettings, live: Path | None = None
) -> Counter[str]:
    """Train one branch and leave the model and its loss curve; with a folder `live`, show the curve as it grows."""
    ownership.check(places.model(branch), *(places.metrics / n for n in (f"train_{branch}.json", f"loss_{branch}.csv")))
    cubes = training_cubes(places, (branch,), settings, drawn=True)
    engine = make_engine(compute)
    if compute.processes > 1 or started_together():
        trained = trained_by_processes(places.model(branch), branch, settings, compute, engine, cubes, live)
        if trained is None:
            return Counter()  # the first process does the rest
        network, done, scratch = trained
    else:
        network, done, scratch = trained_network(places.model(branch), branch, settings, engine, cubes, live)
    save_model(places.model(branch), network, settings.model, branch, settings.cube.length, made_with(engine))
    steps_an_epoch = math.ceil(len(cubes) / settings.training.batch)
    _write_loss(places, branch, done.losses, steps_an_epoch)
    parameters = sum(p.numel() for p in network.parameters())
    counts = {"cubes": len(cubes), "steps": done.step, "parameters": parameters}
    last = float(np.mean(done.losses[-steps_an_epoch:]))
    write_json(places.metrics / f"train_{branch}.json", {"loss_last_epoch": last, **counts})
    ownership.remove_own(scratch)
    return Counter(counts)


def _write_loss(places: Places, branch: Branch, losses: list[float], steps_an_epoch: int) -> None:
    """The loss curve, averaged over runs of steps."""
    run = steps_a_point(len(losses))
    rows = [(min(i + run, len(losses)), float(np.mean(losses[i : i + run]))) for i in range(0, len(losses), run)]
    table = pd.DataFrame(rows, columns=["step", "loss"])
    table.insert(1, "epoch", (table["step"] / steps_an_epoch).round(4))
    write_csv(places.metrics / f"loss_{branch}.csv", table)
