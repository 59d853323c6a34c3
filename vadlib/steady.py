"""A camera that shakes: how far it moved between two frames, so that what stands still is seen to stand still.

A pole in the wind moves the whole picture by a pixel or two. Everything then seems to move: each edge of the background
is a box of its own, and who waits seems to walk. What the whole picture does is the camera's motion; what most of it
does may be a river's, or a walker's before a blank wall, on which an estimator of flow spreads what moves beside it.
"""

from itertools import pairwise

import cv2
import numpy as np

STILL = 0.25
"""Px per frame: a camera that moves less stands still. Estimates of flow on footage of a camera on a wall stay below,
and nothing is changed there; the wind moves a picture more."""
_PARTS = 8  # of a picture, down and across, that are asked each for itself, where its texture is richest
_TEXTURE = 1e-4  # smaller eigenvalue of the gradients there: of a blank wall with a sensor's noise it is below
_TEXTURED = 0.6  # the share of parts that must have some
_AGREE = 0.75  # the share of those that must move alike: objects are before the others
_ALIKE = (0.5, 0.25)  # px, and the share of the motion, by which a part may differ from it
_WINDOW = (15, 15)  # px around a point, that are found again in the next frame
_LEVELS = 2  # times that a frame is halved to find them further away


def camera_motion(field: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """How far the camera moved the picture right and down, float32 (2,) px; 0 where it stood still.

    Where parts of the picture have no texture, or move each in their own way, nothing is known of the camera.

    Args:
        field: flow (H, W, 2), px, from this frame to the next.
        frame: (H, W, 3) uint8 RGB.
    """
    if np.hypot(*np.median(field[::4, ::4].reshape(-1, 2), axis=0)) < STILL:  # at most clips' frames: done in no time
        return np.zeros(2, np.float32)
    x, y = _textured(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)).T
    return _common(field[y, x])


def camera_motion_between(frame: np.ndarray, after: np.ndarray) -> np.ndarray:
    """`camera_motion` from a frame to the one after it, both (H, W) uint8."""
    points = _textured(frame)
    if not len(points):
        return np.zeros(2, np.float32)
    points = points[:, None].astype(np.float32)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(frame, after, points, None, winSize=_WINDOW, maxLevel=_LEVELS)  # type: ignore[call-overload] # None: new points
    return _common((moved - points)[found.astype(bool)])


def _textured(grey: np.ndarray) -> np.ndarray:
    """The pixel with most texture of each part that has some, int (N, 2): x, y."""
    texture = cv2.cornerMinEigenVal(grey, blockSize=5)
    height, width = grey.shape
    down, across = (np.linspace(0, side, _PARTS + 1).astype(int) for side in (height, width))
    points = []
    for top, bottom in pairwise(down):
        for left, right in pairwise(across):
            part = texture[top:bottom, left:right]
            if part.size and part.max() > _TEXTURE:
                y, x = np.unravel_index(part.argmax(), part.shape)
                points.append((left + x, top + y))
    return np.array(points, int).reshape(-1, 2)


def _common(vectors: np.ndarray) -> np.ndarray:
    """What most of the parts' motions (N, 2) have in common, float32 (2,); 0 where it is too little."""
    still = np.zeros(2, np.float32)
    if len(vectors) < _TEXTURED * _PARTS**2:
        return still
    moved = np.median(vectors, axis=0).astype(np.float32)
    size = np.hypot(*moved)
    alike = np.hypot(*(vectors - moved).T) <= max(_ALIKE[0], _ALIKE[1] * size)
    return moved if size >= STILL and alike.mean() >= _AGREE else still


def moved_back(frame: np.ndarray, motion: np.ndarray) -> np.ndarray:
    """A frame (H, W) uint8 as it was before the picture moved by `motion`; edges repeat."""
    height, width = frame.shape
    matrix = np.array([[1, 0, motion[0]], [0, 1, motion[1]]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(frame, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
