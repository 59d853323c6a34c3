"""Dwell: for how long something has been where an object is: who loiters, what was left behind."""

from collections import deque

import numpy as np

from vadlib.scoring.tracks import box_iou

REACH = 250
"""Frames that are looked back on: memory does not grow with footage."""
SAME_PLACE = 0.6
"""Of two boxes, their intersection over union: a walker's is less after a step or two."""


class Dwell:
    """In how many of the frames before there was a box where an object is now.

    Boxes are compared and not tracks: a detector that misses an object now and then, or somebody who walks past it,
    ends a track, and does not end its waiting.
    """

    def __init__(self) -> None:
        self._before: deque[tuple[int, np.ndarray]] = deque()

    def measure(self, frame: int, boxes: np.ndarray) -> np.ndarray:
        """Of each box (M, 4) of a clip's next frame: float32 (M,), frames, its own counted; 1 and more."""
        while self._before and self._before[0][0] < frame - REACH:
            self._before.popleft()
        found = np.ones(len(boxes), np.float32)
        if not len(boxes):
            return found
        if self._before:
            same = box_iou(boxes, np.concatenate([own for _, own in self._before])) > SAME_PLACE
            starts = np.cumsum([0, *(len(own) for _, own in self._before)])[:-1]
            found += np.logical_or.reduceat(same, starts, axis=1).sum(axis=1).astype(np.float32)
        self._before.append((frame, boxes))
        return found


def dwell_of_clip(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """`Dwell` of a clip's N boxes (N, 4), whose frames, int (N,), rise: float32 (N,)."""
    dwell, found = Dwell(), np.empty(len(frame), np.float32)
    numbers, starts = np.unique(frame, return_index=True)
    for number, start, stop in zip(numbers.tolist(), starts, np.append(starts, len(frame))[1:], strict=True):
        found[start:stop] = dwell.measure(number, boxes[start:stop])
    return found
