"""What a clip is, and how its frames are read: image folders and video files look the same to every stage."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vadlib.errors import VadError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg")


@dataclass(frozen=True)
class Clip:
    """One continuous piece of footage: a folder of images or one video file.

    Frames are numbered from 0 in the order they are shown. `anomalous` holds the labelled spans as
    half-open frame ranges `(start, stop)`, ascending; `()` is all normal, `None` is unlabelled.
    """

    name: str
    split: str  # "training" or "testing"
    path: str  # posix, relative to the project's folder
    frames: int
    width: int  # px
    height: int  # px
    fps: float | None = None  # None where the layout does not say
    anomalous: tuple[tuple[int, int], ...] | None = None

    @property
    def key(self) -> str:
        """`split/name`: unique in a data set, and the stem of the clip's artefacts."""
        return f"{self.split}/{self.name}"

    def labels(self) -> np.ndarray | None:
        """bool (frames,), True where anomalous; None where the clip is unlabelled."""
        if self.anomalous is None:
            return None
        labels = np.zeros(self.frames, dtype=bool)
        for start, stop in self.anomalous:
            labels[start:stop] = True
        return labels
