"""Data sets: from a folder in one of the known layouts to a manifest of clips with their labels.

Each layout is one file with `LAYOUT`, a line that says what it looks like, and `index(folder, root)`; those with pixel
masks have `masks(clip, folder, root)` too. The layout `synthetic` is the rendered street, which lies on disk as any
user's own footage does: `videos`.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from vadlib.clips import Clip, Manifest
from vadlib.datasets import avenue, frames_folders, shanghaitech, ucsd, videos
from vadlib.datasets.regions import no_regions, read_regions, regions_of_masks
from vadlib.errors import VadError
from vadlib.settings import SPLITS, Source

_LAYOUTS = {
    "frames": frames_folders,
    "ucsd": ucsd,
    "avenue": avenue,
    "shanghaitech": shanghaitech,
    "videos": videos,
    "synthetic": videos,
}


def index_dataset(name: str, source: Source, folder: Path, root: Path) -> Manifest:
    """Check and index every clip of a data set, and its labels.

    `folder` holds the data set, in the layout `source` names, and lies below `root`, the project's folder; it
    may be a symbolic link. Training clips are all normal by definition. Testing clips have labels either all
    or none. Raises VadError for whatever is missing, damaged or contradictory, one problem at a time.
    """
    if not folder.is_dir() or not any(folder.iterdir()):
        found = "empty" if folder.is_dir() else "not found"
        raise VadError(f"{folder}: {found}; put the data set {name} there: {expected_layout(source)}")
    index: Callable[[Path, Path], list[Clip]] = _LAYOUTS[source.layout].index
    manifest = Manifest(name, source.layout, tuple(index(folder, root)))
    for split in SPLITS:
        if not manifest.split(split):
            raise VadError(f"{folder}: no {split} clips; layout expected: {expected_layout(source)}")
    for split, expected in zip(SPLITS, source.expected_frames or (), strict=False):
        if (found := sum(clip.frames for clip in manifest.split(split))) != expected:
            raise VadError(
                f"{folder}: {found} {split} frames in {len(manifest.split(split))} clips, the known total is "
                f"{expected} (`expected_frames` in params.yaml); complete the data, or correct the total"
            )
    return manifest


def index_regions(manifest: Manifest, folder: Path, root: Path) -> Iterator[pd.DataFrame] | None:
    """Tables of the anomalous regions (`regions.COLUMNS`), one for each testing clip; None where nothing tells of them.

    They come from `regions.csv` in the data set's folder, where there is one; else from the layout's pixel masks, where
    every clip with anomalies has some (of UCSD Ped1 only ten do). Raises VadError for what is damaged or contradictory.
    """
    clips = manifest.split("testing")
    if (file := folder / "regions.csv").exists():
        return read_regions(file, clips)
    read_masks = getattr(_LAYOUTS[manifest.layout], "masks", None)
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


def expected_layout(source: Source) -> str:
    """One line that says what a data set's folder must hold."""
    return _LAYOUTS[source.layout].LAYOUT


def describe(manifest: Manifest) -> list[dict[str, str | int | None]]:
    """What a manifest counts: a row for each split. `anomalous` is None where a clip is unlabelled."""
    rows = []
    for split in SPLITS:
        clips = manifest.split(split)
        labels = [clip.labels() for clip in clips]
        unlabelled = any(label is None for label in labels)
        rows.append(
            {
                "split": split,
                "clips": len(clips),
                "frames": sum(clip.frames for clip in clips),
                "anomalous": None if unlabelled else int(sum(label.sum() for label in labels)),
                "size": _range([f"{clip.width}x{clip.height}" for clip in clips]),
                "fps": _range(["?" if clip.fps is None else f"{clip.fps:g}" for clip in clips]),
            }
        )
    return rows


def check_data(name: str, source: Source, folder: Path, root: Path) -> list[dict[str, str | int | None]]:
    """What of a data set is there: the rows of `describe`, with its name, known totals, and a `state`.

    `state` is `complete`, or says what is wrong, in one line; where nothing can be counted there is one row.
    """
    try:
        manifest = index_dataset(name, source.model_copy(update={"expected_frames": None}), folder, root)
    except VadError as error:
        return [{"dataset": name, "split": None, "known": None, "state": str(error)}]
    rows = []
    for row, known in zip(describe(manifest), source.expected_frames or (None, None), strict=True):
        state = "complete" if known in (None, row["frames"]) else f"{row['frames']} of {known} frames"
        if row["anomalous"] is None:
            state += ", no labels"
        rows.append({"dataset": name, **row, "known": known, "state": state})
    return rows


def _range(values: list[str]) -> str:
    """The distinct values, in the order they come; a count where there are many."""
    distinct = list(dict.fromkeys(values))
    return ", ".join(distinct) if len(distinct) <= 3 else f"{len(distinct)} different"
