"""ShanghaiTech Campus as published: AVI files for training, folders of JPEG frames for testing, NumPy masks.

Luo, Liu and Gao, A Revisit of Sparse Coding Based Anomaly Detection in Stacked RNN Framework, ICCV 2017.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vadlib.datasets.frames_folders import labelled_by_arrays
from vadlib.datasets.labels import labelled_by_masks
from vadlib.datasets.listing import clip_paths, probe_all
from vadlib.errors import VadError
from vadlib.manifest import Clip

LAYOUT = (
    "training/videos/01_001.avi, testing/frames/01_0014/000.jpg, "
    "testing/test_frame_mask/01_0014.npy, testing/test_pixel_mask/01_0014.npy"
)


def index(folder: Path, root: Path) -> list[Clip]:
    """Every clip; labels from the frame masks, or, where those are not there, from the pixel masks."""
    training = probe_all(clip_paths(folder / "training/videos", LAYOUT), "training", root)
    testing = probe_all(clip_paths(folder / "testing/frames", LAYOUT), "testing", root)
    frame_masks, pixel_masks = folder / "testing/test_frame_mask", folder / "testing/test_pixel_mask"
    if frame_masks.is_dir():
        return training + labelled_by_arrays(testing, frame_masks)
    if pixel_masks.is_dir():
        files = [pixel_masks / f"{clip.name}.npy" for clip in testing]
        return training + [
            labelled_by_masks(clip, _pixels(clip, file), file) for clip, file in zip(testing, files, strict=True)
        ]
    return training + testing


def masks(clip: Clip, folder: Path, root: Path) -> Iterator[np.ndarray] | None:
    """A testing clip's pixel masks (H, W), anomalous where not 0; None where it has none."""
    file = folder / "testing/test_pixel_mask" / f"{clip.name}.npy"
    return iter(_pixels(clip, file)) if file.exists() else None


def _pixels(clip: Clip, file: Path) -> np.ndarray:
    """A clip's masks (frames, H, W), mapped, not loaded."""
    try:
        mask = np.lib.format.open_memmap(file, mode="r")  # refuses objects
    except Exception as error:  # the header is a Python literal: parsing a damaged one fails in many ways
        raise VadError(f"{file}: cannot be read as masks: {' '.join(str(error).split())}") from None
    if mask.ndim != 3 or mask.shape[1:] != (clip.height, clip.width) or mask.dtype.kind not in "biuf":
        raise VadError(
            f"{file}: {mask.dtype} masks of shape {mask.shape}, "
            f"expected {(clip.frames, clip.height, clip.width)} for clip {clip.key}"
        )
    return mask
