"""Stage train: one branch of the model."""

import contextlib
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from vadlib.cubes.shards import CubeSet
from vadlib.engine.engine import Engine, make_engine
from vadlib.engine.provenance import made_with
from vadlib.errors import VadError
from vadlib.io import ownership
from vadlib.io.files import write_json
from vadlib.io.progress import progress
from vadlib.io.tables import write_csv
from vadlib.models.checkpoint import load_state, save_model, save_state
from vadlib.models.registry import build_model
from vadlib.pipeline.mapping import fingerprint, scratch_folder
from vadlib.pipeline.places import Places
from vadlib.pipeline.sets import training_cubes
from vadlib.settings import Branch, ComputeSettings, DatasetSettings
from vadlib.training import Progress, train_branch


def train_model(
    places: Places, branch: Branch, settings: DatasetSettings, compute: ComputeSettings, live: Path | None = None
) -> Counter[str]:
    """Train one branch and leave the model and its loss curve; with a folder `live`, show the curve as it grows."""
    ownership.check(places.model(branch), *(places.metrics / n for n in (f"train_{branch}.json", f"loss_{branch}.csv")))
    cubes = training_cubes(places, (branch,), settings, drawn=True)
    engine = make_engine(compute)
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


def trained_network(
    output: Path, branch: Branch, settings: DatasetSettings, engine: Engine, cubes: CubeSet, live: Path | None = None
) -> tuple[nn.Module, Progress, Path]:
    """Train a network that is to be saved at `output`, from where a killed run left off if there is such.

    The path is that of the state to go on from: the caller removes it once the network's use is over or it is saved.
    """
    torch.manual_seed(settings.training.seed)
    network = build_model(settings.model, branch, settings.cube.length)
    mark = fingerprint(__name__, settings.model, settings.cube, settings.training, str(engine), branch, cubes.digest)
    scratch = scratch_folder(output.with_suffix(""), mark)
    resume = load_state(scratch / "state.pt")
    total = math.ceil(len(cubes) / settings.training.batch) * settings.training.epochs
    with (
        progress(total, f"train {branch}", "step", done=resume["step"] if resume else 0) as bar,
        _live_curve(live, total, resume["losses"] if resume else []) as add,
    ):

        def show(now: Progress) -> None:
            add(now.losses)
            bar.set_postfix(loss=f"{now.losses[-1]:.5f}", refresh=False)
            bar.update()

        done = train_branch(
            network, branch, cubes, settings.training, settings.model.p, engine,
            resume=resume, keep=partial(save_state, scratch / "state.pt"), after_step=show,
        )  # fmt: skip
    return network, done, scratch


@contextlib.contextmanager
def _live_curve(folder: Path | None, total: int, before: list[float]) -> Iterator[Callable[[list[float]], None]]:
    """Yield what writes the loss curve to `folder`/plots/metrics/loss.tsv by DVCLive, a point at a time.

    It takes the losses of all steps so far, and is to be called after every step. The points are those of the CSV that
    is left in the end; of a resumed training those `before` come first. DVCLive sends nothing, unless DVC is configured
    with a token of DVC Studio. It begins by clearing the folder: where that is not this tool's, there is no view.
    """
    if folder is None or find_spec("dvclive") is None:  # of `vadlib[pipeline]`
        yield lambda losses: None
        return
    from dvclive import Live
    from scmrepo.exceptions import SCMError

    run = _run(total)
    try:
        ownership.begin(folder)
    except VadError as problem:
        print(f"{problem}. The training goes on, without a view of its curve", file=sys.stderr)
        yield lambda losses: None
        return
    try:
        view = Live(str(folder), save_dvc_exp=False, dvcyaml=None)
    except SCMError:  # DVCLive refuses a git repository without a commit; training does without the view
        yield lambda losses: None
        return
    with view as live:

        def add(losses: list[float]) -> None:
            if len(losses) % run == 0 or len(losses) == total:
                live.step = len(losses)
                live.log_metric("loss", float(np.mean(losses[-(len(losses) % run or run) :])))

        for steps in range(run, len(before) + 1, run):
            add(before[:steps])
        yield add
    ownership.settle(folder)


def _run(steps: int) -> int:
    """How many steps a point of the loss curve averages, so that it has at most 1,000 points."""
    return max(1, math.ceil(steps / 1000))


def _write_loss(places: Places, branch: Branch, losses: list[float], steps_an_epoch: int) -> None:
    """The loss curve, averaged over runs of steps."""
    run = _run(len(losses))
    rows = [(min(i + run, len(losses)), float(np.mean(losses[i : i + run]))) for i in range(0, len(losses), run)]
    table = pd.DataFrame(rows, columns=["step", "loss"])
    table.insert(1, "epoch", (table["step"] / steps_an_epoch).round(4))
    write_csv(places.metrics / f"loss_{branch}.csv", table)
