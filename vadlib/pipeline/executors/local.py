"""Tasks done on this machine: one after the other in this process, or by processes of its own."""

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import Any

from vadlib.errors import VadError
from vadlib.io.parent import end_with_parent
from vadlib.io.progress import hide
from vadlib.pipeline.executors.tasks import Task, Work, longest_first, share_cores
from vadlib.settings import ComputeSettings


def run(work: Work, tasks: Iterable[Task], compute: ComputeSettings) -> Iterator[tuple[Task, Any]]:
    """With `workers` 1 each in its turn, taken as it comes; else the longest first, by so many processes. A single task
    needs none: they take seconds to begin.

    The first error ends it. Raises VadError where a process was killed.
    """
    if compute.workers > 1:
        tasks = longest_first(tasks)
        workers = min(compute.workers, len(tasks))
    else:
        workers = 1
    if workers <= 1:
        yield from ((task, work(*task.args)) for task in tasks)
        return
    waiting = iter(tasks)
    # Spawned, not forked: torch and OpenCV hold threads that a fork would leave locked.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(work, workers),
    )
    try:
        # Two for each worker, so that none waits, and nothing grows with the number of clips.
        begun: dict[Future[Any], Task] = {pool.submit(_do, t.args): t for t in islice(waiting, 2 * workers)}
        while begun:
            # Awake now and then: a signal just before a thread sleeps would else be heard at the next result.
            done, _ = wait(begun, timeout=1, return_when=FIRST_COMPLETED)
            for future in done:
                result = begun.pop(future), future.result()
                begun |= {pool.submit(_do, t.args): t for t in islice(waiting, 1)}
                yield result
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.kill()  # nothing half-written looks whole, and no signal that a library catches holds it up
        raise
    except BrokenProcessPool:
        raise VadError(
            "a worker process was killed, most likely for want of memory; set `compute.workers` lower and run the "
            "same command again: finished clips are kept"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_work: Work | None = None  # of a worker process


def _begin_worker(work: Work, workers: int) -> None:
    global _work
    _work = work
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C, which reaches all, the main process makes an end
    hide()
    share_cores(max(1, (os.cpu_count() or 1) // workers))


def _do(args: tuple[Any, ...]) -> Any:
    assert _work is not None
    return _work(*args)
