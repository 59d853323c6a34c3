"""Statistics and calibration on their way to JSON and back, and what else a file may hold."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from vadlib.errors import VadError
from vadlib.scoring.calibration import Calibration, Statistics, fit_normal
from vadlib.scoring.kept import calibration_from, calibration_json, check_calibrated, statistics_from
from vadlib.scoring.thresholds import set_threshold
from vadlib.settings import DatasetSettings, ScoreSettings

FILE, BY = Path("calibration.json"), "`make it`"
VALUES = np.random.default_rng(0).exponential(size=200).astype(np.float32)
NAMES = (
    "raw",
    "raw_median",
    "flow",
    "flow_median",
    "speed",
    "velocity",
    "looks",
    "place",
    "dwell",
    "cube_flow",
    "trunk_flow",
)
NORMAL = {name: fit_normal(VALUES * (1 + index)) for index, name in enumerate(NAMES)}
THRESHOLDS = {
    "best": set_threshold([VALUES], 0.01, [25.0], 17),
    "paper": set_threshold([VALUES], 0.01, [None], 1),
}
CALIBRATION = Calibration({1 / 300: NORMAL, 0.0: NORMAL}, THRESHOLDS)


def written() -> dict:
    return json.loads(json.dumps(calibration_json(CALIBRATION), allow_nan=False))


def test_a_calibration_comes_back_to_the_last_bit():
    """Also for an eta of many digits, and a threshold of footage whose rate is not known."""
    assert calibration_from(written(), FILE, BY) == CALIBRATION


def changed(*keys: str, to) -> dict:
    """What was written, with a value in it changed, or taken out."""
    content = copy.deepcopy(written())
    group = content
    for key in keys[:-1]:
        group = group[key]
    if to is KeyError:
        del group[keys[-1]]
    else:
        group[keys[-1]] = to
    return content


RAW = ("normal", "0.0", "raw")
BEST = ("thresholds", "best")
LEVELS = [float(q) for q in NORMAL["raw"].quantiles]

DAMAGED = {
    "nothing": None,
    "a number": 3,
    "text": "normal",
    "a list": [],
    "an empty object": {},
    "no normal": changed("normal", to=KeyError),
    "normal a list": changed("normal", to=[NORMAL["raw"].mean]),
    "an eta that is no number": changed("normal", "high", to={}),
    "an eta's normal a number": changed("normal", "0.0", to=1.0),
    "an eta's normal text": changed("normal", "0.0", to="raw"),
    "a measurement's normal a list": changed(*RAW, to=[1, 2]),
    "a measurement's normal null": changed(*RAW, to=None),
    "a number missing": changed(*RAW, "excess", to=KeyError),
    "a number too many": changed(*RAW, "colour", to=1.0),
    "a number as text": changed(*RAW, "mean", to="1.0"),
    "a truth for a number": changed(*RAW, "mean", to=True),
    "null for a number": changed(*RAW, "std", to=None),
    "a list for a number": changed(*RAW, "std", to=[1.0]),
    "not a number": changed(*RAW, "log_std", to=float("nan")),
    "infinity": changed(*RAW, "log_mean", to=float("inf")),
    "no spread": changed(*RAW, "std", to=0.0),
    "no spread of logarithms": changed(*RAW, "log_std", to=0),
    "no tail": changed(*RAW, "excess", to=-0.1),
    "no offset": changed(*RAW, "offset", to=0.0),
    "quantiles a number": changed(*RAW, "quantiles", to=1.0),
    "no quantiles": changed(*RAW, "quantiles", to=[]),
    "quantiles too few": changed(*RAW, "quantiles", to=LEVELS[1:]),
    "quantiles of text": changed(*RAW, "quantiles", to=["1.0"] * len(LEVELS)),
    "quantiles of lists": changed(*RAW, "quantiles", to=[LEVELS] * len(LEVELS)),
    "quantiles that fall": changed(*RAW, "quantiles", to=LEVELS[::-1]),
    "quantiles with a hole": changed(*RAW, "quantiles", to=[*LEVELS[:-1], float("nan")]),
    "no thresholds": changed("thresholds", to=KeyError),
    "thresholds null": changed("thresholds", to=None),
    "a configuration missing": changed("thresholds", "paper", to=KeyError),
    "a threshold of text": changed(*BEST, "value", to="high"),
    "a threshold of a list": changed(*BEST, "value", to=[1.0]),
    "no threshold": changed(*BEST, "value", to=None),
    "a threshold of infinity": changed(*BEST, "value", to=float("inf")),
    "a threshold's key missing": changed(*BEST, "wanted", to=KeyError),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_calibration_is_one_line(damage):
    with pytest.raises(VadError) as caught:
        calibration_from(DAMAGED[damage], FILE, BY)
    line = str(caught.value)
    assert line.startswith("calibration.json: damaged (")
    assert line.endswith("); make it again with `make it`")
    assert "\n" not in line


def test_a_calibration_of_what_is_scored_is_enough():
    settings = DatasetSettings(eta=(0.0, 1 / 300))
    check_calibrated(CALIBRATION, settings, settings.eta, FILE, BY)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("cube_flow", "trunk_flow")])
def test_a_measurement_or_an_eta_that_was_not_calibrated_is_one_line(name):
    settings = DatasetSettings()
    without = Calibration({0.002: {n: normal for n, normal in NORMAL.items() if n != name}}, THRESHOLDS)
    line = rf"^calibration.json: does not say what is normal of {name} at eta 0.002; make it with `make it`$"
    with pytest.raises(VadError, match=line):
        check_calibrated(without, settings, [0.002], FILE, BY)
    with pytest.raises(VadError, match=r"at eta 0.5; make it with `make it`$"):
        check_calibrated(CALIBRATION, settings, [0.5], FILE, BY)


def test_a_branch_that_is_not_used_needs_no_calibration():
    raw = ScoreSettings(evidence=("raw",))
    without = Calibration({0.0: {n: normal for n, normal in NORMAL.items() if "flow" not in n}}, THRESHOLDS)
    check_calibrated(without, DatasetSettings(best=raw, paper=raw), [0.0], FILE, BY)


GOOD = {"raw": {"mean": 1.0, "std": 2, "cubes": 3}, "flow": {"mean": -1.0, "std": 0.5, "cubes": 3}}


def test_statistics_are_those_of_the_branches_asked_for():
    found = statistics_from(GOOD, ("raw",), FILE, BY)
    assert found == {"raw": Statistics(1.0, 2, 3)}


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {},
        {"raw": None},
        {"raw": [1, 2, 3]},
        {"raw": {**GOOD["raw"], "std": [2]}},
        {"raw": {**GOOD["raw"], "std": "2"}},
        {"raw": {**GOOD["raw"], "std": float("nan")}},
        {"raw": {**GOOD["raw"], "std": 0}},
        {"raw": {**GOOD["raw"], "std": -1.0}},
        {"raw": {"mean": 1.0, "std": 2}},
    ],
)
def test_damaged_statistics_are_one_line(content):
    with pytest.raises(VadError, match=r"^calibration.json: .*; make it again with `make it`$") as caught:
        statistics_from(content, ("raw",), FILE, BY)
    assert "\n" not in str(caught.value)


def test_a_threshold_that_is_kept_is_what_it_was():
    assert calibration_from(written(), FILE, BY).thresholds == THRESHOLDS
