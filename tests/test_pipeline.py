"""The stages, one after the other, by their functions: every layout goes through, and nothing depends on chance."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from tests import layouts
from tests.conftest import ROOT
from tests.projects import (
    COMPUTE,
    MOTION,
    OUTPUTS,
    STAGES,
    artefacts,
    leftovers,
    run_stages,
    settings,
    until,
    write_boxes,
)
from vadlib.cubes.shards import Shard
from vadlib.errors import VadError
from vadlib.io import ownership
from vadlib.manifest import load_manifest
from vadlib.pipeline import build_flow, build_raw, compare, detect, flow, networks, package, score, train
from vadlib.pipeline.places import BOX, Places
from vadlib.settings import BRANCHES, ComputeSettings, DatasetSettings, Settings

LAYOUTS = {
    "frames": lambda folder: layouts.write_frames_folders(folder, "pooled"),
    "ucsd": lambda folder: layouts.write_ucsd(folder, script=True, masks=False),
    "avenue": lambda folder: layouts.write_avenue(folder, "mat"),
    "shanghaitech": lambda folder: layouts.write_shanghaitech(folder, frame_masks=True, pixel_masks=True),
    "videos": lambda folder: layouts.write_videos(folder, labels=True),
}
TEST_FRAMES = layouts.FRAMES * len(layouts.NAMES["testing"])
ANOMALOUS = sum(b - a for spans in layouts.SPANS.values() for a, b in spans)


def new_project(folder: Path, write=LAYOUTS["frames"], **boxes) -> layouts.Truth:
    """Data and true boxes in data/mini below a folder."""
    data = folder / "data/mini"
    data.mkdir(parents=True)
    (folder / "weights/mini").mkdir(parents=True)
    truth = write(data)
    write_boxes(data / "boxes.csv", truth, **boxes)
    return truth


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The current folder, with a fresh data set `mini`."""
    new_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project that every stage has run in. Tests must leave it as it is."""
    folder = tmp_path_factory.mktemp("finished")
    new_project(folder)
    with contextlib.chdir(folder):
        run_stages(settings())
    return folder


@pytest.fixture
def copied(finished, tmp_path, monkeypatch):
    """The current folder, with a copy of the finished project."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Every layout


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    """A project of each layout that every stage has run in: its folder, the truth, and the stages' counts."""
    folder = tmp_path_factory.mktemp(request.param)
    truth = new_project(folder, LAYOUTS[request.param])
    with contextlib.chdir(folder):
        counts = run_stages(settings(source={"layout": request.param, "expected_frames": [24, 36]}))
    return folder, truth, counts


def test_labels_agree_frame_by_frame(layout):
    folder, truth, _ = layout
    clips = load_manifest(folder / "work/mini/prepared/manifest.json").clips
    assert [clip.key for clip in clips] == list(truth.labels)
    for clip in clips:
        np.testing.assert_array_equal(clip.labels(), truth.labels[clip.key], err_msg=clip.key)
    curves = pd.read_csv(folder / "metrics/mini/frame_scores.csv", dtype={"clip": str})
    for (name, rows), key in zip(curves.groupby("clip"), [k for k in truth.labels if "testing" in k], strict=True):
        assert key == f"testing/{name}"
        np.testing.assert_array_equal(rows["label"], truth.labels[key])
        np.testing.assert_array_equal(rows["frame"], np.arange(layouts.FRAMES))


def test_metrics_hold_micro_macro_floor_and_counts(layout):
    folder, _, _ = layout
    metrics = json.loads((folder / "metrics/mini/metrics.json").read_text())
    regions = [name for name in ("rbdc", "tbdc") if name in metrics]
    assert bool(regions) == (folder / "work/mini/prepared/regions.parquet").exists()
    assert set(metrics["auroc"]) == {"micro", "macro", "floor"}
    assert all(0 <= value <= 1 for value in metrics["auroc"].values())
    assert metrics["eta"] == 0.002
    assert list(metrics["intervals"]) == ["auroc", "average_precision", "equal_error_rate", *regions, "left_out"]
    for name, value in metrics["auroc"].items():
        low, high = metrics["intervals"]["auroc"][name]
        assert 0 <= low <= value <= high <= 1
    # Where the layout's masks tell: one drawn square a frame, and a track for each span of each clip.
    assert {key: metrics["counts"].pop(key) for key in ("regions", "tracks") if regions} == (
        {"regions": ANOMALOUS, "tracks": sum(map(len, layouts.SPANS.values()))} if regions else {}
    )
    assert metrics["counts"] == {
        "clips": 3,
        "frames": TEST_FRAMES,
        "anomalous_frames": ANOMALOUS,
        "frames_without_boxes": 0,
        "cubes": TEST_FRAMES + ANOMALOUS,
    }


def test_tables_have_their_columns_and_a_row_for_each_box_or_frame(layout):
    folder, truth, _ = layout
    work, metrics = folder / "work/mini", folder / "metrics/mini"
    boxes = pd.read_parquet(work / "boxes.parquet")
    assert list(boxes) == ["clip", "split", "frame", *BOX, "score", "cls", "source"]
    assert len(boxes) == 5 * layouts.FRAMES + ANOMALOUS
    cubes = pd.read_parquet(work / "scores/eta_0.002/cubes.parquet")
    errors = ["raw", "raw_median", "flow", "flow_median"]
    measured = [*errors, "speed", "velocity", "looks", "place", "dwell", "cube_flow", "trunk_flow"]
    parts = [f"{name}_part" for name in ("raw", "flow", "speed", "velocity", "looks", "place", "dwell")]
    along = ["paper", "best", *parts]
    assert list(cubes) == ["clip", "frame", *BOX, "magnitude", "track", *measured, *along]
    assert cubes.notna().all(axis=None)
    testing = boxes[boxes["split"] == "testing"].reset_index(drop=True)
    pd.testing.assert_frame_equal(cubes[["clip", "frame", *BOX]], testing[["clip", "frame", *BOX]])
    frames = pd.read_parquet(work / "scores/eta_0.002/frames.parquet")
    assert list(frames) == ["clip", "frame", "boxes", "best", "paper", *parts]
    expected = [(key.split("/")[1], t) for key in truth.frames if "testing" in key for t in range(layouts.FRAMES)]
    assert list(zip(frames["clip"], frames["frame"], strict=True)) == expected
    highest = cubes.groupby(["clip", "frame"], sort=False)
    for column in ("best", "paper", *parts):
        np.testing.assert_array_equal(frames[column], highest[column].max())
    weighted = [weight * cubes[f"{name}_part"] for name, weight in settings().best.weights.items()]
    np.testing.assert_allclose(cubes["best"], np.sum(weighted, axis=0), rtol=1e-6)
    assert list(pd.read_csv(metrics / "roc.csv")) == ["false_positive_rate", "true_positive_rate"]
    assert list(pd.read_csv(metrics / "frame_scores.csv")) == ["clip", "frame", "score", "label"]
    for branch in BRANCHES:
        loss = pd.read_csv(metrics / f"loss_{branch}.csv")
        assert list(loss) == ["step", "epoch", "loss"]
        assert loss["step"].tolist() == [1, 2, 3]  # 24 training boxes, 8 a step


def test_stages_count_what_they_did(layout):
    _, _, counts = layout
    assert (counts["prepare"]["training frames"], counts["prepare"]["testing frames"]) == (24, TEST_FRAMES)
    assert counts["prepare"]["anomalous frames"] == counts["evaluate"]["anomalous frames"] == ANOMALOUS
    assert counts["detect"]["frames"] == counts["flow"]["frames"] == counts["build_raw"]["frames"] == 60
    assert counts["build_raw"]["cubes"] == counts["build_flow"]["cubes"] == counts["detect"]["boxes"]
    assert counts["train_raw"]["cubes"] == counts["fit_scores"]["cubes"] == 24
    assert counts["calibrate"] == {"held-out frames": 24, "cubes": 24}


def test_cubes_show_what_is_in_the_boxes(finished):
    shard = Shard(finished / "work/mini/cubes/raw/training/01.h5", "")
    centre = shard.read("cubes")[6, 2]  # frame 6, far from the ends: patch T of 0..2T
    assert abs(centre.astype(int) - (210, 180, 160)).max() <= 20  # the square's colour, but for JPEG


def test_the_rendered_street_goes_through_on_motion_boxes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/mini").mkdir(parents=True)
    street = {"seed": 3, "size": [96, 64], "training_clips": 1, "testing_clips": 2, "clip_frames": 32}
    rendered = settings(source={"layout": "synthetic", "street": street}, detector=MOTION)
    counts = run_stages(rendered)
    labels = pd.read_csv("work/mini/prepared/footage/labels.csv")
    assert counts["prepare"]["anomalous frames"] == (labels["last"] - labels["first"] + 1).sum() > 0
    assert counts["detect"]["motion boxes"] == counts["detect"]["boxes"] > 0
    regions = pd.read_csv("work/mini/prepared/footage/regions.csv")
    assert counts["evaluate"]["regions"] == len(regions) > 0
    assert counts["evaluate"]["tracks"] == len(regions.groupby(["clip", "track"]))
    kinds = json.loads(Path("metrics/mini/metrics.json").read_text())["kinds"]
    frames = regions.drop_duplicates(["clip", "frame", "kind"]).groupby("kind").size()
    assert {row["kind"]: row["frames"] for row in kinds} == frames.to_dict()
    assert len(kinds) == 2  # a clip of each sort
    assert leftovers(tmp_path) == []


# Frames without boxes, clips without labels, short clips


def test_frames_without_boxes_are_counted_and_rank_last(tmp_path, monkeypatch):
    new_project(tmp_path, without=["testing/01", "training/02"])
    monkeypatch.chdir(tmp_path)
    run_stages(settings())
    frames = pd.read_parquet("work/mini/scores/eta_0.002/frames.parquet")
    empty = frames["clip"] == "01"
    assert frames.loc[empty, ["best", "paper", "looks_part"]].isna().all(axis=None)
    assert (frames["boxes"] == 0).equals(empty)
    assert json.loads(Path("metrics/mini/metrics.json").read_text())["counts"]["frames_without_boxes"] == 12
    # The four anomalous frames of clip 01 come after every other frame on the curve: below them lies
    # everything, so the last step of true positives is taken only where all other frames are in.
    roc = pd.read_csv("metrics/mini/roc.csv")
    before_last = roc[roc["true_positive_rate"] < 1]
    normal = TEST_FRAMES - ANOMALOUS
    assert before_last["false_positive_rate"].max() == pytest.approx((normal - 8) / normal, rel=1e-5)


def test_no_boxes_in_training_is_a_clear_error(tmp_path, monkeypatch):
    new_project(tmp_path, without=["training/01", "training/02"])
    monkeypatch.chdir(tmp_path)
    run_stages(settings(), until("build_flow"))
    with pytest.raises(VadError, match="no training cubes"):
        run_stages(settings(), ["train_raw"])


def test_no_boxes_at_all_in_testing_still_evaluates(tmp_path, monkeypatch):
    new_project(tmp_path, without=["testing/01", "testing/02", "testing/03"])
    monkeypatch.chdir(tmp_path)
    run_stages(settings())
    metrics = json.loads(Path("metrics/mini/metrics.json").read_text())
    assert metrics["auroc"] == {"micro": 0.5, "macro": 0.5, "floor": 0.5}
    assert metrics["counts"]["frames_without_boxes"] == TEST_FRAMES


def test_own_footage_without_labels_is_scored_and_evaluate_says_so(tmp_path, monkeypatch):
    new_project(tmp_path, lambda folder: layouts.write_videos(folder, labels=False))
    monkeypatch.chdir(tmp_path)
    own = settings(source={"layout": "videos"})
    counts = run_stages(own, until("score"))
    assert counts["score"]["frames"] == len(pd.read_parquet("work/mini/scores/eta_0.002/frames.parquet")) == TEST_FRAMES
    with pytest.raises(VadError, match=r"testing clip 01 has no labels, so there is nothing to evaluate"):
        run_stages(own, ["evaluate"])
    assert not Path("metrics/mini/metrics.json").exists()


@pytest.mark.filterwarnings("error")
def test_labels_of_one_class_alone_have_no_auroc_and_no_warnings(copied):
    np.save("data/mini/frame_labels_mini.npy", np.zeros(TEST_FRAMES, np.int64))
    run_stages(settings(), ["prepare", "evaluate"])
    metrics = json.loads(Path("metrics/mini/metrics.json").read_text())
    assert metrics["auroc"] == {"micro": None, "macro": None, "floor": None}
    assert metrics["counts"]["anomalous_frames"] == 0


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_a_clip_shorter_than_a_cube_goes_through(project, frames):
    """A cube is of 5 frames here."""
    for split in ("training", "testing"):
        for number in range(frames, layouts.FRAMES):
            Path(f"data/mini/{split}/frames/01/{number + 1:03d}.jpg").unlink()
    table = pd.read_csv("data/mini/boxes.csv")
    kept = table[~table["clip"].str.endswith("/01") | (table["frame"] < frames)]
    kept.to_csv("data/mini/boxes.csv", index=False)
    labels = np.load("data/mini/frame_labels_mini.npy").reshape(-1)
    np.save("data/mini/frame_labels_mini.npy", np.concatenate([labels[:frames], labels[layouts.FRAMES :]]))
    counts = run_stages(settings())
    scores = pd.read_parquet("work/mini/scores/eta_0.002/frames.parquet")
    assert (scores["clip"] == "01").sum() == frames
    assert scores[["best", "paper"]].notna().all(axis=None)
    assert counts["evaluate"]["frames"] == frames + 2 * layouts.FRAMES


# Regions


def test_regions_are_evaluated_where_there_are_some_and_forgotten_with_their_file(copied):
    """The true boxes are the detections: each region has one that fits it, all at or above some threshold."""
    truth = layouts.draw()
    rows = [
        f"{key[-2:]},{t},1,{x1},{y1},{x2},{y2}" for key in truth.masks for t, x1, y1, x2, y2 in _squares(truth, key)
    ]
    Path("data/mini/regions.csv").write_text("\n".join(["clip,frame,track,x1,y1,x2,y2", *rows]) + "\n")
    counts = run_stages(settings(), ["prepare", "evaluate"])
    assert (counts["evaluate"]["regions"], counts["evaluate"]["tracks"]) == (ANOMALOUS, 2)
    metrics = json.loads(Path("metrics/mini/metrics.json").read_text())
    # At worst all 36 normal boxes come first, one a frame: only then would nothing be found before the end.
    assert 0 < metrics["rbdc"] <= 1
    assert metrics["intervals"]["rbdc"][0] <= metrics["rbdc"] <= metrics["intervals"]["rbdc"][1]
    Path("data/mini/regions.csv").unlink()
    run_stages(settings(), ["prepare", "evaluate"])
    assert "rbdc" not in json.loads(Path("metrics/mini/metrics.json").read_text())


def _squares(truth: layouts.Truth, key: str):
    """Frame and box of the anomaly, where a clip has one."""
    for frame in np.flatnonzero(truth.labels[key]):
        y, x = np.nonzero(truth.masks[key][frame])
        yield frame, x.min(), y.min(), x.max() + 1, y.max() + 1


# Sweeps


def test_each_eta_of_a_sweep_leaves_a_folder_and_a_row(copied):
    alone = Path("work/mini/scores/eta_0.002/cubes.parquet").read_bytes()
    run_stages(settings(eta=[0.01, 0.002, 0.0]), ["calibrate", "score", "evaluate"])
    assert sorted(p.name for p in Path("work/mini/scores").iterdir()) == ["eta_0", "eta_0.002", "eta_0.01"]
    assert Path("work/mini/scores/eta_0.002/cubes.parquet").read_bytes() == alone
    sweep = pd.read_csv("metrics/mini/eta.csv")
    assert list(sweep) == ["configuration", "eta", "micro", "macro", "average_precision", "equal_error_rate"]
    assert sweep["eta"].tolist() == [0, 0, 0.002, 0.002, 0.01, 0.01]
    assert sweep["configuration"].tolist() == ["best", "paper"] * 3
    metrics = json.loads(Path("metrics/mini/metrics.json").read_text())
    assert metrics["eta"] == 0.01  # the first is the headline
    assert metrics["auroc"]["micro"] == pytest.approx(sweep["micro"].iloc[4], rel=1e-5)
    paper = json.loads(Path("metrics/mini/paper.json").read_text())
    assert paper["auroc"]["micro"] == pytest.approx(sweep["micro"].iloc[5], rel=1e-5)
    assert alone != Path("work/mini/scores/eta_0.01/cubes.parquet").read_bytes()


def test_a_sweep_that_is_over_leaves_no_scores_behind(copied):
    run_stages(settings(eta=[0.0, 0.01]), ["calibrate", "score"])
    run_stages(settings(eta=0.02), ["calibrate", "score"])
    assert [p.name for p in Path("work/mini/scores").iterdir()] == ["eta_0.02"]


def test_evaluate_wants_every_eta_scored(copied):
    with pytest.raises(VadError, match=r"eta_0.5/frames.parquet: not found; make it first with `dvc repro score@mini`"):
        run_stages(settings(eta=0.5), ["evaluate"])


def test_score_wants_every_eta_calibrated(copied):
    line = r"calibration.json: does not say what is normal of dwell at eta 0.5; make it with `dvc repro calibrate@mini`"
    with pytest.raises(VadError, match=line):
        run_stages(settings(eta=0.5), ["score"])


def test_a_long_eta_is_found_again_in_the_calibration(copied):
    run_stages(settings(eta=1 / 300), ["calibrate", "score"])
    assert [p.name for p in Path("work/mini/scores").iterdir()] == ["eta_0.00333333"]


def test_one_branch_alone_scores_by_it_alone(copied):
    """And perturbs by it alone: the paper's score is its standardised error."""
    ways = {
        name: how.model_copy(update={"evidence": ("raw",)}).model_dump(mode="json")
        for name, how in settings().configurations.items()
    }
    run_stages(settings(**ways), ["fit_scores", "calibrate", "score"])
    cubes = pd.read_parquet("work/mini/scores/eta_0.002/cubes.parquet")
    assert not {"flow", "flow_median", "flow_part"} & set(cubes)
    fitted = json.loads(Path("work/mini/model/statistics.json").read_text())
    assert list(fitted) == ["raw"]
    raw = fitted["raw"]
    np.testing.assert_allclose(cubes["paper"], (cubes["raw"] - raw["mean"]) / raw["std"], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(cubes["best"], cubes["raw_part"])


def test_the_comparison_of_architectures_scores_as_the_paper_does(copied):
    """Of the pipeline's own architecture it says what `evaluate` does, whatever params.yaml makes of `paper`."""
    other = settings(paper={"evidence": ["raw", "flow"], "calibration": "tail", "track_half_life": 3})
    for used in (settings(), other):
        compare.compare_kind(Places.of("mini"), "state", used, COMPUTE)
        table = pd.read_csv("metrics/mini/comparison/state.csv")
        assert table.groupby("branches").size().to_dict() == {"raw": 2, "flow": 2, "both": 5}
        row = table[(table["branches"] == "both") & (table["eta"] == 0.002)].iloc[0]
        paper = json.loads(Path("metrics/mini/paper.json").read_text())
        assert row["micro"] == pytest.approx(paper["auroc"]["micro"], rel=1e-5)
        assert row["average_precision"] == pytest.approx(paper["average_precision"], rel=1e-5)
    counts = compare.compare_kind(Places.of("mini"), "conv_ae", settings(), COMPUTE)
    assert counts == {"clips": 3, "results": 9}


# Same inputs, same bytes


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_run_again_leaves_the_same_bytes(copied, finished, stage):
    run_stages(settings(), [stage])
    assert artefacts(copied) == artefacts(finished)
    assert leftovers(copied) == []
    assert not any(Path(".scratch").iterdir())


def test_two_workers_leave_the_same_bytes_as_one(copied, finished):
    run_stages(settings(), ["detect", "flow", "build_raw", "build_flow"], ComputeSettings(workers=2, precision="fp32"))
    assert artefacts(copied) == artefacts(finished)


def test_the_raw_branch_does_not_depend_on_the_flow_settings(copied, finished):
    run_stages(settings(flow={"preset": "medium", "size": [24, 16]}), until("train_raw"))
    before, after = artefacts(finished), artefacts(copied)
    different = {path for path in before if before[path] != after[path]}
    assert {path.split("/")[2] for path in different} == {"flow", "cubes"}
    assert not any(path.startswith("work/mini/cubes/raw") for path in different)


# Killed runs


class Killed(BaseException):
    """As Ctrl-C: nothing may catch it and go on."""


# What a stage calls once for each clip; and whether it yields the clip's frames.
CALLED = {
    "detect": (detect, "read_frames"),
    "flow": (flow, "read_frames"),
    "build_raw": (build_raw, "read_frames"),
    "build_flow": (build_flow, "cubes_of_clip"),
    "score": (score, "CubeSet"),
}


def watch(monkeypatch, stage: str, kill_at: int | None = None) -> list[int]:
    """Count the calls a stage makes; the call number `kill_at` is killed in its middle."""
    module, name = CALLED[stage]
    real, calls = getattr(module, name), []

    def watched(*args, **options):
        calls.append(len(calls))
        killed = len(calls) == kill_at
        if stage == "score":
            if killed:
                raise Killed
            return real(*args, **options)

        def frames():
            for number, frame in enumerate(real(*args, **options)):
                if killed and number == layouts.FRAMES // 2:
                    raise Killed
                yield frame

        return frames()

    monkeypatch.setattr(module, name, watched)
    return calls


@pytest.mark.parametrize("stage", CALLED)
def test_a_killed_stage_goes_on_from_the_clips_it_had_finished(copied, finished, monkeypatch, stage):
    clips = 3 if stage == "score" else 5
    before = artefacts(copied)
    remove_output(stage)
    with monkeypatch.context() as context:
        watch(context, stage, kill_at=clips - 1)
        with pytest.raises(Killed):
            run_stages(settings(), [stage])
    assert all(before[path] == content for path, content in artefacts(copied).items())
    assert leftovers(copied) == []
    calls = watch(monkeypatch, stage)
    counts = run_stages(settings(), [stage])[stage]
    assert len(calls) == 2  # the killed clip and the last
    assert counts["clips"] == clips
    assert artefacts(copied) == artefacts(finished)
    assert not any(Path(".scratch").iterdir())


def remove_output(stage: str) -> None:
    places = Places.of("mini")
    paths = {
        "detect": places.boxes,
        "flow": places.flow,
        "build_raw": places.cubes("raw"),
        "build_flow": places.cubes("flow"),
        "score": places.scores,
    }
    path = paths[stage]
    path.unlink() if path.is_file() else shutil.rmtree(path)


OTHER = {
    "detect": {"detector": MOTION},
    "flow": {"flow": {"preset": "medium", "size": [24, 16]}},
    "build_raw": {"cube": {"context": 1}},
    "build_flow": {"cube": {"context": 1}},
    "score": {"perturbation_loss": "mean", "eta": [0.01]},
}


@pytest.mark.parametrize("stage", CALLED)
def test_other_settings_never_meet_what_a_killed_run_left(copied, tmp_path_factory, monkeypatch, stage):
    stages = ["calibrate", "score"] if stage == "score" else [stage]
    clean = tmp_path_factory.mktemp("clean")
    shutil.copytree(copied, clean, dirs_exist_ok=True)
    with contextlib.chdir(clean):
        run_stages(settings(**OTHER[stage]), stages)
    with monkeypatch.context() as context:
        watch(context, stage, kill_at=2)
        with pytest.raises(Killed):
            run_stages(settings(), [stage])
    run_stages(settings(**OTHER[stage]), stages)
    assert artefacts(copied) == artefacts(clean)
    assert artefacts(copied) != {}
    assert not any(Path(".scratch").iterdir())


def test_a_changed_frame_never_meets_what_a_killed_run_left(copied, monkeypatch):
    with monkeypatch.context() as context:
        watch(context, "flow", kill_at=3)
        with pytest.raises(Killed):
            run_stages(settings(), ["flow"])
    frame = Path("data/mini/training/frames/01/003.jpg")
    shutil.copyfile("data/mini/training/frames/01/009.jpg", frame)
    calls = watch(monkeypatch, "flow")
    run_stages(settings(), ["flow"])
    assert len(calls) == 5


@pytest.mark.parametrize("branch", BRANCHES)
def test_a_killed_training_goes_on_from_its_last_checkpoint(copied, finished, monkeypatch, branch):
    often = settings(training={"epochs": 1, "checkpoint_seconds": 1e-9})
    run_stages(often, [f"train_{branch}"])
    whole = artefacts(copied)
    real, kept = networks.save_state, []

    def killed(path, state):
        real(path, state)
        kept.append(state["step"])
        if len(kept) == 2:
            raise Killed

    Path(f"work/mini/model/{branch}.safetensors").unlink()
    with monkeypatch.context() as context:
        context.setattr(networks, "save_state", killed)
        with pytest.raises(Killed):
            run_stages(often, [f"train_{branch}"])
    assert not Path(f"work/mini/model/{branch}.safetensors").exists()
    monkeypatch.setattr(networks, "save_state", lambda path, state: kept.append(state["step"]))
    run_stages(often, [f"train_{branch}"])
    assert kept == [1, 2, 3]  # of three steps the third alone was left
    assert artefacts(copied) == whole == artefacts(finished)  # how often is no part of the result


def test_the_live_curve_is_the_curve_that_is_left_and_a_killed_training_goes_on_with_it(copied, monkeypatch):
    often = settings(training={"epochs": 3, "checkpoint_seconds": 1e-9})
    places, live = Places.of("mini"), Path("dvclive/mini/raw")
    train.train_model(places, "raw", often, COMPUTE, live=live)
    left = pd.read_csv("metrics/mini/loss_raw.csv")
    whole = (live / "plots/metrics/loss.tsv").read_bytes()
    shown = pd.read_csv(live / "plots/metrics/loss.tsv", sep="\t")
    assert list(shown) == ["step", "loss"]  # no time stamps
    assert shown["step"].tolist() == left["step"].tolist()
    np.testing.assert_allclose(shown["loss"], left["loss"], rtol=1e-5)
    real = networks.save_state

    def killed(path, state):
        if state["step"] == 6:  # two steps shown after the last checkpoint
            raise Killed
        if state["step"] == 4:
            real(path, state)

    with monkeypatch.context() as context:
        context.setattr(networks, "save_state", killed)
        with pytest.raises(Killed):
            train.train_model(places, "raw", often, COMPUTE, live=live)
    assert len(pd.read_csv(live / "plots/metrics/loss.tsv", sep="\t")) == 6
    train.train_model(places, "raw", often, COMPUTE, live=live)
    assert (live / "plots/metrics/loss.tsv").read_bytes() == whole
    assert not Path("dvc.yaml").exists()


def test_the_live_curve_of_a_long_training_has_a_thousand_points_at_most(tmp_path):
    losses = [float(step) for step in range(1, 2503)]
    with networks.live_curve(tmp_path, 2502, losses[:10]) as add:
        for step in range(11, 2503):
            add(losses[:step])
    shown = pd.read_csv(tmp_path / "plots/metrics/loss.tsv", sep="\t")
    assert len(shown) == 834
    assert shown["step"].tolist() == list(range(3, 2503, 3))
    assert shown["loss"].tolist() == [step - 1 for step in shown["step"]]  # the mean of three steps


def test_a_training_whose_model_cannot_be_saved_is_not_lost(copied, finished, monkeypatch):
    often = settings(training={"epochs": 1, "checkpoint_seconds": 1e-9})

    def full(*args):
        raise Killed

    with monkeypatch.context() as context:
        context.setattr(train, "save_model", full)
        with pytest.raises(Killed):
            run_stages(often, ["train_raw"])
    steps = []
    monkeypatch.setattr(networks, "save_state", lambda path, state: steps.append(state["step"]))
    run_stages(often, ["train_raw"])
    assert steps == []  # all three steps had been kept
    assert artefacts(copied) == artefacts(finished)


@pytest.mark.parametrize(("stage", "writes"), [("detect", detect), ("score", score)])
def test_a_final_table_that_cannot_be_written_loses_no_clip(copied, finished, monkeypatch, stage, writes):
    real = writes.write_table

    def full(path, parts, *about):
        if path.is_relative_to(".scratch") and "tries" in path.parts:
            return real(path, parts, *about)
        raise Killed

    with monkeypatch.context() as context:
        context.setattr(writes, "write_table", full)
        with pytest.raises(Killed):
            run_stages(settings(), [stage])
    calls = watch(monkeypatch, stage)
    run_stages(settings(), [stage])
    assert calls == []
    assert artefacts(copied) == artefacts(finished)


FOLDERS = [stage for stage, output in OUTPUTS.items() if "." not in Path(output).name] + ["prepare", "package"]


@pytest.mark.parametrize("stage", FOLDERS)
def test_a_stage_killed_as_it_puts_its_folder_in_its_place_goes_on(copied, finished, monkeypatch, stage):
    """The folder is whole, and has no ledgers any more: it is the stage's own all the same."""

    def run() -> None:
        if stage == "package":
            package.package_model(Places.of("mini"), Path("models/mini"), settings(), COMPUTE)
        else:
            run_stages(settings(), [stage])

    real, killed = ownership.begin, []

    def begin(path: Path) -> None:
        if path.name in (".mini.partial", ".prepared.partial", ".flow.partial", ".raw.partial", ".scores.partial"):
            killed.append(path)
            raise Killed
        real(path)

    with monkeypatch.context() as context:
        context.setattr(ownership, "begin", begin)
        with pytest.raises(Killed):
            run()
    assert len(killed) == 1
    run()
    assert artefacts(copied) == artefacts(finished)
    assert leftovers(copied) == []


# The files DVC goes by


def keys(group: type[Settings]) -> set[str]:
    return set(group.model_fields)


def dvc_params() -> dict[str, set[str]]:
    """Of each stage, and of the comparison, the keys of a data set, and `compute.…`, that its `params` list."""
    yaml = YAML(typ="safe", pure=True)
    stages = yaml.load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    prefix = "dataset.${item.dataset}."
    found = {name: {param.removeprefix(prefix) for param in stage["params"]} for name, stage in stages.items()}
    compared = yaml.load((ROOT / "experiments/dvc.yaml").read_text(encoding="utf-8"))["stages"]["compare"]["params"]
    found["compare"] = {param.removeprefix("dataset.synthetic.") for param in compared[0]["../params.yaml"]}
    whole = prefix.removesuffix(".")  # stands for every key
    return {
        name: keys(DatasetSettings) | listed - {whole} if whole in listed else listed for name, listed in found.items()
    }


def test_every_key_of_a_data_set_is_a_parameter_of_some_stage():
    listed = set().union(*dvc_params().values())
    of_dataset = {key.partition(".")[0] for key in listed if not key.startswith("compute.")}
    assert of_dataset == keys(DatasetSettings)


@pytest.mark.parametrize("stage", [*STAGES, "compare"])
def test_a_stage_reads_no_setting_that_dvc_does_not_know_it_by(copied, stage):
    used = set()

    class Watched:
        """Settings, or one of their groups, that note which of their keys are read."""

        def __init__(self, group, place=""):
            self.group, self.place = group, place

        def __getattr__(self, key):
            value = getattr(self.group, key)
            if key in ("best", "paper", "training"):
                return Watched(value, key)
            if self.place:  # what is no key, such as a property, may read them all
                used.add(f"{self.place}.{key}" if key in keys(type(self.group)) else self.place)
            else:
                properties = {"branches": {"best.evidence", "paper.evidence"}, "configurations": {"best", "paper"}}
                used.update(properties.get(key, {key}))
            return value

    if stage == "compare":
        compare.compare_kind(Places.of("mini"), "state", Watched(settings()), COMPUTE)
    else:
        run_stages(Watched(settings()), [stage])
    # A model carries the settings it was trained with, as cubes those they were cut with, and is itself a dependency;
    # the seed draws a part of the cubes, and fit_scores takes all.
    carried = {"fit_scores": {"model", "cube", "training.seed"}, "calibrate": {"model", "cube"}, "score": {"model"}}
    allowed = dvc_params()[stage] | carried.get(stage, set())
    assert {key for key in used if not {key, key.partition(".")[0]} & allowed} == set()


def test_compute_settings_change_no_result(copied, finished):
    run_stages(
        settings(), ["fit_scores", "calibrate", "score"], ComputeSettings(workers=1, precision="fp32", score_batch=7)
    )
    assert artefacts(copied).keys() == artefacts(finished).keys()
    for table in ("cubes", "frames"):
        path = f"work/mini/scores/eta_0.002/{table}.parquet"
        pd.testing.assert_frame_equal(pd.read_parquet(path), pd.read_parquet(finished / path), rtol=1e-4)


def test_models_trained_with_another_p_are_refused(copied):
    with pytest.raises(VadError, match=r"raw.safetensors: trained with p = 2, params.yaml says 1; run `dvc repro"):
        run_stages(settings(model={"p": 1.0}), ["score"])
