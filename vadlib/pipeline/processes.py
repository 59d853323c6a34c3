"""A network trained by several processes of this machine, or by those that `torchrun` started on many hosts."""

import logging
import math
import os
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from vadlib.cubes.shards import CubeSet
from vadlib.distributed import train_branch_together
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.io.progress import progress
from vadlib.models.checkpoint import load_state, save_state
from vadlib.models.registry import build_model
from vadlib.pipeline import networks
from vadlib.pipeline.mapping import fingerprint, scratch_folder
from vadlib.settings import Branch, ComputeSettings, DatasetSettings
from vadlib.training import Progress

_PATIENCE = 600  # seconds that processes wait for each other, as for one that writes a checkpoint


def started_together() -> bool:
    """Whether `torchrun` started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


def trained_by_processes(
    output: Path,
    branch: Branch,
    settings: DatasetSettings,
    compute: ComputeSettings,
    engine: Engine,
    cubes: CubeSet,
    live: Path | None = None,
) -> tuple[nn.Module, Progress, Path] | None:
    """`trained_network`, by `compute.processes` processes, or by those that `torchrun` started.

    It goes on from what any number of processes left, and what it leaves any number can go on from. A process that is
    killed takes the others with it: all begin again from the last checkpoint, `compute.retries` times. Returns None in
    a process of `torchrun`'s that is not the first: that one alone has more to do.
    """
    mark = fingerprint(
        networks.__name__, settings.model, settings.cube, settings.training, str(engine), branch, cubes.digest
    )
    rank = int(os.environ["RANK"]) if started_together() else 0
    scratch = scratch_folder(output.with_suffix(""), mark) if rank == 0 else None
    threads = max(1, torch.get_num_threads() // max(1, compute.processes))
    if started_together():
        problem = _train(settings, branch, cubes, engine, scratch, live, threads)
        if rank:
            return None
    else:
        problem = _launched(compute, (settings, branch, cubes, engine, scratch, live, threads))
    if problem:
        raise VadError(problem)
    assert scratch is not None
    state = load_state(scratch / "state.pt")
    assert state is not None
    torch.manual_seed(settings.training.seed)
    network = build_model(settings.model, branch, settings.cube.length)
    network.load_state_dict(state["network"])
    return network, Progress(state["step"], state["losses"]), scratch


def _launched(compute: ComputeSettings, args: tuple[object, ...]) -> str:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # it tells of a kill in forty lines
    # A store of their own for every try: in one that is shared, the next look for the killed one's address, and wait.
    os.environ.setdefault("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=compute.processes, rdzv_backend="c10d", rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1", run_id="vadlib", max_restarts=compute.retries, monitor_interval=0.5,
    )  # fmt: skip
    try:
        results = elastic_launch(config, _train)(*args)
    except ChildFailedError:
        return (
            f"training by {compute.processes} processes: one was killed in each of {compute.retries + 1} tries, most "
            "likely for want of memory; set `compute.processes` lower and run the same command again: it goes on from "
            "the last checkpoint"
        )
    return next((problem for problem in results.values() if problem), "")


def _train(
    settings: DatasetSettings,
    branch: Branch,
    cubes: CubeSet,
    engine: Engine,
    scratch: Path | None,
    live: Path | None,
    threads: int,
) -> str:
    """In each process: train, and return what is wrong, empty where nothing is. The first one writes."""
    torch.set_num_threads(threads)
    on_gpu = engine.device.type == "cuda"
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    from datetime import timedelta

    dist.init_process_group("nccl" if on_gpu else "gloo", timeout=timedelta(seconds=_PATIENCE))
    try:
        first = dist.get_rank() == 0
        # All go on from the same state: one that is whole, though its writer may have been killed.
        shared = [str(scratch) if first else ""]
        dist.broadcast_object_list(shared)
        state = Path(shared[0]) / "state.pt"
        resume = load_state(state)
        dist.barrier()
        torch.manual_seed(settings.training.seed)
        network = build_model(settings.model, branch, settings.cube.length)
        total = math.ceil(len(cubes) / settings.training.batch) * settings.training.epochs
        train = partial(
            train_branch_together, network, branch, cubes, settings.training, settings.model.p, engine, resume=resume
        )
        if not first:
            train()
            return ""
        before = resume["losses"] if resume else []
        with (
            progress(total, f"train {branch}", "step", done=len(before)) as bar,
            networks.live_curve(live, total, before) as add,
        ):

            def show(now: Progress) -> None:
                add(now.losses)
                bar.set_postfix(loss=f"{now.losses[-1]:.5f}", refresh=False)
                bar.update()

            train(keep=partial(save_state, state), after_step=show)
        return ""
    except VadError as error:
        return str(error)
    finally:
        dist.destroy_process_group()
