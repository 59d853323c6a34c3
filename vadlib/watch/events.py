"""From the scores of frames to events that a person can act on: with a beginning, an end, and few that mean nothing."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from vadlib.scoring.thresholds import GAP_SECONDS, Threshold


@dataclass(frozen=True)
class Rules:
    """What of scores above the threshold is an event. Times in seconds."""

    shortest: float = 0.5  # above the threshold for so long; what is shorter is no event
    gap: float = GAP_SECONDS  # below the lower threshold for so long, and it is over
    cool_off: float = 10.0  # after one is over, before another begins
    longest: float = 120.0  # then it ends, and what goes on is another
    hysteresis: float = 0.25  # of the way from threshold down to what is usual: there the lower threshold lies

    def lower(self, threshold: Threshold) -> float:
        """The score that an event goes on above, once it has begun."""
        return threshold.value - self.hysteresis * max(0.0, threshold.value - threshold.median)


@dataclass(frozen=True)
class Seen:
    """What of a scored frame decides about events, and is told of them."""

    wall: float  # seconds since 1970
    stream_time: float  # seconds on the stream's own clock
    score: float  # NaN without boxes
    box: tuple[float, ...] = ()  # xyxy, source pixels: the box that made the score
    track: int | None = None
    kind: str = ""  # class, where known
    reason: str = ""  # in words


@dataclass(frozen=True)
class Event:
    """Something anomalous that a camera saw."""

    id: str  # of this event and of no other: camera and time
    camera: str
    begin: Seen
    last: Seen  # above the lower threshold, so far
    peak: Seen
    state: str = "begin"  # or "end"
    latency: float = 0.0  # seconds from the capture of the frame that made it an event until it was one
    why_ended: str = ""
    model: str = ""  # whose scores these are

    def as_json(self) -> dict[str, Any]:
        """What is written, sent and shown. Times are in UTC, boxes xyxy in pixels of the camera's frames."""
        peak = self.peak
        return {
            "id": self.id,
            "state": self.state,
            "camera": self.camera,
            "model": self.model,
            "begin": clock(self.begin.wall),
            "end": clock(self.last.wall),
            "seconds": round(self.last.wall - self.begin.wall, 3),
            "stream_begin_s": round(self.begin.stream_time, 3),
            "stream_end_s": round(self.last.stream_time, 3),
            "peak": clock(peak.wall),
            "score": round(peak.score, 4),
            "reason": peak.reason,
            "class": peak.kind,
            "box": [round(edge, 1) for edge in peak.box],
            "track": peak.track,
            "latency_s": round(self.latency, 3),
        }


def clock(wall: float) -> str:
    """Seconds since 1970 as people and programs read them: ISO 8601, UTC, to the millisecond."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class EventMaker:
    """Makes events of one camera's frames, as they are scored.

    An event begins at the first frame above the threshold, and is told of once it has lasted `rules.shortest`; it goes
    on while scores are above the lower threshold, with gaps of less than `rules.gap`. A frame stands for the time since
    the one before: of something short a busy machine looks at two frames or three.
    """

    camera: str
    threshold: Threshold
    rules: Rules = field(default_factory=Rules)
    model: str = ""  # its name
    _event: Event | None = None  # that may go on
    _told: bool = False
    _quiet_until: float = 0.0
    _before: float = math.inf  # when the last frame was; of none before it nothing is known
    _stands_for: float = 0.0  # seconds, the frame that the event began with

    @property
    def current(self) -> Event | None:
        """The event that is going on, once it has been told of."""
        return self._event if self._told else None

    @property
    def peak(self) -> Seen | None:
        """The highest frame of what is going on, told of or not yet."""
        return self._event.peak if self._event else None

    def see(self, seen: Seen, delay: Callable[[], float] = lambda: 0.0) -> Iterator[Event]:
        """The next frame that was looked at: yields the event that it ends, and the one that it makes.

        `delay`: seconds since its capture.
        """
        if self._event and seen.wall - self._event.last.wall > self.rules.gap:
            yield from self.end("it was over")
        since, self._before = max(0.0, seen.wall - self._before), seen.wall
        if self._event is None:
            if seen.score > self.threshold.value and seen.wall >= self._quiet_until:
                stamp = clock(seen.wall).replace(":", "").replace("-", "").replace(".", "")
                self._event = Event(f"{self.camera}-{stamp}", self.camera, seen, seen, seen, model=self.model)
                self._stands_for = min(since, self.rules.gap)
        elif seen.score > self.rules.lower(self.threshold):
            peak = max(self._event.peak, seen, key=lambda s: s.score)
            self._event = replace(self._event, last=seen, peak=peak)
        if self._event and not self._told and self._lasted(self._event) >= self.rules.shortest:
            self._told = True
            self._event = replace(self._event, latency=delay())
            yield self._event
        if self._event and self._event.last.wall - self._event.begin.wall >= self.rules.longest:
            yield from self.end("it went on", cool_off=False)

    def _lasted(self, event: Event) -> float:
        return event.last.wall - event.begin.wall + self._stands_for

    def end(self, why: str, *, cool_off: bool = True) -> Iterator[Event]:
        """End what is going on, as at a cut of the stream."""
        event, told = self._event, self._told
        self._event, self._told, self._before = None, False, math.inf
        if event and told:
            if cool_off:
                self._quiet_until = event.last.wall + self.rules.cool_off
            yield replace(event, state="end", why_ended=why)
