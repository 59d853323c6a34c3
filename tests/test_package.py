"""A trained model as one folder: whole, copied, damaged; and its threshold."""

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from vadlib.scoring.scores import Statistics

from tests import layouts
from tests.projects import COMPUTE, MOTION, run_stages, settings, until, write_boxes
from vadlib.cubes.shards import Shard
from vadlib.engine.engine import make_engine
from vadlib.errors import VadError
from vadlib.footage.stream import make_scorer
from vadlib.pipeline import package as stage
from vadlib.pipeline.package import package_model, training_scores
from vadlib.pipeline.places import Places
from vadlib.pipeline.sets import open_shard
from vadlib.scoring.model_folder import for_new_footage, read_package
from vadlib.settings import BRANCHES, YoloSettings

USED = settings(source={"layout": "videos"}, threshold_quantile=0.75)
PLACES = Places.of("mini")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A trained project with imported boxes, and its model folder."""
    folder = tmp_path_factory.mktemp("packaged")
    (folder / "data/mini").mkdir(parents=True)
    (folder / "weights/mini").mkdir(parents=True)
    write_boxes(folder / "data/mini/boxes.csv", layouts.write_videos(folder / "data/mini", labels=True))
    with contextlib.chdir(folder):
        run_stages(USED, until("fit_scores"))
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


def test_the_threshold_is_a_quantile_of_perturbed_normal_frames(project, monkeypatch):
    """Scored as the stage `score` scores test clips: here by pretending that training clips are such."""
    monkeypatch.chdir(project)
    from vadlib.scoring.scores import anomaly_scores, frame_scores

    from vadlib.clips import load_manifest
    from vadlib.cubes.shards import CubeSet
    from vadlib.pipeline.fit_scores import scoring_networks
    from vadlib.pipeline.score import clip_errors

    engine = make_engine(COMPUTE)
    networks = scoring_networks(PLACES, BRANCHES, engine, USED)
    statistics = {b: Statistics(**v) for b, v in json.loads(PLACES.statistics.read_text()).items()}
    scores = []
    for clip in load_manifest(PLACES.manifest).split("training"):
        raw, flow = open_shard(PLACES, clip, "raw"), open_shard(PLACES, clip, "flow")
        errors = clip_errors(networks, CubeSet([(raw, flow)]), USED, 32, engine)[0.002]
        cubes = anomaly_scores(errors, statistics, USED.weights)
        scores += frame_scores(raw.read("frame"), cubes, clip.frames)[0].tolist()
    found = read_package(project / "models/mini").threshold
    assert (found.frames, found.eta, found.quantile) == (len(scores), 0.002, 0.75)
    assert found.value == pytest.approx(np.quantile(scores, 0.75), rel=1e-4)
    assert found.median == pytest.approx(np.median(scores), rel=1e-4)


def test_of_much_footage_evenly_spaced_frames_are_scored(project, monkeypatch):
    monkeypatch.chdir(project)
    engine = make_engine(COMPUTE)
    package = read_package(project / "models/mini")
    networks = {b: engine.for_scoring(n) for b, n in package.networks.items()}
    every = training_scores(PLACES, networks, package.statistics, USED, COMPUTE, engine)
    monkeypatch.setattr(stage, "MOST_FRAMES", 5)
    few = training_scores(PLACES, networks, package.statistics, USED, COMPUTE, engine)
    np.testing.assert_allclose(few, every[np.linspace(0, len(every) - 1, 5).round().astype(int)], rtol=1e-4)


def test_without_boxes_in_normal_footage_there_is_no_threshold(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setattr(Shard, "read", lambda self, name, rows=slice(None): np.zeros(0, np.int32))
    with pytest.raises(VadError, match="no training frame has a box"):
        training_scores(PLACES, {}, {}, USED, COMPUTE, make_engine(COMPUTE))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE = {
    "no folder": (shutil.rmtree, "no model folder there"),
    "no settings": (lambda f: (f / "settings.json").unlink(), "settings.json: not found"),
    "no network": (lambda f: (f / "flow.safetensors").unlink(), "flow.safetensors: not found"),
    "no threshold": (lambda f: (f / "threshold.json").unlink(), "threshold.json: not found"),
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
    "a threshold of text": (
        lambda f: (f / "threshold.json").write_text(
            '{"value": "high", "median": 0, "quantile": 1, "eta": 0, "frames": 1}'
        ),
        "threshold.json: damaged",
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
    run_stages(used, ["train_raw", "train_flow", "fit_scores"])
    package_model(PLACES, Path("models/other"), used, COMPUTE)
    assert read_package(Path("models/other")).settings.model.kind == kind
