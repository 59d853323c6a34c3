"""The pictures around an event: the seconds before it are at hand, and a thread writes them with what follows."""

import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np

from vadlib.footage.mp4 import Mp4

WIDEST = 1280  # px: wider frames are made smaller
QUALITY = 85  # of the JPEGs that frames are kept as
HELD_BYTES = 1 << 26  # of the seconds before an event
WAITING = 256  # frames at most that wait to be encoded: what a busy machine leaves no time for is left out


def jpeg(picture: np.ndarray) -> bytes:
    """A frame, uint8 (H, W, 3), RGB, as a JPEG of even sides that is at most WIDEST wide."""
    height, width = picture.shape[:2]
    scale = min(1.0, WIDEST / width)
    size = (max(2, round(width * scale / 2) * 2), max(2, round(height * scale / 2) * 2))
    if size != (width, height):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError(f"a frame of shape {picture.shape} cannot be encoded")
    return encoded.tobytes()


class Before:
    """The frames of the last seconds, compressed."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._frames: deque[tuple[float, bytes]] = deque()
        self._bytes = 0

    def add(self, wall: float, picture: bytes) -> None:
        """The next frame. What is too old, or too much, is forgotten; so is all at a step back of the clock."""
        if self._frames and wall < self._frames[-1][0]:
            self.forget()
        self._frames.append((wall, picture))
        self._bytes += len(picture)
        while self._frames[0][0] < wall - self._seconds or self._bytes > HELD_BYTES:
            self._bytes -= len(self._frames.popleft()[1])
            if not self._frames:
                break

    def forget(self) -> None:
        self._frames.clear()
        self._bytes = 0

    def frames(self) -> list[tuple[float, bytes]]:
        """(wall, JPEG), the oldest first."""
        return list(self._frames)


class Recording:
    """One event's video, written by a thread of low priority, which then sees to what is to follow."""

    def __init__(self, path: Path, before: Iterable[tuple[float, bytes]]) -> None:
        self._path, self._before = path, deque(before)
        self._frames: queue.Queue[tuple[float, bytes] | None] = queue.Queue(WAITING)
        self._done: Callable[[Exception | None], None] = lambda error: None
        self._thread = threading.Thread(target=self._run, name=f"recording {path.name}", daemon=True)
        self._thread.start()

    def add(self, wall: float, picture: bytes) -> None:
        """The next frame; left out where too many wait."""
        if not self._frames.full():
            self._frames.put((wall, picture))

    def end(self, done: Callable[[Exception | None], None]) -> None:
        """Say that no more come. `done` is called once the file is whole; with an error, where it could not be."""
        self._done = done
        self._frames.put(None)

    def is_alive(self) -> bool:
        """Whether there is still something to do."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait until all is done."""
        self._thread.join()

    def _run(self) -> None:
        if sys.platform == "linux":  # where a priority is of one thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        error = None
        try:
            self._write()
        except Exception as failed:  # of whatever kind: the event is told of without a video
            error = failed
            while self._frames.get() is not None:
                continue
        self._done(error)

    def _write(self) -> None:
        begin, size = None, None
        with Mp4(self._path) as video:
            while frame := (self._before.popleft() if self._before else self._frames.get()):
                wall, picture = frame
                decoded = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
                assert decoded is not None  # `jpeg` made it
                begin, size = (wall, decoded.shape) if begin is None else (begin, size)
                if decoded.shape == size:  # a video has one size
                    video.write(wall - begin, cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))
