"""The decoder's deconvolution and convolution, trained as one: the same outputs and gradients, at every border."""

import pytest
import torch
from torch import nn

from vadlib.settings import Model
from vadlib.state import Deconvolution, State


@pytest.mark.parametrize("size", [(8, 8), (3, 4), (2, 1), (1, 2), (1, 1)])
def test_the_merged_convolution_equals_the_two_layers_forward_and_backward(size):
    torch.manual_seed(0)
    up, conv = Deconvolution(5).double(), nn.Conv2d(5, 4, 3, padding=1).double()
    x = torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True)
    results = []
    for y in (conv(up(x)), up.then(conv, x)):
        results.append((y, *torch.autograd.grad(y.sin().sum(), (x, *up.parameters(), *conv.parameters()))))
    assert results[1][0].shape == (2, 4, 2 * size[0], 2 * size[1])
    for apart, merged in zip(*results, strict=True):
        torch.testing.assert_close(merged, apart)


def test_a_network_in_training_computes_what_it_computes_in_evaluation():
    """With BatchNorm held in evaluation mode, the mode changes nothing but the way the decoder is computed."""
    torch.manual_seed(0)
    network = State(Model(widths=(4, 8, 8), layers=1, heads=2), "raw", 3).double()
    cubes = torch.rand(2, 3, 3, 16, 12, dtype=torch.float64)
    evaluated = network.eval()(cubes)
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    torch.testing.assert_close(network(cubes), evaluated)
