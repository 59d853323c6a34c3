"""The decoder's deconvolution and convolution, trained as one: the same outputs and gradients, at every border."""

import copy

import pytest
import torch
from torch import nn

from vadlib.engine.convolution import FastConv, hasten
from vadlib.engine.engine import Engine
from vadlib.engine.merged import MergedConv, PassedOn, merge_decoders
from vadlib.models.registry import build_model
from vadlib.models.state import Conv3x3, Deconvolution
from vadlib.settings import model_settings

ENGINE = Engine(torch.device("cpu"), torch.float32)


def network(kind: str) -> nn.Module:
    torch.manual_seed(0)
    extra = {"layers": 1, "heads": 2} if kind == "state" else {}
    return build_model(model_settings({"kind": kind, "widths": (4, 8, 8), **extra}), "raw", 3)


@pytest.mark.parametrize("size", [(8, 8), (3, 4), (2, 1), (1, 2), (1, 1)])
def test_the_merged_convolution_equals_the_two_layers_forward_and_backward(size):
    torch.manual_seed(0)
    up, conv = Deconvolution(5).double(), FastConv.of(Conv3x3(5, 4).double())
    merged = MergedConv.after(up, conv).train()
    x = torch.randn(2, 5, *size, dtype=torch.float64, requires_grad=True)
    results = []
    for y in (conv(up(x)), merged(x)):
        results.append((y, *torch.autograd.grad(y.sin().sum(), (x, *up.parameters(), *conv.parameters()))))
    assert results[1][0].shape == (2, 4, 2 * size[0], 2 * size[1])
    for apart, together in zip(*results, strict=True):
        torch.testing.assert_close(together, apart)


@pytest.mark.parametrize(("kind", "pairs"), [("state", 2), ("conv_ae", 2), ("convlstm_ae", 2), ("unet", 0)])
def test_a_network_in_training_computes_what_the_plain_one_does(kind, pairs):
    """With BatchNorm held in evaluation mode, training differs in nothing but the way the decoder is computed."""
    plain = network(kind).double().eval()
    trained = merge_decoders(hasten(copy.deepcopy(plain))).train()
    assert sum(isinstance(module, PassedOn) for module in trained.modules()) == pairs
    assert sum(isinstance(module, MergedConv) for module in trained.modules()) == pairs
    assert [name for name, _ in trained.named_parameters()] == [name for name, _ in plain.named_parameters()]
    for module in trained.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    cubes = torch.rand(2, 3, 3, 16, 12, dtype=torch.float64)
    results = []
    for each in (plain, trained):
        y = each(cubes)
        results.append((y, *torch.autograd.grad(y.sin().sum(), tuple(each.parameters()))))
    for apart, together in zip(*results, strict=True):
        torch.testing.assert_close(together, apart)
    torch.testing.assert_close(trained.eval()(cubes), results[0][0])


def test_a_trained_network_is_scored_with_its_two_layers():
    trained = ENGINE.for_training(network("state"))
    cubes = torch.rand(2, 3, 3, 16, 12)
    with torch.no_grad():
        trained(cubes)  # BatchNorm has something to fold
    plain = network("state")
    plain.load_state_dict(trained.state_dict(), strict=True)
    with torch.inference_mode():
        expected = ENGINE.for_scoring(plain)(cubes)
        torch.testing.assert_close(ENGINE.for_scoring(trained)(cubes), expected)
        torch.testing.assert_close(trained.eval()(cubes), expected, rtol=1e-4, atol=1e-5)
