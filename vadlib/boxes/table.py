"""What a box is, and the columns of the box table."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from vadlib.clips import Clip

APPEARANCE, MOTION, IMPORTED = "appearance", "motion", "imported"  # where a box comes from

BOX_COLUMNS = {
    "clip": "str",
    "split": "str",  # training or testing
    "frame": "int32",  # from 0
    "x1": "float32",  # source pixels; pixel i spans [i, i + 1], so the whole frame is (0, 0, width, height)
    "y1": "float32",
    "x2": "float32",
    "y2": "float32",
    "score": "float32",  # the detector's confidence in [0, 1]; 1 where there is none (motion boxes)
    "cls": "int16",  # COCO's 80 classes from 0, person, or the detector's own; -1 unknown
    "source": "str",  # appearance, motion or imported
}


@dataclass(frozen=True)
class Boxes:
    """The n boxes of one frame."""

    xyxy: np.ndarray  # float32 (n, 4), source pixels
    score: np.ndarray  # float32 (n,)
    cls: np.ndarray  # int16 (n,)
    source: np.ndarray  # str (n,)

    @classmethod
    def of(cls, xyxy: ArrayLike, source: str, score: ArrayLike | None = None, ids: ArrayLike | None = None) -> "Boxes":
        """Boxes of one source; `xyxy` (n, 4) or empty, no score is 1, no class is -1."""
        corners = np.asarray(xyxy, dtype=np.float32).reshape(-1, 4)
        n = len(corners)
        return cls(
            corners,
            np.ones(n, np.float32) if score is None else np.asarray(score, dtype=np.float32).reshape(n),
            np.full(n, -1, np.int16) if ids is None else np.asarray(ids, dtype=np.int16).reshape(n),
            np.full(n, source, dtype="<U10"),
        )

    def __len__(self) -> int:
        return len(self.xyxy)

    def take(self, index: np.ndarray | slice) -> "Boxes":
        """The boxes of a mask or of positions, in that order."""
        return Boxes(self.xyxy[index], self.score[index], self.cls[index], self.source[index])

    def followed_by(self, other: "Boxes") -> "Boxes":
        """These, then the other's."""
        return Boxes(
            np.concatenate([self.xyxy, other.xyxy]),
            np.concatenate([self.score, other.score]),
            np.concatenate([self.cls, other.cls]),
            np.concatenate([self.source, other.source]),
        )


# The boxes of consecutive frames of a clip: (clip, number of the first frame, frames (H, W, 3) uint8 RGB).
# What is returned for a frame depends on that frame alone, not on those it is given with.
DetectFrames = Callable[[Clip, int, Sequence[np.ndarray]], list[Boxes]]


def box_table(clip: Clip, boxes: Iterable[Boxes], first: int = 0) -> pd.DataFrame:
    """Rows of the box table, `BOX_COLUMNS`, for the boxes of consecutive frames from `first` on."""
    boxes = list(boxes) or [Boxes.of([], APPEARANCE)]
    xyxy = np.concatenate([b.xyxy for b in boxes])
    columns = {
        "clip": clip.name,
        "split": clip.split,
        "frame": np.repeat(np.arange(first, first + len(boxes)), [len(b) for b in boxes]),
        "x1": xyxy[:, 0],
        "y1": xyxy[:, 1],
        "x2": xyxy[:, 2],
        "y2": xyxy[:, 3],
        "score": np.concatenate([b.score for b in boxes]),
        "cls": np.concatenate([b.cls for b in boxes]),
        "source": np.concatenate([b.source for b in boxes]),
    }
    return pd.DataFrame(columns, columns=list(BOX_COLUMNS), index=range(len(xyxy))).astype(BOX_COLUMNS)
