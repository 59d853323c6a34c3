"""What an executor is given to do, and what every worker begins with."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One call of the work that a stage shares out."""

    name: str  # of the clip, for errors
    size: int  # frames: the longest are begun first, so that none is waited for alone
    args: tuple[Any, ...]  # of the work: small, since it is sent to another process


Work = Callable[..., Any]
"""Done once for each task. A module-level function, or `functools.partial` of one: it may run in another process, to
which it is sent once, and which keeps what it has loaded."""

Run = Callable[[Work, Iterable[Task], Any], Iterator[tuple[Task, Any]]]
"""Do every task, by `ComputeSettings`, and yield each with what the work returned, as it is done."""


def longest_first(tasks: Iterable[Task]) -> list[Task]:
    """Tasks in the order in which they are handed out; of equal ones, in theirs."""
    return sorted(tasks, key=lambda task: -task.size)


def share_cores(threads: int) -> None:
    """In a worker: as many threads as its share of the cores, so that workers do not trample on each other."""
    import cv2

    cv2.setNumThreads(threads)
    os.environ["OMP_NUM_THREADS"] = str(threads)  # read by torch, if it is imported later
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
