"""What is kept on disk, in one folder that never holds more than its quota.

    events/2026-01-31/<id>/             event.json, clip.mp4, thumbnail.jpg
    events/2026-01-31/events.jsonl      the day's events, one a line
    tables/<camera>/2026-01-31T08.csv   an hour's scored frames
    drift/<camera>/2026-01-31.csv       a day's minutes, by which `vadlib.watch.drift` judges
    labels.jsonl                        what people said of events
    runs.jsonl                          from when on which model scored which camera
    queue.sqlite                        messages whose receivers are away

Where the quota is passed, the oldest events and hours leave first, and nothing that this tool did not make.
"""

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from vadlib.errors import VadError
from vadlib.footage.score import Rows
from vadlib.io.files import json_lines, parsed_json
from vadlib.io.ownership import BEING_MADE, LEDGER, begin, discard, is_made, note, own, remove_empty, settle
from vadlib.watch.events import Event, clock

LISTED = 500  # events at most that are at hand
Label = Literal["normal", "real"]


class Store:
    """The folder of results. Threads may share it."""

    def __init__(self, folder: Path, quota: int, tell: Callable[[str], None]) -> None:
        """Make a folder, or go on with one; `quota`: bytes. Raises VadError where it is somebody else's."""
        self.folder, self.quota, self._tell = folder, quota, tell
        self._lock = threading.RLock()
        self._kept: set[Path] = set()  # old, and changed since by somebody: told of once
        self.removed = 0
        own(folder)
        for part in ("events", "tables", "drift"):
            own(folder / part)
        self.labels: dict[str, Label] = {row["event"]: row["label"] for row in json_lines(self.folder / "labels.jsonl")}
        self.recent: deque[dict[str, Any]] = deque(self._found(), LISTED)  # oldest first

    # Events

    def begin(self, event: Event, thumbnail: bytes) -> Path:
        """Make the folder of an event that has begun."""
        with self._lock:
            folder = self._folder_of(event.id, event.begin.wall)
            own(folder.parent)
            begin(folder)
            folder.mkdir()
            self._write(folder, event.as_json(), thumbnail)
            self.recent.append(event.as_json())
            return folder

    def end(self, event: Event, thumbnail: bytes) -> None:
        """Complete the folder of an event that is over, and its video written."""
        with self._lock:
            folder = self._folder_of(event.id, event.begin.wall)
            self._write(folder, event.as_json(), thumbnail)
            self._close(folder, event.as_json())
            for index, other in enumerate(self.recent):
                if other["id"] == event.id:
                    self.recent[index] = event.as_json()
        self.keep_quota()

    def unended(self) -> Iterator[dict[str, Any]]:
        """Events that were going on when an earlier run was killed: each is ended here, and yielded."""
        for event in [event for event in self.recent if event["state"] == "begin"]:
            event["state"] = "end"
            folder = self.folder / "events" / event["begin"][:10] / event["id"]
            self._write_event(folder, event)
            self._close(folder, event)
            yield event

    def file_of(self, identity: str, name: str) -> Path | None:
        """A file of an event at hand; None where there is none."""
        for event in list(self.recent):
            if event["id"] == identity:
                path = self.folder / "events" / event["begin"][:10] / identity / name
                return path if path.is_file() else None
        return None

    def label(self, identity: str, label: Label) -> bool:
        """Keep what somebody said of an event at hand; the last word counts. False where there is no such event."""
        with self._lock:
            event = next((event for event in self.recent if event["id"] == identity), None)
            if event is None:
                return False
            row = {"event": identity, "label": label, "at": clock(time.time())}
            row |= {key: event.get(key, "") for key in ("camera", "model", "begin", "end", "score", "box")}
            self._append(self.folder / "labels.jsonl", row)
            self.labels[identity] = label
            return True

    def begin_run(self, camera: str, wall: float, name: str, mark: str) -> None:
        """Keep from when on a model scores a camera: scores of two models are not to be taken for one's."""
        with self._lock:
            row = {"at": clock(wall), "camera": camera, "model": mark, "name": name}
            self._append(self.folder / "runs.jsonl", row)

    def _folder_of(self, identity: str, wall: float) -> Path:
        return self.folder / "events" / clock(wall)[:10] / identity

    def _write(self, folder: Path, event: dict[str, Any], thumbnail: bytes) -> None:
        (folder / "thumbnail.jpg").write_bytes(thumbnail)
        self._write_event(folder, event)

    def _write_event(self, folder: Path, event: dict[str, Any]) -> None:
        aside = folder / ".event.json"
        aside.write_text(json.dumps(event), encoding="utf-8")
        aside.replace(folder / "event.json")

    def _close(self, folder: Path, event: dict[str, Any]) -> None:
        self._append(folder.parent / "events.jsonl", event)
        settle(folder)

    def _append(self, path: Path, row: dict[str, Any]) -> None:
        if not is_made(path):
            begin(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def _found(self) -> Iterator[dict[str, Any]]:
        """The events of earlier runs, the oldest first."""
        for folder in [*_old(self.folder / "events")][-LISTED:]:
            with contextlib.suppress(OSError, ValueError):
                event = parsed_json((folder / "event.json").read_text(encoding="utf-8"))
                if event["id"] == folder.name and event["begin"][:10] == folder.parent.name:
                    yield event

    # Tables

    def table(self, camera: str, name: str, before: Path | None, part: str = "tables", kept: int | None = None) -> Path:
        """The file for an hour's, or a day's, rows of a camera, to be written or gone on with; the one before is done.

        `kept`: so many of the latest stay, and older ones leave, but for what others changed.
        """
        with self._lock:
            if before is not None:
                settle(before)
            path = self.folder / part / camera / f"{name}.csv"
            own(path.parent)
            if is_made(path):
                note(path, BEING_MADE)  # it grows, and a kill may leave it at any length
            else:
                begin(path)
                old = sorted({*path.parent.glob("*.csv"), path})[:-kept] if kept else []
                for file in (file for file in old if is_made(file)):
                    discard(file)
                    settle(file)
            return path

    # The quota

    def keep_quota(self) -> None:
        """Remove the oldest events and hours until what is left is within the quota, but for what others changed."""
        with self._lock:
            sizes = {path: path.stat().st_size for path in self.folder.rglob("*") if path.is_file()}
            total = sum(sizes.values())
            if total <= self.quota:
                return
            going_on = {event["id"] for event in self.recent if event["state"] == "begin"}
            hours = {file.stem for camera in (self.folder / "tables").iterdir() for file in camera.glob("*.csv")}
            events = [(f"{path.name.rpartition('-')[2]}", path) for path in _old(self.folder / "events")]
            tables = [(path.stem.replace("-", ""), path) for path in (self.folder / "tables").glob("*/*.csv")]
            latest = max(hours, default="")
            for _, path in sorted(events + tables):
                if total <= self.quota:
                    return
                if path.name in going_on or path in self._kept or path.stem == latest:
                    continue
                size = sum(of_file for file, of_file in sizes.items() if file == path or path in file.parents)
                try:
                    discard(path)
                except VadError as error:
                    self._kept.add(path)
                    self._tell(f"kept, though the quota is passed: {error}")
                    continue
                settle(path)
                self._left(path)
                self.removed += 1
                total -= size

    def _left(self, path: Path) -> None:
        """Something has been removed: so is the day, once it holds no more events."""
        day = path.parent
        for event in [event for event in self.recent if event["id"] == path.name]:
            self.recent.remove(event)
        if path.suffix != ".csv" and not any(child.is_dir() for child in day.iterdir()):
            with contextlib.suppress(VadError):
                discard(day / "events.jsonl")
                settle(day / "events.jsonl")
        if not [child for child in day.iterdir() if child.name != LEDGER]:
            remove_empty(day)


class Tables:
    """Rows of one camera, in a file for each hour, or day, of their times."""

    def __init__(
        self, store: Store, part: str, camera: str, columns: Sequence[str], length: int, kept: int | None = None
    ) -> None:
        """`length`: of the beginning of a time that names a file; `kept`: so many of the latest files stay."""
        self._store, self._part, self._camera, self._columns = store, part, camera, columns
        self._length, self._kept = length, kept
        self._file: tuple[Path, Rows] | None = None

    def add(self, wall: float, row: Sequence[Any]) -> None:
        """Write a row into the file of its time, seconds since 1970."""
        name = clock(wall)[: self._length]
        if self._file is None or self._file[0].stem != name:
            before = self._file[0] if self._file else None
            if self._file is not None:
                self._file[1].__exit__()
            path = self._store.table(self._camera, name, before, self._part, self._kept)
            self._file = path, Rows(path, self._columns)
        self._file[1].add(row)

    def close(self) -> None:
        """No more rows come."""
        if self._file is not None:
            self._file[1].__exit__()
            settle(self._file[0])


def _old(folder: Path) -> list[Path]:
    """The folders of events, the oldest first."""
    days = sorted(day for day in folder.iterdir() if day.is_dir())
    return [
        event for day in days
        for event in sorted((path for path in day.iterdir() if path.is_dir()), key=lambda p: p.name.rpartition("-")[2])
    ]  # fmt: skip
