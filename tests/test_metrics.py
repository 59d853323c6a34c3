"""Metrics by hand-computed cases."""

import numpy as np
import pytest

from vadlib.metrics import (
    equal_error_rate,
    evaluate_frames,
    macro_auroc,
    micro_auroc,
    rank_empty_frames_last,
    roc_points,
)

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


def test_smoothing_stays_inside_a_clip():
    labels = [np.array([0] * 30, bool), np.array([1] * 30, bool)]
    scores = [np.zeros(30), np.ones(30)]
    for smoothed in evaluate_frames(labels, scores)["smoothed"].values():
        assert smoothed["micro"] == 1.0


def test_the_smoothed_variants_do_smooth():
    rng = np.random.default_rng(0)
    labels = [np.arange(200) >= 100]
    scores = [labels[0] + rng.normal(0, 2, 200)]
    metrics = evaluate_frames(labels, scores)
    assert all(v["micro"] > metrics["auroc"]["micro"] + 0.1 for v in metrics["smoothed"].values())


def test_the_roc_keeps_its_ends_however_few_points():
    rng = np.random.default_rng(0)
    labels = [rng.random(5000) < 0.5]
    fpr, tpr = roc_points(labels, [rng.normal(size=5000)], most=50)
    assert len(fpr) <= 50
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
