"""One camera: a thread that reads it, a thread that scores it, and what becomes of each frame."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from vadlib.errors import VadError, printable
from vadlib.footage.annotate import draw_boxes
from vadlib.footage.classes import class_name
from vadlib.footage.score import FRAME_COLUMNS, row_of
from vadlib.footage.stream import Pace, ScoredFrame, score_frames
from vadlib.manifest import Clip
from vadlib.scoring.thresholds import Threshold
from vadlib.watch.choice import Choice
from vadlib.watch.drift import Drift
from vadlib.watch.events import Event, EventMaker, Rules, Seen, clock
from vadlib.watch.intake import Every, Intake
from vadlib.watch.model import Model
from vadlib.watch.record import Before, Recording, jpeg
from vadlib.watch.sources import Captured, Cut, Source, frames_of
from vadlib.watch.store import Store, Tables

TABLE_COLUMNS = ("wall", "stream_s", *FRAME_COLUMNS)
CURVE = 3000  # points at most of the live curve
COMPARED = 50  # frames, before they are held against what the model learned from
RECENT = 300  # frames that rates and delays are of


@dataclass(frozen=True)
class Rolls:
    """Seconds of video before and after an event."""

    before: float = 5.0
    after: float = 5.0


@dataclass
class Health:
    """How a camera does."""

    connected: bool = False
    ended: bool = False
    error: str = ""
    reconnects: int = 0
    cuts: int = 0
    frames: int = 0  # scored or passed by
    looked_at: int = 0
    events: int = 0
    arrivals: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # monotonic
    looks: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # monotonic
    lags: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # seconds from capture to score
    event_lags: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))  # seconds from capture to event


class Camera:
    """Reads and scores one source until it ends or `stopping` is set."""

    def __init__(
        self, source: Source, models: Sequence[Model], rules: Rules, rolls: Rolls, store: Store,
        publish: Callable[[dict[str, Any]], None], tell: Callable[[str], None], stopping: threading.Event,
    ) -> None:  # fmt: skip
        """`publish` is given each event as JSON, when it begins and once it is over and its video whole."""
        self.source, self.health = source, Health()
        self._choice = Choice(models)
        self.model = self._choice.usual  # that scores
        self.name = source.name
        self.curve: deque[tuple[float, float | None]] = deque(maxlen=CURVE)  # wall, score
        self.last: ScoredFrame | None = None  # that was looked at
        self.intake = Intake()
        self.every = Every(lambda: self.intake.fill)
        self._rolls, self._store = rolls, store
        self._publish, self._tell, self._stopping = publish, tell, stopping
        self._maker = EventMaker(self.name, self.model.threshold, rules)
        self._before = Before(rolls.before)
        self._recording: Recording | None = None
        # Over, but for the seconds of video after it; and its thumbnail.
        self._ending: tuple[Event, bytes] | None = None
        self._thumbnail = b""
        self._finishing: list[Recording] = []
        self._table = Tables(store, "tables", self.name, TABLE_COLUMNS, length=len("2026-01-31T08"))
        self.drift = Drift(store, self.name, models, tell)
        self._tracks = 0  # of the pieces before
        self._begin = 0.0  # stream time of a piece's first frame
        self._compared: set[Model] = set()  # with what they learned from
        self._scoring: Model | None = None  # that the last piece was scored by
        self._threads = [
            threading.Thread(target=work, name=f"{self.name} {work.__name__}", daemon=True)
            for work in (self._read, self._score)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Wait until all that came has been scored, and what it led to is on disk."""
        self._threads[1].join()

    @property
    def event(self) -> Event | None:
        """The event that is going on."""
        return self._maker.current

    @property
    def threshold(self) -> Threshold:
        """The score above which a frame is anomalous, to the model that scores."""
        return self.model.threshold

    # The reading thread

    def _read(self) -> None:
        try:
            for item in frames_of(self.source, self._stopping, self._tell):
                if isinstance(item, Cut):
                    self.health.connected = self.health.connected and not item.lost
                    self.health.reconnects += item.lost
                else:
                    self.health.connected = True
                    self.health.arrivals.append(item.arrived)
                self.intake.put(item)
        except Exception as error:
            self._fail(error)
        finally:
            self.health.connected = False
            self.intake.put(None)

    # The scoring thread

    def _score(self) -> None:
        try:
            for piece in self.intake.pieces():
                for model, frames in groupby(piece, self._choice.of):  # a change of model is a cut as well
                    self._change(model)
                    self._score_piece(frames)
                    self._end_piece()
        except Exception as error:
            self._fail(error)
            self._end_piece()
        finally:
            for recording in self._finishing:
                recording.join()
            self._table.close()
            self.drift.close()
            self.health.ended = True

    def _change(self, model: Model) -> None:
        """Have a model score what follows."""
        if model is self._scoring:
            return
        self.model = self._scoring = model
        self._maker.model, self._maker.threshold = model.name, model.threshold
        self.every.at_least(model.scorer.scene.settings.every)
        self._store.begin_run(self.name, self._choice.wall, model.name, model.mark)
        if len(self.drift.verdicts) > 1:
            self._tell(f"{self.name}: {model.name} scores{f' (@{model.rule.text})' if model.rule.text else ''}")

    def _score_piece(self, piece: Iterator[Captured]) -> None:
        """Score frames between two cuts: those after it know nothing of those before."""
        under_way: deque[Captured] = deque()
        looked_at: deque[bool] = deque()

        def frames() -> Iterator[tuple[float, np.ndarray]]:
            begin = None
            for number, captured in enumerate(piece):
                begin = captured.stream_time if begin is None else begin
                self._compare(number, captured)
                under_way.append(captured)
                yield captured.stream_time - begin, captured.image

        def wanted(number: int) -> bool:
            looked_at.append(self.every.wanted())
            return looked_at[-1]

        clip, tracks = Clip(self.name, "testing", self.source.shown, 0, 0, 0), 0
        pace = Pace(held=1, detected=1, wanted=wanted, measured=lambda: self.every.k)
        for frame in score_frames(self.model.scorer, clip, frames(), pace=pace):
            tracks = max(tracks, int(frame.tracks.max(initial=-1)) + 1)
            self._see(frame, under_way.popleft(), looked_at.popleft())
        self._tracks += tracks

    def _compare(self, number: int, captured: Captured) -> None:
        """Say, once and with the first frames at hand, where they are unlike what the model learned from."""
        learned = self.model.scorer.learned
        if learned is None or self.model in self._compared:
            return
        if number == 0:
            self._begin = captured.stream_time
        elif number == COMPARED:
            span = captured.stream_time - self._begin
            height, width = captured.image.shape[:2]
            if said := learned.otherwise(COMPARED / span if span > 0 else None, width, height):
                self._tell(f"{self.name}: {said}")
            self._compared.add(self.model)

    def _see(self, frame: ScoredFrame, captured: Captured, looked_at: bool) -> None:
        """The next frame, scored; or passed by, and then only a picture."""
        picture, wall = jpeg(frame.image), captured.wall
        self._before.add(wall, picture)
        if self._recording is not None:
            self._recording.add(wall, picture)
        self.health.frames += 1
        if looked_at:
            now = time.monotonic()
            self.health.looked_at += 1
            self.health.looks.append(now)
            self.health.lags.append(now - captured.arrived)
            self.last = frame
            self.curve.append((wall, round(frame.score, 3) if math.isfinite(frame.score) else None))
            self._write_row(frame, captured)
            self.drift.see(wall, frame.score, self.model)
            self._look_for_events(frame, captured)
        if self._ending is not None and wall - self._ending[0].last.wall > self._rolls.after:
            self._finish()

    def _write_row(self, frame: ScoredFrame, captured: Captured) -> None:
        row = [*row_of(frame, frame.score > self.threshold.value)]
        row[0] = self.health.frames - 1
        if frame.top is not None:
            row[FRAME_COLUMNS.index("track")] += self._tracks
        self._table.add(captured.wall, [clock(captured.wall), round(captured.stream_time, 6), *row])

    def _look_for_events(self, frame: ScoredFrame, captured: Captured) -> None:
        seen = Seen(captured.wall, captured.stream_time, frame.score)
        if (top := frame.top) is not None:
            kind = class_name(
                self.model.scorer.scorer.settings.detector, frame.classes[top] if frame.classes is not None else -1
            )
            seen = Seen(
                captured.wall, captured.stream_time, frame.score, tuple(frame.boxes[top].tolist()),
                int(frame.tracks[top]) + self._tracks, kind, frame.reason,
            )  # fmt: skip
        for event in list(self._maker.see(seen, lambda: time.monotonic() - captured.arrived)):
            if event.peak is seen:
                self._thumbnail = jpeg(draw_boxes(frame, self.threshold))
            self._handle(event)
        if self._maker.peak is seen:
            self._thumbnail = jpeg(draw_boxes(frame, self.threshold))

    def _handle(self, event: Event) -> None:
        if event.state == "end":
            self._ending = event, self._thumbnail
            return
        self._finish()  # the seconds after the one before
        folder = self._store.begin(event, self._thumbnail)
        self._recording = Recording(folder / "clip.mp4", self._before.frames())
        self.health.events += 1
        self.health.event_lags.append(event.latency)
        self._publish(event.as_json())

    def _finish(self) -> None:
        """Complete what is over; the recording's thread sees to it, so that no frame waits for it."""
        if self._ending is None or self._recording is None:
            return
        (event, thumbnail), recording = self._ending, self._recording
        self._ending = self._recording = None

        def done(error: Exception | None) -> None:
            if error is not None:
                self._tell(f"{event.id}: no video of it: {printable(str(error))}")
            try:
                self._store.end(event, thumbnail)
            except (OSError, VadError) as failed:
                self._tell(f"{event.id}: cannot be kept: {printable(str(failed))}")
            self._publish(event.as_json())

        recording.end(done)
        self._finishing = [other for other in self._finishing if other.is_alive()] + [recording]

    def _end_piece(self) -> None:
        """At a cut, what is going on is over."""
        self.health.cuts += 1
        for event in self._maker.end("the stream was cut"):
            self._handle(event)
        self._finish()

    def _fail(self, error: Exception) -> None:
        self.health.error = printable(str(error)) or type(error).__name__
        self._tell(f"{self.name}: {self.health.error}")
