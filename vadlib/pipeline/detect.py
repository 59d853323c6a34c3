"""Stage detect: the boxes of every frame."""

from collections import Counter
from functools import lru_cache, partial
from pathlib import Path

import pandas as pd

from vadlib.boxes import DetectFrames, box_table, detect_clip, make_detector, weights_file
from vadlib.clips import Clip, read_frames
from vadlib.mapping import fingerprint, map_clips
from vadlib.pipeline.places import Places
from vadlib.settings import Compute, Dataset, Detector
from vadlib.tables import write_table
from vadlib.weights import record


def detect_boxes(places: Places, settings: Dataset, compute: Compute) -> Counter[str]:
    """One table of the boxes of all frames, a row group for each clip. Its schema's metadata name the weights."""
    manifest = places.load_manifest()
    weights = record(weights_file(settings.detector, places.weights))
    work = partial(_detect_clip, settings.detector, places, compute.device, manifest.clips)
    mark = fingerprint(settings.detector, places.prepared, places.data, weights)
    return map_clips(
        work,
        manifest.clips,
        places.boxes,
        suffix=".parquet",
        fingerprint=mark,
        workers=compute.workers,
        label=f"detect {places.name}",
        finish=partial(_one_table, manifest.clips, weights),
    )


def _detect_clip(
    settings: Detector, places: Places, device: str, clips: tuple[Clip, ...], clip: Clip, path: Path
) -> dict[str, int]:
    detector = _detector(settings, places, device, clips)
    table = box_table(clip, detect_clip(clip, read_frames(clip), detector, settings))
    write_table(path, [table])
    sources = table["source"].value_counts()
    return {
        "clips": 1,
        "frames": clip.frames,
        "boxes": len(table),
        **{f"{s} boxes": int(n) for s, n in sources.items()},
    }


def _one_table(clips: tuple[Clip, ...], weights: dict[str, str], made: Path, output: Path) -> None:
    write_table(output, (pd.read_parquet(made / f"{clip.key}.parquet") for clip in clips), weights)


@lru_cache(maxsize=1)
def _detector(settings: Detector, places: Places, device: str, clips: tuple[Clip, ...]) -> DetectFrames:
    return make_detector(settings, places.weights, places.data, clips, device)
