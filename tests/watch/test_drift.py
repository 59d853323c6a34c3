"""Drift: days of scores that are known to be the model's own, or to have moved, and what is said of them."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtr

from vadlib.footage.calibrate import Seconds, by_seconds, threshold_for
from vadlib.io.ownership import is_made
from vadlib.scoring.thresholds import Threshold, set_threshold
from vadlib.watch.drift import KEPT, Day, Drift, counts, day_of, judge, rows_of
from vadlib.watch.events import clock
from vadlib.watch.model import Model
from vadlib.watch.server import metric_lines
from vadlib.watch.store import Store

DAY = 86_400
BEGIN = 1_769_817_600.0  # 2026-01-31T00:00:00Z
OWN = Threshold(10.0, 2.0, 0.01, 0.01, 36.0, 10_000, 1000)  # by training: 1 % of frames
BY_ALARMS = replace(OWN, promised=0.5 / 3600, alarms_per_hour=0.5)  # by `vad calibrate`: an alarm in two hours


def model(own: Threshold = OWN, mark: str = "m") -> Model:
    scorer = SimpleNamespace(
        calibration=SimpleNamespace(thresholds={"best": own}), settings=SimpleNamespace(false_alarms=0.01)
    )
    return Model("day", mark, SimpleNamespace(scorer=scorer), own)


# Streams of scores


def stream(rng: np.random.Generator, days: int) -> Iterator[np.ndarray]:
    """A score a second, exponential, alike for some 20 s; hours and days have scales of their own."""
    state = np.zeros(1)
    keep = math.exp(-1 / 20)
    for _ in range(days):
        noise = rng.normal(size=DAY) * math.sqrt(1 - keep**2)
        gauss, state = lfilter([1], [1, -keep], noise, zi=state)
        hours = np.exp(0.1 * rng.normal(size=24)).repeat(3600)
        yield -np.log(ndtr(-gauss)) * hours * math.exp(0.1 * rng.normal())


def summed(scores: np.ndarray, own: Threshold) -> Day:
    above = scores > own.value
    alarms = int(above[0]) + int((np.diff(above.astype(int)) == 1).sum())
    minutes = int(above.reshape(-1, 60).any(axis=1).sum())
    return Day(DAY, len(scores), int(above.sum()), alarms, minutes, float(np.median(scores)))


@pytest.fixture(scope="module")
def own() -> dict[bool, Threshold]:
    """Thresholds as they are set by two days of the same scores: by training, and by `vad calibrate`."""
    hours = [hour for day in stream(np.random.default_rng(1), 2) for hour in day.reshape(24, 3600)]
    return {
        True: set_threshold(hours, 0.01, [1.0] * len(hours), 12),
        False: threshold_for([Seconds(hour, hour) for hour in hours], 1.0, 2 * DAY),
    }


def test_a_year_of_the_same_scores_is_no_drift(own):
    weeks = [{kind: summed(scores, own[kind]) for kind in own} for scores in stream(np.random.default_rng(2), 52 * 7)]
    for kind in own:
        days = [day[kind] for day in weeks]
        assert sum(day.alarms for day in days) > 1000  # there is something to be wrong about
        said = [judge(days[:end], own[kind], by_frames=kind).state for end in range(1, len(days) + 1)]
        assert said == ["unknown"] * 2 + ["none"] * (len(days) - 2)


@pytest.mark.parametrize("by_frames", [True, False])
@pytest.mark.parametrize(("shift", "said"), [(0.0, "none"), (2.0, "calibrate"), (8.0, "update")])
def test_scores_that_have_moved_are_told_of_within_a_week(own, by_frames, shift, said):
    days = [summed(scores + shift, own[by_frames]) for scores in stream(np.random.default_rng(3), 7)]
    found = judge(days, own[by_frames], by_frames=by_frames)
    assert (found.state, found.days) == (said, 7)
    assert ("in the last" in found.why) == (said != "none")


# One rule at a time


def of_days(*shares: float, alarms: int = 40, median: float = 2.0) -> list[Day]:
    return [Day(DAY, 100_000, round(100_000 * share), alarms, 200, median) for share in shares]


@pytest.mark.parametrize(
    ("days", "own", "state", "why"),
    [
        (of_days(0.05, 0.05), OWN, "unknown", ""),  # two days are none
        (of_days(0.01, 0.012, 0.008, 0.011), OWN, "none", ""),
        (of_days(0.01, 0.09, 0.01, 0.012), OWN, "none", ""),  # one windy day
        (of_days(0.05, 0.06, 0.055), OWN, "calibrate", "5.50% of frames with objects were above the threshold, and"),
        (of_days(0.01, 0.01, 0.01, 0.05, 0.06, 0.055), OWN, "calibrate", "in the last 3 days 5.50%"),
        (of_days(0.3, 0.33, 0.35), OWN, "update", "33% of frames with objects were above the threshold"),
        (of_days(*[0.0002] * 4, alarms=12), BY_ALARMS, "none", ""),
        (of_days(*[0.0002] * 4, alarms=40), BY_ALARMS, "calibrate", "1.7 alarms an hour, and 0.5 are promised"),
        (of_days(*[0.01] * 4, median=5.9), OWN, "none", ""),
        (of_days(*[0.01] * 4, median=6.5), OWN, "calibrate", "half of the scores were above 6.5, and above 2 once"),
        (of_days(*[0.0] * 4, median=-2.5), OWN, "calibrate", "half of the scores were above -2.5"),
    ],
)  # fmt: skip
def test_each_verdict_has_its_rule_and_says_why(days, own, state, why):
    found = judge(days, own, by_frames=own is OWN)
    assert found.state == state
    assert why in found.why


def test_what_would_be_as_rare_by_chance_is_no_drift():
    few = [replace(day, minutes=3) for day in of_days(*[0.0002] * 3, alarms=30)]
    assert judge(few, BY_ALARMS, by_frames=False).state == "none"


def test_a_camera_that_saw_nobody_has_not_drifted():
    (day,) = of_days(0.01)
    assert counts(day)
    assert not counts(replace(day, frames=300))
    assert not counts(replace(day, seconds=2 * 3600))


# On disk


def watched(store: Store, days: int, *, score: float, of: Model, begin: float = BEGIN) -> Drift:
    """Days of a frame each 5 s, a tenth of them of this score, with nobody there a fifth of the time."""
    drift = Drift(store, "door", [of], store._tell)
    for number in range(days * DAY // 5):
        kind = number % 10
        drift.see(begin + 5 * number, score if kind == 0 else math.nan if kind < 3 else 2.0, of)
    drift.close()
    return drift


def test_minutes_add_up_to_the_days_of_the_very_frames(tmp_path):
    rng, store = np.random.default_rng(0), Store(tmp_path, 10**9, print)
    walls = BEGIN + np.sort(rng.random(20_000)) * 7200
    scores = np.where(rng.random(20_000) < 0.3, math.nan, 4 * rng.exponential(size=20_000))
    drift, of = Drift(store, "door", [model()], print), model()
    for wall, score in zip(walls.tolist(), scores.tolist(), strict=True):
        drift.see(wall, score, of)
    drift.close()
    (file,) = (tmp_path / "drift/door").glob("*.csv")
    day = day_of(rows_of(file, "m", 10.0), [])
    seconds = np.floor(walls)
    above = np.unique(seconds[scores > 10])
    assert day.seconds == len(by_seconds(zip(walls, scores, strict=True))[0])
    assert day.frames == np.isfinite(scores).sum()
    assert day.above == (scores > 10).sum()
    assert day.alarms == 1 + sum(after - before > 1 for before, after in pairwise(above))
    assert day.minutes == len(np.unique(above // 60))
    assert day.median == pytest.approx(np.nanmedian(scores), rel=0.05)  # of minutes' medians
    assert day_of(rows_of(file, "another", 10.0), []).frames == 0
    assert day_of(rows_of(file, "m", 11.0), []).frames == 0
    half = day_of(rows_of(file, "m", 10.0), [(BEGIN + 3601, BEGIN + 7199)])
    assert half.frames == np.isfinite(scores[walls < BEGIN + 3600]).sum()
    with file.open("a") as cut_short:
        cut_short.write("29496960,m,10.0,6")
    assert day_of(rows_of(file, "m", 10.0), []) == day


def test_what_is_said_survives_restarts_and_goes_by_model_and_threshold(tmp_path):
    told: list[str] = []
    of = model()
    watched(Store(tmp_path, 10**9, told.append), 2, score=12.0, of=of)
    first = watched(Store(tmp_path, 10**9, told.append), 2, score=12.0, of=of, begin=BEGIN + 2 * DAY)
    first.look()
    assert told == [
        "door: time to update day: in the last 3 days 12% of frames with objects were above the threshold: what is "
        "usual now is strange to it"
    ]
    assert (first.verdicts[of].state, first.verdicts[of].days) == ("update", 3)  # the fourth day may go on
    first.look()
    assert len(told) == 1  # once
    for other in (model(mark="updated"), model(own=replace(OWN, value=20.0))):
        again = Drift(Store(tmp_path, 10**9, told.append), "door", [other], told.append)
        again.look()
        assert again.verdicts[other].state == "unknown"
    assert len(told) == 1


def test_what_is_called_real_does_not_count(tmp_path):
    told: list[str] = []
    of, store = model(), Store(tmp_path, 10**9, told.append)
    drift = watched(store, 4, score=12.0, of=of)
    rows = [
        {"event": str(hour), "label": "real", "camera": "door", "score": 12.0,
         "begin": clock(BEGIN + 3600 * hour + 2), "end": clock(BEGIN + 3600 * hour + 3590)}
        for hour in range(96) if hour % 24 > 8
    ]  # fmt: skip
    drift.look()
    assert drift.verdicts[of].state == "update"
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    drift.look()
    assert drift.verdicts[of].days == 3
    rows += [{**row, "event": f"{row['event']}'", "begin": clock(BEGIN), "end": clock(BEGIN + 3 * DAY)} for row in rows]
    (tmp_path / "labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    drift.look()
    assert (drift.verdicts[of].state, drift.verdicts[of].days) == ("unknown", 0)


def test_disk_is_bounded_and_a_kill_in_a_day_that_goes_on_is_no_harm(tmp_path):
    store, of = Store(tmp_path, 10**9, print), model()
    drift = Drift(store, "door", [of], print)
    for day in range(KEPT + 5):
        drift.see(BEGIN + day * DAY, 3.0, of)
        assert len([*(tmp_path / "drift/door").glob("*.csv")]) == min(day, KEPT)
    drift.close()
    files = sorted((tmp_path / "drift/door").glob("*.csv"))
    assert len(files) == KEPT
    assert files[-1].stem == clock(BEGIN + (KEPT + 4) * DAY)[:10]
    assert is_made(files[-1])
    for _ in range(2):  # killed: nothing is closed
        drift = Drift(Store(tmp_path, 10**9, print), "door", [of], print)
        for minute in range(1, 4):
            drift.see(BEGIN + (KEPT + 4) * DAY + 60 * minute, 3.0, of)
    assert len(files[-1].read_text().splitlines()) == 1 + 1 + 2 * 2


def test_machines_are_told_as_a_number():
    states = ("unknown", "none", "calibrate", "update")
    camera = {"name": 'do"or', "drift": [{"model": name, "state": name} for name in states]}
    status = {"cameras": [], "memory_mib": None, "handles": None, "waiting": {}}

    def lines(cameras: list) -> list[str]:
        keys = ("frames", "looked_at", "left_out", "events", "reconnects", "frames_per_s", "looked_at_per_s", "n", "k")
        rest = dict.fromkeys([*keys, "lag_s", "event_lag_s", "score", "threshold"], 1)
        found = metric_lines({**status, "cameras": [{**rest, **camera} for camera in cameras]})
        return [line for line in found if line.startswith("vad_drift")]

    assert lines([camera]) == [
        'vad_drift{camera="do\\"or",model="unknown"} NaN', 'vad_drift{camera="do\\"or",model="none"} 0',
        'vad_drift{camera="do\\"or",model="calibrate"} 1', 'vad_drift{camera="do\\"or",model="update"} 2',
    ]  # fmt: skip
