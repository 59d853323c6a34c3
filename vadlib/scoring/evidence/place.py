"""Place: whether an object of this size was ever where this one stands."""

from collections.abc import Mapping

import numpy as np

from vadlib.cubes.shards import Batch
from vadlib.io.arrays import rows_of

NEIGHBOURS = 3
"""Of the nearest one alone a single odd detection would make a place normal."""


class Place:
    """The distance to the nearest places of normal footage: where a box stands and how large it is.

    Places are compared in the object's own measure, its height: a step aside is as far at the back of a scene as in
    front. The class of an object takes no part (detectors differ in them, motion boxes have none): its height and
    shape stand for it.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray] | None) -> None:
        self._parts = [] if arrays is None else [rows_of(arrays, "places", 4)]

    def fit(self, sample: Batch) -> None:
        self._parts = [np.concatenate([*self._parts, places(sample.boxes)])]

    def measure(self, cubes: Batch, seen: bool = False) -> np.ndarray:
        """Of each box the mean distance to the NEIGHBOURS nearest, in heights of the object; of boxes seen before the
        nearest is left out."""
        (known,) = self._parts
        own = places(cubes.boxes)
        away = np.abs(own[:, None] - known[None])  # (B, K, 4)
        away[..., :2] /= np.exp(own[:, None, 2:3])
        distance = np.sqrt(np.square(away).sum(axis=2))
        first = int(seen and len(known) > 1)
        last = min(first + NEIGHBOURS, len(known))
        return np.sort(distance, axis=1)[:, first:last].mean(axis=1).astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        return {"places": self._parts[0]}


def places(boxes: np.ndarray) -> np.ndarray:
    """Boxes (N, 4) as the middle of their foot x, y, log height and log width: float32 (N, 4)."""
    x1, y1, x2, y2 = boxes.astype(np.float32).T
    width, height = np.maximum(x2 - x1, 1), np.maximum(y2 - y1, 1)
    return np.stack([(x1 + x2) / 2, y2, np.log(height), np.log(width)], axis=1).astype(np.float32)
