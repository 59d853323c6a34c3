"""Between a camera that does not wait and a pass that takes its time: a bounded queue, and how much is looked at."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition

from vadlib.watch.sources import Captured, Cut

MOST_FRAMES, MOST_BYTES = 48, 1 << 26  # that wait, at most: some two seconds; of large frames fewer
FEWEST_FRAMES = 8
MOST_EVERY = 6  # every so manyth frame is looked at, at least: tracks bridge no more (`vadlib.scoring.tracks.MEMORY`)
RAISE_SECONDS = 1.0  # that the queue is a third full before a step up: a connection begins with a burst
HURRY_SECONDS = 0.2  # where it is two thirds full: soon frames would be left out
LOWER_SECONDS = (
    10.0,
    600.0,
)  # without a wait before a step down: at first, and at most; doubled where it was too early


class Intake:
    """Frames on their way from the thread that reads a camera to the one that scores it.

    Where it is full, all that comes is left out until half of what waits has been taken, and that is a cut: so no
    motion is seen across what was left out, and frames are never older than what the queue holds.
    """

    def __init__(self) -> None:
        self._items: deque[Captured | Cut | None] = deque()
        self._frames = 0  # among them
        self._capacity = MOST_FRAMES
        self._overflowing = False
        self._changed = Condition()
        self.taken_in = self.left_out = 0  # frames

    @property
    def fill(self) -> float:
        """How full it is, in [0, 1]."""
        return self._frames / self._capacity

    def put(self, item: Captured | Cut | None) -> None:
        """Add a frame, a cut, or None: that no more come."""
        with self._changed:
            if isinstance(item, Captured):
                self._capacity = min(MOST_FRAMES, max(FEWEST_FRAMES, MOST_BYTES // item.image.nbytes))
                if self._overflowing and self._frames > self._capacity // 2:
                    self.left_out += 1
                    return
                self._overflowing = self._frames >= self._capacity
                if self._overflowing:
                    self.left_out += 1
                    self._items.append(Cut("frames were left out: the machine is too slow"))
                    return
                self._frames += 1
                self.taken_in += 1
            elif self._items and isinstance(self._items[-1], Cut) and item is not None:
                return  # cut already, and nothing since: a camera that is away for days adds nothing
            self._items.append(item)
            self._changed.notify()

    def pieces(self) -> Iterator[Iterator[Captured]]:
        """The frames between one cut and the next, again and again, waited for; each piece is to be taken to its end.

        Pieces may be empty.
        """
        more = True

        def piece() -> Iterator[Captured]:
            nonlocal more
            while isinstance(item := self._take(), Captured):
                yield item
            more = item is not None

        while more:
            yield piece()

    def _take(self) -> Captured | Cut | None:
        with self._changed:
            while not self._items:
                self._changed.wait()
            item = self._items.popleft()
            self._frames -= isinstance(item, Captured)
            return item


class Every:
    """How much is looked at: every n-th frame, and the networks measure an object in every k-th of these.

    Both are as small as the machine can keep up with, n no less than `least`. First k rises, for it costs less:
    neighbouring cubes of an object say nearly the same.
    """

    def __init__(self, fill: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._fill, self._clock = fill, clock
        self._levels, self._level = levels(1), 0
        self._since = 0  # frames since the last that was looked at
        # When the level last changed, when frames last had to wait, and when the queue was last less than a third full.
        self._changed = self._waited = self._roomy = clock()
        self._patience = LOWER_SECONDS[0]
        self._lowered = False

    @property
    def n(self) -> int:
        """Every so many-th frame is looked at."""
        return self._levels[self._level][0]

    @property
    def k(self) -> int:
        """Of the frames looked at, the networks measure an object in every so many-th."""
        return self._levels[self._level][1]

    def at_least(self, least: int) -> None:
        """Have n be no less from now on."""
        now, self._levels = (self.n, self.k), levels(least)
        self._level = next(place for place, level in enumerate(self._levels) if level >= now)

    def wanted(self) -> bool:
        """Whether the next frame is looked at; also adapts n and k to how full the queue is."""
        now, fill = self._clock(), self._fill()
        if fill > 0.1:
            self._waited = now
        if fill <= 1 / 3:
            self._roomy = now
        patience = HURRY_SECONDS if fill > 2 / 3 else RAISE_SECONDS
        if self._level + 1 < len(self._levels) and now - max(self._roomy, self._changed) > patience:
            if self._lowered:  # the last step was one down, and too early
                self._patience = min(2 * self._patience, LOWER_SECONDS[1])
            self._level, self._changed, self._lowered = self._level + 1, now, False
        elif self._level and now - max(self._waited, self._changed) > self._patience:
            self._level, self._changed, self._lowered = self._level - 1, now, True
        self._since += 1
        if self._since < self.n:
            return False
        self._since = 0
        return True


def levels(least: int) -> list[tuple[int, int]]:
    """n and k, from all that may be looked at down to the least, each less work than the one before.

    Of what costs about as much the better by `scripts/savings.py`: up to every sixth frame of an object, k costs less
    than n; beyond, frames are missed either way.
    """
    steps = [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), *((n, 1) for n in range(3, MOST_EVERY + 1)), (MOST_EVERY, 2)]
    return [(least, 1), *(step for step in steps if step > (least, 1))]
