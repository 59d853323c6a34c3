"""The one place that decides device, precision, memory layout and what is fused before scoring."""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vadlib.engine.convolution import hasten
from vadlib.engine.frozen import freeze
from vadlib.engine.merged import merge_decoders
from vadlib.engine.processor import cpu_flags
from vadlib.errors import VadError
from vadlib.settings import ComputeSettings
from vadlib.units import FLOW_STEPS


@dataclass(frozen=True)
class Engine:
    """Where and in what precision networks run. Scores, losses and statistics are float32 or float64 everywhere."""

    device: torch.device
    dtype: torch.dtype  # of the networks' arithmetic: float32 or bfloat16

    def autocast(self) -> AbstractContextManager[None]:
        """Run the convolutions of a block in `dtype`; weights stay float32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def cubes(self, raw: np.ndarray) -> Tensor:
        """uint8 (B, L, H, W, 3) to float32 (B, L, 3, H, W) in [0, 1], on the device."""
        return torch.from_numpy(raw).to(self.device).permute(0, 1, 4, 2, 3).float().div_(255)

    def flows(self, flow: np.ndarray) -> Tensor:
        """int16 (B, L, H, W, 2) in 1/32 px to float32 (B, L, 2, H, W) in px per frame, on the device."""
        return torch.from_numpy(flow).to(self.device).permute(0, 1, 4, 2, 3).float().div_(FLOW_STEPS)

    def for_training(self, model: nn.Module) -> nn.Module:
        """The model itself, moved to the device, channels last (convolutions are fastest that way), its convolutions in
        place exchanged for fast ones of the same parameters."""
        return merge_decoders(hasten(self._laid_out(model))).train()

    def for_scoring(self, model: nn.Module) -> nn.Module:
        """A copy for inference: weights frozen, BatchNorm folded into the convolutions before it, channels last."""
        return freeze(self._laid_out(copy.deepcopy(model)), self.dtype)

    def _laid_out(self, model: nn.Module) -> nn.Module:
        """The model itself, moved to the device, channels last."""
        return model.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload] # it is there


def make_engine(compute: ComputeSettings) -> Engine:
    """Choose device and precision. Raises VadError where a GPU was asked for and there is none."""
    name = compute.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise VadError("compute.device: cuda asked for, but torch sees no GPU; set it to auto or cpu")
    device = torch.device(name)
    native = multiplies_bf16(device)
    return Engine(
        device,
        torch.bfloat16 if compute.precision == "bf16" or (compute.precision == "auto" and native) else torch.float32,
    )


def multiplies_bf16(device: torch.device) -> bool:
    """Whether the processor has bf16 matrix instructions: without them bf16 is emulated and slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})  # none but on Linux: float32 is right everywhere
