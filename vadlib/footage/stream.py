"""Scoring footage in one pass as it is read: detect, flow, crop, score, with no file in between.

The pass calls the functions that the stages call, one after the other on a frame's way, so its scores are theirs; while
cubes are scored, a thread reads the next frames and cuts theirs. What is held in memory is bounded by how far they look
ahead, whatever the length of the footage.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from vadlib.boxes.detect import detect_clip
from vadlib.boxes.kinds.registry import make_detector
from vadlib.boxes.table import APPEARANCE, Boxes, DetectFrames
from vadlib.clips import read_footage
from vadlib.cubes.cut import FrameCubes, cubes_of_clip
from vadlib.cubes.shards import Batch, join, take
from vadlib.engine.engine import make_engine
from vadlib.flow.fields import EstimateFlow, flow_of_clip
from vadlib.flow.kinds.registry import make_estimator
from vadlib.footage.kept import NONE, Kept
from vadlib.footage.learned import Learned, read_learned
from vadlib.footage.overlap import overlapped
from vadlib.footage.scene import WHOLE, Scene, read_scene
from vadlib.manifest import Clip
from vadlib.scoring.evidence.dwell import Dwell
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.model_folder import Package, for_new_footage, read_package
from vadlib.scoring.scorer import Scorer
from vadlib.scoring.tracks import average_along_tracks
from vadlib.scoring.words import reason
from vadlib.settings import ComputeSettings, EvidenceName, ScoreSettings
from vadlib.units import to_pixels, to_steps

T = TypeVar("T")

HELD_FRAMES, HELD_BYTES = 100, 1 << 28
"""At most so many frames, of at most so many bytes together, wait for a full batch of cubes. Then a smaller one is
scored: sparse footage is not kept waiting, and large frames do not fill the memory."""


@dataclass(frozen=True)
class Pace:
    """What a pass waits for, and what it passes by. As it is: all of a recording, in the fewest batches."""

    held: int = HELD_FRAMES  # frames at most that wait for a full batch of cubes
    detected: int = 8  # frames that the detector is given at a time, and that are ready at most before they are scored
    wanted: Callable[[int], bool] | None = None
    """Whether the frame of a number is looked at; asked once of each, in order; None: the scene says. The others get no
    boxes, so that neither detector nor networks work on them; flow and cubes still see them, so that what moves is as
    fast as ever."""
    measured: Callable[[], int] | None = None
    """In each how many-th frame that is looked at the networks measure an object; asked once of each. Between, what
    they said of it last is kept. None: in all."""


RECORDED = Pace()


@dataclass(frozen=True)
class FootageScorer:
    """A model, loaded and ready for footage."""

    scorer: Scorer
    detector: DetectFrames
    estimator: EstimateFlow
    batch: int  # cubes scored at a time
    scene: Scene = WHOLE  # what counts
    learned: Learned | None = None  # from what footage, if it is known

    @property
    def how(self) -> ScoreSettings:
        """New footage is scored by `best`."""
        return self.scorer.settings.best

    @property
    def threshold(self) -> float:
        """The model's own: a frame whose score is above it is anomalous."""
        return self.scorer.calibration.thresholds["best"].value

    def score(self, footage: str | PathLike[str], fps: float = 25.0) -> "Iterator[ScoredFrame]":
        """Score a video file, or a folder of images, in one pass, and yield its frames in order as they are scored.

        Nothing is kept of a frame that was yielded, so that footage of any length takes the same memory. `fps` is the
        rate of images whose names hold no times, in frames per second. Raises FootageError, in one line, where nothing
        can be read, and at a frame that cannot be.
        """
        path = Path(footage)
        return score_frames(self, Clip(path.stem, "testing", str(path), 0, 0, 0), read_footage(path, path.stem, fps))


@dataclass(frozen=True)
class ScoredFrame:
    """One frame with all that was found of it: M boxes, L = 2T+1."""

    number: int  # from 0
    time: float  # seconds from the first frame
    image: np.ndarray  # uint8 (H, W, 3), RGB
    boxes: np.ndarray  # float32 (M, 4), xyxy in source pixels
    scores: np.ndarray  # float64 (M,), of each box, averaged along its track
    tracks: np.ndarray  # int64 (M,), which object each box is
    parts: dict[EvidenceName, np.ndarray]  # float64 (M,), what each evidence that counts says, unweighted
    score: float  # the frame's, of its highest boxes; NaN without boxes
    raw: np.ndarray  # uint8 (M, L, patch, patch, 3), the cubes
    flow: np.ndarray  # int16 (M, L, patch, patch, 2), their flow in 1/32 px per frame
    centre: int  # which of the L patches shows this frame
    objects: int | None  # normal ones that words compare with; None where no words can be made of the parts
    classes: np.ndarray | None = None  # int16 (M,), the detector's class of each box, -1 unknown
    looked_at: bool = True  # one that was passed by has no boxes, whatever there was

    @property
    def top(self) -> int | None:
        """Which box has the highest score; None without boxes."""
        return int(np.argmax(self.scores)) if len(self.scores) else None

    @property
    def reason(self) -> str:
        """What is strange about that box, in words; empty where nothing is."""
        if self.top is None or self.objects is None:
            return ""
        return reason({name: float(part[self.top]) for name, part in self.parts.items()}, self.objects)


def load(
    folder: str | PathLike[str],
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    detector_weights: str | PathLike[str] | None = None,
) -> FootageScorer:
    """Load a model folder, as `vad train` and the stage `package` leave it, ready to score footage.

    Args:
        device: `auto` is a GPU where there is one.
        detector_weights: a YOLO's, instead of the model's own detector; a model of imported boxes needs them.

    Raises VadError, in one line, where the folder is not there, incomplete or damaged, or the device is not there.
    """
    weights = None if detector_weights is None else Path(detector_weights)
    return make_scorer(read_package(Path(folder)), ComputeSettings(device=device), weights)


def make_scorer(
    package: Package, compute: ComputeSettings, yolo: Path | None = None, scene: Scene | None = None
) -> FootageScorer:
    """Load a model folder's detector, flow estimator and networks; `yolo`: weights to use instead of its detector's,
    `scene`: what counts, instead of what counted when it learned.

    Raises VadError where that is not possible for new footage, or a file is missing or damaged.
    """
    detector, detector_weights = for_new_footage(package, yolo)
    scorer = package.scorer(make_engine(compute))
    settings = scorer.settings.model_copy(update={"detector": detector})
    return FootageScorer(
        replace(scorer, settings=settings),
        make_detector(detector, detector_weights, package.folder, (), compute.device),
        make_estimator(settings.flow, package.flow_weights, package.folder, compute.device),
        compute.score_batch,
        read_scene(package.folder, detector) if scene is None else scene,
        read_learned(package.folder),
    )


def score_frames(
    scorer: FootageScorer,
    clip: Clip,
    frames: Iterable[tuple[float, np.ndarray]],
    counts: Counter[str] | None = None,
    pace: Pace = RECORDED,
) -> Iterator[ScoredFrame]:
    """Score the frames of one clip, (seconds, (H, W, 3) uint8 RGB), each taken once, and yield them in order.

    A frame comes out once all its cubes have been scored, in batches of `scorer.batch`: the very batches of the stage
    `score`, but where frames would have to wait too long; and once the frames that its average looks ahead to have. Of
    `clip` the name and path serve in errors; `counts` is told what `detect_clip` tells. Raises what `frames` raises,
    and VadError where a frame cannot be worked on.
    """
    how = scorer.how
    objects = scorer.scorer.calibration.objects(scorer.scorer.settings.eta[0]) if how.calibration == "tail" else None
    waiting: deque[tuple[_Frame, dict[EvidenceName, np.ndarray]]] = deque()

    def scored() -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        for frame, scores, parts in _cubes_scored(scorer, clip, frames, counts, pace):
            waiting.append((frame, parts))
            yield frame.cubes.frame, frame.cubes.boxes, np.stack([scores, *parts.values()], axis=1)

    for averaged in average_along_tracks(scored(), how.track_half_life, how.track_after):
        frame, parts = waiting.popleft()
        columns = averaged.scores.T if len(averaged.tracks) else np.empty((1 + len(parts), 0))
        place = np.zeros(len(columns[0]), int)
        yield ScoredFrame(
            frame.cubes.frame, frame.time, frame.image, frame.cubes.boxes, columns[0], averaged.tracks,
            dict(zip(parts, columns[1:], strict=True)), float(frame_scores(place, columns[0], 1, how.top)[0][0]),
            frame.cubes.cubes, frame.flow, frame.cubes.centre, objects, frame.classes,
            frame.looked_at,
        )  # fmt: skip


@dataclass(frozen=True)
class _Frame:
    """A frame on its way."""

    time: float
    image: np.ndarray
    cubes: FrameCubes
    flow: np.ndarray
    classes: np.ndarray
    looked_at: bool


def _cubes_scored(
    scorer: FootageScorer,
    clip: Clip,
    frames: Iterable[tuple[float, np.ndarray]],
    counts: Counter[str] | None,
    pace: Pace,
) -> Iterator[tuple[_Frame, np.ndarray, dict[EvidenceName, np.ndarray]]]:
    """Each frame with the scores of its cubes, and their parts, before tracks."""
    settings, how = scorer.scorer.settings, scorer.how
    eta = settings.eta[0]
    shown, *copies = copies_of(frames, 4)
    for_boxes, for_flow, for_raw = ((image for _, image in copy) for copy in copies)
    boxes_found, *others = copies_of(_boxes(scorer, clip, for_boxes, counts, pace), 3)
    raw_boxes, flow_boxes = ((boxes.xyxy for boxes, _ in copy) for copy in others)
    fields = _as_stored(clip, flow_of_clip(clip, for_flow, scorer.estimator))
    raw_cubes = cubes_of_clip(for_raw, raw_boxes, settings.cube)
    flow_cubes = cubes_of_clip(fields, flow_boxes, settings.cube)

    waiting: deque[_Frame] = deque()
    unscored: list[Batch] = []
    dwell, dwelt = Dwell(), np.empty(0, np.float32)  # of the cubes that are unscored
    kept, due = Kept(), NONE  # likewise
    before = -scorer.scene.settings.every  # the last frame that was looked at
    done: list[np.ndarray] = []  # columns: score and parts, of the first cubes of the frames that wait
    names = [name for name, weight in how.weights.items() if weight]

    def score(count: int) -> None:
        batch = unscored[0]
        for other in unscored[1:]:
            batch = join(batch, other)
        unscored[:] = [take(batch, slice(count, None))]
        nonlocal dwelt, due
        cubes = take(batch, slice(count))
        if pace.measured is None:
            values = scorer.scorer.measure(cubes, [eta])[eta]
        else:
            values = kept.measure(scorer.scorer, cubes, due.take(slice(count)), eta)
            due = due.take(slice(count, None))
        values |= {"dwell": dwelt[:count]}
        dwelt = dwelt[count:]
        parts = scorer.scorer.best_parts(values, eta)
        done.append(np.stack([scorer.scorer.scores(how, values, eta), *(parts[name] for name in names)], axis=1))

    def ready() -> Iterator[tuple[_Frame, np.ndarray, dict[EvidenceName, np.ndarray]]]:
        table = np.concatenate(done) if done else np.empty((0, 1 + len(names)))
        while waiting and len(waiting[0].cubes.boxes) <= len(table):
            frame = waiting.popleft()
            own, table = np.split(table, [len(frame.cubes.boxes)])
            yield frame, own[:, 0], dict(zip(names, own[:, 1:].T, strict=True))
        done[:] = [table]

    cut = zip(shown, raw_cubes, flow_cubes, boxes_found, strict=True)
    for (time, image), raw, flow, (boxes, looked_at) in overlapped(cut, pace.detected):
        of_flow = to_steps(flow.cubes, f"clip {clip.name}: frame {flow.frame}")
        waiting.append(_Frame(time, image, raw, of_flow, boxes.cls, looked_at))
        unscored.append(Batch(raw.cubes, of_flow, raw.boxes))
        if looked_at:
            # Where the machine is too slow, one stands for more frames than those that the model learned from.
            worth = (raw.frame - before) / scorer.scene.settings.every
            dwelt = np.concatenate([dwelt, dwell.measure(raw.frame, raw.boxes, worth)])
            before = raw.frame
            if pace.measured is not None:
                due = due.join(kept.due(raw.frame, raw.boxes, pace.measured()))
        while (cubes := sum(len(batch.raw) for batch in unscored)) >= scorer.batch:
            score(scorer.batch)
        if len(waiting) >= min(pace.held, 1 + HELD_BYTES // image.nbytes) and cubes:
            score(cubes)
        yield from ready()
    if rest := sum(len(batch.raw) for batch in unscored):
        score(rest)
    yield from ready()


def _boxes(
    scorer: FootageScorer, clip: Clip, frames: Iterable[np.ndarray], counts: Counter[str] | None, pace: Pace
) -> Iterator[tuple[Boxes, bool]]:
    """The boxes of each frame that count, and whether it was wanted; none of those that are not, which the detector
    does not see."""
    wanted: deque[bool] = deque()
    ask, scene, settings = pace.wanted or scorer.scene.looks_at, scorer.scene, scorer.scorer.settings.detector
    height = width = 0

    def detect(clip: Clip, first: int, chunk: Sequence[np.ndarray]) -> list[Boxes]:
        nonlocal height, width
        height, width = chunk[0].shape[:2]
        looked_at = [ask(first + step) for step in range(len(chunk))]
        wanted.extend(looked_at)
        seen = [frame for frame, is_wanted in zip(chunk, looked_at, strict=True) if is_wanted]
        detected = iter(scorer.detector(clip, first, seen) if seen else ())
        return [next(detected) if is_wanted else Boxes.of([], APPEARANCE) for is_wanted in looked_at]

    for boxes in detect_clip(clip, frames, detect, settings, pace.detected, counts=counts):
        is_wanted = wanted.popleft()
        yield scene.keep(boxes, width, height, settings) if is_wanted else boxes.take(slice(0)), is_wanted


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


def _as_stored(clip: Clip, fields: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Flow as it would be if it had been written to disk and read back: networks have seen no other."""
    for number, field in enumerate(fields):
        yield to_pixels(to_steps(field, f"clip {clip.name}: frame {number}"))
