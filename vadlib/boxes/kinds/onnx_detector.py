"""Appearance boxes by a plain ONNX detector, YOLOX or YOLO (v8, 11), through OpenCV's dnn: no further package."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vadlib.boxes.table import APPEARANCE, Boxes, DetectFrames
from vadlib.errors import VadError
from vadlib.io.files import surroundings
from vadlib.io.weights import fetched
from vadlib.manifest import Clip
from vadlib.settings import OnnxSettings

# Files that are fetched where they are missing, under Apache-2.0: address and SHA-256.
PUBLISHED = {
    "yolox_nano.onnx": (
        "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/yolox_nano.onnx",
        "695e750a5d5754bb5a8d5325643b59282191a7e7a564e435a415fd3c578eab14",
    )
}
STRIDES = (8, 16, 32)  # of the grids whose cells predict; the sides of the input are multiples of the last
GREY = 114  # what both families pad with in training
NMS_IOU = {"yolox": 0.45, "yolo": 0.7}  # their own defaults
MAX_BOXES = 300  # of a frame
WANTED = (
    "expected a detector that takes images (n, 3, height, width) and gives (n, cells, 5 + classes) as YOLOX does, or "
    "(n, 4 + classes, cells) as YOLOv8 and 11 do, exported without suppression"
)


def make_detector(
    settings: OnnxSettings, weights_folder: Path, data_folder: Path, clips: Sequence[Clip], device: str
) -> DetectFrames:
    """The ONNX file in `weights_folder` that the settings name, on the processor. No class is filtered out.

    Which family it is of, its output's shape says. YOLOX: BGR in 0 to 255, the frame in the upper left corner; YOLO:
    RGB in 0 to 1, the frame in the middle; what is left is grey. An export with a fixed input has that size; with a
    dynamic one the frame's longer side is `settings.image_size`. Frames go through one at a time: so a fixed batch of
    one will do, and boxes do not depend on what they are found with. Raises VadError where the file is missing and
    cannot be fetched, is damaged, or is of another kind.
    """
    path = weights_file(settings, weights_folder)
    network, size = _load(path)
    family = _family(path, network, size or (settings.image_size, settings.image_size))

    def detect(clip: Clip, first: int, frames: Sequence[np.ndarray]) -> list[Boxes]:
        return [boxes(frame) for frame in frames]

    def boxes(frame: np.ndarray) -> Boxes:
        height, width = frame.shape[:2]
        shape = size or _room(height, width, settings.image_size)
        scale = min(shape[0] / height, shape[1] / width)
        if size is None:
            scale = settings.image_size / max(height, width)
        inner = tuple(max(round(side * scale), 1) for side in (height, width))
        corner = (0, 0) if family == "yolox" else tuple((o - i) // 2 for o, i in zip(shape, inner, strict=True))
        image = np.full((*shape, 3), GREY, np.uint8)
        image[corner[0] : corner[0] + inner[0], corner[1] : corner[1] + inner[1]] = cv2.resize(frame, inner[::-1])
        xyxy, scores = _decoded(_forward(network, image, family), family, shape)
        ids = scores.argmax(axis=1)
        score = scores[np.arange(len(scores)), ids]
        sure = score > settings.rules.confidence
        xyxy, score, ids = xyxy[sure], score[sure], ids[sure]
        corners_and_sides = np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)
        kept: Any = cv2.dnn.NMSBoxesBatched(
            corners_and_sides.tolist(), score.tolist(), ids.tolist(), 0.0, NMS_IOU[family]
        )
        kept = np.asarray(kept, dtype=int)[:MAX_BOXES]
        # Sides are rounded to whole pixels, so the two scales differ a little.
        scales = np.array([inner[1] / width, inner[0] / height] * 2)
        return Boxes.of((xyxy[kept] - np.array(corner[::-1] * 2)) / scales, APPEARANCE, score[kept], ids[kept])

    return detect


def weights_file(settings: OnnxSettings, weights_folder: Path) -> Path:
    """The file, fetched where it is a published one. Raises VadError where it is missing and cannot be fetched."""
    path = weights_folder / settings.weights
    if path.suffix != ".onnx":
        raise VadError(f"{path}: detector.kind: onnx takes a file *.onnx; for other files take detector.kind: yolo")
    if path.is_file():
        return path
    if path.name not in PUBLISHED:
        raise VadError(f"{path}: not found; put the file there, or name a published one: {', '.join(PUBLISHED)}")
    return fetched(path, *PUBLISHED[path.name])


def _load(path: Path) -> tuple[Any, tuple[int, int] | None]:
    """The network, and its input's (height, width); None where that is free."""
    try:
        content = path.read_bytes()
        dimensions = _input_dimensions(content)
        network = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
    except (cv2.error, ValueError, IndexError) as error:
        reason = " ".join(str(error).split())[:200]
        raise VadError(f"{path}: not an ONNX network, or damaged ({reason}); get the file again") from None
    except OSError as error:
        raise VadError(f"{path}: {surroundings(error) or error.strerror}") from None
    if len(dimensions) != 4 or dimensions[1] not in (3, 0):
        raise VadError(f"{path}: its input is {tuple(dimensions)} (0: any); {WANTED}")
    if dimensions[0] not in (0, 1):
        raise VadError(
            f"{path}: its batch is fixed at {dimensions[0]}; export it with a batch of one, or a dynamic one"
        )
    height, width = dimensions[2:]
    if any(side % STRIDES[-1] for side in (height, width)) or (height == 0) != (width == 0):
        raise VadError(f"{path}: its input is {height} x {width} px; both sides must be multiples of 32, or both free")
    return network, (height, width) if height else None


def _family(path: Path, network: Any, shape: tuple[int, int]) -> str:
    """Which family's output an image gives: its cells tell. Raises VadError where it is neither's."""
    shape = _room(*shape, max(shape))
    try:
        output = _forward(network, np.full((*shape, 3), GREY, np.uint8), "yolox")
    except cv2.error as error:
        reason = " ".join(str(error).split())[:200]
        raise VadError(f"{path}: OpenCV {cv2.__version__} cannot run it ({reason}); {WANTED}") from None
    cells = sum((shape[0] // stride) * (shape[1] // stride) for stride in STRIDES)
    if output.ndim == 3 and output.shape[1] == cells and output.shape[2] > 5:
        return "yolox"
    if output.ndim == 3 and output.shape[2] == cells and output.shape[1] > 4:
        return "yolo"
    raise VadError(f"{path}: gives {output.shape} for an image of {shape[0]} x {shape[1]} px; {WANTED}")


def _forward(network: Any, image: np.ndarray, family: str) -> np.ndarray:
    """float32 (1, ., .), what the network makes of an image (height, width, 3) uint8 RGB."""
    factor, swapped = (1.0, True) if family == "yolox" else (1 / 255, False)
    network.setInput(cv2.dnn.blobFromImage(image, factor, swapRB=swapped))
    return network.forward()


def _decoded(output: np.ndarray, family: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Corners (cells, 4) in pixels of the input, and the score of each class (cells, classes)."""
    if family == "yolo":
        rows = output[0].T
        centre, sides, scores = rows[:, :2], rows[:, 2:4], rows[:, 4:]
    else:
        grids, strides = [], []
        for stride in STRIDES:
            down, across = np.mgrid[: shape[0] // stride, : shape[1] // stride]
            grids.append(np.stack([across, down], axis=-1).reshape(-1, 2))
            strides.append(np.full((len(grids[-1]), 1), stride))
        step = np.concatenate(strides)
        rows = output[0]
        centre = (rows[:, :2] + np.concatenate(grids)) * step
        sides = np.exp(rows[:, 2:4]) * step
        scores = rows[:, 4:5] * rows[:, 5:]
    return np.concatenate([centre - sides / 2, centre + sides / 2], axis=1), scores


def _room(height: int, width: int, image_size: int) -> tuple[int, int]:
    """(height, width) in multiples of 32 that hold a frame whose longer side is `image_size`."""
    scale = image_size / max(height, width)
    rows, columns = (-(-max(round(side * scale), 1) // STRIDES[-1]) * STRIDES[-1] for side in (height, width))
    return rows, columns


def _input_dimensions(content: bytes) -> list[int]:
    """The dimensions of an ONNX file's first input, 0 for those that are free: what OpenCV does not tell.

    Raises ValueError or IndexError where the bytes are no such file.
    """
    place = memoryview(content)
    for field in (7, 11, 2, 1, 2):  # model's graph, its input, that one's type, of a tensor, its shape
        inner = next((value for number, value in _fields(place) if number == field), None)
        if not isinstance(inner, memoryview):
            raise ValueError("it describes no input")
        place = inner
    sides = []
    for number, dimension in _fields(place):
        if number == 1 and isinstance(dimension, memoryview):
            sides.append(next((v for n, v in _fields(dimension) if n == 1 and isinstance(v, int)), 0))
    return sides


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Numbers and values of a protobuf message: whole numbers, and bytes of whatever has a length."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value
            if shift > 63:
                raise ValueError("a number has no end")

    while at < len(message):
        field, wire = divmod(number(), 8)
        if wire == 0:
            yield field, number()
        elif wire == 2:
            length = number()
            if length > len(message) - at:
                raise ValueError("it ends before its content does")
            at += length
            yield field, message[at - length : at]
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError("it is not written as ONNX is")
