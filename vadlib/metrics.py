"""Frame-level metrics, each protocol under its own name.

Scores come as one float array for each clip, NaN where a frame has no box; labels as one bool array for each clip.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

Clips = Sequence[np.ndarray]

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
    gap = fpr - (1 - tpr)  # rises from -1 to 1
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))


def evaluate_frames(labels: Clips, scores: Clips) -> dict[str, object]:
    """Every metric of one scoring of a data set's test frames.

    Returns a dictionary: `auroc` (micro, macro), `average_precision`, `equal_error_rate`, and `smoothed`, the AUROC
    (micro, macro) after each of SMOOTHINGS, applied clip by clip. A metric that does not exist is None.
    """
    ranked = rank_empty_frames_last(scores)
    pooled, pooled_scores = np.concatenate(labels), np.concatenate(ranked)
    both = pooled.any() and not pooled.all()
    return {
        "auroc": {"micro": micro_auroc(labels, ranked), "macro": macro_auroc(labels, ranked)},
        "average_precision": float(average_precision_score(pooled, pooled_scores)) if both else None,
        "equal_error_rate": equal_error_rate(pooled, pooled_scores),
        "smoothed": {
            name: {"micro": micro_auroc(labels, smooth), "macro": macro_auroc(labels, smooth)}
            for name, smooth in ((n, [f(clip) for clip in ranked]) for n, f in SMOOTHINGS.items())
        },
    }


def roc_points(labels: Clips, scores: Clips, most: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates of the ROC's corners, at most about `most` of them, ends included."""
    fpr, tpr, _ = roc_curve(np.concatenate(labels), np.concatenate(rank_empty_frames_last(scores)))
    keep = np.unique(np.linspace(0, len(fpr) - 1, min(most, len(fpr))).round().astype(int))
    return fpr[keep], tpr[keep]
