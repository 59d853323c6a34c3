"""Every layout of a data set, by the name that `source.layout` has for it: from a folder to a manifest of clips.

The layout `synthetic` is the rendered street, which lies on disk as any user's own footage does: `videos`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pandas as pd

from vadlib.datasets import avenue, frames_folders, shanghaitech, ucsd, videos
from vadlib.datasets.regions import no_regions, read_regions, regions_of_masks
from vadlib.errors import VadError
from vadlib.manifest import Clip, Manifest
from vadlib.settings import SPLITS, SourceSettings


class Layout(Protocol):
    """What a module of a layout has; one with pixel masks has `masks(clip, folder, root)` too."""

    LAYOUT: str  # one line that says what the folder must hold

    def index(self, folder: Path, root: Path) -> list[Clip]: ...


LAYOUTS: dict[str, Layout] = {
    "frames": frames_folders,
    "ucsd": ucsd,
    "avenue": avenue,
    "shanghaitech": shanghaitech,
    "videos": videos,
    "synthetic": videos,
}


def index_dataset(name: str, source: SourceSettings, folder: Path, root: Path) -> Manifest:
    """Check and index every clip of a data set, and its labels.

    `folder` holds the data set, in the layout `source` names, and lies below `root`, the project's folder; it
    may be a symbolic link. Training clips are all normal by definition. Testing clips have labels either all
    or none. Raises VadError for whatever is missing, damaged or contradictory, one problem at a time.
    """
    manifest = index_clips(name, source.layout, folder, root)
    for split, expected in zip(SPLITS, source.expected_frames or (), strict=False):
        if (found := sum(clip.frames for clip in manifest.split(split))) != expected:
            raise VadError(
                f"{folder}: {found} {split} frames in {len(manifest.split(split))} clips, the known total is "
                f"{expected} (`expected_frames` in params.yaml); complete the data, or correct the total"
            )
    return manifest


def index_clips(name: str, layout: str, folder: Path, root: Path) -> Manifest:
    """`index_dataset` of a layout, whatever the known totals are."""
    module = LAYOUTS[layout]
    if not folder.is_dir() or not any(folder.iterdir()):
        state = "empty" if folder.is_dir() else "not found"
        raise VadError(f"{folder}: {state}; put the data set {name} there: {module.LAYOUT}")
    manifest = Manifest(name, layout, tuple(module.index(folder, root)))
    for split in SPLITS:
        if not manifest.split(split):
            raise VadError(f"{folder}: no {split} clips; layout expected: {module.LAYOUT}")
    return manifest


def index_regions(manifest: Manifest, folder: Path, root: Path) -> Iterator[pd.DataFrame] | None:
    """Tables of the anomalous regions (`regions.COLUMNS`), one for each testing clip; None where nothing tells of them.

    They come from `regions.csv` in the data set's folder, where there is one; else from the layout's pixel masks, where
    every clip with anomalies has some (of UCSD Ped1 only ten do). Raises VadError for what is damaged or contradictory.
    """
    clips = manifest.split("testing")
    if (file := folder / "regions.csv").exists():
        return read_regions(file, clips)
    read_masks = getattr(LAYOUTS[manifest.layout], "masks", None)
    if read_masks is None:
        return None
    of_clips = [read_masks(clip, folder, root) for clip in clips]
    missing = [masks is None for masks in of_clips]
    if all(missing) or any(gone and clip.anomalous != () for gone, clip in zip(missing, clips, strict=True)):
        return None
    return (
        no_regions(clip) if masks is None else regions_of_masks(clip, masks, folder)
        for clip, masks in zip(clips, of_clips, strict=True)
    )
