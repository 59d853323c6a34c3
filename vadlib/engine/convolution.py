"""Convolutions of stride 1 that keep height and width, and how oneDNN computes them and their gradients fastest."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_input, conv2d_weight

from vadlib.models.state import Conv3x3, Encoder

ONE = [1, 1]
NARROW = 8  # px: up to this width images are joined for the gradient w.r.t. the weights


def operator(name: str, signature: str) -> Callable[..., Any] | None:
    """An operator of torch that its documentation does not promise, by its name, such as `aten.leaky_relu_backward`.

    None where this torch has none, or one whose arguments are others than `signature` says: then what is public is
    used, which may be slower and gives the same numbers but for rounding.
    """
    library, _, own = name.partition(".")
    try:
        private = getattr(getattr(torch.ops, library), own)
        arguments = private.default._schema.arguments
    except (AttributeError, RuntimeError):
        return None
    return private if signature == ", ".join(f"{argument.type} {argument.name}" for argument in arguments) else None


# What torch.compile emits: no public operator has an activation, or weights in oneDNN's own order.
CONVOLVE = operator(
    "mkldnn._convolution_pointwise",
    "Tensor X, Tensor W, Optional[Tensor] B, List[int] padding, List[int] stride, List[int] dilation, int groups, "
    "str attr, List[Optional[number]] scalars, Optional[str] algorithm",
)
REORDER = operator(
    "mkldnn._reorder_convolution_weight",
    "Tensor self, List[int] padding, List[int] stride, List[int] dilation, int groups, Optional[List[int]] input_size",
)
HAS_BF16 = operator("mkldnn._is_mkldnn_bf16_supported", "")
# What autograd calls: each gradient by itself, and LeakyReLU's from what came out of it.
CONVOLVE_BACK = operator(
    "aten.convolution_backward",
    "Tensor grad_output, Tensor input, Tensor weight, Optional[List[int]] bias_sizes, List[int] stride, "
    "List[int] padding, List[int] dilation, bool transposed, List[int] output_padding, int groups, "
    "List[bool] output_mask",
)
ACTIVATE_BACK = operator(
    "aten.leaky_relu_backward", "Tensor grad_output, Tensor self, number negative_slope, bool self_is_result"
)


def lowered(x: Tensor) -> Tensor:
    """`x` in the precision autocast runs convolutions in; as it is where there is no autocast."""
    kind = x.device.type
    return x.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else x


def in_two_parts(x: Tensor, dtype: torch.dtype) -> Tensor:
    """(N, C, H, W) as (N, 2C, H, W) of a lower precision: `x` rounded to it, and what that took away, rounded."""
    rounded = x.to(dtype)
    return torch.cat([rounded, (x - rounded).to(dtype)], dim=1)


def fuses(x: Tensor) -> bool:
    """Whether oneDNN computes a convolution of `x` and its activation in one: on a CPU that has the precision."""
    if x.device.type != "cpu" or CONVOLVE is None or not torch.backends.mkldnn.is_available():
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and HAS_BF16 is not None and HAS_BF16())


def padding_of(weight: Tensor) -> list[int]:
    """The padding that keeps height and width."""
    return [weight.shape[2] // 2, weight.shape[3] // 2]


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None, slope: float, groups: int = 1) -> Tensor:
    """A convolution, and LeakyReLU of its sums while they are in registers: 0 is ReLU, 1 no activation.

    All of one dtype. On a CPU `weight` may be in oneDNN's own order. Not differentiable.
    """
    if CONVOLVE is None or not fuses(x):
        y = F.conv2d(x, weight, bias, padding=padding_of(weight), groups=groups)
        return y if slope == 1 else F.leaky_relu_(y, slope)
    kind = "relu" if slope == 0 else "none" if slope == 1 else "leaky_relu"
    numbers = [slope] if kind == "leaky_relu" else []
    fused: Tensor = CONVOLVE(x, weight, bias, padding_of(weight), ONE, ONE, groups, kind, numbers, "")
    return fused


def ordered(weight: Tensor, x: Tensor, groups: int) -> Tensor:
    """A kernel in the order in which oneDNN convolves `x` with it; as it is where it would not, or has no other."""
    if REORDER is None or not fuses(x):
        return weight
    packed: Tensor = REORDER(weight, padding_of(weight), ONE, ONE, groups, x.shape)
    return packed


def activation_backward(g: Tensor, y: Tensor, slope: float) -> Tensor:
    """The gradient w.r.t. what went into LeakyReLU, from that w.r.t. its output, `y`; 0 is ReLU."""
    if ACTIVATE_BACK is None:
        return torch.where(y > 0, g, g * slope)
    gradient: Tensor = ACTIVATE_BACK(g, y, slope, self_is_result=True)
    return gradient


def convolution_backward(
    g: Tensor, x: Tensor, weight: Tensor, groups: int = 1, needed: Sequence[bool] = (True, True, True)
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients w.r.t. `x`, `weight` and bias, those that are `needed`, from that w.r.t. the output, `g`."""
    narrow = x.device.type == "cpu" and x.dtype == torch.bfloat16 and groups == 1 and x.shape[3] <= NARROW
    if not narrow or not needed[1]:
        return _gradients(g, x, weight, groups, needed)
    # oneDNN sums the gradient w.r.t. the weights a row at a time, and in bfloat16 rows of many images take half
    # the time that rows of 8 pixels take. In float32 nothing is gained, nor in convolutions by groups.
    of_x = _gradients(g, x, weight, groups, (True, False, False))[0] if needed[0] else None
    _, of_weight, of_bias = _gradients(joined(g), joined(x), weight, groups, (False, *needed[1:]))
    return of_x, of_weight, of_bias


def _gradients(
    g: Tensor, x: Tensor, weight: Tensor, groups: int, needed: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """`convolution_backward`, as torch computes it."""
    padding = padding_of(weight)
    if CONVOLVE_BACK is not None:
        gradients: tuple[Tensor | None, Tensor | None, Tensor | None] = CONVOLVE_BACK(
            g, x, weight, [len(weight)], ONE, padding, ONE, False, [0, 0], groups, needed
        )
        return gradients
    how = {"padding": (padding[0], padding[1]), "groups": groups}
    return (
        conv2d_input(x.shape, weight, g, **how) if needed[0] else None,
        conv2d_weight(x, weight.shape, g, **how) if needed[1] else None,
        g.sum((0, 2, 3)) if needed[2] else None,
    )


def joined(x: Tensor, most: int = 16) -> Tensor:
    """Images side by side, a column of zeros after each: (N, C, h, w) to (N/m, C, h, m*(w+1)), m at most `most`."""
    n, c, h, w = x.shape
    m = max(m for m in range(1, most + 1) if n % m == 0)
    wide = x.new_empty(n // m, h, m, w + 1, c)
    wide[:, :, :, w] = 0
    wide[:, :, :, :w] = x.permute(0, 2, 3, 1).unflatten(0, (-1, m)).transpose(1, 2)
    return wide.flatten(2, 3).permute(0, 3, 1, 2)


class Convolution(torch.autograd.Function):
    """`convolve` with its gradients; all of one dtype."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, slope: float, groups: int) -> Tensor:
        y = convolve(x, weight, bias, slope, groups)
        ctx.save_for_backward(x, weight, None if slope == 1 else y)
        ctx.slope, ctx.groups = slope, groups
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        if y is not None:
            g = activation_backward(g, y, ctx.slope)
        return *convolution_backward(g, x, weight, ctx.groups, ctx.needs_input_grad[:3]), None, None


class FastConv(Conv3x3):
    """`Conv3x3` as it is trained: convolution and activation in one, gradients as oneDNN computes them fastest."""

    @classmethod
    def of(cls, conv: Conv3x3) -> "FastConv":
        """The same layer, its parameters shared."""
        with torch.device("meta"):  # no weights are made, no random numbers drawn
            fast = cls(
                conv.in_channels, conv.out_channels, slope=conv.slope, groups=conv.groups, bias=conv.bias is not None
            )
        fast.weight, fast.bias = conv.weight, conv.bias
        return fast.train(conv.training)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        return Convolution.apply(lowered(x), lowered(self.weight), self._bias(), self.slope, self.groups)

    def _bias(self) -> Tensor | None:
        return None if self.bias is None else lowered(self.bias)


class FastPixelConv(FastConv):
    """Convolution of pixels, which keep 16 significant bits whatever precision autocast asks for.

    bfloat16 has 8: at 1.0 its step is twice a perturbation of 0.002. So a pixel goes in as the sum of two of them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        dtype = lowered(x).dtype
        if dtype == x.dtype:
            return super().forward(x)
        weight = torch.cat([lowered(self.weight)] * 2, dim=1)
        return Convolution.apply(in_two_parts(x, dtype), weight, self._bias(), self.slope, self.groups)


def hasten(model: nn.Module) -> nn.Module:
    """Put fast convolutions in the place of a network's own, in place. Parameters and their names stay."""
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Conv3x3) and not isinstance(child, FastConv):
                kind = FastPixelConv if is_of_pixels(parent, name, model) else FastConv
                setattr(parent, name, kind.of(child))
    return model


def is_of_pixels(parent: nn.Module, name: str, model: nn.Module) -> bool:
    """Whether a layer is the first of the network's encoder: what sees pixels, and not maps."""
    return name == "0" and any(isinstance(m, Encoder) and m.blocks[0] is parent for m in model.modules())
