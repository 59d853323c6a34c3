"""`vad update`: a model that goes on with new normal footage, and with what people said of events."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests import layouts
from tests.projects import COMPUTE, MOTION, settings
from vadlib.cli.main import app
from vadlib.footage.train import train_on_footage
from vadlib.footage.update import events_called, thinned
from vadlib.scoring.evidence import SAMPLE
from vadlib.scoring.model_folder import read_package
from vadlib.watch.events import Event, Seen
from vadlib.watch.store import Store

SMALL = settings(
    detector={**MOTION, "motion": {"threshold": 10, "min_area": 4, "kernel": 3, "grow": 0}},
    training={"epochs": 4, "batch": 8, "hold_out_every": 4},
)
RED, BLUE = (220, 60, 60), (60, 60, 230)
RATE = 10


def vad(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def walking(
    path: Path, *, seconds: int = 8, colour=RED, step: float = 1.0, size=(12, 10), left: bool = False, seed: int = 0
) -> Path:
    """Squares of a colour and size that walk across, one after the other, by so many px a frame, in changing rows."""
    rng = np.random.default_rng(seed)
    pictures = np.full((seconds * RATE, 48, 64, 3), 60, np.uint8)
    x, row = 0.0, 10
    for picture in pictures:
        x += step
        if x > 64 - size[1]:
            x, row = 0.0, int(rng.integers(2, 46 - size[0]))
        at = 64 - size[1] - int(x) if left else int(x)
        picture[row : row + size[0], at : at + size[1]] = colour
    layouts.write_video(path, pictures, fps=RATE)
    return path


# What the model learns first; what is normal from some day on; and what never is.
FIRST = {}
NEW = {"colour": BLUE, "size": (14, 12), "step": 2.0, "left": True}
STRANGE = {"colour": (240, 240, 60), "step": 6.0}
KINDS = {"first": FIRST, "new": NEW, "strange": STRANGE}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("updated")
    for number in range(3):
        walking(folder / f"normal/{number}.mp4", seed=number, **FIRST)
    train_on_footage(folder / "normal", folder / "model", SMALL, COMPUTE)
    return folder / "model"


def above(model: Path, folder: Path, **kind) -> float:
    """The share of frames of footage of a kind that a model calls anomalous."""
    video = walking(folder / "x.mp4", seed=9, **kind)
    done = vad("score", video, "--model", model, "--output", folder / "out")
    assert done.exit_code == 0, done.output
    return float(pd.read_csv(folder / "out/frames.csv")["is_anomalous"].mean())


def test_new_normal_footage_becomes_normal_what_was_stays_so_and_the_strange_stays_strange(model, tmp_path):
    for number in range(4):
        walking(tmp_path / f"new/{number} blue.mp4", seed=10 + number, **NEW)
        walking(tmp_path / f"new/{number} red.mp4", seed=20 + number, **FIRST)
    before = {name: above(model, tmp_path, **kind) for name, kind in KINDS.items()}
    assert before["new"] > 0.8, before
    done = vad("update", model, tmp_path / "new", "--output", tmp_path / "updated")
    assert done.exit_code == 0, done.output
    assert "8 clips, 640 frames" in done.stdout
    after = {name: above(tmp_path / "updated", tmp_path, **kind) for name, kind in KINDS.items()}
    assert after["new"] < 0.1, after
    assert after["first"] < 0.1, after
    assert after["strange"] > 0.8, after
    old, new = read_package(model), read_package(tmp_path / "updated")
    for name, rows in old.evidence.items():  # it remembers, and has seen more
        np.testing.assert_array_equal(new.evidence[name][: len(rows)], rows)
    assert len(new.evidence["place.places"]) > len(old.evidence["place.places"])
    assert not (tmp_path / "updated.work").exists()


def test_the_networks_go_on_from_where_they_are(model, tmp_path):
    """A few steps at a small rate: far nearer to the model than another beginning."""
    walking(tmp_path / "new/a.mp4", seed=30)
    assert vad("update", model, tmp_path / "new", "--output", tmp_path / "updated").exit_code == 0
    train_on_footage(
        tmp_path / "new", tmp_path / "anew", SMALL.model_copy(update={
            "training": SMALL.training.model_copy(update={"seed": 1})}), COMPUTE,
    )  # fmt: skip
    for branch in ("raw", "flow"):
        own, updated, anew = (
            np.concatenate([p.detach().numpy().ravel() for p in read_package(folder).networks[branch].parameters()])
            for folder in (model, tmp_path / "updated", tmp_path / "anew")
        )
        assert np.abs(updated - own).max() > 0
        assert np.linalg.norm(updated - own) < 0.2 * np.linalg.norm(anew - own)


def test_events_that_were_called_normal_are_learned_and_those_called_real_are_asked_about(model, tmp_path):
    store = Store(tmp_path / "found", 10**9, print)
    at = 1_800_000_000.0
    for number, (label, kind) in enumerate({"normal": NEW, "real": STRANGE}.items()):
        seen = Seen(at + 100 * number, 0.0, 20.0 + number, (1, 2, 3, 4), 1)
        event = Event(f"door-2027011508{number}000", "door", seen, seen, seen)
        folder = store.begin(event, b"")
        walking(folder / "clip.mp4", seed=40 + number, **kind)
        store.end(event, b"")
        assert store.label(event.id, label)
    assert [footage.name for footage, _ in events_called("normal", tmp_path / "found", "m")] == [
        "events/door-20270115080000"
    ]
    done = vad(
        "update", model, tmp_path / "found", walking(tmp_path / "new/a.mp4", seed=50), "--output", tmp_path / "m"
    )
    assert done.exit_code == 0, done.output
    assert "2 clips, 160 frames" in done.stdout
    assert "note: of 1 events that were called real, the new model tells of 1" in done.stderr
    alone = vad("update", model, tmp_path / "found", "--output", tmp_path / "alone")
    assert alone.exit_code == 0, alone.output
    assert "1 clips, 80 frames" in alone.stdout
    (tmp_path / "found/labels.jsonl").write_text("")
    none = vad("update", model, tmp_path / "found", "--output", tmp_path / "none")
    assert (none.exit_code, none.stderr.count("\n")) == (1, 1)
    assert "no event with a video was called normal on the page" in none.stderr


def test_what_has_been_seen_does_not_grow_from_update_to_update():
    rows = np.arange(3 * SAMPLE, dtype=np.float32)[:, None]
    kept = thinned(rows)
    assert kept.shape == (SAMPLE, 1)
    assert (kept[0, 0], kept[-1, 0]) == (0, 3 * SAMPLE - 1)
    assert abs(np.diff(kept[:, 0]) - 3).max() <= 1
    mark = np.zeros(32, np.uint8)
    assert thinned(mark) is mark


def test_labels_are_the_last_word(tmp_path):
    store = Store(tmp_path / "found", 10**9, print)
    rows = [{"event": "a", "label": label, "begin": "2026-01-31T", "camera": "door"} for label in ("real", "normal")]
    (tmp_path / "found/labels.jsonl").write_text("\n".join(map(json.dumps, rows)) + '\n{"event": "b", "lab')
    folder = store.folder / "events/2026-01-31/a"
    folder.mkdir(parents=True)
    (folder / "clip.mp4").touch()
    assert events_called("real", store.folder, "m") == []
    assert len(events_called("normal", store.folder, "m")) == 1
