"""Where normal ends: a threshold by how often it may be wrong."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

GAP_SECONDS = 1.0
"""Anomalous frames less than this apart are one alarm: scores near the threshold would make dozens of it."""

TAIL = 0.9
"""The quantile beyond which frame scores are taken to fall off exponentially: one frame in a hundred of a few hundred
is too few to read a threshold off."""

SURE = 0.8
"""How often footage of another time is to keep the promise, as far as the pieces held out differ from each other: calm
footage and windy, by day and in the evening, have thresholds of their own, and one is not the other's."""
LEAST_FRAMES = 20
"""Of a piece, to have a threshold of its own."""


@dataclass(frozen=True)
class Threshold:
    """What of a frame's score is called anomalous, set on held-out normal footage, perturbed as scored frames are."""

    value: float  # a frame that scores higher is called anomalous
    median: float  # of the same scores: what is usual
    promised: float  # share of normal frames that may be above it
    above: float  # share of the held-out frames that are
    alarms_per_hour: float | None  # of the held-out footage; None where its frame rate is not known
    frames: int  # held out, with boxes
    wanted: int  # frames that it would take to keep the promise surely


def set_threshold(
    pieces: Sequence[np.ndarray], promised: float, rates: Sequence[float | None], horizon: int
) -> Threshold:
    """The threshold that a share `promised` of normal frames is above, of the held-out footage and of the next piece.

    It is the larger of that of all pieces together, and of the bound that the threshold of one more piece would be
    below SURE of the time (the prediction interval of a normal variable).

    Args:
        pieces: frame scores of each piece of held-out footage, float (frames,), NaN without boxes.
        promised: below 0.1.
        rates: frames per second of each piece; None: not known.
        horizon: frames that scores are averaged over: so many neighbours say little more than one.

    Raises ValueError where no frame has a box.
    """
    scores = np.concatenate(pieces) if pieces else np.empty(0)
    scores = scores[~np.isnan(scores)]
    if not len(scores):
        raise ValueError("no held-out frame has a box, so there is no threshold")
    value = _exceeded_by(scores, promised)
    each = [_exceeded_by(own, promised) for piece in pieces if len(own := piece[~np.isnan(piece)]) >= LEAST_FRAMES]
    if (count := len(each)) > 1:
        spread = float(np.std(each, ddof=1)) * math.sqrt(1 + 1 / count)
        value = max(value, float(np.mean(each)) + float(student.ppf(SURE, count - 1)) * spread)
    known = [(piece, rate) for piece, rate in zip(pieces, rates, strict=True) if rate is not None]
    hours = None if len(known) < len(pieces) else sum(len(piece) / rate for piece, rate in known) / 3600
    alarms = sum(count_alarms(piece > value, rate or 1) for piece, rate in zip(pieces, rates, strict=True))
    return Threshold(
        value, float(np.median(scores)), promised, float((scores > value).mean()),
        round(alarms / hours, 2) if hours else None, len(scores), math.ceil(horizon / promised),
    )  # fmt: skip


def _exceeded_by(scores: np.ndarray, share: float) -> float:
    """What this share of scores (N,) is above: they fall off exponentially beyond the quantile TAIL."""
    start = float(np.quantile(scores, TAIL))
    beyond = scores[scores > start] - start
    return start + (float(beyond.mean()) if len(beyond) else 0.0) * math.log((1 - TAIL) / share)


def count_alarms(anomalous: np.ndarray, rate: float) -> int:
    """Runs of anomalous frames, bool (frames,) at `rate` a second; those less than GAP_SECONDS apart are one."""
    at = np.flatnonzero(anomalous)
    return int(len(at) > 0) + int((np.diff(at) > GAP_SECONDS * rate).sum())
