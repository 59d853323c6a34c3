"""Stage detect: the boxes of every frame."""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from vadlib.boxes.detect import BOUNDED, detect_clip, how_bounded
from vadlib.boxes.kinds.registry import make_detector, weights_file
from vadlib.boxes.table import APPEARANCE, Boxes, DetectFrames, box_table
from vadlib.clips import read_frames
from vadlib.io.tables import read_parts, write_table
from vadlib.io.weights import record
from vadlib.manifest import Clip
from vadlib.pipeline.mapping import Span, Split, fingerprint, map_clips
from vadlib.pipeline.parts import frames_of_part, spans_of_footage
from vadlib.pipeline.places import BOX, Places
from vadlib.settings import ComputeSettings, DatasetSettings, DetectorSettings

PART = 2000  # frames whose boxes are held in memory
BATCH = 8  # frames that a detector is given at a time


def detect_boxes(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """One table of the boxes of all frames, clip after clip. Its schema's metadata name the weights.

    One line on standard error says in how many frames the bound of motion boxes has acted, if in any.
    """
    manifest = places.load_manifest()
    weights = record(weights_file(settings.detector, places.weights))
    common = (settings.detector, places, compute.device, manifest.clips)
    mark = fingerprint(__name__, settings.detector, places.prepared, places.data, weights)
    counts = map_clips(
        partial(_detect_clip, *common),
        manifest.clips,
        places.boxes,
        suffix=".parquet",
        fingerprint=mark,
        compute=compute,
        label=f"detect {places.name}",
        split=Split(spans_of_footage, partial(_detect_part, *common), _merge, (BOUNDED,)),
        finish=partial(_one_table, manifest.clips, weights),
    )
    if counts[BOUNDED]:
        print(f"warning: {how_bounded(counts[BOUNDED], counts['frames'], settings.detector)}", file=sys.stderr)
    return counts


def _detect_clip(
    settings: DetectorSettings, places: Places, device: str, clips: tuple[Clip, ...], clip: Clip, path: Path
) -> dict[str, int]:
    detector, counts = _detector(settings, places, device, clips), Counter[str]()
    return _write(clip, detect_clip(clip, read_frames(clip), detector, settings, BATCH, counts), path, counts)


def _detect_part(
    settings: DetectorSettings, places: Places, device: str, clips: tuple[Clip, ...], clip: Clip, span: Span, path: Path
) -> dict[str, int]:
    # A motion box needs the frames before and after. Detectors take frames by eights: from where a whole clip's begin.
    first, stop = max(span.first - 1, 0) // BATCH * BATCH, min(-(-(span.stop + 1) // BATCH) * BATCH, clip.frames)
    detector = _detector(settings, places, device, clips)

    def detect(clip: Clip, number: int, frames: Sequence[np.ndarray]) -> list[Boxes]:
        return detector(clip, first + number, frames)

    counts = Counter[str]()
    of_frames = detect_clip(clip, frames_of_part(clip, span, first, stop), detect, settings, BATCH, counts)
    for _ in islice(of_frames, span.first - first):
        pass
    counts.clear()  # of frames that are another part's
    return _write(clip, islice(of_frames, span.stop - span.first), path, counts, span.first)


def _merge(clip: Clip, parts: list[Path], path: Path) -> dict[str, int]:
    """The table of a clip, of those of its parts."""
    tables = (table for part in parts for table in read_parts(part))
    return _write(clip, _boxes_in(tables, clip.frames), path, Counter())


def _boxes_in(tables: Iterator[pd.DataFrame], frames: int) -> Iterator[Boxes]:
    """The boxes of each frame, of a clip's tables in order."""
    number = 0
    for table in tables:
        edges = np.flatnonzero(np.diff(table["frame"].to_numpy(), prepend=-1, append=frames))
        for start, stop in pairwise(edges):
            rows = table.iloc[start:stop]
            while number < rows["frame"].iloc[0]:
                yield Boxes.of([], APPEARANCE)
                number += 1
            source = rows["source"].to_numpy(dtype="<U10")
            yield Boxes(rows[BOX].to_numpy(np.float32), rows["score"].to_numpy(), rows["cls"].to_numpy(), source)
            number += 1
    yield from (Boxes.of([], APPEARANCE) for _ in range(number, frames))


def _write(clip: Clip, of_frames: Iterator[Boxes], path: Path, counts: Counter[str], first: int = 0) -> dict[str, int]:
    """The table of the boxes of a clip's frames, from `first` on. What is found is added to `counts`."""
    counts.update(clips=1, frames=clip.frames)

    def parts() -> Iterator[pd.DataFrame]:
        nonlocal first
        while boxes := list(islice(of_frames, PART)):
            table = box_table(clip, boxes, first)
            first += len(boxes)
            counts.update(boxes=len(table))
            counts.update({f"{s} boxes": int(n) for s, n in table["source"].value_counts().items()})
            yield table

    write_table(path, parts())
    return dict(counts)


def _one_table(clips: tuple[Clip, ...], weights: dict[str, str], made: Path, output: Path) -> None:
    write_table(output, (part for clip in clips for part in read_parts(made / f"{clip.key}.parquet")), weights)


@lru_cache(maxsize=1)
def _detector(settings: DetectorSettings, places: Places, device: str, clips: tuple[Clip, ...]) -> DetectFrames:
    return make_detector(settings, places.weights, places.data, clips, device)
