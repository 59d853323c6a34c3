"""No detector: every box is one of what moves."""

from collections.abc import Sequence
from pathlib import Path

from vadlib.boxes.table import APPEARANCE, Boxes, DetectFrames
from vadlib.manifest import Clip
from vadlib.settings import MotionDetectorSettings


def make_detector(
    settings: MotionDetectorSettings, weights_folder: Path, data_folder: Path, clips: Sequence[Clip], device: str
) -> DetectFrames:
    """A detector that finds nothing: every box is a motion box."""
    return lambda clip, first, frames: [Boxes.of([], APPEARANCE) for _ in frames]


def weights_file(settings: MotionDetectorSettings, weights_folder: Path) -> None:
    """It has no weights."""
    return None
