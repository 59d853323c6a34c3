"""Optical flow by OpenCV's DIS (Kroeger et al., ECCV 2016): no weights, fast on a CPU."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np

from vadlib.clips import Clip
from vadlib.errors import VadError

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


def dis_estimator(preset: str):
    """An `EstimateFlow` on grey frames. Its fields depend neither on earlier frames nor on OpenCV's threads."""

    def estimate(clip: Clip, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        dis, before = cv2.DISOpticalFlow_create(PRESETS[preset]), None
        for number, frame in enumerate(frames):
            grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
            if before is not None:
                try:
                    yield dis.calc(before, grey, None)
                except cv2.error:
                    height, width = grey.shape
                    raise VadError(
                        f"{clip.path}: clip {clip.name}, frame {number - 1}: DIS cannot work on frames of "
                        f"{width}x{height} px; give a larger working size as flow.size, such as [64, 64]"
                    ) from None
            before = grey

    return estimate
