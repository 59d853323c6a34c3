"""From cubes to scores: what is measured, what is fitted on it, and what it adds up to."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vadlib.cubes.shards import Batch, CubeSet, Shard, ShardWriter
from vadlib.engine.engine import Engine
from vadlib.footage.stream import ScoredFrame
from vadlib.models.state import State
from vadlib.pipeline import fitting
from vadlib.pipeline.fitting import fit
from vadlib.scoring.calibration import Calibration, Statistics, fit_normal, strangeness, value_of
from vadlib.scoring.evidence.place import Place
from vadlib.scoring.evidence.speed import Speed
from vadlib.scoring.perturbation import perturbed_errors
from vadlib.scoring.scorer import Scorer, value_names
from vadlib.settings import PAPER, CubeSettings, DatasetSettings, ScoreSettings, StateSettings

ENGINE = Engine(torch.device("cpu"), torch.float32)
MODEL = StateSettings(widths=(4, 8, 8), layers=1, heads=2)
SETTINGS = DatasetSettings(model=MODEL, cube=CubeSettings(context=1, patch=8))
STATISTICS = {"raw": Statistics(10, 2, 5), "flow": Statistics(100, 50, 5)}
ERRORS = {"raw": np.array([14.0, 9.0], np.float32), "flow": np.array([50.0, 200.0], np.float32)}


def plain(settings: DatasetSettings = SETTINGS, **more) -> Scorer:
    return Scorer(settings, {}, {}, ENGINE, STATISTICS, **more)


def test_the_papers_s_is_the_weighted_sum_of_standardised_errors():
    """0.3 (14 - 10)/2 + 1 (50 - 100)/50 = -0.4, and 0.3 (9 - 10)/2 + 1 (200 - 100)/50 = 1.85."""
    how = PAPER.model_copy(update={"w_raw": 0.3})
    np.testing.assert_allclose(plain().scores(how, ERRORS, 0.0), [-0.4, 1.85])
    parts = plain().parts(how, ERRORS, 0.0)
    np.testing.assert_allclose(parts["raw"], [0.6, -0.15])
    np.testing.assert_allclose(parts["flow"], [-1, 2])


def test_one_branch_alone_scores_alone():
    how = PAPER.model_copy(update={"evidence": ("flow",), "w_flow": 2.0})
    np.testing.assert_allclose(plain().scores(how, ERRORS, 0.0), [-2, 4])


def test_which_measurement_an_evidence_is():
    best = ScoreSettings()
    assert [value_of(name, best) for name in ("raw", "flow", "speed")] == ["raw_median", "flow_median", "speed"]
    assert [value_of(name, PAPER) for name in ("raw", "flow", "speed")] == ["raw", "flow", "speed"]


def random_cubes(count: int, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 100, (count, 2))
    return Batch(
        rng.integers(0, 255, (count, 3, 8, 8, 3), np.uint8),
        rng.integers(-9, 9, (count, 3, 8, 8, 2), np.int16),
        np.concatenate([corner, corner + rng.uniform(5, 30, (count, 2))], axis=1).astype(np.float32),
    )


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    """Both networks, untrained, and evidence that needs none."""
    torch.manual_seed(0)
    networks = {branch: ENGINE.for_scoring(State(MODEL, branch, 3)) for branch in ("raw", "flow")}
    evidence = {"speed": Speed(None), "place": Place(None)}
    for kind in evidence.values():
        kind.fit(random_cubes(40, seed=1))
    made = Scorer(SETTINGS, networks, evidence, ENGINE)
    etas = [0.0, 0.1]
    measured = made.measure(random_cubes(60, seed=2), etas)
    normal = {eta: {name: fit_normal(values) for name, values in measured[eta].items()} for eta in etas}
    normal = {eta: {**of_eta, "dwell": fit_normal(np.arange(1, 60))} for eta, of_eta in normal.items()}
    return replace(made, calibration=Calibration(normal, {}))


def test_all_is_measured_by_name_and_only_errors_depend_on_eta(scorer):
    cubes = random_cubes(5)
    found = scorer.measure(cubes, [0.0, 0.1])
    assert list(found) == [0.0, 0.1]
    for values in found.values():
        assert list(values) == [name for name in value_names(scorer) if name != "dwell"]
        assert all(part.dtype == np.float32 and part.shape == (5,) for part in values.values())
    for name in found[0.0]:
        assert (found[0.0][name].tobytes() == found[0.1][name].tobytes()) == (not name.startswith(("raw", "flow")))
    errors = perturbed_errors(
        scorer.networks, ENGINE.cubes(cubes.raw), ENGINE.flows(cubes.flow), [0.1], 2, "sum", ENGINE
    )
    for name, error in errors[0.1].items():
        np.testing.assert_array_equal(found[0.1][name], error)


def shard(folder, cubes: Batch) -> CubeSet:
    """A clip of these cubes, one in each frame."""
    for branch, content in (("raw", cubes.raw), ("flow", cubes.flow)):
        with ShardWriter(folder / f"{branch}.h5", branch, 3, 8) as file:
            for row, box in enumerate(cubes.boxes):
                magnitude = np.zeros(1) if branch == "flow" else None
                file.add(row, box[None], content[row : row + 1], magnitude)
    return CubeSet([(Shard(folder / "raw.h5", ""), Shard(folder / "flow.h5", ""))])


def test_a_clips_cubes_are_measured_and_their_dwell_beside(scorer, tmp_path):
    cubes = random_cubes(9)
    cubes.boxes[4:7] = cubes.boxes[0]
    found = scorer.measure_clip(shard(tmp_path, cubes), np.arange(9), cubes.boxes, [0.1], 4)[0.1]
    assert set(found) == set(value_names(scorer))
    assert found["dwell"][[0, 4, 5, 6]].tolist() == [1, 2, 3, 4]


def test_a_set_of_cubes_is_measured_batch_by_batch_in_order(scorer, tmp_path):
    cubes = random_cubes(41)
    found = scorer.measure_all(shard(tmp_path, cubes), [0.1], 8)[0.1]
    whole = scorer.measure(cubes, [0.1])[0.1]
    assert list(found) == list(whole)
    for name, values in whole.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, err_msg=name)


def test_every_evidence_says_how_unusual_a_cube_is_whatever_its_weight(scorer):
    """Of what words are made: -log p, also where it does not count."""
    values = scorer.measure(random_cubes(5), [0.1])[0.1] | {"dwell": np.arange(5, dtype=np.float32) * 30}
    best = ScoreSettings(evidence=("raw", "speed"), w_raw=3.0)
    weighed = replace(scorer, settings=SETTINGS.model_copy(update={"best": best}))
    parts = weighed.best_parts(values, 0.1)
    assert list(parts) == ["raw", "flow", "speed", "place", "dwell"]
    normal = scorer.calibration.normal[0.1]
    for name in parts:
        measured = f"{name}_median" if name in ("raw", "flow") else name
        np.testing.assert_array_equal(parts[name], strangeness(name, values[measured], normal[measured]))
    np.testing.assert_allclose(weighed.scores(best, values, 0.1), 3 * parts["raw"] + parts["speed"], rtol=1e-12)


def test_each_eta_has_its_own_normal(scorer):
    values = scorer.measure(random_cubes(5), [0.0])[0.0]
    for eta, normal in scorer.calibration.normal.items():
        found = scorer.scores(ScoreSettings(evidence=("raw",)), values, eta)
        np.testing.assert_array_equal(found, strangeness("raw", values["raw_median"], normal["raw_median"]))


# Fitting


class Recorded:
    """Evidence that notes what it is fitted on."""

    def __init__(self):
        self.samples: list[list[float]] = []

    def fit(self, sample: Batch) -> None:
        self.samples.append(sample.boxes[:, 0].tolist())


@pytest.mark.parametrize(("count", "most", "step"), [(40, 64, 1), (40, 40, 1), (41, 20, 3), (90, 31, 3), (97, 33, 3)])
def test_evidence_is_fitted_on_an_even_sample_and_never_on_nothing(tmp_path, monkeypatch, count, most, step):
    monkeypatch.setattr(fitting, "SAMPLE", most)
    kind = Recorded()
    numbered = random_cubes(count)
    numbered.boxes[:] = np.arange(count)[:, None] + np.array([0, 0, 1, 1])
    statistics = fit(Scorer(SETTINGS, {}, {"kind": kind}, ENGINE), shard(tmp_path, numbered), 4)
    assert statistics == {}
    assert all(kind.samples)
    assert [x for sample in kind.samples for x in sample] == list(range(0, count, step))
    assert sum(map(len, kind.samples)) <= most


def test_a_sample_that_ends_with_a_batch_leaves_nothing_to_fit(tmp_path, monkeypatch):
    """Of 15 cubes every fourth is taken, in batches of 1: the fit on 12 is the last."""
    monkeypatch.setattr(fitting, "SAMPLE", 4)
    kind = Recorded()
    numbered = random_cubes(15)
    numbered.boxes[:] = np.arange(15)[:, None] + np.array([0, 0, 1, 1])
    fit(Scorer(SETTINGS, {}, {"kind": kind}, ENGINE), shard(tmp_path, numbered), 1)
    assert kind.samples == [[0], [4], [8], [12]]


def test_statistics_are_of_every_cubes_unperturbed_error(scorer, tmp_path):
    cubes = random_cubes(30)
    found = fit(replace(scorer, evidence={}), shard(tmp_path, cubes), 7)
    values = scorer.measure(cubes, [0.0])[0.0]
    for branch, statistics in found.items():
        assert statistics.cubes == 30
        assert statistics.mean == pytest.approx(values[branch].mean(), rel=1e-5)
        assert statistics.std == pytest.approx(values[branch].std(), rel=1e-4)


# The reason of a frame


def frame(scores: list[float], objects: int | None = 1000, **parts: list[float]) -> ScoredFrame:
    none = np.zeros(0)
    return ScoredFrame(
        0, 0.0, none, np.zeros((len(scores), 4)), np.array(scores), np.arange(len(scores)),
        {name: np.array(part) for name, part in parts.items()}, max(scores, default=np.nan), none, none, 0, objects,
    )  # fmt: skip


def test_a_frames_reason_is_that_of_its_highest_box():
    """e^(4 + 1) = 148."""
    assert frame([1.0, 9.0], speed=[8.0, 4.0]).reason == "It is as fast as 1 in 150 normal objects"
    assert frame([9.0, 1.0], speed=[1.0, 4.0]).reason == ""
    assert frame([]).reason == ""


def test_standardised_scores_are_not_put_into_words():
    assert frame([9.0], objects=None, speed=[9.0]).reason == ""
