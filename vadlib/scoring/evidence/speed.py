"""Speed: how fast an object moves, measured and not learned."""

import numpy as np

from vadlib.cubes.shards import Batch
from vadlib.units import to_pixels


class Speed:
    """The mean length of the flow in a cube, over all its frames, where a walker's trunk is.

    Legs swing faster than whom they carry, and a box's corners show the ground: the upper half of a patch, its middle
    columns, moves as the object does.
    """

    def fit(self, sample: Batch) -> None:
        """Nothing is learned."""

    def measure(self, cubes: Batch, seen: bool = False) -> np.ndarray:
        """Px per frame."""
        patch = cubes.flow.shape[2]
        return mean_length(cubes.flow[:, :, : patch // 2, patch // 4 : patch - patch // 4])

    def arrays(self) -> dict[str, np.ndarray]:
        return {}


def mean_length(flow: np.ndarray) -> np.ndarray:
    """The mean length of kept flow, int16 (B, ..., 2), of each cube: float32 (B,), px per frame."""
    lengths = np.linalg.norm(to_pixels(flow), axis=-1)
    return lengths.reshape(len(flow), -1).mean(axis=1, dtype=np.float64).astype(np.float32)
