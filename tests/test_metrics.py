"""Metrics by hand-computed cases."""

import numpy as np
import pytest

from vadlib.evaluation.frames import (
    RESAMPLES,
    apart,
    apart_auroc,
    clip_draws,
    equal_error_rate,
    evaluate_frames,
    frame_intervals,
    macro_auroc,
    micro_auroc,
    rank_empty_frames_last,
    roc_points,
    smoothed_aurocs,
)
from vadlib.pipeline.evaluate import false_alarms
from vadlib.scoring.thresholds import Threshold

LABELS = [np.array([0, 0, 1, 1], bool), np.array([0, 1], bool), np.array([0, 0], bool)]
SCORES = [np.array([1.0, 4.0, 3.0, 5.0]), np.array([9.0, 2.0]), np.array([0.0, 0.5])]


def test_micro_pools_all_frames():
    """Anomalous 3, 5, 2 against normal 1, 4, 9, 0, 0.5: pairs won 4 - 1 = 3 (3 beats 1, 0, 0.5), 4 and 3 of 15."""
    assert micro_auroc(LABELS, SCORES) == pytest.approx((3 + 4 + 3) / 15)


def test_macro_is_the_mean_of_clips_that_have_both_classes():
    assert macro_auroc(LABELS, SCORES) == pytest.approx((3 / 4 + 0) / 2)


def test_a_metric_of_one_class_does_not_exist():
    metrics = evaluate_frames(LABELS[2:], SCORES[2:])
    assert metrics["auroc"] == {"micro": None, "macro": None}
    assert metrics["average_precision"] is None
    assert metrics["equal_error_rate"] is None


def test_a_frame_without_boxes_ranks_below_every_frame_with_boxes():
    ranked = rank_empty_frames_last([np.array([-7.0, np.nan]), np.array([np.nan, 2.0])])
    assert ranked[0][1] == ranked[1][0] < -7.0


def test_footage_without_a_single_box_ranks_all_frames_alike():
    assert micro_auroc([np.array([0, 1], bool)], rank_empty_frames_last([np.full(2, np.nan)])) == 0.5


def test_equal_error_rate_where_a_threshold_hits_it():
    """One of four anomalous frames below, one of four normal frames above the threshold."""
    labels = np.array([0, 0, 0, 1, 0, 1, 1, 1], bool)
    assert equal_error_rate(labels, np.arange(8.0)) == pytest.approx(0.25)


def test_equal_error_rate_between_two_thresholds():
    """ROC (0, 0), (0, 0.5), (1, 0.5), (1, 1): rates meet on the flat piece, at a false positive rate of 0.5."""
    assert equal_error_rate(np.array([1, 0, 1], bool), np.array([3.0, 2.0, 1.0])) == pytest.approx(0.5)


THRESHOLD = Threshold(1.0, 0.0, 0.01, 0.0, None, 10, 10)


def test_false_alarms_are_of_normal_frames_and_recall_of_anomalous_ones() -> None:
    """Of 6 normal frames 2 are above, a frame without boxes is not; of 4 anomalous ones 1 is. Two alarms in 6 frames of
    a second each: the first anomaly does not join what is before and after it."""
    labels = [np.array([0, 1, 1, 0, 0, 0], bool), np.array([1, 1, 0, 0], bool)]
    scores = [np.array([2.0, 1.5, 1.0, 9.0, np.nan, 0.0]), np.array([0.0, np.nan, 1.0, 0.5])]
    assert false_alarms(labels, scores, THRESHOLD, [1.0, 1.0], 0) == {
        "promised": 0.01,
        "measured": pytest.approx(2 / 6),
        "apart": pytest.approx(2 / 6),
        "recall": 0.25,
        "alarms_per_hour": 1200.0,
    }
    assert false_alarms(labels, scores, THRESHOLD, [1.0, None], 0)["alarms_per_hour"] is None


def test_of_normal_frames_apart_no_anomalous_one_is_within_reach() -> None:
    labels = [np.array([0, 0, 0, 1, 0, 0, 0, 0], bool), np.array([1, 1], bool), np.zeros(3, bool)]
    scores = [np.array([0.0, 5, 6, 9, 6, 5, 4, 0]), np.array([7.0, 3.0]), np.array([2.0, np.nan, 0])]
    found = [np.flatnonzero(of_clip).tolist() for of_clip in apart(labels, 2)]
    assert found == [[0, 6, 7], [], [0, 1, 2]]
    assert false_alarms(labels, scores, THRESHOLD, [1.0] * 3, 2)["apart"] == pytest.approx(2 / 6)
    # 9, 7 and 3 against 0, 4, 0, 2, none, 0; in the first clip 9 against three; the others have one class
    assert apart_auroc(labels, scores, 2) == {"micro": pytest.approx(17 / 18), "macro": 1.0}


def test_of_one_class_the_other_share_does_not_exist() -> None:
    normal, scores = [np.zeros(2, bool)], [np.array([0.0, 3.0])]
    assert false_alarms(normal, scores, THRESHOLD, [1.0], 2)["recall"] is None
    assert false_alarms([~normal[0]], scores, THRESHOLD, [1.0], 2) == {
        "promised": 0.01, "measured": None, "apart": None, "recall": 0.5, "alarms_per_hour": None,
    }  # fmt: skip


def test_smoothing_stays_inside_a_clip():
    labels = [np.array([0] * 30, bool), np.array([1] * 30, bool)]
    scores = [np.zeros(30), np.ones(30)]
    for smoothed in smoothed_aurocs(labels, scores).values():
        assert smoothed["micro"] == 1.0


def test_the_smoothed_variants_do_smooth():
    rng = np.random.default_rng(0)
    labels = [np.arange(200) >= 100]
    scores = [labels[0] + rng.normal(0, 2, 200)]
    raw = micro_auroc(labels, scores)
    assert all(v["micro"] > raw + 0.1 for v in smoothed_aurocs(labels, scores).values())


def test_the_roc_keeps_its_ends_however_few_points():
    rng = np.random.default_rng(0)
    labels = [rng.random(5000) < 0.5]
    fpr, tpr = roc_points(labels, [rng.normal(size=5000)], most=50)
    assert len(fpr) <= 50
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)


def clips_of(seed: int, count: int, frames: int = 60) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Clips with scores of few distinct values, so that ties are many, and one frame without a box."""
    rng = np.random.default_rng(seed)
    labels = [rng.random(frames + i) < 0.4 for i in range(count)]
    scores = [np.round(found + rng.normal(0, 1 + i, len(found)), 1) for i, found in enumerate(labels)]
    scores[0][3] = np.nan
    return labels, scores


def test_a_resample_is_worth_its_clips_written_out() -> None:
    """Each metric of a weighed resample equals, by scikit-learn, that of the drawn clips put together."""
    labels, scores = clips_of(0, 4)
    ranked = rank_empty_frames_last(scores)
    for draw in ([1, 1, 1, 1], [0, 3, 1, 0], [2, 0, 0, 2]):
        clips = np.repeat(np.arange(4), draw)
        expected = evaluate_frames([labels[i] for i in clips], [ranked[i] for i in clips])
        found = frame_intervals(labels, scores, np.array([draw]))
        assert found["auroc.micro"].low == pytest.approx(expected["auroc"]["micro"])
        assert found["auroc.macro"].low == pytest.approx(expected["auroc"]["macro"])
        assert found["average_precision"].low == pytest.approx(expected["average_precision"])
        assert found["equal_error_rate"].low == pytest.approx(expected["equal_error_rate"])


def test_intervals_hold_the_value_and_are_the_same_every_time() -> None:
    labels, scores = clips_of(1, 6)
    value = micro_auroc(labels, rank_empty_frames_last(scores))
    one, other = (frame_intervals(labels, scores, clip_draws(6)) for _ in range(2))
    assert one == other
    assert one["auroc.micro"].low < value < one["auroc.micro"].high
    assert one["auroc.micro"].resamples == RESAMPLES


def test_an_interval_is_of_the_middle_95_per_cent_of_resamples() -> None:
    """Of two clips, with AUROC 0 and 1, a resample has the macro mean 0, 1/2 or 1: a quarter each end."""
    labels = [np.array([0, 1], bool)] * 2
    found = frame_intervals(labels, [np.array([0.0, 1.0]), np.array([1.0, 0.0])], clip_draws(2))
    assert (found["auroc.macro"].low, found["auroc.macro"].high) == (0, 1)


def test_equal_clips_leave_no_doubt() -> None:
    labels, scores = clips_of(2, 1)
    found = frame_intervals(labels * 3, scores * 3, clip_draws(3))
    assert found["auroc.micro"].low == pytest.approx(found["auroc.micro"].high)


def test_resamples_of_one_class_are_left_out_and_counted() -> None:
    """One clip of three has anomalies: (2/3)^3 of the resamples have none."""
    labels = [np.array([0, 1, 0], bool), np.zeros(3, bool), np.zeros(3, bool)]
    scores = [np.array([1.0, 2.0, 3.0])] * 3
    found = frame_intervals(labels, scores, clip_draws(3))
    for name in ("auroc.micro", "auroc.macro", "average_precision", "equal_error_rate"):
        assert found[name].resamples + found[name].left_out == RESAMPLES
        assert found[name].left_out == pytest.approx(RESAMPLES * 8 / 27, rel=0.2)


def test_no_resample_with_both_classes_is_no_interval() -> None:
    found = frame_intervals([np.zeros(4, bool)], [np.arange(4.0)], clip_draws(1))
    assert found["auroc.micro"].low is found["auroc.micro"].high is None
    assert found["auroc.micro"].left_out == RESAMPLES
