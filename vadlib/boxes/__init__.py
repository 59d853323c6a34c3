"""Object boxes of every frame: appearance boxes, then motion boxes for what was missed (paper III-A)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from vadlib.boxes.motion import blurred_grey, motion_boxes
from vadlib.boxes.rules import apply_rules, in_frame
from vadlib.boxes.table import APPEARANCE, BOX_COLUMNS, IMPORTED, MOTION, Boxes, box_table
from vadlib.clips import Clip
from vadlib.io.weights import torchvision_weights
from vadlib.settings import Detector

__all__ = [
    "APPEARANCE",
    "BOX_COLUMNS",
    "IMPORTED",
    "MOTION",
    "Boxes",
    "DetectFrames",
    "box_table",
    "detect_clip",
    "make_detector",
    "weights_file",
]

# The boxes of consecutive frames of a clip: (clip, number of the first frame, frames (H, W, 3) uint8 RGB).
# What is returned for a frame depends on that frame alone, not on those it is given with.
DetectFrames = Callable[[Clip, int, Sequence[np.ndarray]], list[Boxes]]


def make_detector(
    settings: Detector, weights_folder: Path, data_folder: Path, clips: Sequence[Clip], device: str = "auto"
) -> DetectFrames:
    """The detector the settings name, loaded once for all clips.

    `weights_folder` is weights/<data set>, `data_folder` is data/<data set>; `clips` are all clips of the
    data set in the manifest's order, which is the order of imported boxes. Raises VadError where weights or
    boxes are missing, damaged, or do not fit.
    """
    if settings.kind == "yolo":
        from vadlib.boxes.yolo import yolo_detector

        return yolo_detector(weights_folder / settings.weights, settings, device)
    if settings.kind == "torchvision":
        from vadlib.boxes.torchvision_detector import torchvision_detector

        return torchvision_detector(settings.weights, weights_folder, settings, device)
    if settings.kind == "import":
        from vadlib.boxes.imported import imported_detector

        return imported_detector(settings, data_folder, clips)
    return lambda clip, first, frames: [Boxes.of([], APPEARANCE) for _ in frames]  # motion boxes only


def weights_file(settings: Detector, weights_folder: Path) -> Path | None:
    """The file or folder `make_detector` takes its weights from, fetched where it can be; None where it needs none.

    Raises VadError where it is missing and cannot be fetched.
    """
    if settings.kind == "yolo":
        from vadlib.boxes.yolo import yolo_weights

        return yolo_weights(weights_folder / settings.weights)
    return torchvision_weights(settings.weights, weights_folder) if settings.kind == "torchvision" else None


def detect_clip(
    clip: Clip, frames: Iterable[np.ndarray], detector: DetectFrames, settings: Detector, batch: int = 8
) -> Iterator[Boxes]:
    """Yield the boxes of each frame: those detected, then those of motion.

    Frames are (H, W, 3) uint8 RGB and read once; at most `batch` + 3 of them are held. A motion box needs the
    frames before and after; at a clip's ends the missing one is the frame itself.
    """
    seen = _detected(clip, frames, detector, settings, batch)
    if not settings.motion or _complete(settings):
        yield from (boxes for _, boxes in seen)
        return
    before = current = None
    for after in seen:
        if current is not None:
            yield _with_motion(before or current, current, after, settings)
        before, current = current, after
    if current is not None:
        yield _with_motion(before or current, current, current, settings)


def _complete(settings: Detector) -> bool:
    """Whether all rules have been applied, and motion boxes added, by whoever made the imported boxes."""
    return settings.kind == "import" and settings.imported_with_motion


Seen = tuple[np.ndarray | None, Boxes]  # a frame as the motion rule wants it, and its appearance boxes


def _detected(
    clip: Clip, frames: Iterable[np.ndarray], detector: DetectFrames, settings: Detector, batch: int
) -> Iterator[Seen]:
    frames, first = iter(frames), 0
    while chunk := list(islice(frames, batch)):
        for frame, boxes in zip(chunk, detector(clip, first, chunk), strict=True):
            height, width = frame.shape[:2]
            if _complete(settings):
                yield None, in_frame(boxes, width, height)
            else:
                grey = blurred_grey(frame, settings) if settings.motion else None
                yield grey, apply_rules(boxes, width, height, settings)
        first += len(chunk)


def _with_motion(before: Seen, current: Seen, after: Seen, settings: Detector) -> Boxes:
    boxes = current[1]
    return boxes.followed_by(motion_boxes(before[0], current[0], after[0], boxes.xyxy, settings))
