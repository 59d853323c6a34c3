"""Tasks done by the workers of a Ray cluster, on this machine or on many hosts that share the project's folder.

A worker is an actor: a process of its own that is sent the work once, and keeps what it has loaded. To and fro go names
and counts; clips are read from, and artefacts written to, the shared folder.
"""

import importlib.util
import logging
import os
import platform
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vadlib.errors import VadError, printable
from vadlib.io.progress import tell
from vadlib.pipeline.executors.tasks import Task, Work, longest_first, share_cores
from vadlib.settings import ComputeSettings

_PATIENCE = 60.0  # seconds without a worker after which it is said what is waited for
_SHOWN = 3  # failed clips that an error names with their reasons


def run(work: Work, tasks: Iterable[Task], compute: ComputeSettings) -> Iterator[tuple[Task, Any]]:
    """The longest first, each by the next worker that is free.

    A task that fails, or whose worker or node is lost, is tried again `compute.retries` times; the others go on. Raises
    VadError, once they are done, naming those that failed each time, and at once where there is no cluster.
    """
    waiting = deque(longest_first(tasks))
    if not waiting:
        return
    ray = _connected(compute)
    errors = ray.exceptions
    worker = ray.remote(num_cpus=compute.worker_cpus, num_gpus=compute.worker_gpus, max_concurrency=1)(_Worker)
    shared = ray.put(work)
    threads = max(1, int(compute.worker_cpus))
    coming: dict[Any, Any] = {}  # what says that a worker is there, and the worker
    begun: dict[Any, tuple[Any, Task]] = {}
    tries: Counter[int] = Counter()  # by the task's id
    failed: list[tuple[Task, str]] = []
    broken = 0  # workers in a row that did not even begin
    since = time.monotonic()

    def hire() -> None:
        actor = worker.remote([shared], str(Path.cwd()), threads)
        coming[actor.is_there.remote()] = actor

    def again(task: Task, reason: str) -> None:
        tries[id(task)] += 1
        if tries[id(task)] > compute.retries:
            failed.append((task, reason))
        else:
            waiting.append(task)  # after the others: what is at fault may have passed
            tell(f"{task.name}: {reason}; it is tried again ({tries[id(task)]} of {compute.retries} times)")

    def employ(actor: Any) -> None:
        if waiting:
            task = waiting.popleft()
            begun[actor.do.remote(task.args)] = (actor, task)
        else:
            ray.kill(actor)

    try:
        for _ in range(min(compute.workers, len(waiting))):
            hire()
        while begun or waiting:
            if not begun and not coming:
                hire()
            done, _ = ray.wait([*begun, *coming], timeout=1)
            if not begun and time.monotonic() - since > _PATIENCE:
                tell(
                    f"waiting for Ray to start a worker: it needs {compute.worker_cpus:g} CPUs and "
                    f"{compute.worker_gpus:g} GPUs; `ray status` says what there is"
                )
                since = time.monotonic()
            for reference in done:
                since = time.monotonic()
                if reference in coming:
                    actor = coming.pop(reference)
                    try:
                        problem = ray.get(reference)
                    except errors.RayError as error:
                        problem = f"no worker could be started: {_of(error)}"
                        broken += 1
                        if broken <= compute.retries + compute.workers:
                            hire()
                            continue
                    if problem:
                        raise VadError(problem)
                    broken = 0
                    employ(actor)
                    continue
                actor, task = begun.pop(reference)
                try:
                    problem, result = ray.get(reference)
                except errors.RayError as error:
                    again(task, f"its worker was lost: {_of(error)}")
                    ray.kill(actor)  # of one that cannot be reached nothing more is wanted
                    hire()
                    continue
                if problem:
                    again(task, problem)
                    employ(actor)
                    continue
                employ(actor)
                yield task, result
    finally:
        for actor in [*coming.values(), *(actor for actor, _ in begun.values())]:
            ray.kill(actor)
    if failed:
        shown = "; ".join(f"{task.name}: {reason}" for task, reason in failed[:_SHOWN])
        more = f" (and {len(failed) - _SHOWN} more)" if len(failed) > _SHOWN else ""
        raise VadError(
            f"{len(failed)} {'task' if len(failed) == 1 else 'tasks'} failed in each of {compute.retries + 1} tries: "
            f"{shown}{more}; all others are done and kept: mend it and run the same command again"
        )


class _Worker:
    """An actor of Ray's."""

    def __init__(self, shared: list[Any], folder: str, threads: int) -> None:
        self._shared, self._folder, self._threads = shared, folder, threads
        self._work: Work | None = None

    def is_there(self) -> str:
        """Whether this host can do the work; else why not."""
        import ray

        try:
            os.chdir(self._folder)
            share_cores(self._threads)
            if not ray.get_gpu_ids():  # Ray used to hide the others' from who asks for none, and no longer does
                os.environ["CUDA_VISIBLE_DEVICES"] = ""
            self._work = ray.get(self._shared[0])
        except OSError as error:
            return (
                f"{self._folder}: not there on host {platform.node()} ({error.strerror}); all hosts must share the "
                "project's folder under one path"
            )
        except Exception as error:
            return f"host {platform.node()} cannot do the work ({_of(error)}); install the same vadlib on all hosts"
        return ""

    def do(self, args: tuple[Any, ...]) -> tuple[str, Any]:
        """What is wrong, in one line, empty where nothing is; and what the work returned."""
        assert self._work is not None
        try:
            return "", self._work(*args)
        except VadError as error:
            return printable(str(error)), None
        except Exception as error:
            return _of(error), None


def _of(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return printable(f"{type(error).__name__}: {lines[0][:300]}")


def _connected(compute: ComputeSettings) -> Any:
    """The module `ray`, connected to the cluster at `compute.address`; null: to one on this machine, for this process.

    Raises VadError where Ray is not installed, or nothing answers there.
    """
    if importlib.util.find_spec("ray") is None:
        raise VadError("compute.executor: ray needs Ray: pip install 'vadlib[ray]'; or set it to local")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    import ray

    if ray.is_initialized():
        return ray
    own: dict[str, Any] = {}
    if compute.address is None:
        own = {
            "num_cpus": max(1, -int(-compute.workers * compute.worker_cpus // 1)),
            "include_dashboard": False,
            "object_store_memory": 80 << 20,  # the least that Ray takes: names and counts
            "_node_ip_address": "127.0.0.1",
        }
    # Workers find modules where this process does, its working folder first.
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}}
    try:
        ray.init(
            # "local": Ray's own None would join whatever cluster it believes to be here, or to have been
            address=compute.address or "local", runtime_env=environment if compute.address is None else None,
            log_to_driver=False, logging_level=logging.ERROR, **own,
        )  # fmt: skip
    except Exception as error:
        where = "on this machine" if compute.address is None else f"at {compute.address}"
        raise VadError(
            f"compute.address: no Ray cluster {where} ({_of(error)}); start one with `ray start --head` and name its "
            "address, or set `compute.executor: local`"
        ) from None
    return ray
