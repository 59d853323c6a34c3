"""Fields of a clip, and of frames of another size."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator

import cv2
import numpy as np

from vadlib.manifest import Clip
from vadlib.steady import camera_motion

# A clip and its n frames, (H, W, 3) uint8 RGB, to the n - 1 fields between them, (H, W, 2) float32: (u, v)
# to the right and down, pixels per frame.
EstimateFlow = Callable[[Clip, Iterable[np.ndarray]], Iterator[np.ndarray]]


def flow_of_clip(clip: Clip, frames: Iterable[np.ndarray], estimator: EstimateFlow) -> Iterator[np.ndarray]:
    """Yield the flow of each frame, (H, W, 2) float32, as the frames, (H, W, 3) uint8 RGB, are read.

    The last frame repeats the flow of the one before it, as the authors' code does; the flow of a one-frame
    clip is zero.
    """
    shape = field = None

    def watched() -> Iterator[np.ndarray]:
        nonlocal shape
        for frame in frames:
            shape = frame.shape
            yield frame

    for field in estimator(clip, watched()):
        yield field
    if field is not None:
        yield field
    elif shape is not None:
        yield np.zeros((*shape[:2], 2), np.float32)


def resize_flow(field: np.ndarray, width: int, height: int) -> np.ndarray:
    """A field, (H, W, 2) float32, of a frame resized to `width` x `height`: its vectors are scaled as well.

    The authors leave them as they are, so that their unit is no longer the pixel of the frame.
    """
    old_height, old_width = field.shape[:2]
    if (old_width, old_height) == (width, height):
        return field
    shrinks = width < old_width and height < old_height
    resized = cv2.resize(field, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return resized * np.array([width / old_width, height / old_height], dtype=np.float32)


def at_size(estimator: EstimateFlow, size: tuple[int, int] | None) -> EstimateFlow:
    """The estimator at a working size, width and height; its fields come back at the size of the frames."""
    if size is None:
        return estimator

    def resized(clip: Clip, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        shape = (0, 0)

        def small() -> Iterator[np.ndarray]:
            nonlocal shape
            for frame in frames:
                shape = frame.shape[:2]
                yield cv2.resize(frame, size, interpolation=cv2.INTER_AREA)

        for field in estimator(clip, small()):
            yield resize_flow(field, shape[1], shape[0])

    return resized


def steadied(estimator: EstimateFlow) -> EstimateFlow:
    """The estimator's fields without the camera's own motion: what stands still has none, however the wind blows."""

    def without_camera(clip: Clip, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        waiting: deque[np.ndarray] = deque()  # frames whose field is still to come

        def watched() -> Iterator[np.ndarray]:
            for frame in frames:
                waiting.append(frame)
                yield frame

        for field in estimator(clip, watched()):
            yield field - camera_motion(field, waiting.popleft())

    return without_camera
