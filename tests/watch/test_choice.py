"""Several models of one camera: which scores when, and that nothing is seen across a change."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.layouts import write_video
from tests.projects import make_packaged, until
from vadlib.errors import VadError
from vadlib.footage.calibrate import Seen as SeenScores
from vadlib.footage.calibrate import add_watched, model_mark
from vadlib.footage.stream import make_scorer
from vadlib.footage.update import events_called
from vadlib.scoring.model_folder import read_package
from vadlib.settings import ComputeSettings
from vadlib.watch import camera as cameras
from vadlib.watch import choice as choosing
from vadlib.watch import intake
from vadlib.watch.camera import Camera, Rolls
from vadlib.watch.choice import Choice
from vadlib.watch.events import Rules
from vadlib.watch.model import Model
from vadlib.watch.rule import Rule, check_models, is_dark, is_grey, names_of, parse_model
from vadlib.watch.service import Watch, camera_status
from vadlib.watch.sources import Captured, Cut, parse_source
from vadlib.watch.store import Store

BEGIN = datetime(2026, 1, 31, 12, 0).timestamp()  # local time, as rules are


def scene(colour: bool, height: int = 96, width: int = 128, noise: float = 4.0, seed: int = 0) -> np.ndarray:
    """A picture of a street in colour, or as infrared light shows it, with a camera's coloured lettering."""
    rng = np.random.default_rng(seed)
    picture = np.empty((height, width, 3))
    picture[:] = (90, 105, 80)
    picture[: height // 3] = (120, 150, 200)
    picture[-height // 4 :, : width // 3] = (150, 90, 60)
    picture += rng.normal(scale=noise, size=picture.shape)
    if not colour:
        picture[:] = picture.mean(axis=2, keepdims=True) + rng.normal(scale=noise / 3, size=picture.shape)
    picture[2:5, 2:12] = (255, 220, 0)
    return picture.clip(0, 255).astype(np.uint8)


def test_infrared_is_grey_whatever_the_noise_and_the_lettering_and_a_street_by_day_is_not():
    for seed in range(5):
        assert is_grey(scene(False, noise=12, seed=seed))
        assert not is_grey(scene(True, noise=12, seed=seed))
    for size in ((360, 640), (1080, 1920)):
        assert is_grey(scene(False, *size))
        assert not is_grey(scene(True, *size))


def test_a_street_at_night_is_dark_whatever_lamps_it_has_and_by_day_it_is_not():
    for colour in (True, False):
        day = scene(colour)
        night = day // 5
        night[:40, 80:] = 250  # a lamp, and what it lights: a quarter of the picture
        assert is_dark(night)
        assert not is_dark(day)
        day[:60] = 0  # and a house in front of it, in the shade
        assert is_dark(day)
        assert not is_dark(scene(colour) // 2)  # an overcast day


@pytest.mark.parametrize(
    ("rule", "times"),
    [("20:00-06:00", {"19:59": 0, "20:00": 1, "23:59": 1, "00:00": 1, "05:59": 1, "06:00": 0, "12:00": 0}),
     ("8:30-9:00", {"08:29": 0, "08:30": 1, "08:59": 1, "09:00": 0, "20:30": 0})],
)  # fmt: skip
def test_hours_are_local_and_may_go_over_midnight(rule, times):
    _, found = parse_model(f"night@{rule}")
    for time, holds in times.items():
        wall = datetime.fromisoformat(f"2026-01-31T{time}").timestamp()
        assert found.applies(Captured(np.empty(0), 0.0, wall)) == bool(holds), time


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["day", "night"], "neither has a rule"),
        (["day@06:00-20:00", "night@20:00-06:00"], "--model day@06:00-20:00: no model is without a rule"),
        (["day", "dusk@18:00-21:00", "night@20:00-06:00"], "both rules may hold at a time"),
        (["day", "dusk@05:00-06:01", "night@20:00-06:00"], "both rules may hold at a time"),
        (["day", "dusk@18:00-21:00", "night@grey"], "both rules may hold at a time"),
        (["day", "night@grey", "./day@grey"], "the same folder"),
        (["day", "dusk@dark", "night@grey"], "both rules may hold at a time"),
        (["day", "night@black"], "--model night@black: 'black' is no rule, and there is no such folder; expected"),
        (["day", "night@20:00-24:00"], "'20:00-24:00' is no rule"),
        (["day", "night@20:00-20:00"], "begins and ends at the same time"),
    ],
)
def test_rules_that_say_nothing_or_two_things_are_one_line(texts, said):
    with pytest.raises(VadError, match=re.escape(said)) as error:
        check_models(texts)
    assert "\n" not in str(error.value)


def test_rules_are_what_follows_the_last_at_unless_a_folder_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model@grey").mkdir()
    found = check_models(["model@grey", "me@home/night@20:00-06:00", "dusk@18:30-20:00"])
    assert found == [
        (Path("model@grey"), Rule()), (Path("me@home/night"), Rule("20:00-06:00", 1200, 360)),
        (Path("dusk"), Rule("18:30-20:00", 1110, 1200)),
    ]  # fmt: skip
    assert names_of([Path("a/day"), Path("night")]) == ["day", "night"]
    assert names_of([Path("a/day"), Path("b/day")]) == [str(tmp_path / "a/day"), str(tmp_path / "b/day")]


# Which model when


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return make_packaged(tmp_path_factory.mktemp("chosen"), until("calibrate")) / "models/mini"


@pytest.fixture(scope="module")
def models(package) -> list[Model]:
    """One for day and one for pictures without colour, above whose thresholds everything is."""
    read = read_package(package)
    limit = replace(read.threshold, value=-1000.0)
    return [
        Model(name, mark, make_scorer(read, ComputeSettings(score_batch=4)), limit, rule)
        for name, mark, rule in (("day", model_mark(read), Rule()), ("night", "another", Rule("grey")))
    ]


def chosen(models: list[Model], pictures: Iterator[tuple[float, bool]]) -> list[tuple[float, str]]:
    """When which model takes over, of (seconds, whether in colour)."""
    choice, found = Choice(models), []
    frames = {colour: scene(colour) for colour in (False, True)}
    for at, colour in pictures:
        name = choice.of(Captured(frames[colour], at, BEGIN + at)).name
        if not found or found[-1][1] != name:
            found.append((at, name))
    return found


def test_the_first_picture_says_which_and_another_takes_over_once_it_holds(models):
    assert chosen(models, ((at, at < 100) for at in range(200))) == [(0, "day"), (130, "night")]
    assert chosen(models, ((at, at > 100) for at in range(200))) == [(0, "night"), (131, "day")]


def test_dusk_does_not_flutter(models):
    flutter = ((at, at < 50 or (at < 500 and at % 25 < 10)) for at in range(700))
    assert chosen(models, flutter) == [(0, "day"), (515, "night")]  # 485 was the last in colour, but for these ten


def test_after_a_while_away_the_first_picture_says_which(models):
    times = [*range(20), *range(40_000, 40_020), *range(100)]  # and a clock that is set back
    colours = [*[True] * 20, *[False] * 20, *[True] * 100]
    assert [name for _, name in chosen(models, zip(times, colours, strict=True))] == ["day", "night", "day"]


def test_a_change_of_model_is_a_cut(models, tmp_path, monkeypatch):
    """Each pass over frames is of one model, and of frames without a cut among them."""
    passes: list[tuple[str, list[float]]] = []

    def score_frames(scorer, clip, frames, pace):
        (name,) = (model.name for model in models if model.scorer is scorer)
        passes.append((name, [round(at, 3) for at, _ in frames]))
        return iter(())

    monkeypatch.setattr(cameras, "score_frames", score_frames)
    video = tmp_path / "street.mp4"
    write_video(video, np.zeros((2, 32, 32, 3), np.uint8))
    store, told = Store(tmp_path / "out", 10**9, print), []
    camera = Camera(
        parse_source(str(video)), models, Rules(), Rolls(), store, lambda event: None, told.append, threading.Event()
    )
    pictures = {colour: scene(colour) for colour in (False, True)}

    def put() -> None:
        for second in range(100):
            if second == 70:
                camera.intake.put(Cut("away"))
            camera.intake.put(Captured(pictures[second < 20], 1000 + second, BEGIN + second))
            while camera.intake.fill > 0.5:
                threading.Event().wait(0.001)
        camera.intake.put(None)

    threading.Thread(target=put, daemon=True).start()
    camera._score()
    assert passes == [
        ("day", [float(at) for at in range(50)]), ("night", [float(at) for at in range(20)]),
        ("night", [float(at) for at in range(30)]),
    ]  # fmt: skip
    assert camera.model.name == "night"
    assert [line for line in told if "scores" in line] == ["street: day scores", "street: night scores (@grey)"]
    runs = [json.loads(line) for line in (tmp_path / "out/runs.jsonl").read_text().splitlines()]
    assert [(run["camera"], run["name"], run["model"]) for run in runs] == [
        ("street", "day", models[0].mark), ("street", "night", "another"),
    ]  # fmt: skip
    assert [datetime.fromisoformat(run["at"]).timestamp() - BEGIN for run in runs] == [0, 50]


# As a whole


def day_and_night(path: Path) -> Path:
    """Two seconds in colour and four as by infrared light, and something that moves all along."""
    frames = np.stack([scene(number < 50, noise=0) for number in range(150)])
    for number, frame in enumerate(frames):
        x = (2 * number) % 90
        frame[40:70, x : x + 30] = (240, 60, 60) if number < 50 else 230
    write_video(path, frames, codec="libx264")
    return path


def test_two_cameras_by_day_and_night_say_which_model_said_what(models, tmp_path, monkeypatch):
    monkeypatch.setattr(choosing, "HOLD", 1.0)
    monkeypatch.setattr(intake, "MOST_FRAMES", 1000)  # none are left out, however busy the machine
    video, printed = day_and_night(tmp_path / "street.mp4"), []
    sources = [parse_source(str(video)), parse_source(f"second={video}")]
    watch = Watch(
        sources, models, tmp_path / "out", 10**9, Rules(cool_off=0), Rolls(0.2, 0.2),
        out=lambda line: printed.append(json.loads(line)),
    )  # fmt: skip
    watch.run()
    for name in ("street", "second"):
        events = [event for event in printed if event["camera"] == name and event["state"] == "end"]
        assert [event["model"] for event in events] == ["day", "night"]
        day, night = events
        assert 2 <= day["stream_end_s"] < night["stream_begin_s"] <= 4  # a second after it has become grey
        assert day["track"] != night["track"]
        runs = [json.loads(line) for line in (tmp_path / "out/runs.jsonl").read_text().splitlines()]
        assert [run["name"] for run in runs if run["camera"] == name] == ["day", "night"]
    for shown in map(camera_status, watch.cameras):
        assert shown["model"] == "night"
        assert [of_model["model"] for of_model in shown["drift"]] == ["day", "night"]
    check_by_model(watch, tmp_path / "out", models, printed)


def check_by_model(watch: Watch, folder: Path, models: list[Model], printed: list[dict]) -> None:
    """Calibrating and updating take what the model at hand has scored, and no more."""
    for event in printed:
        if event["state"] == "end":
            watch.store.label(event["id"], "normal")
    rows = sum(len(pd.read_csv(table)) for table in (folder / "tables").glob("*/*.csv"))
    by_model = [SeenScores(), SeenScores()]
    for seen, model in zip(by_model, models, strict=True):
        add_watched(seen, folder, model.mark)
        assert len(seen.normal) == 2
        assert seen.frames > 10
        normal = events_called("normal", folder, model.mark)
        assert len(normal) == 2
        labelled = {event["id"]: event["model"] for event in printed}
        assert {labelled[video.parent.name] for _, video in normal} == {model.name}
    assert sum(seen.frames for seen in by_model) == rows
    assert len(events_called("normal", folder, "unheard of")) == 4
