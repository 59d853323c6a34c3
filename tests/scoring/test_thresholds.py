"""Thresholds keep what they promise, and say when they cannot."""

import math

import numpy as np
import pytest

from vadlib.scoring.thresholds import count_alarms, set_threshold


@pytest.mark.parametrize("promised", [0.1, 0.01, 0.001])
def test_the_promised_share_of_normal_frames_is_above(promised):
    """Of 20,000 exponential scores the threshold is log(1 / promised), up to chance; pieces are of one kind, and so
    the allowance for another piece is that of chance alone."""
    scores = np.random.default_rng(0).exponential(size=20_000)
    found = set_threshold([scores], promised, [25.0], 17)
    assert found.value == pytest.approx(math.log(1 / promised), rel=0.03)
    assert found.above == pytest.approx(promised, rel=0.25)
    assert found.value <= set_threshold(np.split(scores, 4), promised, [25.0] * 4, 17).value < 1.07 * found.value
    fresh = np.random.default_rng(1).exponential(size=1_000_000)
    assert (fresh > found.value).mean() == pytest.approx(promised, rel=0.25)


def test_a_threshold_by_hand():
    """Of 0 to 10 the 0.9 quantile is 9, the mean excess of what is beyond it 1: of 1 % the threshold is 9 + log 10."""
    found = set_threshold([np.arange(11.0)[::-1]], 0.01, [10.0], 17)
    assert found.value == pytest.approx(9 + math.log(10))
    assert (found.median, found.promised, found.above, found.frames) == (5.0, 0.01, 0.0, 11)
    assert found.alarms_per_hour == 0


def test_pieces_that_differ_put_the_threshold_where_one_more_would_keep_it():
    """Thresholds of 10, 12 and 14 of a tenth: mean 12, deviation 2; Student's t of 2 degrees at 0.8 is 1.0607."""
    pieces = [np.concatenate([np.linspace(top - 9, top, 91), np.full(10, top)]) for top in (10.0, 12.0, 14.0)]
    found = set_threshold(pieces, 0.1, [10.0] * 3, 1)
    assert found.value == pytest.approx(12 + 1.0607 * 2 * math.sqrt(4 / 3), abs=1e-3)
    alike = set_threshold([pieces[0]] * 3, 0.1, [10.0] * 3, 1)
    assert alike.value == set_threshold([pieces[0]], 0.1, [10.0], 1).value == 10
    # Too short to have one of its own.
    assert set_threshold([pieces[0], pieces[2][-10:]], 0.1, [10.0] * 2, 1).value == pytest.approx(10)


def test_a_tenth_is_the_quantile_itself():
    found = set_threshold([np.arange(11.0)], 0.1, [10.0], 1)
    assert found.value == 9
    assert found.above == pytest.approx(1 / 11)


def test_frames_without_boxes_promise_nothing():
    with_gaps = np.array([np.nan, 1.0, np.nan, 2.0, 3.0])
    assert set_threshold([with_gaps], 0.05, [1.0], 1).frames == 3
    with pytest.raises(ValueError, match="no held-out frame has a box"):
        set_threshold([np.full(4, np.nan)], 0.01, [25.0], 1)
    with pytest.raises(ValueError, match="no held-out frame has a box"):
        set_threshold([], 0.01, [], 1)


def test_scores_that_are_all_alike_are_not_anomalous():
    found = set_threshold([np.ones(50)], 0.01, [25.0], 1)
    assert (found.value, found.above) == (1.0, 0.0)


def test_there_is_enough_footage_where_each_promised_frame_has_its_horizon():
    """17 frames that say little more than one, of 1 in 100: 1,700."""
    scores = np.random.default_rng(0).exponential(size=1700)
    assert set_threshold([scores], 0.01, [25.0], 17).wanted == 1700
    assert set_threshold([scores[:100]], 0.01, [25.0], 1).wanted <= 100


def flags(frames: int, *at: int) -> np.ndarray:
    found = np.zeros(frames, bool)
    found[list(at)] = True
    return found


@pytest.mark.parametrize(
    ("at", "rate", "alarms"),
    [
        ([], 10, 0),
        ([3], 10, 1),
        ([3, 4, 5], 10, 1),
        ([3, 13], 10, 1),  # a second apart
        ([3, 14], 10, 2),
        ([3, 14], 25, 1),
        ([0, 20, 40, 99], 10, 4),
    ],
)
def test_alarms_are_runs_and_a_short_gap_ends_none(at, rate, alarms):
    assert count_alarms(flags(100, *at), rate) == alarms


def test_alarms_per_hour_are_of_the_held_out_footage():
    """Two pieces of 50 frames at 10 a second: 10 seconds; one alarm in each, though they follow one another."""
    piece = np.zeros(50)
    piece[-1], other = 100.0, np.zeros(50)
    other[0] = 100.0
    found = set_threshold([piece, other], 0.1, [10.0, 10.0], 1)
    assert found.alarms_per_hour == 720
    assert set_threshold([piece, other], 0.1, [10.0, None], 1).alarms_per_hour is None
