"""One pass over footage: the stages' scores, in bounded memory, from any kind of source."""

import itertools
import time
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.projects import COMPUTE, make_packaged, until
from vadlib.clips import read_footage
from vadlib.footage import stream
from vadlib.footage.stream import Pace, copies_of, make_scorer, score_frames
from vadlib.manifest import Clip
from vadlib.scoring.model_folder import read_package

SMALL_BATCHES = COMPUTE.model_copy(update={"score_batch": 5})
CLIP = Clip("01", "testing", "01.mp4", 0, 0, 0)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder where every stage has run, motion boxes and all, with its model folder."""
    return make_packaged(tmp_path_factory.mktemp("streamed"), compute=SMALL_BATCHES)


@pytest.fixture(scope="module")
def scorer(project):
    return make_scorer(read_package(project / "models/mini"), SMALL_BATCHES)


def of_stages(project: Path, clip: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    tables = (pd.read_parquet(project / f"work/mini/scores/eta_0.002/{t}.parquet") for t in ("frames", "cubes"))
    return tuple(table[table["clip"] == clip] for table in tables)


def streamed(scorer, video: Path):
    return list(score_frames(scorer, CLIP, read_footage(video, "01", 25)))


def test_scores_are_those_of_the_stages_to_the_last_bit(project, scorer):
    check_scores(project, scorer)


OTHERWISE = {
    "both ways": {"track_half_life": 2, "track_after": 3, "top": 2, "evidence": ["place", "speed", "raw"]},
    "standardised": {"track_half_life": 0, "calibration": "log_z", "error": "norm", "w_flow": 0.5},
}


@pytest.mark.parametrize("how", OTHERWISE)
def test_so_are_those_of_any_other_configuration(tmp_path, how):
    project = make_packaged(tmp_path, until("score"), SMALL_BATCHES, best=OTHERWISE[how])
    scorer = make_scorer(read_package(project / "models/mini"), SMALL_BATCHES)
    assert scorer.how.top == OTHERWISE[how].get("top", 1)
    check_scores(project, scorer)


def check_scores(project: Path, scorer) -> None:
    for video in sorted((project / "data/mini/testing").iterdir()):
        frames, cubes = of_stages(project, video.stem)
        found = streamed(scorer, video)
        assert [f.number for f in found] == frames["frame"].tolist()
        np.testing.assert_array_equal([f.score for f in found], frames["best"])
        np.testing.assert_array_equal(np.concatenate([f.scores for f in found]), cubes["best"])
        np.testing.assert_array_equal(np.concatenate([f.tracks for f in found]), cubes["track"])
        for name in scorer.how.evidence:
            parts = np.concatenate([f.parts[name] for f in found])
            np.testing.assert_array_equal(parts, cubes[f"{name}_part"], err_msg=name)
        np.testing.assert_array_equal(np.concatenate([f.boxes for f in found]), cubes[["x1", "y1", "x2", "y2"]])
        assert len(cubes) > 2 * SMALL_BATCHES.score_batch


def test_a_frame_that_waited_long_enough_is_scored_in_a_smaller_batch(project, scorer):
    video = project / "data/mini/testing/01.mp4"
    expected = streamed(scorer, video)
    found = list(score_frames(scorer, CLIP, read_footage(video, "01", 25), pace=Pace(held=1)))
    np.testing.assert_allclose([f.score for f in found], [f.score for f in expected], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("held", [1, 100])
def test_an_object_is_measured_in_every_so_many_th_frame_and_its_speed_in_all(project, scorer, held, monkeypatch):
    """What networks said of it last stands for it between, as it is told of its first frames; nothing else changes."""
    video, count = project / "data/mini/testing/01.mp4", 0
    expected = streamed(scorer, video)
    measure = type(scorer.scorer).measure

    def counted(self, cubes, etas, *, seen=False):
        nonlocal count
        count += len(cubes.raw)
        return measure(self, cubes, etas, seen=seen)

    monkeypatch.setattr(type(scorer.scorer), "measure", counted)
    for every in (1, 3):
        count, pace = 0, Pace(held=held, measured=lambda every=every: every)
        found = list(score_frames(raw_scores(scorer), CLIP, read_footage(video, "01", 25), pace=pace))
        whole = list(score_frames(raw_scores(scorer), CLIP, read_footage(video, "01", 25), pace=Pace(held=held)))
        count -= sum(len(frame.boxes) for frame in whole)
        last: dict[int, dict] = {}
        due: dict[int, int] = {}
        for kept, own in zip(found, whole, strict=True):
            np.testing.assert_array_equal(kept.boxes, own.boxes)
            for name in ("speed", "velocity", "dwell"):
                np.testing.assert_array_equal(kept.parts[name], own.parts[name])
            for place, track in enumerate(own.tracks.tolist()):
                if (kept.number - due.get(track, kept.number)) % every == 0:
                    last[track] = {name: own.parts[name][place] for name in ("raw", "flow", "looks")}
                due.setdefault(track, kept.number)
                for name, value in last[track].items():
                    assert kept.parts[name][place] == pytest.approx(value, rel=1e-4, abs=1e-5), (kept.number, name)
        boxes = sum(len(frame.boxes) for frame in expected)
        assert count == boxes if every == 1 else count < boxes / 2


def raw_scores(scorer):
    """The same without averages along tracks."""
    settings = scorer.scorer.settings
    best = settings.best.model_copy(update={"track_half_life": 0.0})
    return replace(scorer, scorer=replace(scorer.scorer, settings=settings.model_copy(update={"best": best})))


def test_frames_are_read_no_further_ahead_than_detector_window_and_waiting_need(scorer):
    """However long the footage, and also where nothing is ever found."""
    taken = 0

    def endless():
        nonlocal taken
        for taken in itertools.count(1):
            yield taken / 25, np.zeros((64, 64, 3), np.uint8)

    ahead = [taken - frame.number for frame in itertools.islice(score_frames(scorer, CLIP, endless()), 300)]
    assert max(ahead) < 30


def test_a_pass_that_looks_at_every_third_frame_sees_its_cubes_and_flow_as_ever(project, scorer, monkeypatch):
    video = project / "data/mini/testing/01.mp4"
    every = streamed(scorer, video)
    asked, given = [], []

    def wanted(number: int) -> bool:
        asked.append(number)
        return number % 3 == 1

    def detector(clip, first, frames):
        given.append(len(frames))
        return scorer.detector(clip, first, frames)

    worth = []
    measure = stream.Dwell.measure
    monkeypatch.setattr(
        stream.Dwell, "measure", lambda self, t, boxes, of: worth.append((t, of)) or measure(self, t, boxes, of)
    )
    found = list(
        score_frames(replace(scorer, detector=detector), CLIP, read_footage(video, "01", 25), pace=Pace(1, 1, wanted))
    )
    assert asked == [f.number for f in found] == [f.number for f in every]
    assert given == [1] * 4
    assert worth == [(1, 2), (4, 3), (7, 3), (10, 3)]  # a stay is as long as if all were looked at
    assert sum(len(f.boxes) for f in found) > 4
    for one, other in zip(found, every, strict=True):
        if one.number % 3 == 1:
            for name in ("boxes", "raw", "flow", "classes"):
                np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        else:
            assert len(one.boxes) == len(one.classes) == 0
            assert np.isnan(one.score)


def test_live_frames_are_not_kept_waiting_longer_than_a_cube_and_its_flow_need(scorer):
    """A camera that gives no frame before the one that is three back has been scored is scored to the end."""
    scored, late = 0, []

    def camera():
        for number in range(60):
            # A cube's half, and the frame that the last flow leads to.
            began = time.monotonic()
            while number > 5 and scored < number - 3:
                if time.monotonic() - began > 20:
                    late.append(number)
                    break
                time.sleep(0.001)
            yield number / 25, np.full((64, 64, 3), number % 2 * 255, np.uint8)

    for frame in score_frames(scorer, CLIP, camera(), pace=Pace(held=1, detected=1)):
        assert not late
        scored = frame.number + 1
    assert scored == 60


def test_what_is_held_does_not_grow_with_the_footage(scorer, project):
    held = most = 0

    class Watched(np.ndarray):
        def __del__(self):
            nonlocal held
            held -= 1

    def footage():
        nonlocal held, most
        images = [image for _, image in read_footage(project / "data/mini/testing/01.mp4", "01", 25)]
        for number in range(160):
            held += 1
            most = max(most, held)
            yield number / 25, images[number % len(images)].copy().view(Watched)

    assert sum(1 for _ in score_frames(scorer, CLIP, footage())) == 160
    assert most < 60


def test_a_clip_of_one_frame_has_a_score_or_none(scorer):
    (frame,) = score_frames(scorer, CLIP, iter([(0.0, np.zeros((64, 64, 3), np.uint8))]))
    assert np.isnan(frame.score)
    assert frame.top is None
    assert frame.raw.shape == (0, 5, 8, 8, 3)


def test_no_frames_are_no_scores(scorer):
    assert list(score_frames(scorer, CLIP, iter(()))) == []


def test_copies_hold_an_item_until_the_last_of_them_has_yielded_it():
    class Item:
        pass

    made = [Item() for _ in range(100)]
    alive = [weakref.ref(item) for item in made]
    first, second = copies_of((made.pop(0) for _ in range(100)), 2)
    for _ in range(3):
        next(first)
    next(second)
    assert [ref() is None for ref in alive[:4]] == [True, False, False, False]
    assert len(list(first)) == 97
    assert len(list(second)) == 99
