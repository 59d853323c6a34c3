"""The second branch trained on the second GPU while the first one trains: what it takes up later is done by then."""

import contextlib
import multiprocessing
from typing import Self

from vadlib.pipeline.places import Places
from vadlib.settings import Branch, ComputeSettings, DatasetSettings


class Ahead:
    """A branch that is trained by a process of its own, on a device of its own, as far as a checkpoint.

    The stage that trains this branch goes on from that, as from what a killed run left: its result is the same, and
    what goes wrong meanwhile it finds, and tells of, itself.
    """

    def __init__(self) -> None:
        self._process: multiprocessing.process.BaseProcess | None = None

    def __enter__(self) -> Self:
        return self

    def begin(self, branch: Branch, places: Places, settings: DatasetSettings, compute: ComputeSettings) -> None:
        """Where there are two devices, and each is to train a branch alone, begin on the second one."""
        if compute.processes > 1 or devices(compute) < 2:
            return
        import torch

        # Spawned, not forked: CUDA does not work in a fork.
        context = multiprocessing.get_context("spawn")
        given = (branch, places, settings, compute, torch.get_num_threads())
        self._process = context.Process(target=_train, args=given, daemon=True)
        self._process.start()

    def wait(self) -> None:
        """Until the branch is trained, or it is known that it is not."""
        if self._process is not None:
            self._process.join()
            self._process = None

    def __exit__(self, *raised: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()


def devices(compute: ComputeSettings) -> int:
    """How many GPUs networks can be trained on; 0 where they are trained on CPUs."""
    import torch

    return 0 if compute.device == "cpu" or not torch.cuda.is_available() else torch.cuda.device_count()


def _train(branch: Branch, places: Places, settings: DatasetSettings, compute: ComputeSettings, threads: int) -> None:
    import torch

    from vadlib.engine.engine import make_engine
    from vadlib.errors import VadError
    from vadlib.io.parent import end_with_parent
    from vadlib.io.progress import hide
    from vadlib.pipeline.networks import trained_network
    from vadlib.pipeline.sets import training_cubes

    hide()
    torch.set_num_threads(threads)  # with as many as the stage would: sums are rounded in their order
    end_with_parent()  # else two would write the same checkpoint
    if torch.cuda.is_available():
        torch.cuda.set_device(1)
    cubes = training_cubes(places, (branch,), settings, drawn=True)
    with contextlib.suppress(VadError):  # the stage finds the same
        trained_network(places.model(branch), branch, settings, make_engine(compute), cubes)
