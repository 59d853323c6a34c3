"""Convolutions by oneDNN's fastest ways: the numbers of the plain ones."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vadlib.engine import convolution
from vadlib.engine.convolution import (
    FastConv,
    FastPixelConv,
    convolution_backward,
    convolve,
    fuses,
    in_two_parts,
    joined,
    operator,
)
from vadlib.engine.frozen import FrozenConv

PRIVATE = ("CONVOLVE", "REORDER", "HAS_BF16", "CONVOLVE_BACK", "ACTIVATE_BACK")
BF16 = fuses(torch.zeros(1, dtype=torch.bfloat16))


def test_two_parts_keep_sixteen_bits():
    x = torch.rand(1, 3, 8, 8)
    parts = in_two_parts(x, torch.bfloat16)
    assert parts.shape == (1, 6, 8, 8)
    assert parts.dtype == torch.bfloat16
    error = (parts.float().unflatten(1, (2, 3)).sum(1) - x).abs()
    assert (error <= x * 2**-16).all()
    assert (parts[:, :3].float() - x).abs().max() > 2**-12  # one part alone would not do


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_activation_is_leaky_relu_of_the_slope(slope, dtype):
    x, weight, bias = (torch.randn(*shape, dtype=dtype) for shape in ((2, 4, 5, 6), (8, 2, 3, 3), (8,)))
    expected = F.leaky_relu(F.conv2d(x, weight, bias, padding=1, groups=2), slope)
    torch.testing.assert_close(convolve(x, weight, bias, slope, groups=2), expected)


@pytest.mark.parametrize(("slope", "groups", "bias"), [(0.2, 1, True), (0.0, 2, True), (1.0, 2, False)])
def test_gradients_are_those_of_the_plain_convolution(slope, groups, bias):
    torch.manual_seed(0)
    layer = FastConv(4, 6, slope=slope, groups=groups, bias=bias).double()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
    results = []
    plain = F.leaky_relu(F.conv2d(x, layer.weight, layer.bias, padding=1, groups=groups), slope)
    for y in (layer(x), plain):
        results.append((y, *torch.autograd.grad(y.sin().sum(), (x, *layer.parameters()))))
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("images", "a_row"), [(32, 16), (14, 14), (7, 7), (17, 1), (1, 1)])
def test_images_are_joined_with_a_column_of_zeros_after_each(images, a_row):
    x = torch.randn(images, 2, 3, 4)
    wide = joined(x)
    assert wide.shape == (images // a_row, 2, 3, a_row * 5)
    apart = wide.unflatten(3, (a_row, 5)).permute(0, 3, 1, 2, 4).flatten(0, 1)
    assert torch.equal(apart[..., :4], x)
    assert not apart[..., 4].any()


@pytest.mark.skipif(not BF16, reason="this processor has no fused convolution of bfloat16")
def test_the_gradient_wrt_the_weights_of_joined_images_is_that_of_images_apart():
    torch.manual_seed(0)
    x, g = (torch.randn(32, c, 8, 8).bfloat16().to(memory_format=torch.channels_last) for c in (16, 32))
    weight = torch.randn(32, 16, 3, 3).bfloat16()
    exact = torch.ops.aten.convolution_backward(
        g.double(), x.double(), weight.double(), [32], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True] * 3
    )
    for found, expected in zip(convolution_backward(g, x, weight), exact, strict=True):
        assert found.dtype == torch.bfloat16
        assert (found.double() - expected).abs().max() < 2**-8 * expected.abs().max()


@pytest.mark.skipif(not BF16, reason="this processor has no fused convolution of bfloat16")
def test_pixels_are_read_to_sixteen_bits_in_bfloat16():
    """bfloat16's step at 0.9 is 0.004: pixels read in one part would all be the same here."""
    layer = FastPixelConv(1, 1)
    nn.init.zeros_(layer.weight)
    layer.weight.data[0, 0, 1, 1] = 1
    nn.init.constant_(layer.bias, -0.8984375)  # a bfloat16, so that small differences are left
    x = torch.tensor([0.899, 0.8995, 0.9]).view(1, 1, 1, 3)
    assert len(x.bfloat16().unique()) == 1
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), x - 0.8984375, rtol=2**-7, atol=2**-16)


# Private operators of torch


def test_private_operators_are_those_that_are_asked_for():
    """Should a torch have others, this says so, and what is public serves until their signatures are here."""
    assert [name for name in PRIVATE if getattr(convolution, name) is None] == []


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("mkldnn._no_such_operator", ""),
        ("no_such_library.convolve", ""),
        ("mkldnn._is_mkldnn_bf16_supported", "Tensor self"),
        ("aten.leaky_relu_backward", "Tensor grad_output, Tensor self, number slope, bool self_is_result"),
    ],
)
def test_an_operator_that_is_not_there_or_takes_other_arguments_is_not_used(name, signature):
    assert operator(name, signature) is None


@pytest.mark.parametrize("missing", [*((name,) for name in PRIVATE), PRIVATE])
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_without_private_operators_the_numbers_are_the_same(missing, slope, monkeypatch):
    torch.manual_seed(0)
    layer = FastConv(4, 6, slope=slope, groups=2)
    x = torch.randn(3, 4, 5, 6, requires_grad=True)

    def numbers() -> list[torch.Tensor]:
        trained, frozen = layer(x), FrozenConv(layer, slope, torch.float32)(x)
        of_training = torch.autograd.grad(trained.sin().sum(), (x, *layer.parameters()))
        return [trained, *of_training, frozen, *torch.autograd.grad(frozen.sin().sum(), x)]

    expected = numbers()
    for name in missing:
        monkeypatch.setattr(convolution, name, None)
    assert fuses(x) == ("CONVOLVE" not in missing)
    for got, wanted in zip(numbers(), expected, strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.skipif(not BF16, reason="this processor has no fused convolution of bfloat16")
def test_without_private_operators_bfloat16_trains_to_the_same_rounding(monkeypatch):
    torch.manual_seed(0)
    layer = FastConv(16, 32, slope=0.2)
    x = torch.randn(32, 16, 8, 8, requires_grad=True)

    def numbers() -> tuple[torch.Tensor, ...]:
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        return (y, *torch.autograd.grad(y.float().sin().sum(), (x, *layer.parameters())))

    expected = numbers()
    for name in PRIVATE:
        monkeypatch.setattr(convolution, name, None)
    assert not fuses(x.bfloat16())
    for got, wanted in zip(numbers(), expected, strict=True):
        assert (got - wanted).norm() < 2**-6 * wanted.norm()
