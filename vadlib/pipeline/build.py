"""What the stages build_raw and build_flow share: the boxes of a clip, and a shard of cubes for each."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from vadlib.clips import Clip
from vadlib.cubes.shards import ShardWriter
from vadlib.errors import VadError
from vadlib.io.files import missing
from vadlib.io.tables import read_table
from vadlib.pipeline.mapping import map_clips
from vadlib.pipeline.places import BOX, Places
from vadlib.settings import Branch, ComputeSettings, CubeSettings

Fill = Callable[[ShardWriter, Places, Clip, list[np.ndarray], CubeSettings], int]
"""Put the cubes of a clip's boxes, float32 (M, 4) of each frame, into its shard, and return how many there are."""


def build_cubes(
    fill: Fill, places: Places, branch: Branch, cube: CubeSettings, compute: ComputeSettings, fingerprint: str
) -> Counter[str]:
    """The cubes of every box, one shard for each clip."""
    manifest = places.load_manifest()
    if not places.boxes.exists():
        raise missing(places.boxes, places.made_by("detect"))
    return map_clips(
        partial(_build_clip, fill, places, branch, cube),
        manifest.clips,
        places.cubes(branch),
        suffix=".h5",
        fingerprint=fingerprint,
        workers=compute.workers,
        label=f"build {places.name} {branch}",
    )


def _build_clip(
    fill: Fill, places: Places, branch: Branch, cube: CubeSettings, clip: Clip, path: Path
) -> dict[str, int]:
    boxes = boxes_of_frames(places, clip)
    with ShardWriter(path, branch, cube.length, cube.patch) as shard:
        cubes = fill(shard, places, clip, boxes, cube)
    return {"clips": 1, "frames": clip.frames, "cubes": cubes}


def boxes_of_frames(places: Places, clip: Clip) -> list[np.ndarray]:
    """The boxes of each of a clip's frames, float32 (M, 4)."""
    table = read_table(places.boxes, places.made_by("detect"), split=clip.split, clip=clip.name)
    frame, boxes = table["frame"].to_numpy(), table[BOX].to_numpy(np.float32)
    if len(frame) and (frame.min() < 0 or frame.max() >= clip.frames):
        raise VadError(
            f"{places.boxes}: clip {clip.key} has boxes of frame {frame.max()}, but {clip.frames} frames; "
            f"run {places.made_by('detect')}"
        )
    edges = np.searchsorted(frame, np.arange(clip.frames + 1))
    return [boxes[start:stop] for start, stop in pairwise(edges)]
