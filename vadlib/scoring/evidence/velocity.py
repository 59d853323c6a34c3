"""Velocity: how unlike the ways in which objects go there an object's own is, whichever way it goes."""

from collections.abc import Mapping

import numpy as np
from scipy.spatial import cKDTree

from vadlib.cubes.shards import Batch
from vadlib.io.arrays import rows_of
from vadlib.scoring.evidence.speed import FastByRow, trunk
from vadlib.units import to_pixels


class Velocity:
    """The distance of an object's mean velocity to the nearest of normal objects', in units of what is fast as near
    to the camera.

    Speed asks how fast: who goes against the stream, falls or throws is not fast. The mean over a cube's frames and
    its trunk, and not a histogram of what its pixels do: limbs swing in all directions.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray] | None) -> None:
        self._parts = [] if arrays is None else [rows_of(arrays, "seen", 3)]
        self._fitted: tuple[FastByRow, cKDTree] | None = None

    def fit(self, sample: Batch) -> None:
        seen = np.column_stack([sample.boxes[:, 3], trunk_velocity(sample.flow)]).astype(np.float32)
        self._parts, self._fitted = [np.concatenate([*self._parts, seen])], None

    def measure(self, cubes: Batch, seen: bool = False) -> np.ndarray:
        """The distance to the nearest; of cubes seen before to the next nearest."""
        if self._fitted is None:
            (known,) = self._parts
            fast = FastByRow(known[:, 0], np.linalg.norm(known[:, 1:], axis=1))
            self._fitted = fast, cKDTree(known[:, 1:] / fast.at(known[:, 0])[:, None])
        fast, tree = self._fitted
        own = trunk_velocity(cubes.flow) / fast.at(cubes.boxes[:, 3])[:, None]
        return tree.query(own, k=[min(1 + seen, tree.n)])[0][:, 0].astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"seen": self._parts[0]}


def trunk_velocity(flow: np.ndarray) -> np.ndarray:
    """Kept flow, int16 (B, L, patch, patch, 2), as the mean vector where a trunk is: float32 (B, 2), px per frame."""
    vectors = to_pixels(trunk(flow)).reshape(len(flow), -1, 2)
    return vectors.mean(axis=1, dtype=np.float64).astype(np.float32)
