"""What objects are called, where the detector's classes are known: COCO's."""

import re

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
    """The name of a detector's class; empty where it is not known, as of what only moves.

    Of a YOLO's weights the name says whether its classes are COCO's: those that are published are called `yolo11n.pt`.
    """
    if not 0 <= number < len(COCO):
        return ""
    published = detector.kind == "yolo" and re.match(r"yolo(v?\d+|x)[a-z]?(?![a-z])", str(detector.weights))
    return COCO[number] if detector.kind == "torchvision" or published else f"class {number}"
