"""The device-neutral path on torch's `meta` device, which has shapes and no numbers: what breaks off the CPU is seen
without a GPU."""

import numpy as np
import pytest
import torch

from vadlib.engine.engine import Engine
from vadlib.models.objective import cube_errors, reconstruction_loss
from vadlib.models.registry import build_model
from vadlib.settings import BaselineSettings, StateSettings
from vadlib.training import make_optimiser

ENGINE = Engine(torch.device("meta"), torch.float32)
RAW = np.zeros((4, 5, 16, 16, 3), np.uint8)
FLOW = np.zeros((4, 5, 16, 16, 2), np.int16)
KINDS = [StateSettings(widths=(4, 8, 8), layers=1, heads=2), BaselineSettings(kind="unet", widths=(4, 8, 8))]


@pytest.fixture(autouse=True)
def _without_autocast(monkeypatch):
    """torch knows none for `meta`, and raises where it is asked whether it is on."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: False)


@pytest.mark.parametrize("settings", KINDS, ids=lambda s: s.kind)
@pytest.mark.parametrize("branch", ["raw", "flow"])
def test_a_training_step_stays_on_its_device(settings, branch):
    network = ENGINE.for_training(build_model(settings, branch, 5))
    cubes, flows = ENGINE.cubes(RAW), ENGINE.flows(FLOW)
    target = cubes if branch == "raw" else flows
    output = network(cubes)
    assert output.shape == target.shape
    loss = reconstruction_loss(output, target, 2.0)
    loss.backward()
    assert {p.device.type for p in network.parameters()} == {"meta"}
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in network.parameters())
    assert len(make_optimiser(network, 1e-3, 1e-7).param_groups[0]["params"]) == len(list(network.parameters()))


@pytest.mark.parametrize("settings", KINDS, ids=lambda s: s.kind)
@pytest.mark.parametrize("branch", ["raw", "flow"])
def test_a_frozen_network_gives_errors_and_their_gradient_by_the_cube(settings, branch):
    network = ENGINE.for_scoring(build_model(settings, branch, 5))
    cubes, flows = ENGINE.cubes(RAW), ENGINE.flows(FLOW)
    target = cubes if branch == "raw" else flows
    cubes.requires_grad_(True)
    errors = cube_errors(network(cubes), target, 2.0)
    assert errors.shape == (4,)
    (gradient,) = torch.autograd.grad(errors.sum(), cubes)
    assert gradient.shape == cubes.shape
    assert gradient.device.type == "meta"
