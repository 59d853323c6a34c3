"""UCSD Ped1 and Ped2 as published: TIFF frames, BMP masks, and a MATLAB script that lists the labels.

Mahadevan et al., Anomaly Detection in Crowded Scenes, CVPR 2010.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vadlib.clips import probe_clip, read_frames
from vadlib.datasets.labels import labelled_by_masks, labelled_ranges
from vadlib.datasets.listing import clip_paths, probe_all
from vadlib.errors import VadError
from vadlib.manifest import Clip

LAYOUT = (
    "Train/Train001/001.tif, Test/Test001/001.tif, Test/UCSDped2.m, Test/Test001_gt/*.bmp: "
    "what lies in UCSD_Anomaly_Dataset.v1p2/UCSDped1 or UCSDped2"
)


def index(folder: Path, root: Path) -> list[Clip]:
    """Every clip; labels from the .m file, which is the data set's frame-level truth, else from the masks.

    The masks would not do for Ped1: only ten of its 36 testing clips came with any.
    """
    training = probe_all(clip_paths(folder / "Train", LAYOUT), "training", root)
    paths = [p for p in clip_paths(folder / "Test", LAYOUT) if not p.name.endswith("_gt")]
    testing = probe_all(paths, "testing", root)
    scripts = sorted(p for p in (folder / "Test").glob("*.m") if not p.name.startswith("."))
    if len(scripts) > 1:
        raise VadError(f"{folder / 'Test'}: {len(scripts)} label files: {', '.join(p.name for p in scripts)}; keep one")
    if scripts:
        return training + _from_script(testing, scripts[0])
    masks = [path.with_name(f"{path.name}_gt") for path in paths]
    if not any(mask.is_dir() for mask in masks):
        return training + testing
    return training + [_from_masks(clip, mask, root) for clip, mask in zip(testing, masks, strict=True)]


def _from_script(clips: list[Clip], file: Path) -> list[Clip]:
    """Lines such as `TestVideoFile{end+1}.gt_frame = [5:90, 140:200];`, one a clip, from 1, ends included."""
    text = "\n".join(line.partition("%")[0] for line in file.read_text("latin1").splitlines())
    lists = re.findall(r"\.gt_frame\s*=\s*\[([^][]*)\]", text)
    if len(lists) != len(clips):
        raise VadError(f"{file}: labels of {len(lists)} clips, there are {len(clips)} testing clips")
    labelled_clips = []
    for clip, content in zip(clips, lists, strict=True):
        ranges = []
        for part in re.split(r"[\s,;]+", re.sub(r"\s*:\s*", ":", content.strip())):
            if part and not re.fullmatch(r"\d{1,9}(:\d{1,9})?", part, flags=re.ASCII):
                raise VadError(f"{file}: {part!a:.40} for clip {clip.key}; expected frames such as 61:180")
            if part:
                first, _, last = part.partition(":")
                ranges.append((int(first), int(last or first)))
        labelled_clips.append(labelled_ranges(clip, ranges, file, first_frame=1))
    return labelled_clips


def masks(clip: Clip, folder: Path, root: Path) -> Iterator[np.ndarray] | None:
    """A testing clip's pixel masks (H, W), anomalous where not 0; None where it came without."""
    of_clip = folder / "Test" / f"{clip.name}_gt"
    return _pixels(clip, of_clip, root) if of_clip.is_dir() else None


def _from_masks(clip: Clip, folder: Path, root: Path) -> Clip:
    """A frame is anomalous where its mask has any pixel set."""
    if not folder.is_dir():
        raise VadError(f"{folder}: no masks for clip {clip.key}, while others have some, and no .m file")
    return labelled_by_masks(clip, _pixels(clip, folder, root), folder)


def _pixels(clip: Clip, folder: Path, root: Path) -> Iterator[np.ndarray]:
    masks = probe_clip(folder, folder.name, clip.split, root)
    if (masks.width, masks.height) != (clip.width, clip.height):
        raise VadError(
            f"{folder}: masks of {masks.width}x{masks.height} px, the frames have {clip.width}x{clip.height}"
        )
    return (np.any(mask, axis=2) for mask in read_frames(masks, root))
