"""Which appearance boxes are kept: the rules of VEC, whose object extraction the paper adopts (III-A)."""

import numpy as np

from vadlib.boxes.table import Boxes
from vadlib.settings import RuleSettings


def apply_rules(boxes: Boxes, settings: RuleSettings) -> Boxes:
    """Of boxes in the frame drop what is unsure, small, or covered by a larger box; in order."""
    boxes = boxes.take(boxes.score > settings.confidence)
    sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2] + 1  # VEC counts both ends of a side
    boxes = boxes.take(sides.prod(axis=1) >= settings.min_area)
    return boxes.take(~covered(boxes, settings.max_cover))


def in_frame(boxes: Boxes, width: int, height: int) -> Boxes:
    """Boxes clipped to x in [0, width], y in [0, height]; those left without area, and NaN, are dropped."""
    xyxy = boxes.xyxy.clip(0, np.array([width, height, width, height], dtype=np.float32))
    clipped = Boxes(xyxy, boxes.score, boxes.cls, boxes.source)
    # False for NaN, which compares as nothing.
    return clipped.take((xyxy[:, 2] > xyxy[:, 0]) & (xyxy[:, 3] > xyxy[:, 1]))


def covered(boxes: Boxes, max_cover: float) -> np.ndarray:
    """bool (n,): boxes of which a larger box covers more than the share `max_cover`.

    The share is intersection over own area. Of boxes with equal areas the one with the higher score counts
    as larger, then the one further left, up, narrower and lower in class, so that the outcome never depends
    on the order. A larger box counts even where a third one drops it.
    """
    x1, y1, x2, y2 = boxes.xyxy.astype(np.float64).T
    area = (x2 - x1) * (y2 - y1)
    # The last key of lexsort is the first to decide. Largest first.
    order = np.lexsort((boxes.cls, y2, x2, y1, x1, -boxes.score, -area))
    rank = np.empty(len(boxes), dtype=int)
    rank[order] = np.arange(len(boxes))
    across = (np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)).clip(0)
    down = (np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)).clip(0)
    larger = rank < rank[:, None]  # [i, j]: j is larger than i
    return (larger & (across * down > max_cover * area[:, None])).any(axis=1)
