"""A network trained from where a killed run left off, its loss to be seen meanwhile."""

import contextlib
import math
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vadlib.cubes.shards import CubeSet
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.io import ownership
from vadlib.io.progress import progress
from vadlib.models.checkpoint import load_state, save_state
from vadlib.models.registry import build_model
from vadlib.pipeline.mapping import fingerprint, scratch_folder
from vadlib.settings import Branch, DatasetSettings
from vadlib.training import Progress, train_branch


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
        live_curve(live, total, resume["losses"] if resume else []) as add,
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
def live_curve(folder: Path | None, total: int, before: list[float]) -> Iterator[Callable[[list[float]], None]]:
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

    run = steps_a_point(total)
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


def steps_a_point(steps: int) -> int:
    """How many steps a point of the loss curve averages, so that it has at most 1,000 points."""
    return max(1, math.ceil(steps / 1000))
