"""Boxes of what moves and was not detected (paper III-A: motion; the rule is VEC's)."""

import cv2
import numpy as np

from vadlib.boxes.table import MOTION, Boxes
from vadlib.settings import MotionBoxSettings
from vadlib.steady import camera_motion_between, moved_back

MAX_ASPECT = 10  # a motion box's sides are less than this many times each other (VEC)


def blurred_grey(frame: np.ndarray, settings: MotionBoxSettings) -> np.ndarray:
    """(H, W, 3) uint8 RGB to (H, W) uint8, what `motion_boxes` compares.

    VEC differences the three channels and asks whether any passes the threshold. Here grey levels are
    compared, in which the threshold is given; on grey footage the two are the same.
    """
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    return cv2.GaussianBlur(grey, (settings.kernel, settings.kernel), 0)


def motion_boxes(
    before: np.ndarray, current: np.ndarray, after: np.ndarray, detected: np.ndarray, settings: MotionBoxSettings
) -> Boxes:
    """Boxes around what changes from frame t-1 over t to t+1, outside the boxes detected in frame t.

    Frames are (H, W) uint8 of `blurred_grey`; `detected` is (n, 4) xyxy. A missing neighbour is frame t
    itself. Where the camera moved, its neighbours are moved back before they are compared, which VEC does not do: the
    wind would give each edge of the background a box. The result is ordered from top to bottom, then left to right.
    """
    found = _changed(before, current, after, detected, settings)
    if not len(found):
        return found
    # Only now: most pictures stand still, and this takes longer than all else here.
    motions = [camera_motion_between(current, neighbour) for neighbour in (before, after)]
    if not any(motion.any() for motion in motions):
        return found
    steady = [moved_back(neighbour, motion) for neighbour, motion in zip((before, after), motions, strict=True)]
    # Where that makes no fewer, it was not the camera that moved.
    return min(found, _changed(steady[0], current, steady[1], detected, settings), key=len)


def _changed(
    before: np.ndarray, current: np.ndarray, after: np.ndarray, detected: np.ndarray, settings: MotionBoxSettings
) -> Boxes:
    height, width = current.shape
    # A sum of two differences reaches 510; in 8 bits, as in VEC, it would wrap around.
    change = cv2.absdiff(before, current).astype(np.uint16) + cv2.absdiff(current, after)
    moving = (change > settings.threshold).astype(np.uint8)
    outward = np.array([-settings.grow, -settings.grow, settings.grow, settings.grow], dtype=np.float32)
    for x1, y1, x2, y2 in np.concatenate(
        [np.floor(detected[:, :2] + outward[:2]), np.ceil(detected[:, 2:] + outward[2:])], axis=1
    ).astype(int):
        moving[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = 0
    contours, _ = cv2.findContours(moving, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    x, y, w, h = np.array([cv2.boundingRect(c) for c in contours], dtype=np.int64).reshape(-1, 4).T
    keep = (w * h > settings.min_area) & (w < MAX_ASPECT * h) & (h < MAX_ASPECT * w)
    xyxy = np.stack([x, y, x + w, y + h], axis=1)[keep] + outward
    xyxy = xyxy.clip(0, [width, height, width, height])
    return Boxes.of(xyxy[np.lexsort(xyxy.T[[3, 2, 0, 1]])], MOTION)


def largest(boxes: Boxes, most: int) -> Boxes:
    """At most so many of some boxes, in their order: those of the largest areas, of equal ones the first."""
    if len(boxes) <= most:
        return boxes
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
    return boxes.take(np.sort(np.argsort(-sides.prod(axis=1), kind="stable")[:most]))
