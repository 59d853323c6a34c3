"""Stage train: one branch of the model."""

import math
import shutil
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from vadlib.baselines import build_model
from vadlib.checkpoint import load_state, save_model, save_state
from vadlib.compute import Engine, make_engine
from vadlib.files import write_json
from vadlib.mapping import fingerprint, progress, scratch_folder
from vadlib.pipeline.places import Places
from vadlib.settings import Branch, Compute, Dataset
from vadlib.shards import CubeSet
from vadlib.tables import write_csv
from vadlib.training import Progress, train_branch


def training_cubes(places: Places, branches: tuple[Branch, ...], settings: Dataset, *, all_cubes: bool) -> CubeSet:
    """The training clips' cubes; those a network is trained on, or all of them."""
    clips = places.load_manifest().split("training")
    shards = [(places.shard(c, "raw"), places.shard(c, "flow") if "flow" in branches else None) for c in clips]
    training = settings.training
    return CubeSet(shards, max_cubes=None if all_cubes else training.max_cubes, seed=training.seed)


def train_model(places: Places, branch: Branch, settings: Dataset, compute: Compute) -> Counter[str]:
    """Train one branch and leave the model and its loss curve."""
    cubes = training_cubes(places, (branch,), settings, all_cubes=False)
    network, done, scratch = trained_network(places.model(branch), branch, settings, make_engine(compute), cubes)
    save_model(places.model(branch), network, settings.model, branch, settings.cube.length)
    steps_an_epoch = math.ceil(len(cubes) / settings.training.batch)
    _write_loss(places, branch, done.losses, steps_an_epoch)
    parameters = sum(p.numel() for p in network.parameters())
    counts = {"cubes": len(cubes), "steps": done.step, "parameters": parameters}
    last = float(np.mean(done.losses[-steps_an_epoch:]))
    write_json(places.metrics / f"train_{branch}.json", {"loss_last_epoch": last, **counts})
    shutil.rmtree(scratch)
    return Counter(counts)


def trained_network(
    output: Path, branch: Branch, settings: Dataset, engine: Engine, cubes: CubeSet
) -> tuple[nn.Module, Progress, Path]:
    """Train a network that is to be saved at `output`, from where a killed run left off if there is such.

    The path is that of the state to go on from: the caller removes it once the network's use is over or it is saved.
    """
    torch.manual_seed(settings.training.seed)
    network = build_model(settings.model, branch, settings.cube.length)
    mark = fingerprint(settings.model, settings.cube, settings.training, str(engine), branch, cubes.digest)
    scratch = scratch_folder(output.with_suffix(""), mark)
    resume = load_state(scratch / "state.pt")
    total = math.ceil(len(cubes) / settings.training.batch) * settings.training.epochs
    with progress(total, f"train {branch}", "step", done=resume["step"] if resume else 0) as bar:

        def show(now: Progress) -> None:
            bar.set_postfix(loss=f"{now.losses[-1]:.5f}", refresh=False)
            bar.update()

        done = train_branch(
            network, branch, cubes, settings.training, settings.model.p, engine,
            resume=resume, keep=partial(save_state, scratch / "state.pt"), after_step=show,
        )  # fmt: skip
    return network, done, scratch


def _write_loss(places: Places, branch: Branch, losses: list[float], steps_an_epoch: int) -> None:
    """The loss curve, averaged over runs of steps so that it has at most about 1,000 points."""
    run = max(1, math.ceil(len(losses) / 1000))
    rows = [(min(i + run, len(losses)), float(np.mean(losses[i : i + run]))) for i in range(0, len(losses), run)]
    table = pd.DataFrame(rows, columns=["step", "loss"])
    table.insert(1, "epoch", (table["step"] / steps_an_epoch).round(4))
    write_csv(places.metrics / f"loss_{branch}.csv", table)
