"""STATE, the Spatio-Temporal Auto-Trans-Encoder (Wang et al., ICDM 2022, section III-B), in the paper's order.

Shapes: B cubes, L = 2T+1 frames of a cube, C = 3 input and C' output channels (3 for the raw branch, 2 for
the flow branch), H x W patches, h x w = H/4 x W/4 feature maps of d channels. The frames of all cubes go
through the convolutions as one batch of B*L maps; only attention tells cubes and frames apart.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vadlib.settings import Branch, StateSettings
from vadlib.units import CHANNELS


def check_cubes(cubes: Tensor) -> None:
    """Raise ValueError unless `cubes` is (B, L, 3, H, W) with H and W multiples of 4."""
    if cubes.ndim != 5 or cubes.shape[2] != 3 or cubes.shape[3] % 4 or cubes.shape[4] % 4:
        raise ValueError(f"expected cubes (B, L, 3, H, W), H and W multiples of 4, got {tuple(cubes.shape)}")


class Conv3x3(nn.Conv2d):
    """Convolution 3x3 that keeps height and width, and LeakyReLU of a slope: 1 is no activation."""

    def __init__(self, inputs: int, outputs: int, *, slope: float = 1, groups: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 3, padding=1, groups=groups, bias=bias)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C', H, W)."""
        y = super().forward(x)
        return y if self.slope == 1 else F.leaky_relu(y, self.slope)


class ConvBlock(nn.Sequential):
    """(conv 3x3, BatchNorm, ReLU) twice (III-B3)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            Conv3x3(inputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            Conv3x3(outputs, outputs),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class Encoder(nn.Module):
    """E of III-B1: the same encoder for every patch, (B*L, C, H, W) to (B*L, d, H/4, W/4)."""

    def __init__(self, widths: tuple[int, int, int], inputs: int = 3) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(ConvBlock(before, after) for before, after in pairwise((inputs, *widths)))

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)[-1]

    def features(self, x: Tensor) -> list[Tensor]:
        """The output of each block, full size first."""
        outputs = [self.blocks[0](x)]
        for block in self.blocks[1:]:
            outputs.append(block(F.max_pool2d(outputs[-1], 2)))
        return outputs


class ConvolutionalAttention(nn.Module):
    """Multi-head learnable convolutional attention (III-B2 b to d, eq. 1, fig. 3).

    Head h owns channels [h*d/H, (h+1)*d/H) of Q, K and V, so that all heads are one convolution.

    Attention-Net F convolves concat(Q_i, K_j) for every pair (i, j). A convolution of a concatenation is the
    sum of the convolutions of its parts: L maps of the queries and L of the keys give all L*L attention maps,
    exactly, and no pair is ever concatenated.
    """

    def __init__(self, width: int, *, heads: int, slope: float, head_input: str) -> None:
        super().__init__()
        self.heads, self.slope = heads, slope
        # Eq. (1) writes W^(h) * Z: every head sees all d channels. The authors' code gives a head its own
        # d/H channels of Z, which is a grouped convolution.
        groups = heads if head_input == "slice" else 1
        self.query = Conv3x3(width, width, slope=slope, groups=groups)  # W_Q
        self.key_value = Conv3x3(width, width, slope=slope, groups=groups)  # W_KV: K and V are one map
        # F, one for each head as its weights are learnable: the half that meets Q_i, and the half that meets K_j.
        self.attend_query = Conv3x3(width, heads, groups=heads)
        self.attend_key = Conv3x3(width, heads, groups=heads, bias=False)

    def forward(self, z: Tensor, positional: Tensor, cubes: int) -> Tensor:
        """(B*L, d, h, w) and the encoding (L, d) to the concatenated heads, (B*L, d, h, w)."""
        q, v = self.query(z), self.key_value(z)
        attention = self.attention(q, v, positional, cubes)
        # Channels stay last in memory, as the convolutions before and after want them.
        v = v.permute(0, 2, 3, 1).unflatten(0, (cubes, -1)).unflatten(-1, (self.heads, -1))  # (B, L, h, w, H, d/H)
        out = attention @ v.permute(0, 2, 3, 4, 1, 5)  # sum_j A_i^j * V_j: (B, h, w, H, L, d/H)
        out = out.permute(0, 4, 1, 2, 3, 5)  # (B, L, h, w, H, d/H)
        return out.flatten(4).flatten(0, 1).permute(0, 3, 1, 2)  # Concat(head_1, ..., head_H)

    def attention(self, q: Tensor, k: Tensor, positional: Tensor, cubes: int) -> Tensor:
        """Softmax over j of A_i^j = F(concat(Q_i, K_j)): (B, h, w, H, L, L), [b, y, x, head, i, j]."""
        # The encoding is added to Q and K and never to V, the same at every pixel (III-B2 c). F is linear, so
        # F(Q + E) = F(Q) + F(E) with F(E) of one cube's size instead of the batch's.
        encoding = positional[:, :, None, None].expand(-1, -1, *q.shape[-2:])
        of_query = self.attend_query(q).unflatten(0, (cubes, -1))  # (B, L, H, h, w)
        of_query = of_query + F.conv2d(encoding, self.attend_query.weight, padding=1, groups=self.heads)
        of_key = self.attend_key(k).unflatten(0, (cubes, -1)) + self.attend_key(encoding)
        # Pixels and heads are innermost in memory: sums and softmax then run over whole vectors.
        of_query, of_key = (part.permute(0, 1, 3, 4, 2) for part in (of_query, of_key))  # (B, L, h, w, H)
        maps = F.leaky_relu(of_query[:, :, None] + of_key[:, None], self.slope).softmax(dim=2)  # (B, L, L, h, w, H)
        return maps.permute(0, 3, 4, 5, 1, 2)


class AttentionLayer(nn.Module):
    """One layer of the attention stack (III-B2 a): attention and feed-forward, each with its residual connection."""

    def __init__(self, width: int, *, heads: int, slope: float, head_input: str) -> None:
        super().__init__()
        self.attention = ConvolutionalAttention(width, heads=heads, slope=slope, head_input=head_input)
        self.feed_forward = Conv3x3(width, width, slope=slope)
        self.norm = nn.GroupNorm(4, width)  # after the second sub-layer only; 4 groups as the authors

    def forward(self, z: Tensor, positional: Tensor, cubes: int) -> Tensor:
        z = z + self.attention(z, positional, cubes)
        z = z + self.feed_forward(z)
        return self.norm(z)


class Deconvolution(nn.ConvTranspose2d):
    """Transposed convolution 3x3 of stride 2 that doubles height and width (III-B1)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, stride=2, padding=1, output_padding=1)


class Decoder(nn.Module):
    """D of III-B1, symmetric to the encoder: two blocks of deconvolution, then one that alters channels only."""

    def __init__(self, widths: tuple[int, int, int], outputs: int, *, skips: bool = False) -> None:
        super().__init__()
        deep_to_shallow = widths[::-1]
        self.ups = nn.ModuleList(Deconvolution(width) for width in deep_to_shallow[:-1])
        self.blocks = nn.ModuleList(
            ConvBlock(deep + shallow if skips else deep, shallow) for deep, shallow in pairwise(deep_to_shallow)
        )
        self.output = nn.Conv2d(widths[0], outputs, 1)  # no activation

    def forward(self, z: Tensor, skips: tuple[Tensor, ...] = ()) -> Tensor:
        """(B*L, d, h, w) to (B*L, C', H, W). `skips`, shallow first, are a U-Net's; STATE has none."""
        for index, (up, block) in enumerate(zip(self.ups, self.blocks, strict=True)):
            z = up(z)
            if skips:
                z = torch.cat([z, skips[-1 - index]], dim=1)
            z = block(z)
        return self.output(z)


class State(nn.Module):
    """STATE (III-B1, fig. 2): encoder, N attention layers, decoder."""

    def __init__(self, model: StateSettings, branch: Branch, length: int) -> None:
        """`length` is L, the most frames a cube may have."""
        super().__init__()
        width = model.widths[-1]
        self.encoder = Encoder(model.widths)
        self.layers = nn.ModuleList(
            AttentionLayer(width, heads=model.heads, slope=model.slope, head_input=model.head_input)
            for _ in range(model.layers)
        )
        # Learnable positional encoding (III-B2 c). The paper has a table (L, d) in each stack; the authors' code one
        # (L, d/H) that all heads and layers share.
        self.repeats = model.heads if model.positional == "shared" else 1
        tables = 1 if model.positional == "shared" else model.layers
        self.positional = nn.ParameterList(
            nn.Parameter(torch.randn(length, width // self.repeats)) for _ in range(tables)
        )
        self.decoder = Decoder(model.widths, CHANNELS[branch])

    def forward(self, cubes: Tensor) -> Tensor:
        """Reconstruct cubes.

        Args:
            cubes: float (B, L, 3, H, W) in [0, 1], RGB; H and W multiples of 4.

        Returns:
            (B, L, C', H, W): the patches themselves (raw), or their flow, (u, v) in px per frame (flow).

        Raises ValueError for another shape, or more frames than the positional encoding has rows.
        """
        check_cubes(cubes)
        length = cubes.shape[1]
        if self.positional and length > len(self.positional[0]):
            raise ValueError(f"a cube of {length} frames; this model was made for {len(self.positional[0])}")
        z = self.encoder(cubes.flatten(0, 1))
        for index, layer in enumerate(self.layers):
            table = self.positional[index % len(self.positional)][:length]
            z = layer(z, table.repeat(1, self.repeats), len(cubes))
        return self.decoder(z).unflatten(0, cubes.shape[:2])
