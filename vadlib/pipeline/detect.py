"""Stage detect: the boxes of every frame."""

import sys
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import pandas as pd

from vadlib.boxes.detect import BOUNDED, detect_clip, how_bounded
from vadlib.boxes.kinds.registry import make_detector, weights_file
from vadlib.boxes.table import DetectFrames, box_table
from vadlib.clips import read_frames
from vadlib.io.tables import read_parts, write_table
from vadlib.io.weights import record
from vadlib.manifest import Clip
from vadlib.pipeline.mapping import fingerprint, map_clips
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, DatasetSettings, DetectorSettings

PART = 2000  # frames whose boxes are held in memory


def detect_boxes(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """One table of the boxes of all frames, clip after clip. Its schema's metadata name the weights.

    One line on standard error says in how many frames the bound of motion boxes has acted, if in any.
    """
    manifest = places.load_manifest()
    weights = record(weights_file(settings.detector, places.weights))
    work = partial(_detect_clip, settings.detector, places, compute.device, manifest.clips)
    mark = fingerprint(__name__, settings.detector, places.prepared, places.data, weights)
    counts = map_clips(
        work,
        manifest.clips,
        places.boxes,
        suffix=".parquet",
        fingerprint=mark,
        workers=compute.workers,
        label=f"detect {places.name}",
        finish=partial(_one_table, manifest.clips, weights),
    )
    if counts[BOUNDED]:
        print(f"warning: {how_bounded(counts[BOUNDED], counts['frames'], settings.detector)}", file=sys.stderr)
    return counts


def _detect_clip(
    settings: DetectorSettings, places: Places, device: str, clips: tuple[Clip, ...], clip: Clip, path: Path
) -> dict[str, int]:
    counts = Counter(clips=1, frames=clip.frames)
    found = detect_clip(clip, read_frames(clip), _detector(settings, places, device, clips), settings, counts=counts)

    def parts() -> Iterator[pd.DataFrame]:
        first = 0
        while boxes := list(islice(found, PART)):
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
