"""Objects whose networks' values are kept for some frames: windows of neighbouring cubes overlap nearly whole, and
where a machine is too slow to measure every cube, an object's last one says what the next would.

What costs next to nothing, how fast an object is and which way it goes, is measured of every cube all the same.
"""

from dataclasses import dataclass

import numpy as np

from vadlib.cubes.shards import Batch, take
from vadlib.scoring.scorer import Scorer, Values
from vadlib.scoring.tracks import MEMORY, Linker

DEAR = "looks"
"""The evidence beside the two networks' errors that is a network's too."""


@dataclass(frozen=True)
class Due:
    """Of N cubes, in order, which are to be measured, and whose they are."""

    fresh: np.ndarray  # bool (N,)
    tracks: np.ndarray  # int64 (N,)

    def take(self, rows: slice) -> "Due":
        return Due(self.fresh[rows], self.tracks[rows])

    def join(self, other: "Due") -> "Due":
        return Due(np.concatenate([self.fresh, other.fresh]), np.concatenate([self.tracks, other.tracks]))


NONE = Due(np.empty(0, bool), np.empty(0, np.int64))


@dataclass
class _Object:
    frame: int  # that it was last seen in
    since: int = 0  # frames that were looked at since its networks' values were to be measured
    due: int = 0  # its cubes that are not measured yet: some wait until there are enough for a batch
    values: np.ndarray | None = None  # float32 (K,), of its last cube that was measured


class Kept:
    """What networks measured last of each object of one clip."""

    def __init__(self) -> None:
        self._linker, self._objects = Linker(), dict[int, _Object]()
        self._names: list[str] = []

    def due(self, frame: int, boxes: np.ndarray, every: int) -> Due:
        """Which of the next frame's boxes (M, 4) are to be measured: of each object the first, and then every so
        many-th of a frame that is looked at."""
        tracks = [track.number for track in self._linker.link(frame, boxes)]
        kept = self._objects.items()
        self._objects = {number: it for number, it in kept if it.due or it.frame >= frame - MEMORY - 1}
        fresh = []
        for number in tracks:
            is_new = number not in self._objects
            known = self._objects.setdefault(number, _Object(frame))
            known.frame, known.since, known.due = frame, known.since + 1, known.due + 1
            fresh.append(is_new or known.since >= every)
            if fresh[-1]:
                known.since = 0
        return Due(np.array(fresh, bool), np.array(tracks, np.int64))

    def measure(self, scorer: Scorer, cubes: Batch, due: Due, eta: float) -> Values:
        """All that can be measured of cubes that were due in this order; of those that are not to be measured, what is
        known of their objects."""
        found = scorer.measure(take(cubes, due.fresh), [eta])[eta] if due.fresh.any() else {}
        cheap = {name: kind.measure(cubes) for name, kind in scorer.evidence.items() if name != DEAR}
        self._names = self._names or [name for name in found if name not in cheap]
        rows = iter(np.stack([found[name] for name in self._names], axis=1) if found else ())
        whole = np.empty((len(due.fresh), len(self._names)), np.float32)
        for place, (is_fresh, number) in enumerate(zip(due.fresh, due.tracks, strict=True)):
            known = self._objects[number]
            known.due -= 1
            if is_fresh:
                known.values = next(rows)
            whole[place] = known.values
        return dict(zip(self._names, whole.T, strict=True)) | cheap
