"""Every kind of network, by the name that `model.kind` has for it."""

from torch import nn

from vadlib.models.baselines import ConvAutoencoder, ConvLSTMAutoencoder, UNet
from vadlib.models.state import State
from vadlib.settings import Branch, ModelSettings

KINDS: dict[str, type[nn.Module]] = {
    "state": State,
    "conv_ae": ConvAutoencoder,
    "convlstm_ae": ConvLSTMAutoencoder,
    "unet": UNet,
}


def build_model(model: ModelSettings, branch: Branch, length: int) -> nn.Module:
    """A freshly initialised network of `model.kind` for one branch, for cubes of `length` frames."""
    return KINDS[model.kind](model, branch, length)
