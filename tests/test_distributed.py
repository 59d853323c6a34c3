"""Training by several processes: the loss curve of one, and states that any number can go on from."""

import numpy as np
import pytest

from tests.projects import COMPUTE, MOTION, layouts, run_stages, settings, until
from vadlib.models.checkpoint import load_model
from vadlib.pipeline import train
from vadlib.pipeline.places import Places

pytestmark = pytest.mark.slow
TWO = COMPUTE.model_copy(update={"processes": 2})
TRAINING = {"epochs": 3, "batch": 7, "hold_out_every": 0, "checkpoint_seconds": 1e-9}
TOLERANCE = 1e-4  # of a step's loss, relative: sums are made in another order, and Adam carries that on


def used():
    return settings(source={"layout": "videos"}, detector=MOTION, training=TRAINING)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project with cubes, and the losses of one process."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "data/mini").mkdir(parents=True)
    (folder / "weights/mini").mkdir(parents=True)
    layouts.write_videos(folder / "data/mini", labels=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_stages(used(), until("build_flow"))
        yield folder, losses_of(COMPUTE)


@pytest.fixture(autouse=True)
def _in_project(built, monkeypatch):
    monkeypatch.chdir(built[0])


def losses_of(compute) -> np.ndarray:
    """The loss of every step of the flow branch."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "_write_loss", lambda places, branch, losses, steps: found.extend(losses))
        train.train_model(Places.of("mini"), "flow", used(), compute)
    return np.array(found)


def test_two_processes_have_the_loss_curve_of_one(built):
    one = built[1]
    weights = load_model(Places.of("mini").model("flow"), "flow", "")[0].state_dict()
    two = losses_of(TWO)
    assert len(two) == len(one) > 9
    np.testing.assert_allclose(two, one, rtol=TOLERANCE)
    assert one[-1] < one[0]
    for name, value in load_model(Places.of("mini").model("flow"), "flow", "")[0].state_dict().items():
        if value.ndim > 1:  # a bias before BatchNorm has no gradient but rounding, which Adam makes as large as any
            assert (value - weights[name]).norm() < 1e-2 * weights[name].norm(), name
