"""The layout most published code uses: a folder of images for each clip, and one label file beside them."""

from pathlib import Path

import numpy as np

from vadlib.datasets.labels import check_order, labelled, labelled_ranges
from vadlib.datasets.listing import clip_paths, probe_all
from vadlib.errors import VadError
from vadlib.io.matlab import read_cells
from vadlib.io.npy import is_object_array, read_array, read_object_array
from vadlib.manifest import Clip

LAYOUT = (
    "training/frames/<clip>/<number>.jpg, testing/frames/<clip>/<number>.jpg, and one of: "
    "frame_labels_<name>.npy (0 or 1 for all testing frames in a row), "
    "testing/test_frame_mask/<clip>.npy, <name>.mat (`gt`, ranges from 1)"
)


def index(folder: Path, root: Path) -> list[Clip]:
    """Every clip; labels from whichever of the three kinds there are, which must not contradict each other."""
    training, testing = (
        probe_all(clip_paths(folder / split / "frames", LAYOUT), split, root) for split in ("training", "testing")
    )
    by_source = [
        (source, read(testing, source))
        for source, read in (
            (_only(folder, "frame_labels_*.npy"), _pooled),
            (folder / "testing/test_frame_mask", labelled_by_arrays),
            (_only(folder, "*.mat"), _from_ranges),
        )
        if source is not None and source.exists()
    ]
    for source, clips in by_source[1:]:
        for one, other in zip(by_source[0][1], clips, strict=True):
            if one.anomalous != other.anomalous:
                raise VadError(f"{by_source[0][0]} and {source} disagree on clip {one.key}; remove the wrong one")
    return training + (by_source[0][1] if by_source else testing)


def labelled_by_arrays(clips: list[Clip], folder: Path) -> list[Clip]:
    """Clips with the labels of `<clip>.npy` in a folder: one number a frame."""
    return [labelled(clip, read_array(folder / f"{clip.name}.npy"), folder / f"{clip.name}.npy") for clip in clips]


def _only(folder: Path, pattern: str) -> Path | None:
    files = sorted(p for p in folder.glob(pattern) if not p.name.startswith("."))
    if len(files) > 1:
        raise VadError(f"{folder}: {len(files)} label files {pattern}: {', '.join(f.name for f in files)}; keep one")
    return files[0] if files else None


def _pooled(clips: list[Clip], file: Path) -> list[Clip]:
    """Labels of all testing frames in a row, or an array of labels for each clip."""
    check_order(clips, file)
    total = sum(clip.frames for clip in clips)
    if is_object_array(file):
        arrays = read_object_array(file)
        if len(arrays) != len(clips):
            raise VadError(f"{file}: labels of {len(arrays)} clips, there are {len(clips)} testing clips")
    else:
        labels = read_array(file)
        if labels.size != total:
            raise VadError(
                f"{file}: {labels.size} labels, the {len(clips)} testing clips have {total} frames; "
                "it belongs to other footage, or frames are missing"
            )
        arrays = np.split(labels.reshape(-1), np.cumsum([clip.frames for clip in clips])[:-1])
    return [labelled(clip, array, file) for clip, array in zip(clips, arrays, strict=True)]


def _from_ranges(clips: list[Clip], file: Path) -> list[Clip]:
    """`gt`: for each clip a 2 x k array, first and last frames, counted from 1, both included."""
    check_order(clips, file)
    cells = list(read_cells(file, "gt"))
    if len(cells) != len(clips):
        raise VadError(f"{file}: `gt` has labels of {len(cells)} clips, there are {len(clips)} testing clips")
    for clip, cell in zip(clips, cells, strict=True):
        whole = np.isfinite(cell) & (cell == np.floor(cell))
        if cell.size and (cell.ndim != 2 or len(cell) != 2 or not whole.all()):
            raise VadError(f"{file}: `gt` of clip {clip.key} must be 2 x k whole numbers, found {cell.shape}")
    return [
        labelled_ranges(clip, [(int(a), int(b)) for a, b in cell.reshape(2, -1).T], file, first_frame=1)
        for clip, cell in zip(clips, cells, strict=True)
    ]
