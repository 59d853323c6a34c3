"""A trained model as one folder: whole, copied, damaged; and its threshold."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import layouts
from tests.projects import COMPUTE, MOTION, run_stages, settings, until, write_boxes
from vadlib.cubes.holdout import Piece
from vadlib.cubes.shards import CubeSet
from vadlib.engine.engine import make_engine
from vadlib.errors import VadError
from vadlib.footage.stream import make_scorer
from vadlib.io.arrays import save_arrays
from vadlib.pipeline import calibrate as stage
from vadlib.pipeline.calibrate import calibrate, chosen_pieces
from vadlib.pipeline.package import package_model
from vadlib.pipeline.places import Places
from vadlib.pipeline.scorers import calibrated_scorer
from vadlib.pipeline.sets import open_shard
from vadlib.scoring.calibration import Statistics
from vadlib.scoring.frames import frame_scores
from vadlib.scoring.model_folder import for_new_footage, read_package
from vadlib.scoring.scorer import score_clip
from vadlib.scoring.thresholds import set_threshold
from vadlib.scoring.tracks import horizon_of
from vadlib.settings import BRANCHES, YoloSettings

USED = settings(source={"layout": "videos"}, false_alarms=0.05)
PLACES = Places.of("mini")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A trained project with imported boxes, and its model folder."""
    folder = tmp_path_factory.mktemp("packaged")
    (folder / "data/mini").mkdir(parents=True)
    (folder / "weights/mini").mkdir(parents=True)
    write_boxes(folder / "data/mini/boxes.csv", layouts.write_videos(folder / "data/mini", labels=True))
    with contextlib.chdir(folder):
        run_stages(USED, until("calibrate"))
        package_model(PLACES, Path("models/mini"), USED, COMPUTE)
    return folder


@pytest.fixture
def copied(project, tmp_path):
    """A copy of the model folder alone."""
    return shutil.copytree(project / "models/mini", tmp_path / "elsewhere")


def test_a_copied_folder_is_the_whole_model(project, copied):
    found = read_package(copied)
    assert found.settings == USED
    assert set(found.networks) == set(BRANCHES)
    work = project / "work/mini/model"
    assert (copied / "raw.safetensors").read_bytes() == (work / "raw.safetensors").read_bytes()
    assert found.statistics["flow"] == Statistics(**json.loads((work / "statistics.json").read_text())["flow"])


def test_the_same_model_is_the_same_bytes(project, monkeypatch):
    monkeypatch.chdir(project)
    package_model(PLACES, Path("models/again"), USED, COMPUTE)
    for file in Path("models/mini").iterdir():
        assert file.read_bytes() == (Path("models/again") / file.name).read_bytes()
    assert not any(p.name.endswith(".partial") for p in Path("models").iterdir())


def test_the_threshold_is_set_on_normal_footage_scored_as_test_footage_is(project, monkeypatch):
    """By pretending that training clips are such: the scores of stage `score`, of each configuration."""
    monkeypatch.chdir(project)
    calibration = read_package(project / "models/mini").calibration
    assert set(calibration.normal) == {0.002}
    scorer = calibrated_scorer(PLACES, USED, make_engine(COMPUTE))
    clips = PLACES.load_manifest().split("training")
    assert calibration.thresholds["best"].frames == sum(clip.frames for clip in clips)
    for name, how in USED.configurations.items():
        scores = []
        for clip in clips:
            raw, flow = open_shard(PLACES, clip, "raw"), open_shard(PLACES, clip, "flow")
            frame, boxes = raw.read("frame"), raw.read("boxes")
            values = scorer.measure_clip(CubeSet([(raw, flow)]), frame, boxes, [0.002], 32, seen=True)[0.002]
            columns = {"": scorer.scores(how, values, 0.002)}
            along = score_clip(how, frame, boxes, columns, clip.frames).columns[""]
            scores.append(frame_scores(frame, along, clip.frames)[0])
        expected = set_threshold(scores, 0.05, [clip.fps for clip in clips], horizon_of(how))
        # Pieces of clips were scored, in other batches, and tracks begin anew in each.
        found = calibration.thresholds[name]
        assert (found.promised, found.wanted) == (0.05, expected.wanted)
        if not how.track_half_life:
            assert found.value == pytest.approx(expected.value, rel=1e-3)
            assert found.median == pytest.approx(expected.median, rel=1e-3)


def test_held_out_pieces_alone_are_calibrated_on_or_all_where_there_are_none():
    held = [Piece(0, 0, 10, False), Piece(0, 10, 20, True), Piece(1, 0, 30, True)]
    assert chosen_pieces(held) == held[1:]
    assert chosen_pieces(held[:1]) == held[:1]


def test_of_much_footage_the_beginning_of_each_piece_is_calibrated_on(monkeypatch):
    monkeypatch.setattr(stage, "MOST_FRAMES", 25)
    pieces = [Piece(0, 100, 200, True), Piece(1, 0, 5, True)]
    assert chosen_pieces(pieces) == [Piece(0, 100, 112, True), Piece(1, 0, 5, True)]


def test_without_boxes_in_normal_footage_there_is_no_threshold(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setattr(stage, "chosen_pieces", lambda pieces: [Piece(0, 3, 3, True)])
    before = PLACES.calibration.read_bytes()
    with pytest.raises(VadError, match="no held-out training frame has a box, so there is no threshold"):
        calibrate(PLACES, USED, COMPUTE)
    assert PLACES.calibration.read_bytes() == before


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "no folder": (shutil.rmtree, "no model folder there"),
    "no settings": (lambda f: (f / "settings.json").unlink(), "settings.json: not found"),
    "no network": (lambda f: (f / "flow.safetensors").unlink(), "flow.safetensors: not found"),
    "no calibration": (lambda f: (f / "calibration.json").unlink(), "calibration.json: not found"),
    "no evidence": (lambda f: (f / "evidence.safetensors").unlink(), "evidence.safetensors: not found"),
    "half the evidence": (lambda f: cut(f / "evidence.safetensors"), "evidence.safetensors: damaged"),
    "half the calibration": (lambda f: cut(f / "calibration.json"), "calibration.json: damaged"),
    "half a network": (lambda f: cut(f / "raw.safetensors"), "raw.safetensors: not a model"),
    "half the settings": (lambda f: cut(f / "settings.json"), "settings.json: damaged"),
    "half the statistics": (lambda f: cut(f / "statistics.json"), "statistics.json: damaged"),
    "statistics of nothing": (lambda f: (f / "statistics.json").write_text("[]"), "statistics.json: damaged"),
    "no spread": (
        lambda f: (f / "statistics.json").write_text(
            json.dumps({branch: {"mean": 1, "std": 0, "cubes": 2} for branch in BRANCHES})
        ),
        "standard deviation of 0",
    ),
    "another eta": (
        lambda f: (f / "settings.json").write_text(settings(eta=0.01).model_dump_json()),
        "calibration.json: does not say what is normal of dwell at eta 0.01",
    ),
    "the other branch's network": (
        lambda f: shutil.copy(f / "raw.safetensors", f / "flow.safetensors"),
        "holds the raw branch",
    ),
    "another model's settings": (
        lambda f: (f / "settings.json").write_text(settings(model={"layers": 2}).model_dump_json()),
        "not the network that",
    ),
    "an unknown setting": (lambda f: (f / "settings.json").write_text('{"colour": 3}'), "unknown key"),
    "weights outside": (
        lambda f: (f / "settings.json").write_text('{"detector": {"weights": "../../x.pt"}}'),
        "not inside the model folder",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_or_incomplete_folder_is_one_line(copied, damage):
    harm, expected = DAMAGE[damage]
    harm(copied)
    with pytest.raises(VadError, match=expected) as caught:
        read_package(copied)
    assert "\n" not in str(caught.value)
    assert str(copied) in str(caught.value)


EVIDENCE = {
    "nothing": ({}, "has no `speed`, an earlier version made it; train again"),
    "no places": ({"place.places": None}, "has no `place`, an earlier version made it; train again"),
    "other features": ({"looks.features": np.ones((3, 7), np.float32)}, "looks.features: no rows of 1280 numbers"),
    "integers": ({"place.places": np.ones((3, 4), np.int32)}, "place.places: no rows of 4 numbers"),
    "no rows": ({"place.places": np.ones((0, 4), np.float32)}, "place.places: no rows of 4 numbers"),
    "not a number": ({"place.places": np.full((3, 4), np.nan, np.float32)}, "place.places: not finite numbers"),
}


@pytest.mark.parametrize("damage", EVIDENCE)
def test_evidence_that_is_not_what_was_learned_is_one_line(copied, damage):
    changed, expected = EVIDENCE[damage]
    arrays = {**read_package(copied).evidence, **changed} if changed else {}
    (copied / "evidence.safetensors").unlink()
    save_arrays(copied / "evidence.safetensors", {name: a for name, a in arrays.items() if a is not None})
    with pytest.raises(VadError, match=re.escape(expected)) as caught:
        read_package(copied).scorer(make_engine(COMPUTE))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{copied / 'evidence.safetensors'}: ")
    assert "train again" in str(caught.value)


def test_imported_boxes_cannot_see_new_footage_and_the_error_says_what_can(copied):
    with pytest.raises(VadError, match=r"imported boxes.*--detector-weights"):
        make_scorer(read_package(copied), COMPUTE)


def test_a_yolo_of_the_users_takes_the_place_of_imported_boxes(copied, tmp_path):
    (tmp_path / "mine.pt").touch()
    detector, folder = for_new_footage(read_package(copied), tmp_path / "mine.pt")
    assert (detector, folder) == (YoloSettings(weights="mine.pt"), tmp_path)
    with pytest.raises(VadError, match=r"other.pt: not found; expected a YOLO's weights"):
        for_new_footage(read_package(copied), tmp_path / "other.pt")


def test_imported_flow_cannot_see_new_footage(copied):
    changed = settings(detector=MOTION, flow={"kind": "import", "fields": "fields"})
    (copied / "settings.json").write_text(changed.model_dump_json())
    with pytest.raises(VadError, match="imported flow"):
        make_scorer(read_package(copied), COMPUTE)


@pytest.mark.parametrize("weights", ["deep/y.pt", "deep/y_openvino_model/y.xml"])
def test_detector_weights_are_copied_into_the_folder(project, tmp_path, monkeypatch, weights):
    named = weights.removesuffix("/y.xml")
    if named != weights:
        pytest.importorskip("openvino", reason="a folder of weights is OpenVINO's")
    monkeypatch.chdir(project)
    file = Path("weights/mini") / weights
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("weights")
    used = settings(source={"layout": "videos"}, detector={"kind": "yolo", "weights": named})
    package_model(PLACES, tmp_path / "model", used, COMPUTE)
    assert (tmp_path / "model/weights/detector" / weights).read_text() == "weights"
    assert read_package(tmp_path / "model").settings == used


@pytest.mark.parametrize("kind", ["conv_ae", "convlstm_ae", "unet"])
def test_baselines_are_packaged_too(project, tmp_path, monkeypatch, kind):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    used = settings(source={"layout": "videos"}, model={"kind": kind, "widths": [4, 8, 8]})
    run_stages(used, ["train_raw", "train_flow", "fit_scores", "calibrate"])
    package_model(PLACES, Path("models/other"), used, COMPUTE)
    assert read_package(Path("models/other")).settings.model.kind == kind
