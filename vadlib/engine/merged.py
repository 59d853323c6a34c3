"""A transposed convolution and the convolution after it, trained as one convolution of the small map.

Nothing stands between the two in a decoder, and both are linear. So one 3x3 convolution of the small map gives, for
each of its pixels, the four pixels of the large one that descend from it, with two thirds of the arithmetic and without
the map between the two, which is the largest of the network.

In one dimension: u[2i] = w1 x[i] + b and u[2i+1] = w2 x[i] + w0 x[i+1] + b is the transposed convolution of stride 2,
and v[r] = c0 u[r-1] + c1 u[r] + c2 u[r+1] what follows. Put together, v[2i] and v[2i+1] depend on x[i-1], x[i], x[i+1].
Only at the border they do not: the second convolution takes u outside the map for 0, where the first formula would go
on with w0 x[0] + b before it and with b behind it. What that gives is taken away again.
"""

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vadlib.engine.convolution import FastConv, convolution_backward, lowered
from vadlib.models.state import Decoder, Deconvolution


class Merged(NamedTuple):
    """Both layers' weights together, I channels in, O out. Channels of a map are (2, 2, O): a pixel's descendants."""

    kernel: Tensor  # (4*O, I, 3, 3)
    bias: Tensor  # (4*O,)
    top: Tensor  # (2*O, I, 1, 3): of the first row, by how much its upper descendants come out too high
    left: Tensor  # (2*O, I, 3, 1): the same of the first column
    corner: Tensor  # (O, I, 1, 1): what both of these count
    outside: Tensor  # (O, 3, 3): what b gives through each tap of c


def merge(up: nn.ConvTranspose2d, conv: nn.Conv2d) -> Merged:
    """Merge a transposed convolution (3x3, stride 2, padding and output padding 1) and a 3x3 convolution."""
    assert up.bias is not None
    assert conv.bias is not None
    taps = _taps().to(up.weight)
    products = torch.einsum("ocmn,ickl->mknloi", conv.weight, up.weight)  # rows (m, k), columns (n, l)
    kernel = torch.einsum("amkp,bnlq,mknloi->aboipq", taps, taps, products)
    # c0 (m = 0) of the upper descendant (a = 0) is what meets u[-1], and w0 (k = 0) is how x[0] would come into that.
    top = torch.einsum("bnlq,nloi->boiq", taps, products[0, 0])
    left = torch.einsum("amkp,mkoi->aoip", taps, products[:, :, 0, 0])
    outside = torch.einsum("ocmn,c->omn", conv.weight, up.bias)
    return Merged(
        kernel.flatten(0, 2),
        (conv.bias + outside.sum((1, 2))).repeat(4),
        top.flatten(0, 1)[:, :, None, :],
        left.flatten(0, 1)[:, :, :, None],
        products[0, 0, 0, 0][:, :, None, None],
        outside,
    )


def _taps() -> Tensor:
    """(2, 3, 3, 3): 1 where tap m of c, for descendant a, meets tap k of w at x[i - 1 + p]."""
    taps = torch.zeros(2, 3, 3, 3)
    for a in (0, 1):
        for m in range(3):
            row = a + m - 1  # of u, from 2i
            for k in (1,) if row % 2 == 0 else (0, 2):
                taps[a, m, k, (row + 1 - k) // 2 + 1] = 1  # u[2j - 1 + k] has w_k x[j]
    return taps


class MergedConvolution(torch.autograd.Function):
    """(N, I, h, w) and the parts of a `Merged`, all of one dtype, to (N, O, 2h, 2w), channels last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *parts: Tensor) -> Tensor:
        merged = Merged(*parts)
        y = F.conv2d(x, merged.kernel, merged.bias, padding=1)
        y = y.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))  # (N, h, w, 2, 2, O)
        y[:, 0, :, 0] -= _rows(F.conv2d(x[:, :, :1], merged.top, padding=(0, 1)))
        y[:, :, 0, :, 0] -= _rows(F.conv2d(x[:, :, :, :1], merged.left, padding=(1, 0)))
        y[:, 0, 0, 0, 0] += F.conv2d(x[:, :, :1, :1], merged.corner)[:, :, 0, 0]
        outside = merged.outside.permute(1, 2, 0)  # (3, 3, O)
        for end in (0, -1):  # the first row's upper descendants, the last one's lower; so with columns
            y[:, end, :, end] -= outside[end].sum(0)
            y[:, :, end, :, end] -= outside[:, end].sum(0)
            for other in (0, -1):
                y[:, end, other, end, other] += outside[end, other]
        ctx.save_for_backward(x, merged.kernel, merged.top, merged.left, merged.corner)
        return y.transpose(2, 3).flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
        x, kernel, top, left, corner = ctx.saved_tensors
        g = g.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3).contiguous()
        of_x: Any
        of_x, of_kernel, of_bias = convolution_backward(g.flatten(3).permute(0, 3, 1, 2), x, kernel)
        edges = []
        for part, where, of_g in (
            (top, (slice(None), slice(None), slice(1)), -g[:, :1, :, 0].flatten(3)),
            (left, (slice(None), slice(None), slice(None), slice(1)), -g[:, :, :1, :, 0].flatten(3)),
            (corner, (slice(None), slice(None), slice(1), slice(1)), g[:, :1, :1, 0, 0]),
        ):
            of_edge, of_part, _ = convolution_backward(of_g.permute(0, 3, 1, 2), x[where], part)
            of_x[where] += of_edge
            edges.append(of_part)
        of_outside = g.new_zeros(3, 3, g.shape[-1])
        for end in (0, -1):
            of_outside[end] -= g[:, end, :, end].sum((0, 1, 2))
            of_outside[:, end] -= g[:, :, end, :, end].sum((0, 1, 2))
            for other in (0, -1):
                of_outside[end, other] += g[:, end, other, end, other].sum(0)
        return of_x, of_kernel, of_bias, *edges, of_outside.permute(2, 0, 1)


def _rows(strip: Tensor) -> Tensor:
    """(N, 2*O, 1, w) or (N, 2*O, h, 1) to (N, w or h, 2, O)."""
    return strip.flatten(2).transpose(1, 2).unflatten(2, (2, -1))


class PassedOn(Deconvolution):
    """A deconvolution that leaves its work, in training, to the convolution after it."""

    @classmethod
    def of(cls, up: Deconvolution) -> "PassedOn":
        """The same layer, its parameters shared."""
        with torch.device("meta"):  # no weights are made, no random numbers drawn
            passed = cls(up.in_channels)
        passed.weight, passed.bias = up.weight, up.bias
        return passed.train(up.training)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(N, d, h, w): as it is in training, else (N, d, 2h, 2w)."""
        return x if self.training else super().forward(x, output_size)


class MergedConv(FastConv):
    """A convolution, and in training the deconvolution before it too."""

    before: tuple[Deconvolution]  # in a tuple: it is the decoder's layer, and not one of this

    @classmethod
    def after(cls, up: Deconvolution, conv: FastConv) -> "MergedConv":
        """The same layer, its parameters shared."""
        merged = cls.of(conv)
        assert isinstance(merged, cls)
        merged.before = (up,)
        return merged

    def forward(self, x: Tensor) -> Tensor:
        """(N, d, h, w) to (N, C', 2h, 2w) in training; else (N, d, H, W) to (N, C', H, W)."""
        if not self.training:
            return super().forward(x)
        kind = x.device.type
        lowers = torch.is_autocast_enabled(kind)  # products of weights are to keep all their bits
        with torch.autocast(kind, enabled=False) if lowers else nullcontext():
            merged = merge(self.before[0], self)
        y: Tensor = MergedConvolution.apply(lowered(x), *(lowered(part).contiguous() for part in merged))
        return y


def merge_decoders(model: nn.Module) -> nn.Module:
    """Merge the deconvolutions of a network's decoders with the fast convolutions after them, in place, where nothing
    stands between them, such as a U-Net's skips. Parameters and their names stay."""
    for decoder in [module for module in model.modules() if isinstance(module, Decoder)]:
        pairs: Any = zip(decoder.ups, decoder.blocks, strict=True)
        for index, (up, block) in enumerate(pairs):
            conv = block[0]
            if type(up) is Deconvolution and type(conv) is FastConv and conv.in_channels == up.out_channels:
                decoder.ups[index], block[0] = PassedOn.of(up), MergedConv.after(up, conv)
    return model
