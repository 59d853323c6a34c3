"""Untrained floors: what reaches a score with nothing learned. A method has to beat the best of them.

Each is a frame's largest value, over its boxes, of a mean length of the flow: in the box, in the whole cube, where a
trunk is; of the cube and of the trunk also their mean along the object's track.
"""

from collections.abc import Mapping

import numpy as np

from vadlib.scoring.frames import frame_scores
from vadlib.scoring.tracks import average_clip

HALF_LIFE = 16.0
"""Frames, of the means along tracks: of 2, 4, 8 and 16 the best for them on UCSD Ped2. A floor is to be as high as it
can be, whatever `best` averages over."""


def floor_scores(
    frame: np.ndarray, boxes: np.ndarray, flow: Mapping[str, np.ndarray], frames: int
) -> dict[str, np.ndarray]:
    """The frame scores of each floor for one clip.

    Args:
        frame: int (N,), rising: the frame of each box.
        boxes: float (N, 4), xyxy.
        flow: float (N,) each: `magnitude`, `cube_flow` and `trunk_flow` of the score tables, px per frame.
        frames: the clip's.

    Returns float64 (frames,) of each, NaN without boxes.
    """
    # A track begins with a score of 0 beside its first; of a mean of ones that is what is missing, and so undone.
    table = np.stack([flow["cube_flow"], flow["trunk_flow"], np.ones(len(frame))], axis=1).astype(np.float64)
    cube, trunk, weight = average_clip(frame, boxes, table, frames, HALF_LIFE)[0].T
    columns = {
        "box": flow["magnitude"],
        "cube": flow["cube_flow"],
        "cube along its track": cube / weight,
        "trunk along its track": trunk / weight,
    }
    return {name: frame_scores(frame, np.asarray(column), frames)[0] for name, column in columns.items()}
