"""Dense optical flow of every frame: t -> t+1, in pixels per frame."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from vadlib.clips import Clip
from vadlib.flow.storage import FlowFile, FlowWriter, open_flow, read_flow
from vadlib.io.weights import torchvision_weights
from vadlib.settings import Flow

__all__ = [
    "EstimateFlow",
    "FlowFile",
    "FlowWriter",
    "flow_of_clip",
    "make_estimator",
    "open_flow",
    "read_flow",
    "resize_flow",
    "weights_file",
]

# A clip and its n frames, (H, W, 3) uint8 RGB, to the n - 1 fields between them, (H, W, 2) float32: (u, v)
# to the right and down, pixels per frame.
EstimateFlow = Callable[[Clip, Iterable[np.ndarray]], Iterator[np.ndarray]]


def make_estimator(settings: Flow, weights_folder: Path, data_folder: Path, device: str = "auto") -> EstimateFlow:
    """The estimator the settings name, loaded once for all clips.

    `weights_folder` is weights/flow, `data_folder` is data/<data set>. Raises VadError where weights or
    fields are missing or damaged.
    """
    if settings.kind == "import":
        from vadlib.flow.imported import imported_estimator

        return imported_estimator(settings, data_folder)
    if settings.kind == "dis":
        from vadlib.flow.dis import dis_estimator

        estimator = dis_estimator(settings.preset)
    else:
        from vadlib.flow.raft import raft_estimator

        estimator = raft_estimator(settings.kind, weights_folder, device)
    return estimator if settings.size is None else _at_size(estimator, *settings.size)


def weights_file(settings: Flow, weights_folder: Path) -> Path | None:
    """The file `make_estimator` takes its weights from, fetched where it can be; None where it needs none.

    Raises VadError where it is missing and cannot be fetched.
    """
    return torchvision_weights(settings.kind, weights_folder) if settings.kind.startswith("raft") else None


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


def _at_size(estimator: EstimateFlow, width: int, height: int) -> EstimateFlow:
    """The estimator at a working size; its fields come back at the size of the frames."""

    def resized(clip: Clip, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        shape = None

        def small() -> Iterator[np.ndarray]:
            nonlocal shape
            for frame in frames:
                shape = frame.shape
                yield cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)

        for field in estimator(clip, small()):
            yield resize_flow(field, shape[1], shape[0])

    return resized
