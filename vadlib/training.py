"""Training one branch (paper III-C). Knows no files: state to go on from comes in, state to keep goes out."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from vadlib.cubes.shards import Batch, CubeSet
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.models.objective import reconstruction_loss
from vadlib.settings import Branch, TrainingSettings


@dataclass
class Progress:
    """How far a training has come: what a checkpoint holds besides weights and optimiser."""

    step: int = 0
    losses: list[float] = field(default_factory=list)  # of every step, per element: |output - target|^p averaged


def train_branch(
    network: nn.Module,
    branch: Branch,
    cubes: CubeSet,
    settings: TrainingSettings,
    p: float,
    engine: Engine,
    *,
    resume: dict[str, Any] | None = None,
    keep: Callable[[dict[str, Any]], None] | None = None,
    after_step: Callable[[Progress], None] | None = None,
) -> Progress:
    """Train `network` in place. A resumed training gives what an uninterrupted one gives.

    The order of the data depends on seed and epoch alone, and nothing in the networks draws random numbers, so
    that weights, Adam's moments and the step are the whole state.

    Args:
        network: as built; (B, L, 3, H, W) in [0, 1] to (B, L, C', H, W).
        cubes: what it learns to reconstruct (raw), or whose flow it learns (flow).
        resume: what `keep` was given before a kill, for the same network, cubes and settings.
        keep: called with the state at most `settings.checkpoint_seconds` apart.
        after_step: called after every step, for progress bars.

    Raises VadError where there are no cubes, or the loss is no longer a number.
    """
    network = engine.for_training(network)
    optimiser = make_optimiser(network, settings.lr, settings.adam_eps)

    def step(batch: Batch) -> float:
        return training_step(network, optimiser, branch, batch, p, engine)

    return run_steps(step, network, optimiser, branch, cubes, settings, resume=resume, keep=keep, after_step=after_step)


def run_steps(
    step: Callable[[Batch], float],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    branch: Branch,
    cubes: CubeSet,
    settings: TrainingSettings,
    *,
    resume: dict[str, Any] | None,
    keep: Callable[[dict[str, Any]], None] | None,
    after_step: Callable[[Progress], None] | None,
) -> Progress:
    """All steps that are left of a training; `step` takes one on a batch and returns its loss per element.

    The rest, and what is raised, is as `train_branch` has it.
    """
    if not len(cubes):
        raise VadError("no training cubes: no frame of the training clips has a box; look at the detector's settings")
    progress = Progress()
    if resume is not None:
        network.load_state_dict(resume["network"])
        optimiser.load_state_dict(resume["optimiser"])
        progress = Progress(resume["step"], resume["losses"])
    steps_an_epoch = math.ceil(len(cubes) / settings.batch)
    total = steps_an_epoch * settings.epochs
    kept = time.monotonic()
    for epoch in range(progress.step // steps_an_epoch, settings.epochs):
        for batch in cubes.shuffled(settings.batch, epoch, skip=progress.step - epoch * steps_an_epoch):
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(settings, progress.step, total)
            per_element = step(batch)
            if not math.isfinite(per_element):
                raise VadError(
                    f"training the {branch} branch: the loss is {per_element} at step {progress.step + 1} of {total}; "
                    "lower `training.lr`, or set `compute.precision: fp32`"
                )
            progress.step += 1
            progress.losses.append(per_element)
            if after_step:
                after_step(progress)
            if keep and time.monotonic() - kept > settings.checkpoint_seconds:
                keep(state_of(network, optimiser, progress))
                kept = time.monotonic()
    return progress


def make_optimiser(network: nn.Module, lr: float, eps: float) -> torch.optim.Optimizer:
    """Adam (paper IV-B), all parameters in one fused kernel."""
    return torch.optim.Adam(network.parameters(), lr=lr, eps=eps, fused=True)


def training_step(
    network: nn.Module, optimiser: torch.optim.Optimizer, branch: Branch, batch: Batch, p: float, engine: Engine
) -> float:
    """One step on one batch. Returns its loss per element, |output - target|^p averaged."""
    raw = engine.cubes(batch.raw)
    target = raw if branch == "raw" else engine.flows(batch.flow)
    with engine.autocast():
        output = network(raw)
    loss = reconstruction_loss(output, target, p)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    return loss.item() / target[0].numel()


def learning_rate(settings: TrainingSettings, step: int, total: int) -> float:
    """Of step `step` (from 0) of `total`: constant as in the paper, or falling to 0 along half a cosine."""
    if settings.schedule == "constant":
        return settings.lr
    return settings.lr * 0.5 * (1 + math.cos(math.pi * step / total))


def state_of(network: nn.Module, optimiser: torch.optim.Optimizer, progress: Progress) -> dict[str, Any]:
    """What a training goes on from: what `keep` is given."""
    return {
        "network": network.state_dict(),
        "optimiser": optimiser.state_dict(),
        "step": progress.step,
        "losses": progress.losses,
    }
