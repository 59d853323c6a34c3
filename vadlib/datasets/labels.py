"""Frame labels: from what the layouts hold to the spans of a clip, checked."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from vadlib.clips import Clip
from vadlib.errors import VadError
from vadlib.io.names import natural_key

Spans = tuple[tuple[int, int], ...]


def labelled(clip: Clip, labels: np.ndarray, source: object) -> Clip:
    """The clip with spans taken from a label for each frame: 0 normal, 1 anomalous.

    `labels` may have axes of length 1 beside the frames. Raises VadError naming `source` for another number of
    labels than frames, and for other values.
    """
    flat = labels.reshape(-1)
    if labels.size != max(labels.shape, default=0) or len(flat) != clip.frames:
        shape = "x".join(map(str, labels.shape)) or "no"
        raise VadError(f"{source}: {shape} labels for clip {clip.key}, which has {clip.frames} frames")
    wrong = np.flatnonzero((flat != 0) & (flat != 1))
    if len(wrong):
        raise VadError(
            f"{source}: label {flat[wrong[0]]} at frame {wrong[0]} of clip {clip.key}; "
            "expected 0 (normal) or 1 (anomalous)"
        )
    edges = np.flatnonzero(np.diff(flat.astype(np.int8), prepend=0, append=0))
    return replace(clip, anomalous=tuple((int(a), int(b)) for a, b in edges.reshape(-1, 2)))


def labelled_by_masks(clip: Clip, masks: Iterable[np.ndarray], source: object) -> Clip:
    """The clip with spans taken from a pixel mask for each frame, which is anomalous where any pixel is set.

    Raises VadError naming `source` for another number of masks than frames.
    """
    return labelled(clip, np.array([mask.any() for mask in masks]), source)


def labelled_ranges(clip: Clip, ranges: Iterable[tuple[int, int]], source: object, first_frame: int) -> Clip:
    """The clip with spans taken from ranges (first, last), both included, of frames counted from `first_frame`.

    Raises VadError naming `source` for a range that is empty or reaches outside the clip.
    """
    labels = np.zeros(clip.frames, dtype=bool)
    for first, last in ranges:
        start, stop = first - first_frame, last - first_frame + 1
        if not 0 <= start < stop <= clip.frames:
            raise VadError(
                f"{source}: range {first} to {last} for clip {clip.key}, whose frames are "
                f"{first_frame} to {clip.frames - 1 + first_frame}"
            )
        labels[start:stop] = True
    return labelled(clip, labels, source)


def check_order(clips: Sequence[Clip], source: object) -> None:
    """Raises VadError where a file that only lists its values in the clips' order could mean two orders."""
    names = [clip.name for clip in clips]
    if sorted(names) != sorted(names, key=natural_key):
        raise VadError(
            f"{source}: its values are in the order of the clips, but {min(names)!r} … {max(names)!r} sort one way as "
            "text and another as numbers; pad the clips' names with zeros"
        )
