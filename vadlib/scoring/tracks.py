"""Objects followed from frame to frame, and scores averaged along their tracks.

One frame's score of an object is noisy: legs swing, a box is cut too wide. What it does over half a second is not. The
nearest frames weigh most, so that what begins or ends on a track is not late by as long as is averaged over; and every
track begins as an ordinary one does, so that a sliver that is there for a frame is no alarm.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from vadlib.settings import ScoreSettings

MIN_IOU = 0.3
"""Of an object's box with its last one: frames of a video overlap far more, two neighbours far less."""
MEMORY = 5
"""Frames that a detector may miss an object, and it is still the same."""
REACH = 8
"""Half-lives that a mean looks back on: what is further away would weigh less than half a per cent."""


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes xyxy, float (M, 4) and (N, 4): float64 (M, N)."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    area_a, area_b = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b))
    return shared / np.maximum(area_a[:, None] + area_b[None] - shared, 1e-9)


@dataclass
class Track:
    """One object, as far as it has been followed."""

    number: int  # from 0, in the order of their beginnings
    first: int  # frame
    box: np.ndarray  # the last one, (4,)
    frame: int  # of the last box
    scores: deque[tuple[int, np.ndarray]] = field(default_factory=deque)  # frame, scores (K,); within reach of a mean


class Linker:
    """Links the boxes of each frame to the tracks of those before: greedily, the largest overlap first."""

    def __init__(self) -> None:
        self._alive: list[Track] = []
        self._count = 0

    def link(self, frame: int, boxes: np.ndarray) -> list[Track]:
        """The track of each of the M boxes (M, 4) of the next frame; a box that follows none begins one.

        Frames come in rising order; those without boxes may be left out.
        """
        self._alive = [track for track in self._alive if frame - track.frame <= MEMORY + 1]
        found: list[Track | None] = [None] * len(boxes)
        if self._alive and len(boxes):
            overlap = box_iou(boxes, np.stack([track.box for track in self._alive]))
            taken: set[int] = set()
            # Stable: of equal overlaps the first box, then the oldest track, whatever the machine.
            for place in np.argsort(-overlap, axis=None, kind="stable"):
                index, other = divmod(int(place), len(self._alive))
                if overlap[index, other] < MIN_IOU:
                    break
                if found[index] is None and other not in taken:
                    found[index] = self._alive[other]
                    taken.add(other)
        tracks = []
        for box, track in zip(boxes, found, strict=True):
            if track is None:
                track = Track(self._count, frame, box, frame)
                self._count += 1
                self._alive.append(track)
            track.box, track.frame = box, frame
            tracks.append(track)
        return tracks


def horizon_of(how: ScoreSettings) -> int:
    """Frames whose scores say little more than one, averaged as they are: those that weigh something, in all."""
    return math.ceil(1 + how.track_half_life / math.log(2) + how.track_after)


@dataclass(frozen=True)
class Averaged:
    """A frame whose scores have been averaged along tracks."""

    frame: int
    scores: np.ndarray  # float64 (M, K)
    tracks: np.ndarray  # int64 (M,), number of each box's track


def average_along_tracks(
    frames: Iterable[tuple[int, np.ndarray, np.ndarray]], half_life: float, after: int
) -> Iterator[Averaged]:
    """Average each object's scores along its track.

    A score d frames away weighs 2^(-d / half_life). Where a track begins there is one score more, of 0, which is what
    is usual: it fades as the others do.

    Args:
        frames: of one clip, in order: number, boxes float (M, 4) and scores float (M, K), each column by itself.
        half_life: frames; 0: every score stays as it is.
        after: frames that are looked ahead; 0 looks at nothing that is still to come, and yields every frame at once.

    Yields each frame once the `after` following it have come, or no more come.
    """
    linker = Linker()
    after = after if half_life else 0
    waiting: deque[tuple[int, list[Track]]] = deque()
    for frame, boxes, scores in frames:
        tracks = linker.link(frame, boxes)
        for track, score in zip(tracks, scores, strict=True):
            track.scores.append((frame, score))
        waiting.append((frame, tracks))
        while waiting and waiting[0][0] + after <= frame:
            yield _averaged(*waiting.popleft(), half_life, after)
    while waiting:
        yield _averaged(*waiting.popleft(), half_life, after)


def average_clip(
    frame: np.ndarray, boxes: np.ndarray, table: np.ndarray, frames: int, half_life: float, after: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """`average_along_tracks` of a clip's N boxes.

    Args:
        frame: int (N,), rising: the frame of each box.
        boxes: float (N, 4), xyxy.
        table: float64 (N, K).
        frames: the clip's.

    Returns the averages, float64 (N, K), and which object each box is, int64 (N,).
    """
    edges = np.searchsorted(frame, np.arange(frames + 1))
    own = ((t, boxes[a:b], table[a:b]) for t, (a, b) in enumerate(pairwise(edges)) if b > a)
    found = list(average_along_tracks(own, half_life, after))
    if not found:
        return table, np.empty(0, np.int64)
    return np.concatenate([f.scores for f in found]), np.concatenate([f.tracks for f in found])


def _averaged(frame: int, tracks: list[Track], half_life: float, after: int) -> Averaged:
    if not half_life:
        return Averaged(frame, np.array([track.scores.pop()[1] for track in tracks]), _numbers(tracks))
    means = []
    for track in tracks:
        while track.scores[0][0] < frame - REACH * half_life:
            track.scores.popleft()
        total, weights = np.zeros_like(track.scores[0][1]), _weight(frame - track.first, half_life)
        # One after the other: the same to the bit whatever other columns there are.
        for number, scores in track.scores:
            if number <= frame + after:
                weight = _weight(number - frame, half_life)
                total, weights = total + weight * scores, weights + weight
        means.append(total / weights)
    return Averaged(frame, np.array(means), _numbers(tracks))


def _numbers(tracks: list[Track]) -> np.ndarray:
    return np.array([track.number for track in tracks], np.int64)


def _weight(distance: int, half_life: float) -> float:
    return 2.0 ** (-abs(distance) / half_life)
