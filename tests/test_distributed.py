"""Training by several processes: the loss curve of one, and states that any number can go on from."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ended_by_a_kill
from tests.projects import COMPUTE, MOTION, layouts, run_stages, settings, until
from tests.work import killed_in_training
from vadlib import training
from vadlib.errors import VadError
from vadlib.io.files import write_text
from vadlib.models.checkpoint import load_model
from vadlib.pipeline import processes, train
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


def same_curve(found: np.ndarray, one: np.ndarray, what: str) -> None:
    """Within the tolerance; how far within it is printed (`pytest -s`)."""
    assert len(found) == len(one)
    print(f"{what}: largest relative difference {np.abs(found / one - 1).max():.1e} in {len(one)} steps")
    np.testing.assert_allclose(found, one, rtol=TOLERANCE)


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_a_kill_of_the_one_process_that_is_known_ends_those_that_train(tmp_path):
    write_text(
        tmp_path / "script.py",
        "from tests import test_distributed as t\n"
        "if __name__ == '__main__':\n"
        "    training = {**t.TRAINING, 'epochs': 999}\n"
        "    long = t.settings(source={'layout': 'videos'}, detector=t.MOTION, training=training)\n"
        "    t.train.train_model(t.Places.of('mini'), 'flow', long, t.TWO)\n",
    )
    ended_by_a_kill(tmp_path / "script.py", lambda: any(Path(".scratch").rglob("state.pt")))


def test_two_processes_have_the_loss_curve_of_one(built):
    one = built[1]
    weights = load_model(Places.of("mini").model("flow"), "flow", "")[0].state_dict()
    two = losses_of(TWO)
    assert len(one) > 9
    same_curve(two, one, "two processes")
    assert one[-1] < one[0]
    for name, value in load_model(Places.of("mini").model("flow"), "flow", "")[0].state_dict().items():
        if value.ndim > 1:  # a bias before BatchNorm has no gradient but rounding, which Adam makes as large as any
            assert (value - weights[name]).norm() < 1e-2 * weights[name].norm(), name


def killing(flag, step: int):
    """`killed_in_training`, under a name, which torch's launcher asks for."""
    work = partial(killed_in_training, flag, step)
    work.__name__ = work.__qualname__ = "killed_in_training"
    return work


def test_a_killed_process_takes_the_others_with_it_and_all_go_on_from_the_checkpoint(built, tmp_path, monkeypatch):
    flag = tmp_path / "killed"
    monkeypatch.setattr(processes, "_train", killing(flag, 6))
    losses = losses_of(TWO)
    assert flag.exists()
    same_curve(losses, built[1], "two processes, one killed, begun again")


def test_one_process_goes_on_from_what_two_left_and_two_from_what_one_left(built, tmp_path, monkeypatch):
    steps = []
    real = training.training_step

    def counted(*given):
        steps.append(len(steps))
        if len(steps) == stop:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(training, "training_step", counted)
    stop = 0
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_train", killing(tmp_path / "killed", 6))
        with pytest.raises(VadError, match="training by 2 processes: one was killed in each of 1 tries"):
            losses_of(TWO.model_copy(update={"retries": 0}))
    same_curve(losses_of(COMPUTE), built[1], "one process, from what two left")
    assert len(steps) == len(built[1]) - 5  # five were two processes'
    steps.clear()
    stop = 4
    with pytest.raises(KeyboardInterrupt):
        losses_of(COMPUTE)
    # Not one that was never killed: its first step would be asked for again.
    monkeypatch.setattr(processes, "_train", killing(tmp_path / "killed again", len(built[1]) - 2))
    same_curve(losses_of(TWO), built[1], "two processes, from what one left")
    assert not (tmp_path / "killed again").exists()  # of len - 3 steps that were left none was as late
