"""What the page shows: a `Report`, which holds no files and no networks, so that whoever scored something has one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import cv2
import numpy as np

from vadlib.cubes.cut import whole_pixels
from vadlib.report.inspection import CubeView


@dataclass(frozen=True)
class ReportClip:
    """One clip's frame scores. A frame's time is its entry in `times`, else its number by `fps`, else unknown."""

    name: str
    scores: np.ndarray  # float64 (frames,), NaN for a frame without boxes
    fps: float | None = None
    times: np.ndarray | None = None  # float64 (frames,), seconds, ascending
    labels: np.ndarray | None = None  # bool (frames,), True where anomalous; None: unlabelled
    video: str | None = None  # an annotated video, posix path relative to the page's folder
    begins: datetime | None = None  # on the clock that hung there; no zone

    def time(self, frame: int) -> float | None:
        """Seconds from the clip's beginning."""
        if self.times is not None:
            return float(self.times[frame])
        return frame / self.fps if self.fps else None


@dataclass(frozen=True)
class Anomaly:
    """A moment to look at: a peak of a clip's score and the box that made it."""

    clip: str
    frame: int
    score: float
    box: tuple[float, float, float, float]  # xyxy, source pixels
    picture: np.ndarray  # uint8 (h, w, 3), RGB: `picture_around`
    view: CubeView | None = None
    reason: str = ""  # what is strange about it, in words


@dataclass(frozen=True)
class ReportEvent:
    """Something that happened: a run of frames above the threshold. Times in seconds from its clip's beginning."""

    clip: str
    start: float
    end: float
    frame: int  # the one that scored highest
    peak: float  # its time
    score: float
    picture: str  # the whole of it, with the box: `whole_picture`, as an address that holds it
    kind: str = ""  # the object's name, where known
    reason: str = ""  # what is strange about it, in words


@dataclass(frozen=True)
class Report:
    """All that a page shows. What is None or empty is left out of it."""

    title: str
    clips: Sequence[ReportClip]
    threshold: float | None = None  # frames above it are called anomalous
    anomalies: Sequence[Anomaly] = ()
    metrics: Mapping[str, Any] | None = None  # what `metrics.json` holds; of labelled clips
    eta: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)  # groups may nest
    events: Sequence[ReportEvent] | None = None
    """In the order of time. Where there are such, as of own footage, the page is for a person: it begins with them, and
    folds away what the networks made of it."""
    events_found: int = 0  # of which `events` are the highest
    notes: Sequence[str] = ()  # what of the footage could not be read, and what else is to be known of it


def picture_around(frame: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The part of a frame around a box, 3:2 where the frame has room for it, with the box outlined.

    Args:
        frame: uint8 (H, W, 3), RGB.
        box: xyxy, source pixels.

    Returns uint8 (h, w, 3), its longer side 400 px.
    """
    height, width = frame.shape[:2]
    x1, y1, x2, y2 = whole_pixels(np.asarray(box, np.float32), width, height)
    # Twice the box and more is shown, so that one sees where it is.
    tall = min(height, round(max(2.2 * (y2 - y1), 2.2 * (x2 - x1) / 1.5, height / 4)))
    wide = min(width, round(1.5 * tall))
    left = min(max((x1 + x2 - wide) // 2, 0), width - wide)
    top = min(max((y1 + y2 - tall) // 2, 0), height - tall)
    part = frame[top : top + tall, left : left + wide]
    scale = 400 / max(tall, wide)
    size = (max(1, round(wide * scale)), max(1, round(tall * scale)))
    part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return _outlined(part, [round(edge * scale) for edge in (x1 - left, y1 - top, x2 - left, y2 - top)])


def whole_picture(frame: np.ndarray, box: Sequence[float], longest: int = 480) -> np.ndarray:
    """The whole frame with the box outlined, so that one sees where it was.

    Args:
        frame: uint8 (H, W, 3), RGB.
        box: xyxy, source pixels.

    Returns uint8 (h, w, 3), its longer side `longest` px.
    """
    height, width = frame.shape[:2]
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = cv2.resize(frame, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    corners = whole_pixels(np.asarray(box, np.float32), width, height)
    return _outlined(picture, [round(edge * scale) for edge in corners])


def _outlined(picture: np.ndarray, corners: Sequence[int]) -> np.ndarray:
    for colour, thickness in (((0, 0, 0), 4), ((255, 209, 0), 2)):
        cv2.rectangle(picture, corners[:2], corners[2:], colour, thickness)
    return picture
