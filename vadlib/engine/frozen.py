"""Convolutions whose weights are frozen: what networks are scored with.

A frozen convolution takes no gradient w.r.t. its weights. So they are kept in the precision of the arithmetic, on a CPU
in oneDNN's own order, and the gradient w.r.t. the input is a convolution too, of the kernel turned by 180 degrees, its
input and output channels exchanged.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vadlib.engine.convolution import activation_backward, convolve, fuses, in_two_parts, is_of_pixels, ordered
from vadlib.models.state import Conv3x3, ConvBlock


def freeze(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Freeze a network, in place, on the device it is to run on: BatchNorm folded, convolutions in `dtype`."""
    model.eval()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, ConvBlock):
                layers = list(child)  # convolution, BatchNorm and ReLU, twice
                folded: Any = map(fuse_conv_bn_eval, layers[::3], layers[1::3])  # type: ignore[arg-type] # a container's
                pixels = is_of_pixels(child, "0", model)
                first, second = (FrozenConv(c, 0.0, dtype, pixels and i == 0) for i, c in enumerate(folded))
                setattr(parent, name, nn.Sequential(first, second))
            elif isinstance(child, Conv3x3):
                setattr(parent, name, FrozenConv(child, child.slope, dtype))
            elif isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
                child.to(dtype)
    return model.requires_grad_(False)


class FrozenConv(nn.Module):
    """Convolution of stride 1 that keeps height and width, and LeakyReLU of a slope: 0 is ReLU, 1 nothing."""

    weight: Tensor
    turned: Tensor
    bias: Tensor | None

    def __init__(self, conv: nn.Conv2d, slope: float, dtype: torch.dtype, pixels: bool = False) -> None:
        """`pixels`: what comes in is an image, whose 16 bits are to count whatever `dtype` is."""
        super().__init__()
        self.slope, self.groups = slope, conv.groups
        weight = conv.weight.detach().to(dtype)
        self.pixels = pixels and dtype != conv.weight.dtype
        # (groups, out, in, kh, kw) to (groups, in, out, kh, kw), turned.
        turned = weight.unflatten(0, (self.groups, -1)).transpose(1, 2).flatten(0, 1).flip(2, 3)
        if self.pixels:
            weight = torch.cat([weight, weight], dim=1)
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("turned", turned.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", None if conv.bias is None else conv.bias.detach().to(dtype))
        self._packed: dict[str, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_packed": {}}  # weights in oneDNN's order cannot be copied or pickled

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W) in the precision of the weights; pixels may come in float32."""
        if torch.is_grad_enabled() and x.requires_grad:
            return _FrozenConvolution.apply(x, self)
        return self.convolve(x)

    def convolve(self, x: Tensor) -> Tensor:
        """The convolution, its bias and activation."""
        x = in_two_parts(x, self.weight.dtype) if self.pixels else x.to(self.weight.dtype)
        return convolve(x, self._ordered("weight", x), self.bias, self.slope, self.groups)

    def convolve_back(self, g: Tensor, y: Tensor | None) -> Tensor:
        """The gradient w.r.t. the input, from that w.r.t. the output; `y` is the output, None without activation."""
        if y is not None:
            g = activation_backward(g, y, self.slope)
        return convolve(g, self._ordered("turned", g), None, 1, self.groups)

    def _ordered(self, name: str, x: Tensor) -> Tensor:
        """The kernel, in oneDNN's order where that computes the convolution of `x`."""
        if not fuses(x):
            return self.get_buffer(name)
        if name not in self._packed:
            self._packed[name] = ordered(self.get_buffer(name), x, self.groups)
        return self._packed[name]


class _FrozenConvolution(torch.autograd.Function):
    """`FrozenConv` where a gradient w.r.t. its input is wanted."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FrozenConv) -> Tensor:
        y = layer.convolve(x)
        ctx.save_for_backward(None if layer.slope == 1 else y)
        ctx.layer, ctx.dtype = layer, x.dtype
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return ctx.layer.convolve_back(g, y).to(ctx.dtype), None
