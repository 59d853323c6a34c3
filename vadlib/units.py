"""Flow and channels as they are kept: one unit, one behaviour at its limit, for flow on disk and for cubes."""

import numpy as np

from vadlib.errors import VadError
from vadlib.settings import Branch

FLOW_STEPS = 32  # of a pixel
MAX_ERROR = 0.5 / FLOW_STEPS  # px
MAX_FLOW = 1023  # px per frame, either way; 16 bits hold a little more
CHANNELS: dict[Branch, int] = {"raw": 3, "flow": 2}


def to_steps(flow: np.ndarray, place: str) -> np.ndarray:
    """Flow in px per frame as it is kept: int16 steps of 1/32 px, of the same shape. Raises VadError, naming `place`,
    where it cannot be: beyond MAX_FLOW, or NaN."""
    if not (np.abs(flow) <= MAX_FLOW).all():  # nor is NaN
        raise VadError(
            f"{place}: holds flow beyond {MAX_FLOW} px per frame, or NaN: {flow.flat[np.argmax(np.abs(flow))]}"
        )
    return np.rint(flow * FLOW_STEPS).astype(np.int16)


def to_pixels(steps: np.ndarray) -> np.ndarray:
    """Kept flow, of any shape, in px per frame: float32, contiguous."""
    return np.multiply(steps, np.float32(1 / FLOW_STEPS), order="C")
