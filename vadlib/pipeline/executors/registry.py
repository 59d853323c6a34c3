"""Every executor, by the name that `compute.executor` has for it. A package that not everybody has it imports in a
function."""

from collections.abc import Iterable, Iterator
from typing import Any

from vadlib.pipeline.executors import cluster, local
from vadlib.pipeline.executors.tasks import Run, Task, Work
from vadlib.settings import ComputeSettings

EXECUTORS: dict[str, Run] = {
    "local": local.run,
    "ray": cluster.run,
}


def run(work: Work, tasks: Iterable[Task], compute: ComputeSettings) -> Iterator[tuple[Task, Any]]:
    """Do every task by the executor that the settings name, and yield each with what `work` returned for it, as it is
    done. Raises what `work` raises, and VadError where workers are lost."""
    return EXECUTORS[compute.executor](work, tasks, compute)
