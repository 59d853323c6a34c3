"""RBDC and TBDC: how well anomalies are found where they are, by region and by track.

Ramachandra and Jones, Street Scene: A new dataset and evaluation protocol for video anomaly detection, WACV 2020,
section 5. Ground truth is a box for each anomalous object in each frame, a region; the regions of one anomaly form a
track. A detection is a box with a score, reported where the score reaches a threshold. At each threshold:

- a region is detected where some reported box of its frame has an IoU with it of at least beta;
- a track is detected where at least the share alpha of its regions is;
- a reported box is a false positive where its IoU with every region of its frame is below beta.

RBDC is the area under the share of detected regions, TBDC under that of detected tracks, over false positives per
frame from 0 to 1. What the definition leaves open is settled at `area_to_one`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc

from vadlib.evaluation.frames import Falling, Interval, interval

ALPHA = 0.1
BETA = 0.1


@dataclass(frozen=True)
class ClipDetections:
    """One clip's detections held against its regions: at which threshold what is detected.

    All float64; -inf is never.
    """

    frames: int
    false_positives: np.ndarray  # the score of each box that overlaps no region
    regions: np.ndarray  # of each region, the highest score of a box that detects it
    tracks: np.ndarray  # of each track, the highest threshold at which enough of its regions are detected


def match_clip(
    frames: int,
    box_frame: np.ndarray,
    boxes: np.ndarray,
    scores: np.ndarray,
    region_frame: np.ndarray,
    regions: np.ndarray,
    track: np.ndarray,
) -> ClipDetections:
    """Hold one clip's detections against its regions.

    Args:
        frames: the clip's length.
        box_frame: int (N,), the frame of each detection.
        boxes: float (N, 4), xyxy in source pixels.
        scores: float (N,).
        region_frame: int (M,), the frame of each region.
        regions: float (M, 4), as `boxes`.
        track: int (M,), the track each region belongs to.
    """
    box, region = _pairs(box_frame, region_frame)
    overlap = iou(boxes[box], regions[region]) >= BETA
    box, region = box[overlap], region[overlap]
    detected = np.full(len(regions), -np.inf)
    np.maximum.at(detected, region, np.asarray(scores, np.float64)[box])
    free = np.ones(len(boxes), dtype=bool)
    free[box] = False
    tracks = [_track_threshold(detected[track == number]) for number in np.unique(track)]
    return ClipDetections(frames, np.asarray(scores, np.float64)[free], detected, np.array(tracks, np.float64))


def _track_threshold(detected: np.ndarray) -> float:
    """The highest threshold at which the share ALPHA of a track's regions is detected."""
    needed = max(1, int(np.ceil(ALPHA * len(detected) - 1e-9)))  # 0.1 * 30 is a little more than 3
    return float(np.sort(detected)[len(detected) - needed])


def _pairs(box_frame: np.ndarray, region_frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices of every box and region that share a frame, int64 (P,) each."""
    order = np.argsort(box_frame, kind="stable")
    first, last = (np.searchsorted(box_frame[order], region_frame, side=side) for side in ("left", "right"))
    region = np.repeat(np.arange(len(region_frame)), last - first)
    begins = np.cumsum(last - first) - (last - first)  # where each region's pairs begin
    place = np.arange(len(region)) - begins[region] + first[region]
    return order[place], region


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (N, 4) and (N, 4), xyxy, pair by pair: float64 (N,)."""
    one, other = one.astype(np.float64), other.astype(np.float64)
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = sum(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (one, other))
    return shared / (areas - shared)


def area_to_one(false_positives: np.ndarray, rate: np.ndarray) -> float:
    """The area under a curve of detection rates over false positives per frame, from 0 to 1.

    Both are float (K,), from the highest threshold to the lowest. The definition leaves three things open: points are
    joined by straight lines, as an ROC's are, at 1 too; boxes of one score are reported together; and where all boxes
    together make less than one false positive per frame, the curve goes on level, for there is nothing more to report.
    """
    inside = np.searchsorted(false_positives, 1, side="right")
    at_one = np.interp(1, false_positives, rate)
    return float(auc(np.append(false_positives[:inside], 1), np.append(rate[:inside], at_one)))


class _Curve:
    """Detection rate over false positives of all clips, for any weighing of the clips."""

    def __init__(self, clips: Sequence[ClipDetections], found: Sequence[np.ndarray]) -> None:
        scores = [np.concatenate((clip.false_positives, hits)) for clip, hits in zip(clips, found, strict=True)]
        clip = np.repeat(np.arange(len(clips)), [len(part) for part in scores])
        hit = np.concatenate(
            [np.arange(len(part)) >= len(c.false_positives) for c, part in zip(clips, scores, strict=True)]
        )
        pooled = np.concatenate(scores)
        reported = np.isfinite(pooled)
        self.falling = Falling.of(pooled[reported])
        self.clip = clip[reported][self.falling.order]
        self.hit = hit[reported][self.falling.order]
        self.frames = np.array([c.frames for c in clips])
        self.truths = np.array([len(part) for part in found])

    def area(self, draw: np.ndarray) -> float:
        """RBDC or TBDC where each clip counts as often as drawn; NaN where no drawn clip has a region."""
        truths = draw @ self.truths
        if not truths:
            return float("nan")
        weight = draw[self.clip]
        false_positives = self.falling.passed(weight * ~self.hit) / (draw @ self.frames)
        return area_to_one(false_positives, self.falling.passed(weight * self.hit) / truths)


def evaluate_regions(
    clips: Sequence[ClipDetections], draws: np.ndarray
) -> tuple[dict[str, float | None], dict[str, Interval]]:
    """`rbdc` and `tbdc` of all clips, and their intervals over resampled clips; None where there is no region."""
    values: dict[str, float | None] = {}
    intervals = {}
    for name, found in (("rbdc", [clip.regions for clip in clips]), ("tbdc", [clip.tracks for clip in clips])):
        curve = _Curve(clips, found)
        area = curve.area(np.ones(len(clips), dtype=np.int64))
        values[name] = None if np.isnan(area) else area
        intervals[name] = interval(np.array([curve.area(draw) for draw in draws]))
    return values, intervals
