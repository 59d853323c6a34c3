"""Several cameras, what they share, and who is told: all that `vad watch` runs."""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from vadlib.errors import VadError
from vadlib.footage.scene import Scene
from vadlib.io.ownership import check_apart
from vadlib.io.progress import tell
from vadlib.watch.camera import Camera, Rolls
from vadlib.watch.events import Rules, clock
from vadlib.watch.model import Model
from vadlib.watch.queue import Queue
from vadlib.watch.receivers import Command, Delivery, Mqtt, Receiver, Webhook
from vadlib.watch.shared import shared
from vadlib.watch.sources import Source
from vadlib.watch.store import Store

NOTES = 100  # lines at most that the page shows
LOOK_SECONDS = 300.0  # between two looks at the disk and at what days say; at the disk also after each event
LAST_TRIES = 5.0  # seconds at the end for messages that wait


@dataclass(frozen=True)
class Told:
    """Who is told of events."""

    webhooks: Sequence[str] = ()
    mqtt: Sequence[str] = ()
    commands: Sequence[str] = ()

    def receivers(self, cameras: Sequence[str]) -> list[Receiver]:
        wanted: list[Receiver] = [*map(Webhook, self.webhooks), *map(Command, self.commands)]
        return wanted + [Mqtt(address, cameras) for address in self.mqtt]


@dataclass
class Watch:
    """A running watch; `run` is to be called once."""

    sources: Sequence[Source]
    models: Sequence[Model]  # one without a rule; rules do not overlap
    folder: Path
    quota: int  # bytes
    rules: Rules = field(default_factory=Rules)
    rolls: Rolls = field(default_factory=Rolls)
    told: Told = field(default_factory=Told)
    scenes: Mapping[tuple[str, str], Scene] = field(default_factory=dict)
    """What counts, of cameras and models (both names) of which the scorer's does not."""
    out: Callable[[str], None] = print  # is given each event, a line of JSON

    def __post_init__(self) -> None:
        """Raises VadError where the folder is somebody else's, or is, holds or lies in a source."""
        for source in self.sources:
            if source.kind in ("file", "folder"):
                check_apart(self.folder, Path(source.address))
        self.started = time.monotonic()
        self.stopping = threading.Event()
        self.notes: deque[str] = deque(maxlen=NOTES)
        self.store = Store(self.folder, self.quota, self.tell)
        several = len(self.sources) > 1
        models = [replace(model, scorer=shared(model.scorer)) if several else model for model in self.models]
        receivers = self.told.receivers([source.name for source in self.sources])
        self.queue = Queue(self.folder / "queue.sqlite", [receiver.name for receiver in receivers])
        for event in self.store.unended():
            self.publish(event)
        self.cameras = [
            Camera(
                source, [self._of(source, model) for model in models], self.rules, self.rolls, self.store, self.publish,
                self.tell, self.stopping,
            )
            for source in self.sources
        ]  # fmt: skip
        self._delivered = threading.Event()  # set once no more is to be delivered
        self.deliveries = [Delivery(receiver, self.queue, self.tell, self._delivered) for receiver in receivers]

    def _of(self, source: Source, model: Model) -> Model:
        """A model with what counts of a camera."""
        scene = self.scenes.get((source.name, model.name))
        return model if scene is None else replace(model, scorer=replace(model.scorer, scene=scene))

    def tell(self, line: str) -> None:
        """Say something to whoever runs this: on standard error, and on the page."""
        self.notes.append(f"{clock(time.time())} {line}")
        tell(line)

    def publish(self, event: dict[str, Any]) -> None:
        """Pass an event on: to standard output and to each receiver, where a message waits until it is taken."""
        self.queue.put(f"{event['id']}-{event['state']}", event)
        self.out(json.dumps(event))

    def run(self) -> dict[str, float]:
        """Watch until every source has ended or `stopping` is set, and return counts.

        Raises VadError, once all others have ended, where a source could not be read.
        """
        for camera in self.cameras:
            camera.start()
        looked = time.monotonic()
        self._look()
        while not self.stopping.wait(0.2) and not all(camera.health.ended for camera in self.cameras):
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                self.store.keep_quota()
        self.stopping.set()
        for camera in self.cameras:
            camera.join()
        until = time.monotonic() + LAST_TRIES
        while any(self.queue.waiting().values()) and time.monotonic() < until:
            time.sleep(0.05)
        self._delivered.set()
        for delivery in self.deliveries:
            delivery.thread.join(2.0)
        waiting = sum(self.queue.waiting().values())
        self.queue.close()
        for camera in self.cameras:
            if camera.health.error:
                raise VadError(f"{camera.name}: {camera.health.error}")
        healths = [camera.health for camera in self.cameras]
        counts: dict[str, float] = {
            "cameras": len(self.cameras),
            "frames": sum(health.frames for health in healths),
            "looked at": sum(health.looked_at for health in healths),
            "events": sum(health.events for health in healths),
            "reconnects": sum(health.reconnects for health in healths),
        }
        return {**counts, "messages waiting": waiting}

    def _look(self) -> None:
        for camera in self.cameras:
            camera.drift.look()

    def status(self) -> dict[str, Any]:
        """How all does, as JSON."""
        return {
            "seconds": round(time.monotonic() - self.started, 1),
            "memory_mib": memory_mib(),
            "handles": handles(),
            "threads": threading.active_count(),
            "removed": self.store.removed,
            "waiting": self.queue.waiting(),
            "given_up": self.queue.given_up,
            "receivers": [
                {"name": d.receiver.name, "away": d.away, "delivered": d.delivered, "failures": d.failures}
                for d in self.deliveries
            ],
            "cameras": [camera_status(camera) for camera in self.cameras],
            "notes": list(self.notes)[-20:],
        }


def camera_status(camera: Camera) -> dict[str, Any]:
    """How one camera does, as JSON. Delays are in seconds: from a frame's capture to its score, and to its event."""
    health, last, event = camera.health, camera.last, camera.event
    return {
        "name": camera.name,
        "source": camera.source.shown,
        "state": "failed" if health.error else "ended" if health.ended else "live" if health.connected else "away",
        "error": health.error,
        "model": camera.model.name,
        "score": round(last.score, 3) if last is not None and np.isfinite(last.score) else None,
        "threshold": round(camera.threshold.value, 3),
        "event": event.id if event else None,
        "frames_per_s": rate(health.arrivals),
        "looked_at_per_s": rate(health.looks),
        "n": camera.every.n,
        "k": camera.every.k,
        "lag_s": middle(health.lags),
        "worst_lag_s": round(max([*health.lags], default=0.0), 3),
        "event_lag_s": middle(health.event_lags),
        "frames": health.frames,
        "looked_at": health.looked_at,
        "left_out": camera.intake.left_out,
        "events": health.events,
        "reconnects": health.reconnects,
        "cuts": health.cuts,
        "drift": [
            {"model": model.name, "state": found.state, "days": found.days, "why": found.why}
            for model, found in camera.drift.verdicts.items()
        ],
    }


def rate(times: deque[float]) -> float:
    """Of the latest of these times, monotonic: how many a second, up to now."""
    latest = list(times)
    if len(latest) < 2:
        return 0.0
    return round(len(latest) / max(time.monotonic() - latest[0], 1e-6), 2)


def middle(values: deque[float]) -> float:
    """The median; 0 of none."""
    latest = list(values)
    return round(float(np.median(latest)), 3) if latest else 0.0


def memory_mib() -> float | None:
    """What this process holds in memory. None but on Linux."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return None
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def handles() -> int | None:
    """How many files and connections are open. None but on Linux."""
    try:
        return len(list(Path("/proc/self/fd").iterdir()))
    except OSError:
        return None
