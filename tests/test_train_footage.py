"""`vad train`: own footage without DVC, by the same code and so with the same scores."""

import contextlib
import csv
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests import layouts, videos
from tests.conftest import ROOT
from tests.projects import COMPUTE, MOTION, changed, run_stages, settings, until, write_params
from vadlib import training as step_module
from vadlib.boxes.kinds import onnx_detector, yolo
from vadlib.cli.main import app
from vadlib.clips import read_frames
from vadlib.errors import VadError
from vadlib.evaluation.frames import evaluate_frames
from vadlib.footage import ahead
from vadlib.footage import train as module
from vadlib.footage.find import LeftOut, find_footage
from vadlib.footage.score import score_footage
from vadlib.footage.stream import make_scorer
from vadlib.footage.train import train_on_footage
from vadlib.io.ownership import alone_in, own
from vadlib.manifest import load_manifest
from vadlib.scoring.model_folder import read_package
from vadlib.settings import OWN_FOOTAGE, load_group, with_detector

STREET = {
    "seed": 3,
    "size": [128, 96],
    "fps": 25,
    "training_clips": 2,
    "testing_clips": 2,
    "clip_frames": 24,
    "walkers": 2,
}
GROUPS = {
    "source": {"layout": "synthetic", "street": STREET},
    "detector": {**MOTION, "motion": {"threshold": 40, "min_area": 80}},
    "training": {"hold_out_every": 5},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """A project with a rendered data set that every stage of the pipeline has run on, up to the scores."""
    folder = tmp_path_factory.mktemp("rendered")
    for name in ("data", "weights"):
        (folder / name / "mini").mkdir(parents=True)
    (folder / "data/mini/note").touch()
    with contextlib.chdir(folder):
        write_params(folder, {"mini": changed(**GROUPS)})
        run_stages(settings(**GROUPS), until("score"))
    return folder


@pytest.fixture
def footage(tmp_path):
    """A folder of two small videos."""
    layouts.write_videos(tmp_path / "all", labels=False)
    return tmp_path / "all/training"


SMALL = settings(detector=MOTION)
VIDEOS = "work/mini/prepared/footage/training"


def test_train_and_score_give_the_frame_scores_and_the_auroc_of_the_stages(rendered, tmp_path, monkeypatch):
    """Both from another folder than the project's: nothing but paths and settings is passed on."""
    videos = rendered / "work/mini/prepared/footage"
    monkeypatch.chdir(tmp_path)
    train_on_footage(videos / "training", tmp_path / "model", settings(**GROUPS), COMPUTE)
    package = read_package(tmp_path / "model")
    scorer = make_scorer(package, COMPUTE)
    labels, ours, theirs = [], [], []
    with contextlib.chdir(rendered):
        clips = load_manifest(Path("work/mini/prepared/manifest.json")).split("testing")
        frames = pd.read_parquet("work/mini/scores/eta_0.002/frames.parquet")
    for clip, one in zip(clips, find_footage([videos / "testing"]), strict=True):
        assert one.name == clip.name
        score_footage(one, scorer, package.threshold, tmp_path / clip.name)
        rows = list(csv.DictReader((tmp_path / clip.name / "frames.csv").open(encoding="ascii")))
        scores = np.array([float(row["score"] or "nan") for row in rows])
        expected = frames[frames["clip"] == clip.name]
        np.testing.assert_array_equal([int(row["boxes"]) for row in rows], expected["boxes"])
        np.testing.assert_array_equal(scores, expected["best"])
        labels.append(clip.labels())
        ours.append(scores)
        theirs.append(expected["best"].to_numpy())
    assert np.isfinite(np.concatenate(ours)).sum() > 20
    auroc = evaluate_frames(labels, ours)["auroc"]["micro"]
    assert auroc == evaluate_frames(labels, theirs)["auroc"]["micro"]
    for branch in ("raw", "flow"):
        ours, theirs = (p / f"{branch}.safetensors" for p in (tmp_path / "model", rendered / "work/mini/model"))
        assert ours.read_bytes() == theirs.read_bytes()


def test_the_command_line_says_what_it_learned_from_and_leaves_the_model_alone(rendered, monkeypatch):
    monkeypatch.chdir(rendered)
    done = CliRunner().invoke(app, ["train", VIDEOS, "--output", "models/mine", "--settings", "mini"])
    assert done.exit_code == 0, done.output
    assert "2 clips, 48 frames" in done.output
    threshold = read_package(Path("models/mine")).threshold
    assert 0 < threshold.frames <= 12  # held out: a quarter of each clip
    warning = f"warning: the threshold was set on {threshold.frames} frames, and to promise that 1 % of normal frames"
    assert f"{warning} are above it takes about 2,800 with objects held out of training" in done.stderr
    assert [p.name for p in Path("models").iterdir()] == ["mine"]
    assert read_package(Path("models/mine")).settings == settings(**GROUPS)


def test_settings_may_be_a_file_of_their_own(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("eta: 0.01\ndetector: {kind: motion}\n")
    assert load_group(file)[0].eta == (0.01,)
    file.write_text("detector: {kin: motion}\n")
    with pytest.raises(VadError, match=r"mine.yaml: detector.kin: unknown key; valid here: image_size, kind"):
        load_group(file)


def test_a_killed_training_goes_on_with_the_stage_it_was_in(footage, tmp_path, monkeypatch):
    calls = []

    def counted(stage, name, stop):
        def run(places, used, compute):
            calls.append(name)
            if stop == name:
                raise KeyboardInterrupt
            return stage(places, used, compute)

        return run

    def run(stop, used=SMALL):
        calls.clear()
        monkeypatch.setattr(module, "_STAGES", [(n, g, counted(s, n, stop)) for n, g, s in stages])
        train_on_footage(footage, tmp_path / "model", used, COMPUTE)

    stages = list(module._STAGES)
    with pytest.raises(KeyboardInterrupt):
        run("train_raw")
    assert not (tmp_path / "model").exists()
    with pytest.raises(KeyboardInterrupt):
        run("train_flow")
    assert calls == ["train_raw", "train_flow"]
    with pytest.raises(KeyboardInterrupt):  # other settings: only what they change, and all that follows
        run("fit_scores", SMALL.model_copy(update={"cube": SMALL.cube.model_copy(update={"context": 1})}))
    assert calls == ["build_raw", "build_flow", "train_raw", "train_flow", "fit_scores"]
    run(None)
    assert read_package(tmp_path / "model").settings == SMALL
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all", "model"]


@pytest.mark.parametrize("killed", [False, True])
def test_with_two_devices_the_second_branch_is_trained_meanwhile(footage, tmp_path, monkeypatch, killed):
    """Processes stand for devices. What is trained is what one device trains, whatever becomes of the other one."""
    training = SMALL.training.model_copy(update={"checkpoint_seconds": 1e-9, "epochs": 3})
    used = SMALL.model_copy(update={"training": training})
    train_on_footage(footage, tmp_path / "one", used, COMPUTE)
    steps, real = [], step_module.training_step
    monkeypatch.setattr(step_module, "training_step", lambda *given: (steps.append(given[2]), real(*given))[1])
    monkeypatch.setattr(ahead, "devices", lambda compute: 2)
    if killed:
        monkeypatch.setattr(ahead, "_train", _killed)
    train_on_footage(footage, tmp_path / "two", used, COMPUTE)
    assert ("flow" in steps) is killed
    assert "raw" in steps
    for name in ("raw.safetensors", "flow.safetensors", "calibration.json"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "one", "two"]


def _killed(*_) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_changed_footage_is_learned_anew(footage, tmp_path, monkeypatch):
    stages = list(module._STAGES)
    monkeypatch.setattr(module, "_STAGES", [*stages[:2], ("flow", stages[0][1], _stop)])
    with pytest.raises(KeyboardInterrupt):
        train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE)
    (footage / "02.mp4").rename(footage / "03.mp4")
    with pytest.raises(KeyboardInterrupt):
        train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE)
    clips = load_manifest(tmp_path / "model.work/prepared/manifest.json").clips
    assert [clip.key for clip in clips] == ["training/01", "training/03"]
    assert set(pd.read_parquet(tmp_path / "model.work/boxes.parquet")["clip"]) == {"01", "03"}


def _stop(*_) -> None:
    raise KeyboardInterrupt


def _change_in_the_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


DAMAGED = [
    "prepared/manifest.json",
    "prepared/left_out.json",
    "boxes.parquet",
    "flow/training/01.h5",
    "cubes/raw/training/02.h5",
    "cubes/flow/training/01.h5",
    "model/raw.safetensors",
    "metrics/train_raw.json",
    "model/statistics.json",
    "model/evidence.safetensors",
    "model/calibration.json",
    "done/detect",
    "done/calibrate",
]


SPOILED = [
    *((file, _change_in_the_middle) for file in DAMAGED),
    *((file, how) for file in DAMAGED[2:5:2] for how in (videos.cut, lambda p: p.write_bytes(b""), Path.unlink)),
]


@pytest.mark.parametrize(("file", "spoil"), SPOILED)
def test_what_was_damaged_of_unfinished_work_is_set_aside_said_and_made_again(whole, tmp_path, capsys, file, spoil):
    """By the next run, without a word from the user; the model is that of an undisturbed run."""
    shutil.copytree(whole / "kept", tmp_path / "model.work")
    damaged = tmp_path / "model.work" / file
    spoil(damaged)
    content = damaged.read_bytes() if damaged.exists() else None
    train_on_footage(whole / "all/training", tmp_path / "model", SMALL, COMPUTE)
    told = capsys.readouterr().err
    for made in (whole / "model").iterdir():
        assert (tmp_path / "model" / made.name).read_bytes() == made.read_bytes()
    if content is None:
        assert not (tmp_path / "model.work").exists()
        return
    assert f"warning: {damaged}: damaged, or changed; moved to {tmp_path / 'model.work/damaged'}" in told
    assert (tmp_path / f"model.work/damaged/0-{damaged.name}").read_bytes() == content  # it may be somebody's
    assert sorted(p.name for p in (tmp_path / "model.work").iterdir()) == [".vadlib", "damaged"]


def test_only_the_stage_whose_work_was_damaged_is_run_again(whole, tmp_path, monkeypatch):
    """And what was set aside before is no hindrance."""
    ran = []

    def noted(name, stage):
        def run(places, used, compute):
            ran.append(name)
            return stage(places, used, compute)

        return run

    monkeypatch.setattr(module, "_STAGES", [(n, g, noted(n, s)) for n, g, s in module._STAGES])
    shutil.copytree(whole / "kept", tmp_path / "model.work")
    for file in ("flow/training/01.h5", "model/flow.safetensors"):
        _change_in_the_middle(tmp_path / "model.work" / file)
    train_on_footage(whole / "all/training", tmp_path / "model", SMALL, COMPUTE)
    assert ran == ["flow", "train_flow"]
    train_on_footage(whole / "all/training", tmp_path / "model", SMALL, COMPUTE)
    assert ran[2:] == [name for name, _, _ in module._STAGES]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A `model`, and what is `kept` of a run that was stopped just before it had made that."""
    folder = tmp_path_factory.mktemp("whole")
    layouts.write_videos(folder / "all", labels=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.package, "package_model", _stop)
        with pytest.raises(KeyboardInterrupt):
            train_on_footage(folder / "all/training", folder / "model", SMALL, COMPUTE)
    shutil.copytree(folder / "model.work", folder / "kept")
    train_on_footage(folder / "all/training", folder / "model", SMALL, COMPUTE)
    return folder


def test_a_yolo_of_the_users_becomes_part_of_the_model_folder(footage, tmp_path, monkeypatch):
    weights = tmp_path / "mine.pt"
    weights.write_bytes(b"weights")
    monkeypatch.setattr(module, "_STAGES", [("detect", lambda s: [], _stop)])
    with pytest.raises(KeyboardInterrupt):
        train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE, yolo=weights)
    assert (tmp_path / "model.work/weights/detector/mine.pt").read_bytes() == b"weights"


def test_imported_boxes_and_empty_folders_are_one_line(footage, tmp_path):
    with pytest.raises(VadError, match=r"import boxes or flow.*--detector-weights"):
        train_on_footage(footage, tmp_path / "model", settings(), COMPUTE)
    (tmp_path / "none").mkdir()
    with pytest.raises(VadError, match="none: no footage there; expected normal footage"):
        train_on_footage(tmp_path / "none", tmp_path / "model", SMALL, COMPUTE)


def test_without_the_detectors_file_one_line_offers_detectors_that_need_none(footage, tmp_path, monkeypatch):
    """Before any work; an ONNX detector is not offered where it is what is missing."""
    missing = with_detector(OWN_FOOTAGE, "onnx")
    monkeypatch.setitem(onnx_detector.PUBLISHED, "yolox_nano.onnx", ((tmp_path / "nowhere").as_uri(), "0"))
    with pytest.raises(
        VadError, match=r"yolox_nano.onnx: not found.*; or take --detector motion, which needs no file$"
    ):
        train_on_footage(footage, tmp_path / "model", missing, COMPUTE)
    assert not (tmp_path / "model.work/done").exists()
    monkeypatch.setattr(yolo.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(VadError, match=r"pip install 'vadlib\[yolo\]'.*--detector motion.*, or --detector onnx, which"):
        train_on_footage(footage, tmp_path / "other", OWN_FOOTAGE, COMPUTE)


def test_another_kind_of_detector_keeps_the_rules_and_the_motion_boxes():
    onnx = with_detector(OWN_FOOTAGE, "onnx").detector
    assert (onnx.kind, onnx.rules, onnx.motion) == ("onnx", OWN_FOOTAGE.detector.rules, OWN_FOOTAGE.detector.motion)
    moving = with_detector(OWN_FOOTAGE, "motion")
    assert (moving.detector.kind, moving.detector.motion) == ("motion", OWN_FOOTAGE.detector.motion)
    assert with_detector(moving, "yolo").detector.motion == OWN_FOOTAGE.detector.motion
    assert moving.training == OWN_FOOTAGE.training


def test_the_preset_needs_no_files_that_are_not_fetched():
    assert (OWN_FOOTAGE.detector.kind, OWN_FOOTAGE.detector.weights, OWN_FOOTAGE.flow.kind) == (
        "yolo",
        "yolo11n.pt",
        "dis",
    )


def test_any_number_of_clips_is_learned_from_with_few_file_handles(tmp_path):
    """Forty clips, of two shards each, in a process that may have 64 files open, with its libraries' own."""
    resource = pytest.importorskip("resource")
    frames = layouts.draw().frames["training/01"]
    for clip in range(40):
        layouts.write_video(tmp_path / f"normal/{clip:02d}.mp4", np.roll(frames[:4], clip, axis=2))
    (tmp_path / "s.yaml").write_text(yaml_of(SMALL), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "vadlib", "train", "normal", "--output", "model", "--settings", "s.yaml"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "40 clips, 160 frames" in done.stdout
    assert (tmp_path / "model/calibration.json").is_file()


def yaml_of(used) -> str:
    """The settings as a file of their own says them."""
    text = io.StringIO()
    YAML(typ="safe", pure=True).dump(used.model_dump(mode="json"), text)
    return text.getvalue()


# What cannot be read


def nested(folder: Path) -> Path:
    """Good clips in folders, and bad ones of several kinds among them."""
    frames = layouts.draw().frames["training/01"]
    for name in ("2026-01-01/08/00.mp4", "2026-01-01/09/00.mp4", 'odd "name"/a\nb.mp4'):
        layouts.write_video(folder / name, frames)
    layouts.write_video(Path(os.fsdecode(os.fsencode(folder) + b"/\xff.avi")), frames)
    layouts.write_images(folder / "shots", frames, "12-28-{:02d}.png")
    (folder / "shots/12-28-05.png").write_text("<html>404</html>")
    videos.damaged(videos.make(folder, "mkv", frames=list(videos.pictures(60))), 40)
    videos.cut(videos.make(folder, "mp4")).rename(folder / "no-index.mp4")
    (folder / "text.mp4").write_text("hello")
    (folder / "lost+found").mkdir()
    (folder / "notes.txt").touch()
    return folder


def stopping(monkeypatch) -> None:
    """Have `vad train` stop once the footage is indexed."""
    monkeypatch.setattr(module, "_STAGES", [*module._STAGES[:1], ("detect", lambda s: [], _stop)])


@pytest.mark.parametrize(
    ("clip", "said"),
    [("late", r"it will take about \d+ s .*: some [1-9]\d* objects, "), ("empty", "not known, for no object")],
)
def test_a_room_that_is_empty_at_first_does_not_mislead_about_the_time(tmp_path, monkeypatch, capsys, clip, said):
    moving = layouts.draw().frames["training/01"]
    still = np.repeat(moving[:1], 30, axis=0)
    frames = {"late": np.concatenate([still, moving]), "empty": still}
    layouts.write_video(tmp_path / "in/a.mp4", frames[clip])
    stopping(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_on_footage(tmp_path / "in", tmp_path / "model", SMALL, COMPUTE)
    assert re.search(said, capsys.readouterr().err)


def test_what_cannot_be_read_is_left_out_and_named_again_when_a_run_goes_on(tmp_path, monkeypatch, capsys):
    footage = nested(tmp_path / "all")
    stopping(monkeypatch)
    told = []
    for _ in range(2):  # killed, and again
        left_out = LeftOut()
        with pytest.raises(KeyboardInterrupt):
            train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE, left_out=left_out)
        assert (left_out.clips, left_out.partial, left_out.others) == (2, 2, 1)
        assert left_out.frames > 1
        told.append(re.sub(r"it will take about .*\n", "", capsys.readouterr().err))  # by a look at the clock
    assert told[0] == told[1]
    for words in ("no-index.mp4: cannot be opened", "text.mp4: cannot be opened", "12-28-05.png) cannot be read",
                  "a.mkv) at 1.5", "1 file is no footage: notes.txt"):  # fmt: skip
        assert told[0].count(words) == 1
    clips = load_manifest(tmp_path / "model.work/prepared/manifest.json").clips
    assert len(clips) == 6
    assert {clip.name for clip in clips} > {"2026-01-01/08/00", "2026-01-01/09/00", "a", "shots"}
    assert all(clip.name.isprintable() and clip.name.isascii() for clip in clips)
    for clip in clips:
        assert len(list(read_frames(clip))) == clip.frames
    with pytest.raises(VadError, match=r"no-index\.mp4: cannot be opened as a video"):
        train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE)


def test_scoring_and_training_take_the_same_for_footage_under_the_same_names(tmp_path, monkeypatch):
    footage = nested(tmp_path / "all")
    stopping(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE, left_out=LeftOut(quiet=True))
    clips = load_manifest(tmp_path / "model.work/prepared/manifest.json").clips
    found = list(find_footage([footage], LeftOut(quiet=True)))
    assert [clip.name for clip in clips] == [one.name for one in found]
    assert [clip.path for clip in clips] == [one.source.as_posix() for one in found]


def test_bad_clips_do_not_end_a_training(tmp_path, monkeypatch):
    footage = nested(tmp_path / "all")
    for number in range(4):
        layouts.write_video(footage / f"more/{number}.mp4", layouts.draw().frames["training/02"])
    (tmp_path / "s.yaml").write_text(yaml_of(SMALL), encoding="utf-8")
    given = ["train", str(footage), "--output", str(tmp_path / "model"), "--settings", str(tmp_path / "s.yaml")]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 3, done.output
    assert "10 clips, " in done.stdout
    assert "2 clips left out, 2 clips partly left out, " in done.stdout
    assert read_package(tmp_path / "model").settings == SMALL
    strict = CliRunner().invoke(app, [*given[:3], str(tmp_path / "other"), *given[4:], "--strict"])
    assert (strict.exit_code, strict.stderr.count("\n")) == (1, 1)
    assert strict.stderr.startswith("error: ")
    assert not (tmp_path / "other").exists()


def test_a_training_of_which_nothing_is_left_is_an_error(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all/a.mp4").write_text("hello")
    videos.write(tmp_path / "all/tiny.avi", "mpeg4", frames=[p[:8, :8] for p in videos.pictures(3)])
    with pytest.raises(VadError, match=r"none of the footage can be read; .*a\.mp4: cannot be.*frames of 8x8"):
        train_on_footage(tmp_path / "all", tmp_path / "model", SMALL, COMPUTE, left_out=LeftOut())
    assert not (tmp_path / "model").exists()


def test_two_trainings_do_not_work_in_one_folder(footage, tmp_path):
    own(tmp_path / "model.work")
    with (
        alone_in(tmp_path / "model.work"),
        pytest.raises(VadError, match=r"model\.work: another run is at work there; wait"),
    ):
        train_on_footage(footage, tmp_path / "model", SMALL, COMPUTE)
    assert not (tmp_path / "model").exists()
