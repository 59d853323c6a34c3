"""Frozen networks: the numbers of the networks they are made of."""

import copy
import pickle

import pytest
import torch
from torch import nn

from vadlib.engine.convolution import fuses
from vadlib.engine.engine import Engine
from vadlib.engine.frozen import FrozenConv
from vadlib.models.registry import build_model
from vadlib.settings import model_settings

CPU = torch.device("cpu")


def trained_looking(kind: str, **settings: object) -> nn.Module:
    """A network whose BatchNorm has something to fold."""
    torch.manual_seed(0)
    model = {"kind": kind, "widths": (8, 8, 16), **({"layers": 1, **settings} if kind == "state" else {})}
    network = build_model(model_settings(model), "flow", 3)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                nn.init.normal_(tensor)
    return network.eval()


def output_and_gradient(network: nn.Module, cubes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    y = cubes.clone().requires_grad_()
    out = network(y)
    return out.detach(), torch.autograd.grad(out.float().sin().sum(), y)[0]


@pytest.mark.parametrize("kind", ["state", "conv_ae", "convlstm_ae", "unet"])
@pytest.mark.parametrize("head_input", ["all", "slice"])
def test_a_frozen_network_gives_the_same_outputs_and_input_gradients(kind, head_input):
    network = trained_looking(kind, head_input=head_input)
    frozen = Engine(CPU, torch.float32).for_scoring(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in frozen.modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    cubes = torch.rand(2, 3, 3, 16, 12)
    for found, expected in zip(output_and_gradient(frozen, cubes), output_and_gradient(network, cubes), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    not fuses(torch.zeros(1, dtype=torch.bfloat16)), reason="this processor has no fused convolution of bfloat16"
)
def test_in_bfloat16_a_frozen_network_is_as_close_to_float32_as_one_that_is_not():
    network = trained_looking("state")
    engine = Engine(CPU, torch.bfloat16)
    cubes = torch.rand(2, 3, 3, 16, 12)
    full = output_and_gradient(network, cubes)
    with engine.autocast():
        frozen, plain = (output_and_gradient(n, cubes) for n in (engine.for_scoring(network), network))
    assert frozen[0].dtype == torch.bfloat16
    for of_frozen, of_plain, expected in zip(frozen, plain, full, strict=True):
        assert (of_frozen - expected).norm() < 1.1 * (of_plain - expected).norm()
    assert (frozen[0] - full[0]).norm() < 0.01 * full[0].norm()


def test_freezing_leaves_the_network_as_it_was():
    network = trained_looking("state")
    before = copy.deepcopy(network.state_dict())
    Engine(CPU, torch.float32).for_scoring(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_frozen_convolution_that_has_run_can_be_sent_to_another_process(copied):
    layer = FrozenConv(nn.Conv2d(4, 4, 3, padding=1), 0.2, torch.float32)
    x = torch.randn(1, 4, 5, 5)
    y = layer(x)
    assert torch.equal(copied(layer)(x), y)
