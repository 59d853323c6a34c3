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


@dataclass(eq=False)
class Followed:
    """One object, as long as it is followed."""

    frame: int  # that it was last seen in
    since: int = 0  # frames that were looked at since its networks' values were to be measured
    values: np.ndarray | None = None  # float32 (K,), of its last cube that was measured


@dataclass(frozen=True)
class Due:
    """Of N cubes, in order, which are to be measured, and whose they are."""

    fresh: np.ndarray  # bool (N,)
    objects: list[Followed]  # N

    def take(self, rows: slice) -> "Due":
        return Due(self.fresh[rows], self.objects[rows])

    def join(self, other: "Due") -> "Due":
        return Due(np.concatenate([self.fresh, other.fresh]), self.objects + other.objects)


NONE = Due(np.empty(0, bool), [])


class Kept:
    """What networks measured last of each object of one clip."""

    def __init__(self) -> None:
        self._linker, self._objects = Linker(), dict[int, Followed]()
        self._names: list[str] = []

    def due(self, frame: int, boxes: np.ndarray, every: int) -> Due:
        """Which of the next frame's boxes (M, 4) are to be measured: of each object the first, and then every so
        many-th of a frame that is looked at."""
        tracks = [track.number for track in self._linker.link(frame, boxes)]
        self._objects = {n: known for n, known in self._objects.items() if known.frame >= frame - MEMORY - 1}
        fresh = []
        for number in tracks:
            is_new = number not in self._objects
            known = self._objects.setdefault(number, Followed(frame))
            known.frame, known.since = frame, known.since + 1
            fresh.append(is_new or known.since >= every)
            if fresh[-1]:
                known.since = 0
        return Due(np.array(fresh, bool), [self._objects[number] for number in tracks])

    def measure(self, scorer: Scorer, cubes: Batch, due: Due, eta: float) -> Values:
        """All that can be measured of cubes that were due in this order; of those that are not to be measured, what is
        known of their objects."""
        found = scorer.measure(take(cubes, due.fresh), [eta])[eta] if due.fresh.any() else {}
        cheap = {name: kind.measure(cubes) for name, kind in scorer.evidence.items() if name != DEAR}
        self._names = self._names or [name for name in found if name not in cheap]
        rows = iter(np.stack([found[name] for name in self._names], axis=1) if found else ())
        whole = np.empty((len(due.fresh), len(self._names)), np.float32)
        for place, (is_fresh, known) in enumerate(zip(due.fresh, due.objects, strict=True)):
            if is_fresh:
                known.values = next(rows)
            whole[place] = known.values
        return dict(zip(self._names, whole.T, strict=True)) | cheap
