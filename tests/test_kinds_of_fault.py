"""Instances of the kinds of fault, each made and put through `vad score`; all of them together through `vad train`."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests import layouts
from tests.conftest import ROOT
from tests.kinds_of_fault import FOOTAGE, PICTURES, Case, good, shots, write
from tests.projects import COMPUTE, MOTION, settings
from tests.test_train_footage import yaml_of
from vadlib.cli.main import app
from vadlib.footage.train import train_on_footage

# What counts is what is read: a few boxes a frame will do.
QUICK = settings(detector={"kind": "motion", "motion": {"threshold": 60, "min_area": 40, "most": 2}})


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("learned")
    layouts.write_videos(folder / "all", labels=False)
    train_on_footage(folder / "all/training", folder / "model", settings(detector=MOTION), COMPUTE)
    return folder / "model"


def vad(*arguments: object):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "not foreseen" not in done.stderr
    return done


def times_of(table: Path) -> list[float]:
    with table.open(encoding="ascii") as file:
        return [float(row["time_s"]) for row in csv.DictReader(file)]


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
        (table,) = (path for clip, path in found.items() if clip == name or (clip.startswith(name) and clip[-9] == "-"))
        times = times_of(table)
        assert len(times) == frames
        assert times == sorted(set(times))
    expected = case.times or np.arange(len(times)) / 25
    if not case.says:  # all of it is there
        np.testing.assert_allclose(times, expected, atol=2e-3)


def test_all_of_it_together_is_learned_from(tmp_path):
    for number, case in enumerate(FOOTAGE):
        folder = tmp_path / f"in/{number}"
        folder.mkdir(parents=True)
        case.make(folder)
    (tmp_path / "s.yaml").write_text(yaml_of(QUICK), encoding="utf-8")
    done = vad("train", tmp_path / "in", "--output", tmp_path / "model", "--settings", tmp_path / "s.yaml")
    assert done.exit_code == 3, done.output
    clips = sum(len(case.clips) for case in FOOTAGE)
    assert f"{clips} clips, " in done.stdout
    assert "Traceback" not in done.output


# 6 and 7: the surroundings

WITHOUT = """
import builtins, sys
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None
from vadlib.cli.main import app
app(sys.argv[1:])
"""


def score_alone(model: Path, folder: Path, *, code: str = "from vadlib.cli.main import app; app()", **how):
    command = [sys.executable, "-c", code, "score", str(folder), "--model", str(model), "--output", "out"]
    return subprocess.run(
        command, cwd=folder.parent, capture_output=True, text=True, check=False, encoding="utf-8", **how
    )


def test_no_module_of_unix_no_git_no_home_and_no_utf8_are_needed(model, tmp_path):
    folder = tmp_path / "mit Lücken 駅/in"
    folder.mkdir(parents=True)
    good(folder, "駅.mp4", "b.mp4")
    bare = {"PYTHONPATH": str(ROOT), "PATH": str(tmp_path), "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = score_alone(model, folder, code=WITHOUT, env={**bare, "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 0, done.stderr
    assert "2 clips, 16 frames" in done.stdout
    assert sorted(p.name for p in (folder.parent / "out").iterdir() if p.is_dir()) == ["b", "駅"]


def test_more_clips_of_pictures_and_videos_than_handles(model, tmp_path):
    resource = pytest.importorskip("resource")
    (tmp_path / "in").mkdir()
    good(tmp_path / "in", *(f"{n}.mp4" for n in range(4)))
    for number in range(100):
        shots(tmp_path / f"in/s{number}", "1.png")
    done = score_alone(
        model, tmp_path / "in", env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "104 clips, 132 frames" in done.stdout


def test_footage_that_another_program_has_locked_is_read(model, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / "in").mkdir()
    good(tmp_path / "in", "a.mp4")
    with (tmp_path / "in/a.mp4").open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert vad("score", tmp_path / "in", "--model", model, "--output", tmp_path / "out").exit_code == 0


def test_an_output_that_cannot_be_written_is_told_as_such(model, tmp_path):
    (tmp_path / "in").mkdir()
    good(tmp_path / "in", "a.mp4")
    (tmp_path / "file").touch()
    for output in (tmp_path / "file/out", tmp_path / "file"):
        done = vad("score", tmp_path / "in", "--model", model, "--output", output)
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1), done.stderr
        assert "file" in done.stderr
        assert "replace the file, or re-encode" not in done.stderr


# 8: valid files


@pytest.mark.parametrize(
    ("pixels", "codec", "ending"),
    [
        ("yuv420p10le", "libx264", "mp4"), ("yuv444p", "libx264", "mkv"), ("gray", "ffv1", "mkv"),
        ("gray16le", "ffv1", "mkv"), ("argb", "qtrle", "mov"), ("bgr24", "rawvideo", "avi"), ("rgb24", "png", "mov"),
    ],
)  # fmt: skip
def test_videos_of_any_pixels_are_scored(model, tmp_path, pixels, codec, ending):
    (tmp_path / "in").mkdir()
    odd = [picture[:31, :47] for picture in PICTURES]
    write(tmp_path / f"in/a.{ending}", pixels=pixels, codec=codec, frames=PICTURES if "420" in pixels else odd)
    done = vad("score", tmp_path / "in", "--model", model, "--output", tmp_path / "out")
    assert (done.exit_code, "1 clips, 8 frames" in done.stdout) == (0, True), done.output


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr"])
def test_pictures_of_any_kind_of_eight_bits_are_scored(model, tmp_path, mode):
    folder = tmp_path / "in"
    folder.mkdir()
    ending = "jpg" if mode in ("CMYK", "YCbCr") else "png"
    for number, picture in enumerate(PICTURES):
        Image.fromarray(picture).convert(mode).save(folder / f"{number}.{ending}")
    done = vad("score", folder, "--model", model, "--output", tmp_path / "out")
    assert (done.exit_code, "1 clips, 8 frames" in done.stdout) == (0, True), done.output
