"""Dwell: for how long an object has been where it is: who loiters, what was left behind."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from vadlib.scoring.tracks import Linker

REACH = 250
"""Frames that are looked back on: memory does not grow with footage."""
NEAR = 0.35
"""Of an object's height: its feet were no further away. Who waits turns, and takes a step to and fro; a walker is that
far after ten frames."""
ALIKE = 1.67
"""Times as high or as low is still the same object."""
MISSED = 25
"""Frames for which a detector may lose an object that stays where it is."""


@dataclass
class _Stay:
    """Where an object has been, within reach."""

    frames: deque[int] = field(default_factory=deque)
    worth: deque[float] = field(default_factory=deque)  # for how many frames each of them stands
    feet: deque[np.ndarray] = field(default_factory=deque)  # float64 (3,): x and y of its feet, height; px


class Dwell:
    """In how many of the frames before an object was about where it is now.

    An object is followed from box to box. Where a track begins as another has ended, about as high and at the same
    place, it goes on with it: a detector misses whoever stands behind somebody else, and that does not end a stay.
    """

    def __init__(self) -> None:
        self._linker, self._stays = Linker(), dict[int, _Stay]()

    def measure(self, frame: int, boxes: np.ndarray, worth: float = 1.0) -> np.ndarray:
        """Of each box (M, 4) of a clip's next frame: float32 (M,), frames, its own counted; 1 and more.

        `worth`: for how many frames this one stands, where not all are looked at.
        """
        feet = np.column_stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3], np.maximum(boxes[:, 3] - boxes[:, 1], 1)])
        feet, found = feet.astype(np.float64), np.full(len(boxes), worth, np.float32)
        tracks = [track.number for track in self._linker.link(frame, boxes)]
        self._stays = {
            number: stay
            for number, stay in self._stays.items()
            if number in tracks or stay.frames[-1] >= frame - MISSED
        }
        for index, number in enumerate(tracks):
            stay = self._stays.get(number) or self._gone_on(set(tracks), feet[index])
            self._stays[number] = stay
            while stay.frames and stay.frames[0] < frame - REACH:
                stay.frames.popleft()
                stay.worth.popleft()
                stay.feet.popleft()
            if stay.feet:
                found[index] += np.array(stay.worth)[_about(feet[index], np.stack(stay.feet))].sum()
            stay.frames.append(frame)
            stay.worth.append(worth)
            stay.feet.append(feet[index])
        return found

    def _gone_on(self, present: set[int], feet: np.ndarray) -> _Stay:
        """The longest stay that ended where a track begins, taken from whom it was; a new one where there is none."""
        ended = [number for number in self._stays if number not in present]
        here = [number for number in ended if _about(feet, self._stays[number].feet[-1][None])[0]]
        longest = max(here, key=lambda number: len(self._stays[number].feet), default=None)
        return _Stay() if longest is None else self._stays.pop(longest)


def _about(feet: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Which of N places (N, 3) are about where `feet` (3,) are: bool (N,)."""
    height = feet[2]
    near = np.hypot(*(before[:, :2] - feet[:2]).T) < NEAR * height
    return near & (before[:, 2] < ALIKE * height) & (height < ALIKE * before[:, 2])


def dwell_of_clip(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """`Dwell` of a clip's N boxes (N, 4), whose frames, int (N,), rise: float32 (N,)."""
    dwell, found = Dwell(), np.empty(len(frame), np.float32)
    numbers, starts = np.unique(frame, return_index=True)
    for number, start, stop in zip(numbers.tolist(), starts, np.append(starts, len(frame))[1:], strict=True):
        found[start:stop] = dwell.measure(number, boxes[start:stop])
    return found
