"""Floors learn nothing, and are as high as that allows."""

import numpy as np

from vadlib.evaluation.floors import HALF_LIFE, floor_scores


def test_floors_by_hand():
    """Two objects that stand where they are, three frames, the last without the second."""
    frame = np.array([0, 0, 1, 1, 3])
    boxes = np.array([[0, 0, 10, 20], [50, 0, 60, 20]] * 2 + [[0, 0, 10, 20]], np.float32)
    flow = {
        "magnitude": np.array([1, 2, 3, 1, 5], np.float32),
        "cube_flow": np.array([4, 1, 2, 3, 6], np.float32),
        "trunk_flow": np.array([8, 0, 0, 0, 0], np.float32),
    }
    found = floor_scores(frame, boxes, flow, 5)
    w = 0.5 ** (np.arange(5) / HALF_LIFE)
    np.testing.assert_array_equal(found["box"], [2, 3, np.nan, 5, np.nan])
    np.testing.assert_array_equal(found["cube"], [4, 3, np.nan, 6, np.nan])
    first = [4, (2 + 4 * w[1]) / (1 + w[1]), np.nan, (6 + 2 * w[2] + 4 * w[3]) / (1 + w[2] + w[3]), np.nan]
    np.testing.assert_allclose(found["cube along its track"], first)
    trunk = [8, 8 * w[1] / (1 + w[1]), np.nan, 8 * w[3] / (1 + w[2] + w[3]), np.nan]
    np.testing.assert_allclose(found["trunk along its track"], trunk)


def test_a_floor_does_not_begin_at_nothing():
    """As scores along tracks do: a mean of equal values is that value from the first frame on."""
    frame, boxes = np.arange(9), np.tile(np.array([0, 0, 10, 20], np.float32), (9, 1))
    flow = {name: np.full(9, 2.5, np.float32) for name in ("magnitude", "cube_flow", "trunk_flow")}
    for name, scores in floor_scores(frame, boxes, flow, 9).items():
        np.testing.assert_allclose(scores, 2.5, err_msg=name)
