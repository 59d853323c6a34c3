"""Equation (2) and the errors, by hand-computed numbers."""

import pytest
import torch
from torch import nn

from vadlib.engine.engine import Engine
from vadlib.models.objective import cube_errors, median_errors, reconstruction_loss
from vadlib.models.state import State
from vadlib.scoring.perturbation import input_gradient, perturbed_errors
from vadlib.settings import StateSettings

ENGINE = Engine(torch.device("cpu"), torch.float32)


class Times(nn.Module):
    """A 'network' that multiplies, and keeps the first channels; counts its passes."""

    def __init__(self, factor: float, channels: int) -> None:
        super().__init__()
        self.factor, self.channels, self.passes = factor, channels, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        return self.factor * x[:, :, : self.channels]


def cube(values: list[float]) -> torch.Tensor:
    """A cube (1, 1, 3, 1, 1) of three channel values."""
    return torch.tensor(values).reshape(1, 1, 3, 1, 1)


@pytest.mark.parametrize(("p", "expected"), [(1, 0.5 + 1 + 2), (2, 0.25 + 1 + 4), (3, 0.125 + 1 + 8)])
def test_a_cubes_error_is_the_p_norm_to_the_p(p, expected):
    errors = cube_errors(cube([0.5, 1.0, 2.0]), torch.zeros(1, 1, 3, 1, 1), p)
    torch.testing.assert_close(errors, torch.tensor([float(expected)]))


def test_the_median_error_is_the_middle_frames_mean_end_point_error():
    """Off by (3, 4) at one of two pixels, in all, in none of them: 2.5, 5 and 0 px."""
    off = torch.tensor([3.0, 4.0]).reshape(1, 1, 2, 1, 1)
    output = torch.cat([off * torch.tensor([1.0, 0.0]), off * torch.ones(2), off * torch.zeros(2)], dim=1)
    assert median_errors(output, torch.zeros_like(output)).tolist() == [2.5]
    assert median_errors(output[:, [1, 1, 2]], torch.zeros_like(output)).tolist() == [5.0]


def test_one_odd_frame_decides_the_norm_and_not_the_median():
    torch.manual_seed(0)
    output, target = torch.rand(4, 5, 3, 6, 6), torch.rand(4, 5, 3, 6, 6)
    odd = output.clone()
    largest = (output - target).norm(dim=2).mean((2, 3)).argmax(dim=1)
    odd[torch.arange(4), largest] += 100
    assert (cube_errors(odd, target, 2) > 100 * cube_errors(output, target, 2)).all()
    torch.testing.assert_close(median_errors(odd, target), median_errors(output, target), rtol=0, atol=0)


@pytest.mark.parametrize(("p", "expected"), [(1, (3 + 6) / 2), (2, (3 + 12) / 2), (3, (3 + 24) / 2)])
def test_the_loss_is_the_mean_over_cubes_of_their_errors(p, expected):
    """Two cubes, off by 1 and by 2 in each of three channels."""
    output = torch.cat([cube([1.0] * 3), cube([2.0] * 3)])
    loss = reconstruction_loss(output, torch.zeros_like(output), p)
    torch.testing.assert_close(loss, torch.tensor(float(expected)))


def test_equation_2_by_hand():
    """Raw x/2: error (x - x/2)^2, gradient x/2. Flow 2x against 1: error (2x - 1)^2, gradient 4 (2x - 1).

    At x = (0.2, 0.6, 0.4): raw gradient (0.1, 0.3, 0.2); flow, of the first two channels, (-2.4, 0.8). Signs of the
    sum: (-, +, +). With eta 0.1, x^ = (0.3, 0.5, 0.3): S_r = (0.09 + 0.25 + 0.09) / 4, S_m = 0.4^2 + 0.
    """
    networks = {"raw": Times(0.5, 3), "flow": Times(2, 2)}
    x, flow = cube([0.2, 0.6, 0.4]), torch.ones(1, 1, 2, 1, 1)
    gradient, errors = input_gradient(networks, x, flow, 2, "sum", ENGINE)
    torch.testing.assert_close(gradient, cube([0.1 - 2.4, 0.3 + 0.8, 0.2]))
    torch.testing.assert_close(errors["raw"], torch.tensor([(0.04 + 0.36 + 0.16) / 4]))
    torch.testing.assert_close(errors["flow"], torch.tensor([0.36 + 0.04]))
    perturbed = perturbed_errors(networks, x, flow, [0.1], 2, "sum", ENGINE)[0.1]
    # Of the same reconstruction: the length of (0.15, 0.25, 0.15), and of (0.4, 0).
    torch.testing.assert_close(perturbed["raw_median"], torch.tensor([0.43**0.5 / 2]))
    torch.testing.assert_close(perturbed["flow_median"], torch.tensor([0.4]))
    torch.testing.assert_close(perturbed["raw"], torch.tensor([0.43 / 4]))
    torch.testing.assert_close(perturbed["flow"], torch.tensor([0.16]))


def test_the_authors_mean_weighs_flow_one_and_a_half_times_as_much():
    networks = {"raw": Times(0.5, 3), "flow": Times(2, 2)}
    x, flow = cube([0.2, 0.6, 0.4]), torch.ones(1, 1, 2, 1, 1)
    gradient, _ = input_gradient(networks, x, flow, 2, "mean", ENGINE)
    torch.testing.assert_close(gradient, cube([0.1 / 3 - 2.4 / 2, 0.3 / 3 + 0.8 / 2, 0.2 / 3]))


def test_the_raw_target_takes_gradient():
    """With a detached target the gradient of (x/2 - x)^2 would be -x/2 * ... of the other sign."""
    gradient, _ = input_gradient({"raw": Times(0.5, 3)}, cube([0.2, 0.6, 0.4]), None, 2, "sum", ENGINE)
    assert (gradient > 0).all()


@pytest.mark.parametrize("p", [1, 2, 3])
def test_gradients_exist_for_any_p_even_where_nothing_is_wrong(p):
    gradient, errors = input_gradient({"raw": Times(1, 3)}, cube([0.2, 0.6, 0.4]), None, p, "sum", ENGINE)
    assert torch.equal(gradient, torch.zeros_like(gradient))
    assert errors["raw"].item() == 0


@pytest.mark.parametrize(
    ("etas", "passes"), [([0.01], 2), ([0.0], 1), ([0.0, 0.01, 0.02, 0.03, 0.04], 5), ([0.01, 0.02], 3)]
)
def test_a_sweep_costs_one_gradient_pass_and_one_forward_pass_for_each_eta(etas, passes):
    """The gradient's own forward pass is the result for eta = 0."""
    networks = {"raw": Times(0.5, 3), "flow": Times(2, 2)}
    found = perturbed_errors(networks, cube([0.2, 0.6, 0.4]), torch.ones(1, 1, 2, 1, 1), etas, 2, "sum", ENGINE)
    assert list(found) == etas
    assert {network.passes for network in networks.values()} == {passes}


def small_networks(dtype: torch.dtype = torch.float32):
    torch.manual_seed(0)
    engine = Engine(torch.device("cpu"), dtype)
    model = StateSettings(widths=(4, 8, 8), layers=1)
    return engine, {b: engine.for_scoring(State(model, b, 3).eval()) for b in ("raw", "flow")}


def test_weights_take_no_gradient():
    engine, networks = small_networks()
    perturbed_errors(networks, torch.rand(2, 3, 3, 8, 8), torch.randn(2, 3, 2, 8, 8), [0.01], 2, "sum", engine)
    parameters = [p for network in networks.values() for p in network.parameters()]
    assert parameters
    assert all(p.grad is None and not p.requires_grad for p in parameters)


def test_cubes_of_other_frames_in_the_batch_change_a_score_by_rounding_only():
    """Any batch size gives the same scores to 1e-5, relative."""
    engine, networks = small_networks()
    cubes, flows = torch.rand(7, 3, 3, 8, 8), torch.randn(7, 3, 2, 8, 8)
    together = perturbed_errors(networks, cubes, flows, [0.01], 2, "sum", engine)[0.01]
    for size in (1, 3):
        parts = [
            perturbed_errors(networks, c, f, [0.01], 2, "sum", engine)[0.01]
            for c, f in zip(cubes.split(size), flows.split(size), strict=True)
        ]
        for branch, errors in together.items():
            torch.testing.assert_close(torch.cat([p[branch] for p in parts]), errors, rtol=1e-5, atol=0)


def test_errors_are_float32_where_the_network_runs_in_bfloat16_and_near_those_of_float32():
    cubes, flows = torch.rand(5, 3, 3, 8, 8), torch.randn(5, 3, 2, 8, 8)
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        engine, networks = small_networks(dtype)
        found[dtype] = perturbed_errors(networks, cubes, flows, [0.0], 2, "sum", engine)[0.0]
    for branch, errors in found[torch.bfloat16].items():
        assert errors.dtype == torch.float32
        torch.testing.assert_close(errors, found[torch.float32][branch], rtol=0.02, atol=0)


def test_a_perturbation_smaller_than_bfloat16s_step_still_reaches_the_network():
    engine, networks = small_networks(torch.bfloat16)
    cubes = (0.6 + torch.rand(1, 3, 3, 8, 8) / 3).bfloat16().float()  # where the step is 1/256
    moved = cubes + 0.0015 * torch.randn_like(cubes).sign()
    assert torch.equal(cubes.bfloat16(), moved.bfloat16())
    with torch.inference_mode(), engine.autocast():
        still, other = (networks["raw"].encoder.features(x.flatten(0, 1))[0] for x in (cubes, moved))
    assert still.dtype == torch.bfloat16
    assert not torch.equal(still, other)
