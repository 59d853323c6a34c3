"""Every kind of detector, by the name that `detector.kind` has for it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from vadlib.boxes.kinds import imported, motion, onnx_detector, torchvision_detector, yolo
from vadlib.boxes.table import DetectFrames
from vadlib.manifest import Clip
from vadlib.settings import DetectorSettings


class Kind(Protocol):
    """What a module of a detector has. A package that not everybody has it imports in a function."""

    def make_detector(
        self, settings: Any, weights_folder: Path, data_folder: Path, clips: Sequence[Clip], device: str
    ) -> DetectFrames: ...

    def weights_file(self, settings: Any, weights_folder: Path) -> Path | None: ...


KINDS: dict[str, Kind] = {
    "yolo": yolo,
    "onnx": onnx_detector,
    "torchvision": torchvision_detector,
    "motion": motion,
    "import": imported,
}


def make_detector(
    settings: DetectorSettings, weights_folder: Path, data_folder: Path, clips: Sequence[Clip], device: str = "auto"
) -> DetectFrames:
    """The detector the settings name, loaded once for all clips.

    `weights_folder` is weights/<data set>, `data_folder` is data/<data set>; `clips` are all clips of the
    data set in the manifest's order, which is the order of imported boxes. Raises VadError where weights or
    boxes are missing, damaged, or do not fit.
    """
    return KINDS[settings.kind].make_detector(settings, weights_folder, data_folder, clips, device)


def weights_file(settings: DetectorSettings, weights_folder: Path) -> Path | None:
    """The file or folder `make_detector` takes its weights from, fetched where it can be; None where it needs none.

    Raises VadError where it is missing and cannot be fetched.
    """
    return KINDS[settings.kind].weights_file(settings, weights_folder)
