"""Many clips scored by one model, by whatever does the work: each worker loads the model once."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from vadlib.errors import FootageError, Losses
from vadlib.footage.find import Footage
from vadlib.footage.scene import Scene
from vadlib.footage.score import score_footage
from vadlib.footage.stream import FootageScorer, make_scorer
from vadlib.pipeline.executors.registry import run
from vadlib.pipeline.executors.tasks import Task
from vadlib.scoring.model_folder import read_package
from vadlib.scoring.thresholds import Threshold
from vadlib.settings import ComputeSettings


@dataclass(frozen=True)
class Scoring:
    """With what clips are scored, and what is left of each: files and numbers, so that it can go to a worker."""

    model: Path
    compute: ComputeSettings
    yolo: Path | None = None  # weights to use instead of the model's detector
    threshold: float | None = None  # instead of the model's
    fps: float = 25.0
    parquet: bool = False
    scene: Scene | None = None  # what counts, instead of what does for the model


@dataclass(frozen=True)
class Scored:
    """What became of a clip."""

    footage: Footage
    counts: Counter[str]
    losses: Losses
    error: str  # why nothing of it can be scored; empty where something was


def load(how: Scoring) -> None:
    """Load the model, so that what is wrong with it is told before any work. Raises VadError as `make_scorer` does."""
    _loaded.cache_clear()  # of what the folder held before
    _loaded(how)


def score_many(how: Scoring, clips: Iterable[tuple[Footage, Path]]) -> Iterator[Scored]:
    """Score clips, each into its folder, as `score_footage` does, and yield what became of each as it is done.

    Without workers they are taken as they come. Raises VadError as `load` and the executor do.
    """
    alone = how.compute.executor == "local" and how.compute.workers == 1
    tasks = (
        Task(f"clip {footage.name}", 0 if alone else footage.claimed or 0, (footage, folder))
        for footage, folder in clips
    )
    for task, (counts, losses, error) in run(partial(_score, how), tasks, how.compute):
        yield Scored(task.args[0], counts, losses, error)


def _score(how: Scoring, footage: Footage, folder: Path) -> tuple[Counter[str], Losses, str]:
    scorer, threshold = _loaded(how)
    losses = Losses()
    try:
        counts = score_footage(footage, scorer, threshold, folder, fps=how.fps, parquet=how.parquet, losses=losses)
    except FootageError as error:
        return Counter(), losses, str(error)
    return counts, losses, ""


@lru_cache(maxsize=1)
def _loaded(how: Scoring) -> tuple[FootageScorer, Threshold]:
    package = read_package(how.model)
    limit = package.threshold if how.threshold is None else replace(package.threshold, value=how.threshold)
    return make_scorer(package, how.compute, how.yolo, how.scene), limit
