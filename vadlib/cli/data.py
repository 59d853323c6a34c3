"""What of a data set is there, and what is missing."""

from pathlib import Path
from typing import Any

from vadlib.datasets.registry import index_clips
from vadlib.errors import VadError
from vadlib.manifest import Manifest
from vadlib.settings import SPLITS, SourceSettings


def describe(manifest: Manifest) -> list[dict[str, Any]]:
    """What a manifest counts: a row for each split. `anomalous` is None where a clip is unlabelled."""
    rows = []
    for split in SPLITS:
        clips = manifest.split(split)
        labels = [of_clip for clip in clips if (of_clip := clip.labels()) is not None]
        unlabelled = len(labels) < len(clips)
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


def check_data(name: str, source: SourceSettings, folder: Path, root: Path) -> list[dict[str, Any]]:
    """What of a data set is there: the rows of `describe`, with its name, known totals, and a `state`.

    `state` is `complete`, or says what is wrong, in one line; where nothing can be counted there is one row.
    """
    try:
        manifest = index_clips(name, source.layout, folder, root)
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
