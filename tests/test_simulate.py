"""The simulation of cameras: what is known of queues holds of it."""

import numpy as np
import pytest

from scripts.simulate import simulate

HOW = {"segment": 60.0, "hours": 1.0, "node": 4, "found": 40.0, "back": 600.0, "seed": 3}


def test_the_same_seed_gives_the_same_and_another_does_not():
    one, same, other = (simulate(50, 30, 30.0, **{**HOW, "seed": seed}) for seed in (3, 3, 4))
    assert np.array_equal(one.before, same.before)
    assert not np.array_equal(one.before, other.before)


def test_workers_are_busy_as_much_as_is_asked_of_them():
    of = simulate(100, 80, 30.0, **HOW)
    assert of.busy == pytest.approx(100 * 30 / 60 / 80, rel=0.03)


def test_segments_wait_where_there_are_too_few_workers_and_not_where_each_has_its_own():
    assert simulate(50, 20, 30.0, **HOW).after.mean() > 300
    plenty = simulate(50, 200, 30.0, **HOW)
    assert plenty.before.max() == 0
    assert plenty.recovered is not None


def test_a_lost_node_costs_what_it_had_begun_and_is_made_up_for():
    of = simulate(100, 56, 30.0, **HOW)
    assert 1 <= of.again <= HOW["node"]
    assert np.percentile(of.after, 99) > np.percentile(of.before, 99)
    assert of.recovered is not None
    assert of.recovered < 1800
