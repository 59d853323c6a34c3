"""Instances of the kinds of fault, each made and put through `vad score` and `vad train`."""

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import layouts
from tests.conftest import ROOT
from tests.kinds_of_fault import FOOTAGE, TROUBLES, Case, Trouble
from tests.projects import COMPUTE, MOTION, settings
from vadlib.cli.main import app
from vadlib.clips import read_frames
from vadlib.footage import train as module
from vadlib.footage.find import LeftOut
from vadlib.footage.train import train_on_footage
from vadlib.manifest import load_manifest

SMALL = settings(detector=MOTION)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("learned")
    layouts.write_videos(folder / "all", labels=False)
    train_on_footage(folder / "all/training", folder / "model", SMALL, COMPUTE)
    return folder / "model"


def vad(*arguments: object):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "not foreseen" not in done.stderr
    return done


def times_of(table: Path) -> list[float]:
    with table.open(encoding="ascii") as file:
        return [float(row["time_s"]) for row in csv.DictReader(file)]


def matching(name: str, clips: dict[str, object]):
    """The one clip of this name, or that begins with it and has a mark."""
    (found,) = (found for clip, found in clips.items() if clip == name or (clip.startswith(name) and clip[-9] == "-"))
    return found


@pytest.mark.parametrize("case", FOOTAGE, ids=lambda case: f"{case.kind}: {case.name}")
def test_footage_of_every_kind_is_scored(model, tmp_path, case: Case):
    (tmp_path / "in").mkdir()
    case.make(tmp_path / "in")
    done = vad("score", tmp_path / "in", "--model", model, "--output", tmp_path / "out")
    assert done.exit_code == case.code, done.output
    assert [words for words in case.says if words not in done.stderr] == [], done.stderr
    found = {p.parent.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("frames.csv")}
    assert len(found) <= len(case.clips)
    if len(case.clips) == 1:  # whose results need no folder where it is all there is
        found = dict.fromkeys(case.clips, next(iter(found.values())))
    for name, frames in case.clips.items():
        times = times_of(matching(name, found))
        assert len(times) == frames
        assert times == sorted(set(times))
    expected = case.times or np.arange(len(times)) / 25
    if not case.says:  # all of it is there
        np.testing.assert_allclose(times, expected, atol=2e-3)


class _Indexed(Exception):
    """The footage is indexed: what follows of a training reads what was indexed, as this test does."""


@pytest.mark.parametrize("case", FOOTAGE, ids=lambda case: f"{case.kind}: {case.name}")
def test_footage_of_every_kind_is_learned_from(tmp_path, monkeypatch, case: Case):
    (tmp_path / "in").mkdir()
    case.make(tmp_path / "in")

    def stop(*_):
        raise _Indexed

    monkeypatch.setattr(module, "_STAGES", [*module._STAGES[:1], ("detect", lambda s: [], stop)])
    left_out = LeftOut()
    with pytest.raises(_Indexed):
        train_on_footage(tmp_path / "in", tmp_path / "model", SMALL, COMPUTE, left_out=left_out)
    assert bool(left_out.counts()) == (case.code == 3)
    clips = {clip.name: clip for clip in load_manifest(tmp_path / "model.work/prepared/manifest.json").clips}
    assert len(clips) == len(case.clips)
    for name, frames in case.clips.items():
        clip = matching(name, clips)
        assert clip.frames == frames == sum(1 for _ in read_frames(clip))


def test_one_training_learns_from_all_of_it(tmp_path):
    (tmp_path / "in").mkdir()
    for number, case in enumerate(FOOTAGE):
        (made := tmp_path / "made" / f"{number:02d}").mkdir(parents=True)
        case.make(made)
        made.rename(tmp_path / "in" / made.name)
    (tmp_path / "s.yaml").write_text(json.dumps(SMALL.model_dump(mode="json", exclude={"source"})), encoding="utf-8")
    given = ["train", tmp_path / "in", "--output", tmp_path / "model", "--settings", tmp_path / "s.yaml"]
    done = vad(*given, "--workers", 1)
    assert done.exit_code == 3, done.output
    clips, frames = sum(len(case.clips) for case in FOOTAGE), sum(sum(case.clips.values()) for case in FOOTAGE)
    assert f": {clips} clips, {frames} frames, " in done.stdout
    said = [words for case in FOOTAGE if case.code for words in case.says if "clip " not in words]
    assert [words for words in said if words not in done.stderr] == [], done.stderr
    assert vad("score", tmp_path / "in/00", "--model", tmp_path / "model", "--output", tmp_path / "out").exit_code == 0


@pytest.fixture(scope="module")
def troubles() -> dict[str, dict]:
    if sys.platform != "linux":
        pytest.skip("needs what Linux has below /proc and /dev")
    with tempfile.TemporaryDirectory() as name:  # where whoever is not root can go, too
        Path(name).chmod(0o755)
        run = [sys.executable, "-m", "tests.kinds_of_fault", name, "--troubles"]
        # A fork has not the threads that its parent's OpenMP believes in, and would wait for them.
        alone = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(run, cwd=ROOT, env=alone, capture_output=True, text=True, check=False, timeout=600)
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: f"{trouble.kind}: {trouble.name}")
def test_the_surroundings_are_told_from_damage_and_do_no_harm(troubles, trouble: Trouble):
    found = troubles[trouble.name]
    assert found["code"] == trouble.code, found["said"]
    assert [words for words in trouble.says if words not in found["said"]] == [], found["said"]
    assert [words for words in ("not foreseen", "damaged", "Traceback") if words in found["said"]] == []
    assert {name: found["rows"].get(name) for name in trouble.clips} == dict.fromkeys(trouble.clips, 8)
