"""Instances of the kinds of fault, each made and put through `vad score`."""

import csv
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import layouts
from tests.kinds_of_fault import FOOTAGE, Case
from tests.projects import COMPUTE, MOTION, settings
from vadlib.cli.main import app
from vadlib.footage.train import train_on_footage


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
