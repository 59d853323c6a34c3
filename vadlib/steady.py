"""A camera that shakes: how far it moved between two frames, so that what stands still is seen to stand still.

A pole in the wind moves the whole picture by a pixel or two. Everything then seems to move: each edge of the background
is a box of its own, and who waits seems to walk. What most of the picture does is the camera's motion.
"""

import cv2
import numpy as np

STILL = 0.25
"""Px per frame: a camera that moves less stands still. Estimates of flow on footage of a camera on a wall stay below,
and nothing is changed there; the wind moves a picture more."""
_EVERY = 4  # pixels, down and across: the median of a sixteenth is that of all


def camera_motion(field: np.ndarray) -> np.ndarray:
    """How far the camera moved the picture right and down, float32 (2,) px, from a field of flow (H, W, 2).

    The median of what pixels do: of a picture more than half of which moves by itself it is that motion. 0 where the
    camera stands still.
    """
    moved = np.median(field[::_EVERY, ::_EVERY].reshape(-1, 2), axis=0).astype(np.float32)
    return moved if np.hypot(*moved) >= STILL else np.zeros(2, np.float32)


def camera_motion_between(frame: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`camera_motion` from a frame to the one after it, both (H, W) uint8; 0 where they are too small to tell."""
    try:
        field = _quick().calc(frame, after, None)  # type: ignore[call-overload] # None: a new field
    except cv2.error:
        return np.zeros(2, np.float32)
    return camera_motion(field)


def moved_back(frame: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """A frame (H, W) uint8 as it was before the picture moved by `motion`; edges repeat."""
    height, width = frame.shape
    matrix = np.array([[1, 0, motion[0]], [0, 1, motion[1]]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _quick() -> cv2.DISOpticalFlow:
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
