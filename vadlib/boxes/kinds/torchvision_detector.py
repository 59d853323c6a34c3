"""Appearance boxes by a torchvision detector: permissively licensed, for those who cannot use AGPL code."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vadlib.boxes.table import APPEARANCE, Boxes, DetectFrames
from vadlib.errors import VadError
from vadlib.io.weights import load_into, torch_device, torchvision_weights
from vadlib.manifest import Clip
from vadlib.settings import TorchvisionDetectorSettings


def make_detector(
    settings: TorchvisionDetectorSettings, weights_folder: Path, data_folder: Path, clips: Sequence[Clip], device: str
) -> DetectFrames:
    """A detector of torchvision's, with its COCO weights.

    No class is filtered out. Raises VadError for an unknown name, and where the weights are missing and
    cannot be downloaded.
    """
    import torch
    from torchvision import models

    name = settings.model
    names = models.list_models(module=models.detection)
    if name not in names:
        raise VadError(f"detector.model: torchvision has no detector {name!r}; it has: {', '.join(names)}")
    model = models.get_model(name, weights=None, weights_backbone=None)
    load_into(model, torchvision_weights(name, weights_folder), name)
    # The longer side decides, and the shorter follows. SSD has its own fixed size, which goes before these.
    model.transform.min_size, model.transform.max_size = (settings.image_size,), settings.image_size
    place = torch_device(device)
    model.eval().to(place)
    ids = _coco_ids(models.get_model_weights(name).DEFAULT.meta["categories"])

    @torch.inference_mode()
    def detect(clip: Clip, first: int, frames: Sequence[np.ndarray]) -> list[Boxes]:
        # Frames of a clip are of one size, so the padding of a batch to its largest image pads nothing more.
        images = [torch.from_numpy(f.astype(np.float32)).to(place).permute(2, 0, 1) / 255 for f in frames]
        results = [{key: value.cpu().numpy() for key, value in result.items()} for result in model(images)]
        return [Boxes.of(f["boxes"], APPEARANCE, f["scores"], ids[f["labels"]]) for f in results]

    return detect


def weights_file(settings: TorchvisionDetectorSettings, weights_folder: Path) -> Path:
    """The file of its weights, fetched where it can be. Raises VadError where it is missing and cannot be fetched."""
    return torchvision_weights(settings.model, weights_folder)


def _coco_ids(categories: Sequence[str]) -> np.ndarray:
    """From torchvision's labels, which keep COCO's gaps, to COCO's 80 classes counted from 0, person."""
    ids, known = np.full(len(categories), -1, np.int16), 0
    for label, category in enumerate(categories):
        if category not in ("__background__", "N/A"):
            ids[label] = known
            known += 1
    return ids
