"""Stage build_raw: cubes of the frames."""

from collections import Counter

import numpy as np

from vadlib.clips import read_frames
from vadlib.cubes.cut import cubes_of_clip
from vadlib.cubes.shards import ShardWriter
from vadlib.manifest import Clip
from vadlib.pipeline.build import build_cubes
from vadlib.pipeline.mapping import Span, fingerprint
from vadlib.pipeline.parts import frames_of_part, spans_of_footage
from vadlib.pipeline.places import Places
from vadlib.settings import ComputeSettings, CubeSettings, DatasetSettings


def build_raw_cubes(places: Places, settings: DatasetSettings, compute: ComputeSettings) -> Counter[str]:
    """The cubes of every box, cut from the frames, one shard for each clip."""
    mark = fingerprint(__name__, settings.cube, places.prepared, places.boxes, places.data)
    return build_cubes(_fill, spans_of_footage, places, "raw", settings.cube, compute, mark)


def _fill(
    shard: ShardWriter, places: Places, clip: Clip, boxes: list[np.ndarray], cube: CubeSettings, read: Span
) -> int:
    cubes = 0
    whole = read.stop - read.first == clip.frames
    frames = read_frames(clip) if whole else frames_of_part(clip, read, read.first, read.stop)
    for new in cubes_of_clip(frames, boxes, cube):
        shard.add(read.first + new.frame, new.boxes, new.cubes)
        cubes += len(new.boxes)
    return cubes
