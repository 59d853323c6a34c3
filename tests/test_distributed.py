"""Training by several processes: the loss curve of one, and states that any number can go on from."""

import multiprocessing
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tests.projects import COMPUTE, MOTION, layouts, run_stages, settings, until
from vadlib.models.checkpoint import load_model, load_state
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


def state() -> Path | None:
    return next(iter(Path(".scratch").glob("work-mini-model-flow-*/state.pt")), None)


def when_begun(do) -> threading.Thread:
    """Have something done once three steps have been kept, and a fourth is likely under way."""

    def watch() -> None:
        while not (path := state()) or load_state(path)["step"] < 3:
            time.sleep(0.02)
        do()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_a_killed_process_is_begun_again_from_the_last_checkpoint(built):
    killed = []

    def kill() -> None:
        process = multiprocessing.active_children()[-1]
        process.kill()
        killed.append(process.pid)

    thread = when_begun(kill)
    two = losses_of(TWO)
    thread.join(5)
    assert len(killed) == 1
    np.testing.assert_allclose(two, built[1], rtol=TOLERANCE)


def test_what_two_processes_left_one_goes_on_from(built, monkeypatch):
    def stop() -> None:
        for process in multiprocessing.active_children():
            process.kill()

    when_begun(stop)
    with pytest.raises(Exception, match="training by 2 processes: one was killed in each of 1 tries"):
        losses_of(TWO.model_copy(update={"retries": 0}))
    step = load_state(state())["step"]
    assert 3 <= step < len(built[1])
    np.testing.assert_allclose(losses_of(COMPUTE), built[1], rtol=TOLERANCE)
    assert state() is None
