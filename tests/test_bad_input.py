"""Bad input ends in one clear line and exit code 1, and nothing half-written is left looking whole."""

import contextlib
import errno
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from tests import layouts
from tests.conftest import ROOT
from tests.projects import MINI, OUTPUTS, STAGES, changed, leftovers, run_stages, settings, write_boxes, write_params
from vadlib.cli.commands import friendly
from vadlib.errors import VadError

DATA = Path("data/mini")
TRAINING, TESTING = DATA / "training/frames", DATA / "testing/frames"


@dataclass(frozen=True)
class Case:
    """A bad input: how it comes about in a finished project, the stage that meets it, words of its one line."""

    situation: str
    spoil: Callable[[], object]
    stage: str
    words: tuple[str, ...]
    dataset: str = "mini"


def set_params(**groups) -> None:
    write_params(Path(), {"mini": changed(**groups)})


def replace_in_params(old: str, new: str) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert old in text
    Path("params.yaml").write_text(text.replace(old, new), encoding="utf-8")


def cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: round(len(content) * share)])


def append_box(line: str) -> None:
    with (DATA / "boxes.csv").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def as_videos() -> None:
    empty(DATA)
    layouts.write_videos(DATA, labels=True)
    set_params(source={"layout": "videos"})


def cut_video() -> None:
    as_videos()
    cut(DATA / "testing/01.mp4", 0.6)


def as_npy_boxes() -> None:
    arrays = np.empty(24, dtype=object)
    for number in range(24):
        arrays[number] = np.array([[1, 2, 9, 10 if number != 14 else np.nan]])
    np.save(DATA / "train.npy", arrays, allow_pickle=True)
    set_params(detector={"kind": "import", "boxes": "{split}.npy", "rules": None, "motion": None})


DATA_CASES = [
    Case("data folder missing", lambda: shutil.rmtree(DATA), "prepare", ("data/mini: not found", "put the data set")),
    Case("data folder empty", lambda: empty(DATA), "prepare", ("data/mini: empty", "put the data set mini there")),
    Case(
        "no testing clips",
        lambda: (empty(TESTING), (DATA / "frame_labels_mini.npy").unlink()),
        "prepare",
        ("data/mini: no testing clips", "layout expected"),
    ),
    Case(
        "clip with a missing frame",
        lambda: (TRAINING / "02/005.jpg").unlink(),
        "prepare",
        ("clip training/02", "missing frame 5", "004.jpg to 006.jpg"),
    ),
    Case(
        "clip with an unreadable frame",
        lambda: (TESTING / "01/004.jpg").write_bytes(b"no image"),
        "prepare",
        ("clip testing/01", "frame 3", "testing/frames/01/004.jpg", "not a JPEG"),
    ),
    Case(
        "frames of different sizes",
        lambda: Image.new("RGB", (40, 32)).save(TESTING / "03/012.jpg"),
        "prepare",
        ("clip testing/03", "frame 11", "40x32", "48x32"),
    ),
    Case(
        "clip without frames",
        lambda: empty(TRAINING / "01"),
        "prepare",
        ("clip training/01", "no images in the folder"),
    ),
    Case(
        "video cut short",
        cut_video,
        "prepare",
        ("clip testing/01", "data/mini/testing/01.mp4", "replace the file"),
    ),
    Case(
        "labels of the wrong length",
        lambda: np.save(DATA / "frame_labels_mini.npy", np.zeros(35, np.int64)),
        "prepare",
        ("frame_labels_mini.npy: 35 labels", "3 testing clips have 36 frames"),
    ),
    Case(
        "labels that are no 0 or 1",
        lambda: np.save(DATA / "frame_labels_mini.npy", np.full(36, 2)),
        "prepare",
        ("frame_labels_mini.npy: label 2 at frame 0 of clip testing/01",),
    ),
    Case(
        "frames fewer than the known total",
        lambda: set_params(source={"layout": "frames", "expected_frames": [24, 37]}),
        "prepare",
        ("36 testing frames", "the known total is 37"),
    ),
    *(
        Case(
            f"clip with a truncated frame, in {stage}",
            lambda: cut(TRAINING / "02/007.jpg", 0.6),
            stage,
            ("clip training/02", "frame 6", "data/mini/training/frames/02/007.jpg", "replace the file"),
        )
        for stage in ("detect", "flow", "build_raw")
    ),
    Case(
        "frame gone since prepare",
        lambda: (TESTING / "02/012.jpg").unlink(),
        "flow",
        ("clip testing/02", "11 frames where 12 were indexed", "run prepare again"),
    ),
    Case("clip gone since prepare", lambda: shutil.rmtree(TESTING / "02"), "flow", ("clip testing/02",)),
    Case(
        "boxes with NaN (CSV)",
        lambda: append_box("testing/02,3,1,nan,9,9"),
        "detect",
        ("boxes.csv: line", "clip testing/02, frame 3", "y1 is nan"),
    ),
    Case(
        "boxes with NaN (.npy)",
        as_npy_boxes,
        "detect",
        ("train.npy: clip 02, frame 2", "nan", "expected four finite numbers"),
    ),
    Case(
        "a box wholly outside the frame",
        lambda: append_box("testing/02,3,50,1,60,9"),
        "detect",
        ("boxes.csv: clip 02, frame 3", "outside the frame of 48x32 px"),
    ),
    Case(
        "boxes of a frame the clip does not have",
        lambda: append_box("training/01,12,1,1,9,9"),
        "detect",
        ("boxes.csv: clip 01, frame 12", "frames 0 to 11"),
    ),
    Case(
        "boxes of a clip there is not",
        lambda: append_box("training/07,1,1,1,9,9"),
        "detect",
        ("clip 'training/07' is not in the data set",),
    ),
    Case(
        "box file missing",
        lambda: (DATA / "boxes.csv").unlink(),
        "detect",
        ("data/mini/boxes.csv: not found", "put the boxes there"),
    ),
    Case(
        "detector weights missing",
        lambda: set_params(detector={"kind": "yolo", "weights": "mine.safetensors"}),
        "detect",
        ("weights/mini/mine.safetensors",),
    ),
]

EARLIER_CASES = [
    Case(f"{stage} before {missing}", lambda missing=missing: remove(missing), stage, ("make it first with", command))
    for stage, missing, command in [
        ("detect", "prepare", "`dvc repro prepare@mini`"),
        ("flow", "prepare", "`dvc repro prepare@mini`"),
        ("build_raw", "prepare", "`dvc repro prepare@mini`"),
        ("build_raw", "detect", "`dvc repro detect@mini`"),
        ("build_flow", "detect", "`dvc repro detect@mini`"),
        ("build_flow", "flow", "`dvc repro flow@mini`"),
        ("train_raw", "prepare", "`dvc repro prepare@mini`"),
        ("train_raw", "build_raw", "`dvc repro build_raw@mini`"),
        ("train_flow", "build_raw", "`dvc repro build_raw@mini`"),
        ("train_flow", "build_flow", "`dvc repro build_flow@mini`"),
        ("fit_scores", "build_flow", "`dvc repro build_flow@mini`"),
        ("fit_scores", "train_raw", "`dvc repro train_raw@mini`"),
        ("score", "prepare", "`dvc repro prepare@mini`"),
        ("score", "build_raw", "`dvc repro build_raw@mini`"),
        ("score", "train_flow", "`dvc repro train_flow@mini`"),
        ("calibrate", "fit_scores", "`dvc repro fit_scores@mini`"),
        ("score", "calibrate", "`dvc repro calibrate@mini`"),
        ("evaluate", "prepare", "`dvc repro prepare@mini`"),
        ("evaluate", "score", "`dvc repro score@mini`"),
        ("evaluate", "calibrate", "`dvc repro calibrate@mini`"),
    ]
]

DAMAGED_CASES = [
    Case(f"{path} damaged", lambda path=path: cut(Path(path), 0.5), stage, (path, "make it again with", command))
    for stage, path, command in [
        ("detect", "work/mini/prepared/manifest.json", "`dvc repro prepare@mini`"),
        ("build_raw", "work/mini/boxes.parquet", "`dvc repro detect@mini`"),
        ("build_flow", "work/mini/flow/training/01.h5", "flow"),
        ("train_raw", "work/mini/cubes/raw/training/02.h5", "`dvc repro build_raw@mini`"),
        ("score", "work/mini/model/flow.safetensors", "`dvc repro train_flow@mini`"),
        ("score", "work/mini/model/statistics.json", "`dvc repro fit_scores@mini`"),
        ("score", "work/mini/model/evidence.safetensors", "`dvc repro fit_scores@mini`"),
        ("score", "work/mini/model/calibration.json", "`dvc repro calibrate@mini`"),
        ("evaluate", "work/mini/scores/eta_0.002/frames.parquet", "`dvc repro score@mini`"),
    ]
]

PARAMS_CASES = [
    Case(
        "a data set name not in the list",
        lambda: None,
        "prepare",
        ("params.yaml: no data set 'maxi'; there are: mini",),
        dataset="maxi",
    ),
    Case("params.yaml missing", lambda: Path("params.yaml").unlink(), "prepare", ("params.yaml: not found",)),
    Case(
        "params.yaml: not YAML",
        lambda: Path("params.yaml").write_text("dataset: {mini: [1\nother: 2\n", encoding="utf-8"),
        "prepare",
        ("params.yaml: not YAML", "line 2"),
    ),
    Case("params.yaml: empty", lambda: Path("params.yaml").write_text(""), "prepare", ("params.yaml: the file",)),
    Case(
        "params.yaml: unknown key",
        lambda: set_params(training={"learning_rate": 0.1}),
        "train_raw",
        ("dataset.mini.training.learning_rate: unknown key; valid here: adam_eps, batch,",),
    ),
    Case(
        "params.yaml: unknown group",
        lambda: set_params(trainig={"epochs": 1}),
        "prepare",
        ("dataset.mini.trainig: unknown key; valid here: best, cube,",),
    ),
    Case(
        "params.yaml: wrong type",
        lambda: set_params(training={"epochs": "many"}),
        "prepare",
        ("dataset.mini.training.epochs: input should be a valid integer, not 'many'",),
    ),
    Case(
        "params.yaml: out of range",
        lambda: set_params(eta=[0.1, -0.5]),
        "prepare",
        ("dataset.mini.eta.1: input should be greater than or equal to 0, not -0.5",),
    ),
    Case(
        "params.yaml: not one of the choices",
        lambda: set_params(flow={"kind": "fast"}),
        "prepare",
        ("dataset.mini.flow.kind: must be one of dis, raft_small, raft_large, import, not 'fast'",),
    ),
    Case(
        "params.yaml: two keys that contradict each other",
        lambda: set_params(model={"heads": 3}),
        "prepare",
        ("dataset.mini.model: the last of `widths` (8) must be a multiple of `heads` (3)",),
    ),
    Case(
        "params.yaml: two problems",
        lambda: set_params(training={"epochs": 0}, false_alarms=-1.0),
        "prepare",
        ("dataset.mini.training.epochs: input should be greater", "(and 1 more)"),
    ),
    Case(
        "params.yaml: lists a data set it does not describe",
        lambda: replace_in_params("datasets: [mini]", "datasets: [mini, maxi]"),
        "prepare",
        ("`datasets` lists 'maxi', which `dataset` does not describe",),
    ),
]

CASES = DATA_CASES + EARLIER_CASES + DAMAGED_CASES + PARAMS_CASES


def remove(stage: str) -> None:
    """What a stage leaves, if it is there."""
    path = Path(OUTPUTS[stage])
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def arguments(stage: str, dataset: str = "mini") -> list[str]:
    """The command of a stage of dvc.yaml: script, then options."""
    script, _, branch = stage.partition("_") if stage.startswith("train") else (stage, "", "")
    return [f"stages/{script}.py", "--dataset", dataset, *(["--branch", branch] if branch else [])]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project that every stage has run in."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "weights/mini").mkdir(parents=True)
    with contextlib.chdir(folder):
        truth = layouts.write_frames_folders(DATA, "pooled")
        write_boxes(DATA / "boxes.csv", truth)
        write_params(folder, {"mini": MINI})
        run_stages(settings())
    return folder


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    """The current folder, with a copy of the finished project."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def start_over_from(stage: str) -> None:
    """Remove what this stage and all later ones left."""
    names = list(STAGES)
    for name in names[names.index(stage) :]:
        remove(name)


def run_here(stage: str, dataset: str = "mini", *options: str):
    """Run a stage's command line in this process: its own function, wrapped as `python stages/<stage>.py` wraps it."""
    run_stages(settings(), [])  # forget the last project's detector
    script, *given = arguments(stage, dataset)
    spec = importlib.util.spec_from_file_location(f"stage_{stage}", ROOT / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(friendly(getattr(module, Path(script).stem)))
    return CliRunner().invoke(app, [*given, *options])


def run_command(stage: str, *options: str, **more) -> subprocess.CompletedProcess[str]:
    """Run a stage's command line as a user does, in the current folder."""
    script, *given = arguments(stage)
    command = [sys.executable, str(ROOT / script), *given, *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def assert_one_line(code: int, errors: str, words: tuple[str, ...]) -> None:
    assert code == 1
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1, errors
    assert errors.endswith("\n")
    assert "not foreseen" not in errors
    assert [word for word in words if word not in errors] == [], errors


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.situation)
def test_bad_input_gets_one_line_and_leaves_nothing(project, case):
    start_over_from(case.stage)
    case.spoil()
    found = run_here(case.stage, case.dataset)
    assert_one_line(found.exit_code, found.stderr, case.words)
    assert not Path(OUTPUTS[case.stage]).exists()
    assert leftovers(project) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_gets_one_line_and_leaves_nothing(project, stage, monkeypatch):
    """Here the disk fills up as a file is flushed; below a disk is really full."""
    start_over_from(stage)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr("vadlib.io.files.os.fsync", full)
        found = run_here(stage)
    assert_one_line(found.exit_code, found.stderr, ("the disk is full", "run the same command again"))
    assert not Path(OUTPUTS[stage]).exists()
    assert leftovers(project) == []
    assert run_here(stage).exit_code == 0


@pytest.fixture
def small_disk(project):
    """A file system of 2 MiB, empty, at `disk` in the project."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("needs root on Linux, to mount a small disk")
    disk = project / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)  # shards may still be open


def fill(disk: Path, leave: int) -> Path:
    """Fill a disk with one file but for `leave` bytes."""
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    file = disk / "filling"
    file.write_bytes(bytes(free - leave))
    return file


WRITES_HDF5 = ("flow", "build_raw", "build_flow")


# Where scratch and output lie on the full disk, and room for a page or so: enough to begin with.
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "prepare"])
def test_a_disk_that_is_really_full_gets_one_line_and_loses_nothing(project, small_disk, stage):
    start_over_from(stage)
    for name in ("work", ".scratch", "metrics"):
        Path(name).mkdir(exist_ok=True)
        shutil.move(name, small_disk / name)
        Path(name).symlink_to(small_disk / name)
    filling = fill(small_disk, leave=8192 if stage not in ("fit_scores", "evaluate") else 0)
    if stage in WRITES_HDF5:  # a process of its own: HDF5 may crash
        process = run_command(stage)
        code, errors = process.returncode, process.stderr
    else:
        found = run_here(stage)
        code, errors = found.exit_code, found.stderr
    assert_one_line(code, errors, ("the disk is full",))
    assert not Path(OUTPUTS[stage]).exists()
    assert leftovers(project / "disk") == leftovers(project) == []
    filling.unlink()
    assert run_here(stage).exit_code == 0


def test_an_output_folder_on_another_disk_is_filled_whole_or_not_at_all(project, small_disk, finished):
    start_over_from("flow")
    shutil.move("work", small_disk / "work")
    Path("work").symlink_to(small_disk / "work")
    filling = fill(small_disk, leave=8192)
    found = run_here("flow")
    assert_one_line(found.exit_code, found.stderr, ("the disk is full",))
    assert not Path("work/mini/flow").exists()
    assert leftovers(project / "disk") == leftovers(project) == []
    filling.unlink()
    assert run_here("flow").exit_code == 0
    for file in (finished / "work/mini/flow").rglob("*.h5"):
        assert (project / file.relative_to(finished)).read_bytes() == file.read_bytes()


def test_boxes_that_reach_outside_the_frame_are_clipped(project):
    append_box("training/01,3,-5,-2,6.5,99")
    assert run_here("detect").exit_code == 0
    boxes = pd.read_parquet("work/mini/boxes.parquet").query("split == 'training' and clip == '01' and frame == 3")
    assert boxes[["x1", "y1", "x2", "y2"]].to_numpy().tolist()[1] == [0, 0, 6.5, 32]


# As a user runs them: another process


def test_the_command_itself_prints_one_line_and_with_debug_a_traceback(project):
    shutil.rmtree(DATA)
    found = run_command("prepare")
    assert_one_line(found.returncode, found.stderr, ("data/mini: not found",))
    assert found.stdout == ""
    found = run_command("prepare", "--debug")
    assert found.returncode == 1
    assert "Traceback (most recent call last)" in found.stderr
    assert "vadlib.errors.VadError: data/mini: not found" in found.stderr


def test_an_error_in_one_of_two_workers_is_the_same_one_line(project):
    write_params(Path(), {"mini": MINI}, compute={"workers": 2, "precision": "fp32"})
    start_over_from("flow")
    cut(TRAINING / "02/007.jpg", 0.6)
    found = run_command("flow")
    assert_one_line(found.returncode, found.stderr, ("clip training/02: frame 6", "replace the file"))
    assert not Path(OUTPUTS["flow"]).exists()
    assert leftovers(project) == []


def test_debug_shows_tracebacks_in_this_process_too(project):
    shutil.rmtree(DATA)
    assert isinstance(run_here("prepare", "mini", "--debug").exception, VadError)
