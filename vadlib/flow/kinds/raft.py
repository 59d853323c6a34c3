"""Optical flow by torchvision's RAFT (Teed and Deng, ECCV 2020), small or large."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from vadlib.errors import VadError
from vadlib.flow.fields import EstimateFlow, at_size
from vadlib.io.weights import load_into, torch_device, torchvision_weights
from vadlib.manifest import Clip
from vadlib.settings import RaftSettings

STRIDE, LEAST = 8, 128  # px: sides of RAFT's input are multiples of 8, and four correlation levels need 128
BATCH_BYTES = 1 << 28  # of the correlations of a batch
CPU_BYTES = 1 << 30  # of the correlations of a single pair, so that a stage stays below 2 GiB
MAX_BATCH = 8  # pairs; more gain nothing


def make_estimator(settings: RaftSettings, weights_folder: Path, data_folder: Path, device: str) -> EstimateFlow:
    """raft_small or raft_large with torchvision's weights.

    Pairs are worked on in batches, which change no flow beyond rounding. Raises VadError where the weights
    are missing and cannot be downloaded, and for frames too large for the memory a stage may use.
    """
    import torch
    from torchvision import models

    model = models.get_model(settings.kind, weights=None)
    load_into(model, weights_file(settings, weights_folder), settings.kind)
    place = torch_device(device)
    model.eval().to(place)

    def prepared(frame: np.ndarray) -> torch.Tensor:
        """(3, H', W') in [-1, 1], padded to the right and below with its last column and row."""
        image = torch.from_numpy(frame.astype(np.float32)).to(place).permute(2, 0, 1) / 127.5 - 1
        height, width = frame.shape[:2]
        below, right = _padded(height) - height, _padded(width) - width
        return torch.nn.functional.pad(image[None], (0, right, 0, below), mode="replicate")[0]

    @torch.inference_mode()
    def fields(images: list[torch.Tensor], height: int, width: int) -> np.ndarray:
        flow = model(torch.stack(images[:-1]), torch.stack(images[1:]))[-1]  # the last refinement
        return flow[:, :, :height, :width].permute(0, 2, 3, 1).contiguous().float().cpu().numpy()

    def estimate(clip: Clip, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        frames = iter(frames)
        for frame in islice(frames, 1):
            height, width = frame.shape[:2]
            batch, images = _batch(clip, height, width, place.type), [prepared(frame)]
            while following := [prepared(frame) for frame in islice(frames, batch)]:
                images = [images[-1], *following]
                yield from fields(images, height, width)

    return at_size(estimate, settings.size)


def weights_file(settings: RaftSettings, weights_folder: Path) -> Path:
    """The file of its weights, fetched where it can be. Raises VadError where it is missing and cannot be fetched."""
    return torchvision_weights(settings.kind, weights_folder)


def _padded(side: int) -> int:
    return max(-(-side // STRIDE) * STRIDE, LEAST)


def _batch(clip: Clip, height: int, width: int, device: str) -> int:
    """Pairs at a time. RAFT correlates every eighth pixel with every other, in float32, at four levels."""
    pair = (_padded(height) // STRIDE * _padded(width) // STRIDE) ** 2 * 4 * 4 // 3
    if device == "cpu" and pair > CPU_BYTES:
        half = [-(-side // 16) * 8 for side in (width, height)]
        raise VadError(
            f"{clip.path}: clip {clip.name}: RAFT needs {pair / 2**30:.1f} GiB for frames of {width}x{height} px; "
            f"set a working size such as flow.size: {half}"
        )
    return int(min(max(BATCH_BYTES // pair, 1), MAX_BATCH))
