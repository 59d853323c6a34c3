"""Settings: valid ones load as they are written, others are refused in one line that names the key."""

import inspect
import re
from typing import get_args

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from vadlib.boxes.kinds import registry as detectors
from vadlib.datasets import registry as layouts
from vadlib.errors import VadError
from vadlib.flow.kinds import registry as flows
from vadlib.models import registry as models
from vadlib.settings import (
    OWN_FOOTAGE,
    PAPER,
    ComputeSettings,
    DatasetSettings,
    DetectorSettings,
    FlowSettings,
    ModelSettings,
    ScoreSettings,
    SourceSettings,
    groups_of,
    load_dataset,
    load_params,
    reference,
)


def params(tmp_path, mine=None, **top):
    """The path of a params.yaml with one data set `mine`."""
    content = {"datasets": ["mine"], "compute": {}, "dataset": {"mine": mine or {}}, **top}
    path = tmp_path / "params.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(content, file)
    return path


def refused(path) -> str:
    with pytest.raises(VadError) as caught:
        load_params(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def test_the_projects_own_file_loads():
    found = load_params(ROOT / "params.yaml")
    assert set(found.datasets) <= set(found.dataset) >= {"synthetic", "tiny", "ped2", "avenue", "shanghaitech"}


def test_the_benchmarks_carry_the_papers_settings():
    found = load_params(ROOT / "params.yaml").dataset
    avenue, shanghaitech = found["avenue"], found["shanghaitech"]
    assert (avenue.paper.weights, avenue.eta) == ({"raw": 0.3, "flow": 1.0}, (0.002,))
    assert (shanghaitech.paper.weights, shanghaitech.eta) == ({"raw": 1.0, "flow": 1.0}, (0.005,))
    for settings in found.values():
        assert settings.paper.model_copy(update={"w_raw": 1.0}) == PAPER
    for settings in (avenue, shanghaitech):
        assert (settings.cube.length, settings.cube.patch) == (7, 32)
        assert (settings.model.widths, settings.model.heads, settings.model.p) == ((32, 64, 128), 4, 2.0)
        assert (settings.training.epochs, settings.training.lr, settings.training.adam_eps) == (20, 0.001, 1e-7)


def test_what_a_file_leaves_out_is_the_default(tmp_path):
    assert load_dataset("mine", params(tmp_path)) == (DatasetSettings(), ComputeSettings())


def test_lists_become_tuples_and_one_eta_a_list_of_one(tmp_path):
    settings, _ = load_dataset("mine", params(tmp_path, {"model": {"widths": [4, 8, 8]}, "eta": 0.01}))
    assert (settings.model.widths, settings.eta) == ((4, 8, 8), (0.01,))
    settings, _ = load_dataset("mine", params(tmp_path, {"eta": [0.01, 0, 0.002]}))
    assert settings.eta == (0.01, 0.0, 0.002)


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        ComputeSettings().workers = 3


def test_best_is_one_configuration_for_all_data_sets():
    """None is tuned to a data set, and what `vad train` uses is the same."""
    assert (
        {s.best for s in load_params(ROOT / "params.yaml").dataset.values()} == {ScoreSettings()} == {OWN_FOOTAGE.best}
    )


@pytest.mark.parametrize(
    ("evidence", "weights"),
    [
        (("raw", "flow"), {"raw": 0.5, "flow": 1.0}),
        (("raw",), {"raw": 0.5}),
        (("flow", "speed"), {"flow": 1.0, "speed": 1.0}),
        (("place", "looks"), {"place": 1.0, "looks": 1.0}),
        (("velocity", "looks", "flow", "speed"), {"velocity": 2 / 3, "looks": 1.0, "flow": 2 / 3, "speed": 2 / 3}),
    ],
)
def test_weights_are_those_of_the_evidence_in_use(evidence, weights):
    assert ScoreSettings(evidence=evidence, w_raw=0.5).weights == weights


@pytest.mark.parametrize(
    ("best", "paper", "branches"),
    [
        (("raw", "flow", "speed"), ("raw", "flow"), ("raw", "flow")),
        (("speed", "flow"), ("raw",), ("raw", "flow")),
        (("speed", "looks"), ("flow",), ("flow",)),
        (("raw",), ("place",), ("raw",)),
    ],
)
def test_networks_are_those_that_either_way_to_score_needs(best, paper, branches):
    settings = DatasetSettings(best=ScoreSettings(evidence=best), paper=ScoreSettings(evidence=paper))
    assert settings.branches == branches


@pytest.mark.parametrize(
    ("dataset", "line"),
    [
        ({"flwo": {}}, "dataset.mine.flwo: unknown key; valid here: best, cube, detector, eta, false_alarms,"),
        ({"model": {"width": 3}}, "dataset.mine.model.width: unknown key; valid here: head_input, heads, kind,"),
        (
            {"source": {"layout": "synthetic", "street": {"sed": 1}}},
            "dataset.mine.source.street.sed: unknown key; valid here: clip_frames, fps, seed,",
        ),
        ({"training": {"lr": "0.1"}}, "dataset.mine.training.lr: input should be a valid number, not '0.1'"),
        ({"training": {"epochs": 2.5}}, "dataset.mine.training.epochs: input should be a valid integer"),
        ({"training": {"epochs": True}}, "dataset.mine.training.epochs: input should be a valid integer, not True"),
        (
            {"detector": {"motion": 1}},
            "dataset.mine.detector.motion: input should be a valid dictionary or instance of",
        ),
        ({"cube": 7}, "dataset.mine.cube: input should be a valid dictionary or instance of CubeSettings, not 7"),
        ({"cube": {"patch": 30}}, "dataset.mine.cube.patch: input should be a multiple of 4, not 30"),
        ({"training": {"lr": 0}}, "dataset.mine.training.lr: input should be greater than 0, not 0"),
        ({"training": {"lr": float("nan")}}, "dataset.mine.training.lr: input should be a finite number, not nan"),
        ({"detector": {"motion": {"kernel": 4}}}, "dataset.mine.detector.motion.kernel: must be odd, not 4"),
        (
            {"detector": {"kind": "motion", "motion": {"kernel": 4}}},
            "dataset.mine.detector.motion.kernel: must be odd, not 4",
        ),
        (
            {"detector": {"rules": {"confidence": 50}}},
            "dataset.mine.detector.rules.confidence: input should be less than or equal to 1",
        ),
        ({"flow": {"size": [64]}}, "dataset.mine.flow.size.1: field required"),
        ({"eta": []}, "dataset.mine.eta: must be a number, or a list of numbers, not []"),
        ({"eta": ["a"]}, "dataset.mine.eta: must be a number, or a list of numbers"),
        ({"eta": [0.1, 0.1]}, "dataset.mine.eta: names a value twice"),
        ({"eta": [0.002, 0.0020000001]}, "dataset.mine.eta: names a value twice (six digits of it count)"),
        ({"eta": 2}, "dataset.mine.eta.0: input should be less than or equal to 1, not 2.0"),
        ({"model": {"widths": [32, 64, 130]}}, "dataset.mine.model: the last of `widths` (130) must be a multiple of"),
        (
            {"model": {"widths": [0, 64, 128]}},
            "dataset.mine.model.widths.0: input should be greater than or equal to 1, not 0",
        ),
        ({"source": {"street": {}}}, "dataset.mine.source.street: unknown key; valid here: expected_frames, layout"),
        (
            {"source": {"layout": "synthetic", "expected_frames": [1, 1]}},
            "dataset.mine.source.expected_frames: unknown",
        ),
        ({"detector": {"kind": "import"}}, "dataset.mine.detector.boxes: field required"),
        ({"detector": {"boxes": "x.csv"}}, "dataset.mine.detector.boxes: unknown key; valid here: image_size, kind,"),
        (
            {"detector": {"kind": "motion", "weights": "x.pt"}},
            "dataset.mine.detector.weights: unknown key; valid here:",
        ),
        (
            {"detector": {"kind": "motion", "motion": None}},
            "dataset.mine.detector.motion: input should be a valid dict",
        ),
        ({"detector": {"kind": "yolo", "weights": None}}, "dataset.mine.detector.weights: input should be a valid str"),
        ({"detector": {"kind": "yolo", "weights": ""}}, "dataset.mine.detector.weights: string should have at least 1"),
        ({"flow": {"kind": "import"}}, "dataset.mine.flow.fields: field required"),
        ({"flow": {"kind": "raft_small", "preset": "fast"}}, "dataset.mine.flow.preset: unknown key; valid here: kind"),
        ({"model": {"kind": "unet", "heads": 4}}, "dataset.mine.model.heads: unknown key; valid here: kind, p, widths"),
        (
            {"source": {"layout": "frame"}},
            "dataset.mine.source.layout: must be one of frames, ucsd, avenue, shanghaitech, videos, synthetic, "
            "not 'frame'",
        ),
        (
            {"detector": {"kind": "yollo"}},
            "dataset.mine.detector.kind: must be one of yolo, onnx, torchvision, motion, import, not 'yollo'",
        ),
        (
            {"flow": {"kind": "dsi"}},
            "dataset.mine.flow.kind: must be one of dis, raft_small, raft_large, import, not 'dsi'",
        ),
        (
            {"model": {"kind": "stae"}},
            "dataset.mine.model.kind: must be one of state, conv_ae, convlstm_ae, unet, not 'stae'",
        ),
        ({"w_raw": 0.3}, "dataset.mine.w_raw: unknown key; valid here: best, cube,"),
        (
            {"paper": {"evidence": ["raw", "flow"], "w_raw": 0.0, "w_flow": 0.0}},
            "dataset.mine.paper: `evidence` needs one kind or more, none twice, that has a weight",
        ),
        ({"best": {"evidence": ["raw"], "w_raw": 0.0}}, "dataset.mine.best: `evidence` needs one kind or more"),
        ({"best": {"evidence": []}}, "dataset.mine.best: `evidence` needs one kind or more"),
        ({"best": {"evidence": ["raw", "raw"]}}, "dataset.mine.best: `evidence` needs one kind or more, none twice"),
        ({"best": {"evidence": ["colour"]}}, "dataset.mine.best.evidence.0: input should be 'raw', 'flow', 'speed',"),
        (
            {"best": {"track_half_life": -1}},
            "dataset.mine.best.track_half_life: input should be greater than or equal",
        ),
        ({"best": {"calibration": "p"}}, "dataset.mine.best.calibration: input should be 'z', 'log_z' or 'tail'"),
        (
            {"best": {"evidence": ["speed"]}, "paper": {"evidence": ["place"]}},
            "dataset.mine: `best` or `paper` must have `raw` or `flow` in its `evidence`: there is nothing to train",
        ),
        ({"false_alarms": 0.2}, "dataset.mine.false_alarms: input should be less than or equal to 0.1, not 0.2"),
        ({"false_alarms": 0}, "dataset.mine.false_alarms: input should be greater than 0"),
        (
            {"training": {"hold_out_every": 1}},
            "dataset.mine.training.hold_out_every: must be 0 or 2 and more: 1 leaves nothing to train on, not 1",
        ),
    ],
)
def test_a_wrong_value_is_one_line_with_its_key(tmp_path, dataset, line):
    assert refused(params(tmp_path, dataset)).startswith(line)


@pytest.mark.parametrize(
    ("top", "line"),
    [
        ({"colour": 1}, "colour: unknown key; valid here: compute, dataset, datasets"),
        ({"compute": {"cores": 2}}, "compute.cores: unknown key; valid here: address, device, executor, precision,"),
        ({"compute": {"workers": 0}}, "compute.workers: input should be greater than or equal to 1, not 0"),
        ({"datasets": ["yours"]}, "the file: `datasets` lists 'yours', which `dataset` does not describe"),
        ({"datasets": "mine"}, "datasets: input should be a valid tuple, not 'mine'"),
        ({"dataset": {"My-Own": {}}, "datasets": []}, "dataset.My-Own: string should match pattern"),
    ],
)
def test_a_wrong_top_level_is_one_line_with_its_key(tmp_path, top, line):
    assert refused(params(tmp_path, **top)).startswith(line)


def test_of_several_problems_the_first_is_named_and_the_others_counted(tmp_path):
    line = refused(params(tmp_path, {"training": {"epochs": 0, "batch": 0, "lr": -1.0}}))
    assert line == "dataset.mine.training.epochs: input should be greater than or equal to 1, not 0 (and 2 more)"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: [1\nb: 2\n", "not YAML: "),
        (b"a: 1\na: 2\n", 'not YAML: while constructing a mapping in "<unicode string>", line 1'),
        (b"a: \xff\n", "not YAML in UTF-8"),
        (b"!!python/object/apply:os.system ['true']\n", "not YAML: could not determine a constructor"),
        (b"", "the file: input should be a valid dictionary"),
        (b"- 1\n", "the file: input should be a valid dictionary"),
        (b"datasets: []\n", "dataset: field required"),
    ],
)
def test_a_file_that_is_no_params_file_is_one_line(tmp_path, content, words):
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    assert refused(path).startswith(words)


def test_a_missing_file_and_a_missing_data_set_say_what_to_do(tmp_path):
    assert refused(tmp_path / "params.yaml") == "not found; run from the project's folder"
    with pytest.raises(VadError, match="no data set 'yours'; there are: mine"):
        load_dataset("yours", params(tmp_path))


def test_numbers_may_be_written_as_yaml_has_them(tmp_path):
    path = params(tmp_path)
    path.write_text(
        "datasets: []\ndataset: {mine: {eta: 2e-3, paper: {w_raw: 1}, training: {lr: 1.0e-3, adam_eps: 1e-7}}}\n",
        encoding="utf-8",
    )
    settings, _ = load_dataset("mine", path)
    assert (settings.eta, settings.paper.w_raw, settings.training.adam_eps) == ((0.002,), 1.0, 1e-7)


def test_every_setting_has_a_meaning_and_a_row_in_the_reference():
    page = reference()
    sections = page.split("## `")[1:]

    def check(group, place):
        of_group = [part for part in sections if part.startswith(f"{place}`") and inspect.getdoc(group) in part]
        assert len(of_group) == 1, f"{place}, {group.__name__}"
        for name, field in group.model_fields.items():
            inner = groups_of(field.annotation)
            for found in inner:
                check(found, f"{place}.{name}")
            if not inner:
                assert field.description, f"{place}.{name}"
                assert f"| `{name}` |" in of_group[0]

    check(DatasetSettings, "dataset.<data set>")
    check(ComputeSettings, "compute")
    assert "| `datasets` | `required` |" in page


@pytest.mark.parametrize(
    ("setting", "registry"),
    [
        (DetectorSettings, detectors.KINDS),
        (FlowSettings, flows.KINDS),
        (SourceSettings, layouts.LAYOUTS),
        (ModelSettings, models.KINDS),
    ],
)
def test_every_kind_that_settings_name_is_made_and_no_other(setting, registry):
    kinds = [
        kind for group in groups_of(setting) for kind in get_args(next(iter(group.model_fields.values())).annotation)
    ]
    assert kinds == list(registry)


def test_the_projects_own_file_spells_out_every_key_a_line_each():
    """So that `dvc params diff` speaks of all of them, and `git diff` shows a change alone."""
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert not re.search(r": \{", text)
    written = flat(YAML(typ="safe", pure=True).load(text))
    assert written.keys() == flat(load_params(ROOT / "params.yaml").model_dump(mode="json")).keys()
    assert len(text.splitlines()) >= len(written)


def flat(content, place=""):
    """Every value of nested dictionaries, by its full key."""
    if not isinstance(content, dict):
        return {place: content}
    return {key: value for name, inner in content.items() for key, value in flat(inner, f"{place}.{name}").items()}
