"""Anomalous regions and their tracks: from a `regions.csv`, or from a layout's pixel masks."""

import csv
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from vadlib.errors import VadError
from vadlib.manifest import Clip

COLUMNS = ("clip", "frame", "track", "x1", "y1", "x2", "y2")
"""Of `regions.csv` and of the tables here: xyxy in source pixels, x2 and y2 just outside; frames from 0."""
KIND = "kind"
"""One more column, where the data set tells of it: what kind of anomaly it is, a word."""


def read_regions(file: Path, clips: Iterable[Clip]) -> Iterator[pd.DataFrame]:
    """The regions of each testing clip, in the clips' order, by frame and track.

    A track is a whole number, an anomaly's through its clip. The tables have the column `kind` where the file has it.
    Raises VadError naming file and line for a clip, frame or box that is not there, a kind that is not a word, a track
    twice in a frame, and a region in a frame labelled normal.
    """
    by_name = {clip.name: clip for clip in clips}
    rows: dict[str, dict[tuple[int, int], tuple[float | str, ...]]] = {name: {} for name in by_name}
    labels = {name: clip.labels() for name, clip in by_name.items()}
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            lines = csv.reader(stream, skipinitialspace=True)
            columns = tuple(next(lines, []))
            if columns not in (COLUMNS, (*COLUMNS, KIND)):
                expected = f"{','.join(COLUMNS)}, with or without ,{KIND}"
                raise VadError(f"{file}: the first line must be {expected}, not {','.join(columns)!a:.80}")
            for row in lines:
                if row:
                    where = f"{file} line {lines.line_num}"
                    name, frame, track, values = _parsed(row, columns, by_name, where)
                    if (of_clip := labels[name]) is not None and not of_clip[frame]:
                        raise VadError(f"{where}: a region in frame {frame} of clip {name}, which is labelled normal")
                    if rows[name].setdefault((frame, track), values) is not values:
                        raise VadError(f"{where}: track {track} is twice in frame {frame} of clip {name}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise VadError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    for name, by_key in rows.items():
        yield _table(name, [(*key, *values) for key, values in sorted(by_key.items())], columns)


def _parsed(
    row: list[str], columns: tuple[str, ...], clips: dict[str, Clip], where: str
) -> tuple[str, int, int, tuple[float | str, ...]]:
    """Clip, frame, track, and what else the columns say: the box's edges and, where there is one, the kind."""
    try:
        name, frame, track = row[0], int(row[1]), int(row[2])
        box = tuple(float(edge) for edge in row[3:7])
    except (ValueError, IndexError):
        name, frame, track, box = "", 0, 0, ()
    if len(row) != len(columns) or len(box) != 4 or not all(map(math.isfinite, box)) or not 0 <= track < 2**31:
        raise VadError(f"{where}: expected {','.join(columns)}, not {','.join(row)!a:.80}")
    kind = [word.strip() for word in row[7:]]
    if not all(re.fullmatch(r"[\w-]+", word) for word in kind):
        raise VadError(f"{where}: kind {row[7]!a:.80}: expected a word, of letters, digits, - and _")
    if name not in clips:
        raise VadError(f"{where}: no testing clip {name!a:.80}; clips go by file name without suffix")
    clip = clips[name]
    if not 0 <= frame < clip.frames:
        raise VadError(f"{where}: frame {frame} of clip {name}, whose frames are 0 to {clip.frames - 1}")
    x1, y1, x2, y2 = box
    if not (0 <= x1 < x2 <= clip.width and 0 <= y1 < y2 <= clip.height):
        raise VadError(
            f"{where}: box {','.join(row[3:7])} is empty or outside the frame of {clip.width}x{clip.height} px"
        )
    return name, frame, track, (*box, *kind)


def regions_of_masks(clip: Clip, masks: Iterable[np.ndarray], source: object) -> pd.DataFrame:
    """The regions of one clip's pixel masks, an array (H, W) for each frame, anomalous where not 0.

    A region is the bounding box of an 8-connected component. Masks do not tell objects apart through time: a component
    carries on the track of the component of the frame before that it shares most pixels with, and of two that would
    carry on the same the one sharing more does; any other begins a track. So an object that is hidden for a frame
    makes two tracks, and two that touch are one region.

    Raises VadError naming `source` for masks of another size or number than the clip's frames.
    """
    rows: list[tuple] = []
    before, tracks = np.zeros((clip.height, clip.width), np.int32), np.zeros(1, np.int64)
    begun, frame = 0, -1
    for frame, mask in enumerate(masks):
        if mask.shape != before.shape:
            raise VadError(
                f"{source}: frame {frame} of clip {clip.key} has a mask of {'x'.join(map(str, mask.shape[::-1]))} px, "
                f"the frames have {clip.width}x{clip.height}"
            )
        count, now, boxes, _ = cv2.connectedComponentsWithStats((mask != 0).astype(np.uint8), connectivity=8)
        carried = np.zeros(count, np.int64)  # 0 is none, and the background's
        for earlier, component in _by_overlap(before, now):
            if not carried[component] and tracks[earlier] not in carried:
                carried[component] = tracks[earlier]
        for component in range(1, count):
            if not carried[component]:
                begun += 1
                carried[component] = begun
            x, y, width, height = boxes[component, :4].tolist()
            rows.append((frame, int(carried[component]), x, y, x + width, y + height))
        before, tracks = now, carried
    if frame + 1 != clip.frames:
        raise VadError(f"{source}: {frame + 1} masks for clip {clip.key}, which has {clip.frames} frames")
    return _table(clip.name, rows)


def no_regions(clip: Clip) -> pd.DataFrame:
    """The table of a clip without any region."""
    return _table(clip.name, [])


def _by_overlap(before: np.ndarray, now: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of components that share pixels, from the most to the least."""
    both = (before > 0) & (now > 0)
    pairs, counts = np.unique(np.stack((before[both], now[both])), axis=1, return_counts=True)
    return [(int(a), int(b)) for a, b in pairs.T[np.argsort(-counts, kind="stable")]]


def _table(name: str, rows: list[tuple], columns: tuple[str, ...] = COLUMNS) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=list(columns[1:]))
    table = table.astype({"frame": np.int32, "track": np.int32, **dict.fromkeys(COLUMNS[3:], np.float32)})
    table.insert(0, "clip", name)
    return table
