"""Reasons, word by word."""

import math

import pytest

from vadlib.scoring.calibration import usual
from vadlib.scoring.words import WORDS, reason
from vadlib.settings import EvidenceName


@pytest.mark.parametrize(
    ("rarities", "sentence"),
    [
        ({}, ""),
        ({"speed": 19}, ""),
        ({"speed": 20}, "It is as fast as 1 in 20 normal objects"),
        ({"speed": 1234, "raw": 5}, "It is as fast as 1 in 1,200 normal objects"),
        (
            {"raw": 40, "looks": 987, "speed": 21},
            "It looks as unlike all that was seen as 1 in 990 normal objects; "
            "in detail it looks as unusual as 1 in 40 normal objects",
        ),
        ({"flow": 1e30}, "It moves as oddly for its looks as fewer than 1 in 57,000 normal objects"),
        ({"place": 56_788}, "It is as far from where such objects are as 1 in 57,000 normal objects"),
        ({"dwell": 20}, "It has been there for as long as 1 in 20 normal objects"),
    ],
)
def test_a_reason_names_the_two_strongest_that_are_worth_saying(rarities, sentence):
    parts = {name: max(0, math.log(often) - usual(name) + 1e-9) for name, often in rarities.items()}
    assert reason(parts, 56_789) == sentence


def test_every_evidence_has_words():
    assert set(WORDS) == set(EvidenceName.__args__)


def test_reasons_fit_a_cell_of_a_csv():
    """They are written between quotation marks, as ASCII."""
    for name in WORDS:
        found = reason({name: 1e3}, 10)
        assert found.isascii()
        assert '"' not in found
        assert "\n" not in found
