"""Section III-E by hand-computed numbers."""

import math

import numpy as np
import pytest
from vadlib.scoring.scores import Statistics, anomaly_scores, fit_statistics, frame_scores


def test_statistics_are_those_of_all_batches_together():
    found = fit_statistics(iter([np.array([1.0, 3.0]), np.array([]), np.array([5.0])]))
    assert found == Statistics(mean=3.0, std=math.sqrt(8 / 3), cubes=3)


def test_statistics_of_large_errors_keep_their_spread():
    errors = 1e8 + np.arange(1000) / 1000
    found = fit_statistics(np.array_split(errors, 7))
    assert found.std == pytest.approx(errors.std(), rel=1e-6)


@pytest.mark.parametrize("errors", [[], [[2.0, 2.0]]])
def test_errors_without_spread_cannot_standardise(errors):
    with pytest.raises(ValueError, match="without spread"):
        fit_statistics(map(np.array, errors))


STATISTICS = {"raw": Statistics(10, 2, 5), "flow": Statistics(100, 50, 5)}
ERRORS = {"raw": np.array([14.0, 9.0]), "flow": np.array([50.0, 200.0])}


def test_s_is_the_weighted_sum_of_standardised_errors():
    """0.3 (14 - 10)/2 + 1 (50 - 100)/50 = -0.4, and 0.3 (9 - 10)/2 + 1 (200 - 100)/50 = 1.85."""
    scores = anomaly_scores(ERRORS, STATISTICS, {"raw": 0.3, "flow": 1.0})
    np.testing.assert_allclose(scores, [-0.4, 1.85])


def test_one_branch_alone_scores_alone():
    np.testing.assert_allclose(anomaly_scores(ERRORS, STATISTICS, {"flow": 2.0}), [-2, 4])


def test_a_frames_score_is_the_maximum_over_its_cubes():
    scores, cubes = frame_scores(np.array([0, 2, 2, 2]), np.array([-1.5, 0.5, 7.0, -2.0]), frames=4)
    np.testing.assert_array_equal(scores, [-1.5, np.nan, 7.0, np.nan])
    np.testing.assert_array_equal(cubes, [1, 0, 3, 0])


def test_a_clip_without_a_single_box_has_no_scores():
    scores, cubes = frame_scores(np.array([], int), np.array([]), frames=2)
    assert np.isnan(scores).all()
    assert not cubes.any()
