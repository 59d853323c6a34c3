"""What is normal of a measurement, and how unusual another is: by hand-computed numbers."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vadlib.scoring.calibration import (
    LEVELS,
    Normal,
    Statistics,
    fit_normal,
    fit_statistics,
    rarity,
    standardised,
    strangeness,
    surprise,
)
from vadlib.settings import PAPER, ScoreSettings


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


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [3.0, 3.0, 3.0]])
def test_values_without_spread_cannot_calibrate(values):
    with pytest.raises(ValueError, match=f"{len(values)} values without spread"):
        fit_normal(np.array(values, np.float32))


def test_what_is_normal_of_four_values_by_hand():
    """Median 2.5, mean 4, the larger of which makes the offset."""
    values = np.array([1.0, 2.0, 3.0, 10.0])
    found = fit_normal(values)
    logs = [math.log(v + 0.004) for v in values]
    assert (found.mean, found.offset, found.cubes) == (4.0, 0.004, 4)
    assert found.std == pytest.approx(math.sqrt((9 + 4 + 1 + 36) / 4))
    assert found.log_mean == pytest.approx(sum(logs) / 4)
    assert found.quantiles[0] == pytest.approx(logs[0])
    # The 0.9 quantile is 0.7 of the way from the third to the fourth; what is beyond it is the fourth alone.
    assert found.quantiles[-1] == pytest.approx(logs[2] + 0.7 * (logs[3] - logs[2]))
    assert found.excess == pytest.approx(0.3 * (logs[3] - logs[2]))


# A measurement whose logarithm (the offset is next to nothing) is uniform in 0 to 0.9 up to the 0.9 quantile.
UNIFORM = Normal(1.0, 1.0, 0.5, 0.25, 1e-12, tuple(LEVELS.tolist()), 0.2, 1000)


def of_logs(*logs: float) -> np.ndarray:
    return np.exp(np.array(logs))


def test_up_to_the_tail_the_share_is_read_off_the_normal_measurements():
    """Half are as large as the middle one or larger: -log 0.5; a quarter as its third quarter."""
    np.testing.assert_allclose(
        surprise(of_logs(-3, 0, 0.5, 0.75), UNIFORM), [0, 0, math.log(2), math.log(4)], atol=1e-9
    )


def test_the_tail_begins_where_the_share_is_a_tenth_and_does_not_jump():
    low, at, high = surprise(of_logs(0.9 - 1e-9, 0.9, 0.9 + 1e-9), UNIFORM)
    assert at == pytest.approx(math.log(10))
    assert high - low < 1e-7


def test_beyond_it_the_share_is_a_power_of_the_value():
    """The excess is 0.2: each e^0.2 = 1.22 times the value makes it e times as rare."""
    found = surprise(of_logs(0.9, 1.1, 1.3, 2.9), UNIFORM) - math.log(10)
    np.testing.assert_allclose(found, [0, 1, 2, 10], atol=1e-9)


def test_the_tail_of_a_pareto_distribution_is_found_again():
    """P(X > x) = x^-2 from 1 on: the shares of 2, 10 and 100 are 1/4, 1/100 and 1/10,000."""
    values = np.random.default_rng(0).pareto(2, 200_000) + 1
    found = surprise(np.array([2.0, 10.0, 100.0]), fit_normal(values))
    np.testing.assert_allclose(found, [math.log(4), math.log(100), math.log(10_000)], rtol=0.03)


def test_of_many_that_stand_still_none_is_unusual():
    """Half of all measurements are 0: all are as large or larger."""
    values = np.concatenate([np.zeros(500), np.linspace(1, 2, 500)])
    found = surprise(np.array([0.0, 1.0, 1.5]), fit_normal(values))
    assert found[0] == 0
    np.testing.assert_allclose(found[1:], [math.log(2), math.log(4)], atol=0.05)  # between two levels


@given(
    normal=st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=60).filter(lambda v: min(v) != max(v)),
    others=st.lists(st.floats(0, 1e9, width=32), min_size=2, max_size=20),
)
def test_the_larger_is_never_the_less_unusual(normal, others):
    found = surprise(np.sort(np.array(others, np.float32)), fit_normal(np.array(normal, np.float32)))
    assert (found >= 0).all()
    assert np.isfinite(found).all()
    assert (np.diff(found) >= -1e-9).all()


def test_nothing_is_strange_of_which_there_is_one_in_e():
    usual, strange = strangeness("raw", of_logs(0.5, 1.1), UNIFORM)
    assert usual == 0  # one in two
    assert strange == pytest.approx(math.log(10))  # a tenth of a tenth of e: log 10 + 1 - 1


def test_to_wait_for_a_while_is_less_strange_than_anything_else_as_rare():
    found = [strangeness(name, of_logs(1.1), UNIFORM)[0] for name in ("raw", "dwell")]
    assert found == pytest.approx([math.log(10), math.log(10) - 1])


def test_equal_values_calibrate_where_a_least_spread_is_given():
    """So that footage in which nobody stands still says what waiting is long."""
    found = fit_normal(np.full(50, 4.0), 0.2)
    assert (found.excess, found.log_std, found.std) == (0.2, 0.2, pytest.approx(0.8))
    assert fit_normal(np.array([4.0, 4.0, 400.0]), 0.2).excess > 0.2
    same, longer = surprise(np.array([4.0, 4.0 * math.exp(0.4)]), found)
    assert (same, longer) == (0, pytest.approx(math.log(10) + 2, rel=1e-3))


def test_one_in_how_many_is_as_strange():
    assert rarity("raw", 0) == 1
    assert rarity("raw", math.log(20) - 1) == pytest.approx(20)
    assert rarity("dwell", math.log(20) - 2) == pytest.approx(20)
    assert rarity("raw", strangeness("raw", of_logs(0.75), UNIFORM)[0]) == pytest.approx(4)
    assert math.isfinite(rarity("raw", 1e4))


# One evidence's part of a score

NORMAL = replace(UNIFORM, mean=100.0, std=50.0, log_mean=2.0, log_std=0.5)
STATISTICS = {"raw": Statistics(10, 2, 5)}
ERRORS = np.array([14.0, 9.0], np.float32)


def part(name: str, how: ScoreSettings, statistics=STATISTICS) -> list[float]:
    return standardised(name, ERRORS, how, NORMAL, statistics).tolist()


def test_the_papers_z_is_by_the_training_cubes():
    """(14 - 10) / 2 and (9 - 10) / 2 (III-E)."""
    assert part("raw", PAPER) == [2.0, -0.5]


def test_any_other_z_is_by_held_out_footage():
    """(14 - 100) / 50: of what has no statistics, and of the other kind of error."""
    assert part("speed", PAPER) == part("raw", PAPER.model_copy(update={"error": "median"})) == [-1.72, -1.82]


def test_log_z_standardises_logarithms():
    how = PAPER.model_copy(update={"calibration": "log_z"})
    assert part("raw", how) == pytest.approx([(math.log(14) - 2) / 0.5, (math.log(9) - 2) / 0.5])


def test_tail_is_minus_log_p_beyond_what_is_usual():
    assert part("raw", ScoreSettings()) == strangeness("raw", ERRORS, NORMAL).tolist()


@pytest.mark.parametrize("calibration", ["log_z", "tail"])
def test_a_measurement_of_nothing_has_a_finite_part(calibration):
    how = ScoreSettings(calibration=calibration)
    assert np.isfinite(standardised("speed", np.zeros(3, np.float32), how, NORMAL, {})).all()
