"""What objects are called, where the detector's classes are known: COCO's."""

import re

from vadlib.boxes.table import MOTION
from vadlib.settings import DetectorSettings

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis",
    "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich",
    "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed",
    "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven",
    "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip


def class_name(detector: DetectorSettings, number: int) -> str:
    """The name of a detector's class; empty where it is not known, as of what only moves."""
    if not 0 <= number < len(COCO):
        return ""
    return COCO[number] if _is_coco(detector) else f"class {number}"


def class_names(detector: DetectorSettings) -> tuple[str, ...]:
    """What `class_name` may be of this detector's boxes, and MOTION, which stands for what only moves."""
    if detector.kind == "motion":
        return (MOTION,)
    own = tuple(class_name(detector, number) for number in range(len(COCO)))
    return own if detector.motion is None else (*own, MOTION)


def _is_coco(detector: DetectorSettings) -> bool:
    """Of a YOLO's weights the name says so: those that are published are called `yolo11n.pt`, `yolox_nano.onnx`."""
    if detector.kind in ("yolo", "onnx"):
        return re.match(r"yolo(v?\d+|x)[a-z]?(?![a-z])", str(detector.weights)) is not None
    return detector.kind == "torchvision"
