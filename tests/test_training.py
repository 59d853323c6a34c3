"""Training: it learns, and a resumed run gives what an uninterrupted one gives."""

import numpy as np
import pytest
import torch

from vadlib.cubes.shards import CubeSet, Shard, ShardWriter
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.models.checkpoint import load_state, save_state
from vadlib.models.registry import build_model
from vadlib.settings import StateSettings, TrainingSettings
from vadlib.training import learning_rate, train_branch

ENGINE = Engine(torch.device("cpu"), torch.float32)
MODEL = StateSettings(widths=(4, 8, 8), layers=1)
SETTINGS = TrainingSettings(epochs=3, batch=16, checkpoint_seconds=0.000001)


@pytest.fixture
def cubes(tmp_path):
    rng = np.random.default_rng(0)
    raw = np.repeat(rng.integers(0, 256, (70, 1, 1, 1, 3)), 64, axis=2).reshape(70, 1, 8, 8, 3).repeat(3, axis=1)
    flow = (raw[..., :2].astype(np.int16) - 128) // 4
    boxes = np.zeros((70, 4), np.float32)
    with ShardWriter(tmp_path / "raw.h5", "raw", 3, 8) as shard:
        shard.add(0, boxes, raw.astype(np.uint8))
    with ShardWriter(tmp_path / "flow.h5", "flow", 3, 8) as shard:
        shard.add(0, boxes, flow, np.zeros(70))
    return CubeSet([(Shard(tmp_path / "raw.h5", ""), Shard(tmp_path / "flow.h5", ""))])


def network():
    torch.manual_seed(0)
    return build_model(MODEL, "flow", 3)


def test_the_loss_falls(cubes):
    done = train_branch(network(), "flow", cubes, TrainingSettings(epochs=12, batch=16, lr=0.01), 2, ENGINE)
    assert done.step == len(done.losses) == 12 * 5
    assert np.mean(done.losses[-5:]) < 0.5 * np.mean(done.losses[:5])


@pytest.mark.parametrize("killed_at", [1, 5, 7, 14])
def test_a_killed_and_resumed_training_gives_the_same_weights(cubes, tmp_path, killed_at):
    whole = network()
    expected = train_branch(whole, "flow", cubes, SETTINGS, 2, ENGINE)

    class Killed(Exception):
        pass

    def kill(progress):
        if progress.step == killed_at + 1:
            raise Killed

    path = tmp_path / "state.pt"
    with pytest.raises(Killed):
        train_branch(network(), "flow", cubes, SETTINGS, 2, ENGINE, keep=lambda s: save_state(path, s), after_step=kill)
    state = load_state(path)
    assert state["step"] == killed_at
    resumed = network()
    found = train_branch(resumed, "flow", cubes, SETTINGS, 2, ENGINE, resume=state)
    assert found == expected
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_no_cubes_is_a_clear_error(tmp_path):
    with pytest.raises(VadError, match="no training cubes"):
        train_branch(network(), "flow", CubeSet([]), SETTINGS, 2, ENGINE)


def test_a_loss_that_is_no_number_is_a_clear_error(cubes):
    with pytest.raises(VadError, match=r"loss is (nan|inf) at step \d+ of 15; lower"):
        train_branch(network(), "flow", cubes, TrainingSettings(epochs=3, batch=16, lr=1e30), 2, ENGINE)


def test_learning_rates():
    assert [learning_rate(TrainingSettings(lr=0.5), step, 4) for step in range(4)] == [0.5] * 4
    cosine = [learning_rate(TrainingSettings(lr=0.5, schedule="cosine"), step, 4) for step in (0, 2, 4)]
    assert cosine == pytest.approx([0.5, 0.25, 0])
