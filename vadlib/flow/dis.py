"""Optical flow by OpenCV's DIS (Kroeger et al., ECCV 2016): no weights, fast on a CPU."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from vadlib.clips import Clip
from vadlib.errors import VadError
from vadlib.flow.fields import EstimateFlow, at_size
from vadlib.settings import DisSettings

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


def make_estimator(settings: DisSettings, weights_folder: Path, data_folder: Path, device: str) -> EstimateFlow:
    """DIS on grey frames. Its fields depend neither on earlier frames nor on OpenCV's threads."""

    def estimate(clip: Clip, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        dis, before = cv2.DISOpticalFlow.create(PRESETS[settings.preset]), None
        for number, frame in enumerate(frames):
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            if before is not None:
                try:
                    yield dis.calc(before, grey, None)  # type: ignore[call-overload] # None: a new field
                except cv2.error:
                    height, width = grey.shape
                    raise VadError(
                        f"{clip.path}: clip {clip.name}, frame {number - 1}: DIS cannot work on frames of "
                        f"{width}x{height} px; give a larger working size as flow.size, such as [64, 64]"
                    ) from None
            before = grey

    return at_size(estimate, settings.size)


def weights_file(settings: DisSettings, weights_folder: Path) -> None:
    """It has no weights."""
    return None
