"""The boxes of a clip: those detected, by the rules, then those of motion."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from vadlib.boxes.motion import blurred_grey, largest, motion_boxes
from vadlib.boxes.rules import apply_rules, in_frame
from vadlib.boxes.table import Boxes, DetectFrames
from vadlib.manifest import Clip
from vadlib.settings import DetectorSettings, MotionBoxSettings

BOUNDED = "frames with more motion boxes than are kept"


def detect_clip(
    clip: Clip,
    frames: Iterable[np.ndarray],
    detector: DetectFrames,
    settings: DetectorSettings,
    batch: int = 8,
    counts: Counter[str] | None = None,
) -> Iterator[Boxes]:
    """Yield the boxes of each frame: those detected, then those of motion, the largest where there are many.

    Frames are (H, W, 3) uint8 RGB and read once; at most `batch` + 3 of them are held. A motion box needs the
    frames before and after; at a clip's ends the missing one is the frame itself. `counts` is told, as BOUNDED, how
    many frames had more motion boxes than the settings keep.
    """
    counts = Counter() if counts is None else counts
    seen = _detected(clip, frames, detector, settings, batch)
    motion = settings.motion
    if motion is None:
        yield from (boxes for _, boxes in seen)
        return
    before = current = None
    for after in seen:
        if current is not None:
            yield _with_motion(before or current, current, after, motion, counts)
        before, current = current, after
    if current is not None:
        yield _with_motion(before or current, current, current, motion, counts)


Seen = tuple[Any, Boxes]  # a frame as the motion rule wants it, None without one, and its appearance boxes


def _detected(
    clip: Clip, frames: Iterable[np.ndarray], detector: DetectFrames, settings: DetectorSettings, batch: int
) -> Iterator[Seen]:
    frames, first = iter(frames), 0
    while chunk := list(islice(frames, batch)):
        for frame, boxes in zip(chunk, detector(clip, first, chunk), strict=True):
            height, width = frame.shape[:2]
            grey = None if settings.motion is None else blurred_grey(frame, settings.motion)
            kept = in_frame(boxes, width, height)
            yield grey, kept if settings.rules is None else apply_rules(kept, settings.rules)
        first += len(chunk)


def _with_motion(before: Seen, current: Seen, after: Seen, settings: MotionBoxSettings, counts: Counter[str]) -> Boxes:
    boxes = current[1]
    moving = motion_boxes(before[0], current[0], after[0], boxes.xyxy, settings)
    if len(moving) > settings.most:
        counts[BOUNDED] += 1
    return boxes.followed_by(largest(moving, settings.most))


def how_bounded(frames: int, of: int, settings: DetectorSettings) -> str:
    """What to say of so many frames, of all there are, of whose motion boxes the largest alone were kept."""
    assert settings.motion is not None
    return (
        f"{frames:,} of {of:,} frames had more than {settings.motion.most} motion boxes, and the largest were kept "
        "(`detector.motion.most`): noise, or a camera that moves; a higher `detector.motion.threshold` or `kernel` "
        "passes over noise"
    )
