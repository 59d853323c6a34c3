"""Speed: how fast an object moves for where it is, measured and not learned by a network."""

from collections.abc import Mapping

import numpy as np

from vadlib.cubes.shards import Batch
from vadlib.io.arrays import rows_of
from vadlib.units import FLOW_STEPS, to_pixels

NEIGHBOURS = 0.2
"""The share of normal objects, the nearest by the row of their feet, that an object is as near to the camera as."""
FAST = 0.9
"""The quantile of their speeds that is the measure of a speed."""


class Speed:
    """The mean length of the flow in a cube where a walker's trunk is, by what is fast for objects as near.

    Legs swing faster than whom they carry, and a box's corners show the ground: the upper half of a patch, its middle
    columns, over all its frames, moves as the object does. What is near moves more pixels than what is far; how much
    more, normal objects whose feet are in rows nearby tell better than the height of a box, which may be cut.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray] | None) -> None:
        self._parts = [] if arrays is None else [rows_of(arrays, "seen", 2)]
        self._fast: FastByRow | None = None

    def fit(self, sample: Batch) -> None:
        seen = np.stack([sample.boxes[:, 3], trunk_speed(sample.flow)], axis=1).astype(np.float32)
        self._parts, self._fast = [np.concatenate([*self._parts, seen])], None

    def measure(self, cubes: Batch, seen: bool = False) -> np.ndarray:
        """Speed as a multiple of what is fast there."""
        if self._fast is None:
            (known,) = self._parts
            self._fast = FastByRow(known[:, 0], known[:, 1])
        return (trunk_speed(cubes.flow) / self._fast.at(cubes.boxes[:, 3])).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"seen": self._parts[0]}


class FastByRow:
    """What is fast, px per frame, among normal objects whose feet are in rows nearby."""

    def __init__(self, rows: np.ndarray, speeds: np.ndarray) -> None:
        """From the rows (N,) of objects' feet, px, and their speeds (N,)."""
        order = np.argsort(rows, kind="stable")
        self._rows, speeds = rows[order].astype(np.float64), speeds[order].astype(np.float64)
        width = max(1, round(NEIGHBOURS * len(speeds)))
        windows = np.lib.stride_tricks.sliding_window_view(speeds, width)
        # Nothing is slower than a tenth of what is fast anywhere, or a step of stored flow: where all stands still, a
        # breath of wind is not fast.
        least = max(0.1 * float(np.quantile(speeds, FAST)), 1 / FLOW_STEPS)
        self._fast = np.maximum(np.quantile(windows, FAST, axis=1), least)
        # Of windows as wide in objects the nearest is the first whose middle is not before the feet's row.
        self._middles = (self._rows[: len(windows)] + self._rows[width - 1 :]) / 2

    def at(self, rows: np.ndarray) -> np.ndarray:
        """What is fast at each of M rows: float64 (M,)."""
        window = np.searchsorted(self._middles, rows.astype(np.float64))
        return self._fast[np.minimum(window, len(self._fast) - 1)]


def trunk(flow: np.ndarray) -> np.ndarray:
    """The upper half, middle columns, of a patch, where a walker's trunk is: of kept flow (B, L, patch, patch, 2)."""
    patch = flow.shape[2]
    return flow[:, :, : patch // 2, patch // 4 : patch - patch // 4]


def trunk_speed(flow: np.ndarray) -> np.ndarray:
    """Kept flow, int16 (B, L, patch, patch, 2), as its mean length where a trunk is: float32 (B,), px per frame."""
    return mean_length(trunk(flow))


def mean_length(flow: np.ndarray) -> np.ndarray:
    """The mean length of kept flow, int16 (B, ..., 2), of each cube: float32 (B,), px per frame."""
    lengths = np.linalg.norm(to_pixels(flow), axis=-1)
    return lengths.reshape(len(flow), -1).mean(axis=1, dtype=np.float64).astype(np.float32)
