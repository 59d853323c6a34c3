"""`vad calibrate`: thresholds by alarms an hour, from normal footage or from what a watch has seen."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import layouts
from tests.projects import COMPUTE, MOTION, settings
from vadlib.cli.main import app
from vadlib.errors import VadError
from vadlib.footage.calibrate import Seconds, by_seconds, cut, held_out_rate, model_mark, threshold_for
from vadlib.footage.train import train_on_footage
from vadlib.scoring.model_folder import read_package
from vadlib.watch.store import Store

SMALL = settings(detector={**MOTION, "motion": {"threshold": 10, "min_area": 4, "kernel": 3, "grow": 0}})


def vad(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def walking(path: Path, *, seconds: int = 8, faster: float = 0.0, seed: int = 0, rate: int = 10) -> Path:
    """Squares that walk across, one after the other, at 1 px a frame; a share of them twice as fast."""
    rng = np.random.default_rng(seed)
    pictures = np.full((seconds * rate, 48, 64, 3), 60, np.uint8)
    x, step, row = 0.0, 1.0, 10
    for picture in pictures:
        x += step
        if x > 52:
            x, step, row = 0.0, 1.0 + (rng.random() < faster), int(rng.integers(4, 30))
        picture[row : row + 12, int(x) : int(x) + 10] = (220, 60, 60)
    layouts.write_video(path, pictures, fps=rate)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("calibrated")
    for number in range(3):
        walking(folder / f"normal/{number}.mp4", seed=number)
    train_on_footage(folder / "normal", folder / "model", SMALL, COMPUTE)
    return folder / "model"


def alarms(folder: Path) -> int:
    return len((folder / "segments.csv").read_text(encoding="ascii").splitlines()) - 1


# By numbers


def pieces_of(rng: np.random.Generator, hours: int, scale: float = 1.0) -> list[Seconds]:
    return [Seconds(found := scale * rng.exponential(size=3600), found) for _ in range(hours)]


@pytest.mark.parametrize(("promised", "hours"), [(60.0, 2), (4.0, 4), (0.5, 10)])
def test_a_promise_is_kept_on_other_footage_of_the_same_kind(promised, hours):
    """Neither broken nor bought by a threshold that nothing reaches: half the time it is a little above or below."""
    rng = np.random.default_rng(0)
    other = pieces_of(rng, 300)
    rates = []
    for _ in range(20):
        value = threshold_for(pieces_of(rng, hours), promised, 3600 * hours).value
        rates.append(sum(len(piece.peaks(value)) for piece in other) / 300)
    assert 0.2 * promised < np.median(rates) < 1.1 * promised
    assert np.mean(np.array(rates) > 2 * promised) <= 0.1


def test_where_pieces_differ_the_threshold_bears_with_another_one():
    rng = np.random.default_rng(1)
    windy = [piece for scale in rng.lognormal(0, 0.4, 12) for piece in pieces_of(rng, 1, scale)]
    calm = pieces_of(rng, 12)
    value = threshold_for(windy, 1.0, 1).value
    assert value > 1.2 * threshold_for(calm, 1.0, 1).value
    rates = [len(p.peaks(value)) for scale in rng.lognormal(0, 0.4, 200) for p in pieces_of(rng, 1, scale)]
    assert np.mean(np.array(rates) > 1) < 0.25
    assert held_out_rate(windy, 1.0) < 3


def test_seconds_without_objects_are_no_alarm_and_those_not_watched_do_not_count():
    frames = [(0.0, 1.0), (0.5, 3.0), (1.0, math.nan), (4.2, 5.0), (100.0, 2.0), (100.9, math.nan)]
    seconds, count = by_seconds(iter(frames))
    expected = [3.0, math.nan, math.nan, math.nan, 5.0, *[math.nan] * 5, 2.0]
    np.testing.assert_array_equal(seconds.highest, expected)
    assert (seconds.middle[0], count) == (2.0, 6)
    assert seconds.peaks(1.5) == [3.0, 5.0, 2.0]
    assert seconds.peaks(4.0) == [5.0]


def test_footage_of_one_piece_is_cut():
    whole = Seconds(np.arange(400.0), np.arange(400.0))
    assert [len(piece) for piece in cut([whole])] == [50] * 8
    assert [len(piece) for piece in cut([whole.take(slice(0, 30))])] == [30]
    np.testing.assert_array_equal(np.concatenate([piece.highest for piece in cut([whole, whole])]), [*range(400)] * 2)


# On footage


def test_a_camera_where_people_walk_faster_gets_its_own_threshold(model, tmp_path):
    """The truth: everybody walks, some twice as fast as the model knows. All of it is normal here."""
    faster = walking(tmp_path / "mine/a.mp4", seconds=60, faster=0.5, seed=5)
    other = walking(tmp_path / "other.mp4", seconds=40, faster=0.5, seed=6)
    before = read_package(model)
    assert vad("score", other, "--model", model, "--output", tmp_path / "before").exit_code == 0
    done = vad("calibrate", model, faster.parent, "--output", tmp_path / "tuned", "--alarms-per-hour", "20")
    assert done.exit_code == 0, done.output
    assert "1.0 minutes of footage is less than the 3.0 minutes" in done.stderr
    assert "600 frames" in done.stdout
    after = read_package(tmp_path / "tuned")
    assert after.threshold.value > before.threshold.value
    assert (after.settings, after.calibration.normal) == (before.settings, before.calibration.normal)
    assert after.calibration.thresholds["paper"] == before.calibration.thresholds["paper"]
    assert vad("score", other, "--model", tmp_path / "tuned", "--output", tmp_path / "after").exit_code == 0
    assert alarms(tmp_path / "before") > 1
    assert alarms(tmp_path / "after") == 0
    # In its place, and again: it is this tool's.
    again = vad("calibrate", tmp_path / "tuned", faster, "--output", tmp_path / "tuned", "--alarms-per-hour", "200")
    assert again.exit_code == 0, again.output
    assert read_package(tmp_path / "tuned").threshold.value < after.threshold.value
    assert sorted(p.name for p in tmp_path.iterdir()) == ["after", "before", "mine", "other.mp4", "tuned"]


def test_what_was_watched_and_said_on_the_page_sets_the_threshold(model, tmp_path):
    """Two hours of scores that rise to 8 when nothing is, to 30 at a real event and to 12 at a normal one."""
    store = Store(tmp_path / "found", 10**9, print)
    package = read_package(model)
    rows: dict[str, list[str]] = {}
    for second in range(7200):
        score = 5 + 3 * math.sin(second) ** 8
        score = 30.0 if 1000 <= second < 1010 else 12.0 if 3000 <= second < 3010 else score
        hour, rest = divmod(second, 3600)
        wall = f"2026-01-31T{8 + hour:02d}:{rest // 60:02d}:{rest % 60:02d}.000Z"
        rows.setdefault(wall[:13], []).append(f"{wall},{second},{score}")
    for hour, lines in rows.items():
        path = store.table("door", hour, None)
        path.write_text("wall,stream_s,score\n" + "\n".join(lines) + "\n")
    runs = [{"at": "2026-01-31T08:00:00.000Z", "model": model_mark(package)}]
    (tmp_path / "found/runs.jsonl").write_text("\n".join(map(json.dumps, runs)) + "\n")

    def say(real: str) -> None:
        events = [("a", "08:16:40", "08:16:50", 30.0, real), ("b", "08:50:00", "08:50:10", 12.0, "normal")]
        labels = [
            {"event": name, "label": label, "camera": "door", "score": score,
             "begin": f"2026-01-31T{begin}.000Z", "end": f"2026-01-31T{end}.000Z"}
            for name, begin, end, score, label in events
        ]  # fmt: skip
        (tmp_path / "found/labels.jsonl").write_text("\n".join(map(json.dumps, labels)) + "\n")

    def threshold() -> tuple[float, str]:
        done = vad("calibrate", model, tmp_path / "found", "--output", tmp_path / "tuned", "--alarms-per-hour", "0.4")
        assert done.exit_code == 0, done.output
        return read_package(tmp_path / "tuned").threshold.value, done.stderr

    say("real")
    value, told = threshold()
    assert 12 <= value < 30
    assert "note: of 1 events that were called real, 0 would no longer be told of" in told
    assert "note: of 1 events that were called normal, 0 would come again" in told
    say("normal")
    assert threshold()[0] >= 30
    runs.append({"at": "2026-01-31T08:30:00.000Z", "model": "another"})
    (tmp_path / "found/runs.jsonl").write_text("\n".join(map(json.dumps, runs)) + "\n")
    say("real")
    value, told = threshold()
    assert value < 12
    assert "5,400 frames were scored by another model, and are passed over" in told


def test_thresholds_do_not_change_whose_scores_they_are_and_all_else_does(model, tmp_path):
    package = read_package(model)
    limits = {**package.calibration.thresholds, "best": replace(package.threshold, value=99.0)}
    assert model_mark(package) == model_mark(
        replace(package, calibration=replace(package.calibration, thresholds=limits))
    )
    other = replace(package, settings=package.settings.model_copy(update={"eta": (0.01,)}))
    assert model_mark(package) != model_mark(other)


def test_what_cannot_be_calibrated_by_is_one_line(model, tmp_path):
    layouts.write_video(tmp_path / "still.mp4", np.full((20, 48, 64, 3), 60, np.uint8))
    done = vad("calibrate", model, tmp_path / "still.mp4", "--output", tmp_path / "tuned")
    assert (done.exit_code, done.stderr.splitlines()[-1].count("no frame there has an object")) == (1, 1)
    assert not (tmp_path / "tuned").exists()
    done = vad("calibrate", model, tmp_path / "still.mp4", "--output", tmp_path / "still.mp4")
    assert "is the input itself" in done.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/note").touch()
    done = vad("calibrate", model, tmp_path / "still.mp4", "--output", tmp_path / "mine")
    assert "not what this tool made" in done.stderr
    with pytest.raises(VadError, match="no model folder there"):
        read_package(tmp_path / "tuned")
