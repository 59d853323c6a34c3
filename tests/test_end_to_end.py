"""The pipeline as a user runs it: `dvc repro` of the data set `tiny`, in a copy of this checkout."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from vadlib.version import __version__

ROOT = Path(__file__).resolve().parents[1]
TOP = ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "stages", "vadlib", "data/tiny", "weights", ".dvc/config")
STAGES = (
    "prepare", "detect", "flow", "build_raw", "build_flow", "train_raw", "train_flow", "fit_scores", "calibrate",
    "score", "package", "evaluate", "report",
)  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A copy of what is in git and matters, as a repository of its own, with `tiny` run once."""
    folder = tmp_path_factory.mktemp("project")
    for name in TOP:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
        else:
            shutil.copy(source, target)
    params = YAML().load(folder / "params.yaml")
    params["datasets"] = ["tiny"]
    YAML().dump(params, folder / "params.yaml")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    dvc(folder, "repro")
    return folder


def dvc(folder: Path, *arguments: str) -> str:
    """Run dvc as the Makefile does, with this interpreter's environment; the code under test is the copy's."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ran(output: str) -> set[str]:
    """The stages a `dvc repro` ran, or would run."""
    return {line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")}


def test_the_metrics_file_holds_what_was_promised(project):
    metrics = json.loads((project / "metrics/tiny/metrics.json").read_text())
    assert set(metrics["auroc"]) == {"micro", "macro", "floor"}
    assert all(0 <= value <= 1 for value in metrics["auroc"].values())
    for summary in (metrics, json.loads((project / "metrics/tiny/paper.json").read_text())):
        assert set(summary["false_alarms"]) == {"promised", "measured", "apart", "recall", "alarms_per_hour"}
        assert summary["false_alarms"]["promised"] == 0.01
        best_floor = max(summary["floors"], key=lambda row: row["micro"])
        assert summary["auroc"]["floor"] == best_floor["micro"]
    assert {row["name"] for row in metrics["evidence"]} == {
        "raw",
        "flow",
        "speed",
        "velocity",
        "looks",
        "place",
        "dwell",
    }
    assert metrics["counts"]["frames"] == 80
    assert 0 < metrics["counts"]["anomalous_frames"] < 80
    assert metrics["counts"]["cubes"] > 80


def test_what_the_digits_depend_on_stands_beside_them(project):
    metrics = json.loads((project / "metrics/tiny/metrics.json").read_text())
    rows = {row["step"]: row for row in metrics["made_with"]}
    assert list(rows) == ["detect", "train_raw", "train_flow", "score"]
    assert rows["detect"]["weights"] == "street_yolo.safetensors"
    for step in ("train_raw", "train_flow", "score"):
        assert rows[step]["device"] in ("cpu", "cuda")
        assert (rows[step]["precision"], rows[step]["vadlib"]) == ("fp32", __version__)
    for branch in ("raw", "flow"):
        path = project / f"work/tiny/model/{branch}.safetensors"
        assert rows[f"train_{branch}"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_dvc_shows_of_the_metrics_fits_a_terminal(project):
    lines = dvc(project, "metrics", "show").splitlines()
    assert lines[0].split() == ["Path", "false_alarms", "floor", "high", "low", "macro", "micro", "recall"]
    assert len(lines) == 2
    longest = "metrics/shanghaitech/summary.json"
    assert max(map(len, lines)) + len(longest) - len("metrics/tiny/summary.json") <= 120
    assert "metrics/tiny/roc.csv" in (project / "dvc.lock").read_text()


def test_boxes_come_from_the_yolo_that_ships_with_the_project(project):
    import pandas as pd

    boxes = pd.read_parquet(project / "work/tiny/boxes.parquet")
    assert (boxes["source"] == "appearance").mean() > 0.5


def test_a_second_run_has_nothing_to_do(project):
    assert ran(dvc(project, "repro")) == set()
    assert "up to date" in dvc(project, "status")


def test_a_run_from_scratch_gives_the_same_metrics(project):
    kept = (
        "metrics.json",
        "paper.json",
        "train_raw.json",
        "train_flow.json",
        "loss_raw.csv",
        "roc.csv",
        "frame_scores.csv",
    )
    before = {name: (project / "metrics/tiny" / name).read_bytes() for name in kept}
    shutil.rmtree(project / "work")
    assert len(ran(dvc(project, "repro", "--force", "--no-run-cache"))) == len(STAGES)
    assert {name: (project / "metrics/tiny" / name).read_bytes() for name in kept} == before


def test_what_dvc_keeps_holds_no_ledger_and_what_it_brought_back_is_replaced_by_itself_alone(project):
    outputs = ["prepared", "flow", "cubes/raw", "cubes/flow", "scores"]
    assert (project / "work/tiny/.vadlib").is_file()
    assert not [p for output in outputs for p in (project / "work/tiny" / output).rglob(".vadlib")]
    assert not list((project / "models/tiny").rglob(".vadlib"))
    shutil.rmtree(project / "work")
    dvc(project, "checkout")
    command = [sys.executable, "stages/fit_scores.py", "--dataset", "tiny"]
    done = subprocess.run(
        command, cwd=project, env={**os.environ, "PYTHONPATH": str(project)}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: work/tiny/model/statistics.json: already there, and not what this tool made")
    assert "fit_scores@tiny" in ran(dvc(project, "repro", "--force", "--single-item", "fit_scores@tiny"))


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        (("eta",), 0.005, {"calibrate@tiny", "score@tiny", "package@tiny", "evaluate@tiny"}),
        (("paper", "w_flow"), 0.5, {"calibrate@tiny", "score@tiny", "package@tiny"}),
        (("best", "track_half_life"), 5, {"calibrate@tiny", "score@tiny", "package@tiny"}),
        (("best", "evidence"), ["raw", "speed"], {"fit_scores@tiny", "calibrate@tiny", "score@tiny", "package@tiny"}),
        (("false_alarms",), 0.02, {"calibrate@tiny", "package@tiny"}),
        (("training", "hold_out_every"), 4, {"train_raw@tiny", "train_flow@tiny", "fit_scores@tiny", "calibrate@tiny"}),
        (("flow", "preset"), "fast", {"flow@tiny"}),
        (("model", "slope"), 0.1, {"train_raw@tiny", "train_flow@tiny"}),
    ],
)
def test_a_setting_reruns_the_stages_that_use_it_and_no_others(project, key, value, stages):
    """A dry run names the stages whose own settings changed; what follows from their outputs is known once they ran."""
    path = project / "params.yaml"
    before = path.read_text()
    params = YAML().load(path)
    group = params["dataset"]["tiny"]
    for part in key[:-1]:
        group = group[part]
    group[key[-1]] = value
    YAML().dump(params, path)
    try:
        found = ran(dvc(project, "repro", "--dry"))
    finally:
        path.write_text(before)
    names = [f"{stage}@tiny" for stage in STAGES]
    first = min(names.index(stage) for stage in stages)
    assert stages <= found
    assert not {stage for stage in found if names.index(stage) < first}
    if key[0] == "flow":
        assert "train_raw@tiny" not in found
