import contextlib
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from tests.layouts import write_frames_folders
from tests.projects import COMPUTE, MINI, run_stages, settings, write_boxes, write_params
from vadlib.errors import VadError
from vadlib.pipeline import report
from vadlib.pipeline.calibrated import load_calibration
from vadlib.pipeline.places import Places
from vadlib.report.contents import Report
from vadlib.report.page import write_report
from vadlib.scoring.words import reason

PAGE = Path("reports/mini.html")


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A project that every stage before the report has run in."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "weights/mini").mkdir(parents=True)
    with contextlib.chdir(folder):
        write_boxes(Path("data/mini/boxes.csv"), write_frames_folders(Path("data/mini"), "pooled"))
        write_params(folder, {"mini": MINI})
        run_stages(settings())
    return folder


@pytest.fixture
def project(finished, tmp_path, monkeypatch) -> Path:
    """The current folder, with a copy of the finished project."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def written(project, monkeypatch) -> list[Report]:
    """The reports that are written."""
    seen: list[Report] = []
    monkeypatch.setattr(report, "write_report", lambda path, made: (seen.append(made), write_report(path, made)))
    return seen


def make(**groups):
    return report.report_scores(Places.of("mini"), settings(**groups), COMPUTE, PAGE)


def test_the_page_shows_the_scores_of_the_first_eta(written):
    make()
    (made,) = written
    frames = pd.read_parquet("work/mini/scores/eta_0.002/frames.parquet")
    for clip in made.clips:
        expected = frames[frames["clip"] == clip.name]["best"].to_numpy()
        pd.testing.assert_series_equal(pd.Series(clip.scores), pd.Series(expected))
    assert (
        made.threshold
        == json.loads(Path("work/mini/model/calibration.json").read_text())["thresholds"]["best"]["value"]
    )
    assert made.metrics == json.loads(Path("metrics/mini/metrics.json").read_text())
    assert made.counts["testing cubes"] == frames["boxes"].sum()
    assert PAGE.stat().st_size > 1_000_000  # plotly.js is in it


def test_each_anomaly_is_its_frames_worst_cube_with_the_errors_that_scored_it(written):
    make()
    cubes = pd.read_parquet("work/mini/scores/eta_0.002/cubes.parquet")
    anomalies = written[0].anomalies
    assert anomalies
    for anomaly in anomalies:
        rows = cubes[(cubes["clip"] == anomaly.clip) & (cubes["frame"] == anomaly.frame)]
        worst = rows.loc[rows["best"].idxmax()]
        assert anomaly.score == worst["best"]
        assert list(anomaly.box) == worst[["x1", "y1", "x2", "y2"]].tolist()
        for branch, seen in anomaly.view.branches.items():
            assert seen.after.error == pytest.approx(worst[branch], rel=1e-4)
        parts = {name: worst[f"{name}_part"] for name in settings().best.evidence}
        assert anomaly.reason == reason(parts, load_calibration(Places.of("mini")).objects(0.002))


def test_the_same_project_gives_the_same_page(project):
    make()
    before = PAGE.read_bytes()
    make()
    assert PAGE.read_bytes() == before


def test_footage_without_labels_has_a_page_without_metrics(project):
    manifest = Path("work/mini/prepared/manifest.json")
    content = json.loads(manifest.read_text())
    for clip in content["clips"]:
        clip["anomalous"] = None
    manifest.write_text(json.dumps(content))
    shutil.rmtree("metrics")
    make()
    html = re.sub(r"<(script|style).*?</\1>", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "without labels" in html
    assert "What scored highest" in html
    assert "AUROC" not in html


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("work/mini/scores/eta_0.002/frames.parquet", "score"),
        ("metrics/mini/metrics.json", "evaluate"),
        ("work/mini/model/calibration.json", "calibrate"),
        ("work/mini/model/raw.safetensors", "train_raw"),
    ],
)
def test_what_is_missing_is_named_with_the_stage_that_makes_it(project, path, stage):
    Path(path).unlink()
    with pytest.raises(VadError, match=rf"{Path(path).name}: not found; make it first with `dvc repro {stage}@mini"):
        make()
    assert not PAGE.exists()
