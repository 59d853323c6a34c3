"""One model for several cameras: what they ask of it while it works on something is done together, as one batch."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from typing import Generic, TypeVar

import numpy as np

from vadlib.boxes.table import Boxes
from vadlib.cubes.shards import Batch, join
from vadlib.footage.stream import FootageScorer
from vadlib.manifest import Clip
from vadlib.scoring.scorer import Scorer, Values

A = TypeVar("A")
R = TypeVar("R")


@dataclass
class _Job(Generic[A, R]):
    asked: A
    answer: R | None = None
    error: BaseException | None = None
    done: bool = False


class Combined(Generic[A, R]):
    """A function of several questions, for threads that have one each: one of them asks for all that wait."""

    def __init__(self, run: Callable[[list[A]], list[R]]) -> None:
        self._run = run
        self._busy, self._lock = threading.Lock(), threading.Lock()
        self._waiting: list[_Job[A, R]] = []

    def __call__(self, asked: A) -> R:
        """The answer. Raises what the function does, for each question of a call that failed."""
        job: _Job[A, R] = _Job(asked)
        with self._lock:
            self._waiting.append(job)
        with self._busy:
            if not job.done:  # nobody asked for it meanwhile
                with self._lock:
                    jobs, self._waiting = self._waiting, []
                self._ask(jobs)
        if job.error is not None:
            raise job.error
        return job.answer  # type: ignore[return-value] # it is there: the call is done, and has not failed

    def _ask(self, jobs: list[_Job[A, R]]) -> None:
        try:
            for job, answer in zip(jobs, self._run([job.asked for job in jobs]), strict=True):
                job.answer = answer
        except BaseException as error:
            for job in jobs:
                job.error = error
        for job in jobs:
            job.done = True


def shared(scorer: FootageScorer) -> FootageScorer:
    """The same, for several threads at a time: detector and networks are asked by one of them for all that wait."""
    model = scorer.scorer

    def detect(chunks: list[tuple[Clip, int, Sequence[np.ndarray]]]) -> list[list[Boxes]]:
        # A detector takes frames of one size, and what it finds in one depends on that frame alone.
        boxes_of: list[list[Boxes]] = [[] for _ in chunks]
        for shape in {frames[0].shape for _, _, frames in chunks}:
            own = [index for index, (_, _, frames) in enumerate(chunks) if frames[0].shape == shape]
            together = [frame for index in own for frame in chunks[index][2]]
            boxes = iter(scorer.detector(*chunks[own[0]][:2], together))
            for index in own:
                boxes_of[index] = [next(boxes) for _ in chunks[index][2]]
        return boxes_of

    def measure(asked: list[tuple[Batch, float]]) -> list[Values]:
        eta = asked[0][1]  # all cameras have one model's
        values = model.measure(reduce(join, (cubes for cubes, _ in asked)), [eta])[eta]
        ends = np.cumsum([len(cubes.raw) for cubes, _ in asked])[:-1]
        parts = {name: np.split(value, ends) for name, value in values.items()}
        return [{name: part[index] for name, part in parts.items()} for index in range(len(asked))]

    detected, measured = Combined(detect), Combined(measure)
    own = {entry.name: getattr(model, entry.name) for entry in fields(model)}
    return replace(
        scorer,
        scorer=_SharedScorer(**own, measured=measured),
        detector=lambda clip, first, frames: detected((clip, first, frames)),
    )


@dataclass(frozen=True)
class _SharedScorer(Scorer):
    """A scorer whose measurements are made by a function."""

    measured: Callable[[tuple[Batch, float]], Values] = field(kw_only=True)

    def measure(self, cubes: Batch, etas: Sequence[float], *, seen: bool = False) -> dict[float, Values]:
        return {eta: self.measured((cubes, eta)) for eta in etas}
