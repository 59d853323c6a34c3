"""From reconstruction errors to anomaly scores of cubes and frames (paper III-E)."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from vadlib.settings import Branch


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of one branch's errors on the training cubes, without perturbation."""

    mean: float
    std: float
    cubes: int


def fit_statistics(errors: Iterable[np.ndarray]) -> Statistics:
    """Mean and (population) standard deviation of errors that come in batches, in float64 and constant memory.

    Batches are merged by their means and sums of squares (Chan, Golub & LeVeque 1979). Raises ValueError for no
    errors, and where all are equal: nothing could be standardised by them.
    """
    count, mean, squares = 0, 0.0, 0.0
    for batch in errors:
        values = np.asarray(batch, dtype=np.float64)
        if not len(values):
            continue
        difference = values.mean() - mean
        total = count + len(values)
        squares += ((values - values.mean()) ** 2).sum() + difference**2 * count * len(values) / total
        mean += difference * len(values) / total
        count = total
    if not count or not squares > 0:
        raise ValueError(f"{count} training errors without spread: no standard deviation to score by")
    return Statistics(float(mean), math.sqrt(squares / count), count)


def anomaly_scores(
    errors: Mapping[Branch, np.ndarray],
    statistics: Mapping[Branch, Statistics],
    weights: Mapping[Branch, float],
) -> np.ndarray:
    """S of III-E for each cube, float64 (N,): the weighted sum of its standardised errors.

    Args:
        errors: float (N,) for each branch in `weights`.
        weights: w_r and w_m; a branch that is absent takes no part.
    """
    return sum(
        (
            weight * (np.asarray(errors[branch], np.float64) - statistics[branch].mean) / statistics[branch].std
            for branch, weight in weights.items()
        ),
        start=np.float64(0),
    )


def frame_scores(frame: np.ndarray, scores: np.ndarray, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Eq. (3): each frame's score is the maximum over its cubes.

    Args:
        frame: int (N,), the frame of each cube, 0 <= frame < `frames`.
        scores: float (N,).

    Returns:
        float64 (frames,), NaN for a frame without a cube, and int64 (frames,), cubes of each frame.
    """
    best = np.full(frames, -np.inf)
    np.maximum.at(best, frame, scores)
    counts = np.bincount(frame, minlength=frames)
    return np.where(counts > 0, best, np.nan), counts
