"""Frame-level metrics, each protocol under its own name, and intervals of them by resampling clips.

Scores come as one float array for each clip, NaN where a frame has no box; labels as one bool array for each clip.
`docs/protocols.md` says which papers use which protocol.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter1d, median_filter
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

Clips = Sequence[np.ndarray]

CONFIDENCE = 0.95
RESAMPLES = 1000

SMOOTHINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    # Other papers' protocols, beside the headline, which smooths nothing.
    "median_17": lambda s: median_filter(s, 17, mode="nearest"),  # HF2-VAD
    "gaussian_3": lambda s: gaussian_filter1d(s, 3),  # AI-VAD on Ped2 and Avenue
    "gaussian_7": lambda s: gaussian_filter1d(s, 7),  # AI-VAD on ShanghaiTech
}


def rank_empty_frames_last(scores: Clips) -> list[np.ndarray]:
    """Give frames without boxes (NaN) a score below every other's: the least score minus 1.

    The authors' constant, -100000, ranks them the same, but would drown its neighbours when scores are smoothed.
    """
    numbers = np.concatenate(scores)
    numbers = numbers[~np.isnan(numbers)]
    lowest = numbers.min() - 1 if len(numbers) else 0.0
    return [np.where(np.isnan(clip), lowest, clip) for clip in scores]


def auroc(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Area under the ROC curve; None where only one class is present, for which there is none."""
    if labels.all() or not labels.any():
        return None
    return float(roc_auc_score(labels, scores))


def micro_auroc(labels: Clips, scores: Clips) -> float | None:
    """Over all frames of all clips pooled: the paper's protocol."""
    return auroc(np.concatenate(labels), np.concatenate(scores))


def macro_auroc(labels: Clips, scores: Clips) -> float | None:
    """The mean of the clips' own AUROC, over the clips that have both classes."""
    values = [a for a in map(auroc, labels, scores) if a is not None]
    return float(np.mean(values)) if values else None


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> float | None:
    """Where false positive and false negative rate are equal, on the line between the ROC's two nearest points."""
    if labels.all() or not labels.any():
        return None
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    return _equal_error_rate(fpr, tpr)


def _equal_error_rate(fpr: np.ndarray, tpr: np.ndarray) -> float:
    gap = fpr - (1 - tpr)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def apart(labels: Clips, reach: int) -> list[np.ndarray]:
    """The normal frames, bool (frames,) of each clip, that have no anomalous one within `reach` frames: of their scores
    no anomalous frame is a part. What is said of the others may be said a moment early or late, and is not made up."""
    return [~binary_dilation(of_clip, iterations=reach) if reach else ~of_clip for of_clip in labels]


def evaluate_frames(labels: Clips, scores: Clips) -> dict[str, Any]:
    """The metrics of one scoring of a data set's test frames, raw: nothing smoothed, nothing normalised by clip.

    Returns a dictionary: `auroc` (micro, macro), `average_precision`, `equal_error_rate`. A metric that does not exist
    is None.
    """
    ranked = rank_empty_frames_last(scores)
    pooled, pooled_scores = np.concatenate(labels), np.concatenate(ranked)
    both = pooled.any() and not pooled.all()
    return {
        "auroc": {"micro": micro_auroc(labels, ranked), "macro": macro_auroc(labels, ranked)},
        "average_precision": float(average_precision_score(pooled, pooled_scores)) if both else None,
        "equal_error_rate": equal_error_rate(pooled, pooled_scores),
    }


def smoothed_aurocs(labels: Clips, scores: Clips) -> dict[str, dict[str, float | None]]:
    """AUROC, micro and macro, after each of SMOOTHINGS, applied clip by clip."""
    ranked = rank_empty_frames_last(scores)
    variants = {name: [smooth(clip) for clip in ranked] for name, smooth in SMOOTHINGS.items()}
    return {name: {"micro": micro_auroc(labels, s), "macro": macro_auroc(labels, s)} for name, s in variants.items()}


def apart_auroc(labels: Clips, scores: Clips, reach: int) -> dict[str, float | None]:
    """AUROC, micro and macro, of anomalous frames against the normal ones that are `apart`."""
    ranked, kept = rank_empty_frames_last(scores), [a | b for a, b in zip(labels, apart(labels, reach), strict=True)]
    own = [of_clip[keep] for of_clip, keep in zip(labels, kept, strict=True)]
    left = [of_clip[keep] for of_clip, keep in zip(ranked, kept, strict=True)]
    return {"micro": micro_auroc(own, left), "macro": macro_auroc(own, left)}


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval of a metric over resampled clips; None where no resample has the metric."""

    low: float | None
    high: float | None
    resamples: int  # those it is of
    left_out: int  # those the metric does not exist for: of one class only, say


def clip_draws(clips: int) -> np.ndarray:
    """How often each clip is drawn in each resample, int64 (RESAMPLES, clips): as many clips as there are, with
    replacement. The same for a number of clips, always."""
    return np.random.default_rng(0).multinomial(clips, np.full(clips, 1 / clips), size=RESAMPLES)


def interval(values: np.ndarray) -> Interval:
    """The percentile interval of a metric's values over resamples, NaN where it does not exist."""
    kept = values[~np.isnan(values)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(kept, (tail, 1 - tail)).tolist() if len(kept) else (None, None)
    return Interval(low, high, len(kept), len(values) - len(kept))


@dataclass(frozen=True)
class Falling:
    """Scores from the highest down, ties together: what a falling threshold lets pass.

    It is sorted once; each resample of the clips then only weighs it anew.
    """

    order: np.ndarray  # int64 (N,), indices of the scores
    ends: np.ndarray  # int64 (K,), place in `order` of the last of each distinct score

    @classmethod
    def of(cls, scores: np.ndarray) -> "Falling":
        order = np.argsort(-scores, kind="stable")
        sorted_scores = scores[order]
        return cls(order, np.flatnonzero(np.append(sorted_scores[1:] != sorted_scores[:-1], True)[: len(scores)]))

    def passed(self, weights: np.ndarray) -> np.ndarray:
        """The weight, (N,) in `order`, that has passed at each threshold, (K + 1,): none at first, then ever more."""
        return np.concatenate(([0], np.cumsum(weights)[self.ends]))


def frame_intervals(labels: Clips, scores: Clips, draws: np.ndarray) -> dict[str, Interval]:
    """Intervals of the metrics of `evaluate_frames`, with their names joined by a dot: `auroc.micro`, `auroc.macro`,
    `average_precision`, `equal_error_rate`.

    A clip drawn twice counts as two; `draws` are those of `clip_draws`, for as many clips as there are here.
    """
    ranked = rank_empty_frames_last(scores)
    pooled = np.concatenate(ranked)
    falling = Falling.of(pooled)
    clip = np.repeat(np.arange(len(labels)), [len(found) for found in labels])[falling.order]
    label = np.concatenate(labels)[falling.order]
    values = {name: np.full(len(draws), np.nan) for name in ("auroc.micro", "average_precision", "equal_error_rate")}
    for row, draw in enumerate(draws):
        weight = draw[clip]
        hits, misses = falling.passed(weight * label), falling.passed(weight * ~label)
        if hits[-1] and misses[-1]:
            tpr, fpr = hits / hits[-1], misses / misses[-1]
            values["auroc.micro"][row] = np.diff(fpr) @ (tpr[1:] + tpr[:-1]) / 2
            precision = hits[1:] / np.maximum(hits[1:] + misses[1:], 1)
            values["average_precision"][row] = np.diff(tpr) @ precision
            values["equal_error_rate"][row] = _equal_error_rate(fpr, tpr)
    of_clips = np.array([np.nan if a is None else a for a in map(auroc, labels, ranked)])
    drawn = np.where(np.isnan(of_clips), 0, draws)
    with np.errstate(invalid="ignore"):  # 0 / 0: no clip of both classes was drawn
        values["auroc.macro"] = drawn @ np.nan_to_num(of_clips) / drawn.sum(axis=1)
    return {name: interval(found) for name, found in values.items()}


def roc_points(labels: Clips, scores: Clips, most: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC's corners, at most about `most` of them, ends included."""
    fpr, tpr, _ = roc_curve(np.concatenate(labels), np.concatenate(rank_empty_frames_last(scores)))
    keep = np.unique(np.linspace(0, len(fpr) - 1, min(most, len(fpr))).round().astype(int))
    return fpr[keep], tpr[keep]
