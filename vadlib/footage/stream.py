"""Scoring footage in one pass as it is read: detect, flow, crop, score, with no file in between.

The pass calls the functions that the stages call, one after the other on a frame's way, so its scores are theirs. What
is held in memory is bounded by how far they look ahead, whatever the length of the footage.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch import nn

from vadlib.boxes.detect import detect_clip
from vadlib.boxes.registry import make_detector
from vadlib.boxes.table import DetectFrames
from vadlib.clips import Clip
from vadlib.cubes.cut import FrameCubes, cubes_of_clip
from vadlib.cubes.shards import Batch
from vadlib.engine.engine import Engine, make_engine
from vadlib.flow.fields import EstimateFlow, flow_of_clip
from vadlib.flow.registry import make_estimator
from vadlib.pipeline.score import batch_errors
from vadlib.scoring.model_folder import Package, for_new_footage
from vadlib.scoring.scores import Statistics, anomaly_scores, frame_scores
from vadlib.settings import Branch, ComputeSettings, DatasetSettings
from vadlib.units import to_pixels, to_steps

T = TypeVar("T")

HELD_FRAMES, HELD_BYTES = 100, 1 << 28
"""At most so many frames, of at most so many bytes together, wait for a full batch of cubes. Then a smaller one is
scored: sparse footage is not kept waiting, and large frames do not fill the memory."""


@dataclass(frozen=True)
class Scorer:
    """A model, loaded and ready for footage."""

    settings: DatasetSettings
    networks: Mapping[Branch, nn.Module]  # frozen
    statistics: Mapping[Branch, Statistics]
    detector: DetectFrames
    estimator: EstimateFlow
    engine: Engine
    batch: int  # cubes scored at a time


@dataclass(frozen=True)
class ScoredFrame:
    """One frame with all that was found of it: M boxes, L = 2T+1."""

    number: int  # from 0
    time: float  # seconds from the first frame
    image: np.ndarray  # uint8 (H, W, 3), RGB
    boxes: np.ndarray  # float32 (M, 4), xyxy in source pixels
    scores: np.ndarray  # float64 (M,), of each box's cube
    score: float  # the largest of them; NaN without boxes
    raw: np.ndarray  # uint8 (M, L, patch, patch, 3), the cubes
    flow: np.ndarray  # int16 (M, L, patch, patch, 2), their flow in 1/32 px per frame
    centre: int  # which of the L patches shows this frame

    @property
    def top(self) -> int | None:
        """Which box made the frame's score; None without boxes."""
        return int(np.argmax(self.scores)) if len(self.scores) else None


def make_scorer(package: Package, compute: ComputeSettings, yolo: Path | None = None) -> Scorer:
    """Load a model folder's detector, flow estimator and networks; `yolo`: weights to use instead of its detector's.

    Raises VadError where that is not possible for new footage, or a file is missing or damaged.
    """
    detector, detector_weights = for_new_footage(package, yolo)
    settings = package.settings.model_copy(update={"detector": detector})
    engine = make_engine(compute)
    return Scorer(
        settings,
        {branch: engine.for_scoring(network) for branch, network in package.networks.items()},
        package.statistics,
        make_detector(detector, detector_weights, package.folder, (), compute.device),
        make_estimator(settings.flow, package.flow_weights, package.folder, compute.device),
        engine,
        compute.score_batch,
    )


def score_frames(scorer: Scorer, clip: Clip, frames: Iterable[tuple[float, np.ndarray]]) -> Iterator[ScoredFrame]:
    """Score the frames of one clip, (seconds, (H, W, 3) uint8 RGB), each taken once, and yield them in order.

    A frame comes out once all its cubes have been scored, in batches of `scorer.batch`: the very batches of the stage
    `score`, but where frames would have to wait too long. Of `clip` the name and path serve in errors. Raises what
    `frames` raises, and VadError where a frame cannot be worked on.
    """
    settings = scorer.settings
    shown, *copies = copies_of(frames, 4)
    for_boxes, for_flow, for_raw = ((image for _, image in copy) for copy in copies)
    found = (boxes.xyxy for boxes in detect_clip(clip, for_boxes, scorer.detector, settings.detector))
    raw_boxes, flow_boxes = copies_of(found, 2)
    fields = _as_stored(clip, flow_of_clip(clip, for_flow, scorer.estimator))
    raw_cubes = cubes_of_clip(for_raw, raw_boxes, settings.cube)
    flow_cubes = cubes_of_clip(fields, flow_boxes, settings.cube)

    waiting: deque[tuple[float, np.ndarray, FrameCubes, np.ndarray]] = deque()
    unscored: list[Batch] = []
    scored = np.empty(0)  # of the first cubes of the frames that wait

    def score(cubes: int) -> np.ndarray:
        raw, flow = (np.concatenate([getattr(batch, kind) for batch in unscored]) for kind in ("raw", "flow"))
        unscored[:] = [Batch(raw[cubes:], flow[cubes:])]
        errors = batch_errors(scorer.networks, Batch(raw[:cubes], flow[:cubes]), settings, scorer.engine)
        return anomaly_scores(errors[settings.eta[0]], scorer.statistics, settings.weights)

    for (time, image), raw, flow in zip(shown, raw_cubes, flow_cubes, strict=True):
        of_flow = to_steps(flow.cubes, f"clip {clip.name}: frame {flow.frame}")
        waiting.append((time, image, raw, of_flow))
        unscored.append(Batch(raw.cubes, of_flow))
        while (cubes := sum(len(batch.raw) for batch in unscored)) >= scorer.batch:
            scored = np.append(scored, score(scorer.batch))
        if len(waiting) >= min(HELD_FRAMES, 1 + HELD_BYTES // image.nbytes) and cubes:
            scored = np.append(scored, score(cubes))
        while waiting and len(waiting[0][2].boxes) <= len(scored):
            frame, scored = _scored(*waiting.popleft(), scored)
            yield frame
    if waiting:
        scored = np.append(scored, score(sum(len(batch.raw) for batch in unscored)))
    while waiting:
        frame, scored = _scored(*waiting.popleft(), scored)
        yield frame


def copies_of(source: Iterable[T], count: int) -> list[Iterator[T]]:
    """Iterators that each yield all of `source`, which is taken once; an item is held until the last has yielded it.

    `itertools.tee` would hold items in blocks of 57: of frames, hundreds of MB.
    """
    items = iter(source)
    queues: list[deque[T]] = [deque() for _ in range(count)]

    def copy(own: deque[T]) -> Iterator[T]:
        while True:
            if not own:
                try:
                    item = next(items)
                except StopIteration:
                    return
                for queue in queues:
                    queue.append(item)
                del item
            yield own.popleft()

    return [copy(queue) for queue in queues]


def _scored(
    time: float, image: np.ndarray, cubes: FrameCubes, flow: np.ndarray, scores: np.ndarray
) -> tuple[ScoredFrame, np.ndarray]:
    """A frame with the first of the scores, as many as it has cubes; and the others."""
    own, others = np.split(scores, [len(cubes.boxes)])
    (best,), _ = frame_scores(np.zeros(len(own), int), own, 1)
    frame = ScoredFrame(
        cubes.frame, time, image, cubes.boxes, own, float(best), cubes.cubes, flow, cubes.centre
    )  # fmt: skip
    return frame, others


def _as_stored(clip: Clip, fields: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Flow as it would be if it had been written to disk and read back: networks have seen no other."""
    for number, field in enumerate(fields):
        yield to_pixels(to_steps(field, f"clip {clip.name}: frame {number}"))
