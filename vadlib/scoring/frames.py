"""From the scores of boxes to that of their frame."""

import numpy as np


def frame_scores(frame: np.ndarray, scores: np.ndarray, frames: int, top: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Eq. (3): each frame's score is the maximum over its cubes; with `top` > 1 the mean of so many highest.

    Args:
        frame: int (N,), the frame of each cube, 0 <= frame < `frames`.
        scores: float (N,).
        top: a frame of fewer cubes takes the mean of those it has.

    Returns:
        float64 (frames,), NaN for a frame without a cube, and int64 (frames,), cubes of each frame.
    """
    counts = np.bincount(frame, minlength=frames)
    if top == 1:
        best = np.full(frames, -np.inf)
        np.maximum.at(best, frame, scores)
        return np.where(counts > 0, best, np.nan), counts
    order = np.lexsort((-scores, frame))
    rank = np.arange(len(frame)) - np.repeat(np.cumsum(counts) - counts, counts)
    taken = order[rank < top]
    sums = np.bincount(frame[taken], weights=scores[taken], minlength=frames)
    return np.where(counts > 0, sums / np.maximum(np.minimum(counts, top), 1), np.nan), counts
