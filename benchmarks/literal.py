"""The paper's equations as written: per-head loops, pairwise concatenation, one frame's cubes at a time.

Slow on purpose. The tests hold `vadlib.models.state` against it, and the benchmarks measure against it. It shares no
arithmetic with the product: only `copy_weights` looks into a `vadlib.models.state.State`, to fill the same numbers in.
"""

import torch
from torch import Tensor, nn

from vadlib.settings import Branch, StateSettings


class LiteralHead(nn.Module):
    """Attention(W_Q^(h) * Z, W_KV^(h) * Z, W_KV^(h) * Z), eq. (1), for one head."""

    def __init__(self, width: int, head_width: int, slope: float) -> None:
        super().__init__()
        self.w_q = nn.Conv2d(width, head_width, 3, padding=1)
        self.w_kv = nn.Conv2d(width, head_width, 3, padding=1)
        self.f = nn.Conv2d(2 * head_width, 1, 3, padding=1)  # Attention-Net
        self.activation = nn.LeakyReLU(slope)

    def forward(self, z: list[Tensor], positional: Tensor) -> list[Tensor]:
        """L maps (B, width, h, w) and the encoding (L, d/H) to L maps (B, d/H, h, w)."""
        v = [self.activation(self.w_kv(z_i)) for z_i in z]
        q = [self.activation(self.w_q(z_i)) + e[:, None, None] for z_i, e in zip(z, positional, strict=True)]
        k = [v_i + e[:, None, None] for v_i, e in zip(v, positional, strict=True)]
        outputs = []
        for q_i in q:
            maps = [self.activation(self.f(torch.cat([q_i, k_j], dim=1))) for k_j in k]  # A_i^j, (B, 1, h, w)
            a_i = torch.softmax(torch.stack(maps, dim=1), dim=1)  # over j
            outputs.append(sum(a_i[:, j] * v[j] for j in range(len(v))))
        return outputs


class LiteralLayer(nn.Module):
    """III-B2 a: MultiHead, residual, feed-forward, residual, GroupNorm."""

    def __init__(self, model: StateSettings) -> None:
        super().__init__()
        width = model.widths[-1]
        self.slices = model.head_input == "slice"
        head_width = width // model.heads
        self.heads = nn.ModuleList(
            LiteralHead(head_width if self.slices else width, head_width, model.slope) for _ in range(model.heads)
        )
        self.feed_forward = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.LeakyReLU(model.slope))
        self.norm = nn.GroupNorm(4, width)

    def forward(self, z: list[Tensor], positional: Tensor) -> list[Tensor]:
        count = len(self.heads)
        seen = [[part[h] for part in (z_i.chunk(count, 1) for z_i in z)] if self.slices else z for h in range(count)]
        parts = [head(seen_h, e) for head, seen_h, e in zip(self.heads, seen, positional.chunk(count, 1), strict=True)]
        attended = [torch.cat([part[i] for part in parts], dim=1) for i in range(len(z))]
        z = [z_i + a_i for z_i, a_i in zip(z, attended, strict=True)]
        return [self.norm(z_i + self.feed_forward(z_i)) for z_i in z]


def _block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


def _up(width: int) -> nn.Module:
    return nn.ConvTranspose2d(width, width, 3, stride=2, padding=1, output_padding=1)


class LiteralState(nn.Module):
    """STATE as the paper writes it: cubes (B, L, 3, H, W) to (B, L, C', H, W)."""

    def __init__(self, model: StateSettings, branch: Branch, length: int) -> None:
        super().__init__()
        w1, w2, w3 = model.widths
        self.encoder = nn.Sequential(_block(3, w1), nn.MaxPool2d(2), _block(w1, w2), nn.MaxPool2d(2), _block(w2, w3))
        self.layers = nn.ModuleList(LiteralLayer(model) for _ in range(model.layers))
        self.shared = model.positional == "shared"
        self.heads = model.heads
        tables = 1 if self.shared else model.layers
        table_width = w3 // model.heads if self.shared else w3
        self.positional = nn.ParameterList(nn.Parameter(torch.randn(length, table_width)) for _ in range(tables))
        outputs = {"raw": 3, "flow": 2}[branch]
        self.decoder = nn.Sequential(_up(w3), _block(w3, w2), _up(w2), _block(w2, w1), nn.Conv2d(w1, outputs, 1))

    def forward(self, cubes: Tensor) -> Tensor:
        # All patches pass the encoder as one batch so that BatchNorm in training sees what the product's sees.
        batch, length = cubes.shape[:2]
        z = list(self.encoder(cubes.flatten(0, 1)).unflatten(0, (batch, length)).unbind(1))
        for index, layer in enumerate(self.layers):
            table = self.positional[0] if self.shared else self.positional[index]
            z = layer(z, torch.cat([table] * self.heads, dim=1) if self.shared else table)
        return self.decoder(torch.stack(z, dim=1).flatten(0, 1)).unflatten(0, (batch, length))


def loss(output: Tensor, target: Tensor, p: float) -> Tensor:
    """L_r or L_m of III-C: the mean over cubes of the p-norm to the p."""
    return sum((o - t).abs().pow(p).sum() for o, t in zip(output, target, strict=True)) / len(output)


def perturbed_scores(
    raw: nn.Module, flow: nn.Module, cubes: Tensor, flows: Tensor, eta: float, p: float
) -> tuple[Tensor, Tensor]:
    """S_r and S_m of one frame's M cubes, (M,) each, after eq. (2). Weights take gradients too."""
    y = cubes.clone().requires_grad_(True)
    error = loss(raw(y), y, p) + loss(flow(y), flows, p)  # L_p: both carry the 1/M
    (gradient,) = torch.autograd.grad(error, y, retain_graph=True)
    error.backward(inputs=[*raw.parameters(), *flow.parameters()])
    y_hat = (y - eta * gradient.sign()).detach()
    s_r = [(o - t).abs().pow(p).sum() for o, t in zip(raw(y_hat), y_hat, strict=True)]
    s_m = [(o - t).abs().pow(p).sum() for o, t in zip(flow(y_hat), flows, strict=True)]
    return torch.stack(s_r).detach(), torch.stack(s_m).detach()


@torch.no_grad()
def copy_weights(state: nn.Module, literal: LiteralState) -> None:
    """Give `literal` the numbers of a `vadlib.models.state.State` of the same settings."""
    _copy_in_order(state.encoder, literal.encoder)
    _copy_in_order(nn.ModuleList(m for pair in zip(state.decoder.ups, state.decoder.blocks, strict=True) for m in pair),
                   literal.decoder[:-1])  # fmt: skip
    _copy_in_order(state.decoder.output, literal.decoder[-1])
    for mine, theirs in zip(state.positional, literal.positional, strict=True):
        theirs.copy_(mine)
    for layer, plain in zip(state.layers, literal.layers, strict=True):
        _copy_in_order(layer.feed_forward, plain.feed_forward)
        _copy_in_order(layer.norm, plain.norm)
        attention, count = layer.attention, len(plain.heads)
        for h, head in enumerate(plain.heads):
            for source, target in ((attention.query, head.w_q), (attention.key_value, head.w_kv)):
                target.weight.copy_(source.weight.chunk(count)[h])
                target.bias.copy_(source.bias.chunk(count)[h])
            halves = [attention.attend_query.weight[h : h + 1], attention.attend_key.weight[h : h + 1]]
            head.f.weight.copy_(torch.cat(halves, dim=1))
            head.f.bias.copy_(attention.attend_query.bias[h : h + 1])


def _copy_in_order(source: nn.Module, target: nn.Module) -> None:
    pairs = zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    for value, place in pairs:
        place.copy_(value)
