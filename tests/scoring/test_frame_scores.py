"""Eq. (3), and the mean of the highest, by hand."""

import numpy as np

from vadlib.scoring.frames import frame_scores

FRAME, SCORES = np.array([0, 2, 2, 2]), np.array([-1.5, 0.5, 7.0, -2.0])


def test_a_frames_score_is_the_maximum_over_its_cubes():
    scores, cubes = frame_scores(FRAME, SCORES, frames=4)
    np.testing.assert_array_equal(scores, [-1.5, np.nan, 7.0, np.nan])
    np.testing.assert_array_equal(cubes, [1, 0, 3, 0])


def test_or_the_mean_of_its_highest_of_which_there_may_be_fewer():
    """(7 + 0.5) / 2; all three are 5.5 / 3; a single one is itself."""
    for top, of_three in ((2, 3.75), (3, 5.5 / 3), (9, 5.5 / 3)):
        scores, cubes = frame_scores(FRAME, SCORES, frames=4, top=top)
        np.testing.assert_allclose(scores, [-1.5, np.nan, of_three, np.nan])
        np.testing.assert_array_equal(cubes, [1, 0, 3, 0])


def test_the_order_of_a_frames_cubes_does_not_matter():
    order = np.array([3, 1, 0, 2])
    for top in (1, 2, 3):
        np.testing.assert_array_equal(
            frame_scores(FRAME[order], SCORES[order], 4, top)[0], frame_scores(FRAME, SCORES, 4, top)[0]
        )


def test_a_clip_without_a_single_box_has_no_scores():
    for top in (1, 2):
        scores, cubes = frame_scores(np.array([], int), np.array([]), frames=2, top=top)
        assert np.isnan(scores).all()
        assert not cubes.any()
