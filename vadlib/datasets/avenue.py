"""CUHK Avenue as published: AVI files, and for each testing video a MATLAB file of masks.

Lu, Shi and Jia, Abnormal Event Detection at 150 FPS in MATLAB, ICCV 2013.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vadlib.datasets.labels import labelled_by_masks
from vadlib.datasets.listing import clip_paths, probe_all
from vadlib.errors import VadError
from vadlib.io.matlab import read_cells
from vadlib.manifest import Clip

LAYOUT = (
    "training_videos/01.avi, testing_videos/01.avi (from Avenue_Dataset.zip), "
    "ground_truth_demo/testing_label_mask/1_label.mat (from ground_truth_demo.zip)"
)


def index(folder: Path, root: Path) -> list[Clip]:
    """Every clip; labels from the masks, `volLabel`: a frame is anomalous where its mask has any pixel set."""
    training = probe_all(clip_paths(folder / "training_videos", LAYOUT), "training", root)
    testing = probe_all(clip_paths(folder / "testing_videos", LAYOUT), "testing", root)
    masks = folder / "ground_truth_demo/testing_label_mask"
    return training + ([_from_masks(clip, masks) for clip in testing] if masks.is_dir() else testing)


def masks(clip: Clip, folder: Path, root: Path) -> Iterator[np.ndarray] | None:
    """A testing clip's pixel masks (H, W), anomalous where not 0; None where the data set came without."""
    parent = folder / "ground_truth_demo/testing_label_mask"
    return read_cells(_mask_file(clip, parent), "volLabel") if parent.is_dir() else None


def _from_masks(clip: Clip, folder: Path) -> Clip:
    file = _mask_file(clip, folder)
    return labelled_by_masks(clip, read_cells(file, "volLabel"), file)


def _mask_file(clip: Clip, folder: Path) -> Path:
    if not clip.name.isdecimal():
        raise VadError(f"clip {clip.key}: Avenue's videos are numbered, its labels go by the number; rename it")
    return folder / f"{int(clip.name)}_label.mat"
