"""Spatio-temporal context cubes, STCC (paper III-A): which frames a cube holds, and how its patches are cut."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from vadlib.settings import CubeSettings


def window(frame: int, frames: int, context: int) -> list[int]:
    """The 2T+1 frame numbers of the cube of frame `frame` in a clip of `frames` frames, T = `context`.

    Near a clip's ends the window slides so that it stays inside the clip (VEC's "elastic" window). A clip shorter
    than 2T+1 frames has no such window: it repeats its last frame, so that every clip can be scored.
    """
    first = max(0, min(frame - context, frames - (2 * context + 1)))
    return [min(first + step, frames - 1) for step in range(2 * context + 1)]


def whole_pixels(box: np.ndarray, width: int, height: int) -> tuple[int, int, int, int]:
    """A box (x1, y1, x2, y2), float source pixels, as the columns [x1, x2) and rows [y1, y2) that are cut.

    Edges are rounded up, as VEC does, kept inside the frame, and at least one pixel apart.
    """
    x1, y1, x2, y2 = (int(edge) for edge in np.ceil(box))
    x1, y1 = min(max(x1, 0), width - 1), min(max(y1, 0), height - 1)
    return x1, y1, max(min(x2, width), x1 + 1), max(min(y2, height), y1 + 1)


def cut(field: np.ndarray, box: tuple[int, int, int, int], patch: int) -> np.ndarray:
    """Crop whole-pixel `box` from a field (H, W, C) and resize it bilinearly to (patch, patch, C), same dtype.

    Flow vectors stay in pixels of the frame per frame (paper III-A; section III-E compares them as they are):
    only where they lie is resized, not how long they are.
    """
    x1, y1, x2, y2 = box
    return cv2.resize(field[y1:y2, x1:x2], (patch, patch), interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class FrameCubes:
    """The cubes of one frame: M boxes, M >= 0, L = 2T+1 patches each."""

    frame: int
    boxes: np.ndarray  # float32 (M, 4), xyxy in source pixels
    cubes: np.ndarray  # (M, L, patch, patch, C), dtype of the fields: RGB uint8, or flow in px per frame
    centre: int  # which of the L patches shows `frame` itself


def cubes_of_clip(
    fields: Iterable[np.ndarray], boxes: Iterable[np.ndarray], cube: CubeSettings
) -> Iterator[FrameCubes]:
    """Cut the cubes of every frame of a clip, in order, holding 2T+1 fields at a time.

    The clip's length is known once `fields` end: frame t needs no more than the field of t+T, or that of 2T where
    the window slides at the clip's beginning. So footage can be cut as it is read.

    Args:
        fields: arrays (H, W, C): a clip's frames, or its flow. Each is taken once.
        boxes: as many arrays (M, 4), M >= 0, xyxy in source pixels, inside the frame.
        cube: T and the patch size.

    Raises ValueError where there are more fields than boxes, or fewer.
    """
    source = iter(fields)
    held: dict[int, np.ndarray] = {}
    taken, ended, frame = 0, False, -1
    for frame, frame_boxes in enumerate(boxes):
        enough = max(frame, cube.context) + cube.context + 1
        while taken < enough and not ended:
            if (field := next(source, None)) is None:
                ended = True
            else:
                held[taken] = field
                taken += 1
        if frame >= taken:
            raise ValueError(f"boxes of frame {frame}, but only {taken} fields")
        # Of a longer clip the window would be the same.
        shown = window(frame, taken if ended else enough, cube.context)
        for old in [number for number in held if number < shown[0]]:
            del held[old]
        height, width, channels = held[frame].shape
        places = [whole_pixels(box, width, height) for box in frame_boxes]
        cubes = np.empty((len(places), len(shown), cube.patch, cube.patch, channels), held[frame].dtype)
        for index, place in enumerate(places):
            for step, number in enumerate(shown):
                cubes[index, step] = cut(held[number], place, cube.patch)
        yield FrameCubes(frame, frame_boxes, cubes, shown.index(frame))
    if taken > frame + 1 or next(source, None) is not None:  # a reader checks its count when it is exhausted
        raise ValueError("more fields than the boxes are of")


def mean_flow_magnitude(field: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The mean length of the flow vectors in each box, px per frame: float32 (M,) from (H, W, 2) and (M, 4).

    Its maximum over a frame's boxes is the untrained floor that a learned score has to beat.
    """
    height, width = field.shape[:2]
    magnitudes = np.empty(len(boxes), dtype=np.float32)
    for index, box in enumerate(boxes):
        x1, y1, x2, y2 = whole_pixels(box, width, height)
        magnitudes[index] = np.linalg.norm(field[y1:y2, x1:x2].astype(np.float32), axis=-1).mean()
    return magnitudes
