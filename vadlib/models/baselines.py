"""The comparisons: reconstruction networks of STATE's widths, without its attention, in the same harness.

Each maps cubes (B, L, 3, H, W) in [0, 1] to (B, L, C', H, W), as STATE does.
"""

import torch
from torch import Tensor, nn

from vadlib.models.state import Decoder, Encoder, check_cubes
from vadlib.settings import BaselineSettings, Branch
from vadlib.units import CHANNELS


class ConvAutoencoder(nn.Module):
    """Convolutional autoencoder over a cube's frames stacked as channels (Hasan et al., CVPR 2016)."""

    def __init__(self, model: BaselineSettings, branch: Branch, length: int) -> None:
        super().__init__()
        self.encoder = Encoder(model.widths, inputs=3 * length)
        self.decoder = Decoder(model.widths, CHANNELS[branch] * length)

    def forward(self, cubes: Tensor) -> Tensor:
        check_cubes(cubes)
        return self.decoder(self.encoder(cubes.flatten(1, 2))).unflatten(1, (cubes.shape[1], -1))


class ConvLSTMAutoencoder(nn.Module):
    """Encoder and decoder for each frame, and a convolutional LSTM between them (Luo et al., ICME 2017)."""

    def __init__(self, model: BaselineSettings, branch: Branch, length: int) -> None:
        super().__init__()
        width = model.widths[-1]
        self.encoder = Encoder(model.widths)
        self.gates = nn.Conv2d(2 * width, 4 * width, 3, padding=1)  # of (input, hidden state)
        self.decoder = Decoder(model.widths, CHANNELS[branch])

    def forward(self, cubes: Tensor) -> Tensor:
        check_cubes(cubes)
        features = self.encoder(cubes.flatten(0, 1)).unflatten(0, cubes.shape[:2])  # (B, L, d, h, w)
        hidden = cell = torch.zeros_like(features[:, 0])
        outputs = []
        for feature in features.unbind(1):
            gates = self.gates(torch.cat([feature, hidden], dim=1))
            take, forget, give, fresh = gates.chunk(4, dim=1)
            cell = forget.sigmoid() * cell + take.sigmoid() * fresh.tanh()
            hidden = give.sigmoid() * cell.tanh()
            outputs.append(hidden)
        return self.decoder(torch.stack(outputs, dim=1).flatten(0, 1)).unflatten(0, cubes.shape[:2])


class UNet(nn.Module):
    """U-Net over a cube's frames stacked as channels (Ronneberger et al., MICCAI 2015)."""

    def __init__(self, model: BaselineSettings, branch: Branch, length: int) -> None:
        super().__init__()
        self.encoder = Encoder(model.widths, inputs=3 * length)
        self.decoder = Decoder(model.widths, CHANNELS[branch] * length, skips=True)

    def forward(self, cubes: Tensor) -> Tensor:
        check_cubes(cubes)
        *skips, deepest = self.encoder.features(cubes.flatten(1, 2))
        return self.decoder(deepest, tuple(skips)).unflatten(1, (cubes.shape[1], -1))
